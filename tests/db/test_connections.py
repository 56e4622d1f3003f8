"""How the warehouse is connected to: a session whose machine is gone is given up, and its locks with it."""

from __future__ import annotations

import pytest
from db.helpers import values

from pipelines import database

SHOWN = "select setting from pg_settings where name like 'tcp\\_keepalives\\_%' order by name"
"""Count, idle and interval."""


def test_the_server_asks_for_a_silent_client_and_the_client_for_the_server(url: str) -> None:
    assert values(url, SHOWN) == ["3", "60", "10"]
    with database.connect(url) as connection:
        asked = connection.get_dsn_parameters()
    assert [asked[f"keepalives_{name}"] for name in ("count", "idle", "interval")] == ["3", "60", "10"]


def test_what_the_address_asks_of_a_session_is_kept(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = f"{url}?options=-c%20work_mem%3D8MB"
    assert values(asked, "show work_mem") == ["8MB"]
    assert values(asked, SHOWN) == ["3", "60", "10"]
    assert values(f"{url}?options=-c%20tcp_keepalives_idle%3D30", SHOWN)[1] == "30"
    with database.connect(f"{url}?keepalives_idle=30") as connection:
        assert connection.get_dsn_parameters()["keepalives_idle"] == "30"
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=9MB")
    assert values(url, "show work_mem") == ["9MB"]


def test_what_is_set_for_the_session_outlives_a_transaction_that_is_rolled_back(url: str) -> None:
    with database.connect(url) as connection, connection.cursor() as cursor:
        assert not connection.autocommit
        cursor.execute("create table gone (x int)")
        connection.rollback()
        cursor.execute(SHOWN)
        assert [setting for (setting,) in cursor.fetchall()] == ["3", "60", "10"]
    assert not database.exists(url, "gone")
