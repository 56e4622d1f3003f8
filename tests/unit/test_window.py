"""Windows of days."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from pipelines.errors import SettingsError
from pipelines.window import Window, parse_day


def test_window_without_an_end_is_one_day() -> None:
    window = Window.parse("2026-03-01")
    assert (window.days, str(window)) == (1, "2026-03-01")


def test_window_holds_both_of_its_ends() -> None:
    window = Window.parse("2024-02-28", date(2024, 3, 1))
    assert (window.days, str(window)) == (3, "2024-02-28..2024-03-01")


def test_widened_window_grows_by_days_and_leaves_the_old_one() -> None:
    window = Window.parse("2026-01-01")
    assert str(window.widened(before=1, after=2)) == "2025-12-31..2026-01-03"
    assert window.days == 1


def test_window_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"ends on 2026-01-01, before it starts on 2026-01-02; swap"):
        Window.parse("2026-01-02", "2026-01-01")


@pytest.mark.parametrize("text", ["", "today", "01/03/2026", "2026-3-1", "2026-02-30", "20260301", "2026-W09-7"])
def test_day_of_another_form_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match=r"is not a day; write it as YYYY-MM-DD, such as"):
        parse_day(text)


def test_instant_counts_as_its_day() -> None:
    assert Window.parse(datetime(2026, 3, 1, 13, 30), "2026-03-02").days == 2
    assert type(parse_day(datetime(2026, 3, 1))) is date
