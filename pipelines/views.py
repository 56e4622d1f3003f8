"""How a use case's forecasts are shown: the pictures of its page, as it declares them in its `view.py`.

Standard library only. Names of values are those of the model's answers (`OUTPUTS` and `TEXTS` of its `model.py`), names
of columns those of its feature table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """An entity's forecasts over time, as a line.

    Between `low` and `high` lies the band. `has_actual` draws what came of it, once it is known, as points; `column` is
    a column of the features beside it, and `threshold` one to watch, dashed; both have a title in the legend. A
    forecast is drawn `days_ahead` of the day of its features. `level` is a line at a fixed height.
    """

    title: str
    unit: str
    value: str | None = None
    low: str | None = None
    high: str | None = None
    has_actual: bool = False
    column: str | None = None
    column_title: str = ""
    threshold: str | None = None
    threshold_title: str = ""
    level: float | None = None
    days_ahead: int = 0
    kind: Literal["line", "bars"] = "line"
    doc: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The entities with the highest value on the newest day, with the texts that go with them."""

    title: str
    value: str
    value_title: str
    texts: tuple[str, ...] = ()
    is_share: bool = True
    rows: int = 20
    doc: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How the values of the days shown are spread; `level` marks where a decision changes."""

    title: str
    unit: str
    value: str
    level: float | None = None
    level_title: str = ""
    doc: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How often what was forecast with a probability came true, by bins of that probability."""

    title: str
    value: str
    doc: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Each forecast against what came: on the diagonal they are the same."""

    title: str
    unit: str
    value: str
    doc: str = ""


OfEntity = Series
OfAll = Ranking | Histogram | Calibration | Scatter


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The pictures of a use case: those of one entity, which the page lets one choose, and those of all.

    `days` are shown where nobody asks for others.
    """

    entity_title: str = "Entity"
    of_entity: tuple[OfEntity, ...] = ()
    of_all: tuple[OfAll, ...] = ()
    days: int = 120
