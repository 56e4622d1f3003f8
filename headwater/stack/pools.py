"""Airflow's pools, made as the specs have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headwater.stack.airflow import Airflow
from pipelines.errors import StackError
from pipelines.pools import Pool


def entity(pool: Pool) -> dict[str, Any]:
    """A pool as Airflow's API writes it. A task that waits for a person or an event gives its slot back meanwhile."""
    return {"name": pool.name, "slots": pool.slots, "description": pool.description, "include_deferred": False}


def apply(airflow: Airflow, wanted: Iterable[Pool]) -> list[str]:
    """Makes the pools that are missing, and sets those that differ right; others stay as they are.

    Returns:
        Names of the pools that were made or changed.

    Raises:
        StackError: Airflow cannot be reached or refuses.
    """
    present = {pool["name"]: pool for pool in airflow.pages("/pools", "pools")}
    changed = [one for one in map(entity, wanted) if not one.items() <= present.get(one["name"], {}).items()]
    if not changed:
        return []
    action = {"action": "create", "action_on_existence": "overwrite", "entities": changed}
    answer = airflow.call("PATCH", "/pools", json={"actions": [action]})
    if errors := (answer.get("create") or {}).get("errors"):
        raise StackError(f"Airflow did not make the pools: {errors[0].get('error')}.")
    return [str(one["name"]) for one in changed]
