"""Which file the archive has on which day: late ones, ones put right later, stale ones.

What is out of order hangs on a session's place in the calendar alone, so that it can be foretold and never changes:

* each 200th session has no file until three days after it (`LATE`);
* each 15th session has its delivery file a day late (`LATE_DELIVERY`);
* each 25th session has a first version, in which one instrument has another close and volume; it is put right two
  days after (`CORRECTED`);
* under the name of every third holiday (by day number, weekdays only) lies a copy of the delivery file of the session
  before, as it is: the dates in its rows tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Literal

from sandbox.nse import files
from sandbox.nse.calendar import FIRST_SESSION, HOLIDAYS, is_session, position, session_before
from sandbox.nse.market import Market, Quote

Layout = Literal["legacy", "udiff", "delivery"]

LATE, LATE_DELIVERY, CORRECTED = (200, 150), (15, 4), (25, 7)
"""Every how many sessions, counted from which place."""
LATE_DAYS, LATE_DELIVERY_DAYS, CORRECTED_DAYS = 3, 1, 2
_KEPT: dict[Layout, tuple[date, date]] = {
    "legacy": (FIRST_SESSION, date(2024, 7, 5)),
    "udiff": (date(2024, 1, 1), date.max),
    "delivery": (FIRST_SESSION, date.max),
}
"""First and last session of each layout; the two bhavcopies ran side by side for half a year."""
_PATHS: dict[Layout, str] = {
    "legacy": "/content/historical/EQUITIES/%Y/{month}/cm%d{month}%Ybhav.csv.zip",
    "udiff": "/content/cm/BhavCopy_NSE_CM_0_0_0_%Y%m%d_F_0000.csv.zip",
    "delivery": "/products/content/sec_bhavdata_full_%d%m%Y.csv",
}
_WRITERS = {"legacy": files.legacy, "udiff": files.udiff, "delivery": files.delivery}


def path_of(layout: Layout, day: date) -> str:
    """Where the archive keeps a day's file."""
    return day.strftime(_PATHS[layout].format(month=day.strftime("%b").upper()))


def body_of(market: Market, layout: Layout, day: date, today: date) -> bytes | None:
    """A day's file as it is served on `today`, None where there is none."""
    if is_stale(layout, day) and day <= today:
        return body_of(market, layout, session_before(day), today)
    if not _is_kept(layout, day) or published_on(layout, day) > today:
        return None
    quotes: Sequence[Quote] = market.quotes(day, position(day))
    if is_corrected(day) and today < day + timedelta(days=CORRECTED_DAYS):
        quotes = _first_version(quotes, position(day))
    text = _WRITERS[layout](day, quotes)
    if layout == "delivery":
        return text.encode()
    return files.zipped(path_of(layout, day).rpartition("/")[2].removesuffix(".zip"), text, day)


def published_on(layout: Layout, session: date) -> date:
    """The day on which a session's file appears."""
    if _falls_on(session, LATE):
        return session + timedelta(days=LATE_DAYS)
    late = layout == "delivery" and _falls_on(session, LATE_DELIVERY)
    return session + timedelta(days=LATE_DELIVERY_DAYS if late else 0)


def is_corrected(session: date) -> bool:
    """Whether a session's file has a first version that is put right."""
    return _falls_on(session, CORRECTED)


def is_stale(layout: Layout, day: date) -> bool:
    """Whether a copy of the session before lies under the name of a day without trading."""
    return layout == "delivery" and day in HOLIDAYS and not is_session(day) and day.toordinal() % 3 == 0


def _is_kept(layout: Layout, day: date) -> bool:
    first, last = _KEPT[layout]
    return is_session(day) and first <= day <= last


def _falls_on(session: date, rhythm: tuple[int, int]) -> bool:
    every, place = rhythm
    return position(session) % every == place


def _first_version(quotes: Sequence[Quote], place: int) -> list[Quote]:
    """One instrument closes at its high or low in it, with half of its volume and of its trades."""
    chosen = place % len(quotes)
    right = quotes[chosen]
    wrong = replace(
        right,
        close=right.low if right.close == right.high else right.high,
        volume=max(right.volume // 2, 1),
        trades=max(right.trades // 2, 1),
        delivered=max(right.delivered // 2, 1),
    )
    return [*quotes[:chosen], wrong, *quotes[chosen + 1 :]]
