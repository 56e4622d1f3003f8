"""Daily weather of Open-Meteo (https://open-meteo.com/en/docs): archive, forecast and past forecasts.

All three answer in one shape. Days are calendar days in the time zone that was asked for: the site's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import polars as pl

from pipelines.contract import require_fields
from pipelines.errors import ContractError
from pipelines.http import Upstream
from pipelines.landing import Received
from pipelines.window import Window

PRECIPITATION: dict[str, Callable[[pl.Expr], pl.Expr]] = {"mm": lambda value: value, "inch": lambda value: value * 25.4}
TEMPERATURE: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "°C": lambda value: value,
    "°F": lambda value: (value - 32) * 5 / 9,
}
DAILY = {"precipitation_sum": ("precip_mm", PRECIPITATION), "temperature_2m_mean": ("temp_mean_c", TEMPERATURE)}
HOURLY = {"precipitation": ("precip_mm", PRECIPITATION), "temperature_2m": ("temp_mean_c", TEMPERATURE)}


def fetch(upstream: Upstream, path: str, site: dict[str, Any], window: Window) -> Received:
    """Daily precipitation and mean temperature of one site."""
    answer = upstream.get(
        path,
        {
            "latitude": site["latitude"],
            "longitude": site["longitude"],
            "timezone": site["timezone"],
            "start_date": str(window.start),
            "end_date": str(window.end),
            "daily": ",".join(DAILY),
        },
    )
    return Received(answer.body, answer.url, "openmeteo", {"site_id": site["site_id"]})


def parse(body: bytes, where: str, site_id: str) -> pl.DataFrame:
    """Rows of one answer: site_id, day, precip_mm, temp_mean_c. Hourly answers are aggregated to whole days.

    Raises:
        ContractError: the upstream reports an error, a variable or its unit is unknown, or the lengths differ.
    """
    try:
        document = json.loads(body)
    except ValueError as error:
        raise ContractError(f"The answer of {where} is not JSON ({error}). Nothing was loaded.") from error
    if not isinstance(document, dict) or document.get("error"):
        reason = document.get("reason") if isinstance(document, dict) else "it is a list of several places"
        raise ContractError(f"{where} refuses: {reason}. Nothing was loaded.")
    if "daily" not in document and "hourly" in document:
        return _whole_days(_block(document, "hourly", HOURLY, where), site_id, where)
    require_fields(document, ["daily", "daily_units"], f"The answer of {where}")
    rows = _block(document, "daily", DAILY, where)
    return rows.select(pl.lit(site_id).alias("site_id"), pl.col("time").alias("day"), "precip_mm", "temp_mean_c")


def _block(document: dict[str, Any], name: str, variables: dict[str, Any], where: str) -> pl.DataFrame:
    block, units = document[name], document.get(f"{name}_units")
    if not isinstance(block, dict) or not isinstance(units, dict):
        raise ContractError(f"{name!r} or its units are no object at {where}. Nothing was loaded.")
    require_fields(block, ["time", *variables], f"The block {name!r} of {where}")
    for key in ("time", *variables):
        if not isinstance(block[key], list):
            raise ContractError(f"{key!r} of the block {name!r} of {where} is no list. Nothing was loaded.")
    lengths = {key: len(block[key]) for key in ("time", *variables)}
    if len(set(lengths.values())) > 1:
        raise ContractError(
            f"The block {name!r} of {where} has lists of different lengths: {lengths}. Nothing was loaded."
        )
    frame = pl.DataFrame({key: pl.Series(key, block[key], strict=False) for key in ("time", *variables)})
    columns = [pl.col("time")]
    for key, (column, conversions) in variables.items():
        unit = units.get(key)
        if unit not in conversions:
            raise ContractError(
                f"{key} comes in {unit!r} at {where}; known are {', '.join(conversions)}. Nothing was loaded."
            )
        columns.append(_converted(frame.schema[key], pl.col(key), conversions[unit]).alias(column))
    return frame.select(columns)


def _converted(given: pl.DataType, value: pl.Expr, conversion: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """The value in the contract's unit. What is no number stays: the contract names its row, or the whole column."""
    if given.is_numeric() or given == pl.Null:
        return conversion(value.cast(pl.Float64))
    if given != pl.String:
        return value
    number = value.cast(pl.Float64, strict=False)
    return pl.when(number.is_null()).then(value).otherwise(conversion(number).cast(pl.String))


def _whole_days(hours: pl.DataFrame, site_id: str, where: str) -> pl.DataFrame:
    for name in ("precip_mm", "temp_mean_c"):
        if not hours.schema[name].is_numeric():
            raise ContractError(f"Not all hours of {name} are numbers at {where}. Nothing was loaded.")

    def over(name: str, total: pl.Expr) -> pl.Expr:
        # 23 and 25 hours are the days on which the clocks change; more are hours that came twice
        return pl.when(pl.col(name).count().is_between(23, 25)).then(total).alias(name)

    return (
        hours.with_columns(pl.col("time").cast(pl.String).str.slice(0, 10).alias("day"))
        .group_by("day", maintain_order=True)
        .agg(over("precip_mm", pl.col("precip_mm").sum()), over("temp_mean_c", pl.col("temp_mean_c").mean()))
        .select(pl.lit(site_id).alias("site_id"), "day", "precip_mm", "temp_mean_c")
    )
