"""The environment that Airflow's processes run in: what differs from Airflow's defaults, and why."""

from __future__ import annotations

from pathlib import Path

from headwater.stack.files import HOST
from pipelines.settings import PROJECT

ADMIN = "admin"
DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
SHARED_SECRETS = ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY")
"""Of all of Airflow's processes."""
SECRETS = (*SHARED_SECRETS, "AIRFLOW__API_AUTH__JWT_SECRET")
"""And what tasks' tokens are signed with: only the scheduler and the API server need it."""


def passwords_file(home: Path) -> Path:
    """The file that holds the password of Airflow's one user, `admin`."""
    return home / "airflow" / "passwords.json"


def identity(home: Path, port: int, database_url: str) -> dict[str, str]:
    """What makes it this stack's Airflow and no other; the environment of whoever starts it cannot change it."""
    url = f"http://{HOST}:{port}"
    return {
        **placed(home, database_url, api_url=url),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(home)),
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
    }


def placed(home: Path, database_url: str, api_url: str) -> dict[str, str]:
    """Where Airflow's folders, its database and its API are, for each of its processes; `api_url` as tasks reach it."""
    airflow = home / "airflow"
    return {
        "AIRFLOW_HOME": str(airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{api_url}/execution/",
        DATABASE: database_url,
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "headwater.stack.files.host",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(airflow / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(airflow / "logs/dag_processor"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(airflow / "bundles"),
        # Logs are read from the folder above. The log servers, which bind every interface, are not started, and the
        # page of a running task asks for them in vain, at a port that is nobody's.
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "9",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": "9",
    }


TUNING: dict[str, str] = {
    # Airflow's own, but tasks wait in the order of their weights
    "AIRFLOW__CORE__EXECUTOR": "headwater.stack.local_executor.LocalExecutor",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__API__INSTANCE_NAME": "Headwater",
    "AIRFLOW__API__WORKERS": "1",
    # With Airflow's 5 s and 1 s a task's slot stays taken, and the scheduler asleep, longer than our tasks last.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    # Tasks cut off by `headwater down`, or queued by a scheduler that was killed, run again a minute after the next
    # start, not five.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "60",
    # Looking for new files is cheap and shows one in seconds; parsing costs a process, and changed files
    # come first anyway.
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
    "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": "0",
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "5",
    # Of Airflow's own chatter; the tasks' logs stay at INFO.
    "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "http.access=WARNING airflow.jobs=WARNING airflow.dag_processing=WARNING"
    " airflow.utils.log.file_task_handler=CRITICAL",
    "AIRFLOW__LOGGING__UVICORN_LOGGING_LEVEL": "WARNING",
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
}
"""What the environment of whoever starts the stack may change."""
REMOTE_LOGS = {
    # Without REMOTE_LOGGING, by which Airflow's own configuration would look for a provider
    "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "headwater.stack.remote_logs.LOGGING_CONFIG",
}
"""Where tasks run on machines that share no folder with the API server."""
