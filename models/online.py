"""What the service answered on a day, from its log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pipelines import database
from pipelines.spec import UseCase
from pipelines.window import Window

CHANNEL = "online"


@dataclass(frozen=True, slots=True)
class Request:
    """An answer: the features that the model saw, and what it said. Of features that a client sent, without entity
    and day."""

    prediction_id: str
    entity: str | None
    day: date | None
    version: int
    at: datetime
    inputs: dict[str, Any]
    outputs: dict[str, Any]


_OF_THE_DAY = (
    "use_case = %s and channel = %s and predicted_at >= %s and predicted_at < %s"
    " and inputs is not null and outputs -> 'error' is null"
)


def requests(url: str, use_case: UseCase, day: date, most: int) -> tuple[list[Request], int]:
    """The answers of a day (UTC), at most so many, drawn by a hash of their ids; and how many there were."""
    begin = datetime.combine(day, time(), UTC)
    where = (use_case.slug, CHANNEL, begin, begin + timedelta(days=1))
    database.ensure_ops(url)
    (counted,) = database.query(url, f"select count(*) as rows from serving.predictions where {_OF_THE_DAY}", where)
    rows = database.query(
        url,
        "select prediction_id::text, entity, day, model_version as version, predicted_at as at, inputs, outputs"
        f" from serving.predictions where {_OF_THE_DAY}"
        " order by hashtextextended(prediction_id::text, 0), prediction_id limit %s",
        (*where, most),
    )
    return [Request(**row) for row in rows], int(counted["rows"])


@dataclass(frozen=True, slots=True)
class Publication:
    """A transform that published features of some days: when it ended, and when it had begun to read."""

    at: datetime
    began: datetime
    spans: tuple[Window, ...]


def publications(url: str, use_case: UseCase, until: datetime) -> list[Publication]:
    """The transforms that ended before a moment, newest first."""
    rows = database.query(
        url,
        "select at, at - make_interval(secs => coalesce(seconds, 0)) as began, detail -> 'spans' as spans"
        " from ops.ledger where use_case = %s and step = 'transform' and state = 'loaded' and at <= %s"
        " order by ledger_id desc",
        (use_case.slug, until),
    )
    return [
        Publication(row["at"], row["began"], tuple(Window.parse(*span.split("..")) for span in row["spans"] or []))
        for row in rows
    ]


def known_at(request: Request, published: Sequence[Publication]) -> datetime:
    """The moment up to which data had come that the features of a request could be computed from."""
    for one in published:
        if one.at <= request.at and request.day and any(request.day in span for span in one.spans):
            return one.began
    return request.at
