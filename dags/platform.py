"""
### Platform: is everything that we run well, and who must know

Runs every five minutes, one DAG for all use cases. **health** looks at the prediction service (where a champion was
ever promoted) and whether its request log lags, at MLflow, at Airflow's API server, DAG processor and triggerer, at
Postgres' connections, oldest transaction and age of frozen rows, and at the disk of the home folder; at each use case's
newest day, which must be there `deadline_minutes` after its run's time (90 by default); and at the announced ends of
upstreams. Each finding is an incident in `ops.alerts` by the key of its cause. Then it sends what has not been told
yet, of these and of all others (failed runs, drift, quality, changed shapes): once when an incident begins and once
when it is over, to the log, by e-mail (`HEADWATER_ALERT_EMAILS`, connection `smtp_default`), and to the connections of
`HEADWATER_ALERT_CONNECTIONS`.

**What to do with an incident**: its text says where to look. `headwater alerts` lists those that are open.

**Needs** Postgres. What else cannot be reached is what it tells of.

**When it fails**

* *health*: Postgres cannot be reached, or refuses. That is told by mail directly, once, from the failed run.

A channel that cannot be reached, or refuses, fails nothing: its messages wait, and the log says so. It changes no data.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task
from dag_defaults import platform_options
from notices import channels


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


with DAG(**platform_options("health", "*/5 * * * *", __doc__), dagrun_timeout=timedelta(minutes=5)) as dag:
    health()
