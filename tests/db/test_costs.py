"""What tasks cost, noted by the listener as Airflow calls it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from pipelines import costs, database
from pipelines.costs import RUNNING, Task, Usage


def _task(**other: Any) -> Task:
    return Task(**{"task_instance_id": str(uuid4()), "dag_id": "flood__ingest", "run_id": "r", "task_id": "load",
                   "map_index": -1, "try_number": 1} | other)  # fmt: skip


def _rows(url: str) -> list[dict[str, Any]]:
    return database.query(url, "select * from ops.task_costs order by started_at")


def test_a_try_that_is_killed_leaves_a_row_without_figures(url: str) -> None:
    costs.begin(url, _task())
    (row,) = _rows(url)
    assert (row["state"], row["cpu_seconds"], row["ended_at"]) == (RUNNING, None, None)


def test_a_try_that_ends_has_its_figures_and_two_turns_of_one_add_up(url: str) -> None:
    task, now = _task(), datetime.now(UTC)
    for _ in range(2):  # a task that waits for a person runs, and runs again when it is answered
        costs.begin(url, task)
        costs.end(url, task, "success", now, 2.0, Usage(1.5, 100.0, 10, None))
    (row,) = _rows(url)
    assert (row["state"], row["seconds"], row["cpu_seconds"], row["peak_memory_mb"]) == ("success", 4.0, 3.0, 100.0)
    assert (row["read_bytes"], row["written_bytes"]) == (20, None)


def test_what_a_process_and_its_children_use_is_counted() -> None:
    before = costs.usage()
    child = os.fork()
    if not child:
        held = bytearray(200_000_000)
        while os.times().user < 0.3:
            held[::4096] = b"1" * len(held[::4096])
        os._exit(0)
    os.waitpid(child, 0)
    after = costs.usage()
    assert after.cpu_seconds - before.cpu_seconds > 0.2
    assert after.peak_memory_mb > 190


def test_the_listener_notes_a_task_and_lets_it_run_on_where_nothing_can_be_noted(
    airflow: None, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import headwater_costs as listener

    from pipelines import settings

    found = SimpleNamespace(
        id=uuid4(), dag_id="flood__score", run_id="r", task_id="score", map_index=None, try_number=2
    )
    monkeypatch.setattr(
        settings, "get_settings", lambda: SimpleNamespace(database_url=url, require_database=lambda: url)
    )
    listener.on_task_instance_running(None, found)
    listener.on_task_instance_failed(None, found, ValueError("no"))
    (row,) = _rows(url)
    assert (row["task_id"], row["map_index"], row["try_number"], row["state"]) == ("score", -1, 2, "failed")
    assert row["cpu_seconds"] > 0
    listener.on_task_instance_success(None, found)  # somebody marks it: not this process' task any more
    assert _rows(url)[0]["state"] == "failed"
    monkeypatch.setattr(settings, "get_settings", lambda: 1 / 0)
    listener.on_task_instance_running(None, found)
