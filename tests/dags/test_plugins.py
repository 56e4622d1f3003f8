"""The plugins of the pages and the costs, as Airflow loads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
ASKED = """
import sys
from airflow import plugins_manager
apps, _ = plugins_manager.get_fastapi_plugins()
views = [view for plugin in plugins_manager._get_plugins()[0] for view in plugin.external_views]
assert plugins_manager.get_import_errors() == {}
print(sorted((view["destination"], view["url_route"]) for view in views if "headwater" in view["url_route"]))
print([app["url_prefix"] for app in apps])
print("headwater_ui" in sys.modules, "pandas" in sys.modules)
"""


def test_airflow_knows_the_pages_and_does_not_load_them_before_they_are_asked_for(
    airflow_environment: dict[str, str],
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKED], env=airflow_environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    views, apps, loaded = done.stdout.strip().splitlines()[-3:]
    assert views == str([("dag", "headwater-dag"), ("dag_run", "headwater-run"), ("nav", "headwater")])
    assert apps == "['/headwater']"
    assert loaded == "False False"


MASKED = """
import sys
from airflow.sdk._shared.secrets_masker import redact
from airflow.sdk.execution_time.task_runner import TaskRunnerMarker
from airflow.sdk.listener import get_listener_manager
said = sys.argv[1]
get_listener_manager().hook.on_starting(component="a service")
print(redact(said))
get_listener_manager().hook.on_starting(component=TaskRunnerMarker())
print(redact(said))
"""


def test_no_secret_of_the_settings_or_the_environment_is_in_the_log_of_a_task(
    airflow_environment: dict[str, str],
) -> None:
    given = {
        "HEADWATER_DATABASE_URL": "postgresql://pipeline:abc%2Fdef@db.example.org/headwater",
        "HEADWATER_API_KEYS__USGS": "key-of-usgs",
        "STORE_SECRET": "key-of-store",
    }
    said = "abc/def abc%2Fdef key-of-usgs key-of-store and the rest"
    done = subprocess.run(
        [sys.executable, "-c", MASKED, said], env={**airflow_environment, **given},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-2:] == [said, "*** *** *** *** and the rest"]
