"""The three layouts of the exchange's daily prices, read into the columns of `prices`.

    legacy      cmDDMMMYYYYbhav.csv             to 5 July 2024; before 2011 without TOTALTRADES and ISIN
    udiff       BhavCopy_NSE_CM_..._F_0000.csv  from 2024
    delivery    sec_bhavdata_full_DDMMYYYY.csv  with the shares delivered, without ISINs; value traded in lakhs of INR

Values stay text: the contract reads them.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from pipelines.contract import FAULT, ROW
from pipelines.use_cases.equities.layouts import Layout, Schema, finished, layout_of, read, refused
from pipelines.use_cases.equities.spec import PRICES
from pipelines.use_cases.equities.tables import read_table

SCHEMA: Schema = dict.fromkeys([*(column.name for column in PRICES.columns), FAULT, ROW], pl.String())
LAKH_INR = 100_000
LAYOUTS = (
    Layout(
        name="legacy",
        fields={
            "symbol": "SYMBOL", "series": "SERIES", "day": "TIMESTAMP", "isin": "ISIN",
            "open_inr": "OPEN", "high_inr": "HIGH", "low_inr": "LOW", "close_inr": "CLOSE", "last_inr": "LAST",
            "prev_close_inr": "PREVCLOSE", "volume_shares": "TOTTRDQTY", "turnover_inr": "TOTTRDVAL",
            "trades": "TOTALTRADES",
        },
        optional=("TOTALTRADES", "ISIN"),
    ),
    Layout(
        name="udiff",
        fields={
            "symbol": "TckrSymb", "series": "SctySrs", "day": "TradDt", "isin": "ISIN", "name": "FinInstrmNm",
            "open_inr": "OpnPric", "high_inr": "HghPric", "low_inr": "LwPric", "close_inr": "ClsPric",
            "last_inr": "LastPric", "prev_close_inr": "PrvsClsgPric", "volume_shares": "TtlTradgVol",
            "turnover_inr": "TtlTrfVal", "trades": "TtlNbOfTxsExctd",
        },
        unread=(
            "BizDt", "FinInstrmTp", "FinInstrmId", "XpryDt", "FininstrmActlXpryDt", "StrkPric", "OptnTp", "UndrlygPric",
            "SttlmPric", "OpnIntrst", "ChngInOpnIntrst", "SsnId", "NewBrdLotQty", "Rmks", "Rsvd1", "Rsvd2", "Rsvd3",
            "Rsvd4",
        ),
        market=(("Src", "NSE"), ("Sgmt", "CM")),
    ),
    Layout(
        name="delivery",
        fields={
            "symbol": "SYMBOL", "series": "SERIES", "day": "DATE1",
            "open_inr": "OPEN_PRICE", "high_inr": "HIGH_PRICE", "low_inr": "LOW_PRICE", "close_inr": "CLOSE_PRICE",
            "last_inr": "LAST_PRICE", "prev_close_inr": "PREV_CLOSE", "average_inr": "AVG_PRICE",
            "volume_shares": "TTL_TRD_QNTY", "turnover_inr": "TURNOVER_LACS", "trades": "NO_OF_TRADES",
            "delivery_shares": "DELIV_QTY",
        },
        unread=("DELIV_PER",),
    ),
)  # fmt: skip


def parse(body: bytes, where: str, day: str | None) -> pl.DataFrame:
    """The rows of one file (`SCHEMA`).

    Args:
        body: the file's bytes.
        where: its name.
        day: the day that it is said to be of, as YYYY-MM-DD, where one is said.

    Raises:
        ContractError: the header lacks a field of its layout.
    """
    table = read_table(body, where)
    layout = layout_of(table.names, LAYOUTS)
    if layout is None:
        return refused(table, f"{where} has the header of no known layout", SCHEMA, day)
    table, rows = read(table, layout, SCHEMA)
    rows = rows.with_columns(pl.lit(layout.name).alias("layout"), table.days(layout.fields["day"]).alias("day"))
    if layout.name == "delivery":
        rows = rows.with_columns(_in_inr(pl.col("turnover_inr")))
    return finished(rows if day is None else _of_its_day(rows, date.fromisoformat(day)), where, SCHEMA)


def _in_inr(lakhs: pl.Expr) -> pl.Expr:
    """Text of INR from text of lakhs; a text that is no number stays, for the contract to tell."""
    inr = (lakhs.cast(pl.Float64, strict=False) * LAKH_INR).round(2)
    return pl.coalesce(inr.cast(pl.String), lakhs)


def _of_its_day(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """Faults of rows of another day than their file's. A file without any row of its day is another day's copy.

    Rows that are refused for their file's sake are counted for the day that it is said to be of.
    """
    read_days = pl.col("day").str.to_date("%Y-%m-%d", strict=False)
    held = rows.filter(pl.col(FAULT).is_null()).select(read_days).to_series().drop_nulls().unique().sort().to_list()
    if held == [day]:
        why = pl.lit(None, pl.String)
    elif held and day not in held:
        copy = "a stale copy" if held[-1] < day else "another day's file"
        why = pl.lit(f"the file of {day} holds rows of {held[-1]}: {copy}")
    else:
        why = pl.when(read_days != day).then(pl.format("the file of {} holds a row of {}", pl.lit(str(day)), "day"))
    rows = rows.with_columns(pl.coalesce(FAULT, why).alias(FAULT))
    return rows.with_columns(pl.when(pl.col(FAULT).is_null()).then("day").otherwise(pl.lit(str(day))).alias("day"))


def with_impossible(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with a fault where prices contradict each other, and without the 0 of no last price."""
    price = {name: pl.col(f"{name}_inr").cast(pl.Float64, strict=False) for name in ("open", "high", "low", "close")}
    # The exchange gives T0 (settled on the same day) the close of the series EQ, whatever T0 traded at
    outside = [
        pl.when(~price[name].is_between(price["low"], price["high"]) & is_own).then(
            pl.lit(f"{name}_inr is outside low_inr to high_inr")
        )
        for name, is_own in (("open", pl.lit(True)), ("close", pl.col("series").ne_missing("T0")))
    ]
    upside_down = pl.when(price["high"] < price["low"]).then(pl.lit("high_inr is below low_inr"))
    last = pl.col("last_inr")
    return rows.with_columns(
        pl.coalesce(FAULT, upside_down, *outside).alias(FAULT),
        pl.when(last.cast(pl.Float64, strict=False).ne_missing(0.0)).then(last),
    )
