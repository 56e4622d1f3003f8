"""Asks each upstream a little, some time before the daily run does, and says whether its answer has changed its shape.

Of an answer nothing is stored but its shape. The first shape seen is accepted; a changed one opens an alert, until the
upstream is as it was or a person accepts the change.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from pipelines import alerts, database, registry, shapes
from pipelines.calendar import expected_days
from pipelines.errors import ContractError, NotFoundError, SourceError
from pipelines.landing import Landing, Received
from pipelines.schedule import newest_over, window_of
from pipelines.settings import Settings
from pipelines.spec import Dataset, UseCase
from pipelines.window import Window

logger = logging.getLogger(__name__)
MOST_ANSWERS = 2
"""Answers that are asked for, of a data set that takes one request for each entity: the daily run needs the rate."""
BACK_DAYS = 14


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a data set's upstream: `state` is same, first, changed, empty or unreachable."""

    dataset: str
    state: str
    changes: tuple[str, ...] = ()


def run(use_case: UseCase, settings: Settings, now: datetime | None = None) -> list[Look]:
    """Looks at the upstream of each data set, and opens or ends the alert `shape <slug> <data set>`.

    An upstream that cannot be reached is no change of shape: the daily run tries it for longer, and says so.

    Raises:
        DatabaseError: Postgres cannot be reached.
    """
    known = {source.name for source in use_case.sources}
    return [
        _look(use_case, one, settings, now or datetime.now(UTC)) for one in use_case.datasets if one.source in known
    ]


def _look(use_case: UseCase, dataset: Dataset, settings: Settings, now: datetime) -> Look:
    try:
        shape = shapes.merged([shapes.of(item.body) for item in _answers(use_case, dataset, settings, now)])
    except SourceError as error:
        logger.warning("%s %s: no answer to look at: %s", use_case.slug, dataset.name, error)
        return Look(dataset.name, "unreachable", (str(error),))
    except (ContractError, ValueError, zipfile.BadZipFile) as error:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        _tell(use_case, dataset.name, [said], settings)
        return Look(dataset.name, "changed", (said,))
    if not shape:
        return Look(dataset.name, "empty")
    return compare(use_case, dataset.name, shape, settings)


def _answers(use_case: UseCase, dataset: Dataset, settings: Settings, now: datetime) -> list[Received]:
    """A few answers for the newest day that can be asked for; of large files, the newest that landed."""
    window = _window(use_case, now)
    if dataset.shard_rows is not None:
        landing = Landing(settings.lake, use_case)
        envelopes = landing.all(dataset)[-1:]
        items = [item for envelope in envelopes for item in envelope.objects if item.bytes][-1:]
        return [Received(landing.read(item), item.request, item.format, item.context) for item in items]
    answers = registry.part(use_case, "source").fetch(dataset, window, settings)
    return [item for item in islice(iter(answers), MOST_ANSWERS) if not isinstance(item.body, bytes) or item.body]


def _window(use_case: UseCase, now: datetime) -> Window:
    newest = window_of(use_case, newest_over(use_case, now))
    days = expected_days(use_case.calendar, newest.widened(before=BACK_DAYS))
    return Window(days[-1], days[-1]) if days and use_case.period == "day" else newest


def compare(use_case: UseCase, dataset: str, shape: shapes.Shape, settings: Settings) -> Look:
    """Holds a shape against the last accepted one, keeps it where it is new, and opens or ends the alert."""
    url = settings.require_database()
    accepted = _newest(url, use_case, dataset, "accepted_at is not null")
    if accepted is None:
        _keep(url, use_case, dataset, shape, "first seen")
        return Look(dataset, "first")
    found = shapes.changes(accepted["shape"], shape)
    if not found:
        _grow(url, use_case, dataset, accepted, shapes.grown(accepted["shape"], shape))
        alerts.end(settings, _key(use_case, dataset), "The upstream answers in the accepted shape.")
        return Look(dataset, "same")
    seen = _newest(url, use_case, dataset, "accepted_at is null")
    if seen is None or seen["seen_at"] < accepted["seen_at"] or seen["shape"] != shape:
        _keep(url, use_case, dataset, shape, None)
    _tell(use_case, dataset, found, settings)
    return Look(dataset, "changed", tuple(found))


def _tell(use_case: UseCase, dataset: str, found: Sequence[str], settings: Settings) -> None:
    alerts.announce(
        settings,
        _key(use_case, dataset),
        f"{use_case.slug}: the upstream of {dataset} has changed its answer",
        f"{'; '.join(found[:10])}. The next load may stop at it. Mend the parser or the contract, or accept the new "
        f"shape: headwater sources {use_case.slug} --accept {dataset}.",
        "critical" if any(" is gone" in one or " was " in one for one in found) else "warning",
    )


def _key(use_case: UseCase, dataset: str) -> str:
    return f"shape {use_case.slug} {dataset}"


def accept(use_case: UseCase, dataset: str, settings: Settings, actor: str) -> datetime:
    """Accepts the newest shape that was seen; gives when it was.

    Raises:
        NotFoundError: none waits to be accepted.
    """
    url = settings.require_database()
    waiting = _newest(url, use_case, dataset, "accepted_at is null")
    if waiting is None:
        raise NotFoundError(f"No changed shape of {use_case.slug} {dataset} waits to be accepted.")
    # Those seen before it are answered by it, too
    database.query(
        url,
        "update ops.source_shapes set accepted_at = now(), accepted_by = %s"
        " where use_case = %s and dataset = %s and accepted_at is null",
        (actor, use_case.slug, dataset),
    )
    alerts.end(settings, _key(use_case, dataset), f"{actor} has accepted the new shape.")
    seen: datetime = waiting["seen_at"]
    return seen


def history(url: str, use_case: UseCase) -> list[dict[str, Any]]:
    """The shapes seen, the newest first: dataset, seen_at, fields (how many), accepted_at, accepted_by, shape."""
    database.ensure_ops(url)
    return database.query(
        url,
        """select dataset, seen_at, (select count(*) from jsonb_object_keys(shape)) as fields, accepted_at, accepted_by,
               shape from ops.source_shapes where use_case = %s order by dataset, seen_at desc""",
        (use_case.slug,),
    )


def _newest(url: str, use_case: UseCase, dataset: str, which: str) -> dict[str, Any] | None:
    database.ensure_ops(url)
    rows = database.query(
        url,
        f"select seen_at, shape from ops.source_shapes where use_case = %s and dataset = %s and {which}"
        " order by seen_at desc limit 1",
        (use_case.slug, dataset),
    )
    return rows[0] if rows else None


def _keep(url: str, use_case: UseCase, dataset: str, shape: shapes.Shape, accepted_by: str | None) -> None:
    database.query(
        url,
        "insert into ops.source_shapes (use_case, dataset, shape, accepted_at, accepted_by)"
        " values (%s, %s, %s, case when %s::text is not null then now() end, %s)",
        (use_case.slug, dataset, json.dumps(shape), accepted_by, accepted_by),
    )


def _grow(url: str, use_case: UseCase, dataset: str, accepted: dict[str, Any], shape: shapes.Shape) -> None:
    if shape != accepted["shape"]:
        database.query(
            url,
            "update ops.source_shapes set shape = %s where use_case = %s and dataset = %s and seen_at = %s",
            (json.dumps(shape), use_case.slug, dataset, accepted["seen_at"]),
        )
