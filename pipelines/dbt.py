"""dbt in process: one build of a use case's models for a window, tests included."""

from __future__ import annotations

import os
from typing import Any

from psycopg2.extensions import parse_dsn

from pipelines import database
from pipelines.errors import TransformError
from pipelines.raw_tables import ensure_table
from pipelines.settings import PROJECT, Settings
from pipelines.spec import UseCase
from pipelines.window import Window


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
    from dbt.cli.main import dbtRunner

    for dataset in use_case.datasets:  # the models read all of them, also one that nothing was loaded into yet
        ensure_table(settings.require_database(), use_case, dataset)
    _export_connection(settings)
    project = str(PROJECT / "dbt")
    name = f"{use_case.slug}{aside}"
    target = settings.home / "dbt" / name
    arguments = ["--quiet", "--no-send-anonymous-usage-stats", "--log-path", str(target / "logs"), "build",
                 "--project-dir", project, "--profiles-dir", project, "--target-path", str(target),
                 "--select", f"path:models/{use_case.slug}",
                 "--vars", f"{{start_day: '{window.start}', end_day: '{window.end}', aside: '{aside}'}}"]  # fmt: skip
    # One build of a use case at a time: the audit table and the target folder hold one window
    with database.exclusively(settings.require_database(), f"dbt {name}"):
        outcome = dbtRunner().invoke(arguments)
    if outcome.result is None or not hasattr(outcome.result, "results"):
        raise TransformError(f"dbt could not run {use_case.slug} {window}: {outcome.exception}. See {target / 'logs'}.")
    nodes = [_node(result) for result in outcome.result.results]
    # dbt's exit code passes over some skipped nodes, so the states decide
    bad = [node for node in nodes if node["state"] not in {"success", "pass"}]
    if bad:
        said = "; ".join(f"{node['name']} {node['state']}: {node['message']}" for node in bad[:3])
        raise TransformError(
            f"{len(bad)} of {len(nodes)} dbt nodes of {use_case.slug} {window} did not pass ({said}). "
            "The features published before stand."
        )
    return nodes


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
