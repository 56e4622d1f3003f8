"""What is listed: shares and a few bonds, all of them invented."""

from __future__ import annotations

import csv
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

_TABLE = Path(__file__).with_name("instruments.csv")
_EQUITIES = ("EQ", "BE", "SM")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instrument:
    """An instrument as it was on the first session: INR, shares.

    `issuer` and `security` are the middle of its ISIN. `volatility` is the standard deviation of its own part of a
    day's log return, `traded` the share of the sessions on which anybody trades it.
    """

    symbol: str
    name: str
    issuer: str
    security: str
    series: str
    price: float
    volatility: float
    volume: float
    face_value: float
    lot: int
    traded: float

    @property
    def is_equity(self) -> bool:
        """Whether it is a share."""
        return self.series in _EQUITIES

    def isin(self, serial: int) -> str:
        """Its ISIN; the serial grows with every change of the face value."""
        country = "INE" if self.issuer[-1].isalpha() else "IN"
        return with_check_digit(f"{country}{self.issuer}{self.security}{serial:02d}".ljust(11, "0"))

    def stream(self, purpose: str) -> np.random.Generator:
        """Its random stream for one purpose, drawn from the first session on: a longer run appends days only."""
        return np.random.default_rng(
            [zlib.crc32(f"{self.symbol} {self.series}".encode()), zlib.crc32(purpose.encode())]
        )


@lru_cache(maxsize=1)
def instruments() -> tuple[Instrument, ...]:
    """All instruments, in the order of the exchange's files: by symbol and series."""
    with _TABLE.open() as file:
        found = [_instrument(row) for row in csv.DictReader(file)]
    return tuple(sorted(found, key=lambda item: (item.symbol, item.series)))


def _instrument(row: dict[str, str]) -> Instrument:
    return Instrument(
        symbol=row["symbol"],
        name=row["name"],
        issuer=row["issuer"],
        security=row["security"],
        series=row["series"],
        price=float(row["price_inr"]),
        volatility=float(row["volatility_pct"]) / 100.0,
        volume=float(row["volume_shares"]),
        face_value=float(row["face_value_inr"]),
        lot=int(row["lot_shares"]),
        traded=float(row["traded_pct"]) / 100.0,
    )


@lru_cache(maxsize=512)
def with_check_digit(body: str) -> str:
    """An ISIN from its first eleven characters (ISO 6166): letters as two digits, then Luhn's sum from the right."""
    digits = "".join(str(int(character, 36)) for character in body)
    doubled = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits)))
    return f"{body}{-doubled % 10}"
