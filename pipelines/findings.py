"""What a check of the lake finds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

Kind = Literal["missing", "changed", "misplaced", "orphaned", "undersized"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding: where in the lake, what it is and what to do. One that is not `wrong` is advice."""

    kind: Kind
    where: str
    said: str
    bytes: int = 0
    wrong: bool = True
    use_case: str = ""

    def below(self, folder: str, use_case: str) -> Self:
        """The same, told by someone who knows in which folder it was found."""
        return replace(self, where=f"{folder}/{self.where}".rstrip("/"), use_case=use_case)
