"""What is asked of the exchange, what is made of what it lacks, and which files of a folder are its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from unit.equities.files import DAY, bytes_of, delivery, legacy, name_of, udiff, zipped

from pipelines.errors import NotFoundError, SourceError
from pipelines.settings import Settings
from pipelines.use_cases.equities import source
from pipelines.use_cases.equities.names import bhavcopy_path, day_in, delivery_path
from pipelines.use_cases.equities.spec import ACTIONS, PRICES
from pipelines.window import Window

ARCHIVES, WEBSITE = "/nse-archives", "/nse-website"


class Exchange:
    """A server with files by their paths; it keeps what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.seen: list[str] = []
        self.cookies: list[str | None] = []
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exchange.seen.append(self.path)
                exchange.cookies.append(self.headers.get("Cookie"))
                body = exchange.files.get(urlsplit(self.path).path)
                self.send_response(404 if body is None else 200)
                if self.path == f"{WEBSITE}/":
                    self.send_header("Set-Cookie", "nsit=1; path=/")
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.settings = Settings(sandbox_url=f"http://127.0.0.1:{self._server.server_port}", http_attempts=1)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    found = Exchange()
    yield found
    found.close()


def at(monkeypatch: pytest.MonkeyPatch, today: date) -> None:
    monkeypatch.setattr(source, "_today", lambda: today)


def test_each_session_has_its_two_files_under_the_exchanges_own_names(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, date(2024, 8, 1))
    friday, monday = date(2024, 7, 5), date(2024, 7, 8)
    paths = [
        "/content/historical/EQUITIES/2024/JUL/cm05JUL2024bhav.csv.zip",
        "/products/content/sec_bhavdata_full_05072024.csv",
        "/content/cm/BhavCopy_NSE_CM_0_0_0_20240708_F_0000.csv.zip",
        "/products/content/sec_bhavdata_full_08072024.csv",
    ]
    bodies = [
        zipped(("a.csv", bytes_of(legacy(friday)))), bytes_of(delivery(friday)),
        zipped(("b.csv", bytes_of(udiff(monday)))), bytes_of(delivery(monday)),
    ]  # fmt: skip
    exchange.files = {ARCHIVES + path: body for path, body in zip(paths, bodies, strict=True)}
    found = source.fetch(PRICES, Window(friday, monday), exchange.settings)
    assert exchange.seen == [ARCHIVES + path for path in paths], "nothing is asked for a weekend"
    assert [item.body for item in found] == bodies
    assert [item.context["day"] for item in found] == ["2024-07-05"] * 2 + ["2024-07-08"] * 2
    rows = parse(PRICES, found)
    assert rows.get_column("fault").null_count() == rows.height == 16


def parse(dataset: Any, received: list[Any]) -> Any:
    return source.parse(dataset, [(item, item.body) for item in received])


def test_a_file_that_is_not_there_is_noted_and_has_no_rows(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, date(2024, 8, 1))
    day = date(2024, 7, 10)
    exchange.files[ARCHIVES + bhavcopy_path(day)] = bytes_of(udiff(day))
    found = source.fetch(PRICES, Window(date(2024, 7, 9), day), exchange.settings)
    assert [(item.format, len(item.body) > 0) for item in found] == [
        ("absent", False), ("absent", False), ("csv", True), ("absent", False),
    ]  # fmt: skip
    assert set(parse(PRICES, found)["day"]) == {"2024-07-10"}


def test_todays_bhavcopy_that_is_not_there_yet_is_asked_for_again_later(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = date(2024, 7, 10)
    at(monkeypatch, today)
    with pytest.raises(
        SourceError, match=r"bhavcopy of 2024-07-10 is not published yet.*BhavCopy_NSE_CM_0_0_0_20240710"
    ):
        source.fetch(PRICES, Window(today, today), exchange.settings)
    exchange.files[ARCHIVES + bhavcopy_path(today)] = bytes_of(udiff(today))
    found = source.fetch(PRICES, Window(today, today), exchange.settings)
    assert [item.format for item in found] == ["csv", "absent"], "the deliveries may come later"


def test_nothing_is_asked_of_days_to_come_or_without_trading(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, date(2024, 7, 9))
    assert source.fetch(PRICES, Window.parse("2024-07-10", "2024-07-12"), exchange.settings) == []
    assert source.fetch(PRICES, Window.parse("2024-07-06", "2024-07-07"), exchange.settings) == []
    at(monkeypatch, date(2024, 8, 9))
    assert source.fetch(PRICES, Window.parse("2024-07-17", "2024-07-17"), exchange.settings) == [], "a holiday"
    assert exchange.seen == []


def test_today_is_the_day_in_india() -> None:
    assert abs((source._today() - date.today()).days) <= 1


def test_actions_are_asked_for_by_ex_date_in_spans_of_a_year_after_a_first_visit(exchange: Exchange) -> None:
    path = f"{WEBSITE}/api/corporates-corporateActions"
    exchange.files = {f"{WEBSITE}/": b"<html></html>", path: json.dumps([]).encode()}
    found = source.fetch(ACTIONS, Window.parse("2022-12-30", "2024-01-05"), exchange.settings)
    assert exchange.seen[0] == f"{WEBSITE}/"
    asked = [parse_qs(urlsplit(seen).query) for seen in exchange.seen[1:]]
    assert [(query["index"][0], query["from_date"][0], query["to_date"][0]) for query in asked] == [
        ("equities", "30-12-2022", "29-12-2023"), ("sme", "30-12-2022", "29-12-2023"),
        ("equities", "30-12-2023", "05-01-2024"), ("sme", "30-12-2023", "05-01-2024"),
    ]  # fmt: skip
    assert exchange.cookies[1:] == ["nsit=1"] * 4
    assert len(found) == 4
    assert parse(ACTIONS, found).height == 0


def test_a_website_without_its_front_page_still_gives_actions(exchange: Exchange) -> None:
    exchange.files = {f"{WEBSITE}/api/corporates-corporateActions": b"[]"}
    assert len(source.fetch(ACTIONS, Window.parse("2024-07-01", "2024-07-08"), exchange.settings)) == 2


# --- names


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("cm01JUL2019bhav.csv.zip", date(2019, 7, 1)),
        ("cm10JUN2010bhav.11col_variant.csv", date(2010, 6, 10)),
        ("CM01jul2019BHAV.CSV", date(2019, 7, 1)),
        ("BhavCopy_NSE_CM_0_0_0_20240708_F_0000.csv.zip", date(2024, 7, 8)),
        ("BhavCopy_BSE_CM_0_0_0_20240708_F_0000.CSV", date(2024, 7, 8)),
        ("sec_bhavdata_full_03062024.csv", date(2024, 6, 3)),
        ("sec_bhavdata_full_03052022.stale.csv", date(2022, 5, 3)),
        ("2019-10-27.csv", date(2019, 10, 27)),
        ("cm32JUL2019bhav.csv", None),
        ("sec_bhavdata_full_20240603.csv", None),
        ("prices.csv", None),
    ],
)
def test_the_day_of_a_file_is_read_from_its_name(name: str, day: date | None) -> None:
    assert day_in(name) == day


def test_the_names_that_are_asked_for_say_their_day() -> None:
    for day in (date(2010, 1, 4), date(2024, 7, 5), date(2024, 7, 8), date(2026, 11, 20)):
        assert day_in(bhavcopy_path(day).rpartition("/")[2]) == day
        assert day_in(delivery_path(day).rpartition("/")[2]) == day


def test_daily_files_of_any_layout_are_found_in_a_folder_and_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "2024").mkdir()
    for layout, lines in (("legacy", legacy()), ("udiff", udiff()), ("delivery", delivery())):
        (tmp_path / "2024" / name_of(layout)).write_bytes(bytes_of(lines))
    (tmp_path / "2024-03-05.csv").write_bytes(bytes_of(delivery(date(2024, 3, 5))))
    (tmp_path / "2024-03-06.csv").write_bytes(b"a,diary\n")
    (tmp_path / "unnamed.ZIP").write_bytes(zipped(("x", bytes_of(udiff()))))
    (tmp_path / "cm06MAR2024bhav.csv").write_bytes(b"<html>")
    (tmp_path / "EQUITY_L.csv").write_bytes(b"SYMBOL,NAME OF COMPANY, SERIES, ISIN NUMBER\nALPHA,Alpha,EQ,INE\n")
    (tmp_path / "Pd160125.csv").write_bytes(
        b"MKT,SERIES,SYMBOL,SECURITY,PREV_CL_PR,OPEN_PRICE,HIGH_PRICE,LOW_PRICE,CLOSE_PRICE,NET_TRDVAL\n"
    )
    (tmp_path / "notes.txt").write_text("SYMBOL,SERIES")
    found = source.RECORDED["bhavcopy"].find(tmp_path)["prices"]
    assert {item.request: item.context.get("day") for item in found} == {
        name_of("legacy"): str(DAY), name_of("udiff"): str(DAY), name_of("delivery"): str(DAY),
        "2024-03-05.csv": "2024-03-05", "unnamed.ZIP": None, "cm06MAR2024bhav.csv": "2024-03-06",
    }  # fmt: skip
    single = source.RECORDED["bhavcopy"].find(tmp_path / "2024-03-06.csv")["prices"]
    assert [item.request for item in single] == ["2024-03-06.csv"], (
        "a file that is named itself is read, whatever it is"
    )


@pytest.mark.parametrize("kind", source.RECORDED)
def test_a_folder_without_such_files_is_said(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(NotFoundError, match="There is no file at"):
        source.RECORDED[kind].find(tmp_path)
