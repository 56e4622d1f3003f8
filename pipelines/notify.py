"""Sends what is to be told of incidents to channels: log, e-mail, Slack, webhook.

Pure of Airflow: a channel is a name and a function that sends a message, made by whoever has the connection.
"""

from __future__ import annotations

import json
import logging
import smtplib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import httpx
import tenacity

from pipelines import alerts, database
from pipelines.errors import HeadwaterError, RefusedError, SourceError
from pipelines.settings import Settings

logger = logging.getLogger(__name__)
MARKS = {"info": "·", "warning": "!", "critical": "!!"}
KEPT_DAYS = 7
"""How long an incident that is over waits for a channel that cannot be reached."""
LATER = (408, 425, 429)
"""What a server answers of the 400s that is about the moment and not about the message."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is told of an incident when it begins (`opened`) or is over (`ended`); plain text."""

    key: str
    what: Literal["opened", "ended"]
    title: str
    body: str
    severity: str
    opened_at: str
    ended_at: str | None = None

    @property
    def subject(self) -> str:
        """One line that says all that matters."""
        return f"Headwater: {self.title}" if self.what == "opened" else f"Headwater: over: {self.title}"


Channel = Callable[[Message], None]


def deliver(settings: Settings, channels: Mapping[str, Channel]) -> dict[str, int]:
    """Sends to each channel, by its name, what it has not been told yet; what cannot be sent is tried with the next
    call.

    A channel that cannot be reached is left alone from then on; one that refuses a message is told of the next.

    Returns:
        `sent` (messages) and `failed` (channels that were not told all).

    Raises:
        DatabaseError: Postgres cannot be reached.
    """
    url = settings.require_database()
    told = {"sent": 0, "failed": 0}
    # One at a time: two runs that fail together may not both tell of the same incident
    with database.exclusively(url, "alerts deliver"):
        rows = alerts.recent(settings, KEPT_DAYS)
        for name, channel in channels.items():
            sent, is_told = _told(url, rows, name, channel)
            told["sent"] += sent
            told["failed"] += not is_told
    return told


def _told(url: str, rows: Sequence[dict[str, Any]], name: str, channel: Channel) -> tuple[int, bool]:
    """Tells a channel what it has not been told yet, in order: how many messages, and whether those were all."""
    sent, is_told = 0, True
    for row in rows:
        for what in _untold(row, name):
            try:
                send(channel, _message(row, what))
            except HeadwaterError as error:
                logger.warning("%s could not be told of %s: %s", name, row["key"], error)
                is_told = False
                if not isinstance(error, RefusedError):
                    return sent, False  # one that hangs would keep the next ones waiting at each message
                break  # that it is over is not told before that it has begun
            _note(url, row, name, what)
            sent += 1
    return sent, is_told


def _untold(row: dict[str, Any], name: str) -> Iterator[str]:
    """What a channel has not been told yet of an incident, in order."""
    for what in ("opened", "ended") if row["ended_at"] else ("opened",):
        if [name, what] not in row["told"] and [alerts.EVERYBODY, what] not in row["told"]:
            yield what


def _note(url: str, row: dict[str, Any], name: str, what: str) -> None:
    database.query(
        url,
        "update ops.alerts set told = told || %s::jsonb where alert_id = %s",
        (json.dumps([[name, what]]), row["alert_id"]),
    )


def send(channel: Channel, message: Message) -> None:
    """Sends one message.

    Raises:
        RefusedError: the channel is there, and does not take this message.
        SourceError: the channel cannot be reached, or takes none now.
    """
    try:
        channel(message)
    except HeadwaterError:
        raise
    except smtplib.SMTPDataError as error:
        kind = RefusedError if error.smtp_code >= 500 else SourceError  # RFC 5321, 4.2.1: 4yz is for the moment
        raise kind(f"The mail server answered {error.smtp_code} to the message: {error.smtp_error!r}.") from error
    except Exception as error:
        raise SourceError(f"{type(error).__name__}: {error}") from error


def _message(row: dict[str, Any], what: Any) -> Message:
    ended = row["ended_at"].isoformat(timespec="seconds") if row["ended_at"] else None
    opened = row["opened_at"].isoformat(timespec="seconds")
    return Message(row["key"], what, row["title"], row["body"], row["severity"], opened, ended)


def to_log(message: Message) -> None:
    """Writes the message to the log of the process."""
    level = logging.ERROR if message.severity == "critical" and message.what == "opened" else logging.WARNING
    logger.log(level, "%s (%s) %s", message.subject, message.key, message.body)


def webhook(address: str, headers: Mapping[str, str] | None = None, timeout_s: float = 10.0) -> Channel:
    """A channel that posts the message as JSON: key, what, title, body, severity, opened_at, ended_at, subject."""

    def post(message: Message) -> None:
        _post(address, asdict(message) | {"subject": message.subject}, headers or {}, timeout_s)

    return post


def slack(address: str, timeout_s: float = 10.0) -> Channel:
    """A channel that posts to an incoming webhook of Slack (https://api.slack.com/messaging/webhooks)."""

    def post(message: Message) -> None:
        mark = MARKS.get(message.severity, "!") if message.what == "opened" else "✓"
        text = f"{mark} *{_slack_text(message.subject)}*\n{_slack_text(message.body)}"
        _post(address, {"text": text}, {}, timeout_s)

    return post


def _slack_text(text: str) -> str:
    """With the three characters escaped that Slack's markup takes for its own."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _post(address: str, body: dict[str, Any], headers: Mapping[str, str], timeout_s: float) -> None:
    # The address of a webhook is its secret: no error may repeat it
    try:
        answer = _tried(address, body, headers, timeout_s)
    except httpx.HTTPError as error:
        raise SourceError(f"The webhook cannot be reached ({type(error).__name__}).") from None
    if not answer.is_success:
        kind = RefusedError if answer.is_client_error and answer.status_code not in LATER else SourceError
        raise kind(f"The webhook answered {answer.status_code}; see its connection in Airflow.")


@tenacity.retry(stop=tenacity.stop_after_attempt(2), wait=tenacity.wait_fixed(1), reraise=True,
                retry=tenacity.retry_if_exception_type(httpx.TransportError))  # fmt: skip
def _tried(address: str, body: dict[str, Any], headers: Mapping[str, str], timeout_s: float) -> httpx.Response:
    local = address.startswith(("http://127.", "http://localhost"))
    with httpx.Client(timeout=timeout_s, trust_env=not local) as client:
        return client.post(address, json=body, headers=dict(headers))
