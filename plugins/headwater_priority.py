"""Which task gets a free slot first: a day's own run before what follows from data, and that before a backfill.

Airflow gives the slots of a pool, and those of the executor, to the waiting task of the greatest weight. It reads
the weight when it makes a run's tasks; of the run, only the id is known then, and it begins with the run's kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.plugins_manager import AirflowPlugin
from airflow.task.priority_strategy import PriorityWeightStrategy
from airflow.utils.types import DagRunType

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance

STEP = 1000
"""Far more than a task's own `priority_weight`, which orders the tasks of one kind of run."""
RANKS = {DagRunType.BACKFILL_JOB: 0, DagRunType.ASSET_TRIGGERED: 1, DagRunType.ASSET_MATERIALIZATION: 1}
"""Runs that follow from data come second: a backfill's days make a scoring each, and trainings."""
FIRST = 2


class DailyFirst(PriorityWeightStrategy):
    """Scheduled and manual runs, then those that data started, then backfills."""

    def get_weight(self, ti: TaskInstance) -> int:
        """The task's own weight, and so many steps as its run ranks."""
        rank = RANKS.get(DagRunType.from_run_id(ti.run_id), FIRST)
        return int(ti.task.priority_weight) + STEP * rank


class HeadwaterPriority(AirflowPlugin):
    """Makes the strategy known to Airflow, as `headwater_priority.DailyFirst`."""

    name = "headwater_priority"
    priority_weight_strategies = [DailyFirst]  # noqa: RUF012 - the base class declares it so
