"""The model card: what a registered version is for, what it was made of, how good it is and for whom (Mitchell 2019).

    model_card.md, model_card.html     in the parent run, and beside the registered model; the page loads nothing

The head of it is the description of the version, and of the run, on MLflow's pages.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import pandas as pd

from models import provenance, tables, tracking
from models.outline import outline
from models.snapshot import Snapshot
from pipelines.ledger import code_version
from pipelines.settings import Settings
from pipelines.spec import UseCase

CARD = "model_card"
LIBRARIES = ("scikit-learn", "numpy", "pandas")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}"
    "th,td{border-bottom:1px solid #ddd;padding:.25rem .6rem;text-align:left;vertical-align:top}"
    "img{max-width:100%}pre{background:#f6f6f6;padding:.6rem;overflow-x:auto}"
)


def log(
    use_case: UseCase,
    settings: Settings,
    selected: Mapping[str, Any],
    model: Any,
    report: Mapping[str, Any],
    folder: Path,
) -> None:
    """Writes the card of a version and logs it to its run, beside the registered model, and as descriptions.

    Args:
        selected: `version`, `run_id` and `model_uri`.
        folder: where the run's pictures are, in `figures/`.
    """
    client, run_id, version = tracking.client(settings), selected["run_id"], int(selected["version"])
    cards = folder / "card"
    cards.mkdir()
    said = markdown(use_case, settings, selected, model, report, [path.name for path in _pictures(folder)])
    (cards / f"{CARD}.md").write_text(said, encoding="utf-8")
    (cards / f"{CARD}.html").write_text(html(said, folder), encoding="utf-8")
    client.log_artifacts(run_id, str(cards))
    client.log_model_artifacts(selected["model_uri"].rpartition("/")[2], str(cards))
    link = tracking.run_link(settings, tracking.experiment(use_case, settings), run_id)
    told = f"{head(use_case, version, report)}\n\nThe whole [model card]({link}/artifacts/{CARD}.html)."
    client.update_model_version(use_case.experiment, str(version), told)
    client.set_tag(run_id, "mlflow.note.content", told)


def _pictures(folder: Path) -> list[Path]:
    return sorted((folder / "figures").glob("*.png"))


def head(use_case: UseCase, version: int, report: Mapping[str, Any]) -> str:
    """The verdict and the first figures, as Markdown."""
    verdict = report["verdict"]
    said = "passed the gate" if verdict["passed"] else f"was refused by {', '.join(verdict['decided_by'])}"
    return (
        f"**{use_case.title}, version {version}** ({report['candidate']}) {said}.\n\n"
        f"{tables.markdown(tables.gate(report))}\n\n{tables.markdown(tables.metrics(report), 12)}"
    )


def markdown(
    use_case: UseCase,
    settings: Settings,
    selected: Mapping[str, Any],
    model: Any,
    report: Mapping[str, Any],
    pictures: list[str],
) -> str:
    """The whole card."""
    snapshot = Snapshot.from_dict(report["snapshot"])
    parts = [
        f"# {use_case.title}: model version {selected['version']}",
        head(use_case, int(selected["version"]), report).partition("\n\n")[0],
        *_purpose(use_case),
        *_data(use_case, snapshot),
        f"## Model\n\nThe candidate `{report['candidate']}`:\n\n```\n{outline(model)}\n```",
        *_figures(use_case, report),
        *(f"![{name.removesuffix('.png')}](figures/{name})" for name in pictures),
        *_features(use_case, snapshot, settings),
        *_again(use_case, selected["run_id"]),
    ]
    return "\n\n".join(parts) + "\n"


def _purpose(use_case: UseCase) -> Iterator[str]:
    yield f"## What it is for\n\n{use_case.doc.strip()}\n\nOwner: {use_case.owner}."
    if use_case.limits:
        yield "## What it is not for, and where it is weak\n\n" + "\n".join(f"* {one}" for one in use_case.limits)


def _data(use_case: UseCase, snapshot: Snapshot) -> Iterator[str]:
    gap = f"{snapshot.gap_days} day{'' if snapshot.gap_days == 1 else 's'}"
    yield (
        f"## Data\n\n{snapshot.rows:,} rows of {snapshot.first_day} to {snapshot.last_day} ({_sampled(use_case)}; "
        f"{snapshot.scope} entities), {snapshot.parted}, with a gap of {gap} before it. They are "
        f"version {snapshot.version} of the training snapshots; sha256 `{snapshot.sha256}`."
    )


def _sampled(use_case: UseCase) -> str:
    """Which rows a training takes of those that there are, in words."""
    told = [f"a sample of up to {use_case.sample_rows:,} rows" if use_case.sample_rows else "all rows"]
    if use_case.sample_days is not None:
        told.append(f"of the last {use_case.sample_days:,} days")
    if use_case.sample_keeps:
        told.append(f"with every one to train on where {use_case.sample_keeps} holds")
    if use_case.sample_means:
        told.append(f"with one for those of a day that agree in {', '.join(use_case.sample_means)}")
    return ", ".join(told)


_SAID = {
    "gate": "Gate",
    "metrics": "On the hold-out",
    "champion": "Against the champion, on rows that neither was trained on",
    "segments": "Segments",
    "flips": "Whose decision changes",
}


def _figures(use_case: UseCase, report: Mapping[str, Any]) -> Iterator[str]:
    by = "entities" if use_case.intervals.by == "entity" else f"blocks of {use_case.intervals.block_days} days"
    for name, table in tables.all_of(use_case, report).items():
        yield f"## {_SAID[name]}\n\n{tables.markdown(table)}"
        if name == "metrics":
            yield (
                f"Low and high are the ends of {report['level']:.0%} intervals, from {use_case.intervals.draws} draws "
                f"of {by} with replacement."
            )


def _features(use_case: UseCase, snapshot: Snapshot, settings: Settings) -> Iterator[str]:
    found = provenance.features_of(use_case, snapshot, settings)
    if found:
        table = pd.DataFrame([one.to_dict() for one in found])[["name", "role", "type", "version", "definition"]]
        yield f"## Features\n\n{tables.markdown(table, len(table))}"


def _again(use_case: UseCase, run_id: str) -> Iterator[str]:
    libraries = ", ".join(f"{name} {version_of(name)}" for name in LIBRARIES)
    yield (
        f"## Made by\n\nCommit `{code_version()}`, {libraries}. To train it again from the same rows:\n\n"
        f"```\nheadwater train {use_case.slug} --from-run {run_id}\n```"
    )


def html(said: str, folder: Path) -> str:
    """The card as one page, its pictures within it."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(said)
    for path in _pictures(folder):
        data = base64.b64encode(path.read_bytes()).decode()
        body = body.replace(f'src="figures/{path.name}"', f'src="data:image/png;base64,{data}"')
    title = escape(said.partition("\n")[0].removeprefix("# "))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>"
    )
