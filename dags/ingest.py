"""
### Ingest: from the upstreams to published features, a day (or a month) at a time

Runs daily, each run for one day (its partition): that which is the spec's `lag_days` before, on the clock of the
spec's time zone. For each data set: **fetch** the upstream's bytes into landing, **check** them against the contract
(bad rows go to quarantine), **load** the good ones into Postgres. **quality** scores what is there (complete, valid,
consistent, in time) and holds it against the spec's gates, which warn or hold back. Then dbt **transform**s the days
touched, and publishes the features when their tests have passed; **profile** scores the features and logs what the
window holds as a run of the MLflow experiment `<slug>-data`. On a day without data by the spec's calendar (weekends,
holidays) every task says `not-expected` and does nothing. Where the spec's period is a month, a run works on a whole
month, and its partition is the month's first day.

**Large files** are checked and loaded in shards, side by side: **plan_check** says which shards a file has,
**check_shard** works on one of them, and **check** puts them all in place at once; so do **plan_load**, **load_shard**
and **load**. Nobody sees a shard before that. A shard whose month another run has put in place meanwhile is left.

**By hand**: trigger it with a partition key (in the advanced options, a day as YYYY-MM-DD), and the scoring of that day
follows. With the parameter *day* alone it ingests that day and nothing follows.

**A range of days**: `headwater backfill` runs the days that the ledger lacks (`--plan` says which, and why). The
button *Trigger*, with *Backfill*, takes a range as well; a day belongs to it if its time of schedule does, so let it
end at 23:59. Neither keeps the daily run waiting: a backfill's runs do not count against the one run at a time that
this DAG allows, and a free slot goes to the tasks of scheduled and manual runs first, then to the scoring and training
that follow from data, then to a backfill's.

**Pools** limit how many tasks ask one system at once, over all runs: *fetch* takes a slot in its upstream's pool (none
where the data set is a file of ours), *load* and *transform* take one in `warehouse`. The sizes come from the specs;
`headwater up` sets them, elsewhere `headwater pools --apply`. Tasks of a pool that is missing wait until it is there.

**Needs** the upstreams, Postgres and the lake. **Retries** four times with growing delays; a broken contract is
not retried.

**When it fails**

* *fetch*: the upstream is down or limits the rate; the log names the address. Clear the task when it is back:
  nothing was lost, the next runs ask again for the last days.
* *check*: the upstream changed its shape; the log names the field and its likely new name. Mend the parser or the
  contract, then clear the task: it reads landing again, not the upstream.
* *plan_check*, *check_shard*: as *check*. The others' work stays; clear the one that failed.
* *load*: Postgres. The old table stands. *plan_load* and *load_shard* alike.
* *quality*: a gate of a spec that says `hold`; the log has the scores, `reports/<slug>/quality/days` the rows. Mend the
  data and clear it, or mark it as successful to publish all the same. The features published before stand.
* *transform*: a dbt test failed; the log names it. The features published before stand.
* *profile*: Postgres. The features are published all the same. Without MLflow it is skipped; clear it to have the run.

**A run that is late**: one that is not over 90 minutes (the spec's `deadline_minutes`) after it was due is an
incident, as is a day that is not there by then; both end by themselves when it is.

Every task may be cleared at any time: the same day gives the same result.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    CronPartitionTimetable,
    DeadlineAlert,
    SyncCallback,
    task,
    task_group,
)
from airflow.sdk.exceptions import AirflowSkipException
from dag_defaults import DAY_PARAM, KEY_FORMATS, dag_options, features_asset, run_window
from headwater_deadlines import Due

from pipelines.errors import ModelError
from pipelines.pools import WAREHOUSE, upstream_pool
from pipelines.registry import get_use_case, use_cases
from pipelines.spec import UseCase


@task
def fetch(slug: str, dataset: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """The upstream's bytes, as received, into landing."""
    return _step("fetch", slug, dataset, partition_key, params)


@task
def check(slug: str, dataset: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """Good rows into the lake, bad ones into quarantine."""
    return _step("check", slug, dataset, partition_key, params)


@task(pool=WAREHOUSE.name)
def load(slug: str, dataset: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """The lake's rows of the day into Postgres."""
    return _step("load", slug, dataset, partition_key, params)


def _step(name: str, slug: str, dataset: str, partition_key: str | None, params: dict[str, Any] | None) -> Any:
    from pipelines import steps

    use_case = get_use_case(slug)
    return getattr(steps, name)(use_case, use_case.dataset(dataset), run_window(use_case, partition_key, params))


@task
def plan_check(slug: str, dataset: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """Which shards the landed files have."""
    return _part("plan_check", slug, dataset, partition_key, params)


@task
def check_shard(
    slug: str, dataset: str, number: int, partition_key: str | None = None, params: dict[str, Any] | None = None
) -> Any:
    """The rows of one shard into files of the lake that nobody sees yet."""
    return _part("check_shard", slug, dataset, partition_key, params, number)


# A file without rows has no shards
@task(task_id="check", trigger_rule="none_failed")
def join_check(slug: str, dataset: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """All shards in place of their months in the lake, and the bad rows into quarantine."""
    return _part("join_check", slug, dataset, partition_key, params)


@task(pool=WAREHOUSE.name)
def plan_load(slug: str, dataset: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """Which shards Postgres lacks."""
    return _part("plan_load", slug, dataset, partition_key, params)


@task(pool=WAREHOUSE.name)
def load_shard(
    slug: str, dataset: str, number: int, partition_key: str | None = None, params: dict[str, Any] | None = None
) -> Any:
    """One shard into a table of its own that nobody sees yet."""
    return _part("load_shard", slug, dataset, partition_key, params, number)


@task(task_id="load", pool=WAREHOUSE.name, trigger_rule="none_failed")
def join_load(slug: str, dataset: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """All shards in place of their months in Postgres."""
    return _part("join_load", slug, dataset, partition_key, params)


def _part(
    name: str, slug: str, dataset: str, partition_key: str | None, params: dict[str, Any] | None, *more: int
) -> Any:
    from pipelines import sharded

    use_case = get_use_case(slug)
    window = run_window(use_case, partition_key, params)
    return getattr(sharded, name)(use_case, use_case.dataset(dataset), window, *more)


# It reads some thousand rows: no slot in the warehouse's pool, where it would wait behind builds
@task
def quality(slug: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """The scores of what was loaded, held against the gates."""
    from pipelines import quality as scores

    use_case = get_use_case(slug)
    window = run_window(use_case, partition_key, params)
    outcome = scores.run(use_case, window, layers=("data",))
    scores.require(use_case, window, outcome)
    return {name: outcome[name] for name in ("scores", "anomalies")} | {"below": outcome["below"][:5]}


# dbt builds a use case for one window at a time; the next one is to wait here, not with a slot in its hand
@task(pool=WAREHOUSE.name, max_active_tis_per_dag=1)
def transform(slug: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """Features of the days touched, tested, then published."""
    from pipelines import steps

    use_case = get_use_case(slug)
    return steps.transform(use_case, run_window(use_case, partition_key, params))


@task
def profile(slug: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """The scores of the features, and a run in MLflow that says what the window holds."""
    from models import profile as profiles  # takes seconds to import
    from pipelines import quality as scores

    use_case = get_use_case(slug)
    window = run_window(use_case, partition_key, params)
    outcome = scores.run(use_case, window, layers=("features",))
    try:
        return {"below": outcome["below"][:5], **profiles.log(use_case, window)}
    except ModelError as error:  # the day is published; that MLflow is down is an incident of its own
        raise AirflowSkipException(str(error)) from error


def deadline(use_case: UseCase) -> DeadlineAlert:
    """That the daily run is over so long after it was due, or its incident is opened."""
    minutes = use_case.quality.deadline_minutes
    return DeadlineAlert(
        reference=Due(),
        interval=timedelta(minutes=minutes),
        callback=SyncCallback(
            "pipelines.deadlines.missed", kwargs={"dag_id": use_case.dag_id("ingest"), "minutes": minutes}
        ),
        name="the day's data is there",
    )


def _in_shards(slug: str, name: str, fetched: Any) -> None:
    """Map and join, twice: the shards of the files into the lake, and those of the lake into Postgres."""
    shards = plan_check(slug, name)
    checked = join_check(slug, name)
    fetched >> shards
    check_shard.partial(slug=slug, dataset=name).expand(number=shards) >> checked
    loads = plan_load(slug, name)
    checked >> loads
    load_shard.partial(slug=slug, dataset=name).expand(number=loads) >> join_load(slug, name)


def build(use_case: UseCase) -> DAG:
    """The DAG `<slug>__ingest`."""
    # A run of the schedule is a day or a month, and so is what it lags behind
    lag = use_case.lag_months if use_case.period == "month" else use_case.lag_days
    timetable = CronPartitionTimetable(
        use_case.schedule, timezone=use_case.timezone, run_offset=-lag, key_format=KEY_FORMATS[use_case.period]
    )
    options = dag_options(use_case, "ingest", __doc__) | {"deadline": deadline(use_case)}
    with DAG(**options, schedule=timetable, params={"day": DAY_PARAM}) as dag:
        scored = quality(use_case.slug)
        published = transform.override(outlets=[features_asset(use_case)])(use_case.slug)
        scored >> published >> profile(use_case.slug)
        for dataset in use_case.datasets:

            @task_group(group_id=dataset.name)
            def steps_of(name: str, pool: str, is_sharded: bool) -> None:
                fetched = fetch.override(pool=pool)(use_case.slug, name)
                if is_sharded:
                    _in_shards(use_case.slug, name, fetched)
                else:
                    fetched >> check(use_case.slug, name) >> load(use_case.slug, name)

            pool = upstream_pool(use_case, dataset)
            steps_of(dataset.name, pool, dataset.shard_rows is not None) >> scored
    return dag


for case in use_cases().values():
    globals()[case.dag_id("ingest")] = build(case)
