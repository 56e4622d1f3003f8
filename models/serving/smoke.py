"""Starts a Bento as a real server and holds its answers against the model's."""

from __future__ import annotations

import logging
import math
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from models.serving.bento import bento_folder, bento_home, child_environment, end, last_lines
from models.serving.card import BENTO_FOLDER, ServingCard, read_card
from models.serving.limits import MAX_ITEMS
from models.serving.recorded import same_text
from pipelines.errors import ModelError
from pipelines.settings import Settings, get_settings

_STARTUP_FAILED = b"Application startup failed"

logger = logging.getLogger(__name__)


def smoke_test(
    tag: str,
    rows: pd.DataFrame,
    expected: pd.DataFrame,
    tolerance: float = 1e-9,
    *,
    settings: Settings | None = None,
    boot_timeout_s: float = 120.0,
) -> None:
    """Asks the served Bento for these rows of features and compares with the model's own outputs.

    `rows` has the card's feature columns, `expected` its outputs, both the same number of rows. `tolerance`
    is relative to the expected value where that is larger than 1, absolute below.

    Raises:
        ModelError: the server does not start, refuses the rows or answers differently.
    """
    settings = settings or get_settings()
    card = read_card(bento_folder(settings, tag) / "src" / BENTO_FOLDER)
    log = bento_home(settings) / "logs" / f"smoke-{tag.replace(':', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with _server(tag, settings, log, boot_timeout_s) as url:
        predictions: list[dict[str, Any]] = []
        for start in range(0, len(rows), MAX_ITEMS):
            predictions += _post(card, url, json_rows(card, rows.iloc[start : start + MAX_ITEMS]), log)
    _compare(card, predictions, expected, tolerance)
    logger.info("%s answers %d rows as its model does.", tag, len(rows))


def _compare(card: ServingCard, predictions: list[dict[str, Any]], expected: pd.DataFrame, tolerance: float) -> None:
    if len(predictions) != len(expected):
        raise ModelError(f"The server answered {len(predictions)} of {len(expected)} rows.")
    for name in card.outputs:
        for index, (got, want) in enumerate(zip(predictions, map(float, expected[name]), strict=True)):
            if not _is_close(got[name], want, tolerance):
                raise ModelError(f"The server's {name} differs in row {index}: {got[name]}, the model says {want}.")
    for name in card.texts:
        texts = [None if pd.isna(value) else str(value) for value in expected[name]]
        for index, (got, text) in enumerate(zip(predictions, texts, strict=True)):
            if not same_text(got[name], text):
                raise ModelError(f"The server's {name} differs in row {index}: {got[name]}, the model says {text}.")


def json_rows(card: ServingCard, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of features for the request's `rows`: NaN becomes null, whole floats of int features become ints."""
    casts = {"float": float, "int": int, "bool": bool, "string": str}
    columns = {
        item.name: [None if pd.isna(value) else casts[item.type](value) for value in frame[item.name]]
        for item in card.features
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _is_close(got: float | None, want: float, tolerance: float) -> bool:
    if got is None or not math.isfinite(want):
        return got is None and not math.isfinite(want)
    return math.isclose(got, want, rel_tol=tolerance, abs_tol=tolerance)


def _post(card: ServingCard, url: str, rows: list[dict[str, Any]], log: Path) -> list[dict[str, Any]]:
    try:
        answer = httpx.post(f"{url}/{card.use_case}/predict", json={"rows": rows}, timeout=60)
    except httpx.HTTPError as error:
        raise ModelError(f"The server gave no answer ({error}); the end of {log}:\n{last_lines(log)}") from error
    if answer.status_code != 200:
        raise ModelError(f"The server refused the rows: {answer.text}; the end of {log}:\n{last_lines(log)}")
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


@contextmanager
def _server(tag: str, settings: Settings, log: Path, timeout_s: float) -> Iterator[str]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=bento_folder(settings, tag),
            env=child_environment(settings),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_ready(process, url, log, timeout_s)
        yield url
    finally:
        end(process)


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    # BentoML starts a worker that cannot load its model again and again, without an end.
    while time.monotonic() < until and process.poll() is None and _STARTUP_FAILED not in log.read_bytes():
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise ModelError(f"The Bento did not become ready; the end of {log}:\n{last_lines(log)}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
