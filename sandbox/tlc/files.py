"""A month's trips as the file that the commission has of it: Parquet, under the names of its era.

* until June 2016: coordinates; from July 2016 on, zones;
* from 2015 an improvement surcharge, from February 2019 a congestion surcharge, which is null before that within 2019;
* from 2020 some records have no passenger count, rate or flag, and the count is a float;
* from 2021 an airport fee, from 2025 a fee of the congestion relief zone.
"""

from __future__ import annotations

import io
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sandbox.tlc.trips import Trips

ZONES_FROM, TPEP_FROM = date(2016, 7, 1), date(2015, 1, 1)
CONGESTION_FROM, GAPS_FROM, AIRPORT_FROM, CBD_FROM = (
    date(2019, 1, 1),
    date(2020, 1, 1),
    date(2021, 1, 1),
    date(2025, 1, 1),
)
GROUP_ROWS = 100_000
_GAP = 0.01
_OLD_NAMES = {
    "VendorID": "vendor_id", "tpep_pickup_datetime": "pickup_datetime", "tpep_dropoff_datetime": "dropoff_datetime",
    "RatecodeID": "rate_code", "extra": "surcharge",
}  # fmt: skip
_OLD_VENDORS = {1: "CMT", 2: "VTS"}
_OLD_PAYMENTS = {1: "CRD", 2: "CSH", 3: "NOC", 4: "DIS"}


def body_of(month: date, trips: Trips) -> bytes:
    """The file of a month."""
    buffer = io.BytesIO()
    pq.write_table(table_of(month, trips), buffer, row_group_size=GROUP_ROWS, compression="zstd")
    return buffer.getvalue()


def table_of(month: date, trips: Trips) -> pa.Table:
    """The columns of a month's file, in its era's names and types."""
    columns = _columns(month, trips)
    if month < TPEP_FROM:
        columns = {_OLD_NAMES.get(name, name): values for name, values in columns.items()}
        columns["vendor_id"] = pa.array([_OLD_VENDORS[code] for code in columns["vendor_id"].to_pylist()])
        columns["payment_type"] = pa.array([_OLD_PAYMENTS[code] for code in columns["payment_type"].to_pylist()])
    return pa.table(columns)


def _columns(month: date, trips: Trips) -> dict[str, pa.Array]:
    amounts, gaps = _amounts(month, trips), _gaps(month, len(trips))
    flag = np.where(trips["stored"], "Y", "N")
    columns: dict[str, Any] = {
        "VendorID": pa.array(trips["vendor"], pa.int64()),
        "tpep_pickup_datetime": pa.array(trips["pickup"].astype("datetime64[us]")),
        "tpep_dropoff_datetime": pa.array(trips["dropoff"].astype("datetime64[us]")),
        "passenger_count": _gapped(trips["passengers"], gaps, month),
        "trip_distance": pa.array(trips["distance"]),
        "RatecodeID": _gapped(trips["rate"], gaps, month),
        "store_and_fwd_flag": pa.array(flag, mask=gaps),
    }
    if month < ZONES_FROM:
        names = {"pickup": "begin", "dropoff": "end"}
        for name, end in names.items():
            columns |= {f"{name}_{axis}": pa.array(trips[f"{end}_{axis}"]) for axis in ("longitude", "latitude")}
    else:
        columns |= {
            "PULocationID": pa.array(trips["begin"], pa.int64()),
            "DOLocationID": pa.array(trips["end"], pa.int64()),
        }
    return columns | {"payment_type": pa.array(trips["payment"], pa.int64())} | amounts


def _gaps(month: date, rows: int) -> npt.NDArray[np.bool_]:
    """Records that came without what the driver enters."""
    random = np.random.default_rng([month.year, month.month, 13])
    return random.random(rows) < (_GAP if month >= GAPS_FROM else 0.0)


def _gapped(values: npt.NDArray[np.generic], gaps: npt.NDArray[np.bool_], month: date) -> pa.Array:
    return pa.array(
        values, pa.float64() if month >= GAPS_FROM else pa.int64(), mask=gaps, from_pandas=False, safe=False
    )


def _amounts(month: date, trips: Trips) -> dict[str, pa.Array]:
    """What makes up the total, the fields of the month's era only."""
    fare = trips["fare"].astype(np.float64)
    sign = np.sign(fare)
    parts: dict[str, npt.NDArray[np.float64]] = {
        "fare_amount": fare,
        "extra": trips["extra"].astype(np.float64) * sign,
        "mta_tax": 0.5 * sign,
        "tip_amount": trips["tip"].astype(np.float64),
        "tolls_amount": trips["tolls"].astype(np.float64) * sign,
    }
    for name, since, amount in (
        ("improvement_surcharge", TPEP_FROM, 0.3),
        ("congestion_surcharge", CONGESTION_FROM, 2.5 if month >= date(2019, 2, 1) else np.nan),
        ("Airport_fee", AIRPORT_FROM, 0.0),
        ("cbd_congestion_fee", CBD_FROM, 0.75),
    ):
        if month >= since:
            parts[name] = amount * sign
    total = np.round(np.nansum(list(parts.values()), axis=0), 2)
    return {name: pa.array(values, from_pandas=True) for name, values in parts.items()} | {
        "total_amount": pa.array(total)
    }
