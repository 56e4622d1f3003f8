"""The settings in effect are shown with where they come from, and no secret is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.cli import app
from headwater.effective import effective, is_here, masked
from pipelines import settings as settings_module
from pipelines.settings import Settings, get_settings


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder of the test's own, without any setting."""
    for key in [key for key in os.environ if key.upper().startswith("HEADWATER_")]:
        monkeypatch.delenv(key)
    monkeypatch.setattr(settings_module, "PROJECT", tmp_path)
    (tmp_path / "var").mkdir()
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def shown() -> dict[str, tuple[str | None, str]]:
    return {entry.key: (entry.value, entry.origin) for entry in effective().entries}


def test_each_setting_says_where_it_comes_from(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "var" / "stack.env").write_text(
        "HEADWATER_DATABASE_URL=postgresql://u:p@stack/d\nHEADWATER_SERVING_URL=http://stack:1\n"
    )
    (project / ".env").write_text("HEADWATER_MLFLOW_URL=http://common\nHEADWATER_AIRFLOW_URL=http://common\n")
    (project / ".env.dev").write_text("HEADWATER_AIRFLOW_URL=http://dev\n")
    monkeypatch.setenv("HEADWATER_HTTP_ATTEMPTS", "2")
    monkeypatch.setenv("HEADWATER_SOURCES", "")
    found = shown()
    assert found["HEADWATER_HTTP_ATTEMPTS"] == ("2", "environment")
    assert found["HEADWATER_AIRFLOW_URL"] == ("http://dev", ".env.dev")
    assert found["HEADWATER_MLFLOW_URL"] == ("http://common", ".env")
    assert found["HEADWATER_DATABASE_URL"] == ("postgresql://u:***@stack/d", "stack.env")
    assert found["HEADWATER_SERVING_URL"] == ("http://stack:1", "stack.env")
    assert found["HEADWATER_SOURCES"] == ("sandbox", "default")
    assert found["HEADWATER_LAKE_URL"] == (None, "default")
    assert {key.split("__")[0] for key in found} == {f"HEADWATER_{name.upper()}" for name in Settings.model_fields}


SECRETS = {
    "HEADWATER_DATABASE_URL": "postgresql://me:hunter2@host/db?sslmode=require&sslpassword=hunter2",
    "HEADWATER_API_KEYS__USGS": "hunter2",
    "HEADWATER_LAKE_OPTIONS__AWS_SECRET_ACCESS_KEY": "hunter2",
    "HEADWATER_LAKE_OPTIONS__AWS_REGION": "eu-west-1",
    "HEADWATER_SOURCE_URLS__CRM": "postgresql://reader:hunter2@crm/crm",
    "HEADWATER_SOURCE_URLS__WELLS": "https://hunter2@wells.example/v1?token=hunter2#hunter2",
    "HEADWATER_SOURCE_URLS__TIDES": "host=tides password=hunter2",
    "HEADWATER_SOURCE_URLS__TREES": "/srv/trees",
    "HEADWATER_MLFLOW_URL": "https://me:hunter2@mlflow.example",
}


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_no_secret_is_printed_and_what_is_none_is(
    monkeypatch: pytest.MonkeyPatch, option: list[str], project: Path
) -> None:
    for key, value in SECRETS.items():
        monkeypatch.setenv(key, value)
    answer = CliRunner().invoke(app, ["config", *option])
    assert answer.exit_code == 0, answer.output
    assert "hunter2" not in answer.output
    for plain in ("sslmode=require", "reader:***@crm/crm", "/srv/trees", "eu-west-1", "me:***@mlflow.example"):
        assert plain in answer.output
    if option:
        told = json.loads(answer.output)
        assert told["env"] == "dev"
        assert {"key": "HEADWATER_API_KEYS__USGS", "value": "***", "from": "environment"} in told["settings"]


def test_a_mapping_given_whole_is_shown_by_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_API_KEYS", '{"usgs": "hunter2"}')
    assert shown()["HEADWATER_API_KEYS__USGS"] == ("***", "environment")


def test_a_folder_is_shown_whatever_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_HOME", "/srv/year=2026")
    assert shown()["HEADWATER_HOME"] == ("/srv/year=2026", "environment")


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("postgresql://u:p[@127.0.0.1:5/d", True),
        ("http://localhost:5000", True),
        ("http://[::1]:5000", True),
        ("postgresql://u:127.0.0.1@far/d", False),
        ("", False),
    ],
)
def test_an_address_of_this_machine_is_known_whatever_its_password(address: str, here: bool) -> None:
    assert is_here(address) is here


def test_what_prod_refuses_is_said_beside_what_is_in_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_ENV", "prod")
    answer = CliRunner().invoke(app, ["config"])
    assert answer.exit_code == 0
    assert "HEADWATER_ENV = prod  (environment)" in answer.output
    assert "Refused in prod: The sandbox's data is invented" in answer.output


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:pass@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:p@ss/w?o#rd@host:5/db", "postgresql://me:***@host:5/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("https://token@host/path", "https://***@host/path"),
        ("https://host/path?sig=abc&b", "https://host/path?sig=***&***"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("postgresql://me:one\ntwo@host/db", "postgresql://me:***@host/db"),
        ("password=pass host=here", "***"),
        ("/srv/data", "/srv/data"),
    ],
)
def test_an_address_keeps_what_is_no_secret(address: str, shown: str) -> None:
    assert masked(address) == shown
