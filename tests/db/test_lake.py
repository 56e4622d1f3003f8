"""The lake's tables: atomic merges that can be repeated, by several writers, with their history kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from db.helpers import DAY, DISCHARGE, FLOOD, NOON, SITES, discharge, window_of
from deltalake import DeltaTable

from pipelines import lake, lake_bulk
from pipelines.errors import NotFoundError
from pipelines.storage import Store
from pipelines.types import polars_schema
from pipelines.window import Window

EVER = Window(date(1900, 1, 1), date(2100, 1, 1))


def merge(home: Store, rows: pl.DataFrame, window: Window | None = None, hours: int = 0) -> lake.Merged:
    window = window or window_of(DAY, 10)
    return lake.merge_normalized(home, FLOOD, DISCHARGE, window, rows, NOON + timedelta(hours=hours))


def stored(home: Store, window: Window = EVER) -> list[float | None]:
    return (
        lake.read_normalized(home, FLOOD, DISCHARGE, window)
        .sort("site_id", "day")
        .get_column("discharge_m3s")
        .to_list()
    )


def version(home: Store) -> int:
    return table(lake.normalized_path(home, FLOOD, DISCHARGE)).version()


def table(path: Store, version: int | None = None) -> DeltaTable:
    found = lake.open_table(path, version)
    assert found is not None
    return found


def quarantined(*reasons: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"reason": reasons, "raw": ["{}"] * len(reasons)}, schema={"reason": pl.String, "raw": pl.String}
    )


def test_counts_tell_inserted_updated_and_unchanged_and_the_days_touched(store: Store) -> None:
    assert merge(store, discharge([1.0, 2.0, 3.0])) == lake.Merged(3, 0, 0, window_of(DAY, 3))
    done = merge(store, discharge([1.0, None, 3.0, 4.0]), hours=1)
    assert done == lake.Merged(1, 1, 2, Window(DAY + timedelta(days=1), DAY + timedelta(days=3)))
    assert stored(store) == [1.0, None, 3.0, 4.0]


def test_the_same_rows_again_make_no_new_version(store: Store) -> None:
    merge(store, discharge([1.0, None]))
    before = version(store)
    assert merge(store, discharge([1.0, None])) == lake.Merged(0, 0, 2, None)
    assert merge(store, discharge([1.0, None]), hours=9) == lake.Merged(0, 0, 2, None)
    assert version(store) == before


def test_a_replayed_older_answer_never_undoes_a_newer_one(store: Store) -> None:
    merge(store, discharge([1.0]), hours=2)
    assert merge(store, discharge([7.0]), hours=1) == lake.Merged(0, 0, 1, None)
    assert stored(store) == [1.0]


def test_the_same_answer_read_by_a_mended_parser_replaces_its_rows(store: Store) -> None:
    merge(store, discharge([35.3]))
    assert merge(store, discharge([1.0])).updated == 1
    assert stored(store) == [1.0]


def test_overwriting_a_window_does_not_touch_other_days_or_sites(store: Store) -> None:
    merge(store, pl.concat([discharge([1.0] * 10), discharge([2.0] * 10, site="02")]))
    before = lake.read_normalized(store, FLOOD, DISCHARGE, EVER)
    merge(store, discharge([5.0], DAY + timedelta(days=4)), window_of(DAY + timedelta(days=4)), hours=1)
    after = lake.read_normalized(store, FLOOD, DISCHARGE, EVER)
    corrected = (pl.col("site_id") == "01") & (pl.col("day") == DAY + timedelta(days=4))
    keys = ["site_id", "day"]
    assert after.filter(~corrected).sort(keys).equals(before.filter(~corrected).sort(keys))
    assert after.filter(corrected).get_column("discharge_m3s").to_list() == [5.0]


def test_a_window_over_new_year_is_merged_on_both_sides(store: Store) -> None:
    first = date(2023, 12, 30)
    merge(store, discharge([1.0, 2.0, 3.0, 4.0], first), window_of(first, 4))
    merge(store, discharge([8.0, 9.0], date(2023, 12, 31)), window_of(date(2023, 12, 31), 2), hours=1)
    assert stored(store) == [1.0, 8.0, 9.0, 4.0]


def test_reading_opens_only_the_years_of_the_window_and_gives_only_its_days(store: Store) -> None:
    first = date(2022, 1, 1)
    merge(store, discharge([float(day) for day in range(1095)], first), window_of(first, 1095))
    window = Window(date(2023, 2, 3), date(2023, 2, 5))
    rows = lake.read_normalized(store, FLOOD, DISCHARGE, window)
    assert sorted(rows.get_column("day").to_list()) == [date(2023, 2, day) for day in (3, 4, 5)]
    path = lake.normalized_path(store, FLOOD, DISCHARGE)
    others = [item.name for item in path.list() if item.name.startswith(("year=2022/", "year=2024/"))]
    assert len(others) == 2
    path.delete(others)
    assert lake.read_normalized(store, FLOOD, DISCHARGE, window).equals(rows)


def test_a_table_that_was_never_written_reads_as_empty(store: Store) -> None:
    rows = lake.read_normalized(store, FLOOD, DISCHARGE, EVER)
    assert rows.is_empty()
    assert rows.columns == [*polars_schema(DISCHARGE), "revised_at"]


def test_a_table_without_days_is_merged_by_key(store: Store) -> None:
    def sites(**names: str) -> lake.Merged:
        rows = pl.DataFrame({"site_id": list(names), "name": list(names.values())})
        rows = rows.select(
            [pl.col(name) if name in rows.columns else pl.lit(None, kind).alias(name)
             for name, kind in polars_schema(SITES).items()]
        )  # fmt: skip
        return lake.merge_normalized(store, FLOOD, SITES, window_of(DAY), rows, NOON + timedelta(hours=len(names)))

    assert sites(a="Alder") == lake.Merged(1, 0, 0, None)
    assert sites(a="Alder Creek", b="Bracken") == lake.Merged(1, 1, 0, None)
    assert sites(a="Alder Creek", b="Bracken") == lake.Merged(0, 0, 2, None)
    found = lake.read_normalized(store, FLOOD, SITES, window_of(DAY)).sort("site_id")
    assert found.get_column("name").to_list() == ["Alder Creek", "Bracken"]


def test_an_older_version_stays_readable(store: Store) -> None:
    merge(store, discharge([1.0, 2.0]))
    before = version(store)
    merge(store, discharge([1.0, 5.0]), hours=1)
    path = lake.normalized_path(store, FLOOD, DISCHARGE)
    rows = pl.read_parquet(table(path, before).file_uris(), storage_options=path.polars_options)
    assert rows.sort("day").get_column("discharge_m3s").to_list() == [1.0, 2.0]


def test_quarantine_is_replaced_by_window_and_kept_elsewhere(store: Store) -> None:
    def put(window: Window, rows: pl.DataFrame) -> None:
        lake.write_quarantine(store, FLOOD, DISCHARGE, window, rows, "hash")

    def reasons() -> list[str]:
        return sorted(lake.read_quarantine(store, FLOOD, DISCHARGE).get_column("reason").to_list())

    one, two = window_of(DAY), window_of(DAY, 2)
    put(one, quarantined())
    assert reasons() == []
    put(one, quarantined("a", "b"))
    put(two, quarantined("c"))
    path = lake.quarantine_path(store, FLOOD, DISCHARGE)
    before = table(path).version()
    put(one, quarantined("a", "b"))
    assert table(path).version() == before, "the same rows again are no new version"
    put(one, quarantined("d"))
    assert reasons() == ["c", "d"]
    put(one, quarantined())
    assert reasons() == ["c"]


def test_a_correction_committed_between_reading_and_writing_is_not_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(store, discharge([1.0, 1.0, 1.0]))
    read, rivals = lake._read_window, [discharge([1.0, 7.0, 1.0])]

    def read_then_be_overtaken(*arguments: Any) -> lake.Read:
        rows = read(*arguments)
        if rivals:
            merge(store, rivals.pop(), hours=1)
        return rows

    monkeypatch.setattr(lake, "_read_window", read_then_be_overtaken)
    # Its span covers the rival's day, with the value from before
    merge(store, discharge([5.0, 1.0, 5.0]).filter(pl.col("discharge_m3s") == 5), hours=2)
    assert stored(store) == [5.0, 7.0, 5.0]


@pytest.mark.parametrize("exists", [False, True], ids=["new table", "present table"])
def test_writers_of_one_year_at_once_all_arrive(store: Store, exists: bool) -> None:
    if exists:
        merge(store, discharge([0.0], DAY - timedelta(days=1)), window_of(DAY - timedelta(days=1)))
    barrier = threading.Barrier(4)

    def one(number: int) -> lake.Merged:
        barrier.wait()
        first = DAY + timedelta(days=3 * number)
        lake.write_quarantine(store, FLOOD, DISCHARGE, window_of(first), quarantined(str(number)), "hash")
        return merge(store, discharge([float(number)] * 3, first), window_of(first, 3))

    with ThreadPoolExecutor(4) as pool:
        assert [item.inserted for item in pool.map(one, range(4))] == [3, 3, 3, 3]
    assert stored(store, window_of(DAY, 12)) == [float(number) for number in range(4) for _ in range(3)]
    assert lake.read_quarantine(store, FLOOD, DISCHARGE).height == 4


@pytest.mark.parametrize("exists", [False, True], ids=["new table", "present table"])
def test_writers_of_one_window_at_once_leave_one_row_a_key_and_the_newest(store: Store, exists: bool) -> None:
    if exists:
        merge(store, discharge([0.0] * 5), hours=-1)
    barrier = threading.Barrier(4)

    def one(number: int) -> None:
        barrier.wait()
        merge(store, discharge([float(number)] * 10), hours=number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(4)))
    assert stored(store) == [3.0] * 10


def test_writers_of_one_master_table_at_once_all_arrive(store: Store) -> None:
    barrier = threading.Barrier(3)

    def one(name: str) -> None:
        barrier.wait()
        rows = pl.DataFrame([{"site_id": name, "name": name}], schema=polars_schema(SITES))
        lake.merge_normalized(store, FLOOD, SITES, window_of(DAY), rows, NOON)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(one, "abc"))
    found = lake.read_normalized(store, FLOOD, SITES, window_of(DAY))
    assert sorted(found.get_column("site_id").to_list()) == ["a", "b", "c"]


def test_first_writers_of_one_master_table_at_once_leave_one_row_a_key(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier, overwrite, first = threading.Barrier(2), lake._overwrite, iter(range(2))

    def together(*arguments: Any) -> None:
        if next(first, None) is not None:  # when both have read; who comes second writes again, by itself
            barrier.wait()
        overwrite(*arguments)

    monkeypatch.setattr(lake, "_overwrite", together)
    empty = pl.DataFrame(schema=polars_schema(SITES))
    lake.merge_normalized(store, FLOOD, SITES, window_of(DAY), empty, NOON)  # makes the table

    def one(hours: int) -> None:
        rows = pl.DataFrame([{"site_id": "01", "name": str(hours)}], schema=polars_schema(SITES))
        lake.merge_normalized(store, FLOOD, SITES, window_of(DAY), rows, NOON + timedelta(hours=hours))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, (0, 1)))
    found = lake.read_normalized(store, FLOOD, SITES, window_of(DAY))
    assert found.select("site_id", "name").rows() == [("01", "1")]


def test_a_training_snapshot_is_read_back_by_its_version(store: Store) -> None:
    first, second = pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [3], "b": ["x"]})
    assert lake.write_snapshot(store, FLOOD, first)[1] == 0
    assert lake.write_snapshot(store, FLOOD, second)[1] == 1
    assert lake.read_snapshot(store, FLOOD, 0).equals(first)
    assert lake.read_snapshot(store, FLOOD, 1).equals(second)
    with pytest.raises(NotFoundError, match="no training snapshot 2"):
        lake.read_snapshot(store, FLOOD, 2)


def test_the_lake_may_lie_in_a_folder_with_blanks_and_letters_of_any_language(tmp_path: Path) -> None:
    odd = Store.at(tmp_path / "Mein Fluß 2")
    merge(odd, discharge([1.0, 2.0]))
    merge(odd, discharge([1.0, 3.0]), hours=1)
    assert stored(odd) == [1.0, 3.0]
    version = lake.write_snapshot(odd, FLOOD, pl.DataFrame({"a": [1]}))[1]
    assert lake.read_snapshot(odd, FLOOD, version).height == 1
    odd.write("a b/ü", b"x")
    assert [item.name for item in (odd / "a b").list()] == ["ü"]
    assert odd.read("a b/ü") == b"x"


def test_a_table_that_another_adds_to_while_it_is_replaced_holds_the_new_rows_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(store, discharge([1.0]))
    merge(store / "other", discharge([2.0, 3.0]))
    read = lake_bulk.reader

    def and_another_adds(*arguments: Any) -> Any:
        monkeypatch.undo()
        later = DAY + timedelta(days=400)  # a partition of which the table has nothing yet
        merge(store, discharge([9.0], first=later), window_of(later))
        return read(*arguments)

    monkeypatch.setattr(lake_bulk, "reader", and_another_adds)
    lake_bulk.replace_normalized(store, store / "other", FLOOD, DISCHARGE)
    assert stored(store) == [2.0, 3.0]
