"""The champion: the version that the newest promotion names, with what MLflow knows of it."""

from __future__ import annotations

from typing import Any

from models import tracking
from models.serving.champion import current_champion
from pipelines.errors import ModelError, NotFoundError
from pipelines.settings import Settings
from pipelines.spec import UseCase


def find_champion(use_case: UseCase, settings: Settings) -> Any | None:
    """MLflow's version of the champion; None before the first promotion.

    As the service does, it goes by the promotions and not by the alias in MLflow, which anyone may move there.

    Raises:
        ModelError: MLflow does not have that version any more.
    """
    promoted = current_champion(settings, use_case)
    if promoted is None:
        return None
    from mlflow.exceptions import MlflowException

    try:
        return tracking.client(settings).get_model_version(use_case.experiment, str(promoted.version))
    except MlflowException as error:
        raise ModelError(
            f"Version {promoted.version} of {use_case.slug} is champion, but MLflow at {settings.mlflow_url} does not "
            f"give it: {error}. Roll back to one that it has: headwater models rollback {use_case.slug} --to VERSION."
        ) from error


def require_champion(use_case: UseCase, settings: Settings) -> Any:
    """MLflow's version of the champion.

    Raises:
        NotFoundError: there is none yet.
    """
    found = find_champion(use_case, settings)
    if found is None:
        raise NotFoundError(f"{use_case.slug} has no champion yet; train one: headwater train {use_case.slug}.")
    return found
