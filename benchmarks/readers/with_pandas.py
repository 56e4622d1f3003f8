"""Pandas reads a file of readings."""

from __future__ import annotations

import pandas as pd
import pyarrow.csv
import pyarrow.parquet  # noqa: F401 - pandas imports both when it first needs them


def parquet(path: str) -> None:
    """All at once."""
    pd.read_parquet(path)


def csv(path: str) -> None:
    """All at once, with the days as days."""
    pd.read_csv(path, dtype={"site_id": str}, parse_dates=["day"])


def csv_pyarrow(path: str) -> None:
    """The same with pyarrow's parser."""
    pd.read_csv(path, dtype={"site_id": str}, parse_dates=["day"], engine="pyarrow")
