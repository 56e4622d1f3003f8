"""What can be said of the containers without an engine: the compose file, the passwords, the environments."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from dotenv import dotenv_values

from headwater.containers import __main__ as main
from headwater.containers import care, environment, secrets
from headwater.stack import airflow_env
from headwater.stack.postgres import DATABASES, reader_of, source_databases
from models.serving import package
from pipelines.errors import StackError
from pipelines.settings import PROJECT, Settings

BY_HAND = "care"
ENDING = {"airflow-init", "demo", BY_HAND}
GIVEN = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://airflow:x@postgres/airflow",
    **dict.fromkeys(airflow_env.SECRETS, "x" * 64),
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file."""
    found: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
    return found


def _values(path: Path) -> dict[str, str | None]:
    return dict(dotenv_values(path, interpolate=False))


def test_the_passwords_are_for_their_owner_alone_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    secrets.write(path)
    written = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError, match="stays as it is"):
        secrets.write(path)
    assert path.read_text() == written


def test_two_files_of_passwords_have_none_in_common(tmp_path: Path) -> None:
    for name in ("one", "two"):
        secrets.write(tmp_path / name)
    one, two = _values(tmp_path / "one"), _values(tmp_path / "two")
    same = {name for name in one if one[name] == two[name]}
    assert same == {"COMPOSE_PROFILES", "HEADWATER_SOURCES", "AIRFLOW_USERS"}
    assert all(len(str(value)) >= 32 for name, value in one.items() if name not in same)


def test_the_passwords_are_made_with_nothing_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-m", "headwater.containers.secrets", "ann:admin", "ben:op"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = _values(tmp_path / ".env")
    assert found["AIRFLOW_USERS"] == "admin:admin,ann:admin,ben:op"
    assert set(json.loads(str(found["AIRFLOW_PASSWORDS"]))) == {"admin", "ann", "ben"}


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (["ben:boss"], "^ben:boss is no user of Airflow; write NAME:ROLE"),
        (["ann"], "^ann is no user of Airflow; write NAME:ROLE"),
        (["ann:op:admin"], "^ann:op:admin is no user of Airflow"),
        (["admin:viewer"], "^admin:viewer: admin is admin already"),
        (["ann:op", "ann:viewer"], "^ann:viewer: ann is op already"),
    ],
)
def test_who_is_no_user_of_airflow_is_refused_in_a_sentence(tmp_path: Path, people: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        secrets.write(tmp_path / ".env", people)
    assert not (tmp_path / ".env").exists()


def test_admin_may_be_named_as_what_it_is(tmp_path: Path) -> None:
    secrets.write(tmp_path / ".env", ["admin:admin", "ann:op"])
    assert _values(tmp_path / ".env")["AIRFLOW_USERS"] == "admin:admin,ann:op"


def test_every_password_that_the_services_want_is_made_and_none_has_a_default(tmp_path: Path) -> None:
    secrets.write(tmp_path / ".env")
    made, text = set(_values(tmp_path / ".env")), (PROJECT / "docker-compose.yaml").read_text()
    wanted = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    assert len(wanted) > 15
    assert wanted <= made
    assert made - wanted == {"COMPOSE_PROFILES", "HEADWATER_SOURCES", "VALKEY_PASSWORD"}
    with_default = set(re.findall(r"\$\{([A-Z_]+):-", text))
    assert not {name for name in with_default if re.search("PASSWORD|KEY|SECRET", name)}


def test_each_role_of_the_database_gets_a_password() -> None:
    sources = [role for name in source_databases() for role in (name, reader_of(name))]
    assert {*DATABASES, *sources} <= set(secrets.DATABASE_ROLES)


def test_every_service_is_watched_bounded_and_on_loopback(compose: dict[str, Any]) -> None:
    assert len(compose["services"]) == 13
    for name, service in compose["services"].items():
        assert "mem_limit" in service, name
        assert 0 < service["pids_limit"] <= 4096, name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        if name not in ENDING:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name


def test_the_image_that_trains_has_what_goes_into_a_bento() -> None:
    copied = re.findall(r"^COPY ([a-z]\S+) /opt/headwater/", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert {"models", "pipelines", "dbt", "dags", package.REQUIREMENTS} <= set(copied)


def test_each_layer_of_the_images_ends_with_one_time_for_what_it_changed() -> None:
    final = (PROJECT / "Dockerfile").read_text().partition(" AS base\n")[2].replace("\\\n", "")
    layers = re.findall("^RUN .*", final, re.MULTILINE)
    assert len(layers) == 5
    assert all(re.search(r'touch .*--date="@\$SOURCE_DATE_EPOCH" [^&]*$', layer) for layer in layers)
    assert set(re.findall(r"target=(\S+)", "".join(layers))) == {"/mnt"}  # a folder that every base has


def test_no_service_that_goes_on_has_the_superuser_s_password(compose: dict[str, Any]) -> None:
    holders = {
        name for name, service in compose["services"].items() if "POSTGRES_PASSWORD" in service.get("environment", {})
    }
    assert holders == {"postgres", "airflow-init", BY_HAND}
    assert compose["services"][BY_HAND]["profiles"] == [BY_HAND]


def test_dask_is_reached_by_the_scheduler_alone_and_is_given_no_secret(compose: dict[str, Any]) -> None:
    beside = {name: service.get("networks", ["default"]) for name, service in compose["services"].items()}
    assert {name for name, networks in beside.items() if "dask" in networks} == {"scheduler", "dask", "dask-worker"}
    assert compose["networks"]["dask"] == {"internal": True}
    for name in ("mlflow", "sandbox"):  # nor the keys of upstreams
        assert compose["services"][name]["env_file"] == []
    for name in ("dask", "dask-worker"):
        assert beside[name] == ["dask"]
        assert not {"environment", "volumes", "ports"} & set(compose["services"][name])
        assert compose["services"][name]["env_file"] == []


def test_airflow_runs_in_containers_with_what_it_runs_with_on_a_laptop(tmp_path: Path) -> None:
    found = environment.airflow(tmp_path, GIVEN)
    assert airflow_env.TUNING.items() <= found.items()
    local = airflow_env.identity(tmp_path, 8080, GIVEN["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    differ = {name for name in local if found.get(name, local[name]) != local[name]}
    assert differ == {"AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "AIRFLOW__API__HOST"}


def test_a_user_for_whom_airflow_would_make_a_password_is_refused(tmp_path: Path) -> None:
    people = {"AIRFLOW_USERS": "admin:admin,ben:op", "AIRFLOW_PASSWORDS": '{"admin": "x"}'}
    with pytest.raises(StackError, match="no password of ben"):
        environment.airflow(tmp_path, {**GIVEN, **people})


def test_the_file_of_airflow_s_people_is_its_owner_s_alone(tmp_path: Path) -> None:
    people = {"AIRFLOW_USERS": "admin:admin", "AIRFLOW_PASSWORDS": '{"admin": "x"}'}
    environment.airflow(tmp_path, {**GIVEN, **people})
    assert stat.S_IMODE(airflow_env.passwords_file(tmp_path).stat().st_mode) == 0o600


@pytest.mark.parametrize("missing", [airflow_env.DATABASE, *airflow_env.SHARED_SECRETS])
def test_what_airflow_cannot_run_without_is_named(tmp_path: Path, missing: str) -> None:
    with pytest.raises(StackError, match=missing):
        environment.airflow(tmp_path, {name: value for name, value in GIVEN.items() if name != missing})


def test_what_was_given_airflow_s_database_is_airflow_and_what_was_not_is_left_alone(tmp_path: Path) -> None:
    expected = environment.of("airflow", tmp_path, GIVEN)
    assert all(environment.of(program, tmp_path, GIVEN) == expected for program in ("python", "bash"))
    assert environment.of("python", tmp_path, {"SANDBOX_OWNERS": "{}"}) == {"SANDBOX_OWNERS": "{}"}


def test_who_signs_and_checks_tokens_is_given_the_key_and_nobody_else(compose: dict[str, Any]) -> None:
    given = {name: set(service.get("environment", ())) for name, service in compose["services"].items()}
    (key,) = set(airflow_env.SECRETS) - set(airflow_env.SHARED_SECRETS)
    assert {name for name, names in given.items() if key in names} == {"api-server", "scheduler"}
    for name in ("api-server", "scheduler", "dag-processor", "triggerer", "demo"):
        assert set(airflow_env.SHARED_SECRETS) <= given[name]


def test_tls_can_be_demanded_of_whatever_reaches_postgres(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        given = service.get("environment", {})
        reaches = any("DATABASE_SERVER" in value for value in given.values())
        assert ({"PGSSLMODE", "PGSSLROOTCERT"} <= set(given)) is reaches, name


def test_a_volume_that_several_share_is_filled_by_one_that_is_made_before_them(compose: dict[str, Any]) -> None:
    mounted: dict[str, list[str]] = {}
    for name, service in compose["services"].items():
        # What is run by hand is made alone
        for volume in service.get("volumes", ()) if name != BY_HAND else ():
            mounted.setdefault(volume.partition(":")[0], []).append(name)
    shared = {volume: names for volume, names in mounted.items() if len(names) > 1}
    assert set(shared) == {"home", "bentos", "logs"}
    assert all("airflow-init" in names for names in shared.values())


def test_care_means_the_lake_of_dot_env_and_otherwise_that_of_the_other_containers(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = compose["services"][BY_HAND]["env_file"]
    assert files == ["docker/lake.env", {"path": ".env.containers", "required": False}]
    celery = (PROJECT / "compose.celery.yaml").read_text()
    names = set(dotenv_values(PROJECT / files[0]))
    assert names == set(re.findall(r"^  (HEADWATER_\w+):", celery, re.MULTILINE))
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert set(dotenv_values(PROJECT / files[0]).values()) == {""}
    monkeypatch.setenv("HEADWATER_LAKE_URL", "s3://bucket/lake")
    for name, value in dotenv_values(PROJECT / files[0]).items():
        monkeypatch.setenv(name, str(value))
    found = Settings()
    assert (found.lake_url, found.files_url, found.lake_options) == ("s3://bucket/lake", None, {})


@pytest.mark.parametrize("job", [care.backup, care.restore])
def test_an_option_is_no_name_of_a_backup(job: Callable[..., None]) -> None:
    with pytest.raises(StackError, match=r"--lake is no name of a backup; .*: backup NAME \[--lake\]"):
        job({}, "--lake", *([()] if job is care.backup else []))


def test_programs_that_get_no_warehouse_start_in_prod_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADWATER_DATABASE_URL", raising=False)
    monkeypatch.setenv("HEADWATER_ENV", "prod")
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path))
    started = Mock()
    monkeypatch.setattr(os, "execvpe", started)
    main.run("mlflow-like", "--now")
    assert started.call_args.args[1] == ("mlflow-like", "--now")
    assert care._settings().home == tmp_path
