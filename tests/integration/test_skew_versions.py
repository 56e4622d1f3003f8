"""The version that answered comes from the registry, and only as it was packaged."""

from __future__ import annotations

from types import SimpleNamespace

import mlflow
import pandas as pd
import pytest
from pydantic import SecretStr
from sklearn.linear_model import LinearRegression

from models import artifacts, replayed, tracking
from pipelines.errors import ModelError
from pipelines.registry import get_use_case
from pipelines.settings import Settings

pytestmark = pytest.mark.slow

TAXI = get_use_case("taxi")


def test_a_version_that_the_registry_lacks_or_whose_file_is_another_one_is_not_taken(
    mlflow_server: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = Settings(
        home=tmp_path_factory.mktemp("home"),
        database_url=SecretStr("postgresql://nobody"),
        mlflow_url=mlflow_server.url,
    )
    client, name = tracking.client(found), TAXI.experiment
    rows = pd.DataFrame({"distance_miles": [1.0, 2.0, 3.0]})
    model = LinearRegression().fit(rows, rows["distance_miles"] * 3)
    with mlflow.start_run(experiment_id=tracking.experiment(TAXI, found)):
        info = mlflow.sklearn.log_model(
            model, name="model", pip_requirements=["scikit-learn"],
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_PICKLE,
        )  # fmt: skip
    version = int(mlflow.register_model(info.model_uri, name).version)
    with pytest.raises(ModelError, match="is not the one that was packaged"):
        replayed.load_version(TAXI, version, found)
    sha256 = artifacts.model_sha256(found, info.model_uri)
    client.set_model_version_tag(name, str(version), "model.sha256", sha256)
    assert list(replayed.load_version(TAXI, version, found).predict(rows)) == pytest.approx([3, 6, 9])
    with pytest.raises(ModelError, match=f"Version 99 of {TAXI.slug} has answered, but MLflow"):
        replayed.load_version(TAXI, 99, found)
    client.delete_registered_model(name)
