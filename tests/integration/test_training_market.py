"""The same way with a classifier of thousands of entities: what truth values, labels of days ahead and a market ask."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from psycopg2.extras import execute_values
from pydantic import SecretStr
from unit.equities.market import market

from headwater.commands import models as commands
from models import drift, evaluate, flow, score, selection, snapshot, tracking
from models.serving.bento import bento_folder
from models.serving.card import read_card
from models.snapshot import Extent, Snapshot
from pipelines import database, ledger, registry
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.window import Window

pytestmark = pytest.mark.slow

EQUITIES = get_use_case("equities")
MARKET = market(shares=60, days=560)
SESSIONS = sorted(MARKET["day"].dt.date.unique())
MARKET_CUTOFF = SESSIONS[-60]
POSTGRES = {"f": "double precision", "i": "bigint", "b": "boolean", "M": "date"}


@pytest.fixture(scope="module")
def settings(
    new_warehouse: Callable[[], str], mlflow_server: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings of a stack without features."""
    home, url = tmp_path_factory.mktemp("home"), new_warehouse()
    return Settings(home=home, database_url=SecretStr(url), mlflow_url=mlflow_server.url)


@pytest.fixture(scope="module")
def equities(settings: Settings) -> dict[str, Any]:
    """The first champion of the market, trained on all its rows; one share has a name that MLflow does not take."""
    frame = MARKET.replace({"symbol": {"SHARE000": "A&B"}})
    types = {name: POSTGRES.get(kind.kind, "text") for name, kind in frame.dtypes.items()} | {
        "is_up_next_5d": "boolean"
    }
    days = {name: frame[name].astype(object).where(frame[name].notna(), None) for name in frame}
    with database.connect(settings.require_database()) as connection, connection.cursor() as cursor:
        typed = ", ".join(f"{name} {kind}" for name, kind in types.items())
        cursor.execute(f"create schema equities; create table equities.features ({typed}, primary key (symbol, day))")
        execute_values(cursor, "insert into equities.features values %s", pd.DataFrame(days).values.tolist())
    model = registry.part(EQUITIES, "model")
    two = {name: found for name, found in model.candidates(0).items() if name in {"logistic", "boosting"}}
    two["boosting"].set_params(forecast__classifier__histgradientboostingclassifier__max_iter=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "candidates", lambda seed=0: two)
        return flow.train_and_promote(EQUITIES, settings, Extent(cutoff=MARKET_CUTOFF), actor="a tester")


def test_a_classifier_goes_the_whole_way_from_features_to_champion(
    equities: dict[str, Any], settings: Settings
) -> None:
    assert (equities["version"], equities["passed"], equities["promoted"]) == (1, True, True)
    report = selection.evaluation_of(settings, equities["run_id"])
    assert set(report["baselines"]) == {"majority", "momentum"}
    assert report["baselines"]["majority"]["overall"]["roc_auc"] == 0.5
    assert report["challenger"]["overall"]["roc_auc"] > 0.53
    for side in (report["challenger"], *report["baselines"].values()):
        assert side["entities"] == 60
        assert len(side["by_entity"]) == evaluate.MOST_ENTITIES
        assert list(side["by_entity"]) == list(report["challenger"]["by_entity"])
    logged = tracking.client(settings).get_run(equities["run_id"])
    assert {"roc_auc", "majority/roc_auc_within_days", "roc_auc/A_B"} <= set(logged.data.metrics)
    files = tracking.client(settings).list_artifacts(equities["run_id"], "figures")
    assert {Path(file.path).stem for file in files} == {
        "confusion",
        "calibration",
        "correlations",
        "importances",
        "segments",
    }
    card = read_card(bento_folder(settings, "headwater-equities:v1") / "src" / "model")
    types = {feature.name: (feature.type, feature.nullable) for feature in card.features}
    assert types["close_inr"] == ("float", False)
    assert types["volume_shares"] == ("int", True)
    assert not set(types) & {*EQUITIES.labels, *EQUITIES.notes}


def test_no_label_of_the_training_part_was_known_only_after_the_cutoff(
    equities: dict[str, Any], settings: Settings
) -> None:
    champion = tracking.alias_version(EQUITIES, settings, tracking.CHAMPION)
    taken = Snapshot.from_tags(champion.tags)
    trained, holdout = snapshot.split(taken, EQUITIES, snapshot.read(EQUITIES, taken, settings))
    assert pd.to_datetime(trained["label_day"]).max() < pd.Timestamp(MARKET_CUTOFF)
    # Five sessions are seven days: the gap of five days would have let labels of the hold-out's days in
    assert pd.to_datetime(trained["day"]).max() < pd.Timestamp(MARKET_CUTOFF) - pd.Timedelta(days=6)
    assert pd.to_datetime(holdout["day"]).min() == pd.Timestamp(MARKET_CUTOFF)


def test_a_snapshot_up_to_a_day_knows_no_label_of_a_later_one(equities: dict[str, Any], settings: Settings) -> None:
    until = SESSIONS[-30]
    taken = snapshot.take(EQUITIES, settings, Extent(until=until))
    rows = snapshot.read(EQUITIES, taken, settings)
    assert pd.to_datetime(rows["label_day"]).max() == pd.Timestamp(until)
    assert taken.last_day == str(SESSIONS[-35])


def _actual(settings: Settings, day: date) -> list[float | None]:
    sql = "select actual from serving.predictions where use_case = 'equities' and day = %s order by entity"
    return [row["actual"] for row in database.query(settings.require_database(), sql, (day,))]


def test_a_truth_value_matures_into_one_or_zero_and_is_corrected_where_features_were_computed_anew(
    equities: dict[str, Any], settings: Settings
) -> None:
    url, old, new = settings.require_database(), SESSIONS[-50], SESSIONS[-1]
    assert score.score(EQUITIES, Window(new, new), settings) == {
        "predictions": 60, "matured": 0, "model_version": 1,
    }  # fmt: skip
    assert set(_actual(settings, new)) == {None}
    assert score.score(EQUITIES, Window(old, old), settings)["matured"] == 60
    labels = MARKET[MARKET["day"].dt.date == old].replace({"symbol": {"SHARE000": "A&B"}}).sort_values("symbol")
    assert _actual(settings, old) == [float(label) for label in labels["is_up_next_5d"]]
    # A correction of a day long ago, as the weekly recomputation of all features finds it
    database.query(url, "update equities.features set is_up_next_5d = not is_up_next_5d where day = %s", (old,))
    with ledger.entry(url, EQUITIES, "features", "transform", Window(new, new)) as entry:
        entry.detail = {"spans": [str(Window(old, new)), str(new)]}
    assert score.score(EQUITIES, Window(new, new), settings)["matured"] == 60
    assert _actual(settings, old) == [1 - float(label) for label in labels["is_up_next_5d"]]
    assert score.score(EQUITIES, Window(new, new), settings)["matured"] == 0


def test_the_drift_of_a_market_is_that_of_the_model_s_inputs_beyond_what_its_own_months_differ(
    equities: dict[str, Any], settings: Settings
) -> None:
    url, last = settings.require_database(), SESSIONS[-1]
    before = drift.report(EQUITIES, Window(last, last), settings)
    assert before["rows"] < before["reference_rows"] < drift.MOST_ROWS
    assert "delivery_share" not in before["drifted"]
    database.query(
        url,
        "update equities.features set delivery_share = delivery_share + 0.2, close_inr = close_inr * 10 where day > %s",
        (last - timedelta(days=EQUITIES.drift_days),),
    )
    after = drift.report(EQUITIES, Window(last, last), settings)
    assert {"delivery_share", "sma_20_to_close"} <= set(after["drifted"])
    drifted = [(one["kind"], one["column_name"]) for one in after["columns"] if one["drifted"]]
    # Prices are no inputs, only what they are in terms of each other; ten times the price is a matter of quality
    assert not {name for kind, name in drifted if kind == "feature" and name.endswith(("_inr", "_shares"))}
    assert [name for kind, name in drifted if kind == "quality"] == ["close_inr"]
    assert "rsi_14" not in after["drifted"]


def test_the_table_by_entity_fits_a_screen_and_says_of_how_many_it_is(
    equities: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "get_settings", lambda: settings)
    commands.show("equities")
    said = capsys.readouterr().out
    # A title breaks where its table ends
    assert "roc_auc by symbol, the 40 of 60 with the most rows" in " ".join(said.split())
    assert said.count("SHARE") + said.count("A&B") == 40
    assert "nan" not in said
