"""Where the commission's monthly files are, and which files history comes in."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterable, Iterator
from datetime import date
from functools import partial
from pathlib import Path

import polars as pl

from pipelines import row_files
from pipelines.errors import ContractError, NotFoundError
from pipelines.landing import LandedObject, Received, Recording
from pipelines.schedule import periods
from pipelines.settings import Settings
from pipelines.shards import KINDS, first_id
from pipelines.spec import Dataset
from pipelines.upstream_files import UpstreamFiles
from pipelines.use_cases.taxi import layouts, trips
from pipelines.use_cases.taxi.spec import USE_CASE
from pipelines.window import Window, parse_day

logger = logging.getLogger(__name__)
ABSENT = "absent"
"""Format of an answer that says that there is no such file (yet); it has no rows."""
_MONTH = re.compile(r"(?<!\d)(20\d\d)[-_]?(0[1-9]|1[0-2])(?!\d)")


def file_name(month: date, kind: str = "parquet") -> str:
    """Name of a month's file, such as yellow_tripdata_2019-01.parquet."""
    return f"yellow_tripdata_{month:%Y-%m}.{kind}"


def fetch(dataset: Dataset, window: Window, settings: Settings) -> Iterator[Received]:
    """The files of a window's months, one at a time: each is gone when the next one is asked for.

    One that is not there is noted: it is published later, and a later window asks again. Files may be Parquet or CSV.

    Raises:
        SourceError: the upstream cannot be reached or refuses.
        StorageError: the folder or the object store cannot be used.
    """
    with UpstreamFiles(USE_CASE.source(dataset.source), settings) as upstream, tempfile.TemporaryDirectory() as folder:
        for month in periods(USE_CASE, window):
            context = {"day": str(month)}
            for kind in KINDS:
                name = file_name(month, kind)
                path = Path(folder, name)
                if upstream.copy(name, path):
                    yield Received(path, upstream.address(name), kind, context)
                    path.unlink()
                    break
            else:
                yield Received(b"", upstream.address(file_name(month)), ABSENT, context)


def parse_rows(dataset: Dataset, item: LandedObject, rows: pl.DataFrame, first: int) -> pl.DataFrame:
    """Some rows of a landed file in the contract's columns, and `fault` where a row cannot be used.

    Raises:
        ContractError: the file is of no layout that is known.
    """
    return trips.parse(rows, item.request.rpartition("/")[2], first)


def parse(dataset: Dataset, answers: Iterable[tuple[LandedObject, bytes]]) -> pl.DataFrame:
    """All rows of small files at once, as `parse_rows` gives them."""
    import io

    found = []
    for item, body in answers:
        if item.format in KINDS:
            kind: row_files.Format = "csv" if item.format == "csv" else "parquet"
            at = first_id(parse_day(item.context["day"]))
            for shard in row_files.shards(io.BytesIO(body), kind, 2**62, item.request):
                for rows in row_files.read(io.BytesIO(body), kind, shard, item.request):
                    found.append(row_files.parsed(rows, partial(parse_rows, dataset, item, first=at)))
                    at += rows.height
    return (
        pl.concat(found, how="diagonal")
        if found
        else pl.DataFrame(schema={column.name: pl.Null() for column in dataset.columns})
    )


def recorded(path: Path) -> dict[str, list[Received]]:
    """The monthly files at a path, Parquet or CSV, in any layout; a file's month is in its name.

    Of a month that is there in both forms, the Parquet file is taken: the commission's present form.

    Raises:
        NotFoundError: there are none.
        ContractError: two files of one form are of one month.
    """
    files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
    found: dict[date, Received] = {}
    for file in files:
        kind, named = file.suffix.lower().removeprefix("."), _MONTH.search(file.name)
        if kind not in KINDS or not (path.is_file() or _is_trips(file, kind)):
            continue
        if named is None:
            logger.warning("%s is passed over: there is no month in its name", file.name)
            continue
        month = date(int(named[1]), int(named[2]), 1)
        other = found.get(month)
        if other is not None and other.format != kind:
            logger.warning("Of %s and %s, which are of one month, the Parquet file is taken", other.request, file.name)
            if kind == "csv":
                continue
        elif other is not None:
            raise ContractError(
                f"Both {other.request} and {file.name} are of {month:%Y-%m}, and the file of a month is the "
                "truth for all of it; name a folder that has one file a month."
            )
        found[month] = Received(file, file.name, kind, {"day": str(month)})
    if not found:
        raise NotFoundError(
            f"There is no file of trips at {path}: name a .parquet or .csv file with its month in its name, such as "
            f"{file_name(date(2019, 1, 1))}, or a folder of them."
        )
    return {"trips": [found[month] for month in sorted(found)]}


def _is_trips(file: Path, kind: str) -> bool:
    """Whether a file of a folder has a layout's time of pick-up and fare; others, such as FHV trips, are left alone."""
    try:
        with file.open("rb") as opened:
            header = row_files.columns(opened, "csv" if kind == "csv" else "parquet", file.name)
    except ContractError:
        return True  # its own check says what is wrong with it
    present = {name.strip().casefold() for name in header}
    asked = [[layout.fields[name].casefold() for name in ("pickup_at", "fare_usd")] for layout in layouts.LAYOUTS]
    if any(present.issuperset(fields) for fields in asked):
        return True
    if any(time in present for time, _ in asked):
        logger.warning("%s is passed over: it has times of pick-up, and no fare of yellow trips", file.name)
    return False


RECORDED = {
    "trips": Recording(recorded, "monthly files of yellow trips in any layout, Parquet or CSV, or a folder of them")
}
"""History in files, by the name that `headwater bootstrap taxi --<name> PATH` takes."""
