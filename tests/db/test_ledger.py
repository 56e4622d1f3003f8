"""The ledger: one row for every step that ran, however it ended."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from db.helpers import DAY, FLOOD, window_of

from pipelines import ledger
from pipelines.errors import ContractError, DatabaseError


def newest(url: str) -> dict[str, Any]:
    return ledger.history(url, FLOOD, 1)[0]


def test_a_step_that_ends_well_leaves_its_counts_and_its_cost(url: str) -> None:
    with ledger.entry(url, FLOOD, "discharge", "check", window_of(DAY, 3)) as report:
        report.counts = {"received": 3, "accepted": 2, "quarantined": 1, "content_hash": "abc"}
        report.detail = {"why": "é"}
    row = newest(url)
    assert (row["dataset"], row["step"], row["state"], row["attempt"]) == ("discharge", "check", "loaded", 1)
    assert (row["window_start"], row["window_end"]) == (DAY, window_of(DAY, 3).end)
    assert (row["received"], row["accepted"], row["quarantined"], row["inserted"]) == (3, 2, 1, None)
    assert (row["content_hash"], row["detail"]) == ("abc", {"why": "é"})
    assert row["seconds"] >= 0
    assert row["peak_memory_mb"] > 10
    assert row["code_version"]


def test_attempts_count_up_by_step_data_set_and_window(url: str) -> None:
    for dataset, step, count in (("discharge", "check", 1),) * 3 + (("weather", "check", 1), ("discharge", "check", 2)):
        with ledger.entry(url, FLOOD, dataset, step, window_of(DAY, count)):
            pass
    assert [row["attempt"] for row in reversed(ledger.history(url, FLOOD))] == [1, 2, 3, 1, 1]


def test_a_step_that_fails_leaves_the_sentence_and_the_error_goes_on(url: str) -> None:
    def step() -> None:
        with ledger.entry(url, FLOOD, "discharge", "check", window_of(DAY)) as report:
            report.counts = {"bytes": 7}
            raise ContractError("The answer has no field 'value'.")

    with pytest.raises(ContractError, match="no field"):
        step()
    row = newest(url)
    assert (row["state"], row["detail"]) == ("failed", {"error": "The answer has no field 'value'."})
    assert row["bytes"] == 7


def test_a_step_that_fails_of_a_fault_in_the_code_is_in_the_ledger_too(url: str) -> None:
    with pytest.raises(KeyError), ledger.entry(url, FLOOD, "discharge", "check", window_of(DAY)):
        raise KeyError("value")
    row = newest(url)
    assert (row["state"], row["detail"]) == ("failed", {"error": "KeyError: 'value'"})


def test_when_postgres_goes_away_the_steps_own_error_is_the_one_that_is_seen(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DatabaseError("Postgres cannot be reached.")

    def step() -> None:
        with ledger.entry(url, FLOOD, "discharge", "load", window_of(DAY)):
            monkeypatch.setattr(ledger.database, "query", refuse)
            raise DatabaseError("The load broke.")

    with pytest.raises(DatabaseError, match="The load broke"):
        step()


@pytest.fixture
def _forget_code_version() -> Iterator[None]:
    ledger.code_version.cache_clear()
    yield
    ledger.code_version.cache_clear()


@pytest.mark.usefixtures("_forget_code_version")
def test_code_version_is_unknown_where_there_is_no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert ledger.code_version() == "unknown"
