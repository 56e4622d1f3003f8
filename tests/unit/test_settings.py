"""Settings: where they come from, who wins, and that mistakes are named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import tracking
from pipelines import settings as settings_module
from pipelines.errors import SettingsError
from pipelines.settings import Settings, get_settings
from pipelines.spec import Source
from pipelines.storage import Store


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder of the test's own, without any setting; the settings of the process are read anew."""
    for key in [key for key in os.environ if key.upper().startswith("HEADWATER_")]:
        monkeypatch.delenv(key)
    monkeypatch.setattr(settings_module, "PROJECT", tmp_path)
    (tmp_path / "var").mkdir()
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path / "var"))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def test_without_any_setting_the_sandbox_is_used_and_no_database() -> None:
    settings = get_settings()
    assert (settings.sources, settings.database_url, settings.api_keys) == ("sandbox", None, {})
    with pytest.raises(SettingsError, match=r"HEADWATER_DATABASE_URL is not set .* start one with `headwater up`"):
        settings.require_database()


def test_settings_are_read_once() -> None:
    assert get_settings() is get_settings()


def test_environment_wins_over_dotenv_and_dotenv_over_the_stack(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "var" / "stack.env").write_text(
        "HEADWATER_MLFLOW_URL=http://stack\nHEADWATER_SANDBOX_URL=http://stack\nHEADWATER_AIRFLOW_URL=http://stack\n"
    )
    (project / ".env").write_text("HEADWATER_MLFLOW_URL=http://dotenv\nHEADWATER_SANDBOX_URL=http://dotenv\n")
    monkeypatch.setenv("HEADWATER_MLFLOW_URL", "http://environment")
    settings = get_settings()
    assert settings.mlflow_url == "http://environment"
    assert settings.sandbox_url == "http://dotenv"
    assert settings.airflow_url == "http://stack"


def test_the_service_has_one_address_on_this_machine_and_keys_are_for_strangers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = get_settings()
    found = (settings.serving_url, settings.serving_host, settings.serving_workers, settings.serving_keys)
    assert found == ("http://127.0.0.1:3000", "127.0.0.1", 1, "open")
    get_settings.cache_clear()
    monkeypatch.setenv("HEADWATER_SERVING_URL", "https://predictions.example/")
    monkeypatch.setenv("HEADWATER_SERVING_KEY", "hw_1_s3cret")
    settings = get_settings()
    assert settings.serving_url == "https://predictions.example"
    assert "s3cret" not in repr(settings)


def test_an_upstream_is_where_it_was_set_to_be_else_in_the_sandbox_or_public(monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = Source(name="wells", live_url="https://wells.example", sandbox_path="/wells")
    assert Settings(sandbox_url="http://sandbox").source_url(upstream) == "http://sandbox/wells"
    assert Settings(sources="live").source_url(upstream) == "https://wells.example"
    monkeypatch.setenv("HEADWATER_SOURCE_URLS__WELLS", "https://mirror.example/wells/")
    assert get_settings().source_url(upstream) == "https://mirror.example/wells"
    assert "mirror" not in repr(get_settings())


def test_an_address_of_a_use_case_alone_is_refused_with_what_took_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_SERVING_URLS__FLOOD", "http://127.0.0.1:3000")
    with pytest.raises(
        SettingsError, match=r"HEADWATER_SERVING_URLS__FLOOD in .*; did you mean HEADWATER_SERVING_URL\?"
    ):
        get_settings()


def test_home_of_dotenv_says_where_the_stack_wrote(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADWATER_HOME")
    (project / "elsewhere").mkdir()
    (project / ".env").write_text("HEADWATER_HOME=elsewhere\n")
    (project / "elsewhere" / "stack.env").write_text("HEADWATER_DATABASE_URL=postgresql://u:p@h/d\n")
    settings = get_settings()
    assert settings.home == project / "elsewhere"
    assert settings.require_database() == "postgresql://u:p@h/d"


def test_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_HTTP_ATTEMPTS", "")
    assert get_settings().http_attempts == 4


def test_unknown_key_of_the_environment_is_refused_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_DATABSE_URL", "x")
    with pytest.raises(SettingsError, match=r"HEADWATER_DATABSE_URL in the environment; did you mean HEADWATER_DATA"):
        get_settings()


def test_unknown_key_of_a_file_is_refused_with_the_files_name(project: Path) -> None:
    (project / ".env").write_text("HEADWATER_QQQ=1\nOTHER_TOOLS_KEY=2\n")
    with pytest.raises(SettingsError, match=r"Unknown setting HEADWATER_QQQ in .*\.env; known are: HEADWATER_AIR"):
        get_settings()


def test_a_stack_of_another_version_can_still_be_ended_and_started_anew(project: Path) -> None:
    (project / "var" / "stack.env").write_text("HEADWATER_QQQ=1\nHEADWATER_MLFLOW_URL=http://stack\n")
    assert get_settings().mlflow_url == "http://stack"


def test_unknown_key_with_a_nested_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_APIKEYS__USGS", "secret")
    with pytest.raises(SettingsError, match="did you mean HEADWATER_API_KEYS") as caught:
        get_settings()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("HEADWATER_SOURCES", "moon"),
        ("HEADWATER_HTTP_ATTEMPTS", "many"),
        ("HEADWATER_HTTP_ATTEMPTS", "0"),
        ("HEADWATER_HTTP_TIMEOUT_S", "-1"),
        ("HEADWATER_API_KEYS", "abc123"),
        ("HEADWATER_SERVING_URL", "127.0.0.1:3000"),
        ("HEADWATER_SERVING_URL", "http://127.0.0.1:port"),
        ("HEADWATER_SERVING_WORKERS", "0"),
        ("HEADWATER_SERVING_KEYS", "maybe"),
    ],
)
def test_value_that_cannot_be_used_names_its_key(monkeypatch: pytest.MonkeyPatch, key: str, value: str) -> None:
    monkeypatch.setenv(key, value)
    with pytest.raises(SettingsError, match=f"The setting {key} cannot be used: "):
        get_settings()


def test_secrets_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_DATABASE_URL", "postgresql://me:hunter2@host/db")
    monkeypatch.setenv("HEADWATER_API_KEYS__USGS", "k3y")
    settings = get_settings()
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert "hunter2" not in shown
    assert "k3y" not in shown
    assert settings.api_keys["usgs"].get_secret_value() == "k3y"


@pytest.mark.parametrize(
    ("key", "example"),
    [
        ("HEADWATER_API_KEYS", "HEADWATER_API_KEYS__USGS"),
        ("HEADWATER_LAKE_OPTIONS", "HEADWATER_LAKE_OPTIONS__AWS_"),
    ],
)
def test_keys_that_are_not_json_are_not_shown_either(monkeypatch: pytest.MonkeyPatch, key: str, example: str) -> None:
    monkeypatch.setenv(key, "k3y")
    with pytest.raises(SettingsError, match=f"The setting {key} cannot be used: .* as in {example}") as caught:
        get_settings()
    assert "k3y" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_folders_do_not_depend_on_where_a_process_was_started(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert Settings(home=Path("var")).lake == Store(str(project / "var" / "lake"))
    assert Settings(home=Path("var")).reports == project / "var" / "reports"
    assert Settings(lake_url="lake").lake == Store(str(project / "lake"))
    assert Settings(lake_url="/srv/lake").lake == Store("/srv/lake")
    assert Settings(home=Path("~/headwater")).home == Path.home() / "headwater"


def test_a_lake_in_an_object_store_has_its_options_and_shows_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_LAKE_URL", "s3://bucket/lake/")
    monkeypatch.setenv("HEADWATER_LAKE_OPTIONS__AWS_SECRET_ACCESS_KEY", "k3y")
    found = get_settings().lake
    assert found.url == "s3://bucket/lake"
    assert found.options == {"aws_secret_access_key": "k3y"}
    assert "k3y" not in f"{found!r} {found} {get_settings()!r}"


@pytest.mark.parametrize("url", ["s3://", "ftp://host/lake", "https://bucket.example/lake"])
def test_a_lake_at_a_url_that_cannot_hold_one_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="is no place for a lake; name a folder, or a bucket"):
        _ = Settings(lake_url=url).lake


@pytest.mark.parametrize(
    "url", ["/srv/a%20b", "lake[1]", "/srv/lake#2", "s3://bucket/a b", "s3://bucket/lake#2", "s3://bucket/ä"]
)
def test_a_lake_under_a_name_that_the_libraries_misread_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="is no place for a lake because of the character"):
        _ = Settings(lake_url=url).lake


def test_people_are_sent_to_airflow_s_public_address_where_it_has_one() -> None:
    assert Settings(airflow_url="http://api-server:8080").airflow_pages == "http://api-server:8080"
    public = Settings(airflow_url="http://api-server:8080", airflow_public_url="https://airflow.example.com")
    assert public.airflow_pages == "https://airflow.example.com"


def test_links_lead_to_mlflow_s_public_address_and_requests_to_its_own() -> None:
    settings = Settings(mlflow_url="http://mlflow:5000", mlflow_public_url="https://mlflow.example.com")
    assert settings.mlflow_url == "http://mlflow:5000"
    assert tracking.run_link(settings, "1", "abc") == "https://mlflow.example.com/#/experiments/1/runs/abc"
    assert tracking.run_link(Settings(mlflow_url="http://mlflow"), "1", "abc").startswith("http://mlflow/#/")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        get_settings().sources = "live"  # type: ignore[misc]


# Environments


@pytest.mark.parametrize("env", ["dev", "staging", "prod"])
def test_the_file_of_an_environment_comes_before_the_common_one_and_after_the_environment(
    project: Path, monkeypatch: pytest.MonkeyPatch, env: str
) -> None:
    (project / ".env").write_text(
        f"HEADWATER_ENV={env}\nHEADWATER_SOURCES=live\nHEADWATER_DATABASE_URL=postgresql://u:p@h/d\n"
        "HEADWATER_MLFLOW_URL=http://common\nHEADWATER_AIRFLOW_URL=http://common\nHEADWATER_SANDBOX_URL=http://common\n"
    )
    for other in ("dev", "staging", "prod"):
        (project / f".env.{other}").write_text(
            f"HEADWATER_MLFLOW_URL=http://{other}\nHEADWATER_AIRFLOW_URL=http://{other}\n"
        )
    monkeypatch.setenv("HEADWATER_AIRFLOW_URL", "http://environment")
    settings = get_settings()
    assert settings.env == env
    assert settings.sandbox_url == "http://common"
    assert settings.mlflow_url == f"http://{env}"
    assert settings.airflow_url == "http://environment"


def test_the_environment_says_which_environment_it_is_before_the_file_does(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".env").write_text("HEADWATER_ENV=prod\n")
    monkeypatch.setenv("HEADWATER_ENV", "staging")
    assert get_settings().env == "staging"


@pytest.mark.parametrize("env", ["dev", "staging", "prod"])
def test_an_unknown_key_is_refused_in_the_file_of_each_environment(
    project: Path, monkeypatch: pytest.MonkeyPatch, env: str
) -> None:
    monkeypatch.setenv("HEADWATER_ENV", env)
    (project / f".env.{env}").write_text("HEADWATER_DATABSE_URL=postgresql://u:p@h/d\n")
    with pytest.raises(
        SettingsError,
        match=rf"Unknown setting HEADWATER_DATABSE_URL in .*\.env\.{env}; did you mean HEADWATER_DATABASE",
    ):
        get_settings()


def test_an_environment_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_ENV", "production")
    with pytest.raises(SettingsError, match="HEADWATER_ENV is 'production', and must be one of dev, staging, prod"):
        get_settings()


def test_the_file_of_an_environment_cannot_be_that_of_another(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_ENV", "staging")
    (project / ".env.staging").write_text("HEADWATER_ENV=prod\n")
    with pytest.raises(SettingsError, match=r"\.env\.staging sets HEADWATER_ENV to another one than staging"):
        get_settings()


def test_prod_takes_nothing_from_a_local_stack_and_refuses_what_is_only_for_trying(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "var" / "stack.env").write_text("HEADWATER_DATABASE_URL=postgresql://u:p@local/d\n")
    assert get_settings().require_database() == "postgresql://u:p@local/d"
    get_settings.cache_clear()
    monkeypatch.setenv("HEADWATER_ENV", "prod")
    with pytest.raises(SettingsError, match=r"set HEADWATER_SOURCES=live\. There is no database.*HEADWATER_DATABASE_"):
        get_settings()
    monkeypatch.setenv("HEADWATER_DATABASE_URL", "postgresql://u:p@far/d")
    with pytest.raises(SettingsError, match=r"HEADWATER_ENV is prod: .* set HEADWATER_SOURCES=live\.$"):
        get_settings()
    monkeypatch.setenv("HEADWATER_SOURCES", "live")
    assert get_settings().require_database() == "postgresql://u:p@far/d"
