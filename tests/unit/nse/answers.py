"""What the sandbox's exchange is asked, and its answers as rows."""

from __future__ import annotations

import io
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from sandbox.app import create_app
from sandbox.nse.archive import Layout, path_of
from sandbox.nse.instruments import instruments
from sandbox.nse.market import Market, Quote

TODAY = date(2026, 11, 21)
BOTH = date(2024, 5, 10)
"""A day of the months in which both bhavcopies were published."""
LAYOUTS: tuple[Layout, ...] = ("legacy", "udiff", "delivery")
CLOSE = {"legacy": "CLOSE", "udiff": "ClsPric", "delivery": "CLOSE_PRICE"}
NOTICES = "/nse-website/api/corporates-corporateActions"


def client_of(today: date = TODAY) -> TestClient:
    return TestClient(create_app(clock=lambda: today))


def ask(client: TestClient, layout: Layout, day: date) -> httpx.Response:
    return client.get("/nse-archives" + path_of(layout, day))


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"] != "application/zip":
        return answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        (name,) = archive.namelist()
        return archive.read(name).decode()


def rows_of(answer: httpx.Response) -> list[dict[str, str]]:
    header, *lines = text_of(answer).splitlines()
    names = [name.strip() for name in header.split(",")]
    return [{name: cell.strip() for name, cell in zip(names, line.split(","), strict=False)} for line in lines]


def by_instrument(client: TestClient, layout: Layout, day: date) -> dict[tuple[str, str], dict[str, str]]:
    names = ("TckrSymb", "SctySrs") if layout == "udiff" else ("SYMBOL", "SERIES")
    return {(row[names[0]], row[names[1]]): row for row in rows_of(ask(client, layout, day))}


def told(client: TestClient, start: date, end: date, **params: str) -> list[dict[str, Any]]:
    span = {"from_date": start.strftime("%d-%m-%Y"), "to_date": end.strftime("%d-%m-%Y")}
    answer = client.get(NOTICES, params={"index": "equities", **span, **params})
    assert answer.status_code == 200, answer.text
    notices: list[dict[str, Any]] = answer.json()
    return notices


def history(market: Market, symbol: str) -> dict[date, Quote]:
    """The days on which a share was traded, under any of its symbols."""
    (row,) = (row for row, item in enumerate(instruments()) if item.symbol == symbol and item.is_equity)
    days = [(place, day) for place, day in enumerate(market.days) if day <= TODAY and market.traded[row, place]]
    return {day: market.quote(row, day, place) for place, day in days}


RECORDED: dict[Layout, str] = {
    "legacy": "nse/legacy_cm_zip/cm*bhav.csv.zip",
    "udiff": "nse/udiff/BhavCopy_NSE_CM_*.csv",
    "delivery": "nse/sec_bhavdata_full_zip/sec_bhavdata_full_*.csv.zip",
}


def recording(recordings: Path, pattern: str) -> Path:
    """The first recorded file of a pattern."""
    found = sorted(recordings.glob(pattern))
    if not found:
        pytest.skip(f"there is no recording {pattern} in {recordings}")
    return found[0]


def recorded(recordings: Path, layout: Layout) -> list[str]:
    """The lines of a recorded file."""
    path = recording(recordings, RECORDED[layout])
    if path.suffix != ".zip":
        return path.read_text().splitlines()
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0]).decode().splitlines()
