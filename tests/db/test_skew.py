"""The skew replay: what was answered online comes out the same; where not, the column is named, unless data changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from db.helpers import FLOOD, Upstreams, make_settings, values, window_of
from typer.testing import CliRunner

from headwater import cli
from headwater.commands import skew as command
from models import replayed, skew
from models.snapshot import features, to_pandas
from pipelines import database, serving_tables, steps
from pipelines.errors import SkewError
from pipelines.settings import Settings
from pipelines.use_cases.flood.model import OUTPUTS
from pipelines.window import Window

LAST = date(2024, 6, 12)
DAYS = 40


class Model:
    """Answers by the rain and the river of the day."""

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """All outputs, each another one."""
        level = frame["discharge_m3s"] + frame["precip_sum_3d_mm"].fillna(0.0)
        return pd.DataFrame({name: level * (place + 1) for place, name in enumerate(OUTPUTS)}, index=frame.index)


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str], module_upstreams: Upstreams
) -> Settings:
    """Forty days of flood."""
    found = make_settings(tmp_path_factory.mktemp("skew"), new_database(), module_upstreams.url)
    module_upstreams.today = LAST + timedelta(days=1)
    steps.run(FLOOD, window_of(LAST - timedelta(days=DAYS - 1), DAYS), settings=found)
    return found


@dataclass
class Service:
    """A registered version, and its answers as the service logs them."""

    settings: Settings
    model: Any
    version: int

    @property
    def url(self) -> str:
        return self.settings.require_database()

    def features(self, *days: date) -> pd.DataFrame:
        """The published rows of these days that have all that the model must know."""
        listed = ", ".join(f"'{day}'" for day in days)
        sql = f"select * from {FLOOD.feature_table} where day in ({listed}) order by site_id, day"
        frame = to_pandas(database.read_frame(self.url, sql))
        return frame[frame[list(FLOOD.required_features)].notna().all(axis=1)].reset_index(drop=True)

    def answer(self, rows: pd.DataFrame, *, sent: bool = False, **outputs: float) -> list[str]:
        """Answers these rows, `sent` by a client or looked up, and logs it; `outputs` are said in place of the model's.
        Gives the ids.
        """
        now, seen = datetime.now(UTC), features(FLOOD, rows)
        said = self.model.predict(seen).assign(**outputs)
        ids = []
        with database.connect(self.url) as connection, connection.cursor() as cursor:
            serving_tables.make_partition(cursor, FLOOD.slug, now.date())
            for (_, row), inputs, answer in zip(rows.iterrows(), _json(seen), _json(said), strict=True):
                ids.append(str(uuid.uuid4()))
                cursor.execute(
                    "insert into serving.predictions (prediction_id, request_id, use_case, channel, entity, day,"
                    " model_version, inputs, outputs, predicted_at, latency_ms)"
                    " values (%s, 'r', %s, 'online', %s, %s, %s, %s, %s, %s, 1.5)",
                    (ids[-1], FLOOD.slug, None if sent else row["site_id"], None if sent else row["day"], self.version,
                     inputs, answer, now),
                )  # fmt: skip
        return ids


def _json(frame: pd.DataFrame) -> list[str]:
    return [json.dumps(row) for row in frame.astype(object).where(frame.notna(), None).to_dict("records")]


@pytest.fixture(scope="module")
def trained(settings: Settings) -> Iterator[Service]:
    """The service, and a registry that gives its model."""
    model = Model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replayed, "load_version", lambda use_case, version, settings: model)
        yield Service(settings, model, 3)


@pytest.fixture
def service(trained: Service) -> Service:
    """The service with an empty log."""
    database.ensure_ops(trained.url)
    database.query(trained.url, "delete from serving.predictions")
    return trained


def _replay(service: Service, **options: int) -> skew.Replay:
    (day,) = values(service.url, "select max((predicted_at at time zone 'UTC')::date) from serving.predictions")
    return skew.replay(FLOOD, day, service.settings, **options)


def _newest(service: Service) -> dict[str, Any]:
    found = skew.newest(service.url, FLOOD)
    assert found is not None
    return found


def test_a_day_on_which_nothing_was_asked_is_not_expected_to_be_replayed(service: Service) -> None:
    found = skew.replay(FLOOD, date(2024, 1, 1), service.settings)
    assert (found.passed, str(found)) == (True, "nothing was answered on 2024-01-01")
    assert _newest(service)["state"] == "not-expected"


def test_what_was_answered_comes_out_the_same_on_days_far_apart_and_leaves_nothing_behind(service: Service) -> None:
    rows = service.features(LAST, LAST - timedelta(days=1), LAST - timedelta(days=25))
    service.answer(rows)
    found = _replay(service)
    assert (found.passed, found.requests, found.replayed, found.corrected) == (True, len(rows), len(rows), 0)
    assert found.replayed > 5
    row = _newest(service)
    assert (row["step"], row["state"], row["received"], row["accepted"]) == ("skew", "loaded", len(rows), len(rows))
    assert row["detail"]["passed"] is True
    assert not values(service.url, "select nspname::text from pg_namespace where nspname like '%skew%'")


def test_of_more_requests_than_the_bound_some_are_drawn_and_the_others_counted(service: Service) -> None:
    rows = service.features(LAST, LAST - timedelta(days=1))
    service.answer(rows)
    found = _replay(service, most=3)
    assert (found.passed, found.requests, found.replayed) == (True, len(rows), 3)
    assert str(found) == f"3 of the {len(rows)} requests of {found.day} come out as they were answered"


def test_a_feature_that_is_served_otherwise_than_the_sql_has_it_is_named_with_an_example(service: Service) -> None:
    rows = service.features(LAST)
    right = float(rows["precip_sum_3d_mm"][0])
    rows["precip_sum_3d_mm"] = rows["precip_sum_3d_mm"] * 2 + 1
    ids = service.answer(rows)
    service.answer(service.features(LAST - timedelta(days=1)))
    with pytest.raises(SkewError, match=r"feature precip_sum_3d_mm \(\d+ answers; of "):
        _replay(service)
    row = _newest(service)
    assert row["state"] == "failed"
    (column,) = row["detail"]["columns"]
    assert (column["kind"], column["column"], column["rows"]) == ("feature", "precip_sum_3d_mm", len(rows))
    assert column["prediction_id"] in ids
    examples = {one: float(value) for one, value in zip(ids, rows["precip_sum_3d_mm"], strict=True)}
    assert column["logged"] == examples[column["prediction_id"]]
    assert 2 * column["anew"] + 1 == pytest.approx(column["logged"])
    assert right in (value for value in service.features(LAST)["precip_sum_3d_mm"])


def test_an_answer_that_its_model_does_not_give_is_named(service: Service) -> None:
    (_, wrong) = (
        service.answer(service.features(LAST)),
        service.answer(service.features(LAST)[:1], discharge_m3s=-7.0),
    )
    with pytest.raises(SkewError, match="answer discharge_m3s \\(1 answers") as raised:
        _replay(service)
    assert f"of {wrong[0]} -7.0 was logged and " in str(raised.value)
    assert [one["kind"] for one in _newest(service)["detail"]["columns"]] == ["answer"]


def test_of_features_that_a_client_sent_the_answer_is_made_again(service: Service) -> None:
    rows = service.features(LAST).assign(precip_sum_3d_mm=7.25)
    service.answer(rows, sent=True)
    service.answer(service.features(LAST))
    found = _replay(service)
    assert (found.passed, found.replayed, found.corrected) == (True, 2 * len(rows), 0)
    (wrong,) = service.answer(rows[:1], sent=True, discharge_m3s=-7.0)
    with pytest.raises(SkewError, match=rf"answer discharge_m3s \(1 answers; of {wrong} -7.0 was logged"):
        _replay(service)


def test_a_day_of_sent_features_alone_is_replayed(service: Service) -> None:
    service.answer(service.features(LAST)[:2], sent=True)
    assert (_replay(service).passed, _replay(service).replayed) == (True, 2)


def test_answers_that_differ_and_are_of_too_many_times_do_not_pass_unexamined(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skew, "MOST_MOMENTS", 0)
    service.answer(service.features(LAST - timedelta(days=1)))
    rows = service.features(LAST).assign(season_sin=0.25)
    service.answer(rows)
    with pytest.raises(SkewError, match=rf"{len(rows)} of .* have other features today, and were not held against"):
        _replay(service)
    row = _newest(service)
    assert row["state"] == "failed"
    assert (row["detail"]["passed"], row["detail"]["unexamined"]) == (False, len(rows))
    assert (row["detail"]["skewed"], row["detail"]["corrected"]) == (0, 0)


def test_what_a_late_correction_explains_is_no_skew_and_hides_none(
    service: Service, module_upstreams: Upstreams
) -> None:
    rows = service.features(LAST)
    service.answer(rows)
    module_upstreams.today = LAST + timedelta(days=8)
    steps.run(FLOOD, Window(LAST, LAST), settings=service.settings)
    now = service.features(LAST)
    changed = (now["discharge_mean_7d_m3s"] != rows["discharge_mean_7d_m3s"]).sum()
    assert changed, "the sandbox has corrected nothing"
    found = _replay(service)
    assert found.passed, str(found)
    assert found.corrected >= changed
    assert "discharge_mean_7d_m3s" in {one.column for one in found.corrections}
    assert "would have other features today, since their data was corrected" in str(found)
    skewed = rows.assign(season_sin=0.25)
    with database.connect(service.url) as connection, connection.cursor() as cursor:
        # Answered before the correction came, as the others were
        cursor.execute("select min(predicted_at) from serving.predictions")
        (at,) = cursor.fetchone()
    ids = service.answer(skewed)
    sql = "update serving.predictions set predicted_at = %s where prediction_id = any(%s::uuid[])"
    database.query(service.url, sql, (at, ids))
    with pytest.raises(SkewError) as raised:
        _replay(service)
    detail = _newest(service)["detail"]
    assert {(one["kind"], one["column"]) for one in detail["columns"]} == {("feature", "season_sin")}, str(raised.value)
    assert detail["skewed"] == len(rows)
    assert detail["corrected"] == found.corrected


def test_the_command_says_what_came_of_it_in_words_and_as_json(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "get_settings", lambda: service.settings)
    service.answer(service.features(LAST)[:2])
    (day,) = values(service.url, "select max((predicted_at at time zone 'UTC')::date) from serving.predictions")
    said = CliRunner().invoke(cli.app, ["skew", "flood", "--day", str(day)]).stdout
    assert f"2 of the 2 requests of {day} come out as they were answered" in said
    service.answer(service.features(LAST)[:1].assign(season_cos=2.0))
    answer = CliRunner().invoke(cli.app, ["skew", "flood", "--day", str(day), "--json"])
    assert isinstance(answer.exception, SkewError)
    told = json.loads(answer.stdout)
    assert (told["passed"], told["skewed"], told["columns"][0]["column"]) == (False, 1, "season_cos")
