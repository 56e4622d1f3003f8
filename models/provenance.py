"""Where a training's rows came from: the feature manifest, the SQL of the features, and the snapshot as dataset.

snapshot's commit        the manifest and the SQL, in the Delta log beside the rows
tables/features.csv      the manifest in the run, to be read
sql/*.sql                the dbt models as they were sent to Postgres
dataset                  the run's input: the Delta table and its version, hash, rows, days and columns
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from models import tracking
from models.snapshot import Snapshot
from pipelines import lake
from pipelines.lake_tables import snapshot_path
from pipelines.manifest import Feature
from pipelines.settings import Settings
from pipelines.spec import UseCase

FEATURES_FILE = "tables/features.csv"
SQL_FOLDER = "sql"


def features_of(use_case: UseCase, snapshot: Snapshot, settings: Settings) -> list[Feature]:
    """The manifest that was kept with a snapshot; empty of one from before there were any.

    Raises:
        NotFoundError: there is no such snapshot.
    """
    kept = lake.snapshot_note(settings.lake, use_case, snapshot.version, lake.FEATURES_NOTE)
    return [Feature(**one) for one in json.loads(kept or "[]")]


def sql_of(use_case: UseCase, snapshot: Snapshot, settings: Settings) -> dict[str, str]:
    """The dbt models that made a snapshot's features, by file, as Postgres got them; empty where none were built here.

    Raises:
        NotFoundError: there is no such snapshot.
    """
    kept = lake.snapshot_note(settings.lake, use_case, snapshot.version, lake.SQL_NOTE)
    return dict(json.loads(kept or "{}"))


def log(use_case: UseCase, snapshot: Snapshot, run_id: str, settings: Settings) -> None:
    """Logs the snapshot as the run's dataset, its manifest, and the SQL that made the features."""
    from mlflow.entities import DatasetInput, InputTag

    client, features = tracking.client(settings), features_of(use_case, snapshot, settings)
    tag = InputTag(key="mlflow.data.context", value="snapshot")
    client.log_inputs(run_id, [DatasetInput(dataset=_dataset(use_case, snapshot, features, settings), tags=[tag])])
    client.log_text(run_id, _csv(features), FEATURES_FILE)
    for name, sql in sql_of(use_case, snapshot, settings).items():
        client.log_text(run_id, sql, f"{SQL_FOLDER}/{name}")


def _dataset(use_case: UseCase, snapshot: Snapshot, features: list[Feature], settings: Settings) -> Any:
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.entities import Dataset

    source = DeltaDatasetSource(path=snapshot_path(settings.lake, use_case).url, delta_table_version=snapshot.version)
    columns = [{"name": one.name, "type": _TYPES.get(one.type, "string")} for one in features]
    told = {"num_rows": snapshot.rows, "first_day": snapshot.first_day, "last_day": snapshot.last_day,
            "cutoff": snapshot.cutoff, "features_sha256": snapshot.features_sha256}  # fmt: skip
    return Dataset(
        name=f"{use_case.slug}@{snapshot.version}",
        digest=snapshot.sha256[:32],
        source_type=source._get_source_type(),
        # MLflow itself leaves version 0 out
        source=json.dumps({**source.to_dict(), "delta_table_version": snapshot.version}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps(told),
    )


_TYPES = {
    "double precision": "double", "real": "float", "bigint": "long", "integer": "integer", "smallint": "integer",
    "boolean": "boolean", "date": "datetime", "timestamp with time zone": "datetime",
}  # fmt: skip
"""MLflow's names of Postgres' types."""


def _csv(features: list[Feature]) -> str:
    lines = io.StringIO()
    writer = csv.DictWriter(lines, ("name", "role", "type", "version", "definition"))
    writer.writeheader()
    writer.writerows(feature.to_dict() for feature in features)
    return lines.getvalue()
