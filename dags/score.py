"""
### Score: the champion's predictions for a day, and the drift report

Runs when the features of a day have been published (its partition), or by hand. **score** keeps a prediction for
each entity in `serving.predictions`, also of the days before whose features may come late (`late_days` of the
spec), and fills in the labels that have matured; **drift** holds the last days against windows of the champion's
training rows and logs the report to MLflow; where an incident needs a person, **start_review** starts `<slug>__review`,
and nothing waits for it.

**Needs** a champion: before the first training the run is skipped, and on days without data by the spec's calendar.
**drift** is skipped, with a sentence, where most of a window's days have no features.
Also the features, MLflow and Postgres.

**When it fails**, the log says what is missing. Clear it when that is there: the same day gives the same result.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, PartitionedAssetTimetable, task
from airflow.sdk.exceptions import AirflowSkipException
from dag_defaults import DAY_PARAM, dag_options, features_asset, run_window
from starting import StartDag

from pipelines.errors import NotFoundError, TooFewRowsError
from pipelines.registry import get_use_case, use_cases
from pipelines.spec import UseCase


@task
def score(slug: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """Predictions of the champion for every entity."""
    from pipelines.calendar import expected_days

    use_case = get_use_case(slug)
    window = run_window(use_case, partition_key, params)
    if not expected_days(use_case.calendar, window):
        raise AirflowSkipException(f"{window} has no data by the calendar of {slug}.")
    from models import score as scoring  # takes seconds to import

    try:
        return scoring.score(use_case, window)
    except NotFoundError as error:
        raise AirflowSkipException(str(error)) from error


@task
def drift(slug: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """The drift report of the window, and the incident that a person is to be asked about, if there is one."""
    from models import drift as drifting
    from models.drift import incidents

    use_case = get_use_case(slug)
    try:
        summary = drifting.report(use_case, run_window(use_case, partition_key, params))
    except TooFewRowsError as error:  # of a source that has just begun, or has been away
        raise AirflowSkipException(str(error)) from error
    told = {name: summary[name] for name in ("verdict", "said", "window", "model_version", "report", "link")}
    return {**told, "drifted": summary["drifted"][:20], "incident": incidents.update(use_case, summary)}


@task.short_circuit
def needs_review(found: dict[str, Any]) -> bool:
    """Whether a person is to be asked."""
    return found["incident"] is not None


def build(use_case: UseCase) -> DAG:
    """The DAG `<slug>__score`."""
    timetable = PartitionedAssetTimetable(assets=features_asset(use_case))
    with DAG(**dag_options(use_case, "score", __doc__), schedule=timetable, params={"day": DAY_PARAM}) as dag:
        found = drift(use_case.slug)
        incident = "{{ ti.xcom_pull(task_ids='drift')['incident'] }}"
        review = StartDag(
            task_id="start_review",
            starts=use_case.dag_id("review"),
            # One question an incident
            run_id=f"incident_{incident}",
            conf={"incident": incident},
        )
        score(use_case.slug) >> found
        needs_review(found) >> review
    return dag


for case in use_cases().values():
    globals()[case.dag_id("score")] = build(case)
