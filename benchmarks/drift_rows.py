"""What the models of the use cases see on days without drift, as the sandbox's own generators make it: many years."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from sandbox.crm.company import CONTRACTS, CUSTOMERS, INTERNET, KINDS, Event, events
from sandbox.nse.market import market_of
from sandbox.simulation import World
from sandbox.sites import SITES
from sandbox.tlc.trips import trips_of

NEVER = date(2100, 1, 1)


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs of a model: `values` (rows by `names`), and the day of each row."""

    values: np.ndarray
    names: list[str]
    days: np.ndarray


def _rows(frame: pd.DataFrame, entity: str | None) -> Rows:
    frame = frame.dropna(subset=["day"])
    names = [name for name in frame.columns if name not in {"day", "entity"}]
    values = frame[names].astype("float64")
    if entity:
        values -= values.groupby(frame[entity]).transform("mean")
    return Rows(values.to_numpy(), names, frame["day"].to_numpy(dtype="datetime64[D]"))


def flood(last: int = 2055) -> Rows:
    """Departures of each site from its mean: discharge in terms of a high one, rain, temperature and their sums."""
    world = World(lambda: date(last - 1, 6, 1), NEVER)
    return _rows(pd.concat([_site(world, site, last) for site in SITES[:6]]), "entity")


def _site(world: World, site: object, last: int) -> pd.DataFrame:
    series = world.series(site, date(last, 12, 31))  # type: ignore[arg-type]
    flow, rain, temp = pd.Series(series.flow), pd.Series(series.precip), pd.Series(series.temp)
    flow = flow / flow.quantile(0.98)
    made = {"day": series.days, "entity": site.number, "discharge": flow, "precip_mm": rain, "temp_c": temp}  # type: ignore[attr-defined]
    made |= {f"discharge_lag{lag}": flow.shift(lag) for lag in (1, 2, 3)}
    made |= {f"precip_lag{lag}": rain.shift(lag) for lag in (1, 2, 3)}
    made |= {f"discharge_mean_{span}d": flow.rolling(span).mean() for span in (3, 7, 30)}
    made |= {f"precip_sum_{span}d": rain.rolling(span).sum() for span in (3, 7, 14, 30, 90)}
    made |= {f"temp_mean_{span}d": temp.rolling(span).mean() for span in (7, 30)}
    made |= {"discharge_max_7d": flow.rolling(7).max(), "discharge_change_1d": flow.diff()}
    made |= {"precip_next_mm": rain.shift(-1), "temp_next_c": temp.shift(-1)}
    made |= {"snowfall_sum_90d": rain.where(temp < 0, 0.0).rolling(90).sum()}
    made |= {"thaw_sum_7d": temp.clip(lower=0).rolling(7).sum()}
    return pd.DataFrame(made).iloc[90:]


def equities(last: int = 2100) -> Rows:
    """Indicators of each share in terms of its close, less the share's own mean."""
    market = market_of(World(lambda: date(last - 1, 6, 1), NEVER))
    days = pd.to_datetime(pd.Series(market.days))
    close = pd.DataFrame(market.prices["close"].T).where(market.traded.T)
    volume = pd.DataFrame(market.counts["volume"].T).where(market.traded.T)
    delivered = pd.DataFrame(market.counts["delivered"].T).where(market.traded.T)
    move = close.pct_change(fill_method=None)
    move = move.where(move.abs() < 0.3)
    held = (1 + move.fillna(0)).cumprod()
    made = {f"sma_{span}_to_close": held.rolling(span).mean() / held for span in (5, 10, 20, 50, 100, 200)}
    made |= {f"ema_{span}_to_close": held.ewm(span=span).mean() / held for span in (12, 26, 50)}
    up, down = move.clip(lower=0).rolling(14).mean(), -move.clip(upper=0).rolling(14).mean()
    made |= {"rsi_14": 100 * up / (up + down), "volatility_20d": move.rolling(20).std(), "return_1d": move}
    made |= {f"return_{span}d": held.pct_change(span) for span in (5, 20)}
    made |= {"volume_to_usual": volume / volume.rolling(20, 5).mean(), "delivery_share": delivered / volume}
    made |= {"turnover_log": np.log1p(close * volume)}
    made |= {f"market_return_{span}d": made[f"return_{span}d"].mul(0).add(made[f"return_{span}d"].mean(axis=1), axis=0)
             for span in (1, 5)}  # fmt: skip
    long = {name: part.iloc[200:].to_numpy().ravel() for name, part in made.items()}
    count = close.shape[1]
    frame = pd.DataFrame(long).assign(
        day=np.repeat(days[200:].to_numpy(), count), entity=np.tile(np.arange(count), len(days) - 200)
    )
    return _rows(frame[frame["delivery_share"].notna()], "entity")


def taxi(months: int, rows: int = 700) -> Rows:
    """Trips: where from, where to, how far, when."""
    first = pd.Period("2003-01", "M")
    frames = [_trips((first + month).start_time.date(), rows) for month in range(months)]
    return _rows(pd.concat(frames), None)


def _trips(month: date, rows: int) -> pd.DataFrame:
    # The lockdown is a drift; those months are drawn as the same ones of a later century
    real = month if not date(2020, 3, 1) <= month <= date(2020, 6, 1) else month.replace(year=2320)
    trips = trips_of(real, NEVER, rows)
    begin = pd.DatetimeIndex(trips["pickup"])
    hour = begin.hour
    day = pd.to_datetime(month) + pd.to_timedelta(begin.day - 1, "D")
    places = {name: trips[name] for name in ("begin_longitude", "begin_latitude", "end_longitude", "end_latitude")}
    frame = pd.DataFrame({"day": day, "distance_miles": trips["distance"], "pickup_hour": hour, **places,
                          "weekday": day.weekday + 1, "hour_sin": np.sin(hour / 24 * 2 * np.pi),
                          "hour_cos": np.cos(hour / 24 * 2 * np.pi), "is_weekend": day.weekday >= 5})  # fmt: skip
    straight = np.hypot((frame["end_longitude"] - frame["begin_longitude"]) * 52.4,
                        (frame["end_latitude"] - frame["begin_latitude"]) * 69.0)  # fmt: skip
    return frame.assign(straight_miles=straight.clip(upper=60))[frame["begin_longitude"] != 0]


def churn(months: int, size: int = 300) -> Rows:
    """Customers at the end of each month: contract, price, what they used and paid of late."""
    start = date(2003, 1, 1)
    until = (pd.Timestamp(start) + pd.DateOffset(months=months)).date()
    return _rows(pd.DataFrame(_customers(events(start, until, size))), None)


def _customers(found: Iterator[Event]) -> Iterator[dict[str, object]]:
    """A row for each customer and month that was billed, as known when it was written first."""
    profile: dict[str, Any] = {}
    contract: dict[str, Any] = {}
    seen: set[str] = set()
    for event in found:
        if event.row is None:
            continue
        if event.table == CUSTOMERS:
            profile = event.row
        elif event.table == CONTRACTS:
            contract = event.row
        elif event.key not in seen:
            seen.add(event.key)
            yield _customer(profile, contract, event.row)


def _customer(profile: dict[str, Any], contract: dict[str, Any], usage: dict[str, Any]) -> dict[str, object]:
    flags = ("has_phone", "has_multiple_lines", "has_online_security", "has_tech_support", "has_streaming_tv")
    kept = {name: profile[name] for name in ("is_senior", "has_partner", "has_dependents", "is_paperless")}
    kinds = {f"contract_{kind}": contract["kind"] == kind for kind in KINDS[1:]}
    nets = {f"internet_{kind}": contract["internet_service"] == kind for kind in INTERNET[1:]}
    figures = {name: usage[name] for name in ("charge", "total_charge", "data_gb", "support_calls")}
    return {
        "day": usage["month"],
        "tenure_months": (usage["month"] - profile["joined_on"]).days // 30,
        "pays_by_check": profile["payment_method"] == "Electronic check",
        "monthly_price": contract["monthly_price"],
        **{name: contract[name] for name in flags},
        **kept, **kinds, **nets, **figures,
    }  # fmt: skip
