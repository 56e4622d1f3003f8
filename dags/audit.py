"""
### Audit: what is stored of the last month, as a page

Runs monthly. **audit** holds the month's days against the calendar and the ledger, the rows received against those
accepted and refused, and each column of the features against the twelve months before; it adds what the newest
recompute said and what the use case's own checks (the relations of `<slug>_quality`) list. The page is
`reports/<slug>/quality/<month>.html` in Headwater's home, the same as JSON beside it. The task's result names both the
page and the verdict: `sound`, `look` (worth a look) or `bad` (something is wrong). A verdict does not fail the task: it
speaks of the month, and nothing here would mend it.

**What to do with a verdict**: the reasons stand at the top of the page. Days that are missing, failed or were never
asked for: `headwater backfill`. Rows in quarantine: `headwater quarantine`. A column that has shifted, is empty or out
of its range: look at the same column of the upstream first. A recompute that found differences: the page of that DAG.

**Needs** Postgres, the lake (for the quarantine) and a place to write reports. It changes no data.

**When it fails**

* *audit*: Postgres or the lake cannot be reached, or one of the relations in `<slug>_quality` cannot be read; the log
  says which. Clear it when that is mended: the page is written anew.

By hand: `headwater report quality <slug> --month 2026-03`, or trigger this DAG with the parameter *month*.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, task
from dag_defaults import dag_options

from pipelines.pools import WAREHOUSE
from pipelines.registry import get_use_case, use_cases
from pipelines.spec import UseCase

MONTH_PARAM = Param(
    None,
    type=["null", "string"],
    pattern="^[0-9]{4}-[0-9]{2}$",
    title="Month",
    description="Month to audit, as YYYY-MM; by default, the last whole one.",
)


# Where both wait for a slot, the daily run's tasks go first
@task(pool=WAREHOUSE.name, priority_weight=0)
def audit(slug: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """The month's page and its verdict."""
    from pipelines import audit as audits

    return audits.summary(audits.run(get_use_case(slug), (params or {}).get("month")))


def build(use_case: UseCase) -> DAG:
    """The DAG `<slug>__audit`."""
    timetable = CronTriggerTimetable(use_case.audit_schedule, timezone=use_case.timezone)
    with DAG(**dag_options(use_case, "audit", __doc__), schedule=timetable, params={"month": MONTH_PARAM}) as dag:
        audit(use_case.slug)
    return dag


for case in use_cases().values():
    globals()[case.dag_id("audit")] = build(case)
