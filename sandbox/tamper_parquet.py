"""What a misbehaving upstream makes of a Parquet file: a column renamed or of another type, rows that cannot be."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

DEFAULT_FIELD = "trip_distance"
_ABSURD = 99_999_999


def spoil_parquet(body: bytes, kind: str, field: str | None, rename_to: str) -> bytes:
    """The file after a change; one without the field, and its units, stays as it is.

    A column of Parquet has one type, so `wrong_type` makes all of it text. `truncated` ends the file half-way, without
    the footer that says what is in it.
    """
    if kind == "truncated":
        return body[: len(body) // 2]
    table, name = pq.read_table(io.BytesIO(body)), field or DEFAULT_FIELD
    if name not in table.column_names:
        return body
    at = table.column_names.index(name)
    if kind == "renamed_field":
        table = table.rename_columns([rename_to if column == name else column for column in table.column_names])
    elif kind == "wrong_type":
        table = table.set_column(at, name, pa.array(["see remarks"] * table.num_rows))
    elif kind == "out_of_range":
        values = [_ABSURD, *table.column(at).to_pylist()[1:]]
        table = table.set_column(at, name, pa.array(values, table.schema.field(at).type))
    elif kind == "duplicate":
        table = pa.concat_tables([table, table.slice(0, 1)])
    else:
        return body
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
