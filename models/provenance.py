"""Where a training's rows came from: the feature manifest, the SQL of the features, and the snapshot as dataset.

snapshot's commit        the manifest, in the Delta log beside the rows
tables/features.csv      the same in the run, to be read
sql/*.sql                the dbt models as they were sent to Postgres
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
from pipelines.manifest import Feature, compiled_sql
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


def log(use_case: UseCase, snapshot: Snapshot, run_id: str, settings: Settings) -> None:
    """Logs the snapshot as the run's dataset, its manifest, and the SQL that made the features."""
    from mlflow.entities import DatasetInput, InputTag

    client = tracking.client(settings)
    tag = InputTag(key="mlflow.data.context", value="snapshot")
    client.log_inputs(run_id, [DatasetInput(dataset=_dataset(use_case, snapshot, settings), tags=[tag])])
    client.log_text(run_id, _csv(features_of(use_case, snapshot, settings)), FEATURES_FILE)
    for name, sql in compiled_sql(use_case, settings).items():
        client.log_text(run_id, sql, f"{SQL_FOLDER}/{name}")


def _dataset(use_case: UseCase, snapshot: Snapshot, settings: Settings) -> Any:
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    source = DeltaDatasetSource(path=snapshot_path(settings.lake, use_case).url, delta_table_version=snapshot.version)
    name = f"{use_case.slug}@{snapshot.version}"
    return MetaDataset(source, name=name, digest=snapshot.sha256[:32])._to_mlflow_entity()


def _csv(features: list[Feature]) -> str:
    lines = io.StringIO()
    writer = csv.DictWriter(lines, ("name", "role", "type", "version", "definition"))
    writer.writeheader()
    writer.writerows(feature.to_dict() for feature in features)
    return lines.getvalue()
