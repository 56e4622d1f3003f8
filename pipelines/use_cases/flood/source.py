"""What is asked of the upstreams of the flood use case, and which parser reads which answer."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.http import Upstream
from pipelines.landing import LandedObject, Received, Recording
from pipelines.news import News
from pipelines.settings import Settings
from pipelines.spec import Dataset
from pipelines.use_cases.flood import camels, instants, openmeteo, usgs
from pipelines.use_cases.flood.spec import SITES, USE_CASE
from pipelines.window import Window

SITES_FILE = Path(__file__).with_name("sites.csv")
ARCHIVE_LAG_DAYS = 6
"""The archive's newest days are empty or preliminary; those come from the forecast's analysed past."""
PAST_FORECASTS_SINCE = date(2016, 1, 1)
"""The upstream keeps no forecasts from before."""


def fetch(dataset: Dataset, window: Window, settings: Settings) -> Iterator[Received]:
    """All answers of one data set for a window (dates at the sites), each asked for when it is wanted.

    Raises:
        SourceError: an upstream cannot be reached or refuses, after all tries.
        ContractError: an upstream calls the request wrong.
    """
    yield from _FETCHERS[dataset.name](window, settings)


def fetch_news(dataset: Dataset, news: News, settings: Settings) -> Iterator[Received]:
    """What there is of the instantaneous values since those that are known: one request for the sites that are up to
    date, and one for those that are behind.

    Raises:
        SourceError: an upstream cannot be reached or refuses, after all tries.
        ContractError: an upstream calls the request wrong.
    """
    with _upstream(dataset.source, settings) as upstream:
        for since, sites in news.asked([site["site_id"] for site in _sites(settings)]):
            yield from instants.fetch(upstream, sites, since, news.until)


def _sites(settings: Settings) -> list[dict[str, str]]:
    rows = csv.DictReader(SITES_FILE.read_text().splitlines())
    return [row for row in rows if row["network"] == settings.sources]


def _upstream(name: str, settings: Settings) -> Upstream:
    return Upstream(USE_CASE.source(name), settings)


def _fetch_sites(window: Window, settings: Settings) -> Iterator[Received]:
    yield Received(SITES_FILE.read_bytes(), SITES_FILE.name, "sites", {"network": settings.sources})


def _fetch_discharge(window: Window, settings: Settings) -> Iterator[Received]:
    with _upstream("usgs", settings) as upstream:
        for site in _sites(settings):
            yield from usgs.fetch(upstream, site["site_id"], window)


def _fetch_weather(window: Window, settings: Settings) -> Iterator[Received]:
    newest_archived = _today() - timedelta(days=ARCHIVE_LAG_DAYS + 1)
    for part, name, path in _split(
        window, newest_archived, ("openmeteo_archive", "/v1/archive"), ("openmeteo_forecast", "/v1/forecast")
    ):
        with _upstream(name, settings) as upstream:
            for site in _sites(settings):
                yield openmeteo.fetch(upstream, path, site, part)


def _fetch_forecast(window: Window, settings: Settings) -> Iterator[Received]:
    """The forecasts of the days that follow the window's days."""
    targets = Window(window.start + timedelta(days=1), window.end + timedelta(days=1))
    if targets.end < PAST_FORECASTS_SINCE:
        return
    targets = Window(max(targets.start, PAST_FORECASTS_SINCE), targets.end)
    newest_past = _today() - timedelta(days=2)
    for part, name, path in _split(
        targets, newest_past, ("openmeteo_past_forecast", "/v1/forecast"), ("openmeteo_forecast", "/v1/forecast")
    ):
        with _upstream(name, settings) as upstream:
            for site in _sites(settings):
                yield openmeteo.fetch(upstream, path, site, part)


_FETCHERS = {
    "sites": _fetch_sites,
    "discharge": _fetch_discharge,
    "weather": _fetch_weather,
    "forecast": _fetch_forecast,
}


def _today() -> date:
    return datetime.now(UTC).date()


def _split(
    window: Window, last_old: date, old: tuple[str, str], recent: tuple[str, str]
) -> Iterator[tuple[Window, str, str]]:
    """The part of a window up to `last_old` for one upstream, the rest for the other."""
    if window.start <= last_old:
        yield Window(window.start, min(window.end, last_old)), *old
    if window.end > last_old:
        yield Window(max(window.start, last_old + timedelta(days=1)), window.end), *recent


def _nwis(path: Path) -> dict[str, list[Received]]:
    """One recorded answer of the NWIS daily-values service, or a folder of them."""
    paths = sorted(path.glob("*.json")) if path.is_dir() else [path]
    return {"discharge": [Received(item.read_bytes(), item.name, "usgs-nwis", {}) for item in paths]}


RECORDED = {
    # 1 October 2005 splits CAMELS' common period, water years 1981 to 2014, about three to one
    "camels": Recording(camels.find, "a folder of CAMELS-US files", cutoff=date(2005, 10, 1)),
    "nwis": Recording(_nwis, "an NWIS daily-values answer (JSON), or a folder of them"),
}
"""History in files, by the name that `headwater bootstrap flood --<name> PATH` takes."""


def parse(dataset: Dataset, answers: Iterable[tuple[LandedObject, bytes]]) -> pl.DataFrame:
    """The rows of landed answers in the contract's columns, and `fault` where a row cannot be used.

    Raises:
        ContractError: an answer is not of its format.
    """
    return _PARSERS[dataset.name](list(answers))


def _parse_sites(answers: list[tuple[LandedObject, bytes]]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for item, body in answers:
        network = item.context.get("network")
        for row in csv.DictReader(body.decode().splitlines()):
            if network is None or row.pop("network") == network:
                rows.append({name: value or None for name, value in row.items()})
    names = [column.name for column in SITES.columns]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))


def _parse_discharge(answers: list[tuple[LandedObject, bytes]]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for item, body in answers:
        match item.format:
            case "usgs-ogc":
                rows += usgs.parse_ogc(body, item.request)
            case "usgs-nwis":
                rows += usgs.parse_nwis(body, item.request)
            case _:
                rows += camels.parse_streamflow(body, item.request)
    return usgs.to_frame(rows)


def _parse_instants(answers: list[tuple[LandedObject, bytes]]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for item, body in answers:
        read = instants.parse_nwis if item.format == "usgs-nwis" else instants.parse_ogc
        rows += read(body, item.request)
    return instants.to_frame(rows)


def _parse_weather(answers: list[tuple[LandedObject, bytes]]) -> pl.DataFrame:
    frames = []
    for item, body in answers:
        if item.format == camels.FORCING:
            frames.append(camels.parse_forcing(body, item.request, item.context["site_id"]))
        else:
            frames.append(openmeteo.parse(body, item.request, item.context["site_id"]))
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame(schema=camels.WEATHER_SCHEMA)


def _parse_forecast(answers: list[tuple[LandedObject, bytes]]) -> pl.DataFrame:
    """The weather of each day, under the day before it. CAMELS has no forecasts: what was observed stands in."""
    hindcasts = {item.context["site_id"] for item, _ in answers if item.format == camels.FORCING}
    return (
        _parse_weather(answers)
        .with_columns(
            (pl.col("day").cast(pl.String).str.to_date("%Y-%m-%d", strict=False) - pl.duration(days=1)).alias("day"),
            pl.col("site_id").is_in(list(hindcasts)).alias("is_hindcast"),
        )
        .rename({"precip_mm": "precip_next_mm", "temp_mean_c": "temp_next_c"})
    )


_PARSERS = {
    "sites": _parse_sites,
    "discharge": _parse_discharge,
    "instantaneous": _parse_instants,
    "weather": _parse_weather,
    "forecast": _parse_forecast,
}
