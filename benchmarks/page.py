"""The figures as they are kept: JSON, and Markdown between two marks of a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import sentence
from benchmarks.tables import Table

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def keep(path: Path, machine: dict[str, Any], tables: Sequence[Table]) -> None:
    """Writes the JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {"machine": machine, "tables": [table.as_dict() for table in tables]}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def figures(kept: dict[str, Any]) -> str:
    """What the JSON says, as Markdown."""
    tables = (Table.of(table).markdown() for table in kept["tables"])
    return "\n\n".join((sentence(kept["machine"]), *tables))


def write(page: Path, kept: Path) -> None:
    """Puts the figures of a JSON file between the marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{figures(json.loads(kept.read_text()))}\n\n{END}{after}")
