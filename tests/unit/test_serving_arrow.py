"""Bulk requests as Arrow streams: what is refused, and before it costs anything."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pytest

from models.serving import arrow
from models.serving.card import ServingCard
from models.serving.schema import RefusedError

CARD = ServingCard(
    use_case="gauges", version=3, run_id="abc", entity="site_id", day="day", feature_table="gauges.features",
    features=[{"name": "x", "type": "float", "nullable": True}, {"name": "basin", "type": "string", "nullable": True}],
    outputs=["y"], title="Gauges", doc="A test's model.", model_sha256="0" * 64,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip


def _stream(table: pa.Table, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def _refused(body: bytes) -> str:
    with pytest.raises(RefusedError) as error:
        arrow.read(CARD, body)
    return error.value.problem.error


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_stream_that_is_compressed_is_refused_before_it_is_taken_apart(compression: str) -> None:
    bomb = _stream(pa.table({"x": pa.array([0.0]).take(pa.array([0] * 1_000_000))}), compression)
    assert len(bomb) < 100_000
    pa.set_memory_pool(pool := pa.system_memory_pool())
    before = pool.bytes_allocated()
    assert _refused(bomb) == "The stream is compressed; send it as it is."
    assert pool.bytes_allocated() - before < 1_000_000
    words = pa.table({"basin": pa.array(["north"] * 1000).dictionary_encode()})
    assert _refused(_stream(words, compression)) == "The stream is compressed; send it as it is."


def test_a_stream_as_it_is_is_read_also_with_dictionaries_and_several_batches() -> None:
    table = pa.table({"x": [1.0, None, 3.0], "basin": pa.array(["n", "s", "n"]).dictionary_encode()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table, max_chunksize=1)
    _, rows = arrow.read(CARD, bytes(sink.getvalue()))
    assert rows == [{"x": 1.0, "basin": "n"}, {"x": None, "basin": "s"}, {"x": 3.0, "basin": "n"}]


def _views(count: int, text: bytes) -> pa.Array:
    """So many views of the same bytes."""
    view = struct.pack("<i4sii", len(text), text[:4], 0, 0)
    return pa.Array.from_buffers(pa.string_view(), count, [None, pa.py_buffer(view * count), pa.py_buffer(text)])


def test_texts_as_polars_writes_them_are_read() -> None:
    words = ["n", None, "a basin with a longer name"]
    sink = io.BytesIO()
    pl.DataFrame({"basin": words, "x": [1.0, 2.0, None]}).write_ipc_stream(sink)
    _, rows = arrow.read(CARD, sink.getvalue())
    assert [row["basin"] for row in rows] == words


@pytest.mark.parametrize("column", ["site_id", "basin", "x"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_a_long_text_that_many_rows_share_is_refused_before_each_has_a_copy_of_it(
    column: str, kind: pa.DataType
) -> None:
    shared = _views(2000, b"w" * 100_000)
    if kind != pa.string_view():
        shared = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int16()), pa.array(["w" * 100_000], kind))
    body = _stream(pa.table({column: shared}))
    assert len(body) < 200_000
    usual, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        assert _refused(body) == f"{column} has a text of more than 1000 characters, or with a NUL."
        assert pool.max_memory() < 10_000_000
    finally:
        pa.set_memory_pool(usual)


def test_a_text_of_a_dictionary_may_be_as_long_as_any_other() -> None:
    words = pa.array(["ü" * 1000, None, "ü" * 1000])
    _, rows = arrow.read(CARD, _stream(pa.table({"basin": words.dictionary_encode()})))
    assert [row["basin"] for row in rows] == words.to_pylist()


@pytest.mark.parametrize(
    "values",
    [
        pa.DictionaryArray.from_arrays(pa.array([0]), pa.array(["n"]).cast(pa.string_view())),
        pa.array(["n"]).cast(pa.binary()),
        pa.array([["n"]]),
    ],
    ids=lambda values: str(values.type),
)
def test_a_column_whose_rows_could_share_bytes_is_refused(values: pa.Array) -> None:
    assert _refused(_stream(pa.table({"basin": values}))).startswith(f"basin is {values.type}, and must be ")


def test_a_text_is_sent_as_one_and_a_column_without_any_value_has_no_type() -> None:
    assert _refused(_stream(pa.table({"basin": [1]}))) == "basin is int64, and must be string."
    assert arrow.read(CARD, _stream(pa.table({"basin": pa.nulls(1)})))[1] == [{"x": None, "basin": None}]


@pytest.mark.parametrize(
    "body", [b"", b"x", b"\xff\xff\xff\xff\x10\x00\x00\x00", _stream(pa.table({"x": [1.0]}))[:-20]]
)
def test_what_is_no_whole_stream_is_refused(body: bytes) -> None:
    assert _refused(body).startswith("The body is no stream of Arrow's")


def test_a_column_twice_and_a_day_beyond_all_calendars_are_the_sender_s_faults() -> None:
    twice = pa.table([pa.array(["a"]), pa.array(["b"])], names=["site_id", "site_id"])
    assert _refused(_stream(twice)) == "The table has two columns of one name."
    far = pa.table({"site_id": ["a"], "day": pa.array([2**30], pa.int32()).cast(pa.date32())})
    assert _refused(_stream(far)) == "day has a day that no calendar has."
