"""Retention: what is too old is archived, read back and only then deleted; a run that was cut off may be repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from db import helpers
from db.helpers import DISCHARGE, NOON, discharge, lake_at, make_settings, values, window_of

from pipelines import archive as archives
from pipelines import database, lake, lake_files, lake_vacuum, retention
from pipelines.errors import SettingsError, StorageError
from pipelines.lake_check import check
from pipelines.lake_tables import normalized_path, open_table, snapshot_path
from pipelines.landing import Landing, Received
from pipelines.retention_landing import LandingLayer
from pipelines.retention_layers import FeaturesLayer, Item, NormalizedLayer
from pipelines.settings import Settings
from pipelines.spec import Retention
from pipelines.storage import Store
from pipelines.window import Window

FLOOD = replace(helpers.FLOOD, retention=Retention())
TODAY = date(2026, 6, 15)
EVER = Window(date(1900, 1, 1), date(2100, 1, 1))
in_a_folder = pytest.mark.parametrize("store", ["folder"], indirect=True)
"""For what does not depend on the kind of store."""
LAYERS = {"landing": LandingLayer, "normalized": NormalizedLayer, "features": FeaturesLayer}


@pytest.fixture
def archive(tmp_path: Path, store: Store) -> Store:
    """An empty archive of the same kind as the lake."""
    return Store.at(tmp_path / "archive") if store.is_folder else Store.at(f"{store.url}-archive", store.options)


@pytest.fixture
def old(store: Store, tmp_path: Path, new_database: Callable[[], str]) -> Settings:
    """A lake and features with rows of 2019 to 2026, landed by year; the newest answers repeat an old one."""
    settings = lake_at(store, make_settings(tmp_path, new_database()))
    landing = Landing(settings.lake, FLOOD)
    for year in range(2019, 2027):
        window = Window(date(year, 1, 1), date(year, 1, 31))
        bodies = [f"answer of {year}".encode(), b"the same every year" if year != 2020 else b"of 2020 alone"]
        landing.write(DISCHARGE, window, [Received(body, "https://up.example", "usgs-ogc", {}) for body in bodies])
        lake.merge_normalized(
            settings.lake, FLOOD, DISCHARGE, window, discharge([float(year)] * 31, window.start), NOON
        )
    database.query(
        settings.require_database(),
        "create schema flood; create table flood.features as select '01' as site_id, day::date, "
        "extract(doy from day)::float as discharge_m3s, null::text as note "
        "from generate_series('2024-01-01'::date, '2026-06-01'::date, '1 day') as day",
    )
    return settings


def rows_of(settings: Settings) -> pl.DataFrame:
    return lake.read_normalized(settings.lake, FLOOD, DISCHARGE, EVER).sort("day")


def state(settings: Settings) -> tuple[list[str], pl.DataFrame, list[object]]:
    landed = [item.name for item in (settings.lake / "landing").list()]
    days = values(settings.require_database(), "select day from flood.features order by day")
    return landed, rows_of(settings), days


def same(one: Any, other: Any) -> bool:
    return one[0] == other[0] and one[1].equals(other[1]) and one[2] == other[2]


def parts(items: list[Item], layer: str) -> list[str]:
    return [item.part for item in items if item.layer == layer]


def run(settings: Settings, archive: Store) -> list[retention.Archived]:
    return retention.apply(FLOOD, settings, archive, TODAY)


@in_a_folder
def test_a_plan_lists_whole_parts_of_each_layer_and_changes_nothing(old: Settings) -> None:
    before = state(old)
    items = retention.plan(FLOOD, old, TODAY)
    assert parts(items, "landing") == ["year=2019", "year=2020", "year=2021"], "five years"
    assert parts(items, "normalized") == ["year=2019", "year=2020", "year=2021", "year=2022"], "three, whole partitions"
    months = parts(items, "features")
    assert (months[0], months[-1], len(months)) == ("month=2024-01", "month=2025-05", 17), "one, whole months"
    landed = items[0]
    assert (landed.dataset, landed.days, landed.rows) == (
        "discharge",
        Window(date(2019, 1, 1), date(2019, 1, 31)),
        None,
    )
    assert landed.files == 2, "the envelope and the answer that no other year repeats"
    rows = next(item for item in items if item.layer == "normalized")
    assert (rows.rows, rows.files, rows.bytes > 1000) == (31, 1, True)
    assert sum(item.rows or 0 for item in items if item.layer == "features") == 366 + 151
    assert same(state(old), before)


def test_what_is_archived_is_what_was_there_and_only_that_is_gone(old: Settings, archive: Store) -> None:
    before = state(old)
    objects = {item.name: (old.lake / "landing").read(item.name) for item in (old.lake / "landing").list()}
    done = run(old, archive)
    landed, rows, days = state(old)

    assert not [name for name in landed if "/discharge/2019" in name or "/discharge/2020" in name]
    assert len([name for name in landed if "/discharge/" in name]) == 5
    shared = f"flood/objects/{hashlib.sha256(b'the same every year').hexdigest()[:2]}"
    assert [name for name in landed if name.startswith(shared)], "younger envelopes name it"
    assert rows.equals(before[1].filter(pl.col("day") >= date(2023, 1, 1)))
    assert days == [day for day in before[2] if day >= date(2025, 6, 1)]

    for item in (archive / "landing").list():
        assert (archive / "landing").read(item.name) == objects[item.name]
    kept = [item.name for item in (archive / "landing").list()]
    assert len([name for name in kept if "/discharge/" in name]) == 3
    assert set(before[0]) == set(landed) | set(kept)
    old_rows = pl.concat(
        pl.read_parquet(BytesIO(archive.read(item.name)))
        for item in archive.list()
        if item.name.startswith("normalized/flood/discharge/year=")
    )
    assert old_rows.sort("day").equals(before[1].filter(pl.col("day") < date(2023, 1, 1)))
    features = [item.name for item in archive.list() if item.name.startswith("features/flood/month=")]
    assert len(features) == 17
    assert pl.read_parquet(BytesIO(archive.read(features[0]))).columns == ["site_id", "day", "discharge_m3s", "note"]
    assert [name.split("/")[2] for one in done for name in [one.manifest]] == ["landing", "normalized", "features"]
    assert check(old.lake) == []


@in_a_folder
def test_the_manifest_has_the_checksums_of_what_was_kept(old: Settings, archive: Store) -> None:
    for archived in run(old, archive):
        manifest = json.loads(archive.read(archived.manifest))
        assert (manifest["use_case"], len(manifest["items"])) == ("flood", len(archived.items))
        assert manifest["kept"]
        for kept in manifest["kept"]:
            body = archive.read(kept["name"])
            assert (hashlib.sha256(body).hexdigest(), len(body)) == (kept["sha256"], kept["bytes"])
            if "rows" in kept:
                rows = pl.read_parquet(BytesIO(body))
                assert (rows.height, archives.fingerprint(rows)) == (kept["rows"], kept["fingerprint"])


@in_a_folder
def test_a_second_run_finds_nothing_and_writes_nothing(old: Settings, archive: Store) -> None:
    run(old, archive)
    before = [item.name for item in archive.list()]
    assert retention.plan(FLOOD, old, TODAY) == []
    assert run(old, archive) == []
    assert [item.name for item in archive.list()] == before


# --- runs that are cut off


@pytest.mark.parametrize("layer", ["landing", "normalized", "features"])
def test_a_run_cut_off_before_it_deletes_is_repeated_from_the_archive(
    old: Settings, archive: Store, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LAYERS[layer], "delete", killed)
    with pytest.raises(KeyboardInterrupt):
        run(old, archive)
    monkeypatch.undo()
    kept = {item.name: item.modified for item in archive.list() if not item.name.startswith("manifests/")}
    items = retention.plan(FLOOD, old, TODAY)
    assert parts(items, layer), "nothing of it was deleted"
    run(old, archive)
    assert retention.plan(FLOOD, old, TODAY) == []
    again = {item.name: item.modified for item in archive.list()}
    assert {name: again[name] for name in kept} == kept, "what was there was verified, not written again"
    assert check(old.lake) == []


def test_a_run_cut_off_among_the_objects_is_finished_by_the_next(
    old: Settings, archive: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete, calls = Store.delete, []

    def killed(self: Store, names: Any) -> None:
        calls.append(list(names))
        delete(self, calls[-1][: len(calls[-1]) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "delete", killed)
    with pytest.raises(KeyboardInterrupt):
        run(old, archive)
    monkeypatch.undo()
    assert len(calls[0]) == 4, "the objects go before the envelopes"
    run(old, archive)
    assert retention.plan(FLOOD, old, TODAY) == []
    assert check(old.lake) == []


def test_an_object_that_is_neither_in_the_lake_nor_in_the_archive_stops_the_layer(
    old: Settings, archive: Store
) -> None:
    name = f"objects/{hashlib.sha256(b'of 2020 alone').hexdigest()[:2]}/{hashlib.sha256(b'of 2020 alone').hexdigest()}"
    (old.lake / "landing" / "flood").delete([name])
    before = state(old)
    with pytest.raises(StorageError, match=f"{name} is neither in the lake nor in the archive"):
        run(old, archive)
    assert same(state(old), before)


@in_a_folder
def test_an_object_with_other_bytes_is_not_archived(old: Settings, archive: Store) -> None:
    sha256 = hashlib.sha256(b"of 2020 alone").hexdigest()
    (old.lake / "landing" / "flood").write(f"objects/{sha256[:2]}/{sha256}", b"of 2020 ALONE")
    before = state(old)
    with pytest.raises(StorageError, match="has other bytes than were received"):
        run(old, archive)
    assert same(state(old), before)


@in_a_folder
def test_an_archive_that_does_not_give_back_what_was_written_costs_nothing(
    old: Settings, archive: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, write, spoiled = state(old), Store.write, [""]

    def lossy(self: Store, name: str, body: bytes) -> None:
        write(self, name, body[:-1] if self == archive and name.startswith(spoiled[0]) else body)

    monkeypatch.setattr(Store, "write", lossy)
    for spoiled[0] in ("landing/", "normalized/", "features/"):
        with pytest.raises(StorageError, match=r"in the archive .* is not what was written there; nothing was deleted"):
            run(old, archive)
    landed, rows, days = state(old)
    assert len(landed) < len(before[0]), "the layer before was archived soundly"
    assert rows.height < before[1].height
    assert days == before[2]


def test_rows_written_while_they_are_archived_are_not_deleted(
    old: Settings, archive: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, day = NormalizedLayer.keep, date(2019, 1, 5)

    def keep_and_be_overtaken(self: NormalizedLayer, item: Item, place: Store) -> Any:
        yield from keep(self, item, place)
        if item.part == "year=2020":
            rows = discharge([7.0], day)
            lake.merge_normalized(old.lake, FLOOD, DISCHARGE, window_of(day), rows, NOON + timedelta(hours=1))

    monkeypatch.setattr(NormalizedLayer, "keep", keep_and_be_overtaken)
    with pytest.raises(StorageError, match="were written while they were archived"):
        run(old, archive)
    monkeypatch.undo()
    assert rows_of(old).height == 8 * 31
    run(old, archive)
    kept = [item.name for item in archive.list() if item.name.startswith("normalized/flood/discharge/year=2019/")]
    assert len(kept) == 2, "before the correction, and after it"
    found = [pl.read_parquet(BytesIO(archive.read(name))).filter(pl.col("day") == day).item(0, 2) for name in kept]
    assert sorted(found) == [7.0, 2019.0]


def test_an_answer_that_lands_meanwhile_keeps_the_objects_that_it_names(
    old: Settings, archive: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = LandingLayer.delete
    received = [Received(b"of 2020 alone", "https://up.example", "usgs-ogc", {})]

    def land_and_delete(self: LandingLayer, items: list[Item]) -> None:
        Landing(old.lake, FLOOD).write(DISCHARGE, window_of(date(2026, 6, 1)), received)
        Landing(old.lake, FLOOD).write(
            DISCHARGE, window_of(date(2018, 6, 1)), [*received, replace(received[0], body=b"x")]
        )
        delete(self, items)

    monkeypatch.setattr(LandingLayer, "delete", land_and_delete)
    run(old, archive)
    assert check(old.lake) == []
    assert parts(retention.plan(FLOOD, old, TODAY), "landing") == ["year=2018"], "an old window that landed anew"


@in_a_folder
def test_features_that_change_meanwhile_wait_for_the_archive(old: Settings, archive: Store) -> None:
    layer = FeaturesLayer(old.require_database(), FLOOD, TODAY)
    items = layer.items()
    database.query(old.require_database(), "delete from flood.features where day = '2024-02-02'")
    with pytest.raises(StorageError, match=r"has 28 rows in 2024-02-01\.\.2024-02-29, and 29 were archived"):
        layer.delete(items)
    assert values(old.require_database(), "select count(*) from flood.features") == [366 + 365 + 152 - 1]


def test_without_a_feature_table_there_is_nothing_to_archive(new_database: Callable[[], str]) -> None:
    assert FeaturesLayer(new_database(), FLOOD, TODAY).items() == []


@pytest.mark.parametrize("place", ["lake", "lake/archive", "."])
def test_an_archive_in_the_lake_is_refused(tmp_path: Path, place: str) -> None:
    settings = Settings(home=tmp_path, database_url="postgresql://nowhere")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="lie in one another"):
        retention.apply(FLOOD, settings, Store.at(tmp_path / place))


def test_a_fingerprint_follows_values_names_and_types_and_not_the_layout() -> None:
    rows = pl.DataFrame({"a": [1, None, 3], "b": ["x", "", None]})
    found = archives.fingerprint(rows)
    assert archives.fingerprint(pl.concat([rows[:1], rows[1:]], rechunk=False)) == found
    changed = (
        rows.reverse(), rows.rename({"a": "c"}), rows.with_columns(pl.col("a").cast(pl.Float64)),
        rows.with_columns(pl.col("b").fill_null("")), rows.head(2),
    )  # fmt: skip
    assert len({found, *(archives.fingerprint(other) for other in changed)}) == 6


# --- vacuum


def forgetful(days: int = 0) -> Any:
    return replace(FLOOD, retention=Retention(normalized_days=days))


def test_files_of_versions_beyond_the_history_are_vacuumed_and_the_present_rows_stay(store: Store) -> None:
    for hours, value in enumerate((1.0, 2.0)):
        lake.merge_normalized(
            store, FLOOD, DISCHARGE, window_of(TODAY), discharge([value], TODAY), NOON + timedelta(hours=hours)
        )
    path = normalized_path(store, FLOOD, DISCHARGE)
    assert lake_vacuum.vacuum(store, FLOOD, (), apply=True) == [], "three years of history"
    (found,) = lake_vacuum.vacuum(store, forgetful(), (), apply=False)
    assert (found.table, found.files) == ("normalized discharge", 1)
    assert len([item for item in path.list() if item.name.endswith(".parquet")]) == 2
    assert lake_vacuum.vacuum(store, forgetful(), (), apply=True) == [found]
    assert len([item for item in path.list() if item.name.endswith(".parquet")]) == 1
    assert lake_vacuum.vacuum(store, forgetful(), (), apply=True) == []
    assert lake.read_normalized(store, FLOOD, DISCHARGE, EVER).get_column("discharge_m3s").to_list() == [2.0]


def test_snapshots_that_a_model_names_are_never_vacuumed(store: Store) -> None:
    versions = [lake.write_snapshot(store, FLOOD, pl.DataFrame({"a": [number]}))[1] for number in range(4)]
    (found,) = lake_vacuum.vacuum(store, forgetful(), {versions[1], 999}, apply=True)
    assert (found.table, found.files) == ("snapshots", 2)
    assert lake.read_snapshot(store, FLOOD, versions[1]).get_column("a").to_list() == [1]
    assert lake.read_snapshot(store, FLOOD, versions[3]).get_column("a").to_list() == [3]
    path = snapshot_path(store, FLOOD)
    table = open_table(path)
    assert table is not None
    left = {item.name for item in path.list() if item.name.endswith(".parquet")}
    assert len(left) == 2
    assert lake_files.orphans(path, table) == []
    # Vacuuming commits too, and the next training still knows its own version
    _, version = lake.write_snapshot(store, FLOOD, pl.DataFrame({"a": [9]}))
    assert version > versions[3] + 1
    assert lake.read_snapshot(store, FLOOD, version).get_column("a").to_list() == [9]


def test_the_history_that_is_kept_is_still_read_after_a_vacuum(store: Store) -> None:
    lake.merge_normalized(store, FLOOD, DISCHARGE, window_of(TODAY), discharge([1.0], TODAY), NOON)
    then = datetime.now(UTC)
    later = NOON + timedelta(hours=1)
    lake.merge_normalized(store, FLOOD, DISCHARGE, window_of(TODAY), discharge([2.0], TODAY), later)
    lake_vacuum.vacuum(store, forgetful(days=1), (), apply=True)
    past = lake.read_window(store, FLOOD, DISCHARGE, EVER, as_of=then)
    assert past.rows.get_column("discharge_m3s").to_list() == [1.0]
