"""Masks the secrets of the settings and of the environment in the logs of all tasks; a listener in their processes.

Airflow itself masks its connections, its variables and what a secrets backend gives, and knows nothing of ours.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

logger = logging.getLogger(__name__)
TASK = "TaskRunnerMarker"
"""How Airflow calls a task's process; its services start with a listener's word too, and log nothing of ours."""


@hookimpl
def on_starting(component: Any) -> None:
    """Comes before the DAG's file is read. What is masked here is masked by the process that writes the log as well."""
    if type(component).__name__ != TASK:
        return
    from airflow.sdk.log import mask_secret

    from pipelines import masks
    from pipelines.errors import HeadwaterError
    from pipelines.settings import get_settings

    mask_secret(list(masks.of_environment(os.environ)))
    try:
        mask_secret(list(masks.of_settings(get_settings())))
    except HeadwaterError as error:  # what the task does with them fails likewise
        logger.warning("Secrets of the settings are not masked: %s", error)


class HeadwaterMasks(AirflowPlugin):
    """Makes the listener known to Airflow."""

    name = "headwater_masks"
    listeners = [sys.modules[__name__]]  # noqa: RUF012 - the base class declares it so
