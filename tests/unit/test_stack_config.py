"""The local stack's environment file, ports and secrets."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dotenv import dotenv_values

from headwater.stack import airflow_env, config, control
from headwater.stack.files import HOST, free_port, is_free, write_private
from pipelines.errors import StackError
from pipelines.settings import Settings, get_settings

PREFIXES = ("HEADWATER_", "AIRFLOW", "MLFLOW", "_MLFLOW")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [key for key in os.environ if key.startswith(PREFIXES)]:
        monkeypatch.delenv(key)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_file_is_readable_by_its_owner_alone_even_when_it_replaces_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), _mode(path)) == ("new", 0o600)


def test_secrets_lie_in_private_files_only_and_are_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    values = config.build(tmp_path)
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path).as_posix() for path in files} == {
        "stack.env",
        "airflow/passwords.json",
        "postgres/secrets.json",
    }
    assert {_mode(path) for path in files} == {0o600}
    assert capfd.readouterr() == ("", "")
    assert not caplog.text
    assert len(values["AIRFLOW__API_AUTH__JWT_SECRET"]) >= 64


def test_a_warm_start_keeps_every_secret_and_port(tmp_path: Path) -> None:
    first = config.build(tmp_path)
    password = config.admin_password(tmp_path)
    assert config.build(tmp_path) == first
    assert config.admin_password(tmp_path) == password


def test_two_homes_share_no_secret(tmp_path: Path) -> None:
    one, two = config.build(tmp_path / "one"), config.build(tmp_path / "two")
    for key in (*airflow_env.SECRETS, "HEADWATER_DATABASE_URL", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"):
        assert one[key] != two[key]


def test_the_settings_know_every_key_that_is_written_for_them(tmp_path: Path) -> None:
    values = config.build(tmp_path)
    known = {f"HEADWATER_{name.upper()}" for name in Settings.model_fields}
    assert {key.split("__")[0] for key in values if key.startswith("HEADWATER_")} <= known


def test_the_service_is_given_one_address_that_the_settings_find(tmp_path: Path) -> None:
    values = config.build(tmp_path)
    settings = Settings(_env_file=config.stack_env(tmp_path))  # type: ignore[call-arg]
    assert settings.serving_url == f"http://{HOST}:{values['PORT_SERVING']}"


def test_the_file_reads_back_as_it_was_built(tmp_path: Path) -> None:
    home = tmp_path / "a folder"
    values = config.build(home)
    assert config.load(home) == values
    assert dotenv_values(config.stack_env(home)) == values


def test_airflows_urls_follow_the_chosen_port(tmp_path: Path) -> None:
    values = config.build(tmp_path)
    url = f"http://{HOST}:{values['PORT_AIRFLOW']}"
    assert values["HEADWATER_AIRFLOW_URL"] == values["AIRFLOW__API__BASE_URL"] == url
    assert values["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == f"{url}/execution/"
    assert values["AIRFLOW__API__PORT"] == values["PORT_AIRFLOW"]


@contextmanager
def _taken(port: int = 0) -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind((HOST, port))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_taken_port_is_replaced_and_the_replacement_kept() -> None:
    with _taken() as port:
        assert not is_free(port)
        chosen = config.choose_ports({"PORT_MLFLOW": str(port)}, {})["MLFLOW"]
        assert chosen != port
        assert config.choose_ports({"PORT_MLFLOW": str(chosen)}, {})["MLFLOW"] == chosen


def test_ports_differ_from_each_other() -> None:
    ports = config.choose_ports({f"PORT_{name}": "5001" for name in config.USUAL_PORTS}, {})
    assert set(ports) == set(config.USUAL_PORTS)
    assert len(set(ports.values())) == len(ports)


def test_a_kept_port_goes_before_the_usual_one_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "is_free", lambda port: True)
    ports = config.choose_ports({"PORT_SERVING": "5000"}, {})
    assert ports["SERVING"] == 5000
    assert ports["MLFLOW"] not in {5000, ports["AIRFLOW"]}


def test_a_port_that_the_user_has_set_is_used_or_named_when_it_is_taken() -> None:
    port = free_port()
    wanted = {"HEADWATER_SERVING_URL": f"http://localhost:{port}"}
    assert config.choose_ports({}, wanted)["SERVING"] == port
    kept = {"PORT_MLFLOW": str(port)}
    assert config.choose_ports(kept, wanted)["MLFLOW"] != port
    with _taken(port), pytest.raises(StackError, match=f"Port {port} of HEADWATER_SERVING_URL is in use"):
        config.choose_ports({}, wanted)


def test_two_services_cannot_be_set_to_the_same_port() -> None:
    url = f"http://{HOST}:{free_port()}"
    wanted = {"HEADWATER_MLFLOW_URL": url, "HEADWATER_SERVING_URL": url}
    with pytest.raises(StackError, match="of HEADWATER_SERVING_URL is also another's"):
        config.choose_ports({}, wanted)


def test_the_users_environment_may_tune_airflow_and_not_turn_it_into_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "9")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production/airflow")
    values = config.build(tmp_path)
    environment = config.child_environment(tmp_path)
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "9"
    key = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
    assert environment[key] == values[key] != "postgresql://production/airflow"


def test_the_admin_password_is_the_one_in_airflows_file(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="headwater up"):
        config.admin_password(tmp_path)
    values = config.build(tmp_path)
    path = Path(values["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    assert json.loads(path.read_text()) == {"admin": config.admin_password(tmp_path)}


def test_no_local_stack_is_started_for_prod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path))
    monkeypatch.setenv("HEADWATER_ENV", "prod")
    monkeypatch.setenv("HEADWATER_SOURCES", "live")
    monkeypatch.setenv("HEADWATER_DATABASE_URL", "postgresql://u:p@far/d")
    get_settings.cache_clear()
    try:
        with pytest.raises(StackError, match="no place for prod; set HEADWATER_ENV to dev or staging"):
            control.up()
    finally:
        get_settings.cache_clear()
    assert list(tmp_path.iterdir()) == []
