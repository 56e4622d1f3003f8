"""How faults look in the exchange's own formats."""

from __future__ import annotations

import io
import zipfile
from datetime import date
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from sandbox.nse.archive import Layout
from tests.unit.nse.answers import BOTH, CLOSE, LAYOUTS, ask, client_of, rows_of, text_of, told


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
