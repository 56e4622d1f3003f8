"""From a registered challenger to the champion: Bento, smoke test, alias, and a row in `ops.promotions`."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from models import snapshot as snapshots
from models import tracking
from models.serving.card import Feature, ServingCard, file_sha256
from models.serving.champion import Champion, current_champion
from models.serving.package import build_bento
from models.serving.smoke import smoke_test
from models.snapshot import Snapshot
from pipelines import database, registry
from pipelines.errors import ModelError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase

SMOKE_ROWS = 50
_INSERT = """
insert into ops.promotions (use_case, alias, from_version, to_version, bento, actor, reason, evidence)
values (%s, %s, %s, %s, %s, %s, %s, %s)"""


def package(
    use_case: UseCase, training: dict[str, Any], selected: dict[str, Any], settings: Settings | None = None
) -> dict[str, Any]:
    """Builds the Bento of a registered version and tests it as a real server with rows of the hold-out.

    Returns:
        `bento`, its tag, and `model_sha256`.

    Raises:
        ModelError: the Bento cannot be built, or its answers are not those of the model.
    """
    settings = settings or get_settings()
    snapshot = Snapshot.from_dict(training["snapshot"])
    typed = snapshots.read_typed(use_case, snapshot, settings)
    _, holdout = snapshots.split(snapshot, use_case, snapshots.to_pandas(typed))
    rows = snapshots.features(use_case, holdout.sample(min(SMOKE_ROWS, len(holdout)), random_state=0))
    model_file = download_model(settings, selected["model_uri"])
    sha256 = file_sha256(model_file)
    card = _card(use_case, selected, {name: typed.schema[name] for name in rows}, sha256)
    tag = build_bento(use_case, model_file, card, settings=settings)
    model = pickle.loads(model_file.read_bytes())  # noqa: S301 - just downloaded from our own registry
    smoke_test(tag, rows, model.predict(rows), settings=settings)
    client = tracking.client(settings)
    for key, value in (("bento", tag), ("model.sha256", sha256)):
        client.set_model_version_tag(use_case.experiment, str(selected["version"]), key, value)
    return {"bento": tag, "model_sha256": sha256}


def download_model(settings: Settings, model_uri: str) -> Path:
    """The pickled model of a registered or logged version, as a local file."""
    import mlflow

    tracking.client(settings)
    return Path(mlflow.artifacts.download_artifacts(model_uri)) / "model.pkl"


def _card(use_case: UseCase, selected: dict[str, Any], types: dict[str, pl.DataType], sha256: str) -> ServingCard:
    return ServingCard(
        use_case=use_case.slug,
        version=selected["version"],
        run_id=selected["run_id"],
        entity=use_case.entity,
        entity_type=use_case.entity_type,
        day=use_case.day_column,
        feature_table=use_case.feature_table,
        features=tuple(
            Feature(name=name, type=_type(name, dtype), nullable=name not in use_case.required_features)
            for name, dtype in types.items()
        ),
        outputs=registry.part(use_case, "model").OUTPUTS,
        texts=registry.texts(use_case),
        title=use_case.title,
        doc=use_case.doc.strip(),
        model_sha256=sha256,
        created_at=datetime.now(UTC),
    )


def _type(name: str, dtype: pl.DataType) -> Any:
    if dtype.is_float():
        return "float"
    if dtype.is_integer():
        return "int"
    found = {pl.Boolean: "bool", pl.String: "string"}.get(dtype.base_type())
    if found is None:
        raise ModelError(
            f"The feature {name} is {dtype}, which no request can carry; make it a number, a truth value or a text, "
            "or name it among the notes of the spec."
        )
    return found


def promote(
    use_case: UseCase,
    training: dict[str, Any],
    selected: dict[str, Any],
    packaged: dict[str, Any],
    actor: str,
    settings: Settings | None = None,
) -> int:
    """Makes a packaged version the champion, which the service then takes over; gives its number.

    Doing so again changes nothing. Either both the alias and the row in `ops.promotions` change, or neither.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    database.ensure_ops(url)
    client = tracking.client(settings)
    present = tracking.alias_version(use_case, settings, tracking.CHAMPION)
    version = int(selected["version"])
    known = current_champion(settings, use_case)
    if present is not None and int(present.version) == version and known == Champion(version, packaged["bento"]):
        return version
    evidence = {
        "run_id": selected["run_id"],
        "model_sha256": packaged["model_sha256"],
        "evaluation_sha256": selected["evaluation_sha256"],
        "snapshot_sha256": training["snapshot"]["sha256"],
        "snapshot_version": training["snapshot"]["version"],
    }
    row = (
        use_case.slug,
        tracking.CHAMPION,
        int(present.version) if present is not None else None,
        version,
        packaged["bento"],
        actor,
        selected["verdict"],
        json.dumps(evidence),
    )
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(_INSERT, row)
        # Inside the transaction: an alias that cannot be set takes the row back
        client.set_registered_model_alias(use_case.experiment, tracking.CHAMPION, str(version))
    return version
