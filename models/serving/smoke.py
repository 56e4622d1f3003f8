"""Starts a Bento as a real server and holds its answers against the model's."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from models.serving import recorded
from models.serving.bento import bento_folder, bento_home, child_environment, end, last_lines
from models.serving.card import BENTO_FOLDER, ServingCard, read_card
from pipelines.columns import Kind, from_frame, from_rows
from pipelines.errors import ModelError
from pipelines.settings import Settings, get_settings

Decisions = Callable[[pd.DataFrame], pd.Series]
ASKED_AT_ONCE = 200
"""Rows of one request: few enough for the size that one may have, with hundreds of features."""
_STARTUP_FAILED = b"Application startup failed"

logger = logging.getLogger(__name__)


def smoke_test(
    tag: str,
    rows: pd.DataFrame,
    expected: pd.DataFrame,
    tolerance: float,
    decisions: Decisions,
    *,
    settings: Settings | None = None,
    boot_timeout_s: float = 120.0,
) -> None:
    """Asks the served Bento for these rows of features and compares with the model's own outputs.

    Args:
        tag: of the Bento.
        rows: the card's feature columns.
        expected: its outputs and texts, as many rows.
        tolerance: how far a number may be from the expected one, relative to it.
        decisions: what the use case does on a forecast; it must be the same for each row.
        settings: where the Bento is.
        boot_timeout_s: how long the server may take to start.

    Raises:
        ModelError: the server does not start, refuses the rows or answers differently.
    """
    settings = settings or get_settings()
    card = read_card(bento_folder(settings, tag) / "src" / BENTO_FOLDER)
    log = bento_home(settings) / "logs" / f"smoke-{tag.replace(':', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with _server(tag, settings, log, boot_timeout_s) as url:
        predictions: list[dict[str, Any]] = []
        for start in range(0, len(rows), ASKED_AT_ONCE):
            predictions += _post(card, url, json_rows(card, rows.iloc[start : start + ASKED_AT_ONCE]), log)
    _compare(card, predictions, expected, tolerance, decisions)
    logger.info("%s answers %d rows as its model does.", tag, len(rows))


def _compare(
    card: ServingCard, predictions: list[dict[str, Any]], expected: pd.DataFrame, tolerance: float, decisions: Decisions
) -> None:
    if len(predictions) != len(expected):
        raise ModelError(f"The server answered {len(predictions)} of {len(expected)} rows.")
    kinds: dict[str, Kind] = {name: "string" if name in card.texts else "float" for name in card.answer_names}
    found = from_rows(predictions, kinds)
    wanted = from_frame(expected, card.answer_names)
    # JSON has no infinity, so that the service answers null
    wanted |= {name: np.where(np.isfinite(wanted[name]), wanted[name], np.nan) for name in card.outputs}
    differs = recorded.difference(card, found, wanted, tolerance)
    if differs := differs or recorded.other_decisions(decisions, found, wanted):
        raise ModelError(f"The server does not answer as its model does: {differs}.")


def json_rows(card: ServingCard, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of features for the request's `rows`: NaN becomes null, whole floats of int features become ints."""
    casts = {"float": float, "int": int, "bool": bool, "string": str}
    columns = {
        item.name: [None if pd.isna(value) else casts[item.type](value) for value in frame[item.name]]
        for item in card.features
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


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
