"""The notices of corporate actions, as the exchange's website tells them: free text, by ex-date.

A notice appears two weeks before its ex-date, under the symbol that the company has when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from math import prod
from typing import Any

from sandbox.nse.calendar import FIRST_SESSION, session_from
from sandbox.nse.events import actions_of, face_value_on, is_open, isin_on, series_on, symbol_on
from sandbox.nse.instruments import Instrument, instruments

ANNOUNCED_DAYS = 14
_INDEX_OF_SERIES = {"EQ": "equities", "BE": "equities", "SM": "sme"}
_DIVIDENDS = (
    "Dividend - {amount} Per Share",
    "Annual General Meeting/Dividend - {amount} Per Share",
    " Final Dividend - {amount} Per Share",
    "Annual General Meeting/ Dividend  - {amount} Per Share",
    "Interim Dividend - {amount} Per Share",
    "Interim Dividend - {amount} Per Share/Special Dividend - {amount} Per Share",
    "Annual General Meeting",
    "Buy Back",
)


def notices(index: str, start: date, end: date, today: date) -> list[dict[str, Any]]:
    """The notices of an index (`equities`, `sme` or `debt`) with ex-dates from start to end, known on `today`."""
    last = min(end, today + timedelta(days=ANNOUNCED_DAYS))
    found = [
        (day, _notice(item, day, subject, today))
        for item in instruments()
        if _INDEX_OF_SERIES.get(item.series, "debt") == index
        for day, subject in _subjects(item, max(start, FIRST_SESSION), last)
        if start <= day <= last and is_open(item, day)
    ]
    return [notice for _, notice in sorted(found, key=lambda pair: (pair[0], pair[1]["symbol"]), reverse=True)]


def _subjects(item: Instrument, start: date, end: date) -> Iterator[tuple[date, str]]:
    """Ex-dates and subjects of an instrument: what moves its price, and what comes every year."""
    for action in actions_of(item):
        yield action.day, action.subject
    for year in range(start.year, end.year + 1):
        offset = int(item.stream(f"meeting {year}").integers(0, 355))
        day = session_from(date(year, 1, 1) + timedelta(days=offset))
        yield day, _yearly(item, day, offset)


def _yearly(item: Instrument, day: date, offset: int) -> str:
    if not item.is_equity:
        return "Interest Payment"
    # About one in a hundred of the price that it was listed at, in halves of a rupee
    price = item.price / prod(action.shares for action in actions_of(item) if action.day <= day)
    amount = max(round(price * (0.5 + offset / 355.0) / 50.0), 1) / 2.0
    figure = f"{amount:.0f}" if amount == round(amount) else f"{amount:.2f}"
    return _DIVIDENDS[offset % len(_DIVIDENDS)].format(amount=f"{'Rs' if amount > 1.0 else 'Re'} {figure}")


def _notice(item: Instrument, day: date, subject: str, today: date) -> dict[str, Any]:
    told = day.strftime("%d-%b-%Y")
    return {
        "symbol": symbol_on(item, today),
        "series": series_on(item, day),
        "ind": "-",
        "faceVal": f"{face_value_on(item, day):g}",
        "subject": subject,
        "exDate": told,
        "recDate": told,
        "bcStartDate": "-",
        "bcEndDate": "-",
        "ndStartDate": "-",
        "comp": item.name,
        "isin": isin_on(item, day),
        "ndEndDate": "-",
        "caBroadcastDate": None,
    }
