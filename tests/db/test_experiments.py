"""Experiments: who may be a challenger, what the service is told, and what the report says of both arms."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import psycopg2
import pytest
from db.helpers import FLOOD, make_settings
from psycopg2.extras import execute_values
from typer.testing import CliRunner

from headwater import cli
from headwater.commands import experiments as commands
from models import experiment_report, experiment_share, experiments, history, tracking
from models.serving.bento import bento_folder, bento_sha256
from models.serving.experiments import Experiment, Experiments
from models.serving.hosted import Served
from models.serving.watch import Watch
from pipelines import database, serving_tables
from pipelines.errors import DatabaseError, EvidenceError, ModelError, NotFoundError, SettingsError
from pipelines.settings import Settings

NOW = datetime.now(UTC)
SITES, DAYS = [f"{number:02}" for number in range(40)], 43
FIRST = date(2026, 1, 1)
COLUMNS = ("prediction_id", "request_id", "use_case", "channel", "entity", "day", "model_version", "arm", "inputs",
           "outputs", "predicted_at", "latency_ms")  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A warehouse with champion 1 and a packaged version 2, whose Bento is a folder with a file."""
    found = make_settings(tmp_path, url)
    for version in (2, 3):
        folder = bento_folder(found, f"headwater-flood:v{version}")
        folder.mkdir(parents=True)
        (folder / "model.pkl").write_bytes(b"model")
        tag = f"headwater-flood:v{version}"
        kept = {"version": version, "bento": tag, "bento_sha256": bento_sha256(folder)}
        history.keep(FLOOD, found, version, f"hash {version}", kept)
    promote(found, monkeypatch, 1)
    return found


def promote(settings: Settings, monkeypatch: pytest.MonkeyPatch, version: int, alias: int | None = None) -> None:
    """A promotion without MLflow, which experiments never ask, and in which `alias` is champion before it."""
    there = SimpleNamespace(version=str(alias), last_updated_timestamp=0, run_id="run") if alias else None
    monkeypatch.setattr(tracking, "client", lambda settings: Client())
    monkeypatch.setattr(tracking, "alias_version", lambda *_: there)
    tag = f"headwater-flood:v{version}"
    history.move(FLOOD, settings, tracking.CHAMPION, version, actor="ann", reason="", evidence={}, bento=tag)


class Client:
    """MLflow's, which moves any alias."""

    def set_registered_model_alias(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def running(url: str) -> Iterator[Any]:
    """What the service knows of flood's experiment after a refresh."""
    connection, known = psycopg2.connect(url), Experiments()

    def refreshed() -> Experiment | None:
        known.refresh(connection)
        return known.of("flood")

    yield refreshed
    connection.close()


def start(settings: Settings, version: int = 2, share: float | None = None) -> Experiment:
    return experiments.start(FLOOD, version, settings, actor="ann", reason="to see", share=share)


def test_the_service_takes_up_what_is_started_changed_and_stopped(settings: Settings, running: Any) -> None:
    assert running() is None
    start(settings, share=0.1)
    first = running()
    assert (first.mode, first.version, first.bento, first.share) == ("split", 2, "headwater-flood:v2", 0.1)
    start(settings, share=0.2)
    second = running()
    assert {site for site in SITES if first.takes(site)} < {site for site in SITES if second.takes(site)}
    start(settings, version=3, share=0.2)
    assert running().salt != second.salt, "another challenger, other entities"
    start(settings)
    assert (running().mode, running().share) == ("shadow", 1.0)
    experiments.stop(FLOOD, settings, actor="bob", reason="enough")
    assert running() is None
    with pytest.raises(NotFoundError, match="no running experiment"):
        experiments.stop(FLOOD, settings, actor="bob", reason="enough")
    rows = database.query(settings.require_database(), "select * from serving.experiments order by experiment_id")
    assert [(row["actor"], row["stopped"]) for row in rows] == [("ann", False)] * 4 + [("bob", True)]


def test_the_service_knows_the_hash_of_a_challenger_from_its_newest_evidence(settings: Settings, running: Any) -> None:
    start(settings)
    assert running().bento_sha256 == bento_sha256(bento_folder(settings, "headwater-flood:v2"))
    history.keep(FLOOD, settings, 2, "newer", {"bento_sha256": "newer"})
    assert running().bento_sha256 == "newer"
    database.query(settings.require_database(), "drop table ops.evidence")
    assert running() == Experiment("flood", "shadow", 2, "headwater-flood:v2", 1.0, running().salt)
    assert running().bento_sha256 is None


def test_a_challenger_whose_bento_is_another_or_is_not_there_is_not_loaded(settings: Settings, url: str) -> None:
    start(settings)
    experiments_known, connection = Experiments(), psycopg2.connect(url)
    experiments_known.refresh(connection)
    connection.close()
    served, loader = Served(("flood",)), Mock()
    watch = Watch(served, loader, partial(bento_folder, settings), Mock(), experiments_known, lambda: url, None, None)

    def said() -> str | None:
        watch._want_challenger("flood")
        for attempt in list(watch._attempts.values()):
            attempt.thread.join(30)
        watch._attempts.clear()
        return served.statuses["flood"].challenger_error

    folder = bento_folder(settings, "headwater-flood:v2")
    (folder / "model.pkl").write_bytes(b"another")
    assert said() == "the Bento headwater-flood:v2 is not what was packaged: its files have changed"
    experiments_known._running["flood"] = replace(experiments_known._running["flood"], bento_sha256=None)
    assert said() == "no hash of the Bento headwater-flood:v2 is known, so nothing vouches for its files"
    shutil.rmtree(folder)
    assert said() == f"There is no Bento headwater-flood:v2 at {folder}"
    loader.load.assert_not_called()


def test_rows_of_experiments_are_never_changed(settings: Settings) -> None:
    start(settings)
    with pytest.raises(DatabaseError, match="only ever added"):
        database.query(settings.require_database(), "update serving.experiments set share = 0.5")


def test_only_a_packaged_version_whose_bento_is_as_it_was_becomes_a_challenger(settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="Version 7 of flood was never packaged"):
        start(settings, version=7)
    with pytest.raises(ModelError, match="is the champion"):
        start(settings, version=1)
    for share in (0.0, 1.0, 1.5):
        with pytest.raises(SettingsError, match="between 0 and 1"):
            start(settings, share=share)
    (bento_folder(settings, "headwater-flood:v2") / "model.pkl").write_bytes(b"another")
    with pytest.raises(EvidenceError, match="gets no traffic: the Bento headwater-flood:v2 has changed"):
        start(settings)
    assert database.query(settings.require_database(), "select * from serving.experiments") == []


def test_a_new_champion_ends_the_experiment(settings: Settings, running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    start(settings)
    promote(settings, monkeypatch, 3)
    assert running() is None
    assert "version 3 became champion" in str(database.query(
        settings.require_database(), "select reason from serving.experiments order by experiment_id desc limit 1"
    ))  # fmt: skip


def test_an_alias_that_was_moved_in_mlflow_neither_ends_an_experiment_nor_keeps_it_going(
    settings: Settings, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(settings)
    promote(settings, monkeypatch, 1, alias=2)
    assert running() is not None, "version 1 was the champion all along"
    promote(settings, monkeypatch, 2, alias=2)
    assert running() is None, "what was the challenger is the champion now"


def test_a_version_that_becomes_champion_while_it_is_hashed_is_no_challenger(
    settings: Settings, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments.evidence, "verify_bento", lambda *_: promote(settings, monkeypatch, 2))
    with pytest.raises(ModelError, match="Version 2 of flood is the champion"):
        start(settings)
    assert running() is None


def test_an_unreachable_database_leaves_the_known_experiments(settings: Settings, url: str) -> None:
    start(settings)
    connection, known = psycopg2.connect(url), Experiments()
    known.refresh(connection)
    connection.close()
    with pytest.raises(DatabaseError, match="the known ones go on"):
        known.refresh(connection)
    assert known.of("flood") is not None


def features(url: str, seed: int = 0) -> dict[tuple[str, date], float]:
    """Rivers whose discharge of the next day is known, but for the last day; gives it by site and day."""
    random = np.random.default_rng(seed)
    rows, truth = [], {}
    for site in SITES:
        for offset in range(DAYS):
            day, value = FIRST + timedelta(days=offset), float(random.gamma(2.0, 50.0))
            known = offset < DAYS - 1
            rows.append((site, day, value, value + 1 if known else None, 100.0, value > 150 if known else None))
            truth[site, day] = value + 1
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "create schema flood; create table flood.features (site_id text, day date, discharge_m3s float,"
            " discharge_next_m3s float, flood_threshold_m3s float, is_flood_next boolean, primary key (site_id, day))"
        )
        execute_values(cursor, "insert into flood.features values %s", rows)
    return truth


def outputs(value: float) -> str:
    return json.dumps({"discharge_m3s": value, "discharge_p10_m3s": value - 5, "discharge_p50_m3s": value,
                       "discharge_p90_m3s": value + 5, "flood_probability": float(value > 150)})  # fmt: skip


def log(url: str, rows: list[tuple[Any, ...]]) -> None:
    with database.connect(url) as connection, connection.cursor() as cursor:
        for offset in (0, 1):
            serving_tables.make_partition(cursor, "flood", datetime.now(UTC).date() + timedelta(days=offset))
        execute_values(cursor, f"insert into serving.predictions ({', '.join(COLUMNS)}) values %s", rows)


def answered(site: str, day: date | None, value: float, *, is_shadow: bool = False, is_challenger: bool = False,
             request: str | None = None, error: bool = False, latency_ms: float = 1.0) -> tuple[Any, ...]:  # fmt: skip
    return (
        str(uuid.uuid4()), request or uuid.uuid4().hex, "flood", "shadow" if is_shadow else "online", site, day,
        2 if is_challenger else 1, "challenger" if is_challenger else "champion", "{}",
        '{"error": "it failed"}' if error else outputs(value), datetime.now(UTC), latency_ms,
    )  # fmt: skip


def test_a_shadow_is_compared_on_the_same_requests_so_a_small_lead_is_certain(settings: Settings, url: str) -> None:
    truth, random, rows = features(url), np.random.default_rng(1), []
    start(settings)
    for (site, day), value in truth.items():
        request, off = uuid.uuid4().hex, float(random.normal(0, 40))
        rows += [
            answered(site, day, value + off, request=request),
            answered(
                site, day, value + 0.95 * off, request=request, is_shadow=True, is_challenger=True, latency_ms=3.0
            ),
        ]
    # Seen by the champion alone: counted, and not compared
    rows += [answered(SITES[0], FIRST, 10**6), answered(SITES[0], None, 0.0)]
    rows.append(answered(SITES[0], FIRST, 0.0, is_shadow=True, is_challenger=True, error=True))
    log(url, rows)
    found = experiment_report.report(FLOOD, settings)
    pairs, labelled = len(truth), len(SITES) * (DAYS - 1)
    assert (found["mode"], found["version"], found["until"]) == ("shadow", 2, None)
    champion, challenger = found["arms"]["champion"], found["arms"]["challenger"]
    assert (champion["rows"], champion["entities"], champion["errors"]) == (pairs + 2, len(SITES), 0)
    assert (challenger["rows"], challenger["errors"], challenger["versions"]) == (pairs + 1, 1, [2])
    assert (champion["latency_p50_ms"], challenger["latency_p50_ms"]) == (1.0, 3.0)
    assert found["labelled"] == {"champion": labelled, "challenger": labelled}
    for days, by in ((30, "entity"), (7, "day")):
        case = replace(FLOOD, intervals=replace(FLOOD.intervals, block_days=days))
        assert_certain(experiment_report.report(case, settings), by)
    assert found["given"]["rows"] == pytest.approx((pairs + 1) / (pairs + 2), abs=0.01)


def assert_certain(found: dict[str, Any], by: str) -> None:
    """That the challenger is better, by an interval much narrower than that of either arm."""
    assert found["drawn_by"] == by
    rmse = found["differences"]["rmse_m3s"]
    expected = found["metrics"]["challenger"]["rmse_m3s"] - found["metrics"]["champion"]["rmse_m3s"]
    assert rmse["difference"] == pytest.approx(expected)
    assert rmse["low"] <= rmse["difference"] <= rmse["high"] < 0, "certain"
    own = found["intervals"]["champion"]["rmse_m3s"]
    assert rmse["high"] - rmse["low"] < (own["high"] - own["low"]) / 2, "for both are drawn together"


def test_a_split_is_compared_by_entity_and_its_share_held_against_the_wanted_one(settings: Settings, url: str) -> None:
    truth, random, rows = features(url), np.random.default_rng(1), []
    experiment = start(settings, share=0.4)
    for (site, day), value in sorted(truth.items(), key=lambda one: one[0][1]):
        off = float(random.normal(0, 40))
        is_challenger = experiment.takes(site)
        rows.append(answered(site, day, value + (0.25 if is_challenger else 1.0) * off, is_challenger=is_challenger))
    log(url, rows)
    found = experiment_report.report(FLOOD, settings)
    taken = [site for site in SITES if experiment.takes(site)]
    assert found["given"]["entities"] == pytest.approx(len(taken) / len(SITES), abs=0.02)
    assert found["share"] == 0.4
    assert found["labelled"]["challenger"] == len(taken) * (DAYS - 1)
    rmse = found["differences"]["rmse_m3s"]
    assert rmse["low"] <= rmse["difference"] <= rmse["high"] < 0
    assert found["metrics"]["challenger"]["rmse_m3s"] < found["metrics"]["champion"]["rmse_m3s"] / 2
    experiments.stop(FLOOD, settings, actor="ann", reason="enough")
    log(url, rows := [(str(uuid.uuid4()), *row[1:10], datetime.now(UTC), 1.0) for row in rows[:50]])
    after = experiment_report.report(FLOOD, settings)
    assert after["until"] is not None
    assert after["arms"] == found["arms"], "what came after it is not its own"


def test_before_labels_there_is_traffic_and_no_metric(
    settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFoundError, match="has had no experiment"):
        experiment_report.report(FLOOD, settings)
    features(url)
    start(settings, share=0.5)
    assert experiment_report.report(FLOOD, settings)["arms"] == {}
    last = FIRST + timedelta(days=DAYS - 1)
    log(url, [answered(SITES[0], last, 1.0), answered(SITES[1], last, 1.0, is_challenger=True)])
    found = experiment_report.report(FLOOD, settings)
    assert (found["metrics"], found["differences"]) == ({}, {})
    json.dumps(found)
    monkeypatch.setattr(commands, "get_settings", lambda: settings)
    for arguments in (["flood"], ["show", "flood"]):
        shown = CliRunner().invoke(cli.app, ["experiments", *arguments])
        assert shown.exit_code == 0, shown.output
        assert "version 2 as split" in shown.output
        assert "No row of either arm has its label yet" in shown.output


def test_the_command_line_starts_shows_and_stops(
    settings: Settings, url: str, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = features(url)
    monkeypatch.setattr(commands, "get_settings", lambda: settings)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli.app, ["experiments", *arguments], terminal_width=200)
        assert done.exit_code == 0, done.output
        return done.stdout

    run("start", "flood", "--version", "2", "--share", "0.25")
    assert running().share == 0.25
    run("start", "flood", "--version", "2", "--shadow")
    assert running().mode == "shadow"
    rows = []
    for (site, day), value in list(truth.items())[:200]:
        request = uuid.uuid4().hex
        rows += [answered(site, day, value, request=request),
                 answered(site, day, value + 1, request=request, is_shadow=True, is_challenger=True)]  # fmt: skip
    log(url, rows)
    told = json.loads(run("flood", "--json"))
    assert told["differences"]["rmse_m3s"]["difference"] == pytest.approx(1.0)
    assert "rmse_m3s" in run("flood")
    run("stop", "flood", "--reason", "enough")
    assert running() is None
    wrong = CliRunner().invoke(cli.app, ["experiments", "start", "flood", "--version", "2"])
    assert "one of the two" in str(wrong.exception)


def test_a_challenger_is_dealt_the_share_of_the_gauges_that_was_asked_for(settings: Settings, url: str) -> None:
    features(url)
    assert sorted(experiment_share.entities(url, FLOOD)) == SITES
    for _ in range(8):  # by chance alone, one in six times it would be four of the forty
        assert sum(start(settings, share=0.1).takes(site) for site in SITES) == 4
        experiments.stop(FLOOD, settings, actor="ann", reason="again")


@pytest.mark.parametrize(("share", "gauges", "taken"), [(0.1, 10, 1), (0.04, 10, 1), (0.97, 10, 9), (0.5, 2, 1)])
def test_neither_arm_is_left_without_a_gauge(share: float, gauges: int, taken: int) -> None:
    some = SITES[:gauges]
    for _ in range(8):
        salt = experiment_share.draw(share, some)
        found = experiment_share.given(Experiment("flood", "split", 2, "headwater-flood:v2", share, salt), some)
        assert found == taken / gauges


def test_who_starts_an_experiment_is_told_where_its_share_is_off(
    settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    features(url)
    monkeypatch.setattr(commands, "get_settings", lambda: settings)

    def run(share: str, *options: str) -> Any:
        arguments = ["experiments", "start", "flood", "--version", "2", "--share", share, *options]
        done = CliRunner().invoke(cli.app, arguments)
        assert done.exit_code == 0, done.output
        return done

    assert "entities with new features" not in run("0.1").output
    experiments.stop(FLOOD, settings, actor="ann", reason="again")
    assert "Of the 40 entities with new features it has 2.5%, and not 1.0%" in run("0.01").output
    assert json.loads(run("0.01", "--json").stdout)["share_of_entities"] == 0.025


def test_rows_on_which_the_challenger_failed_are_not_given(settings: Settings, url: str) -> None:
    features(url)
    start(settings, share=0.5)
    log(url, [
        answered(SITES[0], FIRST, 0.0, is_challenger=True, error=True), answered(SITES[0], FIRST, 1.0),
        answered(SITES[1], FIRST, 1.0, is_challenger=True), answered(SITES[2], FIRST, 1.0),
        answered(SITES[3], FIRST, 1.0),
    ])  # fmt: skip
    found = experiment_report.report(FLOOD, settings)
    assert found["given"] == {"rows": 0.25, "entities": 0.25}
    assert found["arms"]["challenger"]["errors"] == 1
