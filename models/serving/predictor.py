"""Answers a valid request: features looked up where entities are asked for, predicted by the champion or, of a share,
by its challenger."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from typing import Any

from models.serving.answers import CHALLENGER, CHAMPION, Answer, answer_of, encode
from models.serving.batching import Output, Row
from models.serving.experiments import Experiment, row_key
from models.serving.hosted import Hosted
from models.serving.limits import CHALLENGER_S, MAX_ITEMS
from models.serving.lookup import Wanted
from pipelines.errors import HeadwaterError

ASKED_AGAIN = 100
"""How often rows that a challenger fails on are halved in one request: one that always fails must hold up nobody."""

Key = tuple[Any, date]
Failed = Callable[[Answer, Exception], Awaitable[None]]
"""Told of rows without outputs, and why a model could not answer them."""

logger = logging.getLogger(__name__)


async def find(hosted: Hosted, wanted: Sequence[Wanted]) -> tuple[list[Key], list[dict[str, Any]]]:
    """Entity and day, and features, of each that is wanted.

    Raises:
        NotFoundError: an entity, or a day of it, has no features.
        DatabaseError: the warehouse cannot be reached.
        SettingsError: none is set.
    """
    found = await hosted.store.lookup(wanted)
    return [(entity, day) for entity, day, _ in found], [row for _, _, row in found]


async def predict(
    hosted: Hosted,
    keys: Sequence[Key] | None,
    rows: Sequence[dict[str, Any]],
    failed: Failed,
    experiment: Experiment | None = None,
    challenger: Hosted | None = None,
) -> Answer:
    """The champion's answer to these rows; the challenger's, with the features that it saw, to those of a split.

    On a row that the challenger fails on, or has not answered within `CHALLENGER_S`, `failed` is told, and the champion
    answers it, as it does where the challenger's own features are not there: who asks has not chosen it.

    What a bulk request needs beside the models is done in threads; the event loop answers others meanwhile.

    Raises:
        Exception: whatever the champion's model raises, of which `failed` has been told.
    """
    try:
        outputs = await hosted.batcher.predict(rows)
    except Exception as error:
        await failed(answer_of(hosted.card, keys, rows, ()), error)
        raise
    is_bulk = len(rows) > MAX_ITEMS
    taken: list[int] = []
    if challenger is not None and experiment is not None and experiment.mode == "split":
        split = (hosted, keys, rows, experiment)
        taken = await asyncio.to_thread(_taken, *split) if is_bulk else _taken(*split)
    if challenger is None or not taken:
        answered = (hosted.card, keys, rows, outputs)
        return await asyncio.to_thread(answer_of, *answered) if is_bulk else answer_of(*answered)
    theirs = await _theirs(hosted, challenger, keys, rows, taken, failed)
    rows, outputs = list(rows), list(outputs)
    arms, versions = [CHAMPION] * len(rows), [hosted.card.version] * len(rows)
    for at, (row, output) in theirs.items():
        rows[at], outputs[at], arms[at], versions[at] = row, output, CHALLENGER, challenger.card.version
    return answer_of(hosted.card, keys, rows, outputs, arms, versions)


async def rows_for(
    challenger: Hosted, champion: Hosted, keys: Sequence[Key] | None, rows: Sequence[Row]
) -> list[Row | None]:
    """The challenger's features of rows of the champion's; None for each that some are not known of.

    Raises:
        DatabaseError: the warehouse cannot be reached.
        SettingsError: none is set.
    """
    if challenger.features <= champion.features:
        if len(rows) > MAX_ITEMS:
            return [*await asyncio.to_thread(challenger.project, list(rows))]
        return [*challenger.project(list(rows))]
    if keys is None:
        return [None] * len(rows)
    return [one.row if one is not None else None for one in await challenger.store.lookup_known(keys)]


async def _theirs(
    hosted: Hosted,
    challenger: Hosted,
    keys: Sequence[Key] | None,
    rows: Sequence[Row],
    taken: Sequence[int],
    failed: Failed,
) -> dict[int, tuple[Row, Output]]:
    """The challenger's features and outputs by the position of the row; of the `taken`, those that it can answer."""
    name, until = hosted.card.use_case, asyncio.get_running_loop().time() + CHALLENGER_S
    try:
        async with asyncio.timeout_at(until):
            found = await rows_for(
                challenger, hosted, [keys[at] for at in taken] if keys else None, [rows[at] for at in taken]
            )
    except (HeadwaterError, TimeoutError) as error:
        logger.warning("The challenger of %s lacks features: %s", name, str(error) or "they were not found in time.")
        return {}
    theirs = {at: row for at, row in zip(taken, found, strict=True) if row is not None}
    if keys and len(theirs) < len(taken):
        logger.warning(
            "The challenger of %s lacks features of %d rows of %d.", name, len(taken) - len(theirs), len(taken)
        )
    outputs, errors = await _told_apart(challenger, theirs, until)
    for why, places in errors:
        logger.error("Version %d, the challenger of %s, failed.", challenger.card.version, name, exc_info=why)
        lost, their_keys = [theirs[at] for at in places], [keys[at] for at in places] if keys else None
        await failed(answer_of(challenger.card, their_keys, lost, (), [CHALLENGER] * len(lost)), why)
    return {at: (theirs[at], output) for at, output in outputs.items()}


async def _told_apart(
    challenger: Hosted, rows: Mapping[int, Row], until: float
) -> tuple[dict[int, Output], list[tuple[Exception, list[int]]]]:
    """The outputs by position, and the errors with the positions of whom they concern.

    Of rows that fail together each half is asked by itself, down to the row that fails; none after `until`, by the
    event loop's clock. All in threads: of a model that is slow in the event loop itself nobody could be rid.
    """
    outputs: dict[int, Output] = {}
    errors: dict[str, tuple[Exception, list[int]]] = {}
    waiting, asked = deque([list(rows)] if rows else []), 0
    while waiting:
        places, asked = waiting.popleft(), asked + 1
        try:
            async with asyncio.timeout_at(until):
                found = await challenger.batcher.predict_in_thread([rows[at] for at in places])
        except TimeoutError:
            late = TimeoutError(f"it has not answered within {CHALLENGER_S:g} s")
            errors[repr(late)] = (late, [at for left in (places, *waiting) for at in left])
            waiting.clear()
        except Exception as error:  # noqa: BLE001 - it is told to `failed`
            if len(places) > 1 and asked <= ASKED_AGAIN:
                half = len(places) // 2
                waiting += (places[:half], places[half:])
            else:
                errors.setdefault(repr(error), (error, []))[1].extend(places)
        else:
            outputs.update(zip(places, found, strict=True))
    return outputs, list(errors.values())


def _taken(
    hosted: Hosted, keys: Sequence[Key] | None, rows: Sequence[dict[str, Any]], experiment: Experiment
) -> list[int]:
    """Positions of the rows that the challenger is to answer: always the same of an entity, or of the same features."""
    if keys is not None:
        names = [str(entity) for entity, _ in keys]
    elif hosted.card.entity in hosted.features:
        names = [str(row[hosted.card.entity]) for row in rows]
    else:
        names = [row_key(encode(row)) for row in rows]
    return [at for at, name in enumerate(names) if experiment.takes(name)]
