"""What a benchmark gives: lines of figures, and what they are held against. Written as Markdown, kept as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

Cell = str | float | None
Line = dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and what it should be: at least or at most `wanted`."""

    what: str
    reached: float
    wanted: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether it is so."""
        return self.reached >= self.wanted if self.at_least else self.reached <= self.wanted

    def __str__(self) -> str:
        bound = "at least" if self.at_least else "at most"
        verdict = "met" if self.met else "**missed**"
        return f"{self.what}: {number(self.reached)}, wanted {bound} {number(self.wanted)}: {verdict}"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the benchmarks; every line has the same columns."""

    name: str
    title: str
    lines: Sequence[Line]
    targets: Sequence[Target] = ()
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"targets": [asdict(target) | {"met": target.met} for target in self.targets]}

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Table:
        """From what was kept as JSON."""
        targets = [Target(**{name: value for name, value in t.items() if name != "met"}) for t in kept["targets"]]
        return cls(**kept | {"targets": targets})

    def markdown(self) -> str:
        """The title, the table with its columns aligned, the note and the targets."""
        heads = list(self.lines[0])
        rows = [heads, *([_cell(line[head]) for head in heads] for line in self.lines)]
        widths = [max(len(row[at]) for row in rows) for at in range(len(heads))]
        left = [any(isinstance(line[head], str) for line in self.lines) for head in heads]
        bar = ["-" * width if is_left else "-" * (width - 1) + ":" for width, is_left in zip(widths, left, strict=True)]
        written = [_written(row, widths, left) for row in rows]
        parts = [f"### {self.title}", "\n".join([written[0], _written(bar, widths, left), *written[1:]])]
        parts += [self.note] if self.note else []
        parts += ["\n".join(f"* {target}" for target in self.targets)] if self.targets else []
        return "\n\n".join(parts)


def _written(row: list[str], widths: list[int], left: list[bool]) -> str:
    cells = [
        cell.ljust(width) if is_left else cell.rjust(width)
        for cell, width, is_left in zip(row, widths, left, strict=True)
    ]
    return f"| {' | '.join(cells)} |"


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else number(value)


def number(value: float) -> str:
    """Three digits that count, or the whole number with its thousands apart."""
    if value == 0 or abs(value) >= 1000 or (isinstance(value, int) and not isinstance(value, bool)):
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")
