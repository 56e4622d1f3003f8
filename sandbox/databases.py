"""The upstreams that are databases, kept at today's state: `python -m sandbox.databases` fills those it is told of.

Each is a package of this sandbox with a function `advance(url, day)`. Where they are is in the environment variable
SANDBOX_OWNERS: a JSON object of URLs by name, each of an account that owns its database.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from importlib import import_module

from sandbox.simulation import utc_today

log = logging.getLogger(__name__)
PAUSE_S = 60.0


def advance(urls: Mapping[str, str]) -> None:
    """Brings each database to today."""
    for name, url in urls.items():
        count = import_module(f"sandbox.{name}").advance(url, utc_today())
        if count:
            log.info("%s: %d rows written or deleted", name, count)


def main() -> None:
    """Keep them there until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    urls: dict[str, str] = json.loads(os.environ["SANDBOX_OWNERS"])
    while True:
        advance(urls)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
