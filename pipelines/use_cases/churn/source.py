"""What is asked of the CRM, and which parser reads which answer."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from pipelines.landing import LandedObject, Received, Recording
from pipelines.settings import Settings
from pipelines.spec import Dataset
from pipelines.use_cases.churn import crm, telco
from pipelines.window import Window


def fetch(dataset: Dataset, window: Window, settings: Settings) -> list[Received]:
    """All answers of one data set for a window.

    Raises:
        SourceError: the database cannot be reached or refuses, or has lost a large part of its rows.
        ContractError: a table or column is not there any more.
    """
    return list(crm.fetch(dataset, window, settings))


RECORDED = {
    "csv": Recording(telco.find, "a table in the layout of IBM's Telco customer churn (CSV), or a folder of them")
}
"""History in files, by the name that `headwater bootstrap churn --<name> PATH` takes."""


def parse(dataset: Dataset, answers: Iterable[tuple[LandedObject, bytes]]) -> pl.DataFrame:
    """The rows of landed answers in the contract's columns, and `fault` where a row cannot be used.

    Raises:
        ContractError: an answer is not of its format.
    """
    landed = list(answers)
    tables = [(body, item.request) for item, body in landed if item.format == telco.TELCO]
    rest = crm.parse(dataset, [(item, body) for item, body in landed if item.format != telco.TELCO])
    return pl.concat([rest, telco.parse(dataset, tables)], how="diagonal_relaxed") if tables else rest
