"""The leakage probe: everything after a cut-off is changed, and no feature of a day before it may move.

The features are built twice from a copy of the raw tables, once as it is and once after `perturbation` has made
another future of it. What differs on a day before the cut-off has seen the future. Labels look ahead by their nature,
and are passed over, as are the notes that no model sees.

Only the day of a row counts, and not when it came: a correction of an earlier day, or a bill that is written days
after its month, is a fact about that day. Each build has what was known of the days before the cut-off in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipelines import comparison, database, dbt, ledger, perturbation
from pipelines.dbt import Built
from pipelines.perturbation import ASIDE
from pipelines.settings import PROJECT, Settings, get_settings
from pipelines.spec import UseCase
from pipelines.window import Window

STEP = "probe"
DAYS_BEFORE, DAYS_AFTER = 800, 200
"""Days of the copy on either side of the cut-off: more than two years of which the past speaks."""
SHARDED_DAYS = 31
"""The same where a month has millions of rows; more, where the features remember more."""
MOST_NAMED = 8
"""Columns that a verdict names."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A feature that has seen the future, the first dbt model that has the column so, and of how many rows."""

    column: str
    model: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What came of a probe: `rows` were compared, `passed_over` are those that their note marks as known later."""

    cutoff: date
    rows: int
    passed_over: int
    perturbed: dict[str, int]
    moved: tuple[Moved, ...]
    appeared: int
    vanished: int

    @property
    def passed(self) -> bool:
        """Whether nothing moved."""
        return not (self.moved or self.appeared or self.vanished)

    def __str__(self) -> str:
        if not self.rows:
            return f"leakage not probed: the warehouse has no features of days before {self.cutoff} to compare"
        if self.passed:
            later = f"; {self.passed_over} rows that are marked as known later were passed over"
            return (
                f"no feature of {self.rows} rows before {self.cutoff} moved when {sum(self.perturbed.values())} rows "
                f"from it on were changed, removed or invented{later if self.passed_over else ''}"
            )
        said = [f"{one.column} ({one.model}, {one.rows} rows)" for one in self.moved[:MOST_NAMED]]
        if len(self.moved) > MOST_NAMED:
            said.append(f"and {len(self.moved) - MOST_NAMED} more")
        if self.appeared or self.vanished:
            said.append(f"which rows there are ({self.appeared} appeared, {self.vanished} vanished)")
        return f"features before {self.cutoff} know what came after it: {', '.join(said)}"

    def told(self) -> dict[str, Any]:
        """All of it as plain values, for an XCom or JSON."""
        return {
            "passed": self.passed,
            "said": str(self),
            "columns": [one.column for one in self.moved[:MOST_NAMED]],
            "models": sorted({one.model for one in self.moved}),
            "cutoff": str(self.cutoff),
            "rows": self.rows,
            "passed_over": self.passed_over,
            "appeared": self.appeared,
            "vanished": self.vanished,
            **self.perturbed,
        }


def probe(use_case: UseCase, cutoff: date, settings: Settings | None = None, project: Path = PROJECT / "dbt") -> Probe:
    """Builds the features twice, the second time with another future, and compares those of the days before.

    Reads what is loaded, and writes to schemas aside, which are dropped at the end; nobody waits for it. Bounded: of
    few years around the cut-off, and of very many rows those of some entities.

    Args:
        use_case: Whose features.
        cutoff: The first day that is changed.
        settings: Of the warehouse.
        project: The dbt project.

    Raises:
        TransformError: a dbt model failed.
    """
    settings = settings or get_settings()
    url, window = settings.require_database(), _around(use_case, cutoff)
    with (
        database.exclusively(url, f"probe {use_case.slug}"),
        ledger.entry(url, use_case, "features", STEP, window) as report,
    ):
        try:
            found = _probe(url, use_case, cutoff, window, settings, project)
        finally:
            dbt.drop_built(url, use_case, ASIDE)
            perturbation.drop(url, use_case)
        report.counts, report.detail = {"received": found.rows}, found.told()
    return found


def _around(use_case: UseCase, cutoff: date) -> Window:
    """The days that are copied."""
    if any(dataset.shard_rows for dataset in use_case.datasets):
        before = after = SHARDED_DAYS + use_case.memory_days
    else:
        before, after = DAYS_BEFORE, DAYS_AFTER
    return Window(cutoff - timedelta(days=before), cutoff + timedelta(days=after))


def _probe(url: str, use_case: UseCase, cutoff: date, window: Window, settings: Settings, project: Path) -> Probe:
    copied = perturbation.copy(url, use_case, window)
    dated = [dataset.name for dataset in use_case.datasets if dataset.day_column is not None]
    if not any(copied[name] for name in dated):
        return Probe(cutoff=cutoff, rows=0, passed_over=0, perturbed={}, moved=(), appeared=0, vanished=0)
    dbt.drop_built(url, use_case, ASIDE)
    built = dbt.build_from_copies(use_case, window, settings, ASIDE, project)
    kept = _keep(url, use_case, built, cutoff)
    dbt.drop_built(url, use_case, ASIDE)
    perturbed = perturbation.perturb(url, use_case, cutoff, DAYS_AFTER)
    dbt.build_from_copies(use_case, window, settings, ASIDE, project)
    features = f"{use_case.slug}{ASIDE}.features"
    names = _feature_columns(url, use_case, features)
    before = _known(url, use_case, kept[features], features, names, cutoff, "known_before")
    after = _known(url, use_case, features, kept[features], names, cutoff, "known_after")
    key = (use_case.entity, use_case.day_column)
    found = comparison.compare(url, before, after, key, f"{_scratch(use_case)}.differences")
    moved = (Moved(one.name, _origin(url, use_case, built, kept, one.name), one.rows) for one in found.columns)
    (all_rows,) = database.query(url, f"select count(*) as rows from {kept[features]}")
    return Probe(
        cutoff=cutoff,
        rows=found.rows_before,
        passed_over=all_rows["rows"] - found.rows_before,
        perturbed=perturbed,
        moved=tuple(moved),
        appeared=found.added + max(found.doubled, 0),
        vanished=found.removed,
    )


def _scratch(use_case: UseCase) -> str:
    return f"{use_case.raw_schema}{ASIDE}"


def _keep(url: str, use_case: UseCase, built: list[Built], cutoff: date) -> dict[str, str]:
    """Keeps what was built of the days before the cut-off, of each model that has days."""
    kept = {}
    for place, model in enumerate(built):
        if use_case.day_column in database.columns(url, model.table):
            kept[model.table] = f"{_scratch(use_case)}.kept_{place}"
            database.query(url, f"create table {kept[model.table]} as select * from {model.table} "
                                f"where {use_case.day_column} < '{cutoff}'")  # fmt: skip
    return kept


def _feature_columns(url: str, use_case: UseCase, table: str) -> list[str]:
    hidden = {use_case.entity, use_case.day_column, *use_case.labels, *use_case.notes}
    return [name for name in database.columns(url, table) if name not in hidden]


def _known(url: str, use_case: UseCase, table: str, other: str, names: list[str], cutoff: date, name: str) -> str:
    """A table of the features of days before the cut-off, without the rows that either build marks as known later."""
    made, key = f"{_scratch(use_case)}.{name}", f"{use_case.entity}, {use_case.day_column}"
    later = (f"select {key} from {side} where {use_case.hindsight_note}" for side in (table, other))
    are_known = f"({key}) not in ({' union all '.join(later)})" if use_case.hindsight_note else "true"
    database.query(
        url,
        f"create table {made} as select {key}, {', '.join(names)} from {table} "
        f"where {use_case.day_column} < '{cutoff}' and {are_known}",
    )
    return made


def _origin(url: str, use_case: UseCase, built: list[Built], kept: dict[str, str], column: str) -> str:
    """File of the first model, in the order in which they were built, that has a column of this name which moved."""
    for model in built:
        if model.table in kept and column in database.columns(url, model.table):
            values = f"{use_case.day_column}, {column}"
            (row,) = database.query(
                url,
                f"select exists (select {values} from {kept[model.table]} "
                f"except all select {values} from {model.table}) as has_moved",
            )
            if row["has_moved"]:
                return model.path
    return built[-1].path
