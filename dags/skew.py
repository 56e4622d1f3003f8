"""
### Skew: yesterday's online answers, computed again

Runs every night. The service looks features up and answers by itself; **skew** takes the answers that it has logged for
the day before (in UTC; 10,000 of them, if there were more), makes the features that were looked up again with dbt, in
schemas aside, and the answers with the model version that gave them. Both must be what was logged. Where a feature
differs, it is computed once more from the rows that were known when it was published: what comes out the same then was
corrected since, and is no skew.

**Needs** Postgres, the lake, MLflow, and a slot of the pool `warehouse`. Nobody waits for it.

**When it fails**

* *skew* says that answers do not come out as they were given, and names each column, in how many answers it differs
  and one of them; `headwater skew <slug> --day <day>` says it again, the ledger's row has all columns. A `feature`: the
  served table is not what dbt makes of the same rows. If `headwater recompute <slug>` finds the column too, the table
  is at fault, and else the look-up of the service. An `answer`: the service computed something else than the
  registered model does with the same features; roll back to the version before, and compare the two by hand. The task
  is not tried again, for it would find the same.
* *skew* says that answers were not held against what was known then: their features differ from today's, and were
  published at more than ten times, as where clients ask for days long past whose data was corrected since.
* *skew* with a version that MLflow does not give, or whose file is another one: somebody has deleted or replaced a
  registered model.
* *skew* with a history of the lake that begins later: what was known then has been vacuumed; the retention of the lake
  is shorter than the time since that day.

By hand: `headwater skew <slug> --day <day>`, or trigger this DAG with a day.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, task
from dag_defaults import DAY_PARAM, dag_options

from pipelines.pools import WAREHOUSE
from pipelines.registry import get_use_case, use_cases
from pipelines.spec import UseCase
from pipelines.window import parse_day

# The log's days are those of UTC, and its last rows arrive within minutes
TIMETABLE = CronTriggerTimetable("30 1 * * *", timezone="UTC")


@task(pool=WAREHOUSE.name, execution_timeout=timedelta(hours=3), priority_weight=0)
def skew(slug: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """The requests of yesterday, or of the day that was asked for, computed again."""
    from models import skew as replays

    chosen = (params or {}).get("day")
    day = parse_day(chosen) if chosen else datetime.now(UTC).date() - timedelta(days=1)
    return replays.replay(get_use_case(slug), day).told()


def build(use_case: UseCase) -> DAG:
    """The DAG `<slug>__skew`."""
    options = dag_options(use_case, "skew", __doc__)
    with DAG(**options, schedule=TIMETABLE, params={"day": DAY_PARAM}) as dag:
        skew(use_case.slug)
    return dag


for case in use_cases().values():
    globals()[case.dag_id("skew")] = build(case)
