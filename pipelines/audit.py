"""The audit of a month: what is stored of a use case, held against what was to be expected, as a page for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pipelines import (
    audit_columns,
    audit_days,
    audit_findings,
    audit_notes,
    audit_page,
    audit_verdict,
    database,
    ledger,
    quality,
    recheck,
    shared,
)
from pipelines.errors import NotFoundError, SettingsError
from pipelines.schedule import newest_due, window_of
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase
from pipelines.window import Window, month_of, parse_month

STEP = "audit"


def run(
    use_case: UseCase, month: str | None = None, settings: Settings | None = None, now: datetime | None = None
) -> dict[str, Any]:
    """Audits a month, by default the last whole one where the use case is at home, up to the newest day that is
    due; of a monthly use case, the newest month that is.

    Writes `reports/<slug>/quality/<month>.html` and, beside it, what it says as JSON, each whole or not at all.

    Returns:
        All that the page says: `verdict` (sound, look or bad), `reasons`, `page` (its path), and the facts.

    Raises:
        NotFoundError: there are no features yet.
        SettingsError: the month is not of the form YYYY-MM, or no day of it is due yet.
    """
    settings, now = settings or get_settings(), now or datetime.now(UTC)
    url = settings.require_database()
    days = _days(use_case, month, now)
    if not database.exists(url, use_case.feature_table):
        raise NotFoundError(
            f"{use_case.slug} has no features yet; bring history in: headwater bootstrap {use_case.slug}."
        )
    with ledger.entry(url, use_case, "features", STEP, days) as report:
        facts = _facts(use_case, days, settings) | {"made_at": now.isoformat(timespec="seconds")}
        reasons = audit_verdict.reasons(facts)
        path = settings.reports / use_case.slug / "quality" / f"{days.start:%Y-%m}.html"
        found = {
            "use_case": use_case.slug,
            "month": f"{days.start:%Y-%m}",
            "verdict": audit_verdict.verdict(reasons),
            "reasons": [{"level": level, "said": said} for level, said in reasons],
            "page": str(path),
            **facts,
        }
        page = audit_page.render(use_case, found)
        _write(path.with_suffix(".json"), json.dumps(found, indent=1, allow_nan=False))
        _write(path, page)
        shared.put(settings, path.with_suffix(".json"), path)
        report.counts = {"accepted": facts["features"]["rows"], "bytes": path.stat().st_size}
        report.detail = {"verdict": found["verdict"], "reasons": [said for _, said in reasons], "page": str(path)}
    return found


def _days(use_case: UseCase, month: str | None, now: datetime) -> Window:
    newest = window_of(use_case, newest_due(use_case, now)).end
    this_month = month_of(now.astimezone(ZoneInfo(use_case.timezone)).date())
    last = month_of(min(this_month.start - timedelta(days=1), newest))
    whole = parse_month(month) if month else last
    if whole.start > newest:
        raise SettingsError(f"No day of {whole.start:%Y-%m} is due yet in {use_case.slug}; the newest is {newest}.")
    return Window(whole.start, min(whole.end, newest))


def _facts(use_case: UseCase, days: Window, settings: Settings) -> dict[str, Any]:
    url = settings.require_database()
    columns = audit_columns.columns(url, use_case, days)
    return {
        "first_day": str(days.start),
        "last_day": str(days.end),
        "is_whole": days == month_of(days.start),
        "datasets": audit_days.datasets(use_case, days, settings),
        "features": {
            **audit_columns.by_day(url, use_case, days),
            "columns": [_told(column) for column in columns],
        },
        "quality": _quality(url, use_case, days),
        "findings": audit_findings.findings(url, use_case, days),
        "recompute": _recompute(url, use_case),
    }


def _quality(url: str, use_case: UseCase, days: Window) -> list[dict[str, Any]]:
    """The scores of the month's days, by data set and dimension, as JSON shows them."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in quality.between(url, use_case, days):
        if row["score"] is not None:
            found.setdefault((row["dataset"], row["dimension"]), []).append(row)
    return [
        {
            "dataset": dataset,
            "dimension": dimension,
            "gate": rows[-1]["threshold"],
            "days": len(rows),
            "mean": sum(row["score"] for row in rows) / len(rows),
            "least": min(row["score"] for row in rows),
            "below": [str(row["day"]) for row in rows if row["passed"] is False],
            "scores": [row["score"] for row in rows],
        }
        for (dataset, dimension), rows in found.items()
    ]


def _told(column: audit_columns.Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "range": str(column.limits),
        "outside": column.now.outside + column.now.odd,
        "now": column.now.told(),
        "before": column.before.told(),
        "means": [month.mean for month in (*column.months, column.now)] if column.is_number else [],
        "notes": [{"level": level, "said": said} for level, said in audit_notes.notes(column)],
    }


def _recompute(url: str, use_case: UseCase) -> dict[str, Any] | None:
    newest = recheck.newest(url, use_case)
    if newest is None:
        return None
    detail = newest["detail"] or {}
    rows = f"all {newest['accepted']} rows came out as they were published"
    return {"at": newest["at"].astimezone(UTC).isoformat(timespec="seconds"), "state": newest["state"],
            "said": detail.get("error", rows)}  # fmt: skip


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """What an audit found in a few words: page, month, verdict, how many reasons, and the first of them."""
    first = [reason["said"][:200] for reason in found["reasons"][:5]]
    return {name: found[name] for name in ("page", "month", "verdict")} | {
        "reasons": len(found["reasons"]),
        "first": first,
    }
