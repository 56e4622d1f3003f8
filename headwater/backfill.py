"""A backfill through Airflow: what the plan asks for, span by span, until nothing of it is left to be tried.

Every round begins with a new plan. So it does not matter who ran a day, whether an earlier call of this was
interrupted, or whether a backfill of Airflow's was going on already: what is loaded is never run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from headwater.stack import backfills
from headwater.stack.airflow import Airflow
from pipelines.backfill import PlannedDay, spans
from pipelines.errors import StackError
from pipelines.window import Window

Report = Callable[[str], None]
PAUSE_S = 2.0
DONE, FAILED, NOT_RUN = "done", "failed", "not run"


@dataclass(slots=True)
class Filling:
    """The days of one call: `plan` makes a new plan from the ledger, `outcomes` is how the days tried have ended."""

    airflow: Airflow
    dag_id: str
    plan: Callable[[], list[PlannedDay]]
    report: Report
    at_once: int = 2
    pause_s: float = PAUSE_S
    outcomes: dict[date, str] = field(default_factory=dict)

    def run(self) -> dict[date, str]:
        """Runs the days that the plan says are to be run, each once, and gives how it ended: done, failed or not run.

        Raises:
            StackError: Airflow cannot be reached or refuses, or the backfill was paused there.
        """
        self._wake()
        self._join()
        while left := self._left():
            span = spans(left)[0]
            self._join()  # the last one is closed some time after its runs have ended
            started = backfills.start(self.airflow, self.dag_id, span, self.at_once)
            self.report(f"Airflow's backfill {started['id']} runs {span}")
            # What stays "not run" was cancelled, or is no day of the DAG's schedule
            found = {entry.day: NOT_RUN for entry in left if entry.runs and entry.day <= span.end}
            found |= {day: outcome for day, outcome in self._followed(started, span) if day in found}
            self.outcomes |= found
        return self.outcomes

    def _left(self) -> list[PlannedDay]:
        """The plan from the first day on that is to be run and was not tried; empty where there is none."""
        left = [
            replace(entry, runs=False, reason="tried") if entry.day in self.outcomes else entry for entry in self.plan()
        ]
        begin = next((at for at, entry in enumerate(left) if entry.runs), len(left))
        return left[begin:]

    def _wake(self) -> None:
        self.airflow.wait_for_dags({self.dag_id})
        if self.airflow.is_paused(self.dag_id):
            self.airflow.unpause(self.dag_id)
            self.report(f"{self.dag_id} was paused; from now on it also runs daily")

    def _join(self) -> None:
        """Waits until no backfill of the DAG is active any more; its days are then planned anew."""
        told: set[int] = set()
        while active := backfills.active(self.airflow, self.dag_id):
            window = backfills.window_of(active)
            if active["id"] not in told and backfills.unfinished(self.airflow, self.dag_id, window):
                self.report(f"waiting for Airflow's backfill {active['id']} of {window}, which is going on")
                told.update(active["id"] for _ in self._followed(active, window))
            time.sleep(self.pause_s)

    def _followed(self, backfill: dict[str, Any], window: Window) -> Iterator[tuple[date, str]]:
        """Each run of the window's days that ends, until none waits or runs."""
        told: set[str] = set()
        while True:
            # Asked first: a run that ends in between is then still told of
            left = backfills.unfinished(self.airflow, self.dag_id, window)
            for run_id, day, success in backfills.ended(self.airflow, self.dag_id, window, backfill["created_at"]):
                if run_id not in told:
                    told.add(run_id)
                    outcome = DONE if success else FAILED
                    self.report(f"{day} {outcome} ({len(told)} of {window.days})")
                    yield day, outcome
            if not left:
                return
            if backfills.is_paused(self.airflow, backfill):
                raise StackError(
                    f"Airflow's backfill {backfill['id']} of {self.dag_id} is paused; let it go on or cancel it in "
                    "the DAG's list of backfills. The same command then does what is left."
                )
            time.sleep(self.pause_s)
