"""The scores of days: each dimension falls where its fault is planted, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from db.helpers import FLOOD, Upstreams, make_settings

from pipelines import alerts, database, freshness, profiles, quality, steps
from pipelines.errors import QualityError
from pipelines.judging import Quality
from pipelines.raw_tables import raw_table
from pipelines.registry import use_cases
from pipelines.schedule import window_of
from pipelines.settings import PROJECT, Settings
from pipelines.spec import UseCase
from pipelines.types import stored_schema
from pipelines.window import Window

FIRST, LAST = date(2024, 4, 1), date(2024, 4, 30)
DAY = date(2024, 5, 1)
ON_TIME = datetime(2024, 5, 2, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def loaded(load_flood: Callable[..., Settings]) -> Settings:
    """A month as history, and one day by its own run; no features."""
    return load_flood(Window(FIRST, LAST), Window(DAY, DAY))


def scored(settings: Settings, day: date = DAY, **options: Any) -> dict[tuple[str, str], dict[str, Any]]:
    quality.run(FLOOD, Window(day, day), settings, now=ON_TIME, **options)
    rows = quality.between(settings.require_database(), FLOOD, Window(day, day))
    return {(row["dataset"], row["dimension"]): row for row in rows}


def test_a_day_without_a_fault_is_complete_valid_and_consistent(loaded: Settings) -> None:
    found = scored(loaded)
    for name in ("discharge", "weather", "forecast"):
        for dimension in ("completeness", "validity", "consistency"):
            assert found[name, dimension]["score"] == 1.0, (name, dimension)
            assert found[name, dimension]["passed"] is True
            assert found[name, dimension]["rows"] > 0
    assert ("features", "validity") not in found


def test_scoring_again_changes_nothing_and_adds_no_row(loaded: Settings) -> None:
    first, second = scored(loaded), scored(loaded)
    assert [row["score"] for row in first.values()] == [row["score"] for row in second.values()]
    rows = database.query(
        loaded.require_database(),
        "select count(*) as n from ops.quality where day = %s and dataset = 'discharge'",
        (DAY,),
    )
    assert rows == [{"n": 4}]


def test_a_gauge_that_is_silent_makes_the_day_incomplete_and_is_named(loaded: Settings) -> None:
    url = loaded.require_database()
    (gone,) = database.query(url, "select * from raw_flood.discharge where day = %s order by site_id limit 1", (DAY,))
    database.query(url, "delete from raw_flood.discharge where (site_id, day) = (%s, %s)", (gone["site_id"], DAY))
    found = scored(loaded)
    row = found["discharge", "completeness"]
    assert row["score"] == pytest.approx(1 - 1 / row["rows"])
    assert (row["failed"], row["passed"]) == (1, False)
    assert row["detail"]["missing"] == [gone["site_id"]]
    # The lake still has the row: the layers differ by it
    assert found["discharge", "consistency"]["failed"] == 1
    files = sorted((loaded.reports / "flood" / "quality" / "days").glob(f"{DAY}*"))
    assert [path.suffix for path in files] == [".csv", ".parquet"]
    listed = pl.read_parquet(files[1])
    assert set(listed["dimension"]) == {"completeness", "consistency"}
    assert gone["site_id"] in listed.filter(pl.col("dimension") == "completeness")["key"].to_list()
    assert pl.read_csv(files[0]).height == listed.height
    names = ", ".join(gone)
    marks = ", ".join(["%s"] * len(gone))
    database.query(url, f"insert into raw_flood.discharge ({names}) values ({marks})", tuple(gone.values()))
    assert scored(loaded)["discharge", "completeness"]["score"] == 1.0
    assert not list((loaded.reports / "flood" / "quality" / "days").glob(f"{DAY}*"))


def test_a_value_that_only_the_warehouse_has_is_inconsistent(loaded: Settings) -> None:
    url = loaded.require_database()
    database.query(url, "update raw_flood.weather set temp_mean_c = temp_mean_c + 1 where day = %s", (DAY,))
    row = scored(loaded)["weather", "consistency"]
    assert (row["score"], row["passed"]) == (0.0, False)
    database.query(url, "update raw_flood.weather set temp_mean_c = null where day = %s", (DAY,))
    assert scored(loaded)["weather", "completeness"]["score"] == pytest.approx(0.5)
    steps.load(FLOOD, FLOOD.dataset("weather"), Window(DAY, DAY), loaded)
    assert scored(loaded)["weather", "consistency"]["score"] == 1.0


def test_refused_rows_make_a_day_less_valid_and_are_listed_with_their_reasons(
    loaded: Settings, module_upstreams: Upstreams
) -> None:
    day = DAY + timedelta(days=1)
    module_upstreams.fault("/usgs", "out_of_range", times=1)
    steps.run(FLOOD, Window(day, day), ("fetch", "check", "load"), loaded)
    module_upstreams.behave()
    row = scored(loaded, day)["discharge", "validity"]
    assert row["failed"] > 0
    assert row["score"] == pytest.approx(1 - row["failed"] / row["rows"])
    listed = pl.read_parquet(loaded.reports / "flood" / "quality" / "days" / f"{day}.parquet")
    refused = listed.filter(pl.col("dimension") == "validity")
    assert refused.height == row["failed"]
    assert refused["reason"].null_count() == refused["raw"].null_count() == 0


def test_history_has_no_timeliness_and_a_day_that_came_late_has_less(loaded: Settings) -> None:
    quality.run(FLOOD, Window(LAST, LAST), loaded, now=ON_TIME)
    rows = quality.between(loaded.require_database(), FLOOD, Window(LAST, LAST))
    assert "timeliness" not in {row["dimension"] for row in rows}
    url = loaded.require_database()
    for hours, score in ((1, 1.0), (2 + 11, 0.5), (40, 0.0)):
        at = datetime(2024, 5, 2, 9, tzinfo=UTC) + timedelta(hours=hours)
        database.query(
            url,
            "update ops.ledger set at = %s where step = 'load' and dataset = 'weather' and window_start = %s",
            (at, DAY),
        )
        assert scored(loaded)["weather", "timeliness"]["score"] == pytest.approx(score)


def test_a_day_that_never_came_scores_nothing(loaded: Settings) -> None:
    day = date(2024, 5, 20)
    quality.run(FLOOD, Window(day, day), loaded, now=datetime(2024, 5, 22, tzinfo=UTC))
    rows = {
        (row["dataset"], row["dimension"]): row["score"]
        for row in quality.between(loaded.require_database(), FLOOD, Window(day, day))
    }
    assert rows["discharge", "completeness"] == rows["discharge", "timeliness"] == 0.0
    assert ("discharge", "validity") not in rows


def test_a_gate_that_holds_stops_the_window_and_one_that_warns_lets_it_pass(loaded: Settings) -> None:
    day = date(2024, 5, 20)
    window = Window(day, day)
    outcome = quality.run(FLOOD, window, loaded)
    assert outcome["below"]
    quality.require(FLOOD, window, outcome)
    strict = replace(FLOOD, quality=Quality(on_failure="hold"))
    held = quality.run(strict, window, loaded)
    with pytest.raises(QualityError, match=r"is held back: discharge 2024-05-20: completeness 0\.00%"):
        quality.require(strict, window, held)


def test_below_a_gate_an_alert_is_opened_once_and_ended_when_the_newest_day_is_over_it_again(loaded: Settings) -> None:
    window = Window(DAY, DAY)
    url = loaded.require_database()
    database.query(url, "delete from ops.quality where day > %s", (DAY,))
    database.query(url, "delete from ops.alerts")
    database.query(url, "delete from raw_flood.forecast where day = %s", (DAY,))
    for _ in range(2):
        quality.run(FLOOD, window, loaded, now=ON_TIME)
    found = {row["key"]: row for row in alerts.open_alerts(loaded)}
    assert set(found) == {f"quality flood data forecast {name}" for name in ("completeness", "consistency")}
    assert found["quality flood data forecast completeness"]["seen_times"] == 2
    steps.load(FLOOD, FLOOD.dataset("forecast"), window, loaded)
    quality.run(FLOOD, window, loaded, now=ON_TIME)
    assert alerts.open_alerts(loaded) == []


def test_the_trend_is_of_the_last_days_that_have_scores(loaded: Settings) -> None:
    rows = quality.trend(loaded, FLOOD, 3)
    newest = max(row["day"] for row in rows)
    assert {row["day"] for row in rows} <= {newest - timedelta(days=back) for back in range(3)}
    assert quality.trend(loaded, FLOOD, 60)[0].keys() >= {"dataset", "day", "dimension", "score", "passed", "detail"}


def _declared(use_case: UseCase) -> str:
    """The columns of a use case's features, as its dbt project declares them."""
    columns: list[str] = []
    for path in (PROJECT / "dbt" / "models" / use_case.slug / "features").glob("*.yml"):
        for model in yaml.safe_load(path.read_text())["models"]:
            if model["name"] in {"features", f"{use_case.slug}__features"}:
                columns += [f"{column['name']} {column['data_type']}" for column in model["columns"]]
    return ", ".join(columns)


@pytest.mark.parametrize("slug", sorted(use_cases()))
def test_every_use_case_can_be_scored_and_profiled_before_its_first_row(slug: str, url: str, tmp_path: Path) -> None:
    case, settings = use_cases()[slug], make_settings(tmp_path, url)
    database.query(url, f"create schema {slug}; create table {case.feature_table} ({_declared(case)})")
    window = window_of(case, date(2024, 4, 30))
    outcome = quality.run(case, window, settings, now=datetime(2024, 5, 1, tzinfo=UTC))
    rows = quality.between(url, case, window)
    assert outcome["scores"] >= len(rows) > 0
    assert {row["score"] for row in rows} == {0.0}, "nothing is there"
    assert {row["dimension"] for row in rows} <= {"completeness", "timeliness"}
    assert {row["dataset"] for row in rows} >= {one.name for one in case.datasets if one.day_column}
    for dataset in case.datasets:
        found = profiles.profile(url, raw_table(case, dataset), dataset.day_column, dataset.order, window)
        assert found.statistics["column"].to_list() == list(stored_schema(dataset))
    assert freshness.overdue(case, settings, datetime(2024, 7, 1, tzinfo=UTC)) == []


def test_without_scores_there_is_no_trend(url: str, tmp_path: Path) -> None:
    assert quality.trend(make_settings(tmp_path, url), FLOOD) == []
