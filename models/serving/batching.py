"""Predictions of requests that come at once are made at once, without a timer: nobody waits for company.

What came in during one turn of the event loop, or while a prediction ran, is the next batch. Small ones of an engine
that answers in microseconds are predicted in the event loop itself, where a thread would cost more than they do; large
ones, and those of scikit-learn, in threads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from models.serving.card import ServingCard
from models.serving.engine import Engine
from models.serving.limits import INLINE_ROWS, THREAD_ROWS
from pipelines.columns import Columns, from_rows

Row = dict[str, Any]
Output = tuple[Any, ...]


class _Asked(NamedTuple):
    rows: Sequence[Row]
    answer: asyncio.Future[list[Output]]


class Batcher:
    """Predicts with one engine; used by the event loop's thread alone."""

    def __init__(self, card: ServingCard, engine: Engine, threads: ThreadPoolExecutor) -> None:
        self._kinds = {item.name: item.type for item in card.features}
        self._names = card.answer_names
        self._engine = engine
        self._threads = threads
        self._quick = engine.kind != "sklearn"
        # scikit-learn holds the interpreter: a second thread of it would only make both wait
        self._lanes = 2 if self._quick else 1
        self._small: deque[_Asked] = deque()
        self._large: deque[_Asked] = deque()

    def predict(self, rows: Sequence[Row]) -> asyncio.Future[list[Output]]:
        """The outputs of each row, in the order of the card's `answer_names`."""
        if not self._quick or len(rows) > INLINE_ROWS:
            return self.predict_in_thread(rows)
        loop = asyncio.get_running_loop()
        if not self._small:
            loop.call_soon(self._answer_small)
        self._small.append(_Asked(rows, loop.create_future()))
        return self._small[-1].answer

    def predict_in_thread(self, rows: Sequence[Row]) -> asyncio.Future[list[Output]]:
        """As `predict`, but never in the event loop's own thread."""
        loop = asyncio.get_running_loop()
        asked = _Asked(rows, loop.create_future())
        # While a model hangs nothing is taken, and what nobody waits for any more would gather here
        _drop_done(self._large)
        self._large.append(asked)
        self._start(loop)
        return asked.answer

    def compute(self, columns: Columns) -> list[Output]:
        """The outputs of each row, at once; for threads that bring columns of their own."""
        return _as_rows(self._names, self._engine.predict(columns))

    def _answer_small(self) -> None:
        batch = _taken(self._small, INLINE_ROWS)
        if self._small:
            asyncio.get_running_loop().call_soon(self._answer_small)
        if not batch:
            return
        try:
            outputs = self._outputs(batch)
        except Exception as error:  # noqa: BLE001 - it is whoever asked who is told
            self._failed(batch, error)
        else:
            _settle(batch, outputs)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._lanes > 0 and (batch := _taken(self._large, THREAD_ROWS)):
            self._begin(loop, batch)

    def _begin(self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Asked]) -> None:
        self._lanes -= 1
        loop.run_in_executor(self._threads, self._outputs, batch).add_done_callback(partial(self._ended, batch))

    def _ended(self, batch: Sequence[_Asked], done: asyncio.Future[list[Output]]) -> None:
        self._lanes += 1
        error = done.exception()
        if error is None:
            _settle(batch, done.result())
        elif len(batch) == 1:
            _tell(batch[0], error)
        else:  # each by itself, as in `_failed`, but in a thread again
            for asked in batch:
                if not asked.answer.done():
                    self._begin(done.get_loop(), [asked])
        self._start(done.get_loop())

    def _failed(self, batch: Sequence[_Asked], error: BaseException) -> None:
        """Whoever sent what the model cannot take is told so; who was only joined to it is answered by itself."""
        for asked in batch:
            if len(batch) == 1:
                _tell(asked, error)
                continue
            try:
                outputs = self._outputs([asked])
            except Exception as own:  # noqa: BLE001 - as above
                _tell(asked, own)
            else:
                _settle([asked], outputs)

    def _outputs(self, batch: Sequence[_Asked]) -> list[Output]:
        rows = batch[0].rows if len(batch) == 1 else [row for asked in batch for row in asked.rows]
        return self.compute(from_rows(rows, self._kinds))


def _taken(waiting: deque[_Asked], most: int) -> list[_Asked]:
    """The first of them that somebody waits for, so many rows together at most, but one request at least."""
    batch: list[_Asked] = []
    count = 0
    while waiting:
        asked = waiting[0]
        if not asked.answer.done():
            count += len(asked.rows)
            if batch and count > most:
                break
            batch.append(asked)
        waiting.popleft()
    return batch


def _drop_done(waiting: deque[_Asked]) -> None:
    """Those at the front whose request has timed out, or whose client has gone."""
    while waiting and waiting[0].answer.done():
        waiting.popleft()


def _tell(asked: _Asked, error: BaseException) -> None:
    if not asked.answer.done():
        asked.answer.set_exception(error)


def _settle(batch: Sequence[_Asked], outputs: list[Output]) -> None:
    at = 0
    for asked in batch:
        if not asked.answer.done():
            asked.answer.set_result(outputs[at : at + len(asked.rows)])
        at += len(asked.rows)


def _as_rows(names: Sequence[str], columns: Columns) -> list[Output]:
    return list(zip(*(columns[name].tolist() for name in names), strict=True))
