"""What an audit makes of its facts: sound, worth a look or not sound, with the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from pipelines import checking
from pipelines.window import Window

SOUND, LOOK, BAD = "sound", "look", "bad"
_WRONG = {"missing": "missing", "failed": "failed", "quarantined": "in quarantine", "none": "never asked for"}
THIN = 0.5
"""Share of the usual day's rows below which a day is thin."""

Reason = tuple[str, str]


def verdict(reasons: Iterable[Reason]) -> str:
    """The worst of the reasons' levels; sound where there is none."""
    levels = {level for level, _ in reasons}
    return BAD if BAD in levels else LOOK if LOOK in levels else SOUND


def reasons(facts: dict[str, Any]) -> list[Reason]:
    """Level and sentence of all that is odd, the bad first."""
    found = [
        *(reason for dataset in facts["datasets"] for reason in _of_dataset(dataset)),
        *_of_days(facts["features"]),
        *(
            (note["level"], f"{column['name']}: {note['said']}")
            for column in facts["features"]["columns"]
            for note in column["notes"]
        ),
        *_of_quality(facts["quality"]),
        *_of_findings(facts["findings"]),
        *_of_recompute(facts["recompute"], facts["first_day"]),
    ]
    return sorted(found, key=lambda reason: reason[0] != BAD)


def _of_dataset(dataset: dict[str, Any]) -> Iterator[Reason]:
    for state, said in _WRONG.items():
        days = [one["day"] for one in dataset["days"] if one["state"] == state]
        if days:
            yield BAD, f"{dataset['name']}: {len(days)} {_plural(len(days), 'day')} {said} ({spans(days)})"
    late = [one["day"] for one in dataset["days"] if one["state"] == "late"]
    if late:
        yield LOOK, f"{dataset['name']}: {len(late)} {_plural(len(late), 'day')} late ({spans(late)})"
    refused = sum(reason["rows"] for reason in dataset["quarantine"])
    if refused:
        yield LOOK, f"{dataset['name']}: {refused} {_plural(refused, 'row')} in quarantine"


def _of_days(features: dict[str, Any]) -> Iterator[Reason]:
    gaps = [one["day"] for one in features["days"] if one["expected"] and not one["rows"]]
    if gaps:
        yield BAD, f"features: {len(gaps)} {_plural(len(gaps), 'day')} without a row ({spans(gaps)})"
    least = THIN * (features["usual"] or 0)
    thin = [one["day"] for one in features["days"] if 0 < one["rows"] < least]
    if thin:
        yield (
            LOOK,
            f"features: {len(thin)} {_plural(len(thin), 'day')} with less than half of the usual rows ({spans(thin)})",
        )
    if features["doubled"]:
        yield BAD, f"features: {features['doubled']} keys have more than one row"


def _of_quality(scores: list[dict[str, Any]]) -> Iterator[Reason]:
    for one in scores:
        if one["below"]:
            days = f"{len(one['below'])} {_plural(len(one['below']), 'day')} ({spans(one['below'])})"
            yield LOOK, f"{one['dataset']}: {one['dimension']} below its gate of {one['gate']:.1%} on {days}"


def _of_findings(findings: list[dict[str, Any]]) -> Iterator[Reason]:
    for one in findings:
        if one["unread"]:
            yield LOOK, f"{one['name']}: is not read, for it has no columns day and finding"
        elif one["rows"]:
            most = ", ".join(f"{kind['rows']} × {kind['finding']}" for kind in one["kinds"][:3])
            yield LOOK, f"{one['name']}: {one['rows']} {_plural(one['rows'], 'finding')} ({most})"


def _of_recompute(recompute: dict[str, Any] | None, first_day: str) -> Iterator[Reason]:
    if recompute is None:
        yield LOOK, "recompute: the features were never computed anew"
    elif recompute["state"] != "loaded":
        yield BAD, f"recompute of {recompute['at'][:10]}: {recompute['said']}"
    elif recompute["at"][:10] < first_day:
        yield LOOK, f"recompute: the last was on {recompute['at'][:10]}, before this month"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def spans(days: list[str]) -> str:
    """ISO days as ranges, at most five of them."""
    found = checking.spans([date.fromisoformat(day) for day in days])
    told = [str(Window(*span)) for span in found]
    return ", ".join(told[:5]) + (f" and {len(told) - 5} more" if len(told) > 5 else "")
