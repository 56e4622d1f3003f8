"""The leakage probe: another future moves no feature of the past, and a feature that it moves is named with its model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from db.helpers import FLOOD, make_settings, values
from db.test_features import CUT, fill, raw_rows

from pipelines import leakage
from pipelines.settings import PROJECT, Settings

SCHEMAS = "select nspname::text from pg_namespace where nspname like '%flood%'"


def planted(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """The dbt project, with something in its models changed: (file, what stands there, what shall)."""
    project = folder / "dbt"
    shutil.copytree(PROJECT / "dbt", project)
    for name, old, new in changes:
        path = project / "models" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    return project


@pytest.fixture(scope="module")
def flood(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> Settings:
    """Four sites of two years."""
    url = new_database()
    fill(url, raw_rows())
    return make_settings(tmp_path_factory.mktemp("leakage"), url)


def test_no_feature_of_flood_knows_what_comes_after_its_day(flood: Settings) -> None:
    found = leakage.probe(FLOOD, CUT, flood)
    assert found.passed
    assert found.rows > 1000
    assert min(found.perturbed.values()) > 0
    assert str(found).startswith(f"no feature of {found.rows} rows before {CUT} moved when ")
    assert not set(values(flood.require_database(), SCHEMAS)) - {"raw_flood"}, "what was built aside is gone"


def test_a_feature_that_looks_ahead_is_named_with_its_model(flood: Settings, tmp_path: Path) -> None:
    """One that takes in the next day, and, more finely, a threshold that the rest of its own year has a say in."""
    project = planted(
        tmp_path,
        ("flood/features/features_audit.sql", "avg(discharge_m3s) over (site_days rows 6 preceding)",
         "avg(discharge_m3s) over (site_days rows between 6 preceding and 1 following)"),
        ("flood/features/flood_thresholds.sql", "make_date(years.year, 1, 1)", "make_date(years.year + 1, 1, 1)"),
    )  # fmt: skip
    found = leakage.probe(FLOOD, CUT, flood, project)
    assert not found.passed
    told = {one.column: one for one in found.moved}
    assert set(told) == {"discharge_mean_7d_m3s", "flood_threshold_m3s"}
    assert told["discharge_mean_7d_m3s"].rows <= 4, "of the last day, at four sites"
    assert {one.model for one in found.moved} == {"models/flood/features/features_audit.sql"}
    assert f"features before {CUT} know what came after it: flood_threshold_m3s (models/flood/" in str(found)
    assert len(json.dumps(found.told())) < 2048


def test_where_the_warehouse_has_no_rows_it_says_that_nothing_was_probed(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    found = leakage.probe(FLOOD, CUT, make_settings(tmp_path, new_database()))
    assert (found.passed, found.rows) == (True, 0)
    assert "not probed" in str(found)
