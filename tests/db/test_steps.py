"""The steps on the sandbox: repeatable, nothing lost, nothing wrong let in, corrections carried to the features."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from db.helpers import (
    DISCHARGE,
    FLOOD,
    FORECAST,
    SITES,
    WEATHER,
    Upstreams,
    fingerprint,
    lake_at,
    make_settings,
    values,
    window_of,
)
from deltalake import DeltaTable

from pipelines import database, lake, ledger, steps
from pipelines.errors import ContractError, NotFoundError, SourceError
from pipelines.settings import Settings
from pipelines.spec import Dataset
from pipelines.storage import Store
from pipelines.use_cases.flood import usgs
from pipelines.window import Window

WINDOW = Window(date(2024, 6, 10), date(2024, 6, 12))
NEXT = window_of(date(2024, 6, 13))
TABLES = [f"raw_flood.{dataset.name}" for dataset in FLOOD.datasets]
UPSTREAM = {"discharge": "/usgs", "weather": "/archive", "forecast": "/past-forecast"}
DATA = ("fetch", "check", "load")


def ingest(dataset: Dataset, window: Window, settings: Settings, names: tuple[str, ...] = DATA) -> dict[str, Any]:
    return [getattr(steps, name)(FLOOD, dataset, window, settings) for name in names][-1]


def url_of(settings: Settings) -> str:
    return settings.require_database()


def newest(settings: Settings) -> dict[str, Any]:
    return ledger.history(url_of(settings), FLOOD, 1)[0]


@dataclass
class World:
    """The same three days: asked for at once, again, and once more a fortnight later."""

    settings: Settings
    steps_heard: list[tuple[str, str]] = field(default_factory=list)
    tables: list[dict[str, tuple[int, str]]] = field(default_factory=list)
    discharge: list[pl.DataFrame] = field(default_factory=list)
    features: list[pl.DataFrame] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)

    def keep(self) -> None:
        url = url_of(self.settings)
        self.tables.append({table: fingerprint(url, table, versions="raw" in table)
                            for table in (*TABLES, FLOOD.feature_table)})  # fmt: skip
        order = "order by site_id, day"
        self.discharge.append(database.read_frame(url, f"select * from raw_flood.discharge {order}"))
        self.features.append(database.read_frame(url, f"select * from flood.features {order}"))


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str], module_upstreams: Upstreams
) -> World:
    found = World(make_settings(tmp_path_factory.mktemp("steps"), new_database(), module_upstreams.url))
    for today in (WINDOW.end + timedelta(days=1), WINDOW.end + timedelta(days=1), WINDOW.end + timedelta(days=14)):
        module_upstreams.today = today
        steps.run(
            FLOOD, WINDOW, settings=found.settings, on_step=lambda step, name, _: found.steps_heard.append((step, name))
        )
        found.keep()
    found.states = ledger.history(url_of(found.settings), FLOOD, 1000)
    return found


def test_a_run_takes_every_data_set_through_every_step(world: World) -> None:
    names = [dataset.name for dataset in FLOOD.datasets]
    once = [(step, name) for step in DATA for name in names] + [("transform", "features")]
    assert world.steps_heard == once * 3
    counts = {table: count for table, (count, _) in world.tables[0].items()}
    # Six sites; the window and the days before it that are asked for again
    assert counts["raw_flood.sites"] == 6
    assert 80 < counts["raw_flood.discharge"] <= 6 * (3 + 14)
    assert counts["raw_flood.weather"] == 6 * (3 + 10)
    assert counts["raw_flood.forecast"] == 6 * 3
    assert counts["flood.features"] >= counts["raw_flood.weather"]


def test_every_step_again_changes_nothing(world: World) -> None:
    assert world.tables[1] == world.tables[0]


def test_received_is_accepted_and_quarantined_in_every_check(world: World) -> None:
    checks = [row for row in world.states if row["step"] == "check"]
    assert len(checks) == 3 * len(FLOOD.datasets)
    for row in checks:
        assert row["received"] == row["accepted"] + row["quarantined"]
        assert row["accepted"] == row["inserted"] + row["updated"] + row["unchanged"]
    assert {row["state"] for row in world.states} == {"loaded"}
    assert {row["attempt"] for row in world.states} == {1, 2, 3}


def test_a_late_correction_reaches_raw_and_the_features_of_the_days_after(world: World) -> None:
    keys = ["site_id", "day"]
    first, last = world.discharge[0], world.discharge[2]
    both = first.join(last, on=keys, suffix="_new")
    corrected = both.filter(pl.col("discharge_m3s").ne_missing(pl.col("discharge_m3s_new")))
    assert corrected.height >= 3, "the upstream corrects one value in ten"
    assert (corrected["revised_at_new"] > corrected["revised_at"]).all()
    kept = both.filter(pl.col("discharge_m3s").eq_missing(pl.col("discharge_m3s_new")))
    assert (kept["revised_at_new"] == kept["revised_at"]).all()
    after = world.features[2]
    for row in corrected.iter_rows(named=True):
        for days, column in ((0, "discharge_m3s"), (1, "discharge_lag1_m3s"), (3, "discharge_lag3_m3s"),
                             (-1, "discharge_next_m3s")):  # fmt: skip
            at = (pl.col("site_id") == row["site_id"]) & (pl.col("day") == row["day"] + timedelta(days=days))
            found = after.filter(at)[column].to_list()
            assert found in ([row["discharge_m3s_new"]], []), (row, column)


def test_a_correction_at_the_far_end_reaches_the_label_of_the_day_before_it(world: World) -> None:
    settings, url = world.settings, url_of(world.settings)
    far = WINDOW.start - timedelta(days=14)
    later = window_of(far - timedelta(days=1))
    ingest(DISCHARGE, later, settings)
    ingest(WEATHER, later, settings)
    steps.transform(FLOOD, later, settings)
    site = "site_id = '99000020'"
    label = f"select discharge_next_m3s from flood.features where {site} and day = '{later.start}'"
    before = values(url, label)
    database.query(url, f"update raw_flood.discharge set discharge_m3s = 77 where {site} and day = '{far}'")
    steps.transform(FLOOD, WINDOW, settings)
    assert before not in ([], [77.0])
    assert values(url, label) == [77.0]


# --- faults of the upstream


@pytest.mark.parametrize(
    ("dataset", "kind", "options", "said"),
    [
        (DISCHARGE, "renamed_field", {}, "no field 'value'; was it renamed to 'val'"),
        (DISCHARGE, "not_json", {}, "is not JSON"),
        (WEATHER, "renamed_field", {}, "no field 'precipitation_sum'"),
        (WEATHER, "not_json", {}, "is not JSON"),
        (FORECAST, "wrong_type", {"field": "temperature_2m_mean"}, "temp_next_c"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else getattr(value, "name", ""),
)
def test_an_answer_of_another_shape_loads_nothing_and_the_old_tables_stand(
    settings: Settings, upstreams: Upstreams, dataset: Dataset, kind: str, options: dict[str, Any], said: str
) -> None:
    table = f"raw_flood.{dataset.name}"
    ingest(dataset, WINDOW, settings)
    before = fingerprint(url_of(settings), table, versions=True)
    delta = DeltaTable(lake.normalized_path(settings.lake, FLOOD, dataset).url)
    version = delta.version()
    upstreams.fault(UPSTREAM[dataset.name], kind, **options)
    with pytest.raises(ContractError, match=said):
        ingest(dataset, NEXT, settings)
    row = newest(settings)
    assert row["state"] == "failed"
    assert said.split(";")[0] in row["detail"]["error"]
    assert row["accepted"] is None
    delta.update_incremental()
    assert delta.version() == version
    assert fingerprint(url_of(settings), table, versions=True) == before
    upstreams.behave()
    assert ingest(dataset, NEXT, settings)["inserted"] == 6, "when the upstream is mended, the same window is loaded"


def test_a_known_other_unit_is_converted_and_an_unknown_one_refused(
    settings: Settings, upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(DISCHARGE, WINDOW, settings)
    sql = "select site_id, day, discharge_m3s from raw_flood.discharge order by 1, 2"
    before = database.read_frame(url_of(settings), sql)["discharge_m3s"]
    upstreams.fault("/usgs", "wrong_unit")
    ingest(DISCHARGE, WINDOW, settings)
    after = database.read_frame(url_of(settings), sql)["discharge_m3s"]
    assert ((after - before).abs() <= 0.00051).all(), "m³/s, rounded by the upstream to three decimals"
    monkeypatch.setattr(usgs, "UNITS", {"ft^3/s": usgs.CUBIC_FOOT_M3})
    with pytest.raises(ContractError, match=r"'m\^3/s'.*Nothing was loaded"):
        ingest(DISCHARGE, NEXT, settings)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("out_of_range", "discharge_m3s is above 300000"),
        ("wrong_type", "discharge_m3s is not a float"),
        ("duplicate", "doubled: site_id, day"),
    ],
)
def test_a_bad_row_is_quarantined_with_its_reason_and_the_rest_is_loaded(
    settings: Settings, upstreams: Upstreams, kind: str, reason: str
) -> None:
    upstreams.fault("/usgs", kind, times=1)
    ingest(DISCHARGE, WINDOW, settings)
    check = next(row for row in ledger.history(url_of(settings), FLOOD) if row["step"] == "check")
    assert (check["state"], check["quarantined"]) == ("loaded", 1)
    assert check["received"] == check["accepted"] + 1
    found = lake.read_quarantine(settings.lake, FLOOD, DISCHARGE)
    assert found.height == 1
    assert reason in found["reason"][0]
    assert (found["window_start"][0], found["window_end"][0]) == (WINDOW.start, WINDOW.end)
    assert fingerprint(url_of(settings), "raw_flood.discharge")[0] == check["accepted"]
    ingest(DISCHARGE, WINDOW, settings)
    assert lake.read_quarantine(settings.lake, FLOOD, DISCHARGE).is_empty(), "a sound answer clears the quarantine"


def test_an_upstream_that_is_down_fails_the_fetch_and_a_second_run_succeeds(
    settings: Settings, upstreams: Upstreams
) -> None:
    ingest(DISCHARGE, WINDOW, settings)
    before = fingerprint(url_of(settings), "raw_flood.discharge", versions=True)
    upstreams.fault("/usgs", "status", times=2, status=503, retry_after=0)
    with pytest.raises(SourceError, match="usgs answered 503"):
        ingest(DISCHARGE, NEXT, settings)
    assert (newest(settings)["step"], newest(settings)["state"]) == ("fetch", "failed")
    assert fingerprint(url_of(settings), "raw_flood.discharge", versions=True) == before
    assert ingest(DISCHARGE, NEXT, settings)["inserted"] == 6
    fetches = [row for row in ledger.history(url_of(settings), FLOOD) if row["window_start"] == NEXT.start]
    assert [(row["step"], row["attempt"], row["state"]) for row in reversed(fetches)] == [
        ("fetch", 1, "failed"), ("fetch", 2, "loaded"), ("check", 1, "loaded"), ("load", 1, "loaded"),
    ]  # fmt: skip


def test_a_refusal_that_passes_within_the_tries_is_not_seen(settings: Settings, upstreams: Upstreams) -> None:
    upstreams.fault("/usgs", "status", times=1, status=503, retry_after=0)
    assert ingest(DISCHARGE, WINDOW, settings)["inserted"] > 80


def test_a_stale_answer_after_a_newer_one_is_taken_as_the_upstreams_word_and_loses_no_day(
    settings: Settings, upstreams: Upstreams
) -> None:
    days = "select distinct day from raw_flood.discharge order by day"
    ingest(DISCHARGE, WINDOW, settings)
    before = values(url_of(settings), days)
    upstreams.today = WINDOW.end + timedelta(days=1)
    upstreams.fault("/usgs", "stale", days=3)
    ingest(DISCHARGE, WINDOW, settings)
    assert values(url_of(settings), days) == before


# --- what is said of days without rows


def test_an_empty_answer_is_missing(settings: Settings) -> None:
    window = window_of(date(2024, 8, 20))
    counts = ingest(DISCHARGE, window, settings, ("fetch", "check"))
    assert (counts["state"], counts["received"]) == ("missing", 0)
    assert newest(settings)["state"] == "missing"
    assert ingest(DISCHARGE, window, settings, ("load",))["inserted"] == 0


def test_days_that_have_not_come_yet_are_late_though_corrections_came(settings: Settings, upstreams: Upstreams) -> None:
    upstreams.today = WINDOW.end
    assert ingest(DISCHARGE, window_of(WINDOW.end), settings, ("fetch", "check"))["state"] == "late"
    upstreams.today = WINDOW.end + timedelta(days=1)
    assert ingest(DISCHARGE, window_of(WINDOW.end), settings, ("fetch", "check"))["state"] == "loaded"


def test_days_from_before_the_upstreams_memory_are_not_expected(settings: Settings) -> None:
    window = window_of(date(2012, 5, 1))
    assert ingest(FORECAST, window, settings, ("fetch",))["state"] == "not-expected"
    assert ingest(FORECAST, window, settings, ("check",))["state"] == "not-expected"
    assert ingest(FORECAST, window, settings, ("load",))["inserted"] == 0


# --- order and concurrency


@pytest.mark.parametrize("step", ["check"])
def test_a_step_before_its_turn_says_what_to_run_first(settings: Settings, step: str) -> None:
    with pytest.raises(NotFoundError, match="run the step fetch first"):
        ingest(DISCHARGE, WINDOW, settings, (step,))
    assert newest(settings)["state"] == "failed"


def test_a_step_that_does_not_exist_is_refused_before_any_ran(settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="no step 'train'"):
        steps.run(FLOOD, WINDOW, ["fetch", "train"], settings)
    assert ledger.history(url_of(settings), FLOOD) == []


def test_what_was_checked_and_not_loaded_is_brought_by_the_next_days_load(settings: Settings) -> None:
    ingest(DISCHARGE, WINDOW, settings, ("fetch", "check"))
    ingest(DISCHARGE, NEXT, settings)
    loaded = values(url_of(settings), "select distinct day from raw_flood.discharge order by day")
    assert {NEXT.end - timedelta(days=back) for back in range(15)} <= set(loaded)
    stored = lake.read_normalized(settings.lake, FLOOD, DISCHARGE, WINDOW.widened(before=14, after=1))
    days_before = (NEXT.start - WINDOW.start).days
    assert ingest(DISCHARGE, WINDOW, settings, ("load",))["inserted"] <= 6 * days_before, "those further back"
    assert fingerprint(url_of(settings), "raw_flood.discharge")[0] == stored.height


def test_windows_that_overlap_may_be_checked_and_loaded_at_once(settings: Settings, store: Store) -> None:
    settings = lake_at(store, settings)
    windows = [window_of(WINDOW.start + timedelta(days=offset)) for offset in range(4)]
    for window in windows:
        ingest(DISCHARGE, window, settings, ("fetch",))
    barrier = threading.Barrier(len(windows))

    def one(window: Window) -> None:
        barrier.wait()
        ingest(DISCHARGE, window, settings, ("check", "load"))

    with ThreadPoolExecutor(len(windows)) as pool:
        list(pool.map(one, windows))
    whole = Window(windows[0].start, windows[-1].end).widened(before=14)
    stored = lake.read_normalized(settings.lake, FLOOD, DISCHARGE, whole)
    assert stored.select("site_id", "day").is_unique().all()
    assert sorted(set(stored["day"])) == [whole.start + timedelta(days=offset) for offset in range(whole.days)]
    sql = "select * from raw_flood.discharge order by site_id, day"
    assert database.read_frame(url_of(settings), sql).equals(stored.sort("site_id", "day"))


def test_the_sites_of_the_network_are_loaded_and_no_others(settings: Settings) -> None:
    ingest(SITES, WINDOW, settings)
    names = values(url_of(settings), "select name from raw_flood.sites")
    assert len(names) == 6
    assert all("(simulated)" in str(name) for name in names)
