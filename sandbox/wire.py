"""What the handlers share: the state of the server, and dates as they come over the wire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from starlette.requests import Request

from sandbox.limits import RateLimiter
from sandbox.simulation import World

LAG_KEY = "sandbox.lag_days"
SILENT_KEY = "sandbox.silent"
"""In a request's scope: how far back a fault holds its answer, and the gauge that a fault keeps silent."""


@dataclass(frozen=True, slots=True)
class State:
    """What the handlers answer from."""

    world: World
    limiter: RateLimiter


class BadRequestError(Exception):
    """A parameter that the upstream refuses; the text is what it answers."""


def state_of(request: Request) -> State:
    """The server's state."""
    state = request.app.state.sandbox
    assert isinstance(state, State)  # noqa: S101 - tells mypy what `create_app` put there
    return state


def today_of(request: Request) -> date:
    """Today upstream, or the day at which a `stale` fault holds this answer."""
    lag = int(request.scope.get(LAG_KEY, 0))
    return state_of(request).world.clock() - timedelta(days=lag)


def now_of(request: Request) -> datetime:
    """This moment upstream, in UTC, or that at which a `stale` fault holds this answer."""
    return state_of(request).world.moment() - timedelta(days=int(request.scope.get(LAG_KEY, 0)))


def instant_of(text: str, zone: tzinfo = UTC) -> datetime:
    """An instant in UTC from a timestamp, which is at `zone` where it names no offset; ValueError for anything else."""
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)


def day_of(text: str) -> date:
    """A date from `YYYY-MM-DD` or a timestamp; ValueError for anything else."""
    return date.fromisoformat(text.partition("T")[0])


def words(request: Request, name: str) -> list[str]:
    """The values of a parameter given as a comma-separated list, several times, or both."""
    texts = request.query_params.getlist(name)
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]
