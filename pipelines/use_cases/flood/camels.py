"""Bulk import of CAMELS-US: decades of daily discharge and catchment weather in text files.

Newman et al. (2015), https://doi.org/10.5194/hess-19-209-2015. Files are found by name in any folder below:

    <gauge>_streamflow_qc.txt       gauge, year, month, day, discharge in cubic feet a second, flag; no header
    <gauge>_lump_*_forcing_leap.txt three lines of basin data, a header, then precipitation (mm), tmax, tmin (degC)
    <gauge>_*_model_output.txt      a header, then PRCP (mm) and TAIR (degC); its OBS_RUN is 0 where flow is missing
    camels_name.txt, camels_topo.txt    names and coordinates
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.contract import FAULT, require_fields
from pipelines.errors import ContractError, NotFoundError
from pipelines.landing import Received
from pipelines.use_cases.flood.usgs import CUBIC_FOOT_M3, NO_DATA

STREAMFLOW, FORCING, SITES = "camels-streamflow", "camels-forcing", "camels-sites"
WEATHER_SCHEMA = {
    "site_id": pl.String,
    "day": pl.String,
    "precip_mm": pl.String,
    "temp_mean_c": pl.String,
    FAULT: pl.String,
}


def find(folder: Path) -> dict[str, list[Received]]:
    """The files below a folder by data set. A gauge's forcing serves twice: as weather and, a day on, as forecast.

    Raises:
        NotFoundError: there is no streamflow file.
    """
    streamflow = {_gauge(path): path for path in sorted(folder.rglob("*_streamflow_qc.txt"))}
    if not streamflow:
        raise NotFoundError(f"There is no *_streamflow_qc.txt below {folder}; name the folder of a CAMELS-US download.")
    forcing = {_gauge(path): path for path in sorted(folder.rglob("*_model_output.txt"))}
    forcing |= {_gauge(path): path for path in sorted(folder.rglob("*_forcing_leap.txt"), key=_daymet_last)}
    weather = [_received(forcing[gauge], FORCING) for gauge in streamflow if gauge in forcing]
    return {
        "sites": [_sites(folder, list(streamflow))],
        "discharge": [_received(path, STREAMFLOW) for path in streamflow.values()],
        "weather": weather,
        "forecast": weather,
    }


def _gauge(path: Path) -> str:
    return path.name.split("_")[0]


def _daymet_last(path: Path) -> tuple[bool, Path]:
    """Daymet (`cida`) is taken before Maurer and NLDAS, whose files give the mean temperature as both extremes."""
    return "_cida_" in path.name, path


def _received(path: Path, format_: str) -> Received:
    return Received(path.read_bytes(), path.name, format_, {"site_id": _gauge(path)})


def _sites(folder: Path, gauges: list[str]) -> Received:
    """A sites file made of the attributes for these gauges; without attributes, of their numbers alone."""
    attributes: dict[str, dict[str, str]] = {}
    for name in ("camels_name.txt", "camels_topo.txt"):
        for path in folder.rglob(name):
            table = csv.DictReader(path.read_text("utf-8-sig", "replace").splitlines(), delimiter=";")
            require_fields(table.fieldnames or (), ["gauge_id"], path.name)
            for row in table:
                attributes.setdefault(row["gauge_id"], {}).update(row)
    body = io.StringIO()
    writer = csv.writer(body)
    writer.writerow(["network", "site_id", "name", "latitude", "longitude", "timezone", "flood_discharge_m3s"])
    for gauge in gauges:
        known = attributes.get(gauge, {})
        name = known.get("gauge_name", f"CAMELS gauge {gauge}")
        writer.writerow(["camels", gauge, name, known.get("gauge_lat", ""), known.get("gauge_lon", ""), "", ""])
    return Received(body.getvalue().encode(), str(folder.name), SITES, {})


def parse_streamflow(body: bytes, where: str) -> Iterator[dict[str, Any]]:
    """Rows of one streamflow file (the schema of `usgs.SCHEMA`); -999 with flag M is a day without a value."""
    for number, fields in _lines(body):
        if len(fields) != 6:
            yield _broken(f"line {number} of {where} has {len(fields)} fields, not 6", fields)
            continue
        gauge, year, month, day, value, flag = fields
        yield {
            "site_id": gauge,
            "day": f"{year}-{month:0>2}-{day:0>2}",
            "discharge_m3s": None if value in NO_DATA else _cubic_metres(value),
            "is_provisional": flag.startswith("P"),
            "is_estimated": flag.endswith("e"),
            "qualifiers": flag,
            "series": "",
            FAULT: None,
        }


def _cubic_metres(value: str) -> str:
    try:
        return repr(float(value) * CUBIC_FOOT_M3)
    except ValueError:
        return value


def _broken(reason: str, fields: list[str]) -> dict[str, Any]:
    return {"site_id": fields[0] if fields else None, "qualifiers": " ".join(fields), "series": "", FAULT: reason}


def _lines(body: bytes) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(body.decode("utf-8-sig", "replace").splitlines(), start=1):
        if line.strip():
            yield number, line.split()


def parse_forcing(body: bytes, where: str, site_id: str) -> pl.DataFrame:
    """Rows of one forcing or model-output file: site_id, day, precip_mm, temp_mean_c, fault.

    Raises:
        ContractError: there is no header with year, precipitation and temperature.
    """
    lines = list(_lines(body))
    start = next((at for at, (_, fields) in enumerate(lines) if fields[0].lower() in {"yr", "year"}), None)
    if start is None:
        raise ContractError(f"{where} has no header line that begins with YR or Year; it is not a CAMELS forcing file.")
    header = [name.lower().split("(")[0] for name in lines[start][1]]
    header = [{"yr": "year", "mnth": "month", "dy": "day"}.get(name, name) for name in header]
    has_mean = "tair" in header
    require_fields(header, ["year", "month", "day", "prcp", *(["tair"] if has_mean else ["tmax", "tmin"])], where)
    rows = [_forcing_row(dict(zip(header, fields, strict=False)), len(fields), header, number, site_id)
            for number, fields in lines[start + 1 :]]  # fmt: skip
    return pl.DataFrame(rows, schema=WEATHER_SCHEMA)


def _forcing_row(named: dict[str, str], found: int, header: list[str], number: int, site_id: str) -> dict[str, Any]:
    if found != len(header):
        return {"site_id": site_id, FAULT: f"line {number} has {found} fields, not {len(header)}"}
    return {
        "site_id": site_id,
        "day": f"{named['year']}-{named['month']:0>2}-{named['day']:0>2}",
        "precip_mm": None if named["prcp"] in NO_DATA else named["prcp"],
        "temp_mean_c": _mean([named["tair"]] if "tair" in named else [named["tmax"], named["tmin"]]),
        FAULT: None,
    }


def _mean(values: list[str]) -> str | None:
    """Their mean as text; missing where one is missing; both texts where one is no number: the contract says so."""
    if any(value in NO_DATA for value in values):
        return None
    try:
        return repr(sum(map(float, values)) / len(values))
    except ValueError:
        return " and ".join(values)
