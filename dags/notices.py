"""How Airflow tells people of incidents: its connections as channels, and what runs that fail or recover announce."""

from __future__ import annotations

import html
import logging
import re
from typing import Any

logger = logging.getLogger(__name__)
SMTP_CONNECTION = "smtp_default"
_LINK = re.compile(r"https?://\S+")


def tell_failure(context: Any) -> None:
    """Announces that a run has failed: one incident from the first failed run of a DAG to the next one that succeeds.

    Of the run and not of its tasks: it comes when all retries are over, whichever way the task ended. A task that was
    killed on its last try calls nobody.
    """
    from urllib.parse import quote

    from pipelines import alerts
    from pipelines.settings import get_settings

    settings, dag, run_id = get_settings(), context["dag"], context["run_id"]
    task = getattr(context.get("ti"), "task_id", None)
    title = f"{dag.dag_id} has failed"
    body = (
        f"The run {run_id} of {dag.dag_id} has failed ({context['reason']})."
        + (f" Its last task: {task}." if task else "")
        + " Its log says what was wrong, and the page of the DAG what to do:"
        + f" {settings.airflow_pages}/dags/{dag.dag_id}/runs/{quote(run_id)}"
    )
    is_new = alerts.announce(settings, _key(dag.dag_id, run_id), title, body)
    _deliver(settings, (title, body) if is_new else None)


def tell_recovery(context: Any) -> None:
    """Ends the incident of the DAG's failed runs, where there is one."""
    from pipelines import alerts
    from pipelines.errors import DatabaseError, SettingsError
    from pipelines.settings import get_settings

    settings = get_settings()
    try:
        was_open = alerts.end(
            settings, _key(context["dag"].dag_id, context["run_id"]), f"The run {context['run_id']} has succeeded."
        )
    except (DatabaseError, SettingsError) as error:  # the run is sound all the same; the next one tells
        logger.warning("Whether an incident is over cannot be told: %s", error)
        return
    if was_open:
        _deliver(settings)


def _key(dag_id: str, run_id: str) -> str:
    """A backfill's runs are an incident of their own: that a day of the past fails says nothing of today's."""
    return f"run {dag_id} backfill" if run_id.startswith("backfill") else f"run {dag_id}"


def _deliver(settings: Any, unwritten: tuple[str, str] | None = None) -> None:
    """Sends what has not been sent yet; without Postgres, the one incident that is known here."""
    from pipelines import notify
    from pipelines.errors import DatabaseError, HeadwaterError, SettingsError

    found = channels(settings)
    try:
        notify.deliver(settings, found)
    except (DatabaseError, SettingsError):
        if unwritten is None:
            return
        for name, channel in found.items():
            try:
                notify.send(channel, notify.Message("", "opened", *unwritten, "warning", ""))
            except HeadwaterError as error:
                logger.warning("%s could not be told: %s", name, error)


def channels(settings: Any) -> dict[str, Any]:
    """The channels by name: the log, e-mail where HEADWATER_ALERT_EMAILS has addresses, and the connections of
    HEADWATER_ALERT_CONNECTIONS. One that cannot be made is left out, and the log says why."""
    from pipelines import notify

    found: dict[str, Any] = {"log": notify.to_log}
    if settings.alert_recipients:
        found[SMTP_CONNECTION] = _mail(settings.alert_recipients)
    for name in settings.alert_connection_ids:
        try:
            found[name] = _posted(name)
        except Exception as error:  # noqa: BLE001 - a connection that is wrong keeps nobody else from being told
            logger.warning("The connection %s cannot be used: %s: %s", name, type(error).__name__, error)
    return found


def _mail(recipients: list[str]) -> Any:
    def send(message: Any) -> None:
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        # Without the context: what a run is called is no template
        SmtpNotifier(
            smtp_conn_id=SMTP_CONNECTION,
            to=recipients,
            subject=message.subject,
            html_content=_as_html(message.body),
        ).notify({})

    return send


def _as_html(text: str) -> str:
    """Plain text as a paragraph, with its links to be clicked."""
    said = _LINK.sub(lambda link: f'<a href="{link.group()}">{link.group()}</a>', html.escape(text))
    return f"<p>{said}</p>"


def _posted(name: str) -> Any:
    """A connection of type slackwebhook, or of http with Slack's host, as Slack wants it; any other as a webhook.

    The address is `<schema>://<host>/<path>`, with the path, which is the secret, in the connection's password; or the
    whole address in the password; a bearer token is in the extra `token`.
    """
    from airflow.sdk import Connection

    from pipelines import notify

    connection = Connection.get(name)
    host, secret = (connection.host or "").rstrip("/"), connection.password or ""
    base = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    port = f":{connection.port}" if connection.port and "://" not in host else ""
    address = secret if "://" in secret else f"{base}{port}/{secret}".rstrip("/")
    if connection.conn_type == "slackwebhook" or "hooks.slack.com" in address:
        return notify.slack(address)
    token = connection.extra_dejson.get("token")
    return notify.webhook(address, {"Authorization": f"Bearer {token}"} if token else {})
