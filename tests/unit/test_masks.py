"""What is masked in logs: every secret, also within addresses, and nothing that people must read there."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from pipelines import masks
from pipelines.settings import Settings


def test_every_secret_of_the_settings_is_found_and_no_address_without_one(tmp_path: Path) -> None:
    secret = {
        "lake_options": {"aws_secret_access_key": "store-secret", "aws_access_key_id": "headwater",
                         "aws_region": "eu-west-1", "aws_allow_http": "true", "aws_endpoint_url": "http://s3:9000"},
        "source_urls": {"crm": "postgresql://reader:q%40r%2Fst@crm/crm", "usgs": "https://usgs.example.org",
                        "tlc": "https://tlc.example.org/x?token=t1", "trees": "/srv/trees"},
        "api_keys": {"openmeteo": "key-of-meteo", "usgs": "short"},
    }  # fmt: skip
    found = masks.of_settings(
        Settings(
            home=tmp_path, database_url=SecretStr("host=db password=libpq-password"), serving_key=SecretStr("hw_1_key"),
            openlineage="https://me:of-lineage@marquez.example.org",
            **{name: {key: SecretStr(value) for key, value in values.items()} for name, values in secret.items()},
        )  # type: ignore[arg-type]
    )  # fmt: skip
    assert set(found) == {
        "store-secret", "postgresql://reader:q%40r%2Fst@crm/crm", "q%40r%2Fst", "q@r/st",
        "https://tlc.example.org/x?token=t1", "key-of-meteo", "libpq-password", "hw_1_key", "of-lineage",
    }  # fmt: skip


def test_the_environment_s_secrets_are_found_by_their_names_and_passwords_in_any_address() -> None:
    found = masks.of_environment(
        {
            "MLFLOW_TRACKING_PASSWORD": "of-mlflow",
            "AIRFLOW__CORE__FERNET_KEY": "of-fernet=",
            "AWS_SESSION_TOKEN": "of-session",
            "ODD_SECRET": "",
            "SHORT_KEY": "12345",
            "SANDBOX_OWNERS": '{"crm": "postgresql://crm:of-crm@db:5432/crm"}',
            "BROKER_URL": "redis://:of-valkey@valkey:6379/0",
            "HEADWATER_MLFLOW_URL": "http://mlflow:5000",
            "PATH": "/usr/bin:/bin",
        }
    )
    assert found == ["of-crm", "of-fernet=", "of-mlflow", "of-session", "of-valkey"]
