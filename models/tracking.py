"""MLflow: where runs are logged and models are registered."""

from __future__ import annotations

import logging
import math
import os
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx

from pipelines.errors import ModelError, NotFoundError
from pipelines.settings import Settings
from pipelines.spec import UseCase

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
_KIND = ("mlflow.experimentKind", "custom_model_development")
"""The tag by which MLflow shows an experiment as trainings and their metrics, and not as a language model's traces."""


def client(settings: Settings) -> MlflowClient:
    """A client of the tracking server, which `mlflow`'s own functions use too from then on.

    Raises:
        ModelError: the tracking server cannot be reached.
    """
    _require_server(settings.mlflow_url)
    # Only through the environment can MLflow be told to report no usage, and to keep its links and progress bars
    # out of our output
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    # It warns of pickle at each model; ours are only loaded when their hash is the promoted one
    logging.getLogger("mlflow.sklearn").setLevel(logging.ERROR)
    for name in ("mlflow.store", "mlflow.tracking"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # That ints cannot be missing: the service holds requests against its own card, which knows what may be
    warnings.filterwarnings("ignore", "Hint: Inferred schema contains integer column", UserWarning)
    mlflow.set_tracking_uri(settings.mlflow_url)
    return mlflow.MlflowClient()


def credentials() -> tuple[str, str] | None:
    """User and password of a server that asks for them, from the variables that MLflow's own client reads."""
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD"))
    return (user, password) if user and password else None


@cache
def _require_server(url: str) -> None:
    """Asks once a process: MLflow's own client would try for minutes before it says anything."""
    try:
        httpx.get(f"{url}/health", timeout=20, trust_env=not url.startswith("http://127.")).raise_for_status()
    except httpx.HTTPError as error:
        raise ModelError(f"MLflow at {url} cannot be reached ({error}); start it with `headwater up`.") from error


def experiment(use_case: UseCase, settings: Settings) -> str:
    """Id of the use case's experiment, made where it is missing.

    Raises:
        ModelError: the tracking server cannot be reached.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    client(settings)
    try:
        experiment = mlflow.set_experiment(use_case.experiment)
        if _KIND[0] not in experiment.tags:
            mlflow.MlflowClient().set_experiment_tag(experiment.experiment_id, *_KIND)
    except MlflowException as error:
        raise ModelError(
            f"MLflow at {settings.mlflow_url} cannot be used: {error}. Start it with `headwater up`."
        ) from error
    return str(experiment.experiment_id)


def run(settings: Settings, run_id: str) -> Any:
    """A run by its id.

    Raises:
        NotFoundError: there is none.
        ModelError: the tracking server cannot be reached.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client(settings).get_run(run_id)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise NotFoundError(f"MLflow at {settings.mlflow_url} has no run {run_id!r}.") from error
        raise ModelError(f"MLflow at {settings.mlflow_url} cannot be used: {error}.") from error


def run_link(settings: Settings, experiment_id: str, run_id: str) -> str:
    """Address of a run's page."""
    return f"{settings.mlflow_pages}/#/experiments/{experiment_id}/runs/{run_id}"


def alias_version(use_case: UseCase, settings: Settings, alias: str) -> Any | None:
    """The registered version that holds an alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client(settings).get_model_version_by_alias(use_case.experiment, alias)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise ModelError(
            f"MLflow at {settings.mlflow_url} cannot be used: {error}. Start it with `headwater up`."
        ) from error


def registered(use_case: UseCase, settings: Settings) -> list[Any]:
    """Every registered version of the use case's model.

    Raises:
        ModelError: the tracking server cannot be reached.
    """
    found: list[Any] = []
    token: str | None = None
    while True:
        page = client(settings).search_model_versions(f"name = '{use_case.experiment}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def finite(metrics: dict[str, float]) -> dict[str, float]:
    """The metrics that MLflow can take: those that are numbers."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
