"""Layouts of the commission's files by era: which field holds which column. Declared, never guessed.

A file is of a layout if it has all of its fields and no other; capitals do not matter. One that is of none is refused
with what it has and lacks, for a field that nobody knows may mean that another one has changed its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.errors import ContractError

Codes = Mapping[str, str]

_LATER = ("congestion_usd", "airport_usd", "cbd_usd")
"""Fields that came in later years without any other change; files of before do without them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The field of each column; `optional` columns may have none in the file, `unread` fields may stand beside them."""

    name: str
    fields: Mapping[str, str]
    optional: tuple[str, ...] = ()
    unread: tuple[str, ...] = ("__index_level_0__",)

    def lacks(self, header: Sequence[str]) -> list[str]:
        """Fields that the layout asks for and a header has not."""
        present = {name.casefold() for name in header}
        needed = {field for column, field in self.fields.items() if column not in self.optional}
        return sorted(field for field in needed if field.casefold() not in present)

    def strangers(self, header: Sequence[str]) -> list[str]:
        """Fields of a header that the layout does not know."""
        known = {field.casefold() for field in (*self.fields.values(), *self.unread)}
        return sorted(name for name in header if name.casefold() not in known)


def _fields(text: str) -> dict[str, str]:
    """Columns and fields from `column=field` words; a word alone is both."""
    return {word.partition("=")[0]: word.rpartition("=")[2] for word in text.split()}


_COORDINATES = "pickup_longitude pickup_latitude dropoff_longitude dropoff_latitude"
_AMOUNTS = "fare_usd=fare_amount mta_tax_usd=mta_tax tip_usd=tip_amount tolls_usd=tolls_amount total_usd=total_amount"
_MODERN = f"{_AMOUNTS} extra_usd=extra improvement_usd=improvement_surcharge congestion_usd=congestion_surcharge"
_FEES = "airport_usd=airport_fee cbd_usd=cbd_congestion_fee"
_TRIP = "passengers=passenger_count distance_miles=trip_distance payment=payment_type"
_TPEP = "vendor=VendorID pickup_at=tpep_pickup_datetime dropoff_at=tpep_dropoff_datetime rate=RatecodeID"
_PLAIN = "pickup_at=pickup_datetime dropoff_at=dropoff_datetime"
_STORED = "is_stored=store_and_fwd_flag"

LAYOUTS = (
    Layout(
        "2009",
        _fields(
            "vendor=vendor_name pickup_at=Trip_Pickup_DateTime dropoff_at=Trip_Dropoff_DateTime "
            "passengers=Passenger_Count distance_miles=Trip_Distance pickup_longitude=Start_Lon "
            "pickup_latitude=Start_Lat rate=Rate_Code is_stored=store_and_forward dropoff_longitude=End_Lon "
            "dropoff_latitude=End_Lat payment=Payment_Type fare_usd=Fare_Amt extra_usd=surcharge mta_tax_usd=mta_tax "
            "tip_usd=Tip_Amt tolls_usd=Tolls_Amt total_usd=Total_Amt"
        ),
    ),
    Layout(
        "2010",
        _fields(
            f"vendor=vendor_id {_PLAIN} {_TRIP} {_COORDINATES} rate=rate_code {_STORED} {_AMOUNTS} extra_usd=surcharge"
        ),
    ),
    Layout(
        "2015",
        _fields(f"{_TPEP} {_TRIP} {_COORDINATES} {_STORED} {_MODERN} {_FEES}"),
        optional=_LATER,
    ),
    Layout(
        "2016-07",
        _fields(f"{_TPEP} {_TRIP} pickup_zone=PULocationID dropoff_zone=DOLocationID {_STORED} {_MODERN} {_FEES}"),
        optional=_LATER,
    ),
    Layout(
        "zones, plain names",
        _fields(
            f"vendor=vendor_id {_PLAIN} {_TRIP} pickup_zone=pickup_location_id dropoff_zone=dropoff_location_id "
            f"rate=rate_code_id {_STORED} {_MODERN} {_FEES}"
        ),
        optional=_LATER,
    ),
    Layout(
        "all years in one",
        _fields(
            f"vendor=vendor_name {_PLAIN} {_TRIP} {_COORDINATES} pickup_zone=pickup_location_id "
            f"dropoff_zone=dropoff_location_id rate=rate_code is_stored=store_and_fwd {_MODERN} {_FEES}"
        ),
        optional=_LATER,
    ),
)

VENDORS: Codes = {"1": "CMT", "2": "VTS", "3": "DDS", "6": "Myle", "7": "Helix"}
RATES: Codes = {
    "1": "standard", "standard rate": "standard", "2": "jfk", "jfk": "jfk", "3": "newark", "newark": "newark",
    "4": "nassau or westchester", "nassau or westchester": "nassau or westchester", "5": "negotiated",
    "negotiated": "negotiated", "negotiated fare": "negotiated", "6": "group", "group ride": "group", "99": "unknown",
}  # fmt: skip
PAYMENTS: Codes = {
    "0": "flex", "1": "credit", "credit": "credit", "credit card": "credit", "crd": "credit", "cre": "credit",
    "2": "cash", "cash": "cash", "csh": "cash", "cas": "cash", "3": "no charge", "no charge": "no charge",
    "noc": "no charge", "no": "no charge", "4": "dispute", "dispute": "dispute", "dis": "dispute", "5": "unknown",
    "unknown": "unknown", "unk": "unknown", "na": "unknown", "6": "voided", "voided trip": "voided",
}  # fmt: skip
STORED: Codes = {"y": "true", "yes": "true", "1": "true", "n": "false", "no": "false", "0": "false"}
CODES: dict[str, Codes] = {"vendor": VENDORS, "rate": RATES, "payment": PAYMENTS, "is_stored": STORED}
"""What the codes and texts of a column mean, in small letters; one that is not among them is kept as it is."""


def layout_of(header: Sequence[str], where: str) -> Layout:
    """The layout that a header is of.

    Raises:
        ContractError: it is of none; names the nearest one, and what is lacking from it or unknown to it.
    """
    header = [name.strip() for name in header]
    for layout in LAYOUTS:
        if not layout.lacks(header) and not layout.strangers(header):
            return layout
    nearest = min(LAYOUTS, key=lambda layout: len(layout.lacks(header)) + len(layout.strangers(header)))
    lacks, strangers = nearest.lacks(header), nearest.strangers(header)
    said = [f"it lacks {', '.join(lacks)}"] if lacks else []
    said += [f"it has the unknown {', '.join(strangers)}"] if strangers else []
    raise ContractError(
        f"{where} is of no layout that is known. Nearest is {nearest.name!r}: {' and '.join(said)}. Its fields are "
        f"{', '.join(header)}. Declare it in layouts.py; nothing was loaded."
    )
