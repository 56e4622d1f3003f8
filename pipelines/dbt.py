"""dbt in process: one build of a use case's models for a window, tests included."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2.extensions import parse_dsn

from pipelines import database
from pipelines.errors import TransformError
from pipelines.raw_tables import ensure_table
from pipelines.settings import PROJECT, Settings
from pipelines.spec import UseCase
from pipelines.window import Window

NOWCAST = "nowcast"
"""Folder of the models that are built between the daily runs."""


def _export_connection(settings: Settings) -> None:
    """dbt's profile takes the connection from the environment only."""
    dsn = {"host": "localhost", "port": "5432", "password": ""} | parse_dsn(settings.require_database())
    for name in ("host", "port", "user", "dbname"):
        os.environ[f"DBT_POSTGRES_{name.upper()}"] = dsn[name]
    # dbt keeps what has this prefix out of its logs
    os.environ["DBT_ENV_SECRET_PASSWORD"] = dsn["password"]


def build(use_case: UseCase, window: Window, settings: Settings, aside: str = "") -> list[dict[str, Any]]:
    """Builds and tests the use case's models for a window; `aside`, in schemas that have this after the slug.

    Returns:
        A row a node: name (of a model: its table's), kind (model, test), state, seconds, rows.

    Raises:
        TransformError: names each node that failed or was skipped.
    """
    for dataset in use_case.datasets:  # the models read all of them, also one that nothing was loaded into yet
        ensure_table(settings.require_database(), use_case, dataset)
    return [_node(result) for result in _invoke("build", use_case, window, settings, {"aside": aside})]


def build_nowcast(use_case: UseCase, window: Window, settings: Settings, variables: dict[str, Any]) -> list[str]:
    """Builds and tests the models of a use case's nowcast for a window; those of the daily run are only read.

    It has a lock and a target folder of its own, so that neither waits for the other.

    Returns:
        The names of the models that were built.

    Raises:
        TransformError: names each node that failed or was skipped.
    """
    results = _invoke("build", use_case, window, settings, {"aside": "", **variables}, part=NOWCAST)
    return [str(one.node.alias) for one in results if str(one.node.resource_type) == "model"]


@dataclass(frozen=True, slots=True)
class Built:
    """A model that was built: its table, and its file in the dbt project."""

    table: str
    path: str


def build_from_copies(
    use_case: UseCase, window: Window, settings: Settings, aside: str, project: Path = PROJECT / "dbt"
) -> list[Built]:
    """Builds the use case's models, without their tests, from copies of the raw tables.

    Both, the copies that are read and the tables that are made, lie in schemas that have `aside` after the use case's.

    Returns:
        The models in the order in which they were built.

    Raises:
        TransformError: names each node that failed or was skipped.
    """
    results = _invoke("run", use_case, window, settings, {"aside": aside, "sources_aside": aside}, project)
    return [Built(f"{one.node.schema}.{one.node.alias}", one.node.original_file_path) for one in results]


def drop_built(url: str, use_case: UseCase, aside: str) -> None:
    """Drops what was built in schemas that have `aside` after the slug; a build that was cut off may have left some."""
    sql = "select nspname from pg_namespace where nspname = %s or starts_with(nspname, %s)"
    for schema in database.query(url, sql, (f"{use_case.slug}{aside}", f"{use_case.slug}{aside}_")):
        database.query(url, f"drop schema {schema['nspname']} cascade")


def _invoke(
    command: str,
    use_case: UseCase,
    window: Window,
    settings: Settings,
    variables: dict[str, Any],
    project: Path = PROJECT / "dbt",
    part: str = "",
) -> list[Any]:
    from dbt.cli.main import dbtRunner  # takes seconds

    _export_connection(settings)
    name = f"{use_case.slug}{variables['aside']}" + (f"__{part}" if part else "")
    models = f"path:models/{use_case.slug}"
    selected = [f"{models}/{part}"] if part else [models, "--exclude", f"{models}/{NOWCAST}"]
    target = settings.home / "dbt" / name
    told = json.dumps({"start_day": str(window.start), "end_day": str(window.end), **variables})
    arguments = ["--quiet", "--no-send-anonymous-usage-stats", "--log-path", str(target / "logs"), command,
                 "--project-dir", str(project), "--profiles-dir", str(project), "--target-path", str(target),
                 "--select", *selected, "--vars", told]  # fmt: skip
    # One build of a use case at a time: the audit table and the target folder hold one window
    with database.exclusively(settings.require_database(), f"dbt {name}"):
        outcome = dbtRunner().invoke(arguments)
    if outcome.result is None or not hasattr(outcome.result, "results"):
        raise TransformError(f"dbt could not run {use_case.slug} {window}: {outcome.exception}. See {target / 'logs'}.")
    results = list(outcome.result.results)
    # dbt's exit code passes over some skipped nodes, so the states decide
    bad = [node for node in map(_node, results) if node["state"] not in {"success", "pass"}]
    if bad:
        said = "; ".join(f"{node['name']} {node['state']}: {node['message']}" for node in bad[:3])
        raise TransformError(
            f"{len(bad)} of {len(results)} dbt nodes of {use_case.slug} {window} did not pass ({said}). "
            "The features published before stand."
        )
    return results


def _node(result: Any) -> dict[str, Any]:
    kind = str(result.node.resource_type)
    return {
        "name": result.node.alias if kind == "model" else result.node.name,
        "kind": kind,
        "state": str(result.status),
        "seconds": round(result.execution_time, 3),
        "rows": int(result.adapter_response.get("rows_affected", 0) or 0),
        "message": " ".join(str(result.message).split()) if result.message else "",
    }
