"""Finds answers that are copies of older ones: an upstream that serves yesterday's file under today's name."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import polars as pl

from pipelines import lake
from pipelines.contract import Checked
from pipelines.landing import Envelope, Landing
from pipelines.spec import Dataset
from pipelines.storage import Store
from pipelines.types import REVISED_AT
from pipelines.window import Window

BACK_DAYS = 7
"""How many days back the bytes of an answer are compared with."""


def why_stale(landing: Landing, root: Store, dataset: Dataset, envelope: Envelope, checked: Checked) -> str | None:
    """Why an answer is a stale copy; None where it is not.

    It is one if its bytes are those received for an earlier window; and if it has no row of its own days, while rows
    newer than all of its had been received before. Such a copy holds old versions of rows: it may not be believed,
    though it was received last. Of a sparse data set neither says anything: two days without news are alike.
    """
    day = dataset.day_column
    if day is None or dataset.sparse or not envelope.objects:
        return None
    original = _original(landing, dataset, envelope)
    if original is not None:
        return f"a copy of the answer for {original}"
    newest: Any = checked.accepted.get_column(day).max()
    if newest is None or newest >= envelope.window.start:
        return None
    known = _newest_known(landing, root, dataset, envelope)
    return f"its newest day is {newest}, and {known} came before it" if known is not None and known > newest else None


def _original(landing: Landing, dataset: Dataset, envelope: Envelope) -> Window | None:
    content = {item.sha256 for item in envelope.objects}
    if not all(item.bytes for item in envelope.objects):
        return None  # who says that a file is not there does not pass another off as it
    for days in range(1, BACK_DAYS + 1):
        earlier = landing.newest(dataset, envelope.window.shifted(-days))
        if earlier is not None and content == {item.sha256 for item in earlier.objects}:
            return earlier.window
    return None


def _newest_known(landing: Landing, root: Store, dataset: Dataset, envelope: Envelope) -> date | None:
    """The newest day before the window that rows had been received of before this answer."""
    window = envelope.window
    if not dataset.correction_days:
        return None
    before = Window(window.shifted(-dataset.correction_days).start, window.shifted(-1).start)
    rows = lake.read_normalized(root, landing.use_case, dataset, before)
    received = rows.filter(pl.col(REVISED_AT) < datetime.fromisoformat(envelope.fetched_at))
    newest: Any = received.get_column(dataset.day_column or "").max()
    return newest if isinstance(newest, date) else None
