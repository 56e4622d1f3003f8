"""`headwater ledger`, `dataset`, `quarantine` and `rebuild`, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result
from db.helpers import DISCHARGE, FLOOD, Upstreams, make_settings, values, window_of
from typer.testing import CliRunner

from headwater import cli
from headwater.commands import history, repair
from models.serving.told import tell
from pipelines import quarantine, steps
from pipelines.settings import Settings
from pipelines.spec import UseCase
from pipelines.window import Window

FIRST = window_of(date(2024, 6, 10))
SECOND = window_of(date(2024, 6, 11))
BOTH = Window(FIRST.start, SECOND.end)


def too_strict() -> UseCase:
    columns = [replace(one, maximum=4) if one.name == "discharge_m3s" else one for one in DISCHARGE.columns]
    strict = replace(DISCHARGE, columns=tuple(columns))
    return replace(FLOOD, datasets=tuple(strict if one == DISCHARGE else one for one in FLOOD.datasets))


STRICT = too_strict()


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str], module_upstreams: Upstreams
) -> Settings:
    """Two days: one checked against a contract that is too strict, one whose upstream was down."""
    settings = make_settings(tmp_path_factory.mktemp("commands"), new_database(), module_upstreams.url)
    module_upstreams.today = FIRST.end + timedelta(days=1)
    steps.run(STRICT, FIRST, settings=settings)
    module_upstreams.fault("/usgs", "status", times=2, status=503, retry_after=0)
    with pytest.raises(Exception, match="503"):
        steps.fetch(FLOOD, DISCHARGE, SECOND, settings)
    # As a service that has loaded a model does; such a row knows no memory
    tell(settings.require_database(), FLOOD.slug, "loaded", 0.2, {"bento": "headwater-flood:v1"})
    return settings


@pytest.fixture(autouse=True)
def _settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (history, repair):
        monkeypatch.setattr(module, "get_settings", lambda: settings)


def headwater(*arguments: str) -> Result:
    answer = CliRunner().invoke(cli.app, list(arguments))
    assert answer.exit_code == 0, answer.output
    return answer


def told(*arguments: str) -> Any:
    return json.loads(headwater(*arguments, "--json").stdout)


def test_the_ledger_shows_the_newest_entries_and_a_calendar_with_what_is_wrong() -> None:
    said = headwater("ledger", "flood", "--days", "12", "--to", str(SECOND.end)).stdout
    assert "discharge    2024-06 · · · · · · · · · " not in said, "the days of the correction's reach are loaded"
    assert "discharge    2024-06 ● ● ● ● ● ● ● ● ● ● ! " in said.replace("2024-05", "")
    assert "forecast     2024-06 · · · · · · · · · ● · " in said
    assert "discharge 2024-06-11 failed: fetch: usgs answered 503" in said


def test_an_entry_of_the_ledger_says_what_its_step_counted() -> None:
    nothing = dict.fromkeys(("received", "accepted", "quarantined", "inserted", "updated", "unchanged", "bytes"))
    checked = nothing | {"received": 12, "accepted": 10, "quarantined": 2, "bytes": 1400}
    assert history._came_of_it(checked) == "12 received, 10 accepted, 2 quarantined, 1.4 kB"
    assert history._came_of_it(nothing) is None


def test_the_ledger_as_json_holds_entries_and_the_state_of_each_day() -> None:
    answer = told("ledger", "flood", "--dataset", "discharge", "--days", "2", "--to", str(SECOND.end))
    assert {entry["dataset"] for entry in answer["entries"]} == {"discharge"}
    assert [(row["day"], row["state"]) for row in answer["days"]] == [
        ("2024-06-10", "loaded"),
        ("2024-06-11", "failed"),
    ]
    assert answer["days"][0]["contract_version"] == DISCHARGE.version


def test_the_rows_of_a_data_set_are_shown_and_written(tmp_path: Path) -> None:
    rows = told("dataset", "flood", "--from", str(FIRST.start), "--to", str(FIRST.end))["rows"]
    assert 0 < len(rows) < 6
    assert {row["day"] for row in rows} == {"2024-06-10"}
    said = headwater("dataset", "flood", "--dataset", "weather", "--as-of", "2100-01-01").stdout
    assert "weather as known at" in said
    assert "files" in said
    file = tmp_path / "rows.parquet"
    headwater("dataset", "flood", "--out", str(file))
    assert pl.read_parquet(file).height == len(told("dataset", "flood")["rows"])


def test_the_quarantine_is_listed_exported_and_readmitted_after_a_change_of_the_contract(
    settings: Settings, tmp_path: Path
) -> None:
    rows = told("quarantine", "flood")["rows"]
    assert {(row["dataset"], row["window_start"]) for row in rows} == {("discharge", "2024-06-10")}
    assert {row["reason"] for row in rows} == {"discharge_m3s is above 4 m3/s"}
    assert settings.lake.exists(rows[0]["landing"])
    file = tmp_path / "bad.csv"
    headwater("quarantine", "flood", "--export", str(file))
    assert file.read_text().count("is above 4") == len(rows)
    assert quarantine.readmit(STRICT, settings) == 0, "the contract is the same"
    assert told("quarantine", "flood", "--readmit")["readmitted"] == len(rows)
    assert told("quarantine", "flood")["rows"] == []
    assert values(settings.require_database(), "select max(discharge_m3s) > 4 from flood.features") == [True]


def test_a_rebuild_says_of_each_table_whether_it_came_out_as_it_was() -> None:
    made = told("rebuild", "flood", "--layer", "warehouse")
    assert [row["table"] for row in made][-1] == "flood.features"
    assert {row["equal"] for row in made} == {True}
    answer = CliRunner().invoke(cli.app, ["rebuild", "flood", "--layer", "cellar"])
    assert "There is no layer 'cellar'" in str(answer.exception)
