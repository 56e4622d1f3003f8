"""The sandbox's exchange: its calendar and files, what is late or wrong at first, its notices and its market."""

from __future__ import annotations

import io
import json
import re
import zipfile
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from pipelines.calendar import expected_days
from pipelines.registry import use_cases
from pipelines.window import Window
from sandbox.app import create_app
from sandbox.nse.archive import (
    CORRECTED,
    LATE,
    LATE_DELIVERY,
    Layout,
    is_corrected,
    is_stale,
    path_of,
    published_on,
)
from sandbox.nse.calendar import FIRST_SESSION, HOLIDAYS, is_session, session_before, sessions
from sandbox.nse.events import ACTIONS, Action
from sandbox.nse.figures import TICK
from sandbox.nse.instruments import instruments, with_check_digit
from sandbox.nse.market import Market, Quote, market_of
from sandbox.nse.routes import newest_day
from sandbox.simulation import DRIFT_START, World, date_range

TODAY = date(2026, 11, 21)
BOTH = date(2024, 5, 10)
"""A day of the months in which both bhavcopies were published."""
LAYOUTS: tuple[Layout, ...] = ("legacy", "udiff", "delivery")
CLOSE = {"legacy": "CLOSE", "udiff": "ClsPric", "delivery": "CLOSE_PRICE"}
NOTICES = "/nse-website/api/corporates-corporateActions"


def client_of(today: date = TODAY) -> TestClient:
    return TestClient(create_app(clock=lambda: today))


@pytest.fixture(scope="module")
def client() -> TestClient:
    return client_of()


@pytest.fixture(scope="module")
def market() -> Market:
    return market_of(World(lambda: TODAY))


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


# --- the calendar


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


# --- the files


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


# --- what is late, wrong at first, or stale


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


# --- the market


def test_check_digits_are_those_of_the_exchange(recordings: Path) -> None:
    isins = [line.split(",")[12] for line in recorded(recordings, "legacy")[1:]]
    assert len(isins) > 1_000
    assert all(with_check_digit(isin[:11]) == isin for isin in isins)
    for item in instruments():
        assert re.fullmatch(r"INE9\d\dZ0[17]01\d|IN00\d{8}", item.isin(1))
    assert len({item.isin(1) for item in instruments()}) == len(instruments())


def test_symbols_are_nobody_s(recordings: Path) -> None:
    listed = recording(recordings, "nse/reference/EQUITY_L_*.csv").read_text().splitlines()
    real = {line.split(",")[0] for line in (*listed, *recorded(recordings, "legacy"))}
    assert {item.symbol for item in instruments()} & real == set()
    assert all(len(item.symbol) <= 10 for item in instruments())


def test_truth_of_a_day_does_not_change_as_today_advances(market: Market) -> None:
    later = market_of(World(lambda: date(2031, 3, 1)))
    for place in (0, 300, 900, len(market.days) - 1):
        assert market.quotes(market.days[place], place) == later.quotes(later.days[place], place)


def test_figures_of_a_day_hold_together(market: Market) -> None:
    prices, traded = market.prices, market.traded
    for name in ("open", "close", "average"):
        assert np.all((prices["low"] <= prices[name]) & (prices[name] <= prices["high"]))
    ticks = prices["close"] / TICK
    assert np.allclose(ticks, np.round(ticks), atol=1e-6)
    told = prices["last"] > 0
    assert 0.001 < 1.0 - told[traded].mean() < 0.01
    assert np.all((prices["low"] <= prices["last"]) & (prices["last"] <= prices["high"]) | ~told)
    assert np.all((market.counts["delivered"] >= 1) & (market.counts["delivered"] <= market.counts["volume"]))
    assert np.all((market.counts["trades"] >= 1) & (market.counts["trades"] <= market.counts["volume"]))


def test_previous_close_is_that_of_the_last_session_traded_and_not_adjusted(market: Market) -> None:
    for symbol in ("SONCHIRSLK", "NILGAITYRE", "RAJHANSFER", "NEELAMGEMS"):
        for before, after in pairwise(history(market, symbol).values()):
            assert after.prev_close == before.close


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: f"{action.symbol} {action.subject}")
def test_an_action_shows_in_the_price_and_the_isin_of_its_ex_date(market: Market, action: Action) -> None:
    days = history(market, action.symbol)
    assert is_session(action.day)
    before, after = (next(days[day] for day in found) for found in (
        (day for day in reversed(days) if day < action.day), (day for day in days if day >= action.day)
    ))  # fmt: skip
    assert after.prev_close == before.close
    assert before.close / after.close == pytest.approx(action.shares / action.left, rel=0.21)
    if action.face_value is None:
        assert after.isin == before.isin
    else:
        assert (int(before.isin[9:11]) + 1, before.isin[:9]) == (int(after.isin[9:11]), after.isin[:9])


def test_no_price_jumps_without_an_action(market: Market) -> None:
    calm = market.days.index(DRIFT_START)
    close, before = market.prices["close"], market.prices["prev_close"]
    jumps = market.traded & (np.abs(np.log(close / before)) > np.log(1.26))
    acted = {(action.symbol, action.day) for action in ACTIONS}
    returned = ("RAJHANSFER", date(2025, 1, 16))
    found = {(instruments()[row].symbol, market.days[column]) for row, column in np.argwhere(jumps[:, :calm])}
    assert found <= acted | {returned}
    assert len(found) >= 9


def test_volume_grows_with_the_shares_of_a_split(market: Market) -> None:
    days = history(market, "NILGAITYRE")
    before = [quote.volume for day, quote in days.items() if day < date(2022, 9, 15)]
    after = [quote.volume for day, quote in days.items() if date(2022, 9, 15) <= day < date(2023, 9, 15)]
    assert np.median(after) / np.median(before) == pytest.approx(5.0, rel=0.3)


def test_one_is_renamed_and_keeps_its_isin(market: Market) -> None:
    days = history(market, "ORMAZDLAB")
    assert {quote.symbol for day, quote in days.items() if day < date(2024, 4, 8)} == {"ORMAZDLAB"}
    assert {quote.symbol for day, quote in days.items() if day >= date(2024, 4, 8)} == {"ORMAZDLIFE"}
    assert len({quote.isin for quote in days.values()}) == 1


def test_one_moves_to_another_series_and_back(market: Market) -> None:
    series = [quote.series for quote in history(market, "NEELAMGEMS").values()]
    assert [first for first, second in pairwise([*series, ""]) if first != second] == ["EQ", "BE", "EQ"]


def test_one_is_listed_late_one_suspended_and_some_are_thin(market: Market) -> None:
    assert min(history(market, "UDAYASOLAR")) == date(2025, 6, 12)
    suspended = history(market, "RAJHANSFER")
    assert [day for day in suspended if date(2024, 8, 1) <= day < date(2025, 1, 16)] == []
    count = sum(day <= TODAY for day in market.days)
    assert len(suspended) < count - 100
    assert len(history(market, "INDRANIBNK")) == count
    assert 0.8 < len(history(market, "SONCHIRSLK")) / count < 0.95


def log_prices(market: Market, end: date = DRIFT_START) -> np.ndarray:
    """Log closes of the shares that are always traded and had no action, up to a day."""
    acted = {action.symbol for action in ACTIONS}
    rows = [row for row, item in enumerate(instruments()) if item.traded == 1.0 and item.symbol not in acted]
    return np.log(market.prices["close"][rows, : market.days.index(end)])


def auc(score: np.ndarray, label: np.ndarray) -> float:
    ranks = np.argsort(np.argsort(score)) + 1.0
    positive = label.sum()
    return float((ranks[label].sum() - positive * (positive + 1) / 2) / (positive * (len(label) - positive)))


def test_the_last_five_sessions_tell_something_of_the_next_five(market: Market) -> None:
    prices = log_prices(market)
    past, following = prices[:, 5:-5] - prices[:, :-10], prices[:, 10:] - prices[:, 5:-5]
    up = (following > 0).ravel()
    assert 0.55 < auc(-past.ravel(), up) < 0.61
    assert 0.45 < up.mean() < 0.55


def test_volatility_comes_in_clusters_and_shares_move_together(market: Market) -> None:
    returns = np.diff(log_prices(market), axis=1)
    sizes = np.abs(returns)
    assert np.mean([np.corrcoef(row[1:], row[:-1])[0, 1] for row in sizes]) > 0.05
    assert 0.01 < returns.std() < 0.03
    together = np.corrcoef(returns)
    assert 0.05 < together[np.triu_indices_from(together, 1)].mean() < 0.5


def test_drift_begins_on_its_day_with_a_crash_and_a_nervous_market(market: Market) -> None:
    begin = date(2025, 9, 1)
    drifted = market_of(World(lambda: TODAY, begin))
    place = market.days.index(begin)
    for name in ("close", "open"):
        assert np.array_equal(drifted.prices[name][:, :place], market.prices[name][:, :place])
    assert np.array_equal(drifted.counts["volume"][:, :place], market.counts["volume"][:, :place])
    fallen = log_prices(drifted, DRIFT_START)
    assert np.median(fallen[:, place + 12] - fallen[:, place]) < -0.10
    calm = np.diff(log_prices(market, DRIFT_START), axis=1)[:, place:].std()
    assert np.diff(fallen, axis=1)[:, place:].std() > 1.3 * calm


# --- the website


def test_the_front_page_gives_a_cookie(client: TestClient) -> None:
    assert client.get("/nse-website/").headers["set-cookie"].startswith("nsit=")


def test_a_notice_has_the_keys_and_types_of_the_recording(client: TestClient, recordings: Path) -> None:
    real = json.loads(recording(recordings, "nse/reference/*actions.json").read_text())[0]
    for notice in told(client, date(2023, 1, 1), date(2023, 12, 31)):
        assert {key: type(value) for key, value in notice.items()} == {key: type(real[key]) for key in real}
        assert re.fullmatch(r"\d\d-[A-Z][a-z]{2}-\d{4}", notice["exDate"])


def test_notices_are_asked_for_by_ex_date_with_both_ends(client: TestClient) -> None:
    day = date(2024, 9, 20)
    (notice,) = [notice for notice in told(client, day, day) if notice["symbol"] == "BHADRACEM"]
    assert notice["subject"].startswith("Bonus 1:1/ Face Value Split")
    assert notice["exDate"] == "20-Sep-2024"
    assert notice["faceVal"] == "5"
    around = told(client, day - timedelta(days=1), day + timedelta(days=1))
    assert [item for item in around if item["exDate"] == "20-Sep-2024"] == told(client, day, day)
    assert told(client, date(2019, 1, 1), FIRST_SESSION - timedelta(days=1)) == []


def test_every_action_that_moves_a_price_is_told(client: TestClient) -> None:
    notices = {(item["comp"], item["exDate"], item["subject"]) for item in told(client, FIRST_SESSION, TODAY)}
    names = {item.symbol: item.name for item in instruments() if item.is_equity}
    for action in ACTIONS:
        assert (names[action.symbol], f"{action.day:%d-%b-%Y}", action.subject) in notices
    assert len(notices) > 200


def test_the_text_of_a_split_or_bonus_says_what_it_does_to_the_shares() -> None:
    for action in ACTIONS:
        if "Ncrps" in action.subject or "Rights" in action.subject:
            assert action.shares == 1.0
            continue
        shares = 1.0
        if values := re.search(r"From R[se]\.? ?(\d+).* To R[se]\.? ?(\d+)", action.subject):
            shares *= int(values[1]) / int(values[2])
        if bonus := re.search(r"Bonus (\d+):(\d+)", action.subject):
            shares *= 1.0 + int(bonus[1]) / int(bonus[2])
        assert shares == pytest.approx(action.shares), action.subject


def test_a_notice_appears_two_weeks_ahead(client: TestClient) -> None:
    day = date(2026, 8, 21)
    seen = [len(told(client_of(day - timedelta(days=ahead)), day, day, index="equities")) for ahead in (15, 14, 0)]
    assert seen[0] == 0
    assert seen[1] == seen[2] > 0
    ahead = client_of(date(2026, 8, 10)).get(NOTICES).json()
    assert "VAJRALLOY" in {item["symbol"] for item in ahead}


def test_notices_carry_the_symbol_of_today_and_the_isin_of_their_day() -> None:
    def symbols(today: date) -> set[str]:
        found = told(client_of(today), date(2022, 1, 1), date(2023, 12, 31))
        return {item["symbol"] for item in found if item["comp"].startswith("Ormazd")}

    assert symbols(date(2024, 1, 10)) == {"ORMAZDLAB"}
    assert symbols(TODAY) == {"ORMAZDLIFE"}
    split = told(client_of(), date(2022, 9, 15), date(2022, 9, 15))
    assert [item["isin"][9:11] for item in split if item["symbol"] == "NILGAITYRE"] == ["02"]


def test_indices_keep_shares_small_companies_and_debt_apart(client: TestClient) -> None:
    year = (date(2025, 1, 1), date(2025, 12, 31))
    assert {item["series"] for item in told(client, *year)} == {"EQ", "BE"}
    assert {item["series"] for item in told(client, *year, index="sme")} == {"SM"}
    assert {item["subject"] for item in told(client, *year, index="debt")} == {"Interest Payment"}


def test_a_date_in_another_order_is_refused(client: TestClient) -> None:
    assert client.get(NOTICES, params={"from_date": "2024-09-20"}).status_code == 400


# --- faults


def spoilt(layout: Layout, kind: str, **options: Any) -> httpx.Response:
    client = client_of()
    client.post("/_faults", json={"path": "/nse-archives", "kind": kind, **options})
    return ask(client, layout, BOTH)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_spoilt_values_come_in_the_file_s_own_dress(client: TestClient, layout: Layout) -> None:
    sound, close = rows_of(ask(client, layout, BOTH)), CLOSE[layout]
    assert rows_of(spoilt(layout, "wrong_type"))[0][close] == "see remarks"
    assert float(rows_of(spoilt(layout, "out_of_range"))[0][close]) > 1e7
    assert rows_of(spoilt(layout, "duplicate")) == [*sound, sound[0]]
    renamed = rows_of(spoilt(layout, "renamed_field", rename_to="Clse"))
    assert [{**row, close: row["Clse"]} for row in renamed] == [{**row, "Clse": row[close]} for row in sound]
    assert close not in renamed[0]
    first = next(iter(sound[0]))
    assert rows_of(spoilt(layout, "wrong_type", field=first))[0] == {**sound[0], first: "see remarks"}
    assert rows_of(spoilt(layout, "out_of_range", field="no such column")) == sound


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_truncated_file_ends_in_the_middle_of_a_row(client: TestClient, layout: Layout) -> None:
    sound, cut = text_of(ask(client, layout, BOTH)), text_of(spoilt(layout, "truncated"))
    assert sound.startswith(cut)
    assert 0.4 * len(sound) < len(cut) < 0.6 * len(sound)
    assert cut.splitlines()[-1].count(",") < cut.splitlines()[1].count(",")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_stale_archive_serves_an_older_session_under_the_name_asked_for(client: TestClient, layout: Layout) -> None:
    assert text_of(spoilt(layout, "stale", days=1)) == text_of(ask(client, layout, date(2024, 5, 9)))
    assert text_of(spoilt(layout, "stale", days=6)) == text_of(ask(client, layout, date(2024, 5, 3)))


def test_a_page_may_come_in_place_of_an_archive_and_a_refusal_in_place_of_both() -> None:
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(spoilt("udiff", "not_json").content))
    assert spoilt("udiff", "status", status=403).status_code == 403


def test_spoilt_notices_are_a_list_still() -> None:
    day = date(2024, 9, 20)

    def notices(kind: str, **options: Any) -> list[dict[str, Any]]:
        client = client_of()
        client.post("/_faults", json={"path": "/nse-website", "kind": kind, **options})
        return told(client, day, day)

    sound = told(client_of(), day, day)
    assert notices("wrong_type")[0]["exDate"] == "see remarks"
    assert notices("duplicate") == [*sound, sound[0]]
    assert all("exDate" not in item for item in notices("renamed_field"))
    assert notices("wrong_unit") == sound
    newest = date(2026, 8, 21)
    early = client_of(newest)
    early.post("/_faults", json={"path": "/nse-website", "kind": "stale", "days": 20})
    assert told(early, newest, newest) == []
    assert told(early, newest, newest) != []
