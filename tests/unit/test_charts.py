"""The charts of the pages: round ticks, lines with gaps, and text that cannot become markup."""

from __future__ import annotations

from datetime import date, timedelta
from xml.etree import ElementTree

import pytest

from headwater_ui import formats
from headwater_ui.charts import calendar, series, shapes
from headwater_ui.charts.scales import Scale, day_ticks, extent, ticks

FIRST = date(2026, 1, 1)


def _days(values: list[float]) -> dict[date, float]:
    return {FIRST + timedelta(days=at): value for at, value in enumerate(values)}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (-3, 18, [0, 5, 10, 15]), (0.001, 0.0042, [0.001, 0.002, 0.003, 0.004])],
)
def test_ticks_are_round_and_within(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[], [0.0], [5.0, 5.0], [-1.0, 1.0]])
def test_an_extent_is_never_empty(values: list[float]) -> None:
    low, high = extent(values)
    assert low < high
    assert Scale(low, high, 0, 100)(low) == 0


@pytest.mark.parametrize("days", [1, 9, 40, 120, 400, 1100])
def test_an_axis_of_days_is_marked_where_it_can_be_read(days: int) -> None:
    end = FIRST + timedelta(days=days)
    found = day_ticks(FIRST, end)
    assert 1 <= len(found) <= 9
    assert all(FIRST <= day <= end for day, _ in found)


def test_a_chart_is_well_formed_and_escapes_what_it_is_told() -> None:
    said = '<b title="x">&'
    band = series.Band(_days([0, 1, 2]), _days([2, 3, 4]), said)
    lines = [series.Line(_days([1, 2, 3]), said), series.Line(_days([1, 2, 3]), said, "two", "points"),
             series.Line(_days([1, 0, 3]), said, kind="bars")]  # fmt: skip
    drawn = series.chart(said, FIRST, FIRST + timedelta(days=2), lines, band=band, level=(1.0, said), unit=said)
    assert "<b " not in drawn
    ElementTree.fromstring(f"<all>{drawn}</all>")  # raises where it is not well formed


def test_a_line_is_interrupted_where_days_are_missing_and_not_over_a_weekend() -> None:
    values = _days([1, 2, 3]) | {FIRST + timedelta(days=5): 4.0, FIRST + timedelta(days=30): 5.0}
    drawn = series.chart("x", FIRST, FIRST + timedelta(days=30), [series.Line(values, "x")])
    path = next(one for one in ElementTree.fromstring(f"<all>{drawn}</all>").iter("path"))
    assert path.attrib["d"].count("M") == 2


def test_every_value_is_in_one_bin_of_a_histogram() -> None:
    drawn = shapes.histogram("x", "USD", [0.0, 1.0, 1.0, 2.0, 30.0])
    titles = [one.text or "" for one in ElementTree.fromstring(f"<all>{drawn}</all>").iter("title")]
    counts = [int(title.rpartition(": ")[2]) for title in titles if ": " in title]
    assert sum(counts) == 2 * 5  # in both widths


def test_a_calibration_draws_only_bins_that_say_something() -> None:
    pairs = [(0.25, at % 4 == 0) for at in range(100)] + [(0.9, True)]
    drawn = shapes.calibration("x", pairs)
    circles = list(ElementTree.fromstring(f"<all>{drawn}</all>").iter("circle"))
    assert len(circles) == 2
    assert "said 25%, came 25%, of 100" in drawn


def test_a_calendar_has_a_square_a_day_with_its_state() -> None:
    end = FIRST + timedelta(days=364)
    drawn = calendar.calendar("year", FIRST, end, {FIRST: ("failed", "failed, <why>")})
    days = list(ElementTree.fromstring(drawn).iter("rect"))
    assert len(days) == 365
    assert days[0].attrib["class"] == "day failed"
    assert "failed, &lt;why&gt;" in drawn


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (formats.number(None), "–"),
        (formats.number(float("nan")), "–"),
        (formats.number(1234.5), "1,234"),
        (formats.number(0.012345), "0.0123"),
        (formats.share(0.0055), "0.55%"),
        (formats.share(0.25), "25%"),
        (formats.share(0.995), "99.5%"),
        (formats.share(0.99999), "99.99%"),
        (formats.share(1.0), "100%"),
        (formats.size(1_500_000), "1.5 MB"),
        (formats.span(90), "1.5 min"),
        (formats.money(12.345, "USD"), "12.35 USD"),
        (formats.money(0.00123, "USD"), "0.0012 USD"),
    ],
)
def test_numbers_are_written_as_people_write_them(said: str, expected: str) -> None:
    assert said == expected
