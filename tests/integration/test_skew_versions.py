"""A version comes from the registry, and only as it was packaged or promoted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pandas as pd
import pytest
from pydantic import SecretStr
from sklearn.linear_model import LinearRegression

from models import artifacts, history, replayed, score, tracking
from pipelines.errors import ModelError
from pipelines.registry import get_use_case
from pipelines.settings import Settings

pytestmark = pytest.mark.slow

TAXI = get_use_case("taxi")
ROWS = pd.DataFrame({"distance_miles": [1.0, 2.0, 3.0]})


@pytest.fixture
def settings(new_warehouse: Callable[[], str], mlflow_server: SimpleNamespace, tmp_path: Path) -> Settings:
    """A warehouse that knows no version yet."""
    return Settings(home=tmp_path, database_url=SecretStr(new_warehouse()), mlflow_url=mlflow_server.url)


@pytest.fixture
def registered(settings: Settings) -> Iterator[Any]:
    """A version of the registry, whose tag says the hash of its file, as whoever may write there could have it say."""
    client, name = tracking.client(settings), TAXI.experiment
    model = LinearRegression().fit(ROWS, ROWS["distance_miles"] * 3)
    with mlflow.start_run(experiment_id=tracking.experiment(TAXI, settings)):
        info = mlflow.sklearn.log_model(
            model, name="model", pip_requirements=["scikit-learn"],
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_PICKLE,
        )  # fmt: skip
    version = mlflow.register_model(info.model_uri, name).version
    sha256 = artifacts.model_sha256(settings, info.model_uri)
    client.set_model_version_tag(name, str(version), "model.sha256", sha256)
    yield client.get_model_version(name, str(version))
    client.delete_registered_model(name)


def test_a_version_that_the_registry_lacks_or_whose_file_is_another_one_is_not_taken(
    registered: Any, settings: Settings
) -> None:
    version = int(registered.version)
    with pytest.raises(ModelError, match="was neither promoted nor packaged with a known hash"):
        replayed.load_version(TAXI, version, settings)
    history.keep(TAXI, settings, version, "evidence", {"model_sha256": "of another file"})
    with pytest.raises(ModelError, match="is not the one that was packaged"):
        replayed.load_version(TAXI, version, settings)
    history.keep(TAXI, settings, version, "newer", {"model_sha256": registered.tags["model.sha256"]})
    assert list(replayed.load_version(TAXI, version, settings).predict(ROWS)) == pytest.approx([3, 6, 9])
    with pytest.raises(ModelError, match=f"Version 99 of {TAXI.slug} has answered, but MLflow"):
        replayed.load_version(TAXI, 99, settings)


def test_a_champion_is_the_file_that_was_promoted_whatever_its_tag_in_the_registry_says(
    registered: Any, settings: Settings
) -> None:
    version = int(registered.version)
    history.keep(TAXI, settings, version, "evidence", {"model_sha256": registered.tags["model.sha256"]})
    _promote(settings, version, "of another file")
    with pytest.raises(ModelError, match=f"version {version} is not the one that was promoted"):
        score.load_champion(TAXI, settings)
    _promote(settings, version, registered.tags["model.sha256"])
    model, found = score.load_champion(TAXI, settings)
    assert (list(model.predict(ROWS)), found) == (pytest.approx([3, 6, 9]), version)


def _promote(settings: Settings, version: int, sha256: str) -> None:
    told = {"model_sha256": sha256}
    history.move(TAXI, settings, tracking.CHAMPION, version, actor="ann", reason="", evidence=told, bento="none")
