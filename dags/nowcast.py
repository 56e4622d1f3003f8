"""
### Nowcast: forecasts between the daily runs

Runs every quarter of an hour (the spec's schedule), where a use case declares a nowcast. **fetch** asks for the values
since the newest known, **check** holds them against the contract, **load** brings them into Postgres (identical rows
change nothing, late corrections win), **aggregate** makes hours of them and the features of each entity as of now
(`<slug>.inference_window`), **score** keeps the champion's forecasts in `serving.predictions`, channel `nowcast`.

One run at a time. A run that begins when the next one's time has come is skipped: the next does all that it would have
done. Tasks run in a pool of their own, `nowcast`, and give way to the daily run's where both wait for a slot.

**Needs** the upstream, Postgres, the lake and MLflow; the daily features, to which the present day's values are added;
and a champion, without which *score* is skipped. **Retries** twice within two minutes, and a run ends after 14.

**When it fails**

* *fetch*: the upstream is down or limits the rate; the log names the address. Nothing is to be done: the next run asks
  for all that was missed, up to two days.
* *check*: the upstream changed its shape; the log names the field. Mend the parser, then `headwater nowcast <slug>`.
* *load*: Postgres. The old table stands, and the next run loads the same days again.
* *aggregate*: a dbt test failed; the log names it. The table published before stands.
* *score*: MLflow or Postgres cannot be reached; the log says which.

A gauge that is silent fails nothing: `headwater nowcast <slug> --freshness` tells which are. **By hand**: trigger it,
with the parameter *at* for a moment of the past, which leaves the table of the present alone; one whose days Postgres
keeps no values of any more is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, chain, task
from airflow.sdk.exceptions import AirflowSkipException
from dag_defaults import dag_options

from pipelines.errors import NotFoundError
from pipelines.pools import NOWCAST
from pipelines.registry import get_use_case, use_cases
from pipelines.spec import Nowcast, UseCase

AT_PARAM = Param(
    None,
    type=["null", "string"],
    format="date-time",
    title="At",
    description="Moment of the past to work for, such as 2026-03-01T10:15:00Z; by default, now.",
)
# A run is to be over before the next one's time, so there is no waiting for an upstream that restarts
IN_TIME: dict[str, Any] = {
    "retries": 2,
    "retry_delay": timedelta(seconds=20),
    "max_retry_delay": timedelta(minutes=1),
    "execution_timeout": timedelta(minutes=5),
    "pool": NOWCAST.name,
    # Less than the daily run's
    "priority_weight": 0,
}


@task
def fetch(slug: str, params: dict[str, Any] | None = None, logical_date: datetime | None = None) -> dict[str, Any]:
    """What is new of the upstream, as received, into landing."""
    from pipelines import nowcast

    use_case, at = get_use_case(slug), (params or {}).get("at")
    now = datetime.now(UTC)
    moment = nowcast.moment_asked_for(use_case, at, now) if at else nowcast.moment_of(use_case, logical_date or now)
    if not at and nowcast.is_superseded(use_case, moment, now):
        raise AirflowSkipException(f"The run after that for {moment} does its work.")
    return {"moment": moment.isoformat(), "replay": bool(at), **nowcast.fetch(use_case, moment)}


@task
def check(slug: str, told: dict[str, Any]) -> Any:
    """Good rows into the lake, bad ones into quarantine."""
    return _step("check", slug, told)


@task
def load(slug: str, told: dict[str, Any]) -> Any:
    """The lake's rows of the last days into Postgres."""
    return _step("load", slug, told)


def _step(name: str, slug: str, told: dict[str, Any], **more: Any) -> Any:
    from pipelines import nowcast

    return getattr(nowcast, name)(get_use_case(slug), nowcast.parse_moment(told["moment"]), **more)


@task
def aggregate(slug: str, told: dict[str, Any]) -> Any:
    """Hours, and the features of each entity as of now, tested, then published."""
    return _step("aggregate", slug, told, replay=told["replay"])


@task
def score(slug: str, told: dict[str, Any]) -> Any:
    """Forecasts of the champion for every entity whose features are recent."""
    from models import nowcast as forecasting  # takes seconds to import
    from pipelines import nowcast

    try:
        return forecasting.run(get_use_case(slug), nowcast.parse_moment(told["moment"]), replay=told["replay"])
    except NotFoundError as error:
        raise AirflowSkipException(str(error)) from error


def build(use_case: UseCase, declared: Nowcast) -> DAG:
    """The DAG `<slug>__nowcast`."""
    options = dag_options(use_case, "nowcast", __doc__)
    options["default_args"] |= IN_TIME
    options["dagrun_timeout"] = timedelta(minutes=declared.minutes - 1)
    timetable = CronTriggerTimetable(declared.schedule, timezone="UTC")
    with DAG(**options, schedule=timetable, params={"at": AT_PARAM}) as dag:
        told = fetch(use_case.slug)
        chain(*(step(use_case.slug, told) for step in (check, load, aggregate, score)))
    return dag


for case in use_cases().values():
    if case.nowcast is not None:
        globals()[case.dag_id("nowcast")] = build(case, case.nowcast)
