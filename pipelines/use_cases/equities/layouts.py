"""Layouts of the exchange's files: which field holds which column, told by the header."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from pipelines.contract import FAULT, ROW, require_fields
from pipelines.use_cases.equities.tables import LINE, TEXT, Table

LIKELY, SURE = 0.5, 0.8
"""Share of its fields from which a header is taken for a layout: where the file is known to be one, and where not."""
_ALONE = {LINE: pl.UInt32(), TEXT: pl.String(), FAULT: pl.String()}
Schema = dict[str, pl.DataType]


@dataclass(frozen=True, slots=True)
class Layout:
    """The field of each column, and the `unread` ones beside them. Older files did without the `optional` fields.

    `market` are fields that have one value in every row; a row with another is of another exchange or segment.
    """

    name: str
    fields: dict[str, str]
    unread: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    market: tuple[tuple[str, str], ...] = ()

    def share(self, names: Sequence[str]) -> float:
        """How many of its fields a header has, from 0 to 1. Capitals do not matter."""
        present = {name.strip().casefold() for name in names}
        return sum(name.casefold() in present for name in self.fields.values()) / len(self.fields)


def layout_of(names: Sequence[str], layouts: Sequence[Layout]) -> Layout | None:
    """The layout that has most of its fields in a header; none where none has half of them."""
    best = max(layouts, key=lambda layout: layout.share(names))
    return best if best.share(names) >= LIKELY else None


def holds(names: Sequence[str], layouts: Sequence[Layout]) -> bool:
    """Whether a header is of one of these layouts without a doubt, whatever the file's name."""
    return any(layout.share(names) >= SURE for layout in layouts)


def read(table: Table, layout: Layout, schema: Schema) -> tuple[Table, pl.DataFrame]:
    """The table in the layout's spelling, and its rows with the columns of a schema besides; null where it has none.

    Raises:
        ContractError: a field is missing, or was renamed.
    """
    wanted = [*layout.fields.values(), *(name for name, _ in layout.market)]
    spelled = {name.casefold(): name for name in (*wanted, *layout.unread)}
    names = [spelled.get(name.casefold(), name) for name in table.names]
    strangers = [name for name in names if name and name not in spelled.values()]
    absent = [
        name
        for name in layout.optional
        if name not in names and not difflib.get_close_matches(name, strangers, 1, cutoff=0.6)
    ]
    needed = [name for name in wanted if name not in absent]
    told = [name for name in names if name and name not in layout.unread]
    require_fields(told, needed, f"The {layout.name} file {table.where}")
    table = replace(table, names=names)
    columns = {
        column: table.field(layout.fields[column]) if layout.fields.get(column) in names else pl.lit(None, kind)
        for column, kind in schema.items()
        if column not in (FAULT, ROW)
    }
    of_another = [
        pl.when(table.field(name).ne_missing(pl.lit(value))).then(
            pl.format("{} is {}, not {}", pl.lit(name), table.field(name).fill_null("missing"), pl.lit(value))
        )
        for name, value in layout.market
    ]
    return table, table.rows.with_columns(pl.coalesce(FAULT, *of_another).alias(FAULT), **columns)


def finished(rows: pl.DataFrame, where: str, schema: Schema) -> pl.DataFrame:
    """The columns of a schema, with the text of each faulty row as it stands in its file."""
    if rows.get_column(FAULT).null_count() == rows.height:
        return rows.with_columns(pl.lit(None, pl.String).alias(ROW)).select(schema.keys())
    said = pl.format("{} line {}: {}", pl.lit(where), pl.col(LINE).cast(pl.String).fill_null("?"), TEXT)
    return rows.with_columns(pl.when(pl.col(FAULT).is_not_null()).then(said).alias(ROW)).select(schema.keys())


def refused(table: Table, why: str, schema: Schema, day: str | None = None) -> pl.DataFrame:
    """The rows of a table of which none can be read, each with its own fault or else this one; the header, alone."""
    found = table.rows
    if table.names and found.is_empty():
        found = pl.DataFrame({LINE: [1], TEXT: [",".join(table.names)], FAULT: [None]}, _ALONE)
    rows = found.select(
        LINE,
        TEXT,
        pl.coalesce(FAULT, pl.lit(why)).alias(FAULT),
        *(pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in (FAULT, "day")),
        pl.lit(day, pl.String).alias("day"),
    )
    return finished(rows, table.where, schema)
