"""What a person who is asked about an incident is shown, in Markdown."""

from __future__ import annotations

from typing import Any

from models.drift import incidents
from pipelines import drift_log
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase

MOST_COLUMNS = 12
"""Rows of the table; the report has all."""


def subject(use_case: UseCase, incident: dict[str, Any]) -> str:
    """The question, in one line."""
    return f"{use_case.slug} has drifted ({incident['cause']}, {incident['severity']}): what is to be done?"


def body(use_case: UseCase, incident: dict[str, Any], settings: Settings | None = None) -> str:
    """What the answer is based on: the verdict, the picture, the columns, the report, and what each answer does."""
    settings = settings or get_settings()
    columns = drift_log.columns(
        settings, use_case.slug, incident["last_window"], model_version=incident["model_version"]
    )
    watch, picture = use_case.watch, incident["detail"].get("picture")
    parts = (
        f"**{use_case.title}**, version {incident['model_version']}, days up to {incident['last_window']}.",
        str(incident["detail"].get("said", "")),
        f"![How far each column lies off, in terms of what is allowed]({picture})" if picture else "",
        _table(columns),
        f"[The whole report]({incident['link']})",
        f"[The window among the others](/headwater/drift/{use_case.slug}/{incident['last_window']})",
        _answers(use_case),
        f"Unanswered, it expires after {watch.timeout_hours} hours; then **{watch.default}** counts.",
    )
    return "\n\n".join(part for part in parts if part)


def _answers(use_case: UseCase) -> str:
    told = {
        incidents.ACKNOWLEDGE: "nothing is done; the incident stays listed until the columns are calm again",
        incidents.RETRAIN: f"starts `{use_case.dag_id('train')}` on all days so far; the gate still decides",
        incidents.ROLL_BACK: f"starts `{use_case.dag_id('rollback')}`, to the champion before",
    }
    return "\n".join(f"* **{answer}**: {what}" for answer, what in told.items())


def _table(columns: list[dict[str, Any]]) -> str:
    header = "| drifted | kind | column | distance | allowed | p |\n|---|---|---|---|---|---|"
    rows = [
        f"| {'yes' if one['drifted'] else ''} | {one['kind']} | {one['column_name']} | {_figure(one['distance'])} | "
        f"{_figure(one['threshold'])} | {_figure(one['p_value'])} |"
        for one in columns[:MOST_COLUMNS]
    ]
    return "\n".join([header, *rows])


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
