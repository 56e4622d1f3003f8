"""Rows as columns of numpy: what the steps of a model compute on, in training, in batches and for one request.

A frame of one row costs pandas a millisecond before anything is computed; arrays cost microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]
"""Arrays of one length by name: numbers and truth values as float64, NaN where they are missing; texts as objects,
None where they are missing."""
Kind = Literal["float", "int", "bool", "string"]


def count(columns: Columns) -> int:
    """How many rows there are."""
    return len(next(iter(columns.values()))) if columns else 0


def stacked(columns: Columns, names: Iterable[str]) -> Array:
    """Those columns of numbers beneath each other, one a row of the matrix: k columns of n values are (k, n).

    Raises:
        KeyError: there is no such column.
    """
    rows = np.array([columns[name] for name in names], dtype=np.float64)
    return rows if rows.ndim == 2 else rows.reshape(0, count(columns))


def matrix(columns: Columns, names: Iterable[str]) -> Array:
    """Those columns beside each other, (n, k), as estimators take them."""
    return np.ascontiguousarray(stacked(columns, names).T)


def unstacked(names: Iterable[str], rows: Array) -> Columns:
    """Columns from a matrix (k, n): the opposite of `stacked`."""
    return dict(zip(names, rows, strict=True))


def is_text(column: NDArray[Any], value: str) -> Array:
    """1 where a column of texts has that value, else 0, also where it is missing."""
    return np.array([found == value for found in column.tolist()], dtype=np.float64)


def from_rows(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Kind]) -> Columns:
    """Columns in the order of `kinds`, from rows of values as JSON or Postgres have them; None is missing.

    Raises:
        KeyError: a row lacks a column.
        TypeError: a number or truth value is something else.
        ValueError: so is a text.
    """
    numbers = [name for name, kind in kinds.items() if kind != "string"]
    # One array of all: an array a column would cost a single row more than the model does
    taken = itemgetter(*numbers) if len(numbers) > 1 else lambda row: [row[name] for name in numbers]
    values = np.array([taken(row) for row in rows], dtype=np.float64)
    found: Columns = unstacked(numbers, values.reshape(len(rows), len(numbers)).T.copy())
    if len(numbers) == len(kinds):
        return found
    return {name: found[name] if name in found else _texts([row[name] for row in rows]) for name in kinds}


def from_frame(frame: pd.DataFrame, names: Iterable[str] | None = None) -> Columns:
    """The columns of a frame, by default all; what is neither number nor text, such as a day, stays as it is."""
    return {str(name): _from_series(frame[name]) for name in (frame.columns if names is None else names)}


def to_frame(columns: Columns, index: Any = None, kinds: Mapping[str, Kind] | None = None) -> pd.DataFrame:
    """A frame with these columns.

    Args:
        columns: of n values each.
        index: n labels of the rows; by default their numbers.
        kinds: columns that were whole numbers, truth values or texts become so again, where no value is missing.
    """
    import pandas as pd

    kinds = kinds or {}
    typed = {name: _to_series(values, kinds.get(name, "float")) for name, values in columns.items()}
    # Copied: pandas would otherwise keep, and be asked to change, what is a row of a matrix of many
    return pd.DataFrame(typed, index=index, columns=list(columns), copy=True)


def _from_series(series: pd.Series[Any]) -> NDArray[Any]:
    if series.dtype.kind in "fiub":
        numbers: Array = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return numbers
    values: NDArray[Any] = series.to_numpy(dtype=object)
    if series.dtype.kind in "mM":
        return values
    missing: NDArray[np.bool_] = series.isna().to_numpy()
    if series.dtype != object or any(isinstance(value, str) for value in values):
        values = values.copy()
        values[missing] = None
        return values
    try:
        # Numbers among None, as rows of JSON give them
        return np.where(missing, np.nan, values).astype(np.float64)
    except (TypeError, ValueError):
        return values


def _texts(values: Any) -> NDArray[Any]:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _to_series(values: NDArray[Any], kind: Kind) -> Any:
    import pandas as pd

    if kind == "string":
        return pd.Series(values, dtype="str").array
    if kind in ("int", "bool") and not np.isnan(values).any():
        return values.astype({"int": np.int64, "bool": np.bool_}[kind])
    return values
