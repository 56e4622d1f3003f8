"""How many tasks may ask the same system at once, whichever runs they belong to.

Derived from the specs alone; standard library only, since parsing a DAG imports it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.spec import Dataset, UseCase

DEFAULT = "default_pool"
"""Airflow's own pool, for what asks no system that must be spared."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A number of slots; a task holds one of them while it runs."""

    name: str
    slots: int
    description: str


# One load writes while another reads its partition from the lake, or beside the one dbt build of a use case. A third
# writer makes each of them slower, for all share Postgres' log and disk.
WAREHOUSE = Pool("warehouse", 2, "Loads and dbt builds in Postgres, of all use cases.")


# Apart from both the upstream's and the warehouse's: the daily run waits for no nowcast. Two, for no run of a use case
# has more than one task at work.
NOWCAST = Pool("nowcast", 2, "All tasks of the forecasts between the daily runs.")


def upstream_pool(use_case: UseCase, dataset: Dataset) -> str:
    """Name of the pool that fetches of a data set run in; Airflow's own where it asks no upstream (a file of ours)."""
    known = {source.name for source in use_case.sources}
    return _name(use_case, dataset.source) if dataset.source in known else DEFAULT


def pools(use_cases: Iterable[UseCase]) -> list[Pool]:
    """Every pool that the DAGs of these use cases run in, but Airflow's own: one an upstream, and the warehouse."""
    upstreams = [
        Pool(
            _name(use_case, source.name),
            source.slots,
            f"Requests of {use_case.slug} to {source.live_url.partition('://')[2] or source.name} or its stand-in.",
        )
        for use_case in use_cases
        for source in use_case.sources
    ]
    return [*upstreams, WAREHOUSE, NOWCAST]


def _name(use_case: UseCase, source: str) -> str:
    return f"upstream_{use_case.slug}_{source}"
