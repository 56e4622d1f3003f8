"""What is asked of the exchange's two hosts, which files history comes in, and which parser reads what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.calendar import expected_days
from pipelines.contract import FAULT
from pipelines.errors import ContractError, SourceError
from pipelines.http import Upstream
from pipelines.landing import LandedObject, Received, Recording
from pipelines.settings import Settings
from pipelines.spec import Dataset
from pipelines.use_cases.equities import actions, prices, recordings
from pipelines.use_cases.equities.layouts import Schema, refused
from pipelines.use_cases.equities.names import bhavcopy_path, delivery_path
from pipelines.use_cases.equities.recordings import CSV, JSON
from pipelines.use_cases.equities.spec import ACTIONS, USE_CASE
from pipelines.use_cases.equities.tables import read_table, unusable
from pipelines.window import Window

Answers = list[tuple[LandedObject, bytes]]
ABSENT = "absent"
"""Format of an answer that says that there is no such file; it has no rows."""
INDEXES = ("equities", "sme")
SPAN_DAYS = 365
"""The most days that the website is asked for at once."""


def fetch(dataset: Dataset, window: Window, settings: Settings) -> list[Received]:
    """All answers of one data set for a window of days of trading, or of ex-dates.

    Raises:
        SourceError: the exchange cannot be reached or refuses, or has not published today's bhavcopy yet.
        ContractError: it calls the request wrong.
    """
    return list(_FETCHERS[dataset.name](window, settings))


def _fetch_prices(window: Window, settings: Settings) -> Iterator[Received]:
    """Two files a session. One that is not there is noted: it may come later, and a later window asks again."""
    today = _today()
    with Upstream(USE_CASE.source("nse_archives"), settings) as upstream:
        for day in (day for day in expected_days(USE_CASE.calendar, window) if day <= today):
            bhavcopy = _file(upstream, bhavcopy_path(day), day)
            if bhavcopy.format == ABSENT and day == today:
                raise SourceError(
                    f"The bhavcopy of {day} is not published yet ({bhavcopy.request}): the exchange does so in the "
                    "evening, at times late. It is asked for again later; nothing was loaded."
                )
            yield bhavcopy
            yield _file(upstream, delivery_path(day), day)


def _file(upstream: Upstream, path: str, day: date) -> Received:
    answer = upstream.find(path)
    if answer is None:
        return Received(b"", upstream.base + path, ABSENT, {"day": str(day)})
    return Received(answer.body, answer.url, CSV, {"day": str(day)})


def _fetch_actions(window: Window, settings: Settings) -> Iterator[Received]:
    with Upstream(USE_CASE.source("nse_website"), settings) as upstream:
        upstream.find("/")  # the website gives its cookies there, and answers who has them
        start = window.start
        while start <= window.end:
            end = min(window.end, start + timedelta(days=SPAN_DAYS - 1))
            for index in INDEXES:
                asked = {"index": index, "from_date": f"{start:%d-%m-%Y}", "to_date": f"{end:%d-%m-%Y}"}
                answer = upstream.get("/api/corporates-corporateActions", asked)
                yield Received(answer.body, answer.url, JSON, {})
            start = end + timedelta(days=1)


def _today() -> date:
    return datetime.now(ZoneInfo(USE_CASE.timezone)).date()


_FETCHERS = {"prices": _fetch_prices, "actions": _fetch_actions}

RECORDED = {
    "bhavcopy": Recording(
        recordings.bhavcopies, "daily files of prices in any layout, zipped or not, or a folder of them"
    ),
    "actions": Recording(
        recordings.notices,
        "corporate actions: PR*.zip, Bc*.csv, CF-CA-*.csv or JSON of the website, or a folder of them",
    ),
    "multipliers": Recording(
        recordings.multipliers, "a CSV list with Symbol, Date and Multiplier, or a folder of them"
    ),
}
"""History in files, by the name that `headwater bootstrap equities --<name> PATH` takes."""


def parse(dataset: Dataset, answers: Iterable[tuple[LandedObject, bytes]]) -> pl.DataFrame:
    """The rows of landed answers in the contract's columns, and `fault` where a row cannot be used.

    Raises:
        ContractError: no answer has the fields of its layout. Where others have them, its rows are at fault.
    """
    return _PARSERS[dataset.name]([(item, body) for item, body in answers if item.format != ABSENT])


def _parse_prices(answers: Answers) -> pl.DataFrame:
    def one(item: LandedObject, body: bytes) -> pl.DataFrame:
        return prices.parse(body, item.request.rpartition("/")[2], item.context.get("day"))

    return prices.with_impossible(pl.concat(_each(answers, one, prices.SCHEMA)))


def _parse_actions(answers: Answers) -> pl.DataFrame:
    """A notice is repeated, a day's bundle after the other; of several files that have it, the last one counts."""

    def one(item: LandedObject, body: bytes) -> pl.DataFrame:
        return actions.parse(body, item.request, is_json=item.format == JSON)

    frames = _each(answers, one, actions.SCHEMA)
    rows = pl.concat(frame.with_columns(pl.lit(at).alias("file")) for at, frame in enumerate(frames))
    last = pl.col("file").filter(pl.col(FAULT).is_null()).max().over(ACTIONS.keys)
    return rows.filter(pl.col(FAULT).is_not_null() | (pl.col("file") == last)).drop("file")


_PARSERS = {"prices": _parse_prices, "actions": _parse_actions}


def _each(answers: Answers, one: Callable[[LandedObject, bytes], pl.DataFrame], schema: Schema) -> list[pl.DataFrame]:
    """The rows of each answer. One that has another shape keeps none of the others out."""
    frames, broken = [pl.DataFrame(schema=schema)], []
    for item, body in answers:
        try:
            frames.append(one(item, body))
        except ContractError as error:
            broken.append((item, body, error))
    if broken and not any(frame.get_column(FAULT).null_count() for frame in frames):
        raise broken[0][2]
    for item, body, why in broken:
        table = unusable(item.request, str(why)) if item.format == JSON else read_table(body, item.request)
        frames.append(refused(table, str(why), schema, item.context.get("day")))
    return frames
