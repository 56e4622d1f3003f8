"""Where a row of features came from: the transform that computed it, and the landing files of the rows it read.

A row of the lake says when its present version was first received, and a landing file is named by that moment; so the
one leads to the other. The lake is read as it was when the transform ran, so that a correction that came later is not
taken for what was known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from pipelines import database, lake
from pipelines.errors import HeadwaterError
from pipelines.landing import Landing, read_envelope
from pipelines.settings import Settings
from pipelines.spec import Dataset, UseCase
from pipelines.types import REVISED_AT
from pipelines.window import EVER, Window

MOST_OPENED = 20
"""Landing files of a data set, the newest, of which the answers' own hashes are looked up."""
_TRANSFORM = """
select ledger_id, at, window_start, window_end, code_version, detail from ops.ledger
where use_case = %s and step = 'transform' and state = 'loaded' and at <= %s
  and exists (select from jsonb_array_elements_text(detail -> 'spans') as span
              where %s between split_part(span, '..', 1)::date and split_part(span || '..' || span, '..', 2)::date)
order by ledger_id desc limit 1"""


@dataclass(frozen=True, slots=True)
class Transform:
    """The run of dbt that last computed a day before a moment: its models are those that wrote tables."""

    at: datetime
    window: Window
    commit: str
    models: tuple[str, ...]

    def told(self) -> dict[str, Any]:
        """As plain values."""
        return {"at": str(self.at), "window": str(self.window), "commit": self.commit, "dbt_models": list(self.models)}


def transform_of(url: str, use_case: UseCase, day: date, moment: datetime) -> Transform | None:
    """The newest transform before a moment that computed a day's features; None where the ledger has none."""
    for row in database.query(url, _TRANSFORM, (use_case.slug, moment, day)):
        models = dict.fromkeys(node["name"] for node in row["detail"]["nodes"] if node["kind"] == "model")
        window = Window(row["window_start"], row["window_end"])
        return Transform(row["at"], window, row["code_version"], tuple(models))
    return None


def landing_of(use_case: UseCase, entity: str, day: date, moment: datetime, settings: Settings) -> list[dict[str, Any]]:
    """Of each data set the rows that a day's features could read, and the landing files that they came in.

    Returns:
        A row a data set: `dataset`, `window` (of days that were read), `rows`, `files` (each `file`, `fetched_at`,
        `window` that was asked for, `rows`, of the newest ones `objects`, which are hashes), or `missing`, a sentence.
    """
    return [_landing_of(use_case, dataset, entity, day, moment, settings) for dataset in use_case.datasets]


def reach(use_case: UseCase, dataset: Dataset, day: date) -> Window:
    """The days of a data set that a day's features can depend on."""
    if dataset.day_column is None or use_case.carries_state or use_case.yearly_memory:
        return Window(EVER.start, day)
    return Window(day - timedelta(days=use_case.memory_days), day)


def _landing_of(
    use_case: UseCase, dataset: Dataset, entity: str, day: date, moment: datetime, settings: Settings
) -> dict[str, Any]:
    told: dict[str, Any] = {"dataset": dataset.name}
    try:
        rows = lake.read_window(settings.lake, use_case, dataset, reach(use_case, dataset, day), moment).rows
    except HeadwaterError as error:
        return told | {"missing": str(error)}
    if use_case.entity in rows.columns:
        rows = rows.filter(pl.col(use_case.entity).cast(pl.String) == entity)
    told["rows"] = rows.height
    if rows.is_empty():
        return told | {"files": [], "missing": "the lake had no row of it that the features could have read"}
    if dataset.day_column is not None:
        found = rows.get_column(dataset.day_column)
        told["window"] = str(Window.parse(found.min(), found.max()))  # type: ignore[arg-type]
    by_moment = rows.group_by(REVISED_AT).len().sort(REVISED_AT, descending=True)
    told["files"] = list(_files(use_case, dataset, settings, by_moment.iter_rows()))
    gone = sum(one["rows"] for one in told["files"] if "missing" in one)
    return told | ({"missing": f"{gone} of the rows came in landing files that are no longer there"} if gone else {})


def _files(
    use_case: UseCase, dataset: Dataset, settings: Settings, moments: Iterable[tuple[datetime, int]]
) -> Iterable[dict[str, Any]]:
    landing = Landing(settings.lake, use_case)
    folder = landing.root / dataset.name
    # One window's file may have the same name as another's only if both were received in the same microsecond
    named = {item.name.rpartition("/")[2]: item.name for item in folder.list() if item.name.endswith(".json")}
    for place, (moment, rows) in enumerate(moments):
        received = moment.astimezone(UTC).isoformat(timespec="microseconds")
        name = named.get(received.replace(":", "").replace("+0000", "Z") + ".json")
        told: dict[str, Any] = {"fetched_at": received, "rows": rows}
        if name is None:
            yield told | {"missing": "no such file is in landing: it was archived, or retained away"}
            continue
        start, _, end = name.partition("/")[0].partition("_")
        told |= {"file": f"landing/{use_case.slug}/{dataset.name}/{name}", "window": str(Window.parse(start, end))}
        if place < MOST_OPENED:
            told["objects"] = [item.sha256 for item in read_envelope(folder.read(name)).objects]
        yield told
