"""
### Ingest: from the upstreams to published features, a day at a time

Runs daily, each run for one day (its partition): that which is the spec's `lag_days` before, on the clock of the
spec's time zone. For each data set: **fetch** the upstream's bytes into landing,
**check** them against the contract (bad rows go to quarantine), **load** the good ones into Postgres. Then dbt
**transform**s the days touched, and publishes the features when their tests have passed. On a day without data by the
spec's calendar (weekends, holidays) every task says `not-expected` and does nothing.

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
* *load*: Postgres. The old table stands.
* *transform*: a dbt test failed; the log names it. The features published before stand.

Every task may be cleared at any time: the same day gives the same result.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, CronPartitionTimetable, task, task_group
from dag_defaults import DAY_FORMAT, DAY_PARAM, dag_options, features_asset, run_day

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
    from pipelines.window import Window

    use_case = get_use_case(slug)
    day = run_day(use_case, partition_key, params)
    return getattr(steps, name)(use_case, use_case.dataset(dataset), Window(day, day))


# dbt builds a use case for one window at a time; the next one is to wait here, not with a slot in its hand
@task(pool=WAREHOUSE.name, max_active_tis_per_dag=1)
def transform(slug: str, partition_key: str | None = None, params: dict[str, Any] | None = None) -> Any:
    """Features of the days touched, tested, then published."""
    from pipelines import steps
    from pipelines.window import Window

    use_case = get_use_case(slug)
    day = run_day(use_case, partition_key, params)
    return steps.transform(use_case, Window(day, day))


def build(use_case: UseCase) -> DAG:
    """The DAG `<slug>__ingest`."""
    timetable = CronPartitionTimetable(
        use_case.schedule, timezone=use_case.timezone, run_offset=-use_case.lag_days, key_format=DAY_FORMAT
    )
    with DAG(**dag_options(use_case, "ingest", __doc__), schedule=timetable, params={"day": DAY_PARAM}) as dag:
        published = transform.override(outlets=[features_asset(use_case)])(use_case.slug)
        for dataset in use_case.datasets:

            @task_group(group_id=dataset.name)
            def steps_of(name: str, pool: str) -> None:
                fetched = fetch.override(pool=pool)(use_case.slug, name)
                fetched >> check(use_case.slug, name) >> load(use_case.slug, name)

            steps_of(dataset.name, upstream_pool(use_case, dataset)) >> published
    return dag


for case in use_cases().values():
    globals()[case.dag_id("ingest")] = build(case)
