"""Who serves the model, how it is asked, and how its answer is read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.serving.model import Subject
from benchmarks.serving.processes import Started, running
from headwater.stack.files import free_port

EXACT, SINGLE = 1e-9, 1e-4
"""How far answers may be apart, relative: of the same computation, and of trees in single precision."""
ROWS = "rows"


@dataclass(frozen=True, slots=True)
class Contender:
    """A server: `body` makes a request of a frame of features, `read` the answer's rows."""

    name: str
    port: int
    path: str
    body: Callable[[pd.DataFrame], str]
    read: Callable[[Any], list[dict[str, Any]]]
    tolerance: float = EXACT


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them: what is missing is null."""
    found: list[dict[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return found


def as_rows(frame: pd.DataFrame) -> str:
    """`{"rows": [...]}`, in as few bytes as there can be."""
    return json.dumps({ROWS: records(frame)}, separators=(",", ":"))


def as_split(frame: pd.DataFrame) -> str:
    """MLflow's layout with the names once, which its documentation recommends."""
    values = [list(row.values()) for row in records(frame)]
    return json.dumps({"dataframe_split": {"columns": list(frame), "data": values}}, separators=(",", ":"))


def of_predictions(answer: Any) -> list[dict[str, Any]]:
    """The rows of `{"predictions": [...]}`."""
    rows: list[dict[str, Any]] = answer["predictions"]
    return rows


_UVICORN = (sys.executable, "-m", "uvicorn", "--host", "127.0.0.1")
_PEERS = "benchmarks.serving.peers"


@contextmanager
def bentoml(subject: Subject) -> Iterator[Contender]:
    """BentoML with its defaults."""
    port = free_port()
    command = (sys.executable, "-m", "bentoml", "serve", f"{_PEERS}.bentoml_plain:Flood", "--host", "127.0.0.1")
    home = subject.folder / "bentoml"
    home.mkdir()
    environment = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    started = Started([*command, "--port", str(port)], subject.folder, port, "/readyz", environment)
    with running(started, subject.folder / "bentoml.log"):
        yield Contender("BentoML, pydantic rows, sklearn", port, "/predict", as_rows, list)


@contextmanager
def fastapi_sklearn(subject: Subject) -> Iterator[Contender]:
    """FastAPI with scikit-learn, and uvicorn's defaults."""
    port = free_port()
    command = (*_UVICORN, "--port", str(port), f"{_PEERS}.fastapi_sklearn:app")
    with running(Started(command, subject.folder, port, "/docs", {}), subject.folder / "fastapi_sklearn.log"):
        yield Contender("FastAPI, pydantic rows, sklearn", port, "/predict", as_rows, of_predictions)


@contextmanager
def fastapi_onnx(subject: Subject) -> Iterator[Contender]:
    """FastAPI with ONNX Runtime, without an access log."""
    port = free_port()
    command = (*_UVICORN, "--port", str(port), "--no-access-log", f"{_PEERS}.fastapi_onnx:app")
    with running(Started(command, subject.folder, port, "/docs", {}), subject.folder / "fastapi_onnx.log"):
        yield Contender("FastAPI async, pydantic rows, ONNX", port, "/predict", as_rows, of_predictions, SINGLE)


@contextmanager
def mlflow_serve(subject: Subject) -> Iterator[Contender]:
    """`mlflow models serve` of the logged model, in this environment and with one worker."""
    port, folder = free_port(), subject.folder / "mlflow"
    _log(subject, folder)
    command = (sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(folder), "--host", "127.0.0.1",
               "--port", str(port), "--env-manager", "local", "--workers", "1")  # fmt: skip
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true"}
    with running(Started(command, subject.folder, port, "/ping", environment), subject.folder / "mlflow.log"):
        yield Contender("mlflow models serve", port, "/invocations", as_split, of_predictions)


def _log(subject: Subject, folder: Path) -> None:
    """As a training logs it, but into a folder."""
    import mlflow
    from mlflow.models import infer_signature

    (example,) = subject.asked(5)[:1]
    mlflow.sklearn.save_model(
        subject.model,
        str(folder),
        signature=infer_signature(example, subject.answers.loc[example.index]),
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_PICKLE,
        pip_requirements=["scikit-learn", "pandas", "numpy"],
    )


PEERS = (bentoml, fastapi_sklearn, fastapi_onnx, mlflow_serve)
