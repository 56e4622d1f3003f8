"""The announced ends of what upstreams offer, told in time: 90, 30 and 7 days before."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from pipelines import alerts
from pipelines.settings import Settings
from pipelines.spec import UseCase

STAGES = (90, 30, 7, 0)
"""Days before the end at which it is told again."""


def register(use_cases: Iterable[UseCase], today: date) -> list[dict[str, Any]]:
    """All announced ends, the next first: use_case, source, what, ends_on, days (until then), stage, link, instead.

    `stage` is the least of `STAGES` that is reached; None while it is far.
    """
    found = [
        {
            "use_case": use_case.slug,
            "source": source.name,
            "what": sunset.what,
            "ends_on": date.fromisoformat(sunset.ends_on),
            "days": (days := (date.fromisoformat(sunset.ends_on) - today).days),
            "stage": min((stage for stage in STAGES if days <= stage), default=None),
            "link": sunset.link,
            "instead": sunset.instead,
        }
        for use_case in use_cases
        for source in use_case.sources
        for sunset in source.sunsets
    ]
    return sorted(found, key=lambda one: one["ends_on"])


def watch(use_cases: Iterable[UseCase], settings: Settings, today: date) -> dict[str, int]:
    """Opens an alert for each end that is near, and again at each stage; gives what `alerts.reconcile` does."""
    found = {
        f"sunset {one['use_case']} {one['source']} {one['ends_on']} {one['stage']}": alerts.Finding(
            f"{one['use_case']} {one['source']}: {one['what']} {_when(one)}",
            f"Announced at {one['link']}. {one['instead']}",
            "critical" if one["stage"] <= 7 else "warning",
        )
        for one in register(use_cases, today)
        if one["stage"] is not None
    }
    stages = {key.rpartition(" ")[0] for key in found}
    for row in alerts.open_alerts(settings):
        if row["key"] not in found and row["key"].rpartition(" ")[0] in stages:
            alerts.supersede(settings, row["key"])
    return alerts.reconcile(settings, "sunset ", found)


def _when(one: dict[str, Any]) -> str:
    """Of the stage and not of the day: what is told of an incident is told once."""
    return f"ends on {one['ends_on']}" if one["days"] > 0 else f"has ended ({one['ends_on']})"
