"""A challenger's predictions on a copy of the traffic, which are logged and never sent to anybody."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from models.serving.answers import CHALLENGER, SHADOW, Answer, answer_of
from models.serving.hosted import Hosted
from models.serving.limits import SHADOW_ROWS, TIMEOUT_S
from models.serving.metrics import SHADOW_DROPPED
from models.serving.predictor import rows_for
from models.serving.spool import Answered
from pipelines.errors import HeadwaterError

logger = logging.getLogger(__name__)


class _Copy(NamedTuple):
    challenger: Hosted
    champion: Hosted
    answer: Answer
    request_id: str


class Shadow:
    """Takes copies of answered requests, and has the challenger predict them when there is time.

    It waits on a queue of its own, and predicts in the challenger's threads: no answer waits for it. What it is too
    slow for is dropped, and counted; one that hangs is given up after `TIMEOUT_S`, so that the next one has its turn.
    """

    def __init__(self, log: Callable[[Answered], None]) -> None:
        self._log = log
        self._waiting: list[_Copy] = []
        self._rows = 0
        self._task: asyncio.Task[None] | None = None

    def copy(self, challenger: Hosted, champion: Hosted, answer: Answer, request_id: str) -> None:
        """Takes a copy of a request that has been answered."""
        count = len(answer.rows)
        if self._rows + count > SHADOW_ROWS:
            SHADOW_DROPPED.labels(champion.card.use_case).inc(count)
            return
        self._rows += count
        self._waiting.append(_Copy(challenger, champion, answer, request_id))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            for one in taken:
                try:
                    await self._predict(one)
                except HeadwaterError as error:
                    logger.warning("A shadow of %s was not predicted: %s", one.champion.card.use_case, error)
                except Exception:
                    logger.exception("A shadow of %s was not predicted.", one.champion.card.use_case)
                self._rows -= len(one.answer.rows)

    async def _predict(self, one: _Copy) -> None:
        began = time.perf_counter()
        found = await rows_for(one.challenger, one.champion, one.answer.keys, one.answer.rows)
        rows = [row for row in found if row is not None]
        if len(rows) < len(found):
            SHADOW_DROPPED.labels(one.champion.card.use_case).inc(len(found) - len(rows))
        if not rows:
            return
        keys = one.answer.keys
        if keys is not None:
            keys = [key for key, row in zip(keys, found, strict=True) if row is not None]
        card, arms = one.challenger.card, [CHALLENGER] * len(rows)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                outputs = await one.challenger.batcher.predict_in_thread(rows)
        except Exception as error:
            self._log(answer_of(card, keys, rows, (), arms).logged(one.request_id, began, SHADOW, error))
            raise
        self._log(answer_of(card, keys, rows, outputs, arms).logged(one.request_id, began, SHADOW))

    async def close(self) -> None:
        """Waits until what has been taken is predicted."""
        if self._task is not None:
            await self._task
