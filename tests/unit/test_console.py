"""What the command line prints."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from rich.console import Console

from headwater import console


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Console:
    """A narrow terminal that keeps what is printed, in place of both streams."""
    screen = Console(record=True, width=60, file=None, quiet=False, highlight=False)
    monkeypatch.setattr(console, "out", screen)
    monkeypatch.setattr(console, "err", screen)
    return screen


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (1.23456, "1.235"), (7, "7"), ("7", "7"), (True, "True"), (0.0, "0.000")],
)
def test_a_cell_shows_three_digits_and_a_dash_for_nothing(value: Any, text: str) -> None:
    assert console.cell(value) == text


def test_a_table_puts_numbers_to_the_right_and_words_to_the_left() -> None:
    table = console.table("title", ("name", "nse"), iter([("a", 0.5), ("b", None)]))
    assert [column.justify for column in table.columns] == ["left", "right"]
    assert table.row_count == 2


def test_a_table_without_rows_has_its_columns() -> None:
    assert [column.header for column in console.table("", ("a", "b"), ()).columns] == ["a", "b"]


def test_what_looks_like_markup_is_printed_as_it_is(screen: Console) -> None:
    screen.print(console.table("", ("name",), [("[/red] and [bold]",)]))
    with console.progress("work") as report:
        report("task[/x] of [red] ended")
    printed = screen.export_text()
    assert "[/red] and [bold]" in printed
    assert "task[/x] of [red] ended" in printed
    assert "done: work" in printed


def test_json_is_one_value_that_programs_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"day": date(2026, 3, 1), "sentence": "long " * 60, "none": None}
    console.print_json(value)
    assert json.loads(capsys.readouterr().out) == {**value, "day": "2026-03-01"}


def test_quiet_progress_prints_nothing(screen: Console) -> None:
    with console.progress("work", quiet=True) as report:
        report("a step")
    assert screen.export_text() == ""
