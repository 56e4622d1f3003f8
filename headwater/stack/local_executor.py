"""Airflow's LocalExecutor, which counts what it has been given.

The one of Airflow 3.3 hands every task on to its workers without noting it, so that the scheduler always finds all its
slots free. Whatever a pool lets through then waits in the workers' queue, first come first served, however much a
task weighs. (https://github.com/apache/airflow/pull/71914 mends it; with it, this module can go.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.executors import local_executor

if TYPE_CHECKING:
    from airflow.executors.workloads import ExecutorWorkload


class LocalExecutor(local_executor.LocalExecutor):
    """Holds one of its `[core] parallelism` slots for each task from when it is handed on until its result is read.

    The slot of a task whose worker was killed is given back when the task's heartbeat has timed out.
    """

    def _process_workloads(self, workload_list: Sequence[ExecutorWorkload]) -> None:
        self.running.update(workload.key for workload in workload_list)
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]
