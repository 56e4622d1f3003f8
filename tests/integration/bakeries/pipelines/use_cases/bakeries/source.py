"""The bakery's office answers in CSV: the shops as they are, and the sales of a span of days."""

from __future__ import annotations

import io
from collections.abc import Iterable

import polars as pl

from pipelines.contract import require_fields
from pipelines.http import Upstream
from pipelines.landing import LandedObject, Received, Recording
from pipelines.settings import Settings
from pipelines.spec import Dataset
from pipelines.use_cases.bakeries.spec import USE_CASE
from pipelines.window import Window

RECORDED: dict[str, Recording] = {}


def fetch(dataset: Dataset, window: Window, settings: Settings) -> list[Received]:
    """One answer a data set."""
    span = {"from": str(window.start), "to": str(window.end)} if dataset.day_column else None
    with Upstream(USE_CASE.source("bakery_office"), settings) as upstream:
        answer = upstream.get(f"/{dataset.name}.csv", span)
    return [Received(answer.body, answer.url, "csv", {})]


def parse(dataset: Dataset, answers: Iterable[tuple[LandedObject, bytes]]) -> pl.DataFrame:
    """The rows as text; the contract reads them.

    Raises:
        ContractError: a column is missing.
    """
    names = [column.name for column in dataset.columns]
    frames = [pl.DataFrame(schema=dict.fromkeys(names, pl.String))]
    for item, body in answers:
        rows = pl.read_csv(io.BytesIO(body), infer_schema=False)
        require_fields(rows.columns, names, f"The answer of {item.request}")
        frames.append(rows.select(names))
    return pl.concat(frames)
