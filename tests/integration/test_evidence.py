"""What speaks for a challenger and against it: the clause that saw a worse one refuses it, and all is to be read."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from integration.champions import crown
from integration.rivers import SITES, load
from integration.test_training import AT_CUTOFF, USE_CASE, Loads
from pydantic import SecretStr
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline

from models import provenance, selection, tables, tracking, train
from models.snapshot import Snapshot
from pipelines import registry
from pipelines.settings import Settings
from pipelines.use_cases.flood.model import THRESHOLD, ConformalForecaster, SiteScaler

pytestmark = pytest.mark.slow
CREEK = next(iter(SITES))
MODEL = registry.part(USE_CASE, "model")


class Raised(ConformalForecaster):  # type: ignore[misc]
    """Says twice as much water as it knows of, and always a flood, at sites up to a size by their threshold."""

    def __init__(self, regressor: Any, up_to_m3s: float = 0.0) -> None:
        super().__init__(regressor)
        self.up_to_m3s = up_to_m3s

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        told, raised = super().predict(features), (features[THRESHOLD] <= self.up_to_m3s).to_numpy()
        return told.mul(raised + 1.0, axis=0).assign(flood_probability=told["flood_probability"].where(~raised, 1.0))


@pytest.fixture(scope="module")
def settings(
    new_warehouse: Callable[[], str], mlflow_server: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings of a stack with the features of three rivers, an experiment of its own, and one build of dbt."""
    url, home = new_warehouse(), tmp_path_factory.mktemp("home")
    load(url)
    sql = home / "dbt" / "flood" / "compiled" / "headwater" / "models" / "flood" / "features" / "features_audit.sql"
    sql.parent.mkdir(parents=True)
    sql.write_text("select 1 as built")
    return Settings(home=home, database_url=SecretStr(url), mlflow_url=mlflow_server.url)


def _select(settings: Settings, up_to_m3s: float = 0.0, clauses: Any = ()) -> dict[str, Any]:
    """A version of one candidate, a line, that is spoilt for sites up to a size."""
    line = Pipeline(
        [("scale", SiteScaler()), ("forecast", Raised(make_pipeline(SimpleImputer(), Ridge(1.0)), up_to_m3s))]
    )
    training = train.start(USE_CASE, settings, AT_CUTOFF)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODEL, "candidates", lambda seed=0: {"line": line})
        trained = [train.train_candidate(USE_CASE, training, "line", settings)]
    return {**selection.select(USE_CASE, training, trained, settings, clauses), "training": training}


@pytest.fixture(scope="module")
def champion(settings: Settings) -> dict[str, Any]:
    """A champion without its Bento."""
    selected = _select(settings)
    crown(USE_CASE, settings, selected)
    return selected


@pytest.fixture(scope="module")
def worse_at_the_creek(champion: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """A challenger that differs from the champion at the smallest of three rivers only."""
    return _select(settings, up_to_m3s=20.0)


@pytest.fixture(scope="module")
def leaking(champion: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """A challenger that is the champion's equal, and of which a probe says that a feature looks ahead."""
    probe = {"name": "leakage", "passed": False, "said": "precip_next_mm moved", "columns": ["precip_next_mm"]}
    return _select(settings, clauses=[probe])


def _table(run_id: str, name: str) -> pd.DataFrame:
    import mlflow

    return pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"runs:/{run_id}/tables/{name}.csv")))


# The gate


def test_a_first_model_is_decided_by_the_baseline_alone(champion: dict[str, Any]) -> None:
    assert champion["passed"]
    assert champion["decided_by"] == ["baseline"]


def test_a_challenger_that_is_worse_in_one_segment_only_is_refused_by_that_clause(
    worse_at_the_creek: dict[str, Any], settings: Settings
) -> None:
    assert not worse_at_the_creek["passed"]
    assert worse_at_the_creek["decided_by"] == ["segments"]
    assert worse_at_the_creek["verdict"].startswith(f"segments refused: site '{CREEK}': nse ")
    assert "champion passed: " in worse_at_the_creek["verdict"]
    tags = tracking.client(settings).get_model_version("flood", str(worse_at_the_creek["version"])).tags
    assert (tags["gate"], tags["gate.decided_by"]) == ("refused", "segments")


def test_a_challenger_that_is_worse_everywhere_is_refused_by_all_that_saw_it(
    champion: dict[str, Any], settings: Settings
) -> None:
    refused = _select(settings, up_to_m3s=1e9)
    assert refused["decided_by"] == ["baseline", "champion", "segments"]


def test_a_clause_of_another_task_refuses_what_all_others_let_through(leaking: dict[str, Any]) -> None:
    assert leaking["decided_by"] == ["leakage"]
    gate = _table(leaking["run_id"], "gate").set_index("clause")
    assert gate["outcome"].to_dict() == {
        "leakage": "refused",
        "baseline": "passed",
        "champion": "passed",
        "segments": "passed",
    }
    assert gate.loc["leakage", "said"] == "precip_next_mm moved"


# What is to be read of it


def test_an_equal_challenger_changes_no_decision_and_a_wet_one_warns_of_floods_at_the_creek_alone(
    leaking: dict[str, Any], worse_at_the_creek: dict[str, Any], settings: Settings
) -> None:
    table = _table(worse_at_the_creek["run_id"], "flips")
    by_site = table[table["segmentation"] == "site"]
    assert set(by_site["segment"]) == {CREEK}
    assert set(by_site["from"] + " -> " + by_site["to"]) == {"no warning -> warning"}
    assert (by_site["worse"] > by_site["better"]).all()
    flipped = _table(worse_at_the_creek["run_id"], "flipped")
    assert len(flipped) == by_site["flips"].sum()
    assert set(flipped["site_id"]) == {int(CREEK)}
    same = selection.evaluation_of(settings, leaking["run_id"])["flips"]
    assert [(row["segmentation"], row["flips"]) for row in same] == [("all", 0)]


def test_metrics_have_seeded_intervals_around_them(champion: dict[str, Any], settings: Settings) -> None:
    table = _table(champion["run_id"], "metrics").set_index("metric")
    nse = table.loc["nse"]
    assert nse["low"] < nse["challenger"] < nse["high"]
    assert nse["high"] - nse["low"] < 0.3
    assert nse["persistence"] < nse["low"]


def test_the_run_shows_all_of_it_on_mlflow_s_own_page(worse_at_the_creek: dict[str, Any], settings: Settings) -> None:
    client, run_id = tracking.client(settings), worse_at_the_creek["run_id"]
    run = client.get_run(run_id)
    assert {f"segment/site {CREEK}/nse", "interval/nse low", "champion_on_same_rows/nse", "flips/share"} <= set(
        run.data.metrics
    )
    assert run.data.tags["gate.decided_by"] == "segments"
    assert "was refused by segments" in run.data.tags["mlflow.note.content"]
    named = {Path(file.path).stem for file in client.list_artifacts(run_id, "tables")}
    assert {"gate", "metrics", "champion", "segments", "flips", "flipped", "features"} == named
    assert {"segments.png", "flips.png"} <= {Path(file.path).name for file in client.list_artifacts(run_id, "figures")}


def test_the_snapshot_keeps_what_each_feature_means_and_the_run_how_it_was_made(
    champion: dict[str, Any], settings: Settings
) -> None:
    import mlflow

    taken = Snapshot.from_dict(champion["training"]["snapshot"])
    kept = {one.name: one for one in provenance.features_of(USE_CASE, taken, settings)}
    assert kept["precip_mm"].definition == "Precipitation of the day, mm."
    assert kept["discharge_next_m3s"].role == "label"
    table = _table(champion["run_id"], "features").set_index("name")
    assert table.loc["precip_mm", "version"] == 1
    assert set(table.index) == set(kept)
    run = tracking.client(settings).get_run(champion["run_id"])
    assert run.data.tags["snapshot.features_sha256"] == taken.features_sha256
    (given,) = run.inputs.dataset_inputs
    assert taken.sha256.startswith(given.dataset.digest)
    assert json.loads(given.dataset.source)["delta_table_version"] == taken.version
    assert json.loads(given.dataset.profile)["num_rows"] == taken.rows
    columns = {one["name"]: one["type"] for one in json.loads(given.dataset.schema)["mlflow_colspec"]}
    assert columns["precip_mm"] == "double"
    assert provenance.sql_of(USE_CASE, taken, settings) == {"features_audit.sql": "select 1 as built"}
    assert mlflow.artifacts.load_text(f"runs:/{champion['run_id']}/sql/features_audit.sql") == "select 1 as built"


def test_every_version_has_a_card_that_says_what_decided_and_loads_nothing(
    worse_at_the_creek: dict[str, Any], settings: Settings
) -> None:
    import mlflow

    client = tracking.client(settings)
    version = client.get_model_version("flood", str(worse_at_the_creek["version"]))
    assert "was refused by segments" in version.description
    said = mlflow.artifacts.load_text(f"runs:/{worse_at_the_creek['run_id']}/model_card.md")
    assert said.startswith(f"# River floods: model version {version.version}\n")
    for part in ("refused by segments", "Precipitation of the day, mm.", "dams", "--from-run", "no warning | warning"):
        assert part in said, part
    page = mlflow.artifacts.load_text(f"runs:/{worse_at_the_creek['run_id']}/model_card.html")
    found = Loads()
    found.feed(page)
    assert len(found.addresses) >= 4
    assert all(address.startswith("data:image/png;base64,") for address in found.addresses)
    assert "<table>" in page
    beside = {file.path for file in client.list_logged_model_artifacts(worse_at_the_creek["model_uri"].split("/")[-1])}
    assert {"model_card.md", "model_card.html", "MLmodel"} <= beside


def test_the_tables_are_those_of_the_report(champion: dict[str, Any], settings: Settings) -> None:
    report = selection.evaluation_of(settings, champion["run_id"])
    assert set(tables.all_of(USE_CASE, report)) == {"gate", "metrics", "segments"}
