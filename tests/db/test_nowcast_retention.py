"""How long Postgres keeps the values that are measured within the day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from db.helpers import FLOOD, Upstreams

from pipelines import database, lake, nowcast
from pipelines.settings import Settings
from pipelines.window import EVER

RAW = "raw_flood.instantaneous"
INSTANTANEOUS = FLOOD.dataset("instantaneous")


def test_values_that_no_window_reaches_are_deleted_from_postgres_and_stay_in_the_lake(
    settings: Settings, upstreams: Upstreams
) -> None:
    today = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    url = settings.require_database()
    for days in (FLOOD.nowcast.warehouse_days + 3, 0):  # type: ignore[union-attr]
        moment = today - timedelta(days=days)
        upstreams.today, upstreams.now = moment.date(), moment
        for step in (nowcast.fetch, nowcast.check, nowcast.load):
            step(FLOOD, moment, settings)
    (found,) = database.query(url, f"select min(day) as first, max(day) as last from {RAW}")
    assert found == {"first": today.date() - timedelta(days=1), "last": today.date()}
    kept = lake.read_normalized(settings.lake, FLOOD, INSTANTANEOUS, EVER).get_column("day")
    assert kept.min() == today.date() - timedelta(days=FLOOD.nowcast.warehouse_days + 4)  # type: ignore[union-attr]
