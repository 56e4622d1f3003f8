"""API keys: shown once, stored as a hash, checked in memory, gone within two seconds of being revoked."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from db.helpers import make_settings, values
from typer.testing import CliRunner

from headwater import cli
from headwater.commands import keys as commands
from models import api_keys
from models.serving.keys import ANYBODY, Key, KeyRing, Refusal
from pipelines import database
from pipelines.errors import DatabaseError, NotFoundError, SettingsError
from pipelines.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, url: str) -> Settings:
    """Settings of an empty database."""
    return make_settings(tmp_path, url)


@pytest.fixture
def connection(url: str) -> Iterator[Any]:
    """As the service has one."""
    made = psycopg2.connect(url)
    yield made
    made.close()


def ring(connection: Any, **options: Any) -> KeyRing:
    made = KeyRing(**{"required": True, **options})
    made.refresh(connection)
    return made


def check(keys: KeyRing, header: str | None, use_case: str, rows: int) -> Key | Refusal:
    """As the service asks for each request: when it comes, and when it has been read."""
    found = keys.admit(header, use_case)
    return keys.charge(found, rows) if isinstance(found, Key) else found


def refused(answer: Key | Refusal) -> int:
    assert isinstance(answer, Refusal)
    return answer.status


def test_a_key_is_stored_as_the_hash_of_its_secret_and_nowhere_else(settings: Settings, url: str) -> None:
    key = api_keys.create(settings, "dashboard", "ann")["key"]
    prefix, key_id, secret = key.split("_", 2)
    assert (prefix, len(secret) >= 43) == ("hw", True), "32 random bytes"
    (row,) = database.query(url, "select * from serving.api_keys")
    assert row["secret_sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in str(row)
    assert (row["key_id"], row["name"], row["created_by"], row["use_cases"]) == (key_id, "dashboard", "ann", None)
    assert all("secret" not in name for name in api_keys.listed(settings)[0])


def test_only_the_whole_key_opens_and_only_what_it_is_for(settings: Settings, connection: Any) -> None:
    key = api_keys.create(settings, "dashboard", "ann", use_cases=["flood"])["key"]
    found = ring(connection)
    for header in (key, f"Bearer {key}", f"bearer {key}", f"BEARER  {key}"):
        answer = check(found, header, "flood", 1)
        assert isinstance(answer, Key)
        assert answer.name == "dashboard"
    assert refused(check(found, key, "taxi", 1)) == 403
    for header in (None, "", "Bearer ", key[:-1], key + "x", key.upper(), "hw_00_x", "Basic YTpi", "hw__", "\udc80"):
        assert refused(check(found, header, "flood", 1)) == 401, header


def test_open_takes_anybody_but_holds_whoever_sends_a_key_to_it(settings: Settings, connection: Any) -> None:
    key = api_keys.create(settings, "dashboard", "ann", requests_per_s=1)["key"]
    found = KeyRing(required=False)
    assert check(found, key, "flood", 1) is ANYBODY, "before any was read"
    found.refresh(connection)
    assert check(found, None, "flood", 10**6) is ANYBODY
    assert check(found, "Basic YTpi", "flood", 1) is ANYBODY
    assert isinstance(check(found, key, "flood", 1), Key)
    assert refused(check(found, key, "flood", 1)) == 429
    for header in (f"{key}x", f"Bearer {key}x", f"bearer {key}x"):
        assert refused(check(found, header, "flood", 1)) == 401, header


def test_rates_of_requests_and_rows_are_shared_out_among_the_workers(settings: Settings, connection: Any) -> None:
    key = api_keys.create(settings, "bulk", "ann", requests_per_s=40, rows_per_s=1000)["key"]
    found = ring(connection, workers=4)
    passed = [check(found, key, "flood", 1) for _ in range(15)]
    assert sum(isinstance(one, Key) for one in passed) == pytest.approx(10, abs=1)
    last = passed[-1]
    assert isinstance(last, Refusal)
    assert 0 < (last.retry_after_s or 0) <= 0.1
    other = ring(connection, workers=4)
    assert isinstance(check(other, key, "flood", 250), Key)
    assert refused(check(other, key, "flood", 100)) == 429


def test_a_request_counts_when_it_is_let_in_and_its_rows_when_they_are_known(
    settings: Settings, connection: Any
) -> None:
    key = api_keys.create(settings, "bulk", "ann", requests_per_s=2, rows_per_s=100)["key"]
    found = ring(connection)
    first = found.admit(key, "flood")
    assert isinstance(first, Key), "and its body cannot be used"
    assert isinstance(check(found, key, "flood", 100), Key)
    assert refused(found.admit(key, "flood")) == 429


def test_a_refresh_leaves_the_rates_where_they_were(settings: Settings, connection: Any) -> None:
    key = api_keys.create(settings, "bulk", "ann", requests_per_s=1)["key"]
    found = ring(connection)
    assert isinstance(check(found, key, "flood", 1), Key)
    found.refresh(connection)
    assert refused(check(found, key, "flood", 1)) == 429


def test_a_revoked_key_is_refused_after_the_next_refresh_and_its_use_was_noted(
    settings: Settings, connection: Any, url: str
) -> None:
    key = api_keys.create(settings, "dashboard", "ann")["key"]
    found = ring(connection)
    check(found, key, "flood", 1)
    found.refresh(connection)
    assert values(url, "select last_used_at > now() - interval '1 minute' from serving.api_keys") == [True]
    assert api_keys.revoke(settings, "dashboard", "bob")["revoked_by"] == "bob"
    assert isinstance(check(found, key, "flood", 1), Key), "until it is read"
    found.refresh(connection)
    assert refused(check(found, key, "flood", 1)) == 401
    with pytest.raises(NotFoundError, match="no key 'dashboard' that is not revoked"):
        api_keys.revoke(settings, "dashboard", "bob")
    api_keys.create(settings, "dashboard", "ann")


def test_an_unreachable_database_leaves_the_known_keys(settings: Settings, connection: Any) -> None:
    key = api_keys.create(settings, "dashboard", "ann")["key"]
    found = ring(connection)
    connection.close()
    with pytest.raises(DatabaseError, match="the known ones stay"):
        found.refresh(connection)
    assert isinstance(check(found, key, "flood", 1), Key)
    assert refused(check(KeyRing(required=True), key, "flood", 1)) == 503


def test_where_nothing_was_ever_served_there_are_no_keys(connection: Any) -> None:
    assert refused(check(ring(connection), "hw_00_x", "flood", 1)) == 401


def test_what_cannot_be_a_key_is_said(settings: Settings) -> None:
    api_keys.create(settings, "dashboard", "ann")
    with pytest.raises(SettingsError, match="headwater keys revoke dashboard"):
        api_keys.create(settings, "dashboard", "ann")
    with pytest.raises(SettingsError, match="above 0"):
        api_keys.create(settings, "other", "ann", rows_per_s=0)
    with pytest.raises(NotFoundError, match="no use case 'floods'"):
        api_keys.create(settings, "other", "ann", use_cases=["floods"])


def test_the_check_costs_microseconds(settings: Settings, connection: Any) -> None:
    key, found = api_keys.create(settings, "fast", "ann", requests_per_s=10**9)["key"], ring(connection)
    began = time.process_time()
    for _ in range(2000):
        check(found, key, "flood", 1)
    assert (time.process_time() - began) / 2000 < 100e-6


def test_keys_are_made_listed_and_revoked_on_the_command_line(
    settings: Settings, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "get_settings", lambda: settings)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli.app, ["keys", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    key = run("create", "dashboard", "--use-case", "flood", "--use-case", "taxi", "--rate", "100").strip()
    assert isinstance(check(ring(connection), key, "taxi", 1), Key)
    (listed,) = json.loads(run("list", "--json"))
    assert (listed["name"], listed["use_cases"], listed["requests_per_s"]) == ("dashboard", ["flood", "taxi"], 100.0)
    assert "dashboard" in run("list")
    assert "dashboard" in run("revoke", listed["key_id"])
    assert json.loads(run("list", "--json"))[0]["revoked_at"] is not None
