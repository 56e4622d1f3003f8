"""The sandbox's command line: `python -m sandbox --port 8099`.

Those of its upstreams that are databases are filled where the environment variable SANDBOX_OWNERS says: a JSON object
of URLs by name, each of an account that owns its database. It answers when that is done.
"""

from __future__ import annotations

import argparse
import json
import os
from datetime import date

import uvicorn

from sandbox import databases
from sandbox.app import create_app
from sandbox.limits import RateLimiter
from sandbox.simulation import DRIFT_START, utc_today

OWNERS = "SANDBOX_OWNERS"


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(prog="python -m sandbox", description="The upstreams on loopback, simulated.")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument(
        "--drift-start", type=date.fromisoformat, default=DRIFT_START, help="climate and rivers change then"
    )
    options.add_argument("--today", type=date.fromisoformat, help="stand still on this day, not the real one")
    options.add_argument("--rate-limit", type=int, default=50, help="USGS requests an hour without a key")
    options.add_argument("--key-rate-limit", type=int, default=1000, help="USGS requests an hour with a key")
    options.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    return options


def main(argv: list[str] | None = None) -> None:
    """Serve until stopped."""
    options = parser().parse_args(argv)
    fixed: date | None = options.today
    clock = utc_today if fixed is None else lambda: fixed
    databases.keep(json.loads(os.environ.get(OWNERS, "{}")), clock)
    app = create_app(
        clock=clock,
        drift_start=options.drift_start,
        limiter=RateLimiter(options.rate_limit, options.key_rate_limit),
    )
    uvicorn.run(app, host=options.host, port=options.port, log_level=options.log_level)


if __name__ == "__main__":
    main()
