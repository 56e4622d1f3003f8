"""
### Canary: does each upstream still answer in the shape that we know

Runs daily, an hour before the day's run. **look** asks the upstream of each data set a little (two answers at most,
of the newest day; of large files, it reads the newest that landed) and compares the shape of the answer with the last
one that was accepted: fields, their types, units, the layout of files; never values. A changed shape is an incident
by the name of what changed (a field gone, new or renamed, a type, a unit), so that it is known before it breaks a
load. The first shape that is seen is accepted.

**What to do with a changed shape**: look at the upstream's announcements. Where our parser takes the new shape, accept
it: `headwater sources <slug> --accept <data set>`. Else mend the parser or the contract first; landing keeps every
answer, so that a load which stopped is made good by clearing its *check*.

**Needs** the upstreams and Postgres. It stores nothing but shapes (`ops.source_shapes`).

**When it fails**

* *look*: Postgres cannot be reached. An upstream that cannot be reached fails nothing here: the daily run tries it for
  longer, and tells.

By hand: `headwater sources <slug> --look`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, task
from dag_defaults import dag_options

from pipelines.registry import get_use_case, use_cases
from pipelines.schedule import daily_time, monthly_time
from pipelines.spec import UseCase

AHEAD = timedelta(hours=1)


@task(priority_weight=0)
def look(slug: str) -> list[dict[str, Any]]:
    """The shape of each upstream's answer, held against the accepted one."""
    from pipelines import canary
    from pipelines.settings import get_settings

    return [asdict(one) for one in canary.run(get_use_case(slug), get_settings())]


def _schedule(use_case: UseCase) -> str:
    at = monthly_time(use_case)[1] if use_case.period == "month" else daily_time(use_case)
    ahead = datetime.combine(date(2000, 1, 2), at) - AHEAD
    return f"{ahead.minute} {ahead.hour} * * *"


def build(use_case: UseCase) -> DAG:
    """The DAG `<slug>__canary`."""
    timetable = CronTriggerTimetable(_schedule(use_case), timezone=use_case.timezone)
    with DAG(**dag_options(use_case, "canary", __doc__), schedule=timetable) as dag:
        look(use_case.slug)
    return dag


for case in use_cases().values():
    globals()[case.dag_id("canary")] = build(case)
