"""Large files in shards: whichever way a file is cut, its rows are the same ones in the same order."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest

from pipelines import row_files
from pipelines.errors import ContractError
from pipelines.row_files import Format, Shard
from pipelines.storage import Store

ROWS = 1_000


def parquet(group_rows: int) -> io.BytesIO:
    file = io.BytesIO()
    pl.DataFrame({"a": range(ROWS), "b": [f"x{at}" for at in range(ROWS)]}).write_parquet(
        file, row_group_size=group_rows
    )
    return file


def csv(end: str = "\n") -> io.BytesIO:
    lines = ["a,b", *(f"{at},x{at}" for at in range(ROWS))]
    return io.BytesIO((end.join(lines) + end).encode())


def values(file: io.BytesIO, kind: Format, shards: list[Shard]) -> list[int]:
    return [
        int(value) for shard in shards for rows in row_files.read(file, kind, shard, "a file") for value in rows["a"]
    ]


@pytest.mark.parametrize("group_rows", [64, 100, 999, 1_000])
@pytest.mark.parametrize("most", [1, 7, 100, 333, 5_000])
def test_the_shards_of_a_parquet_file_are_its_rows_once_each_and_none_is_too_large(group_rows: int, most: int) -> None:
    file = parquet(group_rows)
    shards = row_files.shards(file, "parquet", most, "a file")
    assert values(file, "parquet", shards) == list(range(ROWS))
    assert all(0 < shard.rows <= most for shard in shards)
    assert shards == row_files.shards(file, "parquet", most, "a file")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("most", [1, 7, 100, 1_000, 5_000])
def test_so_are_those_of_a_csv(end: str, most: int) -> None:
    file = csv(end)
    shards = row_files.shards(file, "csv", most, "a file")
    assert values(file, "csv", shards) == list(range(ROWS))
    assert [shard.first for shard in shards] == list(range(0, ROWS, most))


def test_row_groups_are_kept_whole_where_they_are_not_larger_than_a_shard() -> None:
    shards = row_files.shards(parquet(100), "parquet", 250, "a file")
    assert [shard.first for shard in shards] == [0, 200, 400, 600, 800]


def test_a_csv_may_have_an_empty_line_after_its_header_blanks_empty_cells_and_no_end() -> None:
    file = io.BytesIO(b"a, b ,c\r\n\r\n1, x ,\r\n2,,3")
    (shard,) = row_files.shards(file, "csv", 10, "a file")
    assert row_files.columns(file, "csv", "a file") == ["a", "b", "c"]
    (rows,) = row_files.read(file, "csv", shard, "a file")
    assert rows.rows() == [("1", "x", None), ("2", None, "3")]


def test_the_last_row_of_a_csv_that_was_cut_is_there_with_what_it_has() -> None:
    file = io.BytesIO(b"a,b,c\n1,2,3\n4,5")
    (shard,) = row_files.shards(file, "csv", 10, "a file")
    (rows,) = row_files.read(file, "csv", shard, "a file")
    assert rows.rows() == [("1", "2", "3"), ("4", "5", None)]


@pytest.mark.parametrize("at", [0, 700])
@pytest.mark.parametrize("blank", [",", ",,", ", ,\t,", "," * 60])
def test_blank_cells_beyond_the_header_are_none_wherever_they_are(at: int, blank: str) -> None:
    lines = [f"{row},x{row}{blank if row >= at else ''}\r\n" for row in range(ROWS)]
    file = io.BytesIO(f"a,b\r\n{''.join(lines)}".encode())
    (shard,) = row_files.shards(file, "csv", ROWS * 2, "a file")
    (rows,) = row_files.read(file, "csv", shard, "a file")
    assert rows.columns == ["a", "b"]
    assert rows["b"].to_list() == [f"x{row}" for row in range(ROWS)]


@pytest.mark.parametrize("beyond", ["3", ",,3", ",".join("3" * 40)])
@pytest.mark.parametrize("at", [0, 700])
def test_a_row_with_more_cells_than_the_header_has_names_is_refused_and_kept_as_a_whole(at: int, beyond: str) -> None:
    lines = [f"{row}, x{row}" for row in range(ROWS)]
    lines[at] = f'{at},"p,q",{beyond}'
    file = io.BytesIO("\n".join(["a,b", *lines]).encode())
    (shard,) = row_files.shards(file, "csv", ROWS, "a file")
    (rows,) = row_files.read(file, "csv", shard, "a file")
    assert rows.height == ROWS
    assert rows.row(at) == (None, None, row_files.LONGER, f"{at},p,q,{beyond}")
    others = rows.filter(pl.col("fault").is_null())
    assert others["a"].cast(pl.Int64()).to_list() == [row for row in range(ROWS) if row != at]
    assert others["row"].null_count() == others.height

    def parse(given: pl.DataFrame) -> pl.DataFrame:
        assert given.columns == ["a", "b"]
        return given.with_columns(fault=pl.when(pl.col("b").is_in(["x5"])).then(pl.lit("is five")))

    faults = row_files.parsed(rows, parse).filter(pl.col("fault").is_not_null()).select("fault", "row").rows()
    assert set(faults) == {("is five", None), (row_files.LONGER, f"{at},p,q,{beyond}")}


def test_a_line_of_very_many_cells_is_of_no_csv() -> None:
    file = io.BytesIO(b"a,b\n1,2\n" + b"," * 1_000 + b"\n")
    (shard,) = row_files.shards(file, "csv", 10, "a file")
    with pytest.raises(ContractError, match="a file has a line of 1001 cells under 2 names"):
        list(row_files.read(file, "csv", shard, "a file"))


@pytest.mark.parametrize("body", [b"", b"<html>maintenance</html>", b"PAR1 and no more"])
def test_what_is_no_parquet_file_is_refused_by_its_name(body: bytes) -> None:
    with pytest.raises(ContractError, match=r"trips\.parquet is no whole Parquet file"):
        row_files.shards(io.BytesIO(body), "parquet", 10, "trips.parquet")


def test_a_truncated_parquet_file_is_refused() -> None:
    body = parquet(100).getvalue()
    with pytest.raises(ContractError, match="is no whole Parquet file"):
        row_files.shards(io.BytesIO(body[: len(body) // 2]), "parquet", 10, "a file")


def test_files_in_a_store_are_read_in_pieces_wherever_it_is(store: Store, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(parquet(100).getvalue())
    store.write_file("rows.parquet", tmp_path / "rows.parquet")
    with store.open("rows.parquet") as file:
        shards = row_files.shards(file, "parquet", 300, "a file")
        assert values(file, "parquet", shards) == list(range(ROWS))  # type: ignore[arg-type]
    store.write("rows.csv", csv().getvalue())
    with store.open("rows.csv") as file:
        shards = row_files.shards(file, "csv", 300, "a file")
        assert values(file, "csv", shards) == list(range(ROWS))  # type: ignore[arg-type]
    assert store.copy_to("rows.csv", tmp_path / "copy.csv")
    assert (tmp_path / "copy.csv").read_bytes() == csv().getvalue()
    assert not store.copy_to("nothing", tmp_path / "nothing")
