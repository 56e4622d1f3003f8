"""The data steps of a nowcast: as the daily ones, for the last days, each quarter of an hour.

fetch      → what is newer than the newest value known, in landing
check      → rows that fit the contract in the lake, the others in quarantine
load       → the lake's rows of the last days in Postgres; identical rows change nothing, late corrections win
aggregate  → dbt: hours, and `<slug>.inference_window`, the features of each entity as of a moment

All may run again at any time. A run for a moment of the past knows what was corrected since, and nothing that was
measured later; it leaves the table of the present alone and writes `<slug>.inference_window_replay`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pipelines import database, ledger, registry, steps
from pipelines.errors import NotFoundError, SettingsError
from pipelines.news import News
from pipelines.raw_tables import ensure_table, raw_table
from pipelines.settings import Settings, get_settings
from pipelines.spec import Dataset, Nowcast, UseCase
from pipelines.steps import Counts
from pipelines.window import Window

REPLAY = "inference_window_replay"
AGGREGATE = "aggregate"
"""The step's name in the ledger; its data set there is `inference_window`."""


def declared(use_case: UseCase) -> Nowcast:
    """What a use case declares of its nowcast.

    Raises:
        NotFoundError: it has none.
    """
    if use_case.nowcast is None:
        raise NotFoundError(
            f"{use_case.slug} declares no nowcast; give its spec one: nowcast=Nowcast(datasets=(...,))."
        )
    return use_case.nowcast


def parse_moment(text: str) -> datetime:
    """A moment in UTC from ISO text; one without an offset is meant in UTC.

    Raises:
        SettingsError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no moment; write it as 2026-03-01T10:15 (UTC).") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def moment_of(use_case: UseCase, moment: datetime) -> datetime:
    """The moment that a run at a moment works for: the last one of its schedule, in UTC."""
    minutes = declared(use_case).minutes
    midnight = datetime.combine(moment.astimezone(UTC).date(), time(), UTC)
    return midnight + (moment - midnight) // timedelta(minutes=minutes) * timedelta(minutes=minutes)


def moment_asked_for(use_case: UseCase, text: str, now: datetime) -> datetime:
    """The moment that a run at a moment of the past works for, from ISO text.

    Raises:
        SettingsError: it is none, or Postgres keeps no values of its days, so that there could be no forecast.
    """
    moment, nowcast = moment_of(use_case, parse_moment(text)), declared(use_case)
    if window_of(use_case, moment).start < kept_from(use_case, now):
        first = datetime.combine(kept_from(use_case, now) + timedelta(days=nowcast.days - 1), time(), UTC)
        raise SettingsError(
            f"Postgres keeps the values of {nowcast.warehouse_days} days (warehouse_days of the nowcast), so there is "
            f"no forecast as of {moment:%Y-%m-%d %H:%M} UTC; name a moment from {first:%Y-%m-%d} on."
        )
    return moment


def kept_from(use_case: UseCase, now: datetime) -> date:
    """The first day (UTC) whose values Postgres keeps."""
    return now.astimezone(UTC).date() - timedelta(days=declared(use_case).warehouse_days)


def is_superseded(use_case: UseCase, moment: datetime, now: datetime) -> bool:
    """Whether the next run's time has come, which does all that this one would have done."""
    return now >= moment + timedelta(minutes=declared(use_case).minutes)


def window_of(use_case: UseCase, moment: datetime) -> Window:
    """The days (UTC) that a run for a moment works on."""
    day = moment.astimezone(UTC).date()
    return Window(day - timedelta(days=declared(use_case).days - 1), day)


def fetch(use_case: UseCase, moment: datetime, settings: Settings | None = None) -> Counts:
    """Asks for what is new up to a moment, and keeps the answers, as received, in landing.

    Raises:
        SourceError: the upstream cannot be reached or refuses, after all tries.
        ContractError: the upstream calls the request wrong.
    """
    settings = settings or get_settings()
    told = {"bytes": 0, "answers": 0}
    for dataset in declared(use_case).datasets:
        window, news = window_of(use_case, moment), _news(use_case, dataset, moment, settings)
        received = registry.part(use_case, "source").fetch_news(dataset, news, settings)
        counts = steps.land(use_case, dataset, window, received, settings)
        told = {name: told[name] + counts[name] for name in told}
    return told


def _news(use_case: UseCase, dataset: Dataset, moment: datetime, settings: Settings) -> News:
    url, nowcast = settings.require_database(), declared(use_case)
    ensure_table(url, use_case, dataset)
    window, column = window_of(use_case, moment), nowcast.time_column
    rows = database.query(
        url,
        f"select {use_case.entity}::text as entity, max({column}) as newest from {raw_table(use_case, dataset)}"
        f" where {dataset.day_column} between %s and %s and {column} < %s group by 1",
        (window.start, window.end, moment),
    )
    since = datetime.combine(window.start, time(), UTC)
    newest = {row["entity"]: row["newest"] for row in rows}
    return News(since, moment, newest, timedelta(hours=nowcast.overlap_hours))


def check(use_case: UseCase, moment: datetime, settings: Settings | None = None) -> Counts:
    """Holds the landed rows against the contract; the good go to the lake, the others to quarantine.

    Raises:
        NotFoundError: nothing was fetched for the moment's days.
        ContractError: the shape of the answer changed; nothing was stored.
    """
    return _each(steps.check, use_case, moment, settings)


def load(use_case: UseCase, moment: datetime, settings: Settings | None = None) -> Counts:
    """Brings the lake's rows of the last days into Postgres, and drops those that it has kept long enough.

    Raises:
        DatabaseError: Postgres cannot be reached or refused; the old table stands.
    """
    settings = settings or get_settings()
    counts = _each(steps.load, use_case, moment, settings)
    _prune(use_case, settings)
    return counts


def _each(step: Any, use_case: UseCase, moment: datetime, settings: Settings | None) -> Counts:
    """A step of every data set; the sums of its counts."""
    told: Counts = {}
    for dataset in declared(use_case).datasets:
        counts = step(use_case, dataset, window_of(use_case, moment), settings)
        for name in ("received", "accepted", "quarantined", "inserted", "updated", "unchanged"):
            if name in counts:
                told[name] = told.get(name, 0) + counts[name]
        told["state"] = counts["state"]
    return told


def _prune(use_case: UseCase, settings: Settings) -> None:
    """Deletes from Postgres, not from the lake, the values of days that no window reaches any more."""
    nowcast = declared(use_case)
    cutoff = kept_from(use_case, datetime.now(UTC))
    for dataset in nowcast.datasets:
        table = raw_table(use_case, dataset)
        database.query(settings.require_database(), f"delete from {table} where {dataset.day_column} < %s", (cutoff,))


def aggregate(use_case: UseCase, moment: datetime, settings: Settings | None = None, *, replay: bool = False) -> Counts:
    """Builds the hours that were touched and the features as of a moment, tests and publishes them.

    Raises:
        TransformError: a dbt node failed or was skipped; the table published before stands.
        NotFoundError: there are no daily features yet, on which the models build.
    """
    from pipelines import dbt  # dbt takes seconds to import; only this step needs it

    settings, nowcast = settings or get_settings(), declared(use_case)
    url, window = settings.require_database(), window_of(use_case, moment)
    if not database.exists(url, use_case.feature_table):
        raise NotFoundError(
            f"{use_case.slug} has no features yet; bring history in: headwater bootstrap {use_case.slug}."
        )
    for dataset in use_case.stored:
        ensure_table(url, use_case, dataset)
    variables = {
        "as_of": moment.astimezone(UTC).isoformat(),
        "inference_table": table_of(use_case, replay=replay).partition(".")[2],
        "minutes": nowcast.minutes,
        "window_days": nowcast.window_days,
        "kept_days": nowcast.warehouse_days,
        "stale_minutes": nowcast.stale_minutes,
        "forecast_hours": nowcast.forecast_hours,
        "daily_days": nowcast.daily_days,
    }
    with ledger.entry(url, use_case, "inference_window", AGGREGATE, window) as report:
        built = dbt.build_nowcast(use_case, window, settings, variables)
        rows = freshness(use_case, settings, replay=replay)
        stale = sum(row["is_stale"] for row in rows)
        report.counts = {"accepted": len(rows)}
        report.detail = {"moment": str(moment), "stale": stale, "models": built}
    return {"accepted": len(rows), "stale": stale, "models": len(built)}


def table_of(use_case: UseCase, *, replay: bool = False) -> str:
    """Qualified name of the table with the features as of now, or as of the moment of the last replay."""
    return f"{use_case.slug}.{REPLAY}" if replay else use_case.inference_table


def freshness(use_case: UseCase, settings: Settings, *, replay: bool = False) -> list[dict[str, Any]]:
    """Of each entity the newest value, how late it is, and what follows from that.

    Columns: the entity, `newest_at`, `late_minutes`, `as_of` (of its features), `is_stale`, `has_forecast`.

    Raises:
        NotFoundError: nothing was aggregated yet.
    """
    url, table = settings.require_database(), table_of(use_case, replay=replay)
    if not database.exists(url, table):
        raise NotFoundError(f"There is no {table} yet; run: headwater nowcast {use_case.slug}.")
    return database.query(
        url,
        f"select {use_case.entity}, newest_at, late_minutes, as_of, is_stale, has_forecast from {table} order by 1",
    )
