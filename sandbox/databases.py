"""The upstreams that are databases, kept at today's state; each is a package with a function `advance(url, day)`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import date
from importlib import import_module

log = logging.getLogger(__name__)
PAUSE_S = 60.0


def advance(owners: Mapping[str, str], today: date) -> None:
    """Brings each database to a day.

    Args:
        owners: URL of each database, by the name of its package; of an account that owns it.
        today: the day.
    """
    for name, url in owners.items():
        count = import_module(f"sandbox.{name}").advance(url, today)
        if count:
            log.info("%s: %d rows written or deleted", name, count)


def keep(owners: Mapping[str, str], clock: Callable[[], date]) -> None:
    """Brings each database to today, and goes on doing so in the background."""
    if not owners:
        return
    advance(owners, clock())
    threading.Thread(target=_go_on, args=(owners, clock), daemon=True).start()


def _go_on(owners: Mapping[str, str], clock: Callable[[], date]) -> None:
    while True:
        time.sleep(PAUSE_S)
        try:
            advance(owners, clock())
        except Exception:  # Postgres may be down for a while; the next round finds it again
            log.exception("The databases could not be brought to today.")
