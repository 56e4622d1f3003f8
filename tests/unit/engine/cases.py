"""A fitted model of each use case with 1,000 rows that it has not seen, packaged into a folder as a Bento holds it."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits
from unit.churn.customers import frame_of
from unit.equities.market import LABELS, NOTES, market
from unit.flood.test_model import FEATURES as RIVER
from unit.flood.test_model import history
from unit.taxi.test_model import trips

from models import onnx_build
from models.packaging import _card
from models.serving.card import MODEL_FILE, ServingCard, file_sha256
from models.serving.engine import Engine, load_engine
from pipelines import registry
from pipelines.spec import UseCase

ROWS = 1_000


@dataclass(frozen=True)
class Case:
    """A model, its rows with entity and day, and the folder that it was packaged into."""

    use_case: UseCase
    pipeline: Pipeline
    frame: pd.DataFrame
    names: list[str]
    card: ServingCard
    folder: Path

    @property
    def features(self) -> pd.DataFrame:
        return self.frame[self.names]

    def engine(self) -> Engine:
        return load_engine(self.folder, self.card)


def _flood() -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    return history(), history(600, seed=2), RIVER


def _taxi() -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    odd = trips(100, seed=4, rate=None, passengers=np.nan, pickup_zone=np.nan)
    seen = trips(800, seed=1), trips(200, seed=3, rate="never seen"), odd
    hidden = {"trip_id", "day", "fare_usd", "total_usd", "payment"}
    return trips(), pd.concat(seen, ignore_index=True), [name for name in trips(1) if name not in hidden]


def _churn() -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    frames = [frame_of(1200).assign(day=pd.Timestamp("2024-01-31")), frame_of(1100, seed=9)]
    later = frames[1].assign(day=pd.Timestamp("2024-02-29"))
    later.loc[::7, ["charge_usd", "tenure_months"]] = np.nan
    later.loc[::11, "contract"] = "never seen"
    later.loc[::13, "payment_method"] = None
    return frames[0], later, [name for name in later if name not in {"customer_id", "day", "is_churn_next_month"}]


def _equities() -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    model = registry.part(registry.get_use_case("equities"), "model")
    rows = market(days=120)
    usable = rows[model.usable(rows)].astype({model.TARGET: bool})
    later = market(seed=5, first="2024-01-01")
    return usable, later, [name for name in rows if name not in {"symbol", "day", *LABELS, *NOTES}]


_ROWS = {"flood": _flood, "taxi": _taxi, "churn": _churn, "equities": _equities}
# What is held here does not depend on the number of trees; the run time does
_FEWER = {
    ("flood", "blend"): {"forecast__regressor__boosting__regressor__histgradientboostingregressor__max_iter": 40},
    ("taxi", "blend"): {"forecast__regressor__boosting__histgradientboostingregressor__max_iter": 40},
    ("equities", "blend"): {"forecast__classifier__votingclassifier__boosting__max_iter": 30},
}


@cache
def case(slug: str, name: str) -> Case:
    """The candidate of that name, fitted and packaged."""
    use_case = registry.get_use_case(slug)
    train, later, names = _ROWS[slug]()
    module = registry.part(use_case, "model")
    pipeline = module.candidates(0)[name].set_params(**_FEWER.get((slug, name), {}))
    with threadpool_limits(1):
        pipeline.fit(
            train[names], train[module.TARGET if slug != "flood" else use_case.target], **_told(use_case, train)
        )
    frame = later.sample(ROWS, random_state=0).sort_index()
    return packaged(use_case, pipeline, frame, names)


def packaged(use_case: UseCase, pipeline: Any, frame: pd.DataFrame, names: list[str]) -> Case:
    """The model in a folder, with graphs, recorded answers and card."""
    folder = Path(mkdtemp(prefix="headwater-case-"))
    (folder / MODEL_FILE).write_bytes(pickle.dumps(pipeline))
    types = pl.from_pandas(frame[names]).schema
    selected = {"version": 3, "run_id": "abc"}
    card = _card(use_case, selected, dict(types), file_sha256(folder / MODEL_FILE))
    decisions = registry.part(use_case, "model").decisions
    with threadpool_limits(1):
        card = onnx_build.prepare(card, pipeline, frame[names], decisions, folder)
    return Case(use_case, pipeline, frame, names, card, folder)


def _told(use_case: UseCase, train: pd.DataFrame) -> dict[str, pd.Series]:
    days = pd.to_datetime(train["day"])
    if use_case.slug == "churn":
        return {"forecast__entities": train["customer_id"]}
    known = train["label_day"] if use_case.slug == "equities" else days + pd.Timedelta(days=1)
    return {"forecast__days": days, "forecast__known": known}
