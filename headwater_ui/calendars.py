"""The days on which a use case expects data, without loading an exchange's calendar into Airflow's API server.

The library of exchanges brings pandas along, a second and 100 MB that every page would pay for. So a process of its own
asks it, once for each year that it can answer; until it has, weekdays stand in.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import date

from pipelines.calendar import expected_days
from pipelines.spec import Calendar, UseCase
from pipelines.window import Window

logger = logging.getLogger(__name__)
WAIT_S, AGAIN_S = 60, 300
"""How long an answer is waited for, and when it is asked again for one that did not come."""
_QUESTION = """
import json, sys
from pipelines.calendar import expected_days
from pipelines.registry import get_use_case
from pipelines.window import Window
slug, start, end = sys.argv[1:]
json.dump([str(day) for day in expected_days(get_use_case(slug).calendar, Window.parse(start, end))], sys.stdout)
"""
_known: dict[tuple[str, int], set[date]] = {}
_asked: dict[tuple[str, int], float] = {}
"""When each was asked for last, by the monotonic clock."""
_lock = threading.Lock()


def expected(use_case: UseCase, window: Window) -> set[date]:
    """The days of a window for which data is expected; of an exchange, its weekdays until it has been asked."""
    if use_case.calendar.kind != "exchange":
        return set(expected_days(use_case.calendar, window))
    found: set[date] = set()
    for year in range(window.start.year, window.end.year + 1):
        days = _known.get((use_case.slug, year))
        found |= days if days is not None else _weekdays(use_case, year)
    return {day for day in found if day in window}


def is_known(use_case: UseCase, window: Window) -> bool:
    """Whether holidays are told from days that are missing; of an exchange, once it has been asked."""
    years = range(window.start.year, window.end.year + 1)
    return use_case.calendar.kind != "exchange" or all((use_case.slug, year) in _known for year in years)


def _weekdays(use_case: UseCase, year: int) -> set[date]:
    key = (use_case.slug, year)
    with _lock:
        now = time.monotonic()
        is_due = now >= _asked.get(key, -AGAIN_S) + AGAIN_S
        if is_due:
            _asked[key] = now
    if is_due:
        threading.Thread(target=_ask, args=key, name=f"calendar {use_case.slug} {year}", daemon=True).start()
    calendar: Calendar = replace(use_case.calendar, kind="weekdays", exchange=None)
    return set(expected_days(calendar, Window(date(year, 1, 1), date(year, 12, 31))))


def _ask(slug: str, year: int) -> None:
    command = [sys.executable, "-c", _QUESTION, slug, f"{year}-01-01", f"{year}-12-31"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=True)
        _known[slug, year] = {date.fromisoformat(day) for day in json.loads(done.stdout)}
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        logger.warning("The calendar of %s in %d is that of weekdays for now: %s", slug, year, error)
