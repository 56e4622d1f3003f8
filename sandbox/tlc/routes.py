"""The commission's host of monthly files.

As upstream: a month's file appears two months after it, and what is not there (yet) is refused with 403, in XML. Each
December comes a week late. Each June is published again a month after, with the fares of a hundred trips put right.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.tlc.files import body_of
from sandbox.tlc.trips import Trips, trips_of
from sandbox.wire import state_of, today_of

FIRST_MONTH = date(2014, 1, 1)
DELAY_MONTHS, LATE_DAYS, CORRECTED_DAYS, CORRECTED_TRIPS = 2, 7, 30, 100
_NAME = re.compile(r"yellow_tripdata_(\d{4})-(\d{2})\.parquet")
_NOT_FOUND = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'


def published_on(month: date) -> date:
    """The day on which a month's file appears."""
    at = month.year * 12 + month.month - 1 + DELAY_MONTHS
    return date(at // 12, at % 12 + 1, 1) + timedelta(days=LATE_DAYS if month.month == 12 else 0)


def is_corrected(month: date) -> bool:
    """Whether a month is published twice."""
    return month.month == 6


async def file(request: Request) -> Response:
    """A month's file; an upstream that is made stale gives what it had then."""
    named = _NAME.fullmatch(request.path_params["name"])
    today = today_of(request)
    if named is None or not 1 <= int(named[2]) <= 12:
        return Response(_NOT_FOUND, 403, media_type="application/xml")
    month = date(int(named[1]), int(named[2]), 1)
    if month < FIRST_MONTH or published_on(month) > today:
        return Response(_NOT_FOUND, 403, media_type="application/xml")
    is_first = is_corrected(month) and today < published_on(month) + timedelta(days=CORRECTED_DAYS)
    body = _body(month, state_of(request).world.drift_start, is_first)
    return Response(body, media_type="application/vnd.apache.parquet")


@lru_cache(maxsize=64)
def _body(month: date, drift_start: date, is_first: bool) -> bytes:
    trips = trips_of(month, drift_start)
    return body_of(month, _first_version(trips) if is_first else trips)


def _first_version(trips: Trips) -> Trips:
    """The trips as they were first published: some fares ten times what they were."""
    fare = trips["fare"].astype(np.float64)
    wrong = np.flatnonzero((fare > 0) & (fare < 20))[:CORRECTED_TRIPS]
    fare[wrong] *= 10
    return replace(trips, columns={**trips.columns, "fare": fare})


ROUTES = (Route("/tlc/{name}", file),)
