"""All features computed anew: equal where nothing happened, and where something did it says what, and mends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from db.helpers import DISCHARGE, FLOOD, Upstreams, fingerprint, make_settings, values, window_of
from typer.testing import CliRunner

from headwater import cli
from headwater.commands import repair
from pipelines import comparison, database, dbt, ledger, recheck, steps
from pipelines.errors import NotFoundError, RecomputeError, TransformError
from pipelines.settings import Settings

LAST = date(2024, 6, 12)
WINDOW = window_of(LAST - timedelta(days=40), 41)


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str], module_upstreams: Upstreams
) -> Settings:
    """Forty days of flood."""
    found = make_settings(tmp_path_factory.mktemp("recheck"), new_database(), module_upstreams.url)
    module_upstreams.today = LAST + timedelta(days=1)
    steps.run(FLOOD, WINDOW, settings=found)
    return found


@pytest.fixture
def url(settings: Settings) -> str:
    return settings.require_database()


def newest(url: str) -> dict[str, Any]:
    found = recheck.newest(url, FLOOD)
    assert found is not None
    return found


def schemas(url: str) -> set[object]:
    return set(values(url, "select nspname from pg_namespace where nspname like 'flood%'"))


def test_computed_anew_nothing_changes_and_what_is_published_is_not_even_written(settings: Settings, url: str) -> None:
    before = fingerprint(url, FLOOD.feature_table, versions=True)
    assert recheck.run(FLOOD, settings) == {"rows": before[0], "changed": 0, "added": 0, "removed": 0}
    assert fingerprint(url, FLOOD.feature_table, versions=True) == before
    row = newest(url)
    assert (row["step"], row["state"], row["accepted"], row["updated"]) == ("recompute", "loaded", before[0], 0)
    assert row["detail"]["columns"] == row["detail"]["months"] == []
    assert not {name for name in schemas(url) if "__recompute" in str(name)}, "what was built aside is gone"


def test_a_value_that_is_not_what_is_computed_is_named_kept_and_mended(
    settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "get_settings", lambda: settings)
    right, day = fingerprint(url, FLOOD.feature_table), WINDOW.end  # which each daily transform computes
    database.query(url, f"update {FLOOD.feature_table} set precip_sum_3d_mm = precip_sum_3d_mm * 2 + 1,"
                        f" season_sin = null where day = '{day}'")  # fmt: skip
    answer = CliRunner().invoke(cli.app, ["recompute", "flood", "--json"])
    assert isinstance(answer.exception, RecomputeError)
    said = str(answer.exception)
    assert f"6 changed; days {day} in 1 months; columns precip_sum_3d_mm (6 rows, by up to " in said
    assert "season_sin (6 rows)" in said
    told = json.loads(answer.stdout)
    assert (told["equal"], told["changed"], told["error"]) == (False, 6, said)
    assert {one["name"]: one["rows"] for one in told["columns"]} == {"precip_sum_3d_mm": 6, "season_sin": 6}
    assert told["months"] == [{"month": f"{day:%Y-%m}", "rows": 6}]
    assert (newest(url)["state"], newest(url)["updated"]) == ("failed", 6)
    kept = database.query(url, "select * from flood_recompute.differences where column_name = 'season_sin'")
    assert len(kept) == 6
    assert {(one["kind"], one["before"]) for one in kept} == {("changed", None)}
    assert fingerprint(url, FLOOD.feature_table) == right, "the new values are published"
    assert "came out as they were published" in CliRunner().invoke(cli.app, ["recompute", "flood"]).stdout
    assert values(url, "select count(*) from flood_recompute.differences") == [12], "the evidence stays"


def test_rows_that_should_not_be_there_or_are_missing_are_told_apart(settings: Settings, url: str) -> None:
    right = fingerprint(url, FLOOD.feature_table)
    database.query(url, f"delete from {FLOOD.feature_table} where day = '{WINDOW.start}' and site_id = '99000020'")
    database.query(url, f"update {FLOOD.feature_table} set day = '2031-01-01', site_id = 'nowhere'"
                        f" where day = '{WINDOW.start + timedelta(days=1)}' and site_id = '99000020'")  # fmt: skip
    with pytest.raises(RecomputeError, match=r"2 new, 1 gone; days 2024-05-03\.\.2031-01-01 in 2 months"):
        recheck.run(FLOOD, settings)
    assert fingerprint(url, FLOOD.feature_table) == right


def test_a_change_that_no_load_reports_is_found_and_one_that_waits_for_its_transform_is_news(
    settings: Settings, url: str
) -> None:
    day = WINDOW.start + timedelta(days=3)
    change = (
        f"update raw_flood.discharge set discharge_m3s = discharge_m3s + 1 where site_id = '99000020' and day = '{day}'"
    )
    database.query(url, change)
    with pytest.raises(RecomputeError, match="discharge_lag1_m3s"):
        recheck.run(FLOOD, settings)
    database.query(url, change)
    with ledger.entry(url, FLOOD, DISCHARGE.name, "load", window_of(day)) as report:
        report.counts, report.detail = {"inserted": 0, "updated": 1}, {"touched": [day, day]}
    assert recheck.run(FLOOD, settings)["changed"] == 0


def test_a_test_of_dbt_that_fails_on_some_day_leaves_the_published_features(settings: Settings, url: str) -> None:
    where = f"site_id = '99000020' and day = '{WINDOW.start}'"
    (old,) = values(url, f"select precip_mm from raw_flood.weather where {where}")
    before = fingerprint(url, FLOOD.feature_table, versions=True)
    database.query(url, f"update raw_flood.weather set precip_mm = -1 where {where}")
    try:
        with pytest.raises(TransformError, match="accepted_range_features_audit_precip_mm"):
            recheck.run(FLOOD, settings)
    finally:
        database.query(url, f"update raw_flood.weather set precip_mm = %s where {where}", (old,))
    assert fingerprint(url, FLOOD.feature_table, versions=True) == before
    assert not {name for name in schemas(url) if "__recompute" in str(name)}


def test_days_that_retention_took_are_not_missed_and_not_brought_back(settings: Settings, url: str) -> None:
    kept = WINDOW.start + timedelta(days=5)
    taken = f"select count(*) from {FLOOD.feature_table} where day < '{kept}'"
    brief = replace(FLOOD, retention=replace(FLOOD.retention, features_days=30))
    database.query(url, f"delete from {FLOOD.feature_table} where day < '{kept}'")
    assert recheck.run(brief, settings)["added"] == 0
    assert values(url, taken) == [0]
    with pytest.raises(RecomputeError, match=r"\d+ new; days \d+-\d+-\d+\.\.2024-05-07 in 2 months"):
        recheck.run(FLOOD, settings)  # which keeps them for fifty years
    assert values(url, taken) != [0]


def test_when_the_new_values_cannot_be_published_the_sentence_says_so(
    settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.query(url, f"update {FLOOD.feature_table} set season_sin = 0 where day = '{WINDOW.start}'")
    build = dbt.build

    def refuse(use_case: Any, window: Any, settings: Settings, aside: str = "") -> Any:
        if not aside and window.start < WINDOW.start:
            raise TransformError("A node failed.")
        return build(use_case, window, settings, aside)

    monkeypatch.setattr(dbt, "build", refuse)
    with pytest.raises(RecomputeError, match="They could not be published, though: A node failed"):
        recheck.run(FLOOD, settings)


def test_without_features_it_says_how_to_bring_them_in(
    new_database: Callable[[], str], settings: Settings, tmp_path: Any
) -> None:
    with pytest.raises(NotFoundError, match="flood has no features yet; bring history in"):
        recheck.run(FLOOD, make_settings(tmp_path, new_database()))


# --- two tables side by side


PAIRS = [
    ("1.0", "1.0 + 1e-10", True),
    ("1.0", "1.0 + 1e-8", False),
    ("1e-12", "2e-12", False),
    ("0", "-0.0", True),
    ("null", "null", True),
    ("null", "0", False),
    ("'NaN'", "'NaN'", True),
    ("'NaN'", "1", False),
    ("'Infinity'", "'Infinity'", True),
    ("'Infinity'", "1", False),
    ("'Infinity'", "'-Infinity'", False),
]


@pytest.mark.parametrize(("before", "after", "same"), PAIRS)
def test_floats_are_the_same_to_a_part_in_a_thousand_million(url: str, before: str, after: str, same: bool) -> None:
    for name, value in (("before", before), ("after", after)):
        database.query(url, f"drop table if exists {name}_pair; create table {name}_pair as select 'a' as site_id,"
                            f" date '2024-03-01' as day, {value}::float8 as flow_m3s, 'x' as note")  # fmt: skip
    found = comparison.compare(url, "before_pair", "after_pair", ("site_id", "day"), "kept.differences")
    assert found.is_equal == same
    assert found.changed == (not same)
    json.dumps(found.told(), allow_nan=False)


def test_columns_in_another_order_are_the_same_and_those_of_one_side_are_named(url: str) -> None:
    database.query(url, "drop table if exists one_side, other_side; create table one_side as select 'a' as site_id,"
                        " date '2024-03-01' as day, 1 as b, 2 as c; create table other_side as"
                        " select date '2024-03-01' as day, 2 as c, 1 as b, 'a' as site_id")  # fmt: skip
    key = ("site_id", "day")
    assert comparison.compare(url, "one_side", "other_side", key, "kept.differences").is_equal
    database.query(url, "alter table other_side add column d int; insert into other_side select * from other_side")
    found = comparison.compare(url, "one_side", "other_side", key, "kept.differences")
    assert (found.other_columns, found.doubled, found.is_equal) == (("d",), 1, False)
    assert found.said() == "1 doubled; columns of one side alone: d"
