"""What is compared for drift, against what, and what the verdict promises."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from models.drift import evidently, page, quality, reports, rows, statistics
from models.drift.verdict import Part, decide, numbers
from models.drift.windows import Windows, plan
from pipelines import database
from pipelines.judging import Watch
from pipelines.registry import get_use_case, use_cases
from pipelines.window import Window

CASE = replace(get_use_case("flood"), entity="name", labels=(), notes=(), memory_days=0)
MODEL = Pipeline([("same", FunctionTransformer()), ("forecast", DummyRegressor())])
WATCH = Watch(rate=0.05)
ROWS = np.arange(40 * 60)
"""Days of which each has one row."""


def windows_of(count: int, size: int) -> Windows:
    """So many windows of one slot, each of so many rows."""
    weights = (1 - np.eye(count)) / (count - 1)
    return Windows(np.repeat(np.arange(count), size), weights)


def months(names: range, level: float = 0.0, spread: float = 0.0) -> pd.DataFrame:
    """Two years of months of each name: a lasting trait of every second one, and a level of their own that varies."""
    told = [(name, day) for name in names for day in pd.date_range("2024-01-31", periods=24, freq="ME")]
    frame = pd.DataFrame(told, columns=["name", "day"])
    noise = np.random.default_rng(len(told)).normal(size=len(told))
    return frame.assign(has_trait=frame["name"] % 2, level=spread * frame["name"] + level + noise)


# Inputs


def test_each_entity_is_compared_with_itself_however_far_apart_they_lie() -> None:
    frame = months(range(20), spread=100.0)
    apart = rows.inputs_of(CASE, MODEL, frame)
    assert apart["level"].std() < 2
    together = rows.inputs_of(replace(CASE, drift_by_entity=False), MODEL, frame)
    assert together["level"].std() > 100


def test_an_entity_that_is_hardly_seen_is_compared_with_all() -> None:
    frame = pd.concat([months(range(20)), months(range(40, 41), level=3.0).head(5)], ignore_index=True)
    apart = rows.inputs_of(CASE, MODEL, frame)
    assert apart["level"].tail(5).mean() > 2


def test_what_is_constant_for_an_entity_does_not_vary_by_rounding() -> None:
    frame = months(range(20)).assign(size=lambda told: told["name"] / 3 + 0.1)
    assert not rows.inputs_of(CASE, MODEL, frame)["size"].any()


def test_truth_values_that_are_missing_on_one_side_are_numbers_on_both() -> None:
    known, now = pd.DataFrame({"is_wet": [1.0, np.nan]}), pd.DataFrame({"is_wet": [True, False]})
    assert rows.together(known, now)["is_wet"].dtype == "float64"


# Windows


def _days(first: str, last: str) -> pd.Series:
    return pd.Series(pd.date_range(first, last))


def test_a_window_is_held_against_the_same_days_of_other_years_and_shares_no_day_with_them() -> None:
    window, days = Window(date(2024, 3, 1), date(2024, 3, 30)), _days("2010-01-01", "2024-02-01")
    found = plan(CASE, window, days, days.iloc[:0], 20)
    sizes = np.bincount(found.member[found.member > 0])[1:]
    assert found.count - 1 == len(sizes) > 100
    assert (sizes.max(), np.median(sizes)) == (30, 30)
    against = np.flatnonzero(found.weights[0])
    spans = [days[found.member == one] for one in against]
    assert len(spans) == 14
    assert {(span.min().month, span.min().day) for span in spans} <= {(2, 29), (3, 1)}


def test_the_first_days_whose_features_lack_their_past_are_in_no_window() -> None:
    window, days = Window(date(2024, 3, 1), date(2024, 3, 30)), _days("2020-01-01", "2024-02-01")
    found = plan(replace(CASE, memory_days=90), window, days, days.iloc[:0], 20)
    assert days[found.member > 0].min() >= pd.Timestamp("2020-03-31")
    assert days[plan(CASE, window, days, days.iloc[:0], 20).member > 0].min() < pd.Timestamp("2020-03-31")


@pytest.mark.parametrize("against", ["others", "before"])
def test_without_seasons_windows_follow_each_other_and_none_is_of_the_window_or_later(against: str) -> None:
    case = replace(CASE, is_seasonal=False, memory_days=150, watch=Watch(against=against))  # type: ignore[arg-type]
    window, days = Window(date(2024, 3, 1), date(2024, 3, 30)), _days("2021-06-01", "2024-06-01")
    found = plan(case, window, days, days.iloc[:0], 20)
    inside = days[found.member > 0]
    assert inside.max() == pd.Timestamp("2024-02-29")
    assert set(np.bincount(found.member[found.member > 0])[1:]) == {30}
    held = np.flatnonzero(found.held)
    assert len(held) == (found.count if against == "others" else found.count - 3)
    for window_at in held:
        seen = np.flatnonzero(found.weights[window_at])
        if against == "before":
            assert seen.max() == window_at + 3
        else:  # the features remember five windows
            assert seen.tolist() == [at for at in range(found.count) if abs(at - window_at) > 5]


def test_of_few_windows_without_seasons_few_are_too_near_to_be_held_against() -> None:
    window = Window(date(2024, 3, 1), date(2024, 3, 30))
    for first, memory, near in (("2023-11-02", 300, 1), ("2023-12-02", 300, 0), ("2023-11-02", 0, 0)):
        case = replace(CASE, is_seasonal=False, memory_days=memory, watch=Watch(warm_up_days=None))
        begin = str(date.fromisoformat(first) - timedelta(days=memory))
        found = plan(case, window, _days(begin, "2024-02-29"), pd.Series(dtype="datetime64[ns]"), 20)
        assert np.flatnonzero(found.weights[0]).tolist() == list(range(1 + near, found.count))


def test_months_are_months_where_features_come_by_the_month() -> None:
    case = replace(CASE, is_seasonal=False, features_on="month_end", drift_days=31)
    window, days = (
        Window(date(2024, 3, 1), date(2024, 3, 31)),
        pd.Series(pd.date_range("2022-01-31", "2024-03-31", freq="ME")),
    )
    found = plan(case, window, days.repeat(40), days.iloc[:0], 30)
    assert found.count - 1 == 26
    assert set(np.bincount(found.member[found.member > 0])[1:]) == {40}


def test_a_window_that_none_is_like_is_held_against_nothing() -> None:
    days = _days("2023-04-15", "2023-06-30")
    found = plan(CASE, Window(date(2024, 3, 1), date(2024, 3, 30)), days, days.iloc[:0], 20)
    assert not found.weights[0].any()
    assert found.held.tolist() == [True] + [False] * (found.count - 1)


# Verdict


def _family(random: np.random.Generator, count: int = 40, size: int = 60) -> np.ndarray:
    """Rows of windows whose columns hang together, and each of which has a level of its own."""
    level = random.normal(0, 1.0, (count, 1, 1))
    common = level + random.normal(0, 1.0, (count, size, 1))
    return (common + random.normal(0, 0.3, (count, size, 6))).reshape(-1, 6)


def test_calm_windows_are_called_drift_as_rarely_as_promised_though_their_rows_hang_together() -> None:
    random, windows = np.random.default_rng(1), windows_of(40, 60)
    names = [f"column_{number}" for number in range(6)]
    said = [decide([numbers("feature", names, _family(random), windows, ROWS)], WATCH) for _ in range(120)]
    assert all(one.rate == WATCH.rate for one in said)
    # 6 of 120 are promised; so many as 13 would come by chance once in two hundred times
    assert 0 < sum(one.verdict == "drift" for one in said) <= 13


def test_half_a_standard_deviation_in_one_column_is_caught_where_seasons_move_all_by_more() -> None:
    random, windows = np.random.default_rng(2), windows_of(40, 60)
    names = [f"column_{number}" for number in range(6)]
    values = _family(random)
    values[:60, 3] += 0.5 * values[:, 3].std()
    found = decide([numbers("feature", names, values, windows, ROWS)], WATCH)
    assert (found.verdict, found.drifted[0]) == ("drift", "column_3")
    assert found.columns[0]["detail"]["said"] == "given the others"
    alone = decide([numbers("feature", names, values, windows)], WATCH)
    assert alone.verdict == "calm"


def test_of_seven_windows_calm_ones_are_called_drift_as_rarely_as_told_and_a_shift_is_caught() -> None:
    random, windows, days = np.random.default_rng(4), windows_of(7, 60), np.repeat(np.arange(7), 60)
    names, rounds = [f"column_{number}" for number in range(12)], 120
    calm, caught = 0, 0
    for _ in range(rounds):
        values = np.repeat(random.normal(0, 0.2, (7, 12)), 60, axis=0) + random.normal(size=(420, 12))
        found = decide([numbers("feature", names, values, windows, days)], WATCH)
        assert found.rate == pytest.approx(1 / 7)
        calm += found.verdict == "drift"
        values[:60, 5] += 1.5
        caught += decide([numbers("feature", names, values, windows, days)], WATCH).drifted[:1] == ["column_5"]
    # 17 are promised; so many as 28 would come by chance once in two hundred times
    assert 0 < calm <= 28
    assert caught >= 0.75 * rounds


def test_too_short_a_history_says_which_rate_it_can_promise_and_hardly_any_says_nothing() -> None:
    part = Part("feature", ["a"], np.arange(12.0, 0.0, -1.0)[:, None])
    found = decide([part], Watch(rate=0.01))
    assert found.rate == pytest.approx(1 / 12)
    assert "cannot promise" in found.said
    few = decide([Part("feature", ["a"], np.ones((4, 1)))], Watch())
    assert (few.verdict, few.p_value) == ("calm", None)
    assert "Nothing can be said" in few.said


def test_columns_that_never_vary_or_are_empty_do_not_shout() -> None:
    windows = windows_of(20, 40)
    values = np.random.default_rng(3).normal(size=(800, 3))
    values[:, 1], values[:, 2] = 4.0, np.nan
    found = statistics.sketch(values, windows.member, windows.count)
    assert found.shape == (20, 3, len(statistics.LEVELS))
    apart = statistics.distances(found, windows.weights, np.ones(3))
    assert np.isfinite(apart).all()
    assert apart[:, 1:].max() < 1e-9


# Quality


def test_what_is_missing_new_or_out_of_range_in_one_window_is_its_share_there() -> None:
    windows = windows_of(10, 40)
    frame = pd.DataFrame({"number": np.tile(np.arange(40.0), 10), "kind": np.tile(["a", "b"], 200)})
    frame.loc[:9, "number"] = np.nan
    frame.loc[10:13, "number"] = 99.0
    frame.loc[:3, "kind"] = "c"
    missing, strange = quality.shares(frame, windows)
    assert missing[0].tolist() == [0.25, 0.0]
    assert strange[0].tolist() == [0.1, 0.1]
    assert not strange[1:].any()
    apart = quality.distances(missing, strange, windows.weights)
    assert apart[0].tolist() == pytest.approx([0.35, 0.1])


# Page


def test_without_reference_rows_evidently_is_not_asked_and_the_page_says_so() -> None:
    now = pd.DataFrame({"a": [1.0, 2.0]})
    assert "nothing is drawn" in evidently.page(now, now.iloc[:0])


def test_the_page_is_small_asks_nobody_and_turns_into_the_whole_one(tmp_path: Path) -> None:
    whole = f"<html><body class='x'><div id='root'></div><script>{'draw(1, 2, 3);' * 200_000}</script></body></html>"
    verdict = page.verdict_html("Flood: drift", "Calm: <nothing> drifted", [])
    size = page.write(tmp_path / "made" / "drift.html", "Flood & more", verdict, whole)
    text = (tmp_path / "made" / "drift.html").read_text()
    assert size == len(text) < page.MOST_BYTES / 10
    assert "Calm: &lt;nothing&gt; drifted" in text
    assert "http://" not in text
    assert "https://" not in text
    assert page.unpacked(text).replace(verdict, "") == whole


@pytest.mark.parametrize("slug", sorted(use_cases()))
def test_a_use_case_asks_for_no_more_windows_than_are_looked_at(slug: str) -> None:
    watch = get_use_case(slug).watch
    assert 1 <= watch.windows <= watch.of


@pytest.mark.parametrize(("slug", "least", "most"), [("equities", 20.0, 21.0), ("flood", 30, 30), ("taxi", 1, 1)])
def test_false_alarms_a_month_are_of_as_many_windows_as_are_reported(slug: str, least: float, most: float) -> None:
    assert least <= reports.windows_a_month(get_use_case(slug), date(2025, 6, 30)) <= most


@pytest.mark.parametrize(
    ("end", "known", "window"),
    [
        (date(2026, 11, 30), date(2026, 11, 30), Window(date(2026, 11, 1), date(2026, 11, 30))),
        (date(2026, 11, 30), date(2026, 10, 31), Window(date(2026, 10, 1), date(2026, 10, 31))),
        (date(2026, 12, 31), date(2026, 11, 30), Window(date(2026, 11, 1), date(2026, 11, 30))),
    ],
)
def test_a_month_whose_features_come_with_its_bills_gives_way_to_the_one_before(
    monkeypatch: pytest.MonkeyPatch, end: date, known: date, window: Window
) -> None:
    def there(url: str, statement: str, days: tuple[date, date]) -> list[dict[str, int]]:
        return [{"there": 1}] if days[0] <= known <= days[1] else []

    monkeypatch.setattr(database, "query", there)
    assert reports.newest_days(get_use_case("churn"), end, "") == window
