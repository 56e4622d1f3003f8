"""
### Platform: logs that are old

Runs every night. **tidy** deletes the logs of tasks and of the DAG processor that were written `HEADWATER_LOG_DAYS` ago
or longer (30 by default), and the folders that they leave empty. On the local stack it does the same with the logs of
services, builds and smoke tests, and cuts the file of a service that has grown beyond 100 MB to its last 10 MB. A
deleted log is no longer shown on a task's page; that the task ran stays in Airflow's database.

**Needs** the folder of the logs on its own machine. Logs in an object store are for a rule of its bucket.

**When it fails**

* *tidy*: a file is not this account's, or the disk does not answer; the log says which. What is not yet gone goes with
  the next run.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task
from dag_defaults import platform_options


@task(execution_timeout=timedelta(minutes=30), priority_weight=0)
def tidy() -> dict[str, Any]:
    """How many files went, and their bytes."""
    from pipelines import logs
    from pipelines.settings import get_settings

    return asdict(logs.tidy(get_settings(), datetime.now(UTC)))


with DAG(**platform_options("logs", "15 3 * * *", __doc__)) as dag:
    tidy()
