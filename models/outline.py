"""A model as an outline: its steps, line by line, with the parameters that are not at their defaults."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

INDENT = "  "


def outline(model: Any) -> str:
    """The estimators of a model, each beneath that which it is a part of; the same text for the same model.

    scikit-learn's own `repr` is cut at 700 characters, and gives functions by their addresses.
    """
    return "\n".join(_lines("", model, 0))


def _lines(name: str, estimator: Any, depth: int) -> Iterator[str]:
    parts, values = [], []
    for key, value in _changed(estimator).items():
        members = _members(key, value)
        parts += members
        if not members:
            values.append(f"{key}={getattr(value, '__name__', None) or repr(value)}")
    said = f"{type(estimator).__name__}({', '.join(values)})" if values else type(estimator).__name__
    yield INDENT * depth + (f"{name}: {said}" if name else said)
    for part, member in parts:
        yield from _lines(part, member, depth + 1)


def _members(key: str, value: Any) -> list[tuple[str, Any]]:
    """The estimators that a parameter consists of, with their names; none where it is a plain value."""
    if hasattr(value, "get_params"):
        return [(key, value)]
    if isinstance(value, list | tuple) and value and all(isinstance(one, list | tuple) for one in value):
        return [(str(one[0]), one[1]) for one in value if hasattr(one[1], "get_params")]
    return []


def _changed(estimator: Any) -> dict[str, Any]:
    """The parameters that differ from those the class has by default."""
    defaults = {name: one.default for name, one in inspect.signature(type(estimator).__init__).parameters.items()}
    return {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if value is not None and repr(value) != repr(defaults.get(name))
    }
