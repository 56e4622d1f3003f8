"""
### Score: the champion's predictions for a day, and the drift report

Runs when the features of a day have been published (its partition), or by hand. **score** keeps a prediction for
each entity in `serving.predictions`, also of the days before whose features may come late (`late_days` of the
spec), and fills in the labels that have matured; **drift** compares the last days' features with the champion's
training rows of the same season and logs the report to MLflow.

**Needs** a champion: before the first training the run is skipped, and on days without data by the spec's calendar.
Also the features, MLflow and Postgres.

**When it fails**, the log says what is missing. Clear it when that is there: the same day gives the same result.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, PartitionedAssetTimetable, task
from airflow.sdk.exceptions import AirflowSkipException
from dag_defaults import DAY_PARAM, dag_options, features_asset, run_window

from pipelines.errors import NotFoundError
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
def drift(slug: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """Evidently's report of the window against the training snapshot."""
    from models import drift as drifting

    use_case = get_use_case(slug)
    return drifting.report(use_case, run_window(use_case, partition_key, params))


def build(use_case: UseCase) -> DAG:
    """The DAG `<slug>__score`."""
    timetable = PartitionedAssetTimetable(assets=features_asset(use_case))
    with DAG(**dag_options(use_case, "score", __doc__), schedule=timetable, params={"day": DAY_PARAM}) as dag:
        score(use_case.slug) >> drift(use_case.slug)
    return dag


for case in use_cases().values():
    globals()[case.dag_id("score")] = build(case)
