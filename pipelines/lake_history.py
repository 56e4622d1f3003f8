"""A table's history: which version was current at a time, and which files its versions name."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from urllib.parse import unquote

from deltalake import DeltaTable

from pipelines.errors import NotFoundError
from pipelines.lake_layout import file_uris
from pipelines.storage import Store, Stored

LOG = "_delta_log/"
READERS = 16
"""Requests to an object store at a time; each waits for an answer most of its time."""


def version_at(table: DeltaTable, moment: datetime) -> int:
    """The version that was current then.

    By the times that the commits themselves say: those of the log's files, which Delta's own readers go by, are whole
    seconds in an object store, and new wherever a lake is copied.

    Raises:
        NotFoundError: the history that is kept begins later.
    """
    history = table.history()
    then = [commit["version"] for commit in history if commit["timestamp"] <= moment.timestamp() * 1000]
    if then:
        return int(max(then))
    first = min(commit["timestamp"] for commit in history) / 1000
    raise NotFoundError(
        f"The history of {table.table_uri} begins at {datetime.fromtimestamp(first, moment.tzinfo):%Y-%m-%d %H:%M %Z}; "
        "ask for a later time."
    )


def read_all(store: Store, names: Iterable[str]) -> list[tuple[str, bytes]]:
    """Many small objects by name, several at a time."""
    wanted = list(names)
    with ThreadPoolExecutor(READERS) as pool:
        return list(zip(wanted, pool.map(store.read, wanted), strict=True))


def named_files(path: Store, table: DeltaTable, stored: Iterable[Stored]) -> set[str]:
    """Names, below the table, of every data file that a version still in its log has or had.

    Args:
        stored: what lies below the table.
    """
    commits = [item.name for item in stored if item.name.startswith(LOG) and item.name.endswith(".json")]
    # What is older than the log's first commit is in the present version, or was removed by one of the commits
    found = {uri.removeprefix(f"{path.url}/") for uri in file_uris(table)}
    for _, body in read_all(path, commits):
        for line in body.splitlines():
            action = json.loads(line)
            found |= {unquote(action[kind]["path"]) for kind in ("add", "remove") if kind in action}
    return found
