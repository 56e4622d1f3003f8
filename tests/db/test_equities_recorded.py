"""Equities on what NSE published: a year of old bhavcopies, and two months of delivery files four years later."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from db import equities_library as library
from db.equities_market import ACTIONS, EQUITIES, PRICES, TABLES, load
from db.helpers import fingerprint, make_settings

from pipelines import database, dbt
from pipelines.window import Window

pytestmark = pytest.mark.slow
LAST = date(2020, 6, 30)
LEGACY = {
    "symbol": "SYMBOL", "series": "SERIES", "isin": "ISIN", "open_inr": "OPEN", "high_inr": "HIGH", "low_inr": "LOW",
    "close_inr": "CLOSE", "volume_shares": "TOTTRDQTY", "turnover_inr": "TOTTRDVAL", "trades": "TOTALTRADES",
}  # fmt: skip
DELIVERY = {
    "symbol": "SYMBOL", "series": "SERIES", "open_inr": "OPEN_PRICE", "high_inr": "HIGH_PRICE", "low_inr": "LOW_PRICE",
    "close_inr": "CLOSE_PRICE", "volume_shares": "TTL_TRD_QNTY", "turnover_inr": "TURNOVER_LACS",
    "trades": "NO_OF_TRADES", "average_inr": "AVG_PRICE", "delivery_shares": "DELIV_QTY",
}  # fmt: skip


def _read(content: bytes, columns: dict[str, str], day: str, layout: str) -> pl.DataFrame:
    rows = pl.read_csv(io.BytesIO(content), infer_schema=False)
    tidy = rows.rename({name: name.strip() for name in rows.columns}).with_columns(pl.all().str.strip_chars())
    numbers = [name for name in columns if name not in ("symbol", "series", "isin")]
    return (
        tidy.select(
            pl.col(day).str.to_titlecase().str.to_date("%d-%b-%Y").alias("day"),
            *[pl.col(theirs).alias(ours) for ours, theirs in columns.items()],
            layout=pl.lit(layout),
        )
        .with_columns(pl.col(name).replace({"-": None, "": None}).cast(pl.Float64) for name in numbers)
        .unique(["symbol", "series", "day"], keep="first", maintain_order=True)
    )


def _zipped(path: Path) -> bytes:
    with zipfile.ZipFile(path) as file:
        return file.read(file.namelist()[0])


def recorded_prices(nse: Path) -> pl.DataFrame:
    legacy = [_read(_zipped(path), LEGACY, "TIMESTAMP", "legacy") for path in sorted(nse.glob("legacy_cm_zip/*.zip"))]
    bodies = [path.read_bytes() for path in sorted(nse.glob("gapfill_sec_format/*.csv"))]
    bodies += [_zipped(path) for path in sorted(nse.glob("sec_bhavdata_full_zip/*.zip"))]
    delivery = pl.concat([_read(body, DELIVERY, "DATE1", "delivery") for body in bodies])
    lakhs = delivery.with_columns(pl.col("turnover_inr") * 1e5).unique(["symbol", "series", "day"])
    return pl.concat([*legacy, lakhs], how="diagonal")


def recorded_actions(nse: Path) -> pl.DataFrame:
    listed = pl.read_csv(nse / "reference/csvk_multipliers.csv", infer_schema=False)
    return listed.select(
        pl.col("Symbol").alias("symbol"),
        pl.col("Date").str.to_date("%Y%m%d").alias("day"),
        pl.format("multiplier {}", "Multiplier").alias("purpose"),
        pl.col("Multiplier").cast(pl.Float64).alias("split_factor"),
        series=pl.lit("EQ"),
        kind=pl.lit("multiplier"),
    ).unique(["symbol", "day", "purpose"])


class World:
    """The shares of which something is told in the reference lists, and each fourth of the others."""

    def __init__(self, nse: Path, home: Path, url: str) -> None:
        self.url, self.settings = url, make_settings(home, url)
        self.prices, self.actions = recorded_prices(nse), recorded_actions(nse)
        year = self.prices.filter(pl.col("day").is_between(date(2019, 7, 1), LAST), pl.col("series") == "EQ")
        told = set(self.actions.filter(pl.col("day").dt.year().is_in([2019, 2020]))["symbol"])
        for one, other in (("symbol", "isin"), ("isin", "symbol")):
            several = year.drop_nulls("isin").group_by(one).agg(pl.col(other).unique())
            told |= set(several.filter(pl.col(other).list.len() > 1).explode(other)["symbol"])
        symbols = sorted(set(self.prices["symbol"]))
        self.prices = self.prices.filter(pl.col("symbol").is_in(sorted(told | set(symbols[::4]) | {"RELIANCE"})))

    def build(self, start: date) -> None:
        dbt.build(EQUITIES, Window(start, date(2024, 12, 31)), self.settings)


@pytest.fixture(scope="module")
def world(recordings: Path, tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> World:
    """All of it, the last day of the year and what follows in a second build."""
    found = World(recordings / "nse", tmp_path_factory.mktemp("recorded"), new_database())
    load(found.url, ACTIONS, found.actions)
    load(found.url, PRICES, found.prices.filter(pl.col("day") < LAST))
    found.build(date(2019, 7, 1))
    load(found.url, PRICES, found.prices.filter(pl.col("day") >= LAST))
    found.build(date(2020, 6, 2))
    return found


def features(world: World, instrument: str) -> pd.DataFrame:
    sql = f"select * from equities.features where instrument = '{instrument}' order by day"
    return database.read_frame(world.url, sql).to_pandas()


@pytest.mark.parametrize(
    ("instrument", "symbols", "split", "factor"),
    [
        ("INE040A01026", ["HDFCBANK"], date(2019, 9, 19), 2.0),
        ("INE064C01014", ["TRIDENT"], date(2019, 12, 13), 10.0),
        ("INE192A01025", ["TATAGLOBAL", "TATACONSUM"], date.max, 1.0),
        ("INE435A01028", ["IPAPPM", "ANDPAPER", "ANDHRAPAP"], date.max, 1.0),
        ("INE528G01027", ["YESBANK"], date.max, 1.0),
        ("INE002A01018", ["RELIANCE"], date.max, 1.0),
    ],
)
def test_every_indicator_equals_the_librarys(
    world: World, instrument: str, symbols: list[str], split: date, factor: float
) -> None:
    rows = world.prices.filter(pl.col("symbol").is_in(symbols), pl.col("series") == "EQ").sort("day")
    sessions = pd.DataFrame(
        {name: rows[f"{name}_inr"].to_numpy() for name in ("open", "high", "low", "close")}
        | {
            "volume": rows["volume_shares"].to_numpy(),
            "factor": [1.0 if day < split else factor for day in rows["day"]],
        }
    )
    built = features(world, instrument)
    assert len(built) == len(sessions) > 230
    library.assert_same(built, library.features(sessions), instrument)


def test_the_last_day_on_top_of_the_rest_is_as_everything_in_one_build(world: World) -> None:
    before = {table: fingerprint(world.url, table) for table in TABLES}
    for schema in ("equities", "equities_instruments", "equities_quality"):
        database.query(world.url, f"drop schema {schema} cascade")
    world.build(date(2019, 7, 1))
    assert {table: fingerprint(world.url, table) for table in TABLES} == before


def test_the_renames_found_are_those_that_the_exchange_lists(world: World, recordings: Path) -> None:
    listed = pl.read_csv(recordings / "nse/reference/csvk_symbol_change.csv", infer_schema=False)
    newest = dict(listed.iter_rows())
    found = database.query(
        world.url,
        """select before, symbol, later from (
               select
                   *,
                   lag(symbol) over by_version as before,
                   array_agg(symbol) over (by_version rows between current row and unbounded following) as later
               from equities.symbol_master
               window by_version as (partition by instrument order by valid_from)
           ) as versions where reason like '%renamed%' and valid_from between '2019-07-01' and '2020-06-30'""",
    )
    assert len({(row["before"], row["symbol"]) for row in found}) > 15
    # The list gives for each old symbol the newest one, also where there was another in between
    assert [row for row in found if newest.get(row["before"]) not in row["later"]] == []


def test_a_change_of_isin_or_symbol_keeps_the_instrument_and_a_fund_house_is_not_one(world: World) -> None:
    found = database.query(
        world.url, "select distinct symbol, instrument from equities.features where day <= %s", (LAST,)
    )
    instruments = {row["symbol"]: row["instrument"] for row in found}
    assert len(instruments) == len(found), "each symbol stood for one instrument in that year"
    assert instruments["BOROSIL"] == instruments["BORORENEW"] == "INE666D01022"
    assert instruments["HDFCBANK"] == "INE040A01026"
    assert instruments["NIFTYBEES"] != instruments["BANKBEES"]


def test_no_two_versions_of_an_instrument_overlap(world: World) -> None:
    overlaps = """
        select from equities.symbol_master as one join equities.symbol_master as next
        on one.instrument = next.instrument and one.valid_from < next.valid_from
        where one.valid_to is null or one.valid_to >= next.valid_from"""
    assert database.query(world.url, overlaps) == []


def test_a_wrong_multiplier_is_flagged_and_a_right_one_applied(world: World) -> None:
    found = {
        row["symbol"]: row
        for row in database.query(world.url, "select * from equities.adjustments where ex_day between %s and %s",
                                  (date(2019, 7, 2), LAST))
    }  # fmt: skip
    assert found["HDFCBANK"]["is_applied"]
    assert found["HDFCBANK"]["share_factor"] == 2.0
    for symbol in ("UPL", "VBL"):
        assert not found[symbol]["is_applied"]
        assert found[symbol]["flag"] == "factor disagrees with the price"
    findings = database.query(world.url, "select symbol from equities_quality.adjustment_findings")
    assert {"UPL", "VBL"} <= {row["symbol"] for row in findings}
