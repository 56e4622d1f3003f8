"""Incidents are told once when they begin and once when they are over, to every channel, whatever fails meanwhile."""

from __future__ import annotations

import smtplib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from db.helpers import make_settings

from pipelines import alerts, database, notify
from pipelines.errors import RefusedError, SourceError
from pipelines.settings import Settings

KEY = "run flood__nowcast"


@pytest.fixture
def settings(url: str, tmp_path: Path) -> Settings:
    return make_settings(tmp_path, url)


def test_an_incident_that_is_announced_96_times_a_day_is_told_once_when_it_begins_and_once_when_it_ends(
    settings: Settings, webhook_sink: SimpleNamespace
) -> None:
    channels = {"hook": notify.webhook(webhook_sink.address)}
    new = 0
    for _ in range(96):
        new += alerts.announce(settings, KEY, "flood__nowcast has failed", "The upstream answers 503.")
        notify.deliver(settings, channels)
    assert new == 1
    assert alerts.end(settings, KEY, "A run has succeeded.") is True
    assert alerts.end(settings, KEY) is False
    for _ in range(3):
        notify.deliver(settings, channels)
    told = [(body["what"], body["subject"]) for _, _, body in webhook_sink.seen]
    assert told == [
        ("opened", "Headwater: flood__nowcast has failed"),
        ("ended", "Headwater: over: flood__nowcast has failed"),
    ]
    assert webhook_sink.seen[1][2]["body"] == "The upstream answers 503. A run has succeeded."
    assert alerts.announce(settings, KEY, "again", "It failed once more.") is True
    notify.deliver(settings, channels)
    assert len(webhook_sink.seen) == 3


def test_a_channel_that_was_down_is_told_when_it_is_back_and_the_others_at_once(
    settings: Settings, webhook_sink: SimpleNamespace
) -> None:
    said: list[str] = []
    channels = {"hook": notify.webhook(webhook_sink.address), "log": lambda message: said.append(message.what)}
    webhook_sink.server.status = 500
    alerts.announce(settings, KEY, "a title", "a body", "critical")
    assert notify.deliver(settings, channels) == {"sent": 1, "failed": 1}
    alerts.end(settings, KEY)
    webhook_sink.server.status = 200
    webhook_sink.seen.clear()
    assert notify.deliver(settings, channels) == {"sent": 3, "failed": 0}
    assert [body["what"] for _, _, body in webhook_sink.seen] == ["opened", "ended"]
    assert said == ["opened", "ended"]
    assert notify.deliver(settings, channels) == {"sent": 0, "failed": 0}


def test_a_message_that_is_refused_keeps_a_channel_from_no_other_one(
    settings: Settings, webhook_sink: SimpleNamespace
) -> None:
    channels = {"hook": notify.webhook(webhook_sink.address)}
    webhook_sink.server.refused = "the first"
    for key, title in ((KEY, "the first"), ("run taxi__score", "the second")):
        alerts.announce(settings, key, title, "a body")
    alerts.end(settings, KEY)
    assert notify.deliver(settings, channels) == {"sent": 1, "failed": 1}
    assert [body["subject"] for _, _, body in webhook_sink.seen] == ["Headwater: the first", "Headwater: the second"]
    webhook_sink.server.refused = None
    webhook_sink.seen.clear()
    assert notify.deliver(settings, channels) == {"sent": 2, "failed": 0}
    assert [body["what"] for _, _, body in webhook_sink.seen] == ["opened", "ended"]


@pytest.mark.parametrize("status", [408, 429, 503])
def test_a_channel_that_takes_nothing_now_is_left_alone_at_its_first_message(
    settings: Settings, webhook_sink: SimpleNamespace, status: int
) -> None:
    webhook_sink.server.status = status
    for key in (KEY, "run taxi__score"):
        alerts.announce(settings, key, "a title", "a body")
    assert notify.deliver(settings, {"hook": notify.webhook(webhook_sink.address)}) == {"sent": 0, "failed": 1}
    assert len(webhook_sink.seen) == 1


@pytest.mark.parametrize(("code", "is_refused"), [(554, True), (451, False)])
def test_a_mail_that_the_server_refuses_is_told_from_a_server_that_wants_to_be_asked_later(
    code: int, is_refused: bool
) -> None:
    def mail(_: notify.Message) -> None:
        raise smtplib.SMTPDataError(code, b"no")

    message = notify.Message(KEY, "opened", "a", "b", "info", "2026-03-01T00:00:00+00:00")
    with pytest.raises(SourceError) as caught:
        notify.send(mail, message)
    assert isinstance(caught.value, RefusedError) is is_refused


def test_two_that_deliver_at_once_tell_once(settings: Settings, webhook_sink: SimpleNamespace) -> None:
    channels = {"hook": notify.webhook(webhook_sink.address)}
    alerts.announce(settings, KEY, "a title", "a body")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: notify.deliver(settings, channels), range(4)))
    assert len(webhook_sink.seen) == 1


def test_two_that_announce_at_once_open_one_incident(settings: Settings) -> None:
    database.ensure_ops(settings.require_database())
    with ThreadPoolExecutor(4) as pool:
        new = list(pool.map(lambda _: alerts.announce(settings, KEY, "a title", "a body"), range(8)))
    assert sum(new) == 1
    (row,) = alerts.open_alerts(settings)
    assert row["seen_times"] == 8


def test_what_a_check_no_longer_finds_is_over_and_what_others_have_opened_stays(settings: Settings) -> None:
    alerts.announce(settings, "drift flood", "drift", "of another")
    found = {"health mlflow": alerts.Finding("MLflow", "down"), "health disk": alerts.Finding("disk", "full")}
    assert alerts.reconcile(settings, "health ", found) == {"open": 2, "new": 2, "ended": 0}
    del found["health disk"]
    assert alerts.reconcile(settings, "health ", found, {"health disk"}) == {"open": 1, "new": 0, "ended": 0}
    assert alerts.reconcile(settings, "health ", found) == {"open": 1, "new": 0, "ended": 1}
    assert [row["key"] for row in alerts.open_alerts(settings)] == ["drift flood", "health mlflow"]
    assert [row["key"] for row in alerts.recent(settings, 1)] == ["drift flood", "health mlflow", "health disk"]


def test_slack_is_sent_its_own_markup_and_a_token_goes_in_the_header(webhook_sink: SimpleNamespace) -> None:
    message = notify.Message(KEY, "opened", "a <b> & c", "see <it>", "critical", "2026-03-01T00:00:00+00:00")
    notify.slack(webhook_sink.address)(message)
    notify.webhook(webhook_sink.address, {"Authorization": "Bearer t"})(message)
    assert webhook_sink.seen[0][2] == {"text": "!! *Headwater: a &lt;b&gt; &amp; c*\nsee &lt;it&gt;"}
    assert webhook_sink.seen[1][1] == "Bearer t"
    assert webhook_sink.seen[1][2]["severity"] == "critical"


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/services/secret", "refusing"])
def test_no_error_repeats_the_address_of_a_webhook(address: str, webhook_sink: SimpleNamespace) -> None:
    webhook_sink.server.status = 403
    message = notify.Message(KEY, "opened", "a", "b", "info", "2026-03-01T00:00:00+00:00")
    with pytest.raises(SourceError) as caught:
        notify.send(notify.webhook(webhook_sink.address if address == "refusing" else address), message)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_without_postgres_an_incident_is_new_once_until_it_is_ended(settings: Settings, tmp_path: Path) -> None:
    down = make_settings(tmp_path, "postgresql://nobody@127.0.0.1:9/none")
    assert alerts.announce(down, KEY, "a", "b") is True
    assert alerts.announce(down, KEY, "a", "b") is False
    assert alerts.end(settings, KEY) is True
    said: list[str] = []
    notify.deliver(settings, {"log": lambda message: said.append(message.subject)})
    assert said == ["Headwater: over: a"], "that it had begun was told without the row"
    assert alerts.end(settings, KEY) is False
    assert alerts.announce(down, KEY, "a", "b") is True
