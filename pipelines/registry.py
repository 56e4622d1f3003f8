"""Finds the use cases: every folder of `pipelines/use_cases` with a `spec.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pipelines.errors import NotFoundError, SettingsError
from pipelines.spec import Dataset, UseCase
from pipelines.views import View

USE_CASES = Path(__file__).parent / "use_cases"


@cache
def use_cases() -> dict[str, UseCase]:
    """All use cases by slug, in alphabetical order.

    Raises:
        SettingsError: a `spec.py` has no `USE_CASE`, or its slug differs from its folder's name (which also
            rules out that two use cases share a slug).
    """
    found: dict[str, UseCase] = {}
    for path in sorted(USE_CASES.glob("*/spec.py")):
        folder = path.parent.name
        use_case = getattr(import_module(f"pipelines.use_cases.{folder}.spec"), "USE_CASE", None)
        if not isinstance(use_case, UseCase):
            raise SettingsError(f"{path} declares no USE_CASE; give it one: USE_CASE = UseCase(slug={folder!r}, ...).")
        if use_case.slug != folder:
            raise SettingsError(
                f"{path} declares the slug {use_case.slug!r}, but its folder is {folder!r}; rename one of them."
            )
        found[use_case.slug] = use_case
    return found


def get_use_case(slug: str) -> UseCase:
    """The use case of that slug.

    Raises:
        NotFoundError: there is none.
    """
    try:
        return use_cases()[slug]
    except KeyError:
        raise NotFoundError(f"There is no use case {slug!r}; there is: {', '.join(use_cases())}.") from None


def part(use_case: UseCase, name: str) -> ModuleType:
    """The module `source` or `model` of a use case; imported on demand because it may be heavy."""
    return import_module(f"pipelines.use_cases.{use_case.slug}.{name}")


def texts(use_case: UseCase) -> tuple[str, ...]:
    """Names of the columns of a model's answer that are text, if there are any beside its `OUTPUTS`: its `TEXTS`."""
    return tuple(getattr(part(use_case, "model"), "TEXTS", ()))


def space(use_case: UseCase, candidate: str) -> Mapping[str, Sequence[Any]]:
    """The values to try of a candidate's parameters, by their names, if its module has any: of its `SPACES`."""
    found: Mapping[str, Sequence[Any]] = getattr(part(use_case, "model"), "SPACES", {}).get(candidate, {})
    return found


def get_dataset(use_case: UseCase, name: str) -> Dataset:
    """The data set of that name.

    Raises:
        NotFoundError: the use case has none of that name.
    """
    for dataset in use_case.stored:
        if dataset.name == name:
            return dataset
    known = ", ".join(dataset.name for dataset in use_case.stored)
    raise NotFoundError(f"{use_case.slug} has no data set {name!r}; it has: {known}.")


def view(use_case: UseCase) -> View:
    """How its forecasts are shown: the `VIEW` of its `view.py`; without one, as a table and nothing else."""
    if not (USE_CASES / use_case.slug / "view.py").exists():
        return View()
    found: View = part(use_case, "view").VIEW
    return found
