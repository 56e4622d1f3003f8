"""Daily mean discharge of the U.S. Geological Survey.

Two protocols: the OGC API (https://api.waterdata.usgs.gov/ogcapi/v0, GeoJSON pages linked by `next`), and the
older NWIS daily-values service (WaterML as JSON), which it replaces in early 2027 and which stays readable for
recorded history. Days are calendar days at the site in both.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any, NamedTuple
from urllib.parse import urljoin

import polars as pl

from pipelines.contract import FAULT, require_fields
from pipelines.errors import ContractError
from pipelines.http import Answer, Upstream
from pipelines.landing import Received
from pipelines.window import Window

DISCHARGE, DAILY_MEAN = "00060", "00003"
"""USGS parameter and statistic codes."""
PAGE_LIMIT = 10_000
CUBIC_FOOT_M3 = 0.3048**3
UNITS = {"ft^3/s": CUBIC_FOOT_M3, "ft3/s": CUBIC_FOOT_M3, "m^3/s": 1.0, "m3/s": 1.0}
NO_DATA = {"", "-999999", "-999999.0", "-999999.00", "-999", "-999.0", "-999.00"}
REMARKS = {"ice", "eqp", "bkw", "dis", "rat", "mnt", "ssn", "zfl", "***", "--", "fld", "dry"}
"""Codes that stand where a value would: the gauge gives none that day (NWIS daily-value remark codes)."""
NO_TIME_OF_DAY = {"", "00:00:00", "00:00:00.000"}
"""What follows the date of a daily value. An offset would make it an instant: a reading at midnight."""
FIELDS = ("monitoring_location_id", "parameter_code", "statistic_id", "time", "value", "unit_of_measure",
          "approval_status", "qualifier")  # fmt: skip
SCHEMA = {
    "site_id": pl.String,
    "day": pl.String,
    "discharge_m3s": pl.String,
    "is_provisional": pl.Boolean,
    "is_estimated": pl.Boolean,
    "qualifiers": pl.String,
    "series": pl.String,
    FAULT: pl.String,
}


class Told(NamedTuple):
    """A value as an answer tells it: its time as text, its figure as it came, and what makes m3/s of it."""

    site_id: str
    time: str | None
    value: Any
    factor: float
    provisional: bool
    qualifiers: list[str]
    series: str


def fetch(upstream: Upstream, site_id: str, window: Window) -> Iterator[Received]:
    """The pages of one site's daily mean discharge."""
    answer = upstream.get(
        "/ogcapi/v0/collections/daily/items",
        {
            "f": "json",
            "monitoring_location_id": f"USGS-{site_id}",
            "parameter_code": DISCHARGE,
            "statistic_id": DAILY_MEAN,
            "time": f"{window.start}/{window.end}",
            "limit": PAGE_LIMIT,
            "skipGeometry": "true",
        },
    )
    yield from pages(upstream, answer, "usgs-ogc", {"site_id": site_id})


def pages(upstream: Upstream, answer: Answer, format_: str, context: dict[str, str]) -> Iterator[Received]:
    """An answer of the OGC API, and the pages that follow it.

    Raises:
        ContractError: the pages lead in a circle.
    """
    asked: set[str] = set()
    while True:
        yield Received(answer.body, answer.url, format_, context)
        following = _next_page(answer)
        if following is None:
            return
        if following in asked:
            raise ContractError(f"The pages of {answer.url} lead in a circle, back to {following}. Nothing was loaded.")
        asked.add(following)
        answer = upstream.get(following)


def _next_page(answer: Answer) -> str | None:
    links = _read_json(answer.body, answer.url).get("links") or []
    following = next((str(link["href"]) for link in links if link.get("rel") == "next" and link.get("href")), None)
    return urljoin(answer.url, following) if following else None


def _read_json(body: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise ContractError(f"The answer of {where} is not JSON ({error}). Nothing was loaded.") from error
    if not isinstance(document, dict):
        raise ContractError(f"The answer of {where} is a {type(document).__name__}, not an object. Nothing was loaded.")
    return document


def parse_ogc(body: bytes, where: str) -> list[dict[str, Any]]:
    """Rows of one page of the collection `daily` (schema `SCHEMA`).

    Raises:
        ContractError: not a FeatureCollection, a field is missing, or the unit is unknown.
    """
    return [daily_row(told) for told in ogc_values(body, where, DAILY_MEAN)]


def ogc_values(body: bytes, where: str, statistic: str) -> Iterator[Told]:
    """The values of one page of a collection; those of other parameters and statistics are passed over.

    Raises:
        ContractError: not a FeatureCollection, a field is missing, or the unit is unknown.
    """
    document = _read_json(body, where)
    require_fields(document, ["features"], f"The answer of {where}")
    if not isinstance(document["features"], list):
        raise ContractError(f"The features of {where} are no list. Nothing was loaded.")
    for feature in document["features"]:
        properties = feature.get("properties") or {}
        require_fields(properties, FIELDS, f"A feature of {where}")
        if (properties["parameter_code"], properties["statistic_id"]) != (DISCHARGE, statistic):
            continue
        yield Told(
            site_id=str(properties["monitoring_location_id"]).removeprefix("USGS-"),
            time=properties["time"],
            value=properties["value"],
            factor=_factor(properties["unit_of_measure"], where),
            provisional=properties["approval_status"] != "Approved",
            qualifiers=_as_list(properties["qualifier"]),
            series=str(properties.get("time_series_id") or ""),
        )


def parse_nwis(
    body: bytes, where: str, parameter: str = DISCHARGE, statistic: str = DAILY_MEAN
) -> list[dict[str, Any]]:
    """Rows of one NWIS answer of daily values (schema `SCHEMA`); other parameters and statistics are passed over.

    Raises:
        ContractError: not such an answer, or the unit is unknown.
    """
    return [daily_row(told) for told in nwis_values(body, where, parameter, {statistic})]


def nwis_values(body: bytes, where: str, parameter: str, statistics: Set[str]) -> list[Told]:
    """The values of one NWIS answer (WaterML as JSON) of a parameter and one of these statistics.

    Raises:
        ContractError: not such an answer, or the unit is unknown.
    """
    document = _read_json(body, where)
    require_fields(document, ["value"], f"The answer of {where}")
    require_fields(document["value"] or {}, ["timeSeries"], f"The field 'value' of {where}")
    try:
        return list(_nwis_told(document["value"]["timeSeries"], where, parameter, statistics))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ContractError(
            f"The answer of {where} is not WaterML as the USGS writes it ({type(error).__name__}: {error}). "
            "Nothing was loaded."
        ) from error


def _nwis_told(all_series: list[Any], where: str, parameter: str, statistics: Set[str]) -> Iterator[Told]:
    for series in all_series:
        variable = series["variable"]
        has = {option.get("optionCode") for option in variable["options"]["option"]}
        if variable["variableCode"][0]["value"] != parameter or not has & statistics:
            continue
        factor = _factor(variable["unit"]["unitCode"], where) if parameter == DISCHARGE else 1.0
        for sensor in series["values"]:
            for item in sensor["value"]:
                require_fields(item, ["value", "dateTime"], f"A value of {where}")
                qualifiers = _as_list(item.get("qualifiers"))
                yield Told(
                    site_id=series["sourceInfo"]["siteCode"][0]["value"],
                    time=item["dateTime"],
                    value=item["value"],
                    factor=factor,
                    provisional="A" not in qualifiers,
                    qualifiers=qualifiers,
                    series=str(sensor["method"][0].get("methodID", "")) if sensor.get("method") else "",
                )


def _as_list(value: Any) -> list[str]:
    """Qualifiers, which come as a list, as text with commas, as empty text or as null."""
    texts = value if isinstance(value, list) else [value or ""]
    return [word for text in texts if text for word in str(text).replace(",", " ").split()]


def _factor(unit: str, where: str) -> float:
    if unit not in UNITS:
        raise ContractError(
            f"Discharge comes in {unit!r} at {where}; known are {', '.join(UNITS)}. Nothing was loaded."
        )
    return UNITS[unit]


def measured(told: Told) -> dict[str, Any]:
    """What a row has of a value, whatever time it is of: all but its time and its fault."""
    text = "" if told.value is None else str(told.value).strip()
    qualifiers = [*told.qualifiers, text] if text.lower() in REMARKS else told.qualifiers
    missing = text in NO_DATA or text.lower() in REMARKS
    return {
        "site_id": told.site_id,
        "discharge_m3s": None if missing else _convert(text, told.factor),
        "is_provisional": told.provisional,
        "is_estimated": any(item.lower() in {"e", "estimated"} for item in qualifiers),
        "qualifiers": " ".join(qualifiers) or None,
        "series": told.series,
    }


def daily_row(told: Told) -> dict[str, Any]:
    """The row of a daily value (schema `SCHEMA`)."""
    date, _, time_of_day = str(told.time or "").partition("T")
    fault = None if time_of_day in NO_TIME_OF_DAY else f"not a daily value: {told.time}"
    return {"day": date or None, **measured(told), FAULT: fault}


def _convert(text: str, factor: float) -> str:
    """The value in m3/s as text, or the text itself where it is no number: the contract then says so."""
    try:
        return repr(float(text) * factor)
    except ValueError:
        return text


def to_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The rows in the contract's columns; where a site has several sensors, one row a day, the others faulted."""
    rows = valued_first(rows)
    keep_one_sensor(rows, "day", lambda row: row.get("day"))
    return pl.DataFrame(rows, schema=SCHEMA).drop("series")


def valued_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in their order, but those without a value last: of two of one time the contract keeps the first."""
    return sorted(rows, key=lambda row: row.get("discharge_m3s") is None)


def keep_one_sensor(rows: list[dict[str, Any]], called: str, slot: Callable[[dict[str, Any]], Any]) -> None:
    """Faults the rows of all sensors but one in each slot of time of a site; `called` is what the slot is.

    A slot's value comes from the sensor with the most values in the answer that has one then, so that a gauge that
    changes its sensor keeps its record.
    """
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row["site_id"], Counter())[row["series"]] += row.get("discharge_m3s") is not None
    ranks = {site: {name: at for at, name in enumerate(_by_fullness(series))} for site, series in counts.items()}
    best: dict[tuple[str, Any], tuple[bool, int]] = {}
    usable = [row for row in rows if row[FAULT] is None]
    for row in usable:
        key = (row["site_id"], slot(row))
        best[key] = min(_preference(row, ranks), best.get(key, (True, len(rows))))
    for row in usable:
        # Of the sensor that was chosen, also the rows without a value stay
        if ranks[row["site_id"]][row["series"]] != best[row["site_id"], slot(row)][1]:
            row[FAULT] = f"secondary sensor {row['series']}: another one gives the value of the {called}"


def _preference(row: dict[str, Any], ranks: dict[str, dict[str, int]]) -> tuple[bool, int]:
    return row.get("discharge_m3s") is None, ranks[row["site_id"]][row["series"]]


def _by_fullness(series: Mapping[str, int]) -> list[str]:
    return sorted(series, key=lambda name: (-series[name], name))
