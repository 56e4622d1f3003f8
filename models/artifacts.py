"""What MLflow stores, brought here for only as long as it is needed."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models import tracking
from models.serving.card import file_sha256
from pipelines.settings import Settings


@contextmanager
def model_file(settings: Settings, model_uri: str) -> Iterator[Path]:
    """The pickled model of a registered or logged version, as a file that is there inside the block."""
    import mlflow

    tracking.client(settings)
    with TemporaryDirectory(prefix="headwater-model-") as folder:
        yield Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=folder)) / "model.pkl"


def load_model(settings: Settings, model_uri: str) -> Any:
    """The model of a registered or logged version."""
    with model_file(settings, model_uri) as path:
        return pickle.loads(path.read_bytes())  # noqa: S301 - from our own registry


def model_sha256(settings: Settings, model_uri: str) -> str:
    """Hash of the pickled model of a registered or logged version."""
    with model_file(settings, model_uri) as path:
        return file_sha256(path)


def run_sha256s(settings: Settings, run_id: str) -> dict[str, str]:
    """Hash of every artifact of a run, by its path in the run."""
    import mlflow

    tracking.client(settings)
    with TemporaryDirectory(prefix="headwater-run-") as folder:
        root = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="", dst_path=folder))
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return {path.relative_to(root).as_posix(): file_sha256(path) for path in files}
