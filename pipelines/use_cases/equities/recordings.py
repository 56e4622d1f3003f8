"""History in files: which files of a folder are the exchange's, by their names and by what they hold."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines.errors import NotFoundError
from pipelines.landing import Received
from pipelines.use_cases.equities import actions, prices
from pipelines.use_cases.equities.layouts import holds
from pipelines.use_cases.equities.names import day_in, is_bhavcopy
from pipelines.use_cases.equities.tables import header_of, members

CSV, JSON = "csv", "json"
_BUNDLE = re.compile(r"PR\d{6,8}.*\.zip", re.IGNORECASE)
_CLOSURES = re.compile(r"Bc\d{6,8}\.csv", re.IGNORECASE)


def bhavcopies(path: Path) -> dict[str, list[Received]]:
    """The daily prices at a path, in any of their layouts, zipped or not; other files are left alone.

    Raises:
        NotFoundError: there are none.
    """

    def received(file: Path, is_named: bool) -> Iterator[Received]:
        body = file.read_bytes()
        if is_named or is_bhavcopy(file.name) or holds(header_of(body), prices.LAYOUTS):
            day = day_in(file.name)
            yield Received(body, file.name, CSV, {} if day is None else {"day": str(day)})

    return {
        "prices": _below(path, (".csv", ".zip"), received, "a daily file of prices, such as cm01JUL2019bhav.csv.zip")
    }


def notices(path: Path) -> dict[str, list[Received]]:
    """The corporate actions at a path: daily bundles or their Bc*.csv, the website's downloads and JSON answers.

    Raises:
        NotFoundError: there are none.
    """

    def received(file: Path, is_named: bool) -> Iterator[Received]:
        body = file.read_bytes()
        if file.suffix.lower() == ".zip":
            yield from _of_bundle(file.name, body, is_named)
        elif file.suffix.lower() == ".json":
            if is_named or _is_json_of_actions(body):
                yield Received(body, file.name, JSON, {})
        elif is_named or _CLOSURES.fullmatch(file.name) or holds(header_of(body), actions.LAYOUTS):
            yield Received(body, file.name, CSV, {})

    return {"actions": _below(path, (".csv", ".zip", ".json"), received, "a list of corporate actions")}


def multipliers(path: Path) -> dict[str, list[Received]]:
    """The lists of multipliers at a path.

    Raises:
        NotFoundError: there are none.
    """

    def received(file: Path, is_named: bool) -> Iterator[Received]:
        body = file.read_bytes()
        if is_named or holds(header_of(body), (actions.MULTIPLIERS,)):
            yield Received(body, file.name, CSV, {})

    return {"actions": _below(path, (".csv",), received, "a list with Symbol, Date and Multiplier")}


def _below(
    path: Path, suffixes: tuple[str, ...], received: Callable[[Path, bool], Iterator[Received]], what: str
) -> list[Received]:
    """The files of a folder that are of a kind; a file that is named itself is, whatever it is."""
    files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
    found = [
        item
        for file in files
        if path.is_file() or file.suffix.lower() in suffixes
        for item in received(file, path.is_file())
    ]
    if not found:
        raise NotFoundError(f"There is no file at {path} that is {what}; name the folder of a download.")
    return found


def _of_bundle(name: str, body: bytes, is_named: bool) -> Iterator[Received]:
    """The book closures of a bundle; of one that cannot be opened, the bytes as they are."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            for member in members(archive):
                if _CLOSURES.fullmatch(member.rpartition("/")[2]):
                    yield Received(archive.read(member), f"{name}/{member}", CSV, {})
    except zipfile.BadZipFile:
        if is_named or _BUNDLE.fullmatch(name):
            yield Received(body, name, CSV, {})


def _is_json_of_actions(body: bytes) -> bool:
    try:
        said = json.loads(body)
    except ValueError:
        return False
    told = said.get("data") if isinstance(said, dict) else said
    first = told[0] if isinstance(told, list) and told else None
    return isinstance(first, dict) and holds(list(first), actions.LAYOUTS)
