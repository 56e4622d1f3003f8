"""Whether a data contract may follow the released one: what its readers can take needs a minor version, else a major.

They can take a column that may be null, a wider type, a null where there was none, and another range, meaning or
coercion. A column that is removed, renamed, retyped, in another unit or in or out of the key they cannot.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.errors import ContractError
from pipelines.faces import Avro
from pipelines.types import FACES, WIDENED

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two versions, and whether a reader of the older one breaks by it."""

    said: str
    breaks: bool


def parse_version(text: str, where: str) -> Version:
    """A version, such as 1.0, as numbers that can be compared; `where` it stands, for the error.

    Raises:
        ContractError: it is not of the form MAJOR.MINOR.
    """
    if not re.fullmatch(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)", text):
        raise ContractError(f"{where} has the version {text!r}; write it as MAJOR.MINOR, such as 1.0.")
    major, minor = text.split(".")
    return int(major), int(minor)


def problems(old: Avro, new: Avro) -> list[str]:
    """Why a contract may not follow a released one; nothing where it may.

    Args:
        old: the released contract as an Avro schema.
        new: the declared one.

    Raises:
        ContractError: a version is not of the form MAJOR.MINOR.
    """
    name = f"{new['namespace'].removeprefix('headwater.')}.{new['name']}"
    before, now = (parse_version(one["version"], name) for one in (old, new))
    found = list(changes(old, new))
    next_major, next_minor = f"{before[0] + 1}.0", f"{before[0]}.{before[1] + 1}"
    if now < before:
        return [f"{name} is at version {new['version']}, but {old['version']} is released; a version never goes back."]
    if now == before and old != new:
        said = "; ".join(change.said for change in found) or "in an attribute that contracts do not know"
        bump = next_major if any(change.breaks for change in found) else next_minor
        return [f"{name} differs from its released version {old['version']} ({said}); bump it to {bump}."]
    if now[0] > before[0]:
        return []
    return [
        f"{name} {new['version']}: {change.said}, which breaks readers of {old['version']}; bump it to {next_major}."
        for change in found
        if change.breaks
    ]


def changes(old: Avro, new: Avro) -> Iterator[Change]:
    """The differences between two contracts, versions aside."""
    before, now = ({field["name"]: field for field in one["fields"]} for one in (old, new))
    added = [name for name in now if name not in before]
    for name in before:
        if name not in now:
            close = difflib.get_close_matches(name, added, 1, cutoff=0.4)
            yield Change(f"{name} was removed" + (f" or renamed to {close[0]}" if close else ""), breaks=True)
    for name in added:
        is_optional = _may_be_null(now[name]) and not now[name].get("key")
        yield Change(f"{name} was added" + ("" if is_optional else " and must be there"), breaks=not is_optional)
    kept = [name for name in before if name in now]
    for name in kept:
        yield from _field_changes(before[name], now[name])
    if kept != [name for name in now if name in before]:
        yield Change("the columns are in another order", breaks=False)
    for attribute, breaks in (("name", True), ("namespace", True), ("day_column", True), ("correction_days", False)):
        if old.get(attribute) != new.get(attribute):
            yield Change(_from_to(attribute, old, new), breaks)


def _field_changes(old: Avro, new: Avro) -> Iterator[Change]:
    name, before, now = old["name"], _plain_type(old), _plain_type(new)
    if before != now:
        wider = any(FACES[one].avro == before and FACES[other].avro == now for one, other in WIDENED.items())
        yield Change(f"{name} is a {_type_name(now)} and was a {_type_name(before)}", breaks=not wider)
    if _may_be_null(old) != _may_be_null(new):
        yield Change(f"{name} may {'now' if _may_be_null(new) else 'no longer'} be null", breaks=_may_be_null(old))
    if bool(old.get("key")) != bool(new.get("key")):
        yield Change(f"{name} {'came into' if new.get('key') else 'left'} the key", breaks=True)
    for attribute in ("unit", "doc", "minimum", "maximum", "coercions"):
        if old.get(attribute) != new.get(attribute):
            yield Change(f"{name} has another {_from_to(attribute, old, new)}", breaks=attribute == "unit")


def _from_to(attribute: str, old: Avro, new: Avro) -> str:
    return f"{attribute}: {new.get(attribute)!r} instead of {old.get(attribute)!r}"


def _may_be_null(field: Avro) -> bool:
    return isinstance(field["type"], list)


def _plain_type(field: Avro) -> object:
    return field["type"][1] if _may_be_null(field) else field["type"]


def _type_name(avro: object) -> str:
    return next((name for name, faces in FACES.items() if faces.avro == avro), str(avro))
