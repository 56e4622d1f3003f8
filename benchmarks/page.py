"""The figures as they are kept: JSON by part and benchmark, and Markdown between the two marks of a part of a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import sentence
from benchmarks.tables import Table
from pipelines.settings import PROJECT

PAGE = PROJECT / "docs" / "benchmarks.md"
DATA_PART, SERVING_PART = "figures", "figures of the service"


def marks(part: str) -> tuple[str, str]:
    """What stands before and after a part's figures on the page."""
    return f"<!-- {part} -->", f"<!-- end of {part} -->"


def keep(path: Path, machine: dict[str, Any], tables: Sequence[Table], name: str, part: str = DATA_PART) -> None:
    """Writes the tables of one benchmark into the JSON, and what they were measured on; all others stay as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    kept.setdefault(part, {})[name] = {"machine": machine, "tables": [table.as_dict() for table in tables]}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def figures(kept: dict[str, dict[str, Any]]) -> str:
    """What a part of the JSON says, as Markdown: benchmarks of one run below one sentence on the machine."""
    said, parts = None, []
    for one in kept.values():
        if one["machine"] != said:
            said = one["machine"]
            parts.append(sentence(said))
        parts += [Table.of(table).markdown() for table in one["tables"]]
    return "\n\n".join(parts)


def write(page: Path, kept: Path) -> None:
    """Puts the figures of a JSON file between the marks of a page."""
    text = page.read_text()
    for part, found in json.loads(kept.read_text()).items():
        begin, end = marks(part)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{figures(found)}\n\n{end}{rest.partition(end)[2]}"
    page.write_text(text)
