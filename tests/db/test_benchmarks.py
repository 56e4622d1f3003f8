"""The benchmarks run, say what they skipped, and their page shows the figures that are kept. Nothing is timed here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.child import spent
from benchmarks.page import DATA_PART, PAGE, SERVING_PART, figures, keep, marks, write
from benchmarks.race import Contender, race
from benchmarks.tables import Table, Target, number

PROJECT = Path(__file__).resolve().parents[2]
HOLD = 150 * 1024 * 1024


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_benchmark_runs_on_a_few_rows_and_keeps_its_figures(tmp_path: Path) -> None:
    kept = tmp_path / "bench.json"
    command = [sys.executable, "-m", "benchmarks", "--rows", "2000", "--json", str(kept)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=1400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(kept.read_text())[DATA_PART].values()
    tables = {table["name"]: table for one in found for table in one["tables"]}
    names = {name.split()[0] for name in tables}
    assert names == {"check", "load", "read", "files", "day", "memory", "market", "months", "drift", "pages"}
    assert len(tables) == 16
    for table in tables.values():
        assert table["title"] in done.stdout
        for line in table["lines"]:
            label, *rest = line.values()
            values = [value for value in rest if isinstance(value, int | float)]
            assert all(value >= 0 for value in values), line  # a tick of the processor is 10 ms
            assert values or "not installed, skipped" in label, line
    load = [line["contender"] for line in tables["load readings 2000"]["lines"]]
    assert len(load) == 11
    assert sum("not installed" in name for name in load) == (0 if find_spec("dlt") else 2)
    assert all(target["wanted"] for table in tables.values() for target in table["targets"])


def test_what_is_measured_is_the_best_of_all_rounds_and_who_is_missing_is_left_out() -> None:
    sleeps, done = iter([0.5, 0.001, 0.4]), list[str]()
    timings = race(
        [
            Contender("sleeper", 10, lambda: time.sleep(next(sleeps)), lambda: done.append("before")),
            Contender("missing", 10, lambda: 1 / 0, needs="no_such_module"),
            Contender("once", 10, lambda: done.append("once"), verify=lambda: done.append("after"), rounds=1),
        ],
        rounds=3,
    )
    assert set(timings) == {"sleeper", "once"}
    assert 0.001 <= timings["sleeper"].seconds < 0.4
    assert timings["sleeper"].rate == 10 / timings["sleeper"].seconds
    assert done == ["before", "once", "after", "before", "before"]


def hold_memory() -> None:
    """Work for a child."""
    assert len(b"x" * HOLD) == HOLD


def test_the_peak_of_a_child_is_its_own_and_not_its_parents() -> None:
    ours = bytearray(b"x" * 3 * HOLD)
    taken = spent("tests.db.test_benchmarks:hold_memory")
    assert taken.peak_mb - taken.before_mb > 0.9 * HOLD / 1024**2
    assert taken.before_mb < 2.5 * HOLD / 1024**2
    assert len(ours) == 3 * HOLD


def test_a_table_says_which_targets_were_met_and_comes_back_from_json() -> None:
    targets = [Target("rate", 0.7, 0.6), Target("memory", 600, 512, at_least=False)]
    table = Table(
        "load", "Load", [{"who": "us", "rows/s": 1234567.8}, {"who": "them", "rows/s": None}], targets, "Best."
    )
    text = table.markdown()
    assert "| who  |    rows/s |\n| ---- | --------: |\n| us   | 1,234,568 |\n| them |           |" in text
    assert "* rate: 0.700, wanted at least 0.600: met" in text
    assert "* memory: 600, wanted at most 512: **missed**" in text
    assert Table.of(json.loads(json.dumps(table.as_dict()))).markdown() == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (7, "7"), (0.01234, "0.0123"), (12.345, "12.3"), (123.4, "123"), (1e6, "1,000,000")]
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_the_page_has_a_place_for_each_part() -> None:
    assert all(mark in PAGE.read_text() for part in (DATA_PART, SERVING_PART) for mark in marks(part))


@pytest.mark.parametrize("part", json.loads(PAGE.with_suffix(".json").read_text()))
def test_the_page_shows_the_figures_that_are_kept(tmp_path: Path, part: str) -> None:
    kept, (begin, end) = PAGE.with_suffix(".json"), marks(part)
    shown = PAGE.read_text().split(begin)[1].split(end)[0].strip()
    assert shown == figures(json.loads(kept.read_text())[part])
    page = tmp_path / "page.md"
    others = "".join("\n".join(marks(one)) for one in (DATA_PART, SERVING_PART) if one != part)
    page.write_text(f"Before\n{begin}\nold\n{end}\nAfter\n{others}")
    write(page, kept)
    assert page.read_text().startswith(f"Before\n{begin}\n\n{shown}\n\n{end}\nAfter\n")


def test_the_figures_of_one_benchmark_leave_those_of_the_others_alone(tmp_path: Path) -> None:
    kept, table = tmp_path / "bench.json", Table("a", "A", [{"who": "us", "rows/s": 1.0}])
    for at, name, part in (
        ("first", "load", DATA_PART),
        ("first", "read", DATA_PART),
        ("then", "service", SERVING_PART),
        ("now", "load", DATA_PART),
    ):
        keep(kept, {"at": at}, [table], name, part)
    found = json.loads(kept.read_text())
    assert {name: one["machine"]["at"] for name, one in found[DATA_PART].items()} == {"load": "now", "read": "first"}
    assert {name: one["machine"]["at"] for name, one in found[SERVING_PART].items()} == {"service": "then"}


def test_what_was_measured_in_one_run_stands_below_one_sentence_on_the_machine() -> None:
    (kept,) = (one for part, one in json.loads(PAGE.with_suffix(".json").read_text()).items() if part == DATA_PART)
    runs = {json.dumps(one["machine"]) for one in kept.values()}
    assert 1 < len(runs) < len(kept)
    assert figures(kept).count("Measured on ") == len(runs)
