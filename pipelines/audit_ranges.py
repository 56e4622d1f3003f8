"""The values that a feature may have: by the dbt tests of its column, else by the contract's column of its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from pipelines.settings import PROJECT
from pipelines.spec import UseCase

TEST = "accepted_range"


@dataclass(frozen=True, slots=True)
class Range:
    """Least and greatest value, both included; None where there is no bound."""

    low: float | None = None
    high: float | None = None

    def outside(self, column: str) -> str:
        """The condition in SQL that a value is not within."""
        below = f"{column} < {self.low}" if self.low is not None else "false"
        above = f"{column} > {self.high}" if self.high is not None else "false"
        return f"{below} or {above}"

    def __str__(self) -> str:
        if self.low is None:
            return f"up to {self.high:g}" if self.high is not None else ""
        return f"{self.low:g} to {self.high:g}" if self.high is not None else f"{self.low:g} and more"


def ranges(use_case: UseCase) -> dict[str, Range]:
    """The ranges of the feature table's columns that have one, by name."""
    declared = (column for dataset in use_case.datasets for column in dataset.columns)
    bounded = [one for one in declared if one.type in ("float", "int") and (one.minimum, one.maximum) != (None, None)]
    return {one.name: Range(one.minimum, one.maximum) for one in bounded} | dict(_tested(use_case))


def _tested(use_case: UseCase) -> Iterator[tuple[str, Range]]:
    """What dbt holds the audited features against, before they are published."""
    for path in sorted((PROJECT / "dbt" / "models" / use_case.slug / "features").glob("*.yml")):
        for model in yaml.safe_load(path.read_text()).get("models", []):
            for column in model.get("columns", []):
                for test in column.get("data_tests", []):
                    if isinstance(test, dict) and TEST in test:
                        yield column["name"], _range(test[TEST])


def _range(test: dict[str, Any]) -> Range:
    bounds = test.get("arguments", test)
    return Range(bounds.get("min_value"), bounds.get("max_value"))
