"""What Airflow finds by `AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS`: its own configuration, and where logs go."""

from __future__ import annotations

from typing import Any

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG

from headwater.stack.task_logs import TaskLogs

LOGGING_CONFIG: dict[str, Any] = dict(DEFAULT_LOGGING_CONFIG)
REMOTE_TASK_LOG = TaskLogs()
DEFAULT_REMOTE_CONN_ID = None
