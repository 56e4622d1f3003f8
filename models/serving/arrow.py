"""Bulk requests and answers as streams of Arrow's (IPC): a table in, a table out, row by row in the same order.

A table whose columns are the entity, with or without the day, asks for entities; any other is one of features.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.serving.answers import Answer, age_hours
from models.serving.card import Feature, ServingCard
from models.serving.limits import MAX_ARROW_ROWS
from models.serving.schema import LARGEST, LARGEST_WHOLE, Problem, RefusedError

_TYPES = {"float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "string": pa.string()}
_TEXTS = (pa.string(), pa.large_string())
_VIEW = pa.string_view()
"""What Polars makes of its texts."""
_LONGEST = 1000
"""Characters of a text."""
_MOST_BYTES = 4
"""Of a character, in UTF-8."""


def read(card: ServingCard, body: bytes) -> tuple[list[tuple[Any, date | None]] | None, list[dict[str, Any]]]:
    """The wanted (entity, day), or None and the rows of features, each with all columns in the card's order.

    Raises:
        RefusedError: it is no such stream, or none that the card's model can take.
    """
    try:
        _refuse_compressed(body)
        with pa.ipc.open_stream(body) as stream:
            _refuse_types(stream.schema)
            table = stream.read_all()
        _refuse_long_views(table)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        said = str(error).partition("\n")[0].rstrip(".")
        raise _refused(f"The body is no stream of Arrow's: {said or 'it ends too early'}.") from error
    if not 1 <= table.num_rows <= MAX_ARROW_ROWS:
        raise _refused(f"The table must have 1 to {MAX_ARROW_ROWS} rows, and has {table.num_rows}.")
    names = set(table.column_names)
    if len(table.column_names) != len(names):
        raise _refused("The table has two columns of one name.")
    for name in table.column_names:
        _refuse_long(table[name], name)
    if card.entity in names and names <= {card.entity, card.day}:
        return _entities(card, table), []
    return None, _rows(card, table)


def _entities(card: ServingCard, table: pa.Table) -> list[tuple[Any, date | None]]:
    kind = {"string": "string", "int": "int"}[card.entity_type]
    entities = _values(table, Feature.model_validate({"name": card.entity, "type": kind}))
    if card.day not in table.column_names:
        return [(entity, None) for entity in entities]
    try:
        days = _cast(table, card.day, pa.date32()).to_pylist()
    except (ValueError, OverflowError) as error:
        raise _refused(f"{card.day} has a day that no calendar has.", card.day) from error
    return list(zip(entities, days, strict=True))


def _refuse_compressed(body: bytes) -> None:
    """A body may say in a thousand bytes what takes gigabytes of memory, and is read before its rows are counted.

    Of a message's metadata (FlatBuffers, https://arrow.apache.org/docs/format/Columnar.html) the field `compression` of
    its record batch is looked for: the fourth, or that of a dictionary's batch, which is its second field.
    """
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(body)):
        told = bytes(message.metadata)
        header = _table(told, _field(told, _table(told, 0), 2))
        if message.type == "dictionary":
            header = _table(told, _field(told, header, 1))
        if message.type in ("dictionary", "record batch") and _field(told, header, 3):
            raise _refused("The stream is compressed; send it as it is.")


def _refuse_types(schema: pa.Schema) -> None:
    """Only those that a column may have: in what is nested, for one, many values may be the same bytes."""
    for field in schema:
        kind = _of_values(field.type)
        known = pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind) or kind in _TEXTS
        if not known and field.type != _VIEW:
            raise _refused(
                f"{field.name} is {field.type}, and must be numbers, truth values, days or texts.", field.name
            )


def _refuse_long_views(table: pa.Table) -> None:
    """Of texts as views, which may all be of the same megabyte, and which validation would read one by one.

    The first four of a view's sixteen bytes are its length (https://arrow.apache.org/docs/format/Columnar.html).
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        for chunk in column.chunks if column.type == _VIEW else ():
            lengths = np.frombuffer(chunk.buffers()[1] or b"", "<i4")[::4][chunk.offset :][: len(chunk)]
            there = chunk.is_valid().to_numpy(zero_copy_only=False)[: len(lengths)]
            if lengths[there].max(initial=0) > _LONGEST * _MOST_BYTES:
                raise _too_long(name)


def _refuse_long(column: pa.ChunkedArray, name: str) -> None:
    """Of a dictionary, before each row has a copy of its value: in a megabyte there may be gigabytes of them."""
    if not pa.types.is_dictionary(column.type) or _of_values(column.type) not in _TEXTS:
        return
    # Chunks share their dictionary, which is looked at once
    found = [chunk.dictionary for chunk in column.chunks]
    for values in {tuple(part and part.address for part in one.buffers()): one for one in found}.values():
        if (pc.max(pc.utf8_length(values)).as_py() or 0) > _LONGEST:
            raise _too_long(name)


def _of_values(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _table(told: bytes, at: int) -> int:
    """Where a table is, by the place of its offset."""
    return at + int(struct.unpack_from("<I", told, at)[0])


def _field(told: bytes, table: int, number: int) -> int:
    """Where a field of a table is; 0 where the table lacks it."""
    names = table - struct.unpack_from("<i", told, table)[0]
    at = 4 + 2 * number
    if at >= struct.unpack_from("<H", told, names)[0]:
        return 0
    place = struct.unpack_from("<H", told, names + at)[0]
    return int(table + place) if place else 0


def _rows(card: ServingCard, table: pa.Table) -> list[dict[str, Any]]:
    known = card.feature_names
    if unknown := [name for name in table.column_names if name not in known]:
        raise _refused(f"{unknown[0]} is not a known column; known are: {', '.join(known)}.", unknown[0])
    columns = [_values(table, feature) for feature in card.features]
    return [dict(zip(known, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(table: pa.Table, feature: Feature) -> list[Any]:
    name = feature.name
    if name not in table.column_names:
        if feature.nullable:
            return [None] * int(table.num_rows)
        raise _refused(f"{name} is missing.", name)
    column = _cast(table, name, _TYPES[feature.type])
    if column.null_count and not feature.nullable:
        raise _refused(f"{name} may not be missing in any row.", name)
    values: list[Any] = column.to_pylist()
    if feature.type == "float":
        # As everywhere, NaN is what is missing
        values = [None if value is None or value != value else value for value in values]
    _refuse_odd(feature, values)
    return values


def _refuse_odd(feature: Feature, values: Sequence[Any]) -> None:
    name, known = feature.name, [value for value in values if value is not None]
    if len(known) < len(values) and not feature.nullable:
        raise _refused(f"{name} may not be missing in any row.", name)
    if not known or feature.type == "bool":
        return
    if feature.type == "string":
        if any(len(value) > _LONGEST or "\0" in value for value in known):
            raise _too_long(name)
        return
    most = LARGEST if feature.type == "float" else LARGEST_WHOLE
    if max(known) > most or min(known) < -most:
        raise _refused(f"{name} has a number beyond {most:g}.", name)


def _cast(table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    found = table.schema.field(name).type
    wrong = _refused(f"{name} is {found}, and must be {kind}.", name)
    if kind == pa.string() and _of_values(found) not in (*_TEXTS, _VIEW, pa.null()):
        raise wrong
    try:
        return table[name].cast(kind)
    except pa.ArrowException as error:
        raise wrong from error


def _too_long(name: str) -> RefusedError:
    return _refused(f"{name} has a text of more than {_LONGEST} characters, or with a NUL.", name)


def _refused(sentence: str, field: str | None = None) -> RefusedError:
    return RefusedError(Problem(error=sentence, field=field))


def write(answer: Answer) -> bytes:
    """The answer as a stream of one table, with the columns that the JSON has."""
    card = answer.card
    columns: dict[str, Any] = {
        "prediction_id": pa.array(answer.ids, pa.string()),
        "model_version": pa.array(answer.versions, pa.int32()),
    }
    if answer.keys is not None:
        days = [day for _, day in answer.keys]
        columns[card.entity] = pa.array([entity for entity, _ in answer.keys], _TYPES[card.entity_type])
        columns[card.day] = pa.array(days, pa.date32())
        columns["features_age_hours"] = pa.array([age_hours(day, answer.now_s) for day in days], pa.float64())
    kinds = [pa.float64()] * len(card.outputs) + [pa.string()] * len(card.texts)
    for name, kind, values in zip(card.answer_names, kinds, zip(*answer.outputs, strict=True), strict=True):
        columns[name] = pa.array(values, kind, from_pandas=True)
    table, sink = pa.table(columns), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())
