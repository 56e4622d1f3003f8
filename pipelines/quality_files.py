"""What is wrong with a window's days, row by row: as CSV and as Parquet, to be downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from pipelines import quarantine, shared
from pipelines.quality_scores import COMPLETENESS, CONSISTENCY, VALIDITY, Score
from pipelines.settings import Settings
from pipelines.spec import UseCase
from pipelines.window import Window

MOST_ROWS = 10_000
"""How many rows the files list at most; the scores count all."""
KEPT_DAYS = 90
"""How long the files of a window are kept."""
SCHEMA = {"dataset": pl.String(), "day": pl.Date(), "dimension": pl.String(), "reason": pl.String(),
          "key": pl.String(), "raw": pl.String()}  # fmt: skip


def anomalies(
    use_case: UseCase, days: Window, scores: list[Score], apart: pl.DataFrame | None, settings: Settings
) -> pl.DataFrame:
    """Each row that is missing, was refused, or is not alike in lake and warehouse.

    Columns: dataset, day (null where a refused row has none that can be read), dimension, reason, key, and raw (the
    refused row as it came, JSON).
    """
    rows = [*_missing(scores), *_apart(apart)]
    refused = quarantine.rows(use_case, settings).filter(
        pl.col("window_start") <= days.end, pl.col("window_end") >= days.start
    )
    frame = pl.concat([pl.DataFrame(rows, schema=SCHEMA, orient="row"), _refused(refused)])
    return frame.sort("day", "dataset", "dimension", "key", nulls_last=True).head(MOST_ROWS)


def _missing(scores: list[Score]) -> Iterator[tuple[Any, ...]]:
    for one in scores:
        if one.dimension != COMPLETENESS:
            continue
        for who in one.detail.get("missing", []):
            yield one.dataset, one.day, COMPLETENESS, "no row, though it usually has one", who, None


def _apart(apart: pl.DataFrame | None) -> Iterator[tuple[Any, ...]]:
    for row in apart.to_dicts() if apart is not None else []:
        reason = f"as the {row['layer']} has it, the row is not in the other layer"
        yield row["dataset"], row["day"], CONSISTENCY, reason, row["key"], None


def _refused(rows: pl.DataFrame) -> pl.DataFrame:
    day = pl.col("raw").str.json_path_match("$.day").str.to_date(strict=False)
    return rows.select(
        "dataset",
        day.alias("day"),
        pl.lit(VALIDITY).alias("dimension"),
        "reason",
        pl.lit(None, pl.String()).alias("key"),
        "raw",
    )


def folder(use_case: UseCase, settings: Settings) -> Path:
    """Where the files of a use case's windows are."""
    return settings.reports / use_case.slug / "quality" / "days"


def write(use_case: UseCase, window: Window, rows: pl.DataFrame, settings: Settings) -> list[str]:
    """Writes the window's two files, each whole or not at all; without rows, takes away older ones.

    Returns:
        Their paths.
    """
    place = folder(use_case, settings)
    place.mkdir(parents=True, exist_ok=True)
    _forget(place, window.end, settings)
    csv, parquet = (place / f"{str(window).replace('..', '_')}.{kind}" for kind in ("csv", "parquet"))
    if rows.is_empty():
        shared.forget(settings, (csv, parquet))
        return []
    for path, save in ((csv, rows.write_csv), (parquet, rows.write_parquet)):
        part = path.with_name(f".{path.name}.part")
        save(part)
        part.replace(path)
    shared.put(settings, csv, parquet)
    return [str(csv), str(parquet)]


def _forget(place: Path, newest: date, settings: Settings) -> None:
    """Deletes the files of windows that ended more than `KEPT_DAYS` before the present one."""
    oldest = str(newest - timedelta(days=KEPT_DAYS))
    found = {path.name for path in place.glob("*.*")} | set(shared.names(settings, place))
    shared.forget(settings, [place / name for name in sorted(found) if Path(name).stem[-10:] < oldest])
