"""Whether the service is ready, over all of its workers: each writes what it serves into a small file once a second."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.serving.files import replace
from models.serving.hosted import Served, Status

SILENT_S = 10.0
"""Of a worker that has written nothing for so long, nothing is known."""
OUT_OF_STEP_S = 30.0
"""How long a worker may serve another version than it should, or be gone, before the service is not ready."""


def folder(home: Path) -> Path:
    """Where the workers of a service write, in the home folder."""
    return home / "serving" / "workers"


class WorkerFile:
    """What one worker serves, as the others read it."""

    def __init__(self, home: Path, worker: int) -> None:
        self._path = folder(home) / f"{worker}.json"
        self._since: dict[str, float] = {}

    def write(self, served: Served) -> None:
        """Writes it anew; `since` is when a use case went out of step, if it is."""
        now, body = time.time(), told(served)
        for use_case, status in body["use_cases"].items():
            if status["served"] == status["wanted"]:
                self._since.pop(use_case, None)
            else:
                status["since"] = self._since.setdefault(use_case, now)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace(self._path, json.dumps({"at": now, **body}).encode())

    def remove(self) -> None:
        """Takes it away, since the worker ends."""
        self._path.unlink(missing_ok=True)


def mark_gone(home: Path, worker: int) -> None:
    """Says of a worker that it has died, and since when; it says itself when it is back. Of one that dies again before
    that, the first time counts."""
    path, gone = folder(home) / f"{worker}.json", {"at": time.time(), "gone": True}
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):  # it died before it had said anything
        known = {"looked": False, "warehouse": None, "log": None, "use_cases": {}}
    if not known.get("gone"):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, json.dumps(known | gone).encode())


def told(served: Served) -> dict[str, Any]:
    """What a worker says of itself."""
    return {
        "looked": served.looked,
        "warehouse": served.warehouse,
        "log": asdict(served.log) if served.log is not None else None,
        "use_cases": {name: asdict(status) for name, status in sorted(served.statuses.items())},
    }


def read(home: Path) -> dict[str, dict[str, Any]]:
    """What each worker has written last, by its number."""
    found = {}
    for path in sorted(folder(home).glob("*.json")):
        try:
            found[path.stem] = json.loads(path.read_bytes())
        except (OSError, ValueError):  # it ends just now
            continue
    return found


def of_one(served: Served) -> tuple[bool, dict[str, Any]]:
    """Of a service that is one process with one model, as a Bento by itself is."""
    return judge({"1": {"at": time.time(), **told(served)}}, 1)


def judge(workers: Mapping[str, Mapping[str, Any]], expected: int, began: float = 0.0) -> tuple[bool, dict[str, Any]]:
    """Whether the service is ready, and what there is to say of it.

    Not ready it is where a champion is served by no worker, or where a worker has for long served another version than
    it should, or been silent, or has not read the promotions since it began. A use case without a champion is no
    reason: its own route says so.

    Args:
        workers: what each has written.
        expected: how many there should be.
        began: when the worker that judges began; those that start with it have `OUT_OF_STEP_S` to do so.
    """
    now = time.time()
    heard = {name: one for name, one in workers.items() if now - one["at"] < SILENT_S and not one.get("gone")}
    names = sorted({name for one in heard.values() for name in one["use_cases"]})
    use_cases = {name: _use_case(name, heard) for name in names}
    problems = [sentence for found in use_cases.values() if (sentence := found.pop("problem"))]
    silent = max((one["at"] for name, one in workers.items() if name not in heard), default=began)
    if len(heard) < expected and now - silent > OUT_OF_STEP_S:
        problems.append(f"{expected - len(heard)} of {expected} workers have not been heard of.")
    warehouse = _first(one["warehouse"] for one in heard.values())
    if blind := [name for name, one in heard.items() if not one["looked"]]:
        why = f": {warehouse}" if warehouse else ""
        problems.append(f"The promotions have not been read yet in worker {', '.join(blind)}{why}.")
    return not problems, {
        "ready": not problems,
        "error": " ".join(problems) or None,
        "workers": expected,
        "heard": len(heard),
        "warehouse": warehouse,
        "log": _log([one["log"] for one in heard.values() if one["log"]]),
        "use_cases": use_cases,
    }


def _use_case(name: str, workers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    # A worker that has not seen the first promotion yet serves none
    found = {worker: one["use_cases"].get(name, asdict(Status())) for worker, one in workers.items()}
    wanted = max((status["wanted"] for status in found.values() if status["wanted"] is not None), default=None)
    newest = [status["wanted"] for status in found.values() if status["wanted"] is not None]
    served = {worker: status["served"] for worker, status in found.items()}
    error = _first(status["error"] for status in found.values())
    late = [
        worker for worker, status in found.items() if time.time() - status.get("since", time.time()) > OUT_OF_STEP_S
    ]
    problem = None
    if newest and all(version is None for version in served.values()):
        problem = f"{name} is not served{f': {error}' if error else ''}."
    elif late:
        problem = f"{name} is out of step in worker {', '.join(late)}{f': {error}' if error else ''}."
    versions = set(served.values())
    return {
        "served": versions.pop() if len(versions) == 1 else None,
        "wanted": newest[-1] if len(set(newest)) == 1 else wanted,
        "error": error,
        "workers": served,
        "challenger": _first(status["challenger"] for status in found.values()),
        "challenger_error": _first(status["challenger_error"] for status in found.values()),
        "problem": problem,
    }


def _log(backlogs: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """How the request log stands in all workers together; None where nothing is logged."""
    if not backlogs:
        return None
    return {
        "rows": sum(one["rows"] for one in backlogs),
        "oldest_s": max(one["oldest_s"] for one in backlogs),
        "failing": _first(one["failing"] for one in backlogs),
    }


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)
