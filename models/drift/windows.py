"""Which windows a window is held against: as long, sharing no day, of its season where there are seasons.

Of a use case with seasons the windows of a *slot* are the same days of different years. Beside the slot of the window
in question stand the slots of the months around it, each compared within itself: they tell how far a month lies from
the same month of other years, and there are enough of them to promise one false alarm in a hundred. Without seasons the
windows lie one after the other back in time, and each is held against those that its features do not remember; of
features that come by the month, each is a month.

What changes slowly, as customers do who mostly are the same ones a month later, is always farthest from the middle at
its end. There (`against` before) each window is held against the few that lie as long before it as the last training
rows lie before the window in question: how much changes in that time is what is compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.spec import UseCase
from pipelines.window import Window

SLOTS_AROUND = 4
"""Slots before, and after, that of the window: with 30 days each, nine months of the year."""
BEFORE = 3
"""Windows before it that one is held against, where they change slowly."""
NEAR = 6
"""Neighbours on each side, at most, that no window is held against where there are no seasons, and features remember
them; a quarter of few windows."""
PART = 0.5
"""A window with less than this share of the rows that windows have in the middle is one of which days are missing."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows, the one in question first.

    Attributes:
        member: of each row, its window, or -1.
        weights: a row a window: the weight of each other one in what it is held against.
    """

    member: NDArray[np.intp]
    weights: NDArray[np.float64]

    @property
    def count(self) -> int:
        """How many there are, the one in question among them."""
        return len(self.weights)

    @property
    def held(self) -> NDArray[np.bool_]:
        """Which windows have others to be held against, the first one always: where it has none, no other counts."""
        found = np.asarray(self.weights.any(axis=1))
        found &= found[0]
        found[0] = True
        return found

    @property
    def rows(self) -> int:
        """Rows of a reference window, in the middle."""
        sizes = np.bincount(self.member[self.member > 0], minlength=self.count)[1:]
        return int(np.median(sizes)) if len(sizes) else 0


def span(use_case: UseCase, end: date) -> Window:
    """The window that ends on a day: `drift_days`, or a month where features come by the month and it ends with one."""
    if _is_monthly(use_case) and pd.Timestamp(end).is_month_end:
        return Window(end.replace(day=1), end)
    return Window(end, end).widened(before=use_case.drift_days - 1)


def plan(use_case: UseCase, window: Window, reference: pd.Series, current: pd.Series, least: int) -> Windows:
    """The windows of these rows; the first `warm_up_days` of the reference are in none.

    Args:
        use_case: whose `is_seasonal`, `features_on`, `memory_days` and `watch` count.
        window: the one in question.
        reference: days of the rows that it is held against; those of `window` and later are left out.
        current: days of its own rows.
        least: rows that a reference window has at least.
    """
    days = _counted(reference)
    ends, starts, slots = _spans(use_case, window, int(days.min()) if len(days) else _count(window.start))
    order = np.argsort(ends)
    place = np.searchsorted(ends[order], days)
    inside = place < len(ends)
    found = np.full(len(days), -1)
    found[inside] = order[place[inside]]
    found[inside] = np.where(days[inside] >= starts[found[inside]], found[inside], -1)
    warm_up = use_case.watch.warm_up_days
    memory = use_case.memory_days if warm_up is None else warm_up
    if len(days):  # the first days' features lack the past that they are sums and means of
        found[days < days.min() + memory] = -1
    sizes = np.bincount(found[found >= 0], minlength=len(ends))
    usual = np.median(sizes[sizes > 0]) if sizes.any() else 0
    kept = np.flatnonzero(sizes >= max(least, PART * usual))
    number = np.full(len(ends) + 1, -1)  # the last one is for rows of no window
    number[kept] = 1 + np.arange(len(kept))
    member = np.concatenate([number[found], np.zeros(len(current), int)])
    if use_case.is_seasonal:
        return Windows(member, _of_one_slot(np.concatenate([[0], slots[kept]])))
    places = np.concatenate([[0], 1 + kept])
    if use_case.watch.against == "before":
        return Windows(member, _before(places))
    return Windows(member, _apart(places, -(-memory // ((window.end - window.start).days + 1))))


def _of_one_slot(slots: NDArray[np.intp]) -> NDArray[np.float64]:
    """Each window against all others of its slot alike."""
    alike = (slots[:, None] == slots[None, :]) & ~np.eye(len(slots), dtype=bool)
    return np.asarray(alike / np.maximum(alike.sum(axis=1, keepdims=True), 1))


def _apart(places: NDArray[np.intp], memory: int) -> NDArray[np.float64]:
    """Each window against all others alike, but for its neighbours, where features remember them.

    A mean of two hundred days is nearly that of the window before. The window in question has such neighbours on one
    side only, and would lie farther off than others for no other reason.

    Args:
        places: of each window, how many lie between it and the one in question, and 1.
        memory: windows that features look back to.
    """
    near = min(memory, NEAR, (len(places) - 1) // 4)
    alike = np.abs(places[:, None] - places[None, :]) > near
    return np.asarray(alike / np.maximum(alike.sum(axis=1, keepdims=True), 1))


def _before(places: NDArray[np.intp]) -> NDArray[np.float64]:
    """Each window against the `BEFORE` that lie as far before it as the newest reference window before the first.

    Args:
        places: of each window, how many lie between it and the one in question, and 1.
    """
    gap = int(places[1]) if len(places) > 1 else 1
    back = places[None, :] - places[:, None] - gap
    near = (back >= 0) & (back < BEFORE)
    near &= near.sum(axis=1, keepdims=True) == BEFORE
    return np.asarray(near / BEFORE)


def _spans(
    use_case: UseCase, window: Window, first: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Ends, starts and slots of the windows before that in question, back to a first day, as counts of days."""
    length, end = (window.end - window.start).days + 1, pd.Timestamp(window.end)
    ends: list[tuple[int, int, int]] = []
    if use_case.is_seasonal:
        # Nine slots of a long window would meet those of the year before
        around = min(SLOTS_AROUND, (365 // length - 1) // 2)
        for back in range(1, 1 + (_count(window.end) - first) // 365 + 1):
            middle = _count((end - pd.DateOffset(years=back)).date())
            ends += [(middle + slot * length, length, slot) for slot in range(-around, around + 1)]
    else:
        last, back = _count(window.start) - 1, 0
        while last >= first:
            back += 1
            month = end - pd.DateOffset(months=back) + pd.DateOffset(months=-1)
            before = _count(_month_end(month, end)) if _is_monthly(use_case) else last - length
            ends.append((last, last - before, 0))
            last = before
    spans = np.array(ends, dtype=np.intp).reshape(-1, 3)
    spans = spans[spans[:, 0] < _count(window.start)]
    return spans[:, 0], spans[:, 0] - spans[:, 1] + 1, spans[:, 2]


def _is_monthly(use_case: UseCase) -> bool:
    return use_case.period == "month" or use_case.features_on == "month_end"


def _month_end(month: pd.Timestamp, end: pd.Timestamp) -> date:
    """That month's same day as the window's end; its last day where the window ends with a month."""
    found: date = (month + pd.offsets.MonthEnd(0) if end.is_month_end else month).date()
    return found


def _count(day: date) -> int:
    return int(np.datetime64(day, "D").astype(int))


def _counted(days: pd.Series) -> NDArray[np.intp]:
    return np.asarray(pd.to_datetime(days).to_numpy().astype("datetime64[D]").astype(int), dtype=np.intp)
