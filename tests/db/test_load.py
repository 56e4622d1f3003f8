"""The load: one transaction, late corrections win, the same rows change nothing, an error leaves the old table."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import polars as pl
import psycopg2
import pytest
from db.helpers import DAY, DISCHARGE, FLOOD, NOON, SITES, discharge, fingerprint, giving, received, values, window_of

from headwater.stack.files import free_port
from pipelines import database, raw, raw_bulk
from pipelines.errors import ContractError, DatabaseError
from pipelines.types import Merged, stored_schema
from pipelines.window import Window

TABLE = "raw_flood.discharge"
ALL = f"select discharge_m3s from {TABLE} order by site_id, day"


def load(url: str, rows: pl.DataFrame, window: Window | None = None) -> Merged:
    return raw.load(url, FLOOD, DISCHARGE, window or window_of(DAY, 10), giving(rows))


def revised(values: list[float | None], at: set[int]) -> pl.DataFrame:
    """Rows from `DAY` on, of which those at these places were received an hour after the others."""
    old, new = received(discharge(values)), received(discharge(values), hours=1)
    return pl.concat([(new if place in at else old)[place] for place in range(len(values))])


def test_counts_tell_inserted_updated_and_unchanged_and_the_days_touched(url: str) -> None:
    assert load(url, received(discharge([1.0, 2.0, 3.0]))) == Merged(3, 0, 0, window_of(DAY, 3))
    done = load(url, revised([1.0, 2.5, 3.0, 4.0], at={1, 3}))
    assert done == Merged(1, 1, 2, Window(DAY + timedelta(days=1), DAY + timedelta(days=3)))
    assert values(url, ALL) == [1.0, 2.5, 3.0, 4.0]


def test_the_same_rows_again_write_nothing_at_all(url: str) -> None:
    rows = received(discharge([1.0, None, 3.0]))
    load(url, rows)
    before = fingerprint(url, TABLE, versions=True)
    assert load(url, rows) == Merged(0, 0, 3, None)
    assert fingerprint(url, TABLE, versions=True) == before


def test_unchanged_rows_are_not_rewritten_beside_a_changed_one(url: str) -> None:
    load(url, received(discharge([1.0, 2.0])))
    first = f"select xmin::text from {TABLE} where day = '{DAY}'"
    before = values(url, first)
    load(url, revised([1.0, 9.0], at={1}))
    assert values(url, first) == before
    assert values(url, ALL) == [1.0, 9.0]


def test_no_rows_load_as_nothing(url: str) -> None:
    assert load(url, received(discharge([]))) == Merged(0, 0, 0, None)
    assert fingerprint(url, TABLE)[0] == 0


def test_a_version_first_received_at_another_time_than_thought_is_stored_so(url: str) -> None:
    load(url, received(discharge([1.0, 2.0]), hours=5))
    assert load(url, received(discharge([1.0, 2.0]), hours=1)).updated == 2
    assert values(url, f"select distinct revised_at from {TABLE}") == [NOON + timedelta(hours=1)]


def test_days_that_the_table_has_no_row_of_are_appended_to_their_partition(url: str) -> None:
    load(url, received(discharge([1.0, 2.0])))
    before = values(url, f"select xmin::text from {TABLE} order by day")
    later = DAY + timedelta(days=20)
    assert load(url, received(discharge([3.0] * 5, later)), window_of(later, 5)) == Merged(5, 0, 0, window_of(later, 5))
    assert values(url, f"select xmin::text from {TABLE} order by day")[:2] == before
    assert fingerprint(url, TABLE)[0] == 7


def test_history_of_many_partitions_that_fails_half_way_leaves_nothing(url: str) -> None:
    def breaks(window: Window) -> Iterator[pl.DataFrame]:
        if window.start.year == 2021:
            raise ContractError("the lake cannot be read")
        yield received(discharge([1.0] * window.days, window.start))

    history = Window(date(2019, 5, 1), date(2022, 3, 1))
    with pytest.raises(ContractError, match="the lake cannot be read"):
        raw.load(url, FLOOD, DISCHARGE, history, breaks)
    assert fingerprint(url, TABLE)[0] == 0
    days = Window(date(2019, 5, 1), date(2022, 3, 1))
    whole = received(discharge([1.0] * days.days, days.start))
    assert load(url, whole, history) == Merged(days.days, 0, 0, days)
    assert fingerprint(url, TABLE)[0] == days.days
    assert not values(url, r"select relname from pg_class where relname like '%\_\_new%'")


def test_who_tends_a_new_partition_when_it_is_attached_and_its_load_do_not_block_each_other(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_bulk, "STREAMS", 1)
    waiting = "select 1 as found from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    tending = psycopg2.connect(url)

    def tend() -> None:
        """As autovacuum does: the table is locked, and the index written to while the load wants both."""
        deadline = time.monotonic() + 20
        while not database.query(url, waiting):
            assert time.monotonic() < deadline, "the load never waited"
            time.sleep(0.02)
        tending.cursor().execute(f"alter index {TABLE}_2019__new_pkey set (fillfactor = 90)")
        tending.commit()

    def read(window: Window) -> Iterator[pl.DataFrame]:
        if window.start.year == 2021:  # the partitions before it are there
            tending.cursor().execute(f"lock table {TABLE}_2019__new in share update exclusive mode")
        yield received(discharge([1.0] * window.days, window.start))

    with ThreadPoolExecutor(1) as pool:
        tends = pool.submit(tend)
        done = raw.load(url, FLOOD, DISCHARGE, Window(date(2019, 12, 1), date(2021, 1, 31)), read)
        tends.result(20)
    tending.close()
    assert done.inserted == fingerprint(url, TABLE)[0] == 31 + 366 + 31


def test_a_replayed_older_answer_never_undoes_a_newer_one(url: str) -> None:
    load(url, received(discharge([1.0]), hours=2))
    assert load(url, received(discharge([7.0]), hours=1)) == Merged(0, 0, 1, None)
    assert values(url, ALL) == [1.0]


def test_the_same_answer_read_by_a_mended_parser_replaces_its_rows(url: str) -> None:
    load(url, received(discharge([1.0])))
    assert load(url, received(discharge([0.0283]))).updated == 1
    assert values(url, ALL) == [0.0283]


def test_null_and_value_are_different_both_ways(url: str) -> None:
    load(url, received(discharge([None, 2.0, None])))
    assert load(url, revised([0.0, None, None], at={0, 1})) == Merged(0, 2, 1, window_of(DAY, 2))
    assert values(url, ALL) == [0.0, None, None]


def test_each_year_of_the_window_has_its_partition(url: str) -> None:
    first = date(2022, 12, 30)
    load(url, received(discharge([1.0] * 400, first)), window_of(first, 400))
    partitions = f"select inhrelid::regclass::text from pg_inherits where inhparent = '{TABLE}'::regclass order by 1"
    assert values(url, partitions) == [f"{TABLE}_{year}" for year in (2022, 2023, 2024)]
    years = f"select count(*) from {TABLE} group by tableoid order by min(day)"
    assert values(url, years) == [2, 365, 33]


def test_a_table_without_days_is_loaded_whole(url: str) -> None:
    rows = pl.DataFrame({"site_id": ["01", "02"], "name": ["Alder", "Bracken"]})
    rows = received(rows).select(
        [pl.col(name).cast(kind) if name in {*rows.columns, "revised_at"} else pl.lit(None, kind).alias(name)
         for name, kind in stored_schema(SITES).items()]
    )  # fmt: skip
    assert raw.load(url, FLOOD, SITES, window_of(DAY), lambda window: [rows]) == Merged(2, 0, 0, None)
    assert raw.load(url, FLOOD, SITES, window_of(DAY), lambda window: [rows]) == Merged(0, 0, 2, None)


def test_a_refused_row_leaves_the_old_table(url: str) -> None:
    load(url, received(discharge([1.0, 2.0])))
    before = fingerprint(url, TABLE, versions=True)
    bad = discharge([5.0, 6.0, 7.0]).with_columns(
        pl.when(pl.col("discharge_m3s") < 7).then(pl.col("is_provisional")).alias("is_provisional")
    )
    with pytest.raises(DatabaseError, match=r"raw_flood.discharge 2024-03-01.*not-null.*The old table stands\.$"):
        load(url, received(bad, hours=1))
    assert fingerprint(url, TABLE, versions=True) == before


def test_a_connection_killed_in_the_middle_leaves_the_old_table(url: str) -> None:
    load(url, received(discharge([1.0, 2.0])))
    before = fingerprint(url, TABLE, versions=True)
    kill = (
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and wait_event_type = 'Lock' and query like '%insert into raw%'"
    )
    holder = psycopg2.connect(url)
    with ThreadPoolExecutor(1) as pool:
        try:
            # The loader waits for the rows that are locked here: inside its transaction, after its comparison
            holder.cursor().execute(f"update {TABLE} set discharge_m3s = 3")
            loading = pool.submit(load, url, received(discharge([8.0, 9.0]), hours=1))
            deadline = time.monotonic() + 20
            while not database.query(url, kill):
                assert time.monotonic() < deadline, "the loader never waited"
                time.sleep(0.02)
            with pytest.raises(DatabaseError, match=r"failed: (terminating|server closed).*The old table stands"):
                loading.result(20)
        finally:
            holder.rollback()
            holder.close()
    assert fingerprint(url, TABLE, versions=True) == before


def test_postgres_out_of_reach_is_said_in_one_sentence_of_one_line() -> None:
    url = f"postgresql://nobody:secret@127.0.0.1:{free_port()}/nowhere"
    for attempt in (
        lambda: load(url, received(discharge([1.0]))),
        lambda: database.query(url, "select 1"),
        lambda: database.read_frame(url, "select 1"),
    ):
        with pytest.raises(DatabaseError) as refused:
            attempt()
        said = str(refused.value)
        assert "Connection refused" in said
        assert "\n" not in said
        assert "secret" not in said


def test_a_url_that_is_none_is_a_database_error() -> None:
    with pytest.raises(DatabaseError):
        database.query("postgresql://host:not-a-port/name", "select 1")


def test_threads_that_load_one_window_at_once_end_with_the_newest_rows(url: str) -> None:
    barrier = threading.Barrier(4)

    def one(hours: int) -> Merged:
        barrier.wait()
        return load(url, received(discharge([float(hours)] * 300, first), hours), window_of(first, 300))

    first = date(2023, 11, 1)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(one, range(4)))
    assert sum(item.inserted for item in done) == 300
    assert set(values(url, ALL)) == {3.0}
    assert fingerprint(url, TABLE)[0] == 300


def test_first_loads_of_all_tables_at_once_do_not_meet_in_the_schema(url: str) -> None:
    barrier = threading.Barrier(len(FLOOD.datasets))

    def one(name: str) -> int:
        dataset = FLOOD.dataset(name)
        barrier.wait()
        empty = pl.DataFrame(schema=stored_schema(dataset))
        return raw.load(url, FLOOD, dataset, window_of(DAY, 1), lambda window: [empty]).inserted

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, [dataset.name for dataset in FLOOD.datasets])) == [0, 0, 0, 0]


def _load_in_a_process(url: str, hours: int) -> None:
    load(url, received(discharge([float(hours)] * 200), hours), window_of(DAY, 200))


def test_processes_that_load_one_window_into_an_empty_database_at_once_both_succeed(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_load_in_a_process, args=(url, hours)) for hours in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert set(values(url, ALL)) == {2.0}
    assert fingerprint(url, TABLE)[0] == 200


def test_a_hundred_thousand_rows_load_and_come_back_as_they_were(url: str) -> None:
    first, count, sites = date(1998, 1, 1), 10_000, 10
    rows = pl.concat(
        discharge([(day * 7919 + site) % 1000 / 7 for day in range(count)], first, f"{site:02}")
        for site in range(sites)
    )
    done = load(url, received(rows), window_of(first, count))
    assert done == Merged(count * sites, 0, 0, window_of(first, count))
    back = database.read_frame(url, f"select * from {TABLE} order by site_id, day")
    assert back.drop("revised_at").equals(rows)
    assert back.get_column("revised_at").unique().to_list() == [NOON]
