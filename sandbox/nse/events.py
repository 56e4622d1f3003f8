"""What happens to instruments: splits and bonuses, a new symbol, another series, a listing, a suspension.

The prices of market.py and the exchange's notices of actions.py both derive from these tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sandbox.nse.instruments import Instrument


@dataclass(frozen=True, slots=True)
class Action:
    """A corporate action on its ex-date: shares after for one before, and the share of the price that stays beside.

    `face_value` (INR) is that after the action where it changes; then the ISIN changes too. `left` is below 1 where
    a part of the company leaves it, for which no factor is ever told.
    """

    symbol: str
    day: date
    subject: str
    shares: float = 1.0
    face_value: float | None = None
    left: float = 1.0


ACTIONS = (
    Action(
        "NILGAITYRE",
        date(2022, 9, 15),
        "Face Value Split (Sub-Division) - From Rs 10/- Per Share To Rs 2/- Per Share",
        shares=5.0,
        face_value=2.0,
    ),
    Action("SARASCABLE", date(2023, 3, 10), "Bonus 1:2", shares=1.5),
    Action(
        "CHINARLAB",
        date(2023, 7, 21),
        "Face Value Split (Sub-Division) - From Rs 2/- Per Share To Re 1/- Per Share",
        shares=2.0,
        face_value=1.0,
    ),
    Action("GAJRAJAUTO", date(2023, 10, 17), " Bonus 1:1", shares=2.0),
    Action("JAMUNISEED", date(2023, 12, 8), "Rights 1:5 @ Premium Rs 140/-"),
    Action("TRISHULDEF", date(2024, 6, 14), "Bonus 2:1", shares=3.0),
    Action(
        "BHADRACEM",
        date(2024, 9, 20),
        "Bonus 1:1/ Face Value Split (Sub-Division) - From Rs 10/- Per Share To Rs 5/- Per Share",
        shares=4.0,
        face_value=5.0,
    ),
    Action("GULMOHARRT", date(2025, 3, 21), "Demerger", left=0.62),
    Action("BHASKARIT", date(2025, 5, 23), "Face Value Split From Rs.5/- To Re.1/-", shares=5.0, face_value=1.0),
    Action("TAMRAPIPE", date(2025, 8, 8), "Scheme Of Arrangement - Bonus Ncrps 4:1"),
    Action("SAGARIKAPT", date(2025, 11, 14), "Bonus 1:4/Interim Dividend - Rs 2.50 Per Share", shares=1.25),
    Action(
        "PAVANTURB",
        date(2026, 3, 6),
        "Consolidation Of Equity Shares From Rs 2 Per Share To Rs 10 Per Share",
        shares=0.2,
        face_value=10.0,
    ),
    Action(
        "VAJRALLOY",
        date(2026, 8, 21),
        "Face Value Split (Sub-Division) - From Rs 10/- Per Share To Rs 5/- Per Share",
        shares=2.0,
        face_value=5.0,
    ),
)

RENAMED = {"ORMAZDLAB": (date(2024, 4, 8), "ORMAZDLIFE")}
"""The first day and the new symbol; the ISIN stays."""

MOVED = {"NEELAMGEMS": (date(2023, 6, 5), date(2023, 12, 4), "BE")}
"""First day in another series, first day back."""

LISTED = {"UDAYASOLAR": date(2025, 6, 12)}
SUSPENDED = {"RAJHANSFER": (date(2024, 8, 1), date(2025, 1, 16))}
"""First day without trading, first day with it again."""


def symbol_on(instrument: Instrument, day: date) -> str:
    """Its symbol on a day."""
    since, symbol = RENAMED.get(instrument.symbol, (date.max, ""))
    return symbol if day >= since else instrument.symbol


def series_on(instrument: Instrument, day: date) -> str:
    """Its series on a day."""
    start, end, series = MOVED.get(instrument.symbol, (date.max, date.max, ""))
    return series if start <= day < end else instrument.series


def isin_on(instrument: Instrument, day: date) -> str:
    """Its ISIN on a day."""
    return instrument.isin(1 + sum(action.face_value is not None for action in _past(instrument, day)))


def face_value_on(instrument: Instrument, day: date) -> float:
    """Its face value on a day, in INR."""
    changed = [action.face_value for action in _past(instrument, day) if action.face_value is not None]
    return changed[-1] if changed else instrument.face_value


def actions_of(instrument: Instrument) -> list[Action]:
    """Its actions, in the order of their ex-dates."""
    return [action for action in ACTIONS if instrument.is_equity and action.symbol == instrument.symbol]


def is_open(instrument: Instrument, day: date) -> bool:
    """Whether it may be traded on a day: listed, and not suspended."""
    start, end = SUSPENDED.get(instrument.symbol, (date.max, date.max))
    return day >= LISTED.get(instrument.symbol, date.min) and not start <= day < end


def _past(instrument: Instrument, day: date) -> list[Action]:
    return [action for action in actions_of(instrument) if action.day <= day]
