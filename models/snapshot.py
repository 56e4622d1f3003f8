"""The training snapshot: the feature rows of one training as a version of a Delta table, and its split in time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, timedelta
from typing import Any, Self
from uuid import uuid4

import pandas as pd
import polars as pl

from models import tracking
from pipelines import database, extraction, lake, manifest, registry, sampling
from pipelines.errors import ModelError, TooFewRowsError
from pipelines.settings import Settings
from pipelines.spec import UseCase

LEAST_ROWS = 100
CLASSES = 2
_TAG = "snapshot."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which rows a training used. Small enough to pass between tasks; the rows themselves stay in the lake.

    Rows before `cutoff` less the gap are trained on where their label was known before it; rows from `cutoff` on are
    the hold-out. Where all rows are of one day, the hold-out is `holdout_share` of the entities of each class, dealt by
    the hash of their name and the `seed`.
    """

    use_case: str
    version: int
    rows: int
    sha256: str
    first_day: str
    last_day: str
    cutoff: str
    gap_days: int
    scope: str
    """`all` the entities that there were, or `some` of them."""
    holdout_share: float = 0.0
    """Above 0 where the rows are parted by entity, and not by time."""
    seed: int = 0
    features_sha256: str = ""
    """Of the manifest: what each column meant, and in which version."""

    @property
    def parted(self) -> str:
        """How the hold-out was chosen, for a person."""
        if self.holdout_share:
            return f"{self.holdout_share:.0%} of the entities of {self.cutoff} held out"
        return f"hold-out from {self.cutoff}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for an XCom or MLflow tags."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """From `to_dict`."""
        return cls(**values)

    def to_tags(self) -> dict[str, str]:
        """As tags of an MLflow run or model version."""
        return {f"{_TAG}{name}": str(value) for name, value in self.to_dict().items()}

    @classmethod
    def from_tags(cls, tags: dict[str, str]) -> Self:
        """From `to_tags`, among other tags."""
        # Without those that came after a version was registered
        values: dict[str, Any] = {
            field.name: tags[_TAG + field.name] for field in fields(cls) if _TAG + field.name in tags
        }
        for name in {"version", "rows", "gap_days", "seed"} & set(values):
            values[name] = int(values[name])
        if "holdout_share" in values:
            values["holdout_share"] = float(values["holdout_share"])
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Which rows a training may use.

    `cutoff` is the first day of the hold-out. Without one it is `customary_cutoff`, or `holdout_days` before the last
    day, where that leaves enough on both sides; else it parts the rows three to one. `since` is the first day that may
    be used, by default the oldest, and `until` the last, by labels too, by default the newest; `entities` are those to
    train on and to measure with, by default all. `seed` deals the entities where all rows are of one day.
    """

    cutoff: date | None = None
    customary_cutoff: date | None = None
    since: date | None = None
    until: date | None = None
    entities: Sequence[str] | None = None
    seed: int = 0


EVERYTHING = Extent()


def take(use_case: UseCase, settings: Settings, extent: Extent = EVERYTHING, run_id: str | None = None) -> Snapshot:
    """Keeps the usable feature rows as a new version of the snapshot table.

    They are prepared in the warehouse as a table of the run, of which `ops.extractions` has the statement.

    Raises:
        TooFewRowsError: too few rows, or too few on one side of the cut-off.
    """
    if sampling.parts(use_case):  # by the cut-off, which the days of all rows decide and not those of the sample
        extent = replace(extent, cutoff=extent.cutoff or _cutoff_of_all(use_case, settings, extent))
    frame = _usable_rows(use_case, settings, extent, run_id or uuid4().hex)
    if frame.height < LEAST_ROWS:
        raise TooFewRowsError(
            f"{use_case.slug} has {frame.height} rows with a label, and training needs {LEAST_ROWS}; bring history "
            f"first: headwater bootstrap {use_case.slug}."
        )
    days = frame.get_column(use_case.day_column)
    is_one_day = days.n_unique() == 1
    first: Any = days.min()
    cutoff = first if is_one_day else extent.cutoff or _default_cutoff(days, use_case, extent.customary_cutoff)
    columns = manifest.manifest(use_case, database.columns(settings.require_database(), use_case.feature_table))
    notes = {
        lake.FEATURES_NOTE: json.dumps([column.to_dict() for column in columns]),
        lake.SQL_NOTE: json.dumps(manifest.compiled_sql(use_case, settings)),
    }
    _, version = lake.write_snapshot(settings.lake, use_case, frame, notes)
    snapshot = Snapshot(
        use_case=use_case.slug,
        version=version,
        rows=frame.height,
        sha256=_hash(frame),
        first_day=str(days.min()),
        last_day=str(days.max()),
        cutoff=str(cutoff),
        gap_days=use_case.gap_days,
        scope="all" if extent.entities is None else "some",
        holdout_share=use_case.holdout_share if is_one_day else 0.0,
        seed=extent.seed,
        features_sha256=manifest.sha256_of(columns),
    )
    train, holdout = split(snapshot, use_case, to_pandas(frame))
    if min(len(train), len(holdout)) < LEAST_ROWS:
        raise TooFewRowsError(
            f"The cut-off {cutoff} leaves {len(train)} rows to train on and {len(holdout)} to measure with; each side "
            f"needs {LEAST_ROWS}. The rows span {snapshot.first_day} to {snapshot.last_day}: "
            "choose another with --cutoff."
        )
    return snapshot


def _usable_rows(use_case: UseCase, settings: Settings, extent: Extent, run_id: str) -> pl.DataFrame:
    url, where = settings.require_database(), sampling.recent(use_case, _condition(use_case, extent))
    if sampling.parts(use_case) and extent.cutoff is not None:
        statement = sampling.parted(url, use_case, where, extent.cutoff)
    else:
        statement = extraction.sampled(use_case, where)
    made = extraction.prepare(url, use_case, run_id, statement)
    frame = database.read_frame(url, f"select * from {made.table}")
    # Not by Postgres, whose order of text depends on its collation: `read` must find the same one
    frame = frame.sort(use_case.day_column, use_case.entity)
    usable = registry.part(use_case, "model").usable(to_pandas(frame))
    return frame.filter(pl.Series(usable.to_numpy()))


def _cutoff_of_all(use_case: UseCase, settings: Settings, extent: Extent) -> date | None:
    """The cut-off by default, from the days of all rows with a label; None where there are none."""
    where = f"{sampling.recent(use_case, _condition(use_case, extent))} and {use_case.target} is not null"
    sql = f"select {use_case.day_column} from {use_case.feature_table} where {where}"
    days = database.read_frame(settings.require_database(), sql).get_column(use_case.day_column)
    return _default_cutoff(days, use_case, extent.customary_cutoff) if days.len() else None


def _condition(use_case: UseCase, extent: Extent) -> str:
    """SQL that holds for the rows that a training may use."""
    told = []
    if extent.since is not None:
        told.append(f"{use_case.day_column} >= date '{extent.since}'")
    if extent.until is not None:  # their labels were known by then
        column, days = use_case.label_known
        told.append(f"{column} + {days} <= date '{extent.until}'")
    if extent.entities is not None:
        listed = ", ".join("'" + str(entity).replace("'", "''") + "'" for entity in extent.entities)
        told.append(f"{use_case.entity}::text in ({listed or 'null'})")
    return " and ".join(told) or "true"


def to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """For scikit-learn: truth values that may be null become floats, and not objects."""
    booleans = [column.name for column in frame.iter_columns() if column.dtype == pl.Boolean and column.has_nulls()]
    return frame.with_columns(pl.col(booleans).cast(pl.Float64)).to_pandas()


def _default_cutoff(days: pl.Series, use_case: UseCase, customary: date | None) -> date:
    last = days.max()
    assert isinstance(last, date)  # noqa: S101 - for the type checker
    cutoff = customary or last - timedelta(days=use_case.holdout_days)
    before = int((days < cutoff).sum())
    if min(before, days.len() - before) >= max(LEAST_ROWS, days.len() // 20) and before >= days.len() // 4:
        return cutoff
    found = days.sort()[days.len() * 3 // 4]
    assert isinstance(found, date)  # noqa: S101 - for the type checker
    return found


def _hash(frame: pl.DataFrame) -> str:
    """A hash of the names, types and values that does not depend on how a file or the memory lays them out."""
    digest = hashlib.sha256()
    for column in frame.iter_columns():
        digest.update(f"{column.name} {column.dtype} {column.len()}\n".encode())
        digest.update(column.is_null().to_numpy().tobytes())
        if column.dtype == pl.String:
            column = column.fill_null("")
            digest.update(column.str.len_bytes().to_numpy().tobytes())
            digest.update((column.str.join().item() or "").encode())
        else:
            # Days and times as the numbers that they are stored as; what lies beneath a null is undefined
            numbers = column.to_physical()
            digest.update(numbers.fill_null(False if numbers.dtype == pl.Boolean else 0).to_numpy().tobytes())
    return digest.hexdigest()


def read(use_case: UseCase, snapshot: Snapshot, settings: Settings) -> pd.DataFrame:
    """The snapshot's rows, in the order of time.

    Raises:
        ModelError: the rows in the lake are not those that the snapshot names.
    """
    return to_pandas(read_typed(use_case, snapshot, settings))


def read_typed(use_case: UseCase, snapshot: Snapshot, settings: Settings) -> pl.DataFrame:
    """As `read`, with the types of the feature table.

    Raises:
        ModelError: the rows in the lake are not those that the snapshot names.
    """
    frame = lake.read_snapshot(settings.lake, use_case, snapshot.version)
    frame = frame.sort(use_case.day_column, use_case.entity)
    if _hash(frame) != snapshot.sha256:
        raise ModelError(
            f"Training snapshot {snapshot.version} of {use_case.slug} has changed since it was taken; take a new one."
        )
    return frame


def registered_versions(use_case: UseCase, settings: Settings) -> set[int]:
    """Versions of the snapshot table that a registered model version was trained on; none of them may be lost.

    Raises:
        ModelError: the tracking server cannot be reached.
    """
    return {
        int(version.tags[f"{_TAG}version"])
        for version in tracking.registered(use_case, settings)
        if f"{_TAG}version" in version.tags
    }


def split(snapshot: Snapshot, use_case: UseCase, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows to train on, whose labels were all known before the cut-off, and the hold-out."""
    if snapshot.holdout_share:
        held = _dealt(snapshot, use_case, frame)
        return frame[~held], frame[held]
    days = pd.to_datetime(frame[use_case.day_column])
    cutoff = pd.Timestamp(snapshot.cutoff)
    before = days < cutoff - pd.Timedelta(days=snapshot.gap_days)
    if use_case.label_day_column is not None:  # else the gap alone sees to it
        before &= known_days(use_case, frame) < cutoff
    return frame[before], frame[days >= cutoff]


def _dealt(snapshot: Snapshot, use_case: UseCase, frame: pd.DataFrame) -> pd.Series:
    """Which rows are held out: of each class as large a share, in the order of their entities' hashes."""
    hashes = frame[use_case.entity].map(lambda entity: hashlib.sha256(f"{snapshot.seed} {entity}".encode()).hexdigest())
    # A measurement has no classes: all of its rows are dealt together
    classes = frame[use_case.target] if frame[use_case.target].nunique() == CLASSES else pd.Series(0, frame.index)
    place = hashes.groupby(classes).rank(method="first")
    count = hashes.groupby(classes).transform("size")
    return place <= (count * snapshot.holdout_share).round()


def known_days(use_case: UseCase, frame: pd.DataFrame) -> pd.Series:
    """The day on which each row's label was known."""
    column, days = use_case.label_known
    return pd.to_datetime(frame[column]) + pd.Timedelta(days=days)


def features(use_case: UseCase, frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that a model may see."""
    hidden = {use_case.entity, use_case.day_column, *use_case.labels, *use_case.notes, sampling.WEIGHT}
    return frame[[name for name in frame.columns if name not in hidden]]
