"""The archive's calendar and files, and what is late, corrected or stale."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipelines.calendar import expected_days
from pipelines.registry import use_cases
from pipelines.window import Window
from sandbox.app import create_app
from sandbox.nse.archive import CORRECTED, LATE, LATE_DELIVERY, Layout, is_corrected, is_stale, published_on
from sandbox.nse.calendar import HOLIDAYS, is_session, session_before, sessions
from sandbox.nse.routes import newest_day
from sandbox.simulation import date_range
from tests.unit.nse.answers import (
    BOTH,
    CLOSE,
    LAYOUTS,
    TODAY,
    ask,
    by_instrument,
    client_of,
    recorded,
    recording,
    rows_of,
    text_of,
)


def test_the_exchange_trades_on_the_days_that_the_use_case_expects() -> None:
    window = Window(date(2022, 1, 1), date(2026, 12, 24))
    expected = expected_days(use_cases()["equities"].calendar, window)
    assert [day for day in date_range(window.start, window.end) if is_session(day)] == expected


@pytest.mark.parametrize("day", ["2022-10-24", "2023-11-12", "2024-01-20", "2025-02-01", "2025-10-21", "2026-11-08"])
def test_a_special_session_has_its_file(client: TestClient, day: str) -> None:
    assert ask(client, "delivery", date.fromisoformat(day)).status_code == 200


@pytest.mark.parametrize("day", ["2024-05-19", "2024-08-15", "2025-04-10", "2026-11-22", "2021-12-31"])
def test_a_day_without_trading_answers_404_in_html(client: TestClient, day: str) -> None:
    answer = ask(client, "udiff", date.fromisoformat(day))
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def shape(line: str) -> str:
    """A row with every figure as 9 and every word as a."""
    line = re.sub(r"\d+(\.\d+)?", lambda match: "9.9" if match[1] else "9", line)
    return re.sub(r"[A-Za-z][\w&%.()/ -]*", "a", line)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_is_written_as_the_recorded_one(client: TestClient, recordings: Path, layout: Layout) -> None:
    header, *lines = recorded(recordings, layout)
    own_header, *own = text_of(ask(client, layout, date(2024, 7, 1))).splitlines()
    assert own_header == header
    if layout == "legacy":  # its figures come without their last zeros
        own, lines = ([line.replace(".", "") for line in found] for found in (own, lines))
    symbols = re.compile(r"(?<=,)[A-Z0-9]*[A-Z][A-Z0-9]*(?=,)|^[^,]+")
    assert {shape(symbols.sub("a", line)) for line in own} <= {shape(symbols.sub("a", line)) for line in lines}


def test_udiff_had_another_header_while_it_ran_beside_the_legacy_format(client: TestClient, recordings: Path) -> None:
    path = recording(recordings, "nse/udiff/udiff_parallel_run_*.csv")
    header, *lines = text_of(ask(client, "udiff", date(2024, 1, 8))).splitlines()
    assert header == path.read_text().splitlines()[0]
    assert {line.count(",") for line in lines} == {header.count(",") - 1}


def test_formats_end_and_begin_on_their_days(client: TestClient) -> None:
    days = (date(2023, 12, 29), date(2024, 1, 1), date(2024, 7, 5), date(2024, 7, 8))
    assert [ask(client, "legacy", day).status_code for day in days] == [200, 200, 200, 404]
    assert [ask(client, "udiff", day).status_code for day in days] == [404, 200, 200, 200]
    assert [ask(client, "delivery", day).status_code for day in days] == [200, 200, 200, 200]


@pytest.mark.parametrize(
    "path",
    [
        "/content/historical/EQUITIES/2024/JUN/cm10MAY2024bhav.csv.zip",
        "/content/historical/EQUITIES/2024/MAY/cm10may2024bhav.csv.zip",
        "/content/cm/BhavCopy_NSE_CM_0_0_0_20240532_F_0000.csv.zip",
        "/products/content/sec_bhavdata_full_1052024.csv",
        "/products/content/sec_bhavdata_full.csv",
    ],
)
def test_a_name_that_the_archive_does_not_use_is_not_found(client: TestClient, path: str) -> None:
    assert client.get("/nse-archives" + path).status_code == 404


def test_an_archive_holds_the_one_file_of_its_name_and_is_the_same_each_time(client: TestClient) -> None:
    answer = ask(client, "legacy", BOTH)
    assert zipfile.ZipFile(io.BytesIO(answer.content)).namelist() == ["cm10MAY2024bhav.csv"]
    assert answer.content == ask(client_of(date(2028, 2, 1)), "legacy", BOTH).content


def test_the_three_layouts_tell_the_same_trades(client: TestClient) -> None:
    legacy, udiff, delivery = (by_instrument(client, layout, BOTH) for layout in LAYOUTS)
    assert set(legacy) == set(udiff) == set(delivery)
    assert len(legacy) > 55
    for key, row in legacy.items():
        assert float(row["CLOSE"]) == float(udiff[key]["ClsPric"]) == float(delivery[key]["CLOSE_PRICE"])
        assert row["TOTTRDQTY"] == udiff[key]["TtlTradgVol"] == delivery[key]["TTL_TRD_QNTY"]
        assert row["ISIN"] == udiff[key]["ISIN"]
        assert float(delivery[key]["TURNOVER_LACS"]) == pytest.approx(float(row["TOTTRDVAL"]) / 1e5, abs=0.006)


def test_deliveries_are_told_but_for_the_series_in_which_every_trade_is_one(client: TestClient) -> None:
    for (_, series), row in by_instrument(client, "delivery", BOTH).items():
        if series == "BE":
            assert (row["DELIV_QTY"], row["DELIV_PER"]) == ("-", "-")
        else:
            assert 0 < int(row["DELIV_QTY"]) <= int(row["TTL_TRD_QNTY"])


def test_debt_stands_beside_shares_and_may_carry_a_share_s_symbol(client: TestClient) -> None:
    days = [day for day in sessions(2024)[-200:] if published_on("delivery", day) == day][:5]
    seen = {key for day in days for key in by_instrument(client, "delivery", day)}
    assert {series for _, series in seen} == {"EQ", "BE", "SM", "N1", "NA", "GB", "GS"}
    assert {("MERUFIN", "EQ"), ("MERUFIN", "N1")} <= seen


def nth(rhythm: tuple[int, int]) -> list[date]:
    every, place = rhythm
    return [day for day in sessions(2026)[place::every] if day < TODAY]


def test_todays_file_appears_at_six_in_the_evening_in_kolkata() -> None:
    def newest(hour: int, minute: int) -> int:
        return newest_day(datetime(2026, 11, 20, hour, minute, tzinfo=UTC)).day

    assert [newest(0, 0), newest(12, 29), newest(12, 30), newest(23, 59)] == [19, 19, 20, 20]
    assert ask(client_of(date(2026, 11, 20)), "udiff", date(2026, 11, 20)).status_code == 200
    assert ask(client_of(date(2026, 11, 19)), "udiff", date(2026, 11, 20)).status_code == 404


def test_with_the_real_clock_no_file_of_tomorrow_is_there() -> None:
    day = next(day for day in sessions(2100) if day > datetime.now(UTC).date() + timedelta(days=1))
    assert ask(TestClient(create_app()), "udiff", day).status_code == 404


def test_a_late_session_has_no_file_until_three_days_after_it() -> None:
    late = nth(LATE)
    assert 5 < len(late) < 10
    for day in late[-3:]:
        for layout in ("udiff", "delivery"):
            found = [ask(client_of(day + timedelta(days=age)), layout, day).status_code for age in range(5)]
            assert found == [404, 404, 404, 200, 200]


def test_the_delivery_file_is_a_day_late_now_and_then() -> None:
    days = [day for day in nth(LATE_DELIVERY)[-5:] if day not in nth(LATE)]
    for day in days:
        assert ask(client_of(day), "udiff", day).status_code == 200
        assert ask(client_of(day), "delivery", day).status_code == 404
        assert ask(client_of(day + timedelta(days=1)), "delivery", day).status_code == 200


def test_a_first_version_differs_in_one_instrument_and_is_put_right_after_two_days() -> None:
    days = [day for day in nth(CORRECTED) if published_on("delivery", day) == day]
    assert len(days) > 30
    for day in days[-4:]:
        for layout in ("udiff", "delivery"):
            versions = [by_instrument(client_of(day + timedelta(days=age)), layout, day) for age in range(4)]
            assert versions[0] == versions[1]
            assert versions[2] == versions[3]
            changed = [key for key, row in versions[0].items() if row != versions[2][key]]
            assert len(changed) == 1
            first, right = versions[0][changed[0]], versions[2][changed[0]]
            assert first[CLOSE[layout]] != right[CLOSE[layout]]


def test_other_files_stand_from_their_first_hour() -> None:
    days = [day for day in sessions(2025)[-30:] if not is_corrected(day) and published_on("delivery", day) == day]
    for day in days:
        assert ask(client_of(day), "delivery", day).content == ask(client_of(), "delivery", day).content


def test_some_holidays_have_a_copy_of_the_session_before(client: TestClient) -> None:
    stale = [day for day in HOLIDAYS if day < TODAY and is_stale("delivery", day)]
    quiet = [day for day in HOLIDAYS if day < TODAY and not is_session(day) and not is_stale("delivery", day)]
    assert len(stale) > 10
    assert len(quiet) > 30
    for day in stale:
        assert ask(client, "delivery", day).content == ask(client, "delivery", session_before(day)).content
        assert {row["DATE1"] for row in rows_of(ask(client, "delivery", day))} == {f"{session_before(day):%d-%b-%Y}"}
        assert ask(client, "udiff", day).status_code == 404
        assert ask(client_of(day - timedelta(days=1)), "delivery", day).status_code == 404
    assert {ask(client, "delivery", day).status_code for day in quiet} == {404}
