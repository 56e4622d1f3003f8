"""Rows as they were known at an earlier time: the versions that Delta keeps of a normalized table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from pipelines import lake
from pipelines.errors import SettingsError
from pipelines.lake import Read
from pipelines.settings import Settings
from pipelines.spec import Dataset, UseCase
from pipelines.window import Window, parse_day


def end_of(text: str) -> datetime:
    """The moment that a day, or a time, stands for: the end of the day in UTC, or the time itself (UTC by default).

    Raises:
        SettingsError: it is neither.
    """
    if len(text) == len("2026-03-01"):
        return datetime.combine(parse_day(text) + timedelta(days=1), time(), UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"{text!r} is neither a day nor a time; write it as 2026-03-01 or 2026-03-01T18:00."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def known(
    use_case: UseCase, dataset: Dataset, settings: Settings, window: Window, as_of: datetime | None = None
) -> Read:
    """The rows of a window, in the order of their key: as they are, or as they were known at a moment.

    Raises:
        NotFoundError: the table's history begins later.
    """
    read = lake.read_window(settings.lake, use_case, dataset, window, as_of)
    return replace(read, rows=read.rows.sort(dataset.order))
