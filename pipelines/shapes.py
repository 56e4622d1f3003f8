"""The shape of an upstream's answer: which fields it has, of which types and in which units; never their values."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Shape = dict[str, dict[str, Any]]
"""By the path of a field: its `types`, and whether it is `always` there where what it belongs to is."""
CSV_ROWS = 1000
"""Rows of a CSV file whose values say what type a column has."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NUMBERED = re.compile(r"\d+")


def of(body: bytes | Path) -> Shape:
    """The shape of an answer: JSON, Parquet, an Arrow stream, a zip archive of such, or a text with separators."""
    if isinstance(body, Path):
        body = body.read_bytes()
    if body.startswith(b"PAR1"):
        return _columns("parquet", pq.read_schema(io.BytesIO(body)))
    if body.startswith(b"PK\x03\x04"):
        return _zipped(body)
    if body.startswith(b"\xff\xff\xff\xff"):
        return _columns("arrow", pa.ipc.open_stream(io.BytesIO(body)).schema)
    try:
        return _json(json.loads(body))
    except ValueError:  # no JSON, or no UTF-8
        return _csv(body.decode("utf-8", "replace"))


def merged(shapes: Iterable[Shape]) -> Shape:
    """The shape of several answers taken together: what is not in all of them is not always there."""
    found: list[Shape] = list(shapes)
    paths = {path for shape in found for path in shape}
    return {
        path: {
            "types": sorted({kind for shape in found if path in shape for kind in shape[path]["types"]}),
            "always": all(path in shape and shape[path]["always"] for shape in found),
        }
        for path in sorted(paths)
    }


def changes(accepted: Shape, now: Shape) -> list[str]:
    """What is different, a sentence each: fields that are gone or new, types and units that have changed.

    That a value is missing, or that a field is which need not be there, is no change; nor is what a list holds where
    it was or is empty.
    """
    gone = [path for path, of in accepted.items() if path not in now and of["always"] and not _is_beneath(path, now)]
    new = [path for path in now if path not in accepted and not _is_beneath(path, accepted)]
    said = []
    for path in list(gone):
        if after := _renamed(path, accepted, new, now):
            said.append(f"{path} is gone, and {after} is new: it may have been renamed")
            gone.remove(path)
            new.remove(after)
    said += [f"{path} is gone" for path in _outermost(gone)]
    said += [f"{path} is new ({_told(now[path]['types'])})" for path in _outermost(new)]
    for path in sorted(accepted.keys() & now.keys()):
        was, kinds = set(accepted[path]["types"]), set(now[path]["types"])
        if was - {"null"} and any(not _covers(was, kind) for kind in kinds):
            said.append(f"{path} was {_told(was)}, and is {_told(kinds)}")
    return said


def grown(accepted: Shape, now: Shape) -> Shape:
    """The accepted shape with what a sound answer adds to it: types of fields, and fields of lists, that had only been
    empty."""
    added = {path: of for path, of in now.items() if path not in accepted and _is_beneath(path, accepted)}
    return added | {
        path: {
            "types": sorted({*of["types"], *now.get(path, {"types": []})["types"]}),
            "always": of["always"] and (_is_beneath(path, now) or now.get(path, {"always": False})["always"]),
        }
        for path, of in accepted.items()
    }


def _is_beneath(path: str, shape: Shape) -> bool:
    """Whether a path leads through a list that is empty in a shape."""
    for at in (found.start() for found in re.finditer(r"\[\]", path)):
        of = shape.get(path[:at] or "(layout)")
        if of is not None and "list" in of["types"] and f"{path[:at]}[]" not in shape:
            return True
    return False


def _covers(was: set[str], kind: str) -> bool:
    """Whether a type is one of those known: any text may look like a number or a day for once."""
    return kind == "null" or kind in was or (kind.endswith("as text") and "text" in was)


def _renamed(path: str, accepted: Shape, new: list[str], now: Shape) -> str | None:
    """The new field of the same place and type that is likely to be the one that is gone."""
    place = path.rpartition(".")[0]
    alike = [
        one
        for one in new
        if one.rpartition(".")[0] == place and set(now[one]["types"]) & set(accepted[path]["types"]) - {"null"}
    ]
    close = difflib.get_close_matches(path, alike, 1, 0.0)
    return close[0] if close else None


def _outermost(paths: list[str]) -> Iterator[str]:
    """Those that do not belong to another of them."""
    held = set(paths)
    for path in sorted(paths):
        parents = {path[:at] for at, letter in enumerate(path) if letter in ".["}
        if not parents & held:
            yield path


def _told(kinds: Iterable[str]) -> str:
    return " or ".join(sorted(kinds))


def _columns(layout: str, schema: pa.Schema) -> Shape:
    found: Shape = {"(layout)": {"types": [layout], "always": True}}
    return found | {field.name: {"types": [str(field.type)], "always": True} for field in schema}


def _zipped(body: bytes) -> Shape:
    """The members by their names, in which numbers do not count, and the shape of each."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        members = [(f"{_NUMBERED.sub('#', name)}/", of(archive.read(name))) for name in sorted(archive.namelist())]
    found: Shape = {"(layout)": {"types": ["zip"], "always": True}}
    for prefix, shape in members:
        found |= {prefix + path: one for path, one in shape.items()}
    return found


def _csv(text: str) -> Shape:
    lines = [line for line in text.splitlines()[: CSV_ROWS + 1] if line]
    separator = max(",\t;|", key=lambda mark: lines[0].count(mark)) if lines else ","
    rows = list(csv.reader(lines, delimiter=separator))
    header = [name.strip() for name in rows[0]] if rows else []
    found: Shape = {"(layout)": {"types": [f"text separated by {separator!r}"], "always": True}}
    for at, name in enumerate(header):
        values = [row[at].strip() for row in rows[1:] if at < len(row)]
        kinds = {_kind_of_text(value) for value in values if value} or {"null"}
        found[name] = {"types": sorted(kinds), "always": True}
    return found


def _json(body: Any) -> Shape:
    types: dict[str, set[str]] = defaultdict(set)
    times: Counter[str] = Counter()
    parents: Counter[str] = Counter()
    waiting: list[tuple[str, Any]] = [("", body)]
    belongs: dict[str, str] = {}
    while waiting:
        path, value = waiting.pop()
        types[path].add(_kind(path, value))
        times[path] += 1
        if isinstance(value, dict):
            parents[path] += 1
            for key, child in value.items():
                name = f"{path}.{key}" if path else key
                belongs[name] = path
                waiting.append((name, child))
        elif isinstance(value, list):
            waiting += [(f"{path}[]", child) for child in value]
    return {
        path or "(layout)": {
            "types": sorted(kinds),
            "always": path not in belongs or times[path] == parents[belongs[path]],
        }
        for path, kinds in sorted(types.items())
    }


def _kind(path: str, value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, dict | list):
        return "object" if isinstance(value, dict) else "list"
    # What a unit is called is no value, but what all values mean
    is_unit = "unit" in path.lower()
    return f"unit {value}" if is_unit else _kind_of_text(str(value))


def _kind_of_text(value: str) -> str:
    try:
        float(value)
    except ValueError:
        return "day as text" if _DAY.match(value) else "text"
    return "number as text"
