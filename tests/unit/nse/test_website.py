"""The exchange's website: notices of corporate actions."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from sandbox.nse.calendar import FIRST_SESSION
from sandbox.nse.events import ACTIONS
from sandbox.nse.instruments import instruments
from tests.unit.nse.answers import NOTICES, TODAY, client_of, recording, told


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
