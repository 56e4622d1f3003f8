"""
### Recompute: all features anew, which must change nothing

Runs weekly. The daily ingest computes only the days that a change reaches; **recompute** builds the same models from
the first day on, in schemas aside, and holds every row and column against what is published. Floats may differ by one
part in 10⁹. What loads left for the next transform is computed first, so news is no difference.

**Needs** Postgres, and a slot of the pool `warehouse`. Loads of the use case wait while it runs; readers do not.

**When it fails**

* *recompute* says that rows are not what is computed anew: the past has changed without new data. The new values are
  published by then, since they are what the present code makes of all days alike; the sentence names the days and
  columns, `select * from <slug>_recompute.differences` gives each value before and after, and the ledger's row has
  the counts by month. Ask first what was deployed in that week: a model of dbt that was changed without computing its
  history is the usual cause. If nothing was, a change reached further than `memory_days`, `label_days` or
  `carries_state` of the spec say: mend those. If the model in service was trained on the old values, train it again.
  The task is not tried again, for it would find the new values in place; clear it to see that they now hold.
* *recompute* with a dbt node that failed: a dbt test does not hold on some day of history. What is published stands.
* A timeout: history has outgrown the task's hours; build it by hand with `headwater recompute`, and raise the limit.

By hand: `headwater recompute <slug>`, or trigger this DAG.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, task
from dag_defaults import RetryUnlessLong, dag_options

from pipelines.pools import WAREHOUSE
from pipelines.registry import get_use_case, use_cases
from pipelines.spec import UseCase


# All of history takes longer than a day; and where both wait for a slot, the daily run's tasks go first
@task(pool=WAREHOUSE.name, execution_timeout=timedelta(hours=6), priority_weight=0, retry_policy=RetryUnlessLong())
def recompute(slug: str) -> dict[str, Any]:
    """All features anew, held against the published ones."""
    from pipelines import recheck

    return recheck.run(get_use_case(slug))


def build(use_case: UseCase) -> DAG:
    """The DAG `<slug>__recompute`."""
    timetable = CronTriggerTimetable(use_case.recompute_schedule, timezone=use_case.timezone)
    with DAG(**dag_options(use_case, "recompute", __doc__), schedule=timetable) as dag:
        recompute(use_case.slug)
    return dag


for case in use_cases().values():
    globals()[case.dag_id("recompute")] = build(case)
