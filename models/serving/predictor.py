"""Answers a valid request: features looked up where entities are asked for, predicted by the champion or, of a share,
by its challenger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from models.serving.answers import CHALLENGER, CHAMPION, Answer, answer_of, encode
from models.serving.experiments import Experiment, row_key
from models.serving.hosted import Hosted
from models.serving.lookup import Wanted
from pipelines.errors import HeadwaterError

Key = tuple[Any, date]
Failed = Callable[[Answer, Exception], None]
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

    Where the challenger fails, `failed` is told, and the champion answers in its place, as it does where the
    challenger's own features are not there: who asks has not chosen it.

    Raises:
        Exception: whatever the champion's model raises, of which `failed` has been told.
    """
    try:
        outputs = await hosted.batcher.predict(rows)
    except Exception as error:
        failed(answer_of(hosted.card, keys, rows, ()), error)
        raise
    taken = _taken(hosted, keys, rows, experiment) if challenger and experiment and experiment.mode == "split" else []
    if challenger is None or not taken:
        return answer_of(hosted.card, keys, rows, outputs)
    their_keys = [keys[at] for at in taken] if keys else None
    try:
        theirs = await rows_for(challenger, hosted, their_keys, [rows[at] for at in taken])
    except HeadwaterError as error:
        logger.warning("The challenger of %s lacks features: %s", hosted.card.use_case, error)
        theirs = None
    rows, outputs = list(rows), list(outputs)
    arms, versions = [CHAMPION] * len(rows), [hosted.card.version] * len(rows)
    if theirs is not None:
        try:
            predicted = await challenger.batcher.predict(theirs)
        except Exception as error:
            logger.exception("Version %d, the challenger of %s, failed.", challenger.card.version, hosted.card.use_case)
            failed(answer_of(challenger.card, their_keys, theirs, (), [CHALLENGER] * len(theirs)), error)
            taken, theirs, predicted = [], [], []
        for at, row, output in zip(taken, theirs, predicted, strict=True):
            rows[at], outputs[at], arms[at], versions[at] = row, output, CHALLENGER, challenger.card.version
    return answer_of(hosted.card, keys, rows, outputs, arms, versions)


async def rows_for(
    challenger: Hosted, champion: Hosted, keys: Sequence[Key] | None, rows: Sequence[dict[str, Any]]
) -> list[dict[str, Any]] | None:
    """The challenger's features of rows of the champion's; None where the client sent rows that lack some."""
    if challenger.features <= champion.features:
        return challenger.project(list(rows))
    if keys is None:
        return None
    _, found = await find(challenger, keys)
    return found


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
