"""A task that starts another DAG, and does not wait for it.

As the provider's TriggerDagRunOperator does it; that one takes seconds to import, which every parse and task would pay.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, DagRunTriggerException


class StartDag(BaseOperator):
    """Starts a DAG once for a run id, or fails with a sentence where it is paused: what waits unseen helps nobody."""

    template_fields = ("run_id", "conf")

    def __init__(self, *, starts: str, run_id: str, conf: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.starts = starts
        self.run_id = run_id
        self.conf = conf

    def execute(self, context: Any) -> Any:
        """Starts it, unless it is paused; skipped where that run is there already."""
        if context["ti"].get_dag(self.starts).is_paused:
            raise AirflowFailException(
                f"{self.starts} is paused, so that nothing would come of starting it; unpause it in the UI, then "
                "clear this task."
            )
        raise DagRunTriggerException(
            trigger_dag_id=self.starts,
            dag_run_id=self.run_id,
            conf=self.conf,
            logical_date=None,
            reset_dag_run=False,
            skip_when_already_exists=True,
            wait_for_completion=False,
            allowed_states=[],
            failed_states=[],
            poke_interval=60,
            deferrable=False,
        )
