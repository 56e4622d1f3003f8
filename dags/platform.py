"""
### Platform: is everything that we run well, and who must know

Runs every five minutes, one DAG for all use cases. **health** looks at the prediction service (where a champion was
ever promoted) and whether its request log lags, at MLflow, at Postgres' connections, oldest transaction and age of
frozen rows, and at the disk of the home folder; at each use case's newest day, which must be there `deadline_minutes`
after its run's time (90 by default); and at the announced ends of upstreams. Each finding is an incident in
`ops.alerts` by the key of its cause. Then it sends what has not been told yet, of these and of all others (failed
runs, drift, quality, changed shapes): once when an incident begins and once when it is over, to the log, by e-mail
(`HEADWATER_ALERT_EMAILS`, connection `smtp_default`), and to the connections of `HEADWATER_ALERT_CONNECTIONS`.

**What to do with an incident**: its text says where to look. `headwater alerts` lists those that are open.

**Needs** Postgres. What else cannot be reached is what it tells of.

**When it fails**

* *health*: Postgres cannot be reached, or refuses. That is told by mail directly, once, from the failed run.

A channel that cannot be reached fails nothing: its messages wait, and the log says so. It changes no data.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, task
from dag_defaults import DEFAULT_ARGS
from notices import channels, tell_failure, tell_recovery

OWNER = "platform"


# Five minutes later it looks again anyway
@task(retries=1, retry_delay=timedelta(seconds=15), execution_timeout=timedelta(minutes=4))
def health() -> dict[str, Any]:
    """All checks, and what is to be told of."""
    from pipelines import health as checks
    from pipelines import notify
    from pipelines.registry import use_cases
    from pipelines.settings import get_settings

    settings = get_settings()
    found = checks.look(use_cases().values(), settings, datetime.now(UTC))
    return {**found, "told": notify.deliver(settings, channels(settings))}


with DAG(
    dag_id="platform__health",
    dag_display_name="Platform: health",
    doc_md=__doc__,
    default_args={**DEFAULT_ARGS, "owner": OWNER},
    on_failure_callback=tell_failure,
    on_success_callback=tell_recovery,
    tags=["platform", "health"],
    catchup=False,
    max_active_runs=1,
    # Nobody would miss it before something else is missed
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(minutes=5),
    schedule=CronTriggerTimetable("*/5 * * * *", timezone="UTC"),
) as dag:
    health()
