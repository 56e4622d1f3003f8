"""Equities: which instrument a symbol stands for, its versions, and which corporate actions are believed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from db.equities_market import ACTIONS, APPLIED, DAYS, FLAGGED, PRICES, actions, build, load, prices, truth
from db.helpers import fingerprint, make_settings

from pipelines import database
from pipelines.settings import Settings
from pipelines.types import polars_schema

pytestmark = pytest.mark.slow
LAST = 7
"""Days of the stories below: 0 to 7."""
STORIES: dict[str, list[tuple[int, str, str | None, str]]] = {
    "a new ISIN under a symbol continues what the symbol stands for": [
        (0, "AA", "INAA1", "INAA1"), (1, "AA", "INAA2", "INAA1"), (5, "AA", "INAA3", "INAA1"),
    ],
    "an ISIN under a new symbol stays what it was": [
        (0, "BA", "INB1", "INB1"), (1, "BB", "INB1", "INB1"), (2, "BB", "INB2", "INB1"), (3, "BC", "INB2", "INB1"),
        (4, "BC", "INB1", "INB1"),
    ],
    "a new symbol with a new ISIN is new": [(0, "CA", "INC1", "INC1"), (1, "CB", "INC2", "INC2")],
    "a symbol that was left is free for another": [
        (0, "DA", "IND1", "IND1"), (1, "DB", "IND1", "IND1"), (4, "DA", "IND2", "IND2"), (5, "DB", "IND1", "IND1"),
        (5, "DA", "IND2", "IND2"), (6, "DA", "IND3", "IND2"), (6, "DB", "IND4", "IND1"),
    ],
    "a symbol may be left and taken on one day": [
        (0, "ZE", "INE1", "INE1"), (1, "EB", "INE1", "INE1"), (1, "ZE", "INE2", "INE2"),
        (2, "EB", "INE3", "INE1"), (2, "ZE", "INE4", "INE2"),
    ],
    "without an ISIN the symbol is the code, until one comes": [
        (0, "FA", None, "FA"), (1, "FA", None, "FA"), (2, "FA", "INF1", "FA"), (3, "FA", None, "FA"),
        (4, "FB", "INF1", "FA"), (5, "FB", None, "FA"),
    ],
    "a symbol that was left stands for itself from then on": [
        (0, "GA", "ING1", "ING1"), (1, "GA", None, "ING1"), (2, "GB", "ING1", "ING1"),
        (3, "GA", None, f"GA {DAYS[2]}"), (4, "GA", None, f"GA {DAYS[2]}"), (5, "GA", "ING2", f"GA {DAYS[2]}"),
        (6, "GA", None, f"GA {DAYS[2]}"), (6, "GB", None, "ING1"), (7, "GC", "ING2", f"GA {DAYS[2]}"),
    ],
    "an ISIN may come back to its symbol": [
        (0, "HA", "INH1", "INH1"), (1, "HB", "INH1", "INH1"), (3, "HA", "INH1", "INH1"), (4, "HA", None, "INH1"),
        (5, "HA", "INH2", "INH1"),
    ],
    "a symbol first seen without its ISIN is new until the ISIN is seen": [
        (0, "IA", "INI1", "INI1"), (1, "IB", None, "IB"), (2, "IB", "INI1", "INI1"), (3, "IB", None, "INI1"),
    ],
    "a plain symbol that was left is another instrument when it comes back": [
        (0, "JA", None, "JA"), (1, "JA", "INJ1", "JA"), (2, "JB", "INJ1", "JA"), (4, "JA", None, f"JA {DAYS[2]}"),
    ],
}  # fmt: skip


def rows(stories: list[tuple[int, str, str | None, str]]) -> pl.DataFrame:
    shares = pl.DataFrame(
        [(DAYS[day], symbol, isin) for day, symbol, isin, _ in stories],
        schema={"day": pl.Date, "symbol": pl.String, "isin": pl.String},
        orient="row",
    )
    price = [pl.lit(10.0).alias(f"{name}_inr") for name in ("open", "high", "low", "close", "average")]
    layout = pl.when(pl.col("isin").is_null()).then(pl.lit("delivery")).otherwise(pl.lit("legacy")).alias("layout")
    return shares.with_columns(
        *price, layout, series=pl.lit("EQ"), volume_shares=pl.lit(100), turnover_inr=pl.lit(1000.0)
    )


@pytest.fixture
def fresh(tmp_path: Path, new_database: Callable[[], str]) -> Settings:
    """Settings with a database that knows of no action."""
    settings = make_settings(tmp_path, new_database())
    load(settings.require_database(), ACTIONS, pl.DataFrame(schema=polars_schema(ACTIONS)))
    return settings


def instruments(url: str) -> dict[tuple[object, str], str]:
    found = database.query(url, "select day, symbol, instrument from equities.features")
    return {(row["day"], row["symbol"]): row["instrument"] for row in found}


def test_a_symbol_stands_for_what_the_past_says_however_the_days_come(fresh: Settings) -> None:
    url, told = fresh.require_database(), [row for story in STORIES.values() for row in story]
    for day in range(LAST + 1):
        load(url, PRICES, rows([row for row in told if row[0] == day]))
        build(fresh, DAYS[day] + timedelta(days=21))  # which is built from that very day on
    found = instruments(url)
    for story, spoken in STORIES.items():
        for day, symbol, _, instrument in spoken:
            assert found[DAYS[day], symbol] == instrument, f"{story}: {symbol} on day {day}"
    assert len(found) == len(told)
    spells = fingerprint(url, "equities_instruments.spells")
    build(fresh)
    assert fingerprint(url, "equities_instruments.spells") == spells
    assert instruments(url) == found


def test_of_two_symbols_with_one_isin_on_a_day_the_busier_counts_and_the_other_is_listed(fresh: Settings) -> None:
    url = fresh.require_database()
    load(url, PRICES, rows([(day, symbol, "INA1", "") for day in range(4) for symbol in ("A", "B")]).with_columns(
        turnover_inr=pl.when(pl.col("symbol") == "B").then(1010.0).otherwise(1000.0)
    ))  # fmt: skip
    build(fresh)
    assert instruments(url) == {(DAYS[day], "B"): "INA1" for day in range(4)}
    findings = database.query(url, "select day, symbol, finding from equities_quality.price_findings order by day")
    assert [(row["day"], row["symbol"]) for row in findings] == [(DAYS[day], "A") for day in range(4)]
    assert "second symbol" in findings[0]["finding"]


def test_rows_that_contradict_themselves_are_listed(fresh: Settings) -> None:
    url = fresh.require_database()
    good = rows([(day, f"S{day}", f"IN{day}", "") for day in range(6)])
    wrong = {
        "S1": ("low_inr", 0.0),
        "S2": ("high_inr", 9.0),
        "S3": ("turnover_inr", 10_000.0),
        "S4": ("close_inr", 11.0),
    }
    for symbol, (column, value) in wrong.items():
        good = good.with_columns(pl.when(pl.col("symbol") == symbol).then(value).otherwise(column).alias(column))
    delivered = pl.when(pl.col("symbol") == "S5").then(101).otherwise(100).alias("delivery_shares")
    load(url, PRICES, good.with_columns(delivered))
    build(fresh)
    findings = database.query(url, "select symbol, finding from equities_quality.price_findings order by symbol")
    said = {row["symbol"]: row["finding"] for row in findings if row["symbol"] != "S1" or "nil" in row["finding"]}
    assert list(said) == ["S1", "S2", "S3", "S4", "S5"]
    assert [word for word, text in zip(["nil", "range", "turnover", "range", "delivered"], said.values(), strict=True)
            if word not in text] == []  # fmt: skip
    assert {symbol for _, symbol in instruments(url)} == {"S0", "S2", "S3", "S4", "S5"}, "no trade was at nil"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> str:
    """URL of a database with the whole exchange."""
    settings = make_settings(tmp_path_factory.mktemp("instruments"), new_database())
    load(settings.require_database(), PRICES, prices(truth()))
    load(settings.require_database(), ACTIONS, actions())
    build(settings)
    return settings.require_database()


def versions(url: str, instrument: str) -> list[tuple[object, ...]]:
    found = database.query(
        url, "select * from equities.symbol_master where instrument = %s order by valid_from", (instrument,)
    )
    names = ("symbol", "isin", "series", "name", "valid_from", "valid_to", "reason", "is_current")
    return [tuple(row[name] for name in names) for row in found]


def test_the_symbol_master_has_a_version_for_each_name_and_none_overlap(market: str) -> None:
    named = "NEWCO LIMITED"
    assert versions(market, "INE003A01010") == [
        ("OLDCO", "INE003A01010", "EQ", None, DAYS[0], DAYS[150] - timedelta(days=1), "listed", False),
        ("NEWCO", "INE003A01010", "EQ", named, DAYS[150], None, "renamed", True),
    ]
    assert [(row[1], row[4], row[6]) for row in versions(market, "INE002A01010")] == [
        ("INE002A01010", DAYS[0], "listed"),
        ("INE002A01028", DAYS[121], "isin changed"),
    ]
    assert [row[:2] for row in versions(market, "LATER")] == [("LATER", "INE009A01010")], "known later, it is no change"
    overlaps = """
        select from equities.symbol_master as one join equities.symbol_master as next
        on one.instrument = next.instrument and one.valid_from < next.valid_from
        where one.valid_to is null or one.valid_to >= next.valid_from
    """
    assert database.query(market, overlaps) == []
    current = "select count(*) filter (where is_current) as n from equities.symbol_master group by instrument"
    assert {row["n"] for row in database.query(market, current)} == {1}


def test_an_action_is_applied_once_and_only_where_the_price_agrees(market: str) -> None:
    found = {
        (row["symbol"], row["ex_day"]): row for row in database.query(market, "select * from equities.adjustments")
    }
    assert {key: row["factor"] for key, row in found.items() if row["is_applied"]} == {
        (symbol, DAYS[session]): factor for (symbol, session), factor in APPLIED.items()
    }
    assert {key: row["flag"] for key, row in found.items() if not row["is_applied"]} == FLAGGED
    last = found["SPLIT", DAYS[210]]
    assert last["instrument"] == "INE002A01010"
    assert last["share_factor"] == 7.5, "through the change of the ISIN"
    assert abs(last["jump"] - 1.5) < 0.15
    listed = database.query(market, "select symbol, day from equities_quality.adjustment_findings")
    assert {(row["symbol"], row["day"]) for row in listed} == {
        key for key, flag in FLAGGED.items() if flag != "not traded yet"
    }


def test_adjusted_prices_are_all_in_shares_of_today(market: str) -> None:
    sessions = truth().query("company == 'split'").reset_index(drop=True)
    found = database.read_frame(
        market, "select * from equities.adjusted_prices where instrument = 'INE002A01010' order by day"
    )
    shares = pl.Series(sessions["factor"] / 7.5)
    for name in ("open", "high", "low", "close"):
        assert ((found[f"{name}_inr"] / (pl.Series(sessions[name]) * shares) - 1).abs() < 1e-12).all()
    assert ((found["volume_shares"] / (pl.Series(sessions["volume"]) / shares) - 1).abs() < 1e-12).all()
