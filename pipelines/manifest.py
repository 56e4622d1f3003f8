"""The feature manifest: what each column of a feature table is, by dbt's own declaration, and the SQL that makes it.

A feature's definition and `version` stand in the use case's dbt yml:

    - name: precip_sum_7d_mm
      data_type: double precision
      config: {meta: {version: 1}}
      description: "Precipitation of the last 7 days, mm."

Whoever changes what a feature means raises its version: models trained on either are then told apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from pipelines.errors import ContractError
from pipelines.settings import PROJECT, Settings
from pipelines.spec import UseCase

LEAST_WORDS = 4
"""Letters that a definition needs to be one."""
Role = Literal["key", "feature", "label", "note"]


@dataclass(frozen=True, slots=True)
class Feature:
    """A column of the feature table: `type` is Postgres', `role` whether a model may see it."""

    name: str
    type: str
    role: Role
    version: int
    definition: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def manifest(use_case: UseCase, columns: Iterable[str], folder: Path = PROJECT / "dbt" / "models") -> list[Feature]:
    """What each of these columns of the feature table is.

    Raises:
        ContractError: one is not declared, has no definition, or no version.
    """
    declared = {column["name"]: column for column in _declared(use_case, folder)}
    found, wrong = [], []
    for name in columns:
        column = declared.get(name, {})
        definition = " ".join(str(column.get("description", "")).split())
        version = column.get("config", {}).get("meta", {}).get("version")
        lacks = [
            what
            for what, is_there in (
                ("a declaration", bool(column)),
                ("a definition (description)", len(definition) >= LEAST_WORDS),
                ("a version (config: {meta: {version: 1}})", isinstance(version, int) and version >= 1),
            )
            if not is_there
        ]
        if lacks:
            wrong.append(f"{name} lacks {lacks[0]}")
        else:
            found.append(Feature(name, str(column.get("data_type", "")), _role(use_case, name), version, definition))
    if wrong:
        raise ContractError(
            f"{use_case.feature_table}: {'; '.join(wrong)}. Say what it is in dbt/models/{use_case.slug}/features."
        )
    return found


def _declared(use_case: UseCase, folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((folder / use_case.slug).rglob("*.yml")):
        for model in yaml.safe_load(path.read_text()).get("models", []):
            if model["name"] in {"features", f"{use_case.slug}__features"}:
                yield from model.get("columns", [])


def _role(use_case: UseCase, name: str) -> Role:
    if name in {use_case.entity, use_case.day_column}:
        return "key"
    if name in use_case.labels:
        return "label"
    return "note" if name in use_case.notes else "feature"


def sha256_of(features: list[Feature]) -> str:
    """A hash of names, types, versions and definitions."""
    told = [feature.to_dict() for feature in sorted(features, key=lambda feature: feature.name)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def compiled_sql(use_case: UseCase, settings: Settings) -> dict[str, str]:
    """The use case's dbt models as SQL, by file, as the newest build of its features sent them to Postgres.

    They name the days of that build's window. Empty where this machine has built none, and the features came from
    elsewhere.
    """
    folder = settings.home / "dbt" / use_case.slug / "compiled"
    found = sorted(path for path in folder.rglob("*.sql") if path.parent.suffix != ".yml")
    return {path.name: path.read_text(encoding="utf-8") for path in found}
