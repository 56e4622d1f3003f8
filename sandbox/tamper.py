"""What a misbehaving upstream makes of a sound answer: functions from a JSON body to a broken one.

An answer's days are opened as rows, whichever of the four shapes they come in (GeoJSON features, WaterML
values, Open-Meteo's parallel lists, NSE's list of notices), changed, and put back. Files are in tamper_files.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
Change = Callable[[list[Row], str, str], None]

_ABSURD = 99_999_999
_OTHER_UNITS: dict[str, tuple[str, Callable[[float], float]]] = {
    "ft^3/s": ("m^3/s", lambda value: value * 0.028316846592),
    "ft3/s": ("m3/s", lambda value: value * 0.028316846592),
    "mm": ("inch", lambda value: value / 25.4),
    "cm": ("inch", lambda value: value / 2.54),
    "°C": ("°F", lambda value: value * 1.8 + 32.0),
}


def _wrong_type(rows: list[Row], key: str, _: str) -> None:
    rows[0][key] = "see remarks"


def _out_of_range(rows: list[Row], key: str, _: str) -> None:
    rows[0][key] = str(_ABSURD) if isinstance(rows[0].get(key), str) else _ABSURD


def _duplicate(rows: list[Row], _key: str, _: str) -> None:
    rows.append(copy.deepcopy(rows[0]))


def _renamed_field(rows: list[Row], key: str, new_key: str) -> None:
    for row in rows:
        if key in row:
            row[new_key] = row.pop(key)


CHANGES: dict[str, Change] = {
    "wrong_type": _wrong_type,
    "out_of_range": _out_of_range,
    "duplicate": _duplicate,
    "renamed_field": _renamed_field,
}


def tamper(body: Any, kind: str, field: str | None, rename_to: str) -> Any:
    """The body after a change of `CHANGES` or `wrong_unit`; as it was if it holds no days, or no unit."""
    if kind == "wrong_unit":
        return _wrong_unit(body, field) if isinstance(body, dict) else body
    change = CHANGES[kind]
    if isinstance(body, list):
        if body:
            change(body, field or "exDate", rename_to)
        return body
    return _apply(body, field, lambda rows, key: change(rows, key, rename_to))


def _apply(body: Row, field: str | None, change: Callable[[list[Row], str], None]) -> Row:
    if body.get("features"):
        _change_features(body["features"], field or "value", change)
    elif "daily" in body:
        _change_lists(body, field or _first_variable(body), change)
    elif body.get("value", {}).get("timeSeries"):
        change(body["value"]["timeSeries"][0]["values"][0]["value"], field or "value")
    return body


def _change_features(features: list[Row], field: str, change: Callable[[list[Row], str], None]) -> None:
    rows = [feature["properties"] for feature in features]
    change(rows, field)
    features.extend({**features[0], "properties": row} for row in rows[len(features) :])


def _change_lists(body: Row, field: str, change: Callable[[list[Row], str], None]) -> None:
    names, columns = list(body["daily"]), body["daily"].values()
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    if rows:
        change(rows, field)
        body["daily"] = {name: [row[name] for row in rows] for name in rows[0]}


def _wrong_unit(body: Row, field: str | None) -> Row:
    """The figures of a field in another unit, under that unit's label."""
    old = _unit(body, field)
    if old not in _OTHER_UNITS:
        return body
    new, convert = _OTHER_UNITS[old]

    def to_other_unit(rows: list[Row], key: str) -> None:
        for row in rows:
            value = row.get(key)
            if value is not None:
                # Both USGS services send figures as text.
                row[key] = f"{convert(float(value)):.3f}" if isinstance(value, str) else round(convert(value), 3)
            if "unit_of_measure" in row:
                row["unit_of_measure"] = new

    _apply(body, field, to_other_unit)
    if "daily_units" in body:
        body["daily_units"][field or _first_variable(body)] = new
    elif "value" in body:
        body["value"]["timeSeries"][0]["variable"]["unit"]["unitCode"] = new
    return body


def _unit(body: Row, field: str | None) -> str:
    """The unit that the field's first figure comes in; empty if there is none."""
    if body.get("features"):
        return str(body["features"][0]["properties"].get("unit_of_measure", ""))
    if "daily_units" in body:
        return str(body["daily_units"].get(field or _first_variable(body), ""))
    series = body.get("value", {}).get("timeSeries")
    return str(series[0]["variable"]["unit"]["unitCode"]) if series else ""


def _first_variable(body: Row) -> str:
    return next(str(name) for name in body["daily"] if name != "time")
