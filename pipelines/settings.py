"""All settings, read in this one place.

They come from the environment (`HEADWATER_*`), then from `.env.<env>` and `.env` in the project's folder, then from the
`stack.env` that the local stack writes into the home folder when it starts. `HEADWATER_ENV` says which `<env>` that is:
the keys are the same in all, only their values differ. An unknown key is an error, but in `stack.env`: there it is of
another version, whose stack must still be ended, and the next cold start replaces it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from pipelines.errors import SettingsError
from pipelines.settings_errors import PREFIX as PREFIX
from pipelines.settings_errors import nameless, refusals, refuse_unknown, unreadable
from pipelines.spec import Source
from pipelines.storage import Store

PROJECT = Path(__file__).resolve().parents[1]
STACK_FILE = "stack.env"
Env = Literal["dev", "staging", "prod"]


def _listed(said: str) -> list[str]:
    return [part.strip() for part in said.split(",") if part.strip()]


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError("write it as http://127.0.0.1:3000")
    return url.rstrip("/")


def _store(url: str, options: Mapping[str, SecretStr]) -> Store:
    if "://" not in url:
        return Store.at(PROJECT / Path(url).expanduser())
    return Store.at(url, {name.lower(): value.get_secret_value() for name, value in options.items()})


class Settings(BaseSettings):
    """Settings of the pipelines, the models, the services and the command line."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", env_ignore_empty=True, extra="ignore", frozen=True
    )

    env: Env = "dev"
    """What this installation is for; `.env.<env>` comes before `.env`. Prod refuses what is only for trying things."""
    home: Path = PROJECT / "var"
    """Folder for everything that is written: lake, reports, logs, the local stack's state."""
    database_url: SecretStr | None = None
    """The warehouse, as postgresql://user:password@host:port/database."""
    lake_url: str | None = None
    """The lake: a folder, or s3://bucket/prefix; by default the folder `lake` in the home folder."""
    lake_options: dict[str, SecretStr] = {}
    """Endpoint, region and keys of the lake's object store, such as HEADWATER_LAKE_OPTIONS__AWS_ENDPOINT_URL."""
    files_url: str | None = None
    """Where several machines share reports, Bentos and logs of tasks: s3://bucket/prefix, with `lake_options`; by
    default each has its own in its home folder."""
    sources: Literal["sandbox", "live"] = "sandbox"
    """Whether upstreams are the sandbox on this machine or the real hosts."""
    sandbox_url: str = "http://127.0.0.1:8094"
    sandbox_databases: dict[str, SecretStr] = {}
    """Where the sandbox has the upstreams that are databases, by source name."""
    source_urls: dict[str, SecretStr] = {}
    """Where upstreams are, by source name, in place of the sandbox and of their public address."""
    source_options: dict[str, SecretStr] = {}
    """Endpoint, region and keys of the object store that upstreams are in, where it is one; as `lake_options`."""
    api_keys: dict[str, SecretStr] = {}
    """Keys of upstreams by source name, such as HEADWATER_API_KEYS__USGS; and `openlineage`, of that server."""
    dask: str | None = Field(None, pattern=r"^(local|(tcp|tls|wss?)://.+)$")
    """Where candidates are searched: a Dask scheduler such as tcp://10.0.0.1:8786, or `local` for one of their own."""
    mlflow_url: str = "http://127.0.0.1:5000"
    mlflow_public_url: str | None = None
    """Where people reach MLflow, where that is another address than our processes ask; what reports link to."""
    serving_url: Annotated[str, AfterValidator(_address)] = "http://127.0.0.1:3000"
    """Where the champions are served, each under the path of its use case."""
    serving_public_url: str | None = None
    """Where others ask them, where that is another address; what the demo shows."""
    serving_host: str = "127.0.0.1"
    """The interface that `headwater serve` listens on, at the port of `serving_url`; others than this machine's own
    loopback only where keys are required."""
    serving_workers: int = Field(1, ge=1, le=64)
    """How many processes answer there."""
    serving_keys: Literal["open", "required"] = "open"
    """Whether the service answers anybody, or only who sends an API key (`headwater keys create`)."""
    serving_key: SecretStr | None = None
    """The key that our own commands bring, such as `headwater predict`."""
    airflow_url: str = "http://127.0.0.1:8080"
    airflow_public_url: str | None = None
    """Where people reach Airflow, where that is another address than its API's here; what alerts link to."""
    alert_emails: str = ""
    """Who is told by e-mail of incidents, such as a failed DAG run: addresses, with commas between them."""
    alert_connections: str = ""
    """Where else incidents are told: ids of Airflow's connections, with commas, to Slack or to a webhook."""
    reviewers: str = ""
    """Who may approve a model in Airflow: names of its users, with commas between; without, whoever may run it."""
    openlineage: str = ""
    """Where OpenLineage events of the DAGs' tasks go: a server's URL, or a file in the home folder."""
    cost_cpu_hour: float = Field(0.04048, ge=0)
    """Price of an hour of one processor, for the page of costs. The defaults are those of AWS Fargate in us-east-1."""
    cost_memory_gb_hour: float = Field(0.004445, ge=0)
    """Price of a GB of memory for an hour."""
    cost_gb: float = Field(0.0, ge=0)
    """Price of a GB that a task reads or writes."""
    cost_currency: str = Field("USD", min_length=1, max_length=8)
    """What these prices are in."""
    log_days: int = Field(30, ge=1)
    """How long logs are kept after they were last written to."""
    http_timeout_s: float = Field(30.0, gt=0)
    http_attempts: int = Field(4, ge=1)
    """How often one request is tried before its task fails (and is retried by Airflow)."""

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return PROJECT / value.expanduser()

    @property
    def lake(self) -> Store:
        """Root of the lake.

        Raises:
            SettingsError: the lake cannot live at that URL.
        """
        if self.lake_url is None:
            return Store.at(self.home / "lake")
        return _store(self.lake_url, self.lake_options)

    @property
    def files(self) -> Store | None:
        """The store that is shared with other machines; None where there is none.

        Raises:
            SettingsError: it cannot be in such a place.
        """
        return _store(self.files_url, self.lake_options) if self.files_url else None

    def source_store(self, source: Source) -> Store | None:
        """The folder or the object store that an upstream was set to be in; None where it is a host.

        Raises:
            SettingsError: it cannot be in such a place.
        """
        url = self.source_url(source)
        if url.startswith(("http://", "https://")):
            return None
        return _store(url, self.source_options)

    @property
    def reports(self) -> Path:
        """Folder of the HTML reports."""
        return self.home / "reports"

    @property
    def airflow_pages(self) -> str:
        """Where people reach Airflow."""
        return self.airflow_public_url or self.airflow_url

    @property
    def mlflow_pages(self) -> str:
        """Where people reach MLflow."""
        return self.mlflow_public_url or self.mlflow_url

    @property
    def alert_recipients(self) -> list[str]:
        """The addresses of `alert_emails`."""
        return _listed(self.alert_emails)

    @property
    def alert_connection_ids(self) -> list[str]:
        """The ids of `alert_connections`."""
        return _listed(self.alert_connections)

    @property
    def reviewer_names(self) -> list[str]:
        """The names of `reviewers`."""
        return _listed(self.reviewers)

    def require_database(self) -> str:
        """The warehouse's URL.

        Raises:
            SettingsError: none is set, and no local stack has written one.
        """
        if self.database_url is None:
            raise SettingsError(
                f"{PREFIX}DATABASE_URL is not set and no local stack is running; start one with `headwater up`."
            )
        return self.database_url.get_secret_value()

    def source_url(self, source: Source) -> str:
        """Where an upstream is: where it was set to be, else its public address or its folder in the sandbox.

        Raises:
            SettingsError: it is a database, and nobody has set where.
        """
        if source.name in self.source_urls:
            return self.source_urls[source.name].get_secret_value().rstrip("/")
        if source.kind == "database":
            if self.sources == "sandbox" and source.name in self.sandbox_databases:
                return self.sandbox_databases[source.name].get_secret_value()
            raise SettingsError(
                f"{PREFIX}SOURCE_URLS__{source.name.upper()} is not set and no local stack keeps that database; write "
                "it as postgresql://reader:password@host:port/database, with an account that may only read."
            )
        return source.live_url if self.sources == "live" else self.sandbox_url + source.sandbox_path


@dataclass(frozen=True, slots=True)
class Layer:
    """One place that settings come from, with those of its keys that are ours; what is empty counts as not set."""

    where: str
    values: Mapping[str, str]
    file: Path | None = None


def layers() -> list[Layer]:
    """The places that settings come from; of those that have a key, the first one counts.

    Raises:
        SettingsError: `HEADWATER_ENV` is none that there is, or the file of one says that it is another.
    """
    environment = Layer("environment", _ours(os.environ))
    plain = _file(PROJECT / ".env")
    env = environment.values.get(f"{PREFIX}ENV") or plain.values.get(f"{PREFIX}ENV") or "dev"
    if env not in get_args(Env):
        raise SettingsError(f"{PREFIX}ENV is {env!r}, and must be one of {', '.join(get_args(Env))}.")
    own = _file(PROJECT / f".env.{env}")
    if (own.values.get(f"{PREFIX}ENV") or env) != env:
        raise SettingsError(f"{own.file} sets {PREFIX}ENV to another one than {env}; take the line out of it.")
    found = [environment, own, plain]
    if env != "prod":
        home = next(filter(None, (layer.values.get(f"{PREFIX}HOME") for layer in found)), "var")
        found.append(_file(PROJECT / Path(home).expanduser() / STACK_FILE))
    return found


def _file(path: Path) -> Layer:
    return Layer(path.name, _ours(dotenv_values(path)), path)


def _ours(values: Mapping[str, str | None]) -> dict[str, str]:
    """Names in capitals, since their case does not count."""
    return {key.upper(): value or "" for key, value in values.items() if key.upper().startswith(PREFIX)}


@cache
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        SettingsError: a key is unknown, a value cannot be used, or the environment is prod and `refusals` has some.
    """
    settings = read_settings(layers())
    if refused := refusals(settings):
        raise SettingsError(f"{PREFIX}ENV is {settings.env}: {' '.join(refused)}")
    return settings


def read_settings(found: list[Layer]) -> Settings:
    """The settings of these layers, the environment first.

    Raises:
        SettingsError: a key is unknown, or a value cannot be used.
    """
    for layer in found:
        if layer.where != STACK_FILE:
            refuse_unknown(layer.values, Settings.model_fields, str(layer.file or f"the {layer.where}"))
    files = [layer.file for layer in reversed(found) if layer.file is not None]
    try:
        return Settings(_env_file=tuple(files))  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "dict_type":
            raise nameless(str(first["loc"][0])) from None
        key = PREFIX + "__".join(str(part).upper() for part in first["loc"])
        raise SettingsError(
            f"The setting {key} cannot be used: {first['msg'].removeprefix('Value error, ')}."
        ) from error
    except UnreadableError as error:  # a mapping that is not JSON; its cause would show the value, which may be a key
        raise unreadable(error) from None
