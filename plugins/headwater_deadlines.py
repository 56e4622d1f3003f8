"""From when on a daily run counts as due: from its time in the schedule, and only if the schedule or data started it.

Airflow's own references do not do here. Runs of a partition have no logical date, and `DAGRUN_QUEUED_AT` is moved when
a task is cleared, by code that in Airflow 3.3.2 takes the stored interval for a number: a failed run could not be
cleared before its deadline had passed (TypeError in `_recalculate_dagrun_queued_at_deadlines`).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.definitions.deadline import BaseDeadlineReference, deadline_reference
from airflow.utils.types import DagRunType

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

PUNCTUAL = (DagRunType.SCHEDULED, DagRunType.ASSET_TRIGGERED)
"""Runs that somebody waits for; a backfill's and a person's take the time that they take."""


@deadline_reference
class Due(BaseDeadlineReference):
    """When a run was to start; None, which is no deadline, for the other kinds of runs."""

    required_kwargs = {"dag_id", "run_id"}  # noqa: RUF012 - the base class declares it so

    def _evaluate_with(self, *, session: Session, **kwargs: Any) -> datetime | None:
        from airflow.models import DagRun

        if DagRunType.from_run_id(kwargs["run_id"]) not in PUNCTUAL:
            return None
        found: datetime | None = session.query(DagRun.run_after).filter_by(**kwargs).scalar()
        return found


class HeadwaterDeadlines(AirflowPlugin):
    """Makes the reference known to Airflow."""

    name = "headwater_deadlines"
    deadline_references = [Due]  # noqa: RUF012 - the base class declares it so
