"""What Airflow calls when a daily run is not over by its deadline. Light: parsing a DAG file imports it."""

from __future__ import annotations

from typing import Any


def missed(dag_id: str, minutes: int, context: dict[str, Any]) -> bool:
    """Announces that a run is late, with the key of the DAG's failed runs: whatever comes of it is the same incident.

    Args:
        context: what Airflow says of the run: `dag_run`, as its API answers it.

    Returns:
        Whether it was announced as new; a run that has failed was announced by itself.
    """
    from pipelines import alerts
    from pipelines.settings import get_settings

    # Airflow forgets the deadlines of runs that succeed, and of no others
    if context["dag_run"].get("state") in ("success", "failed"):
        return False
    settings = get_settings()
    return alerts.announce(
        settings,
        f"run {dag_id}",
        f"{dag_id} is late",
        f"The run {context['dag_run']['dag_run_id']} was not over {minutes} minutes after it was due. Its page "
        f"says what it waits for: {settings.airflow_pages}/dags/{dag_id} . The incident ends with the next run that "
        "succeeds.",
        "critical",
    )
