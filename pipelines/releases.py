"""The released data contracts: Avro schemas in `contracts/<slug>/<dataset>-<version>.avsc`, written once."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines import generated
from pipelines.compatibility import parse_version, problems
from pipelines.errors import ContractError
from pipelines.faces import Avro, avro_schema
from pipelines.settings import PROJECT
from pipelines.spec import Dataset, UseCase

FOLDER = "contracts"


def released_path(use_case: UseCase, dataset: Dataset) -> Path:
    """Where the declared version of a contract is released, in the repository."""
    return Path(FOLDER, use_case.slug, f"{dataset.name}-{dataset.version}.avsc")


def last_released(use_case: UseCase, dataset: Dataset, root: Path = PROJECT) -> Avro | None:
    """The newest released version of a contract; None where there is none.

    Raises:
        ContractError: its file cannot be read, or is named after another version.
    """
    paths = (root / FOLDER / use_case.slug).glob(f"{dataset.name}-*.avsc")
    versions = {parse_version(path.stem.removeprefix(f"{dataset.name}-"), str(path)): path for path in paths}
    if not versions:
        return None
    path = versions[max(versions)]
    try:
        found: Avro = json.loads(path.read_text("utf-8"))
        named = f"{found['name']}-{found['version']}"
    except (ValueError, KeyError, TypeError) as error:
        raise ContractError(f"{path} is no released contract ({error}); take it from git again.") from error
    if named != path.stem:
        raise ContractError(f"{path} holds {named}; take it from git again.")
    return found


def incompatible(use_case: UseCase, root: Path = PROJECT) -> list[str]:
    """Why declared contracts may not follow the released ones, a sentence each."""
    said = []
    for dataset in use_case.stored:
        parse_version(dataset.version, f"{use_case.slug}.{dataset.name}")
        last = last_released(use_case, dataset, root)
        if last is not None:
            said += problems(last, avro_schema(use_case, dataset))
    return said


def unreleased(use_case: UseCase, root: Path = PROJECT) -> list[Dataset]:
    """The data sets whose declared version has no released file."""
    return [dataset for dataset in use_case.stored if not (root / released_path(use_case, dataset)).exists()]


def faults(use_case: UseCase, root: Path = PROJECT) -> list[str]:
    """What is wrong with a use case's contracts and with the files that derive from them, a sentence each."""
    said = incompatible(use_case, root)
    if not said:
        said += [
            f"{use_case.slug}.{dataset.name} {dataset.version} is not released; run `headwater contracts release`."
            for dataset in unreleased(use_case, root)
        ]
    released = {path.stem.rpartition("-")[0] for path in (root / FOLDER / use_case.slug).glob("*.avsc")}
    for name in sorted(released - {dataset.name for dataset in use_case.stored}):
        said.append(
            f"{use_case.slug}.{name} is released, but no longer declared; declare it again, or, where nobody reads it "
            f"any more, delete {FOLDER}/{use_case.slug}/{name}-*.avsc."
        )
    for path in generated.outdated(use_case, root):
        said.append(f"{path} is not what the contracts say; run `headwater contracts write`.")
    return said


def release(use_case: UseCase, root: Path = PROJECT) -> list[str]:
    """Writes the contracts whose versions are not released yet, and gives their paths.

    Raises:
        ContractError: one may not follow its released version; nothing was written.
    """
    refused = incompatible(use_case, root)
    if refused:
        raise ContractError(f"{' '.join(refused)} Nothing was released.")
    paths = []
    for dataset in unreleased(use_case, root):
        path = released_path(use_case, dataset)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        # What is released stays: mode x refuses to overwrite
        with (root / path).open("x", encoding="utf-8") as file:
            file.write(json.dumps(avro_schema(use_case, dataset), indent=2, ensure_ascii=False) + "\n")
        paths.append(str(path))
    return paths
