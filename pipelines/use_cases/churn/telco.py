"""The IBM Telco table: one line a customer, of one month that has no date. Any table of the same layout will do.

It becomes what the CRM would have said: customers, their contracts, and the bill of the month. The table says which
customers left within the month that follows; they have a second version, of that month's end, which says so.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import polars as pl

from pipelines import row_files
from pipelines.contract import FAULT, ROW, require_fields
from pipelines.errors import NotFoundError
from pipelines.landing import Received
from pipelines.spec import Dataset

TELCO = "telco-csv"
MONTH, DAY, NEXT_DAY = date(2017, 9, 1), date(2017, 9, 30), date(2017, 10, 31)
"""The month that the table is given, since it names none (IBM says: of a third quarter); its end, the next one's."""
FIELDS = (
    "customerID", "gender", "SeniorCitizen", "Partner", "Dependents", "tenure", "PhoneService", "MultipleLines",
    "InternetService", "OnlineSecurity", "OnlineBackup", "DeviceProtection", "TechSupport", "StreamingTV",
    "StreamingMovies", "Contract", "PaperlessBilling", "PaymentMethod", "MonthlyCharges", "TotalCharges", "Churn",
)  # fmt: skip
YES, NO = ("yes", "1", "true"), ("no", "0", "false")
NOT_APPLICABLE = ("no phone service", "no internet service")
LONGEST_MONTHS = 1200
"""No customer is one for a hundred years."""


def find(path: Path) -> dict[str, list[Received]]:
    """The tables at a path: a file, or those of a folder; each is read for three data sets.

    Raises:
        NotFoundError: there are none.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.csv"))
    if not files:
        raise NotFoundError(f"There is no .csv file at {path}; name the table, such as Telco-Customer-Churn.csv.")
    received = [Received(file.read_bytes(), file.name, TELCO, {}) for file in files]
    return dict.fromkeys(_ROWS, received)


def parse(dataset: Dataset, tables: Sequence[tuple[bytes, str]]) -> pl.DataFrame:
    """The rows of tables in the columns of a data set, and `fault` and `row` where a line cannot be used.

    Args:
        dataset: one of those that a table is read for.
        tables: the bytes and the name of each; a customer may be in one of them only.

    Raises:
        ContractError: one is no table, or lacks a column.
    """
    return _ROWS[dataset.name](pl.concat([_lines(body, where) for body, where in tables]))


def _lines(body: bytes, where: str) -> pl.DataFrame:
    """The fields of each line of a table as text, with its `row` and `fault`."""
    # A letter that is not of UTF-8 spoils no line
    file = io.BytesIO(body.decode("utf-8-sig", errors="replace").encode())
    require_fields(row_files.columns(file, "csv", where), FIELDS, where)
    none = pl.DataFrame(schema=dict.fromkeys((*FIELDS, ROW, FAULT), pl.String))
    batches = (
        batch
        for shard in row_files.shards(file, "csv", row_files.BATCH_ROWS, where)
        for batch in row_files.read(file, "csv", shard, where)
    )
    return pl.concat([none, *(row_files.parsed(batch, _judged) for batch in batches)])


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    row = pl.struct(FIELDS).struct.json_encode().alias(ROW)
    return rows.select(*FIELDS, row).with_columns(_fault().alias(FAULT))


def _truth(name: str) -> pl.Expr:
    """Yes or no; a service that needs another one which the customer has not is neither."""
    said = pl.col(name).str.to_lowercase()
    return pl.when(said.is_in(YES)).then(True).when(said.is_in(NO)).then(False).otherwise(None)


def _tenure() -> pl.Expr:
    return pl.col("tenure").cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)


def _fault() -> pl.Expr:
    """Why a line cannot be used: what the model is to learn is not said, or a word is none that is known."""
    reasons = [
        pl.when(pl.col("Churn").is_null()).then(pl.lit("Churn is missing")),
        *(
            pl.when(
                pl.col(name).is_not_null() & ~pl.col(name).str.to_lowercase().is_in([*YES, *NO, *NOT_APPLICABLE])
            ).then(pl.lit(f"{name} is neither yes nor no"))
            for name in (*_FLAGS.values(), *_SERVICES.values(), "Churn")
        ),
        pl.when(pl.col("tenure").is_not_null() & ~_tenure().is_between(0, LONGEST_MONTHS).fill_null(False)).then(
            pl.lit("tenure is not a number of months")
        ),
    ]
    return pl.coalesce(reasons)


_FLAGS = {
    "is_senior": "SeniorCitizen",
    "has_partner": "Partner",
    "has_dependents": "Dependents",
    "is_paperless": "PaperlessBilling",
}
_SERVICES = {
    "has_phone": "PhoneService",
    "has_multiple_lines": "MultipleLines",
    "has_online_security": "OnlineSecurity",
    "has_online_backup": "OnlineBackup",
    "has_device_protection": "DeviceProtection",
    "has_tech_support": "TechSupport",
    "has_streaming_tv": "StreamingTV",
    "has_streaming_movies": "StreamingMovies",
}
_UNMARKED = {"updated_at": pl.lit(None, pl.Datetime("us", "UTC")), "row_hash": pl.lit(None, pl.String)}


def _customers(lines: pl.DataFrame) -> pl.DataFrame:
    # The first of the month so many months before: the table counts months, and knows no day
    joined = pl.lit(MONTH).dt.offset_by(pl.format("-{}mo", _tenure().clip(0, LONGEST_MONTHS)))
    known = lines.select(
        pl.col("customerID").alias("customer_id"),
        pl.lit(DAY).alias("day"),
        pl.col("gender"),
        *(_truth(field).alias(name) for name, field in _FLAGS.items()),
        pl.col("PaymentMethod").alias("payment_method"),
        pl.when(_tenure().is_not_null()).then(joined).alias("joined_on"),
        pl.lit(None, pl.Date).alias("left_on"),
        _truth("Churn").alias("has_left"),
        FAULT,
        ROW,
        **_UNMARKED,
    )
    # Of a number that is given twice the first line is believed, also in whether they left
    usable = known.filter(pl.col(FAULT).is_null(), pl.col("customer_id").is_not_null())
    believed = usable.unique("customer_id", keep="first", maintain_order=True)
    left = believed.filter("has_left").with_columns(pl.lit(NEXT_DAY).alias("day"), pl.lit(NEXT_DAY).alias("left_on"))
    return pl.concat([known, left]).drop("has_left")


def _contracts(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.select(
        # One each, so that the customer's number is the contract's as well
        pl.col("customerID").alias("contract_id"),
        pl.lit(DAY).alias("day"),
        pl.col("customerID").alias("customer_id"),
        pl.col("Contract").alias("contract"),
        *(_truth(field).alias(name) for name, field in _SERVICES.items()),
        pl.col("InternetService").alias("internet_service"),
        pl.lit(None, pl.Date).alias("started_on"),
        pl.lit(None, pl.Date).alias("ended_on"),
        FAULT,
        ROW,
        **_UNMARKED,
    )


def _usage(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.select(
        pl.col("customerID").alias("customer_id"),
        pl.lit(MONTH).alias("month"),
        pl.col("MonthlyCharges").alias("charge_usd"),
        pl.col("TotalCharges").alias("total_charge_usd"),
        pl.lit(None, pl.Float64).alias("data_gb"),
        pl.lit(None, pl.Int64).alias("support_calls"),
        FAULT,
        ROW,
        **_UNMARKED,
    )


_ROWS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "customers": _customers,
    "contracts": _contracts,
    "usage": _usage,
}
