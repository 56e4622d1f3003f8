"""The same way where all rows are of one day: entities held out, and answers with texts beside their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from psycopg2.extras import execute_values
from pydantic import SecretStr
from unit.churn.customers import frame_of

from models import flow, measurement, score, selection, snapshot, tracking
from models.serving.bento import bento_folder
from models.serving.card import read_card
from models.snapshot import EVERYTHING, Snapshot
from pipelines import database, registry
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.spec import Search
from pipelines.window import Window

pytestmark = pytest.mark.slow

CHURN = get_use_case("churn")
QUICK = replace(CHURN, search=Search(trials=1))
MODEL = registry.part(CHURN, "model")
DAY = date(2017, 9, 30)
POSTGRES = {"f": "double precision", "i": "bigint", "b": "boolean", "O": "date"}


@pytest.fixture(scope="module")
def settings(
    new_warehouse: Callable[[], str], mlflow_server: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings of a stack whose feature table has 900 customers of one day."""
    frame = frame_of(900).assign(day=DAY, label_day=date(2017, 10, 31), is_first_version=False)
    found = Settings(
        home=tmp_path_factory.mktemp("home"), database_url=SecretStr(new_warehouse()), mlflow_url=mlflow_server.url
    )
    types = {name: POSTGRES.get(kind.kind, "text") for name, kind in frame.dtypes.items()}
    types |= dict.fromkeys(frame.select_dtypes("str"), "text")
    rows = frame.astype(object).where(frame.notna(), None)
    with database.connect(found.require_database()) as connection, connection.cursor() as cursor:
        typed = ", ".join(f"{name} {kind}" for name, kind in types.items())
        cursor.execute(f"create schema churn; create table churn.features ({typed}, primary key (customer_id, day))")
        execute_values(cursor, f"insert into churn.features ({', '.join(types)}) values %s", rows.values.tolist())
    database.ensure_ops(found.require_database())
    return found


def _train(settings: Settings) -> dict[str, Any]:
    two = {name: found for name, found in MODEL.candidates(0).items() if name in {"logistic", "boosting"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODEL, "candidates", lambda seed=0: two)
        return flow.train_and_promote(QUICK, settings, EVERYTHING, actor="a tester")


@pytest.fixture(scope="module")
def champion(settings: Settings) -> dict[str, Any]:
    return _train(settings)


def test_a_table_of_one_day_is_trained_on_with_a_fifth_of_its_customers_held_out(
    champion: dict[str, Any], settings: Settings
) -> None:
    assert champion["promoted"]
    report = selection.evaluation_of(settings, champion["run_id"])
    taken = Snapshot.from_dict(report["snapshot"])
    assert (taken.holdout_share, taken.cutoff) == (0.2, str(DAY))
    train, holdout = snapshot.split(taken, CHURN, snapshot.read(CHURN, taken, settings))
    assert (len(train), len(holdout)) == (720, 180)
    assert holdout[CHURN.target].mean() == pytest.approx(train[CHURN.target].mean(), abs=0.005)
    assert report["challenger"]["overall"]["roc_auc"] > report["baselines"]["contract"]["overall"]["roc_auc"]
    assert {"precision_churn", "recall_stay", "brier", "cost_usd"} <= set(report["challenger"]["overall"])
    files = tracking.client(settings).list_artifacts(champion["run_id"], "figures")
    assert {"roc", "calibration", "confusion", "cost"} <= {Path(file.path).stem for file in files}


def test_the_served_answer_has_the_model_s_reasons(champion: dict[str, Any], settings: Settings) -> None:
    """The Bento's answers, texts with them, were held against the model's before it was promoted."""
    card = read_card(bento_folder(settings, "headwater-churn:v1") / "src" / "model")
    assert card.outputs == MODEL.OUTPUTS
    assert card.texts == MODEL.TEXTS


def test_batch_predictions_keep_the_reasons(champion: dict[str, Any], settings: Settings) -> None:
    told = score.score(CHURN, Window(DAY, DAY), settings)
    assert told["predictions"] == told["matured"] == 900
    (row,) = score.latest(settings.require_database(), CHURN, 1)
    assert list(row["outputs"]) == [*MODEL.OUTPUTS, *MODEL.TEXTS]
    assert all(row["outputs"][name][-4:].strip("+-").replace(".", "").isdigit() for name in MODEL.TEXTS)


def test_features_that_come_days_late_are_scored_with_a_later_day(champion: dict[str, Any], settings: Settings) -> None:
    later = pd.Timestamp(DAY) + pd.Timedelta(days=CHURN.late_days)
    assert score.score(CHURN, Window(later.date(), later.date()), settings)["predictions"] == 900
    beyond = (later + pd.Timedelta(days=1)).date()
    assert score.score(CHURN, Window(beyond, beyond), settings)["predictions"] == 0


def test_a_champion_is_compared_on_customers_that_it_was_not_trained_on(
    champion: dict[str, Any], settings: Settings
) -> None:
    again = _train(settings)
    assert (again["passed"], again["promoted"]) == (True, False)  # a person is to say so
    report = selection.evaluation_of(settings, again["run_id"])
    clauses = {clause["name"]: clause["said"] for clause in report["verdict"]["clauses"]}
    assert "on the same 180 rows" in clauses["champion"]
    taken = Snapshot.from_dict(report["snapshot"])
    everybody = snapshot.read(CHURN, taken, settings)
    assert measurement.unseen_by(taken, CHURN, settings, everybody).sum() == 180
