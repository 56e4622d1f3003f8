"""What each task of a DAG reads and writes, as OpenLineage names data: a namespace (where), and a name in it.

The names follow OpenLineage's naming conventions (https://openlineage.io/docs/spec/naming), so that other tools that
read the same table or bucket meet us there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg2.extensions import parse_dsn

from pipelines.lake_tables import normalized_path, quarantine_path, snapshot_path
from pipelines.raw_tables import raw_table
from pipelines.settings import Settings
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store

Kind = Literal[
    "upstream", "landing", "normalized", "quarantine", "raw", "features", "inference", "snapshot", "model", "bento",
    "predictions", "reports",
]  # fmt: skip
FLOWS: dict[tuple[str, str], tuple[tuple[Kind, ...], tuple[Kind, ...]]] = {
    ("ingest", "fetch"): (("upstream",), ("landing",)),
    ("ingest", "check"): (("landing",), ("normalized", "quarantine")),
    ("ingest", "check_shard"): (("landing",), ("normalized", "quarantine")),
    ("ingest", "load"): (("normalized",), ("raw",)),
    ("ingest", "load_shard"): (("normalized",), ("raw",)),
    ("ingest", "transform"): (("raw",), ("features",)),
    ("recompute", "recompute"): (("raw",), ("features",)),
    ("audit", "audit"): (("raw", "features"), ("reports",)),
    ("train", "start"): (("features",), ("snapshot",)),
    ("train", "probe"): (("raw",), ()),
    ("train", "train_candidate"): (("snapshot",), ("model",)),
    ("train", "select"): (("snapshot",), ("model",)),
    ("train", "package"): (("model", "snapshot"), ("bento",)),
    ("train", "promote"): (("bento",), ("model",)),
    ("rollback", "rollback"): (("model",), ("model",)),
    ("nowcast", "fetch"): (("upstream",), ("landing",)),
    ("nowcast", "check"): (("landing",), ("normalized", "quarantine")),
    ("nowcast", "load"): (("normalized",), ("raw",)),
    ("nowcast", "aggregate"): (("raw", "features"), ("inference",)),
    ("nowcast", "score"): (("inference", "model"), ("predictions",)),
    ("skew", "skew"): (("raw", "predictions", "model"), ()),
    ("score", "score"): (("features", "model"), ("predictions",)),
    ("score", "drift"): (("features", "snapshot"), ("reports",)),
}
"""By shape and task, without its group: what it reads, what it writes. A task that is not here moves no data."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set; `contract` where its columns are declared."""

    namespace: str
    name: str
    contract: Dataset | None = None


def flow(use_case: UseCase, shape: str, task_id: str, settings: Settings) -> tuple[list[DataSet], list[DataSet]]:
    """What a task reads and what it writes; both are empty for a task that moves no data."""
    group, _, task = task_id.rpartition(".")
    nowcast = use_case.nowcast.datasets if use_case.nowcast and shape == "nowcast" else ()
    known = {dataset.name: dataset for dataset in nowcast or use_case.datasets}
    concerned = [known[group]] if group in known else list(known.values())
    inputs, outputs = FLOWS.get((shape, task), ((), ()))
    return (
        [one for kind in inputs for one in _sets(use_case, kind, concerned, settings)],
        [one for kind in outputs for one in _sets(use_case, kind, concerned, settings)],
    )


def _sets(use_case: UseCase, kind: Kind, datasets: list[Dataset], settings: Settings) -> list[DataSet]:
    lake, slug = settings.lake, use_case.slug
    if kind == "upstream":
        return [_upstream(use_case, dataset) for dataset in datasets]
    if kind == "landing":
        return [_stored(lake / "landing" / slug / dataset.name) for dataset in datasets]
    if kind == "normalized":
        return [_stored(normalized_path(lake, use_case, dataset), dataset) for dataset in datasets]
    if kind == "quarantine":
        return [_stored(quarantine_path(lake, use_case, dataset)) for dataset in datasets]
    if kind == "raw":
        return [_table(settings, raw_table(use_case, dataset), dataset) for dataset in datasets]
    return [_whole(use_case, kind, settings)]


def _whole(use_case: UseCase, kind: Kind, settings: Settings) -> DataSet:
    """What there is one of in a use case."""
    if kind == "features":
        return _table(settings, use_case.feature_table)
    if kind == "inference":
        return _table(settings, use_case.inference_table)
    if kind == "predictions":
        return _table(settings, "serving.predictions")
    if kind == "snapshot":
        return _stored(snapshot_path(settings.lake, use_case))
    if kind == "model":
        return DataSet(settings.mlflow_url, f"models/{use_case.experiment}")
    if kind == "bento":
        return DataSet("bentoml", use_case.bento)
    place = settings.files / "reports" if settings.files else Store.at(settings.reports)
    return _stored(place / use_case.slug)


def _upstream(use_case: UseCase, dataset: Dataset) -> DataSet:
    """By its public address, whichever host stands in for it: a database's own may hold a password."""
    source = next((source for source in use_case.sources if source.name == dataset.source), None)
    if source is None:  # a file of ours
        return DataSet("headwater", f"pipelines/use_cases/{use_case.slug}/{dataset.source}")
    return DataSet(source.live_url or f"{source.kind}://{source.name}", dataset.name)


def _stored(place: Store, contract: Dataset | None = None) -> DataSet:
    if place.is_folder:
        return DataSet("file", place.url, contract)
    scheme, _, rest = place.url.partition("://")
    bucket, _, path = rest.partition("/")
    return DataSet(f"{scheme}://{bucket}", path, contract)


def _table(settings: Settings, table: str, contract: Dataset | None = None) -> DataSet:
    dsn = {"host": "localhost", "port": "5432"} | parse_dsn(settings.require_database())
    return DataSet(f"postgres://{dsn['host']}:{dsn['port']}", f"{dsn['dbname']}.{table}", contract)
