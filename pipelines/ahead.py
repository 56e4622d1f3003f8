"""Reads the next item of an iterator in a thread while the present one is worked on."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from queue import Full, Queue
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


def ahead(items: Iterable[T], depth: int = 1) -> Generator[T, None, None]:
    """The same items in the same order, up to `depth` of them made before they are asked for.

    An error of the iterator is raised here, in its place. Who stops asking ends the thread.
    """
    made: Queue[tuple[object, BaseException | None]] = Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_make, args=(items, made, stop), daemon=True, name="ahead")
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item  # type: ignore[misc]  # what was put in is a T
    finally:
        stop.set()
        thread.join()


def _make(items: Iterable[T], made: Queue[tuple[object, BaseException | None]], stop: threading.Event) -> None:
    try:
        for item in items:
            if not _put(made, (item, None), stop):
                return
        _put(made, (_END, None), stop)
    except BaseException as error:  # noqa: BLE001 - raised again by who asks
        _put(made, (_END, error), stop)


def _put(made: Queue[tuple[object, BaseException | None]], what: Any, stop: threading.Event) -> bool:
    """Waits for room; false when nobody asks any more."""
    while not stop.is_set():
        try:
            made.put(what, timeout=0.1)
        except Full:
            continue
        return True
    return False
