"""A small exchange of our own making, and what is true of it: shares are split, renamed, suspended, without ISIN."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import pandas as pd
import polars as pl
from db.helpers import giving, received

from pipelines import dbt, raw
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.spec import Dataset
from pipelines.types import Merged, polars_schema
from pipelines.window import EVER, Window

EQUITIES = get_use_case("equities")
PRICES, ACTIONS = EQUITIES.dataset("prices"), EQUITIES.dataset("actions")
TABLES = (
    "equities.features",
    "equities.symbol_master",
    "equities.adjustments",
    "equities.adjusted_prices",
    "equities.daily_summary",
    "equities.volume_leaders",
    "equities_instruments.spells",
    "equities_instruments.indicator_state",
    "equities_quality.adjustment_findings",
    "equities_quality.jump_findings",
    "equities_quality.price_findings",
)
"""What must be the same however it came about."""
DAYS = [day.date() for day in pd.bdate_range("2021-01-04", periods=300)]


def load(url: str, dataset: Dataset, rows: pl.DataFrame, hours: int = 0) -> Merged:
    """Rows into the raw table; columns that they lack are null."""
    schema = polars_schema(dataset)
    whole = rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in schema.items()
    )
    window = Window(whole["day"].min(), whole["day"].max()) if whole.height else Window(DAYS[0], DAYS[0])
    return raw.load(url, EQUITIES, dataset, window, giving(received(whole, hours)))


def build(settings: Settings, changed: date | None = None) -> dict[str, int]:
    """What follows when the rows of a day changed: that day and all after it, and the labels of those before.

    Returns:
        How many rows each model wrote.
    """
    window = Window(changed - timedelta(days=EQUITIES.label_days), DAYS[-1]) if changed else EVER
    return {node["name"]: node["rows"] for node in dbt.build(EQUITIES, window, settings) if node["kind"] == "model"}


@dataclass
class Company:
    """One instrument: `names` are (session from which it holds, symbol, ISIN), `factors` the true splits by session."""

    names: list[tuple[int, str, str | None]]
    factors: dict[int, float] = field(default_factory=dict)
    sessions: list[int] = field(default_factory=lambda: list(range(300)))
    instrument: str = ""
    series: str = "EQ"
    is_flat: bool = False
    crash: int | None = None
    """Session from which the price is a third of what it was, without any action."""

    def __post_init__(self) -> None:
        self.instrument = self.instrument or self.names[0][2] or self.names[0][1]


def without(first: int, last: int, until: int = 300) -> list[int]:
    return [session for session in range(until) if not first <= session <= last]


COMPANIES = {
    "plain": Company([(0, "PLAIN", "INE001A01010")]),
    # The ISIN changes one session after the ex-date
    "split": Company([(0, "SPLIT", "INE002A01010"), (121, "SPLIT", "INE002A01028")], {120: 5.0, 210: 1.5}),
    "renamed": Company([(0, "OLDCO", "INE003A01010"), (150, "NEWCO", "INE003A01010")], {200: 2.0}),
    "moved on": Company([(0, "BORO", "INE004A01010"), (100, "BORENEW", "INE004A01010")]),
    "took the symbol": Company([(140, "BORO", "INE005A01010")], sessions=list(range(140, 300))),
    "swapped": Company([(0, "SWAPA", "INE006A01010"), (80, "SWAPB", "INE006A01010")]),
    "swapped in": Company([(80, "SWAPA", "INE007A01010")], sessions=list(range(80, 300))),
    "suspended": Company([(0, "SUSPEND", "INE008A01010")], {140: 1.1}, sessions=without(100, 139)),
    "ISIN later": Company([(0, "LATER", None), (60, "LATER", "INE009A01010"), (70, "LATER", None)]),
    "no ISIN": Company([(0, "NOISIN", None)], {50: 10.0}),
    "young": Company([(270, "YOUNG", "INE010A01010")], sessions=list(range(270, 300))),
    "flat": Company([(0, "FLAT", "INE011A01010")], is_flat=True),
    "crashed": Company([(0, "CRASH", "INE012A01010")], crash=180),
    "small": Company([(0, "SMALL", "INE013A01010")], {30: 0.1}, series="SM"),
    "thin": Company([(0, "THIN", "INE014A01010")], sessions=list(range(0, 300, 9))),
    "gone": Company([(0, "LEFT", "INE015A01010"), (50, "GONE", "INE015A01010")]),
    "nameless heir": Company([(90, "LEFT", None)], sessions=list(range(90, 300)), instrument=f"LEFT {DAYS[50]}"),
}


def _action(symbol: str, session: int, kind: str, purpose: str, **factors: float) -> dict[str, object]:
    return {"symbol": symbol, "series": "EQ", "day": DAYS[session], "purpose": purpose, "kind": kind, **factors}


def actions() -> pl.DataFrame:
    """The true ones, told twice in other words, and false ones."""
    rows = [
        _action("SPLIT", 120, "split", "Face Value Split From Rs.10 To Rs.2", split_factor=5.0),
        _action("SPLIT", 120, "split", "FV SPLT FRM RS 10 TO RS 2", split_factor=5.0) | {"series": "BE"},
        _action("SPLIT", 120, "multiplier", "multiplier 5", split_factor=5.0),
        _action("SPLIT", 210, "bonus", "Bonus 1:2", bonus_factor=1.5),
        _action("SPLIT", 210, "dividend", "Dividend - Rs 2 Per Share"),
        _action("NEWCO", 200, "multiplier", "multiplier 2", split_factor=2.0),
        _action("NOISIN", 50, "split and bonus", "Split 10 to 2 / Bonus 1:1", split_factor=5.0, bonus_factor=2.0),
        _action("SMALL", 30, "consolidation", "Consolidation 1 to 10", split_factor=0.1),
        _action("PLAIN", 60, "multiplier", "multiplier 3", split_factor=3.0),
        _action("PLAIN", 70, "split", "Face Value Split", split_factor=None),
        _action("PLAIN", 80, "bonus", "Bonus 1:1", bonus_factor=2.0),
        _action("PLAIN", 80, "multiplier", "multiplier 3", split_factor=3.0),
        _action("SUSPEND", 110, "split", "Face Value Split From Rs.10 To Rs.5", split_factor=2.0),
        _action("SUSPEND", 138, "bonus", "Bonus 1:10", bonus_factor=1.1),
        _action("SUSPEND", 139, "multiplier", "multiplier 1.1", split_factor=1.1),
        _action("OLDCO", 220, "bonus", "Bonus 1:1", bonus_factor=2.0),
        _action("YOUNG", 270, "bonus", "Bonus 1:1", bonus_factor=2.0),
        _action("FLAT", 299, "rights", "Rights 1:5 @ Premium Rs 10"),
    ]
    coming = _action("FLAT", 299, "bonus", "Bonus 1:1", bonus_factor=2.0) | {"day": DAYS[-1] + timedelta(days=3)}
    return pl.DataFrame([*rows, coming], infer_schema_length=None)


APPLIED = {("SPLIT", 120): 5.0, ("SPLIT", 210): 1.5, ("NEWCO", 200): 2.0, ("NOISIN", 50): 10.0, ("SMALL", 30): 0.1,
           ("SUSPEND", 139): 1.1}  # fmt: skip
FLAGGED = {
    ("PLAIN", DAYS[60]): "factor disagrees with the price",
    ("PLAIN", DAYS[70]): "factor unreadable",
    ("PLAIN", DAYS[80]): "sources disagree",
    ("SUSPEND", DAYS[110]): "symbol not traded within 10 days",
    ("SUSPEND", DAYS[138]): "listed under two days",
    ("OLDCO", DAYS[220]): "symbol not traded within 10 days",
    ("YOUNG", DAYS[270]): "no session before",
    ("FLAT", DAYS[-1] + timedelta(days=3)): "not traded yet",
}


def truth() -> pd.DataFrame:
    """Every session of every company: company, session, day, symbol, isin, open, high, low, close, volume, factor.

    `factor` is how many shares one of the first session has become; prices are those of the day.
    """
    draw = np.random.default_rng(20210104)
    frames = []
    for name, company in COMPANIES.items():
        sessions = np.array(company.sessions)
        count = len(sessions)
        close = 200 * np.exp(np.cumsum(draw.normal(0.0, 0.02, count)))
        factor = np.ones(count)
        for session, times in company.factors.items():
            factor[sessions >= session] *= times
        if company.crash is not None:
            close[sessions >= company.crash] /= 3
        open_ = close * np.exp(draw.normal(0, 0.01, count))
        high = np.maximum(open_, close) * np.exp(np.abs(draw.normal(0, 0.01, count)))
        low = np.minimum(open_, close) * np.exp(-np.abs(draw.normal(0, 0.01, count)))
        if company.is_flat:
            open_ = high = low = close = np.full(count, 50.0)
        phases = [max(phase for phase in company.names if phase[0] <= session) for session in sessions]
        prices = {"open": open_, "high": high, "low": low, "close": close}
        frames.append(
            pd.DataFrame(
                {
                    "company": name,
                    "instrument": company.instrument,
                    "session": sessions,
                    "day": [DAYS[session] for session in sessions],
                    "symbol": [symbol for _, symbol, _ in phases],
                    "isin": [isin for _, _, isin in phases],
                    "series": company.series,
                    "factor": factor,
                    "volume": draw.integers(100, 100_000, count),
                    **{column: np.round(values / factor, 4) for column, values in prices.items()},
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def prices(truth: pd.DataFrame) -> pl.DataFrame:
    """The rows that the exchange's files would hold of it.

    Old bhavcopies up to session 199, then UDiFF; for sessions 100 to 160 also a delivery file, whose prices are worse
    and must not count; of what has no ISIN only the delivery file. Beside them bonds, and a second series of one share.
    """
    known = pl.from_pandas(truth.assign(isin=truth["isin"].astype(object))).with_columns(
        layout=pl.when(pl.col("isin").is_null())
        .then(pl.lit("delivery"))
        .otherwise(pl.when(pl.col("session") < 200).then(pl.lit("legacy")).otherwise(pl.lit("udiff"))),
        turnover_inr=(pl.col("high") + pl.col("low")) / 2 * pl.col("volume"),
        trades=pl.col("volume") // 50,
    )
    rows = known.select(
        "symbol",
        "series",
        "day",
        "layout",
        "isin",
        pl.when(pl.col("layout") == "udiff").then(pl.col("symbol") + " LIMITED").alias("name"),
        *[pl.col(name).alias(f"{name}_inr") for name in ("open", "high", "low", "close")],
        ((pl.col("high") + pl.col("low")) / 2).alias("average_inr"),
        pl.col("volume").alias("volume_shares"),
        "turnover_inr",
        "trades",
        pl.when(pl.col("layout") == "delivery").then(pl.col("volume") // 2).alias("delivery_shares"),
    ).with_columns(pl.when(pl.col("layout") == "delivery").then(pl.col("average_inr")).alias("average_inr"))
    spoilt = [(pl.col(f"{name}_inr") * 1.001).alias(f"{name}_inr") for name in ("open", "high", "low", "close")]
    beside = rows.filter(pl.col("isin").is_not_null(), pl.col("day").is_between(DAYS[100], DAYS[160])).with_columns(
        *spoilt,
        layout=pl.lit("delivery"),
        isin=pl.lit(None, pl.String),
        delivery_shares=pl.col("volume_shares") // 4,
    )
    plain = rows.filter(pl.col("symbol") == "PLAIN")
    bonds = plain.with_columns(symbol=pl.lit("BOND"), series=pl.lit("N1"), isin=pl.lit("INE099A07018"))
    second = plain.filter(pl.col("day") > DAYS[250]).with_columns(*spoilt, series=pl.lit("BE"))
    return pl.concat([rows, beside, bonds, second])
