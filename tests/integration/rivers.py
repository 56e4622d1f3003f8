"""Three made-up rivers: three years of the features that the flood models learn from."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import yaml
from psycopg2.extras import execute_values

from models.snapshot import Extent
from pipelines import database
from pipelines.registry import get_use_case
from pipelines.settings import PROJECT

USE_CASE = get_use_case("flood")
SITES = {"00000001": 4.0, "00000002": 40.0, "00000003": 400.0}
FIRST, DAYS = date(2020, 1, 1), 1096
LAST = FIRST + timedelta(days=DAYS - 1)
CUTOFF = LAST - timedelta(days=299)
AT_CUTOFF = Extent(cutoff=CUTOFF)


def columns_of_features() -> dict[str, str]:
    """Columns of the published feature table and their types, as the dbt project declares them."""
    declared = yaml.safe_load((PROJECT / "dbt/models/flood/features/features.yml").read_text())
    (model,) = (model for model in declared["models"] if model["name"] == "features")
    return {column["name"]: column["data_type"] for column in model["columns"]}


def _site(site_id: str, size: float, seed: int) -> pd.DataFrame:
    """A river that keeps most of its water from day to day, and rises by the rain of the day."""
    random = np.random.default_rng(seed)
    rain = random.gamma(0.7, 12.0, DAYS + 1) * (random.random(DAYS + 1) < 0.35)
    flow = np.full(DAYS + 1, size)
    for day in range(1, DAYS + 1):
        flow[day] = size * 0.1 + 0.75 * flow[day - 1] + size * 0.03 * rain[day] * random.uniform(0.8, 1.2)
    days = pd.date_range(FIRST, periods=DAYS)
    precip, discharge = pd.Series(rain[:-1]), pd.Series(flow[:-1])
    temp = pd.Series(12 - 10 * np.cos(2 * np.pi * days.dayofyear / 365) + random.normal(0, 2, DAYS))
    angle = 2 * np.pi * days.dayofyear / 365.25
    threshold = float(np.quantile(discharge, 0.97))
    frame = pd.DataFrame({"site_id": site_id, "day": days.date, "discharge_m3s": discharge, "precip_mm": precip,
                          "temp_mean_c": temp, "precip_next_mm": rain[1:], "temp_next_c": temp.shift(-1),
                          "season_sin": np.sin(angle), "season_cos": np.cos(angle), "flood_threshold_m3s": threshold,
                          "discharge_next_m3s": flow[1:], "is_hindcast": True})  # fmt: skip
    for lag in (1, 2, 3):
        frame[f"discharge_lag{lag}_m3s"], frame[f"precip_lag{lag}_mm"] = discharge.shift(lag), precip.shift(lag)
    for span in (3, 7, 30):
        frame[f"discharge_mean_{span}d_m3s"] = discharge.rolling(span, 1).mean()
    for span in (3, 7, 14, 30, 90):
        frame[f"precip_sum_{span}d_mm"] = precip.rolling(span, 1).sum()
    for span in (7, 30):
        frame[f"temp_mean_{span}d_c"] = temp.rolling(span, 1).mean()
    frame["discharge_max_7d_m3s"] = discharge.rolling(7, 1).max()
    frame["discharge_change_1d_m3s"] = discharge.diff()
    frame["snowfall_sum_90d_mm"] = precip.where(temp < 0, 0.0).rolling(90, 1).sum()
    frame["thaw_sum_7d_c"] = temp.clip(lower=0).rolling(7, 1).sum()
    frame["is_flood_next"] = frame["discharge_next_m3s"] > threshold
    # Tomorrow is not known yet on the newest day
    frame.loc[frame.index[-1], "discharge_next_m3s"] = np.nan
    frame["is_flood_next"] = frame["is_flood_next"].astype(object).where(frame["discharge_next_m3s"].notna(), None)
    return frame


def load(url: str, days: int = DAYS) -> None:
    """Makes the feature table, of the newest so many days."""
    columns = columns_of_features()
    frame = pd.concat([_site(site, size, seed) for seed, (site, size) in enumerate(SITES.items())])[list(columns)]
    frame = frame[frame["day"] > LAST - timedelta(days=days)]
    rows = frame.astype(object).where(frame.notna(), None).values.tolist()
    with database.connect(url) as connection, connection.cursor() as cursor:
        typed = ", ".join(f"{name} {type_}" for name, type_ in columns.items())
        cursor.execute(f"create schema flood; create table flood.features ({typed}, primary key (site_id, day))")
        execute_values(cursor, "insert into flood.features values %s", rows)
