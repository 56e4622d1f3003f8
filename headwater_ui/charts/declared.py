"""The pictures of a `view.py` from the rows of predictions and features."""

from __future__ import annotations

from datetime import date, timedelta

from markupsafe import Markup

from headwater_ui.charts import shapes
from headwater_ui.charts.series import Band, Line, Values, chart
from headwater_ui.warehouse import Row
from pipelines.views import Calibration, Histogram, OfAll, Scatter, Series
from pipelines.window import Window


def series(panel: Series, window: Window, rows: list[Row], columns: list[Row]) -> Markup | None:
    """The forecasts of an entity; None where there is nothing to draw."""
    ahead = timedelta(days=panel.days_ahead)
    lines = []
    if panel.value:
        values = _answers(rows, panel.value, ahead)
        lines.append(Line(values, "forecast" if panel.has_actual else panel.unit, kind=panel.kind))
    if panel.column:
        lines.append(Line(_column(columns, panel.column), panel.column_title or panel.column))
    if panel.threshold:
        found = _column(columns, panel.threshold, ahead)
        lines.append(Line(found, panel.threshold_title or panel.threshold, "warn", "dashed"))
    if panel.has_actual:
        actual = {row["day"] + ahead: float(row["actual"]) for row in rows if row["actual"] is not None}
        lines.append(Line(actual, "observed", "two", "points"))
    lines = [line for line in lines if line.values]
    if not lines:
        return None
    band = None
    if panel.low and panel.high:
        band = Band(_answers(rows, panel.low, ahead), _answers(rows, panel.high, ahead), "P10 to P90")
    level = (panel.level, "") if panel.level is not None else None
    return chart(panel.title, window.start + ahead, window.end + ahead, lines, band=band, level=level, unit=panel.unit)


def needs_outcome(panel: OfAll) -> bool:
    """Whether only forecasts whose outcome is known can be drawn."""
    return isinstance(panel, Calibration | Scatter)


def of_all(panel: OfAll, rows: list[Row]) -> Markup | None:
    """A picture of the forecasts of all entities; None where there are too few."""
    told = [(row, row["outputs"].get(panel.value)) for row in rows]
    known = [(row, float(value)) for row, value in told if value is not None]
    if len(known) < shapes.LEAST_IN_BIN:
        return None
    if isinstance(panel, Histogram):
        level = (panel.level, panel.level_title) if panel.level is not None else None
        return shapes.histogram(panel.title, panel.unit, [value for _, value in known], level)
    if isinstance(panel, Calibration):
        return shapes.calibration(panel.title, [(value, bool(row["actual"])) for row, value in known])
    assert isinstance(panel, Scatter)  # noqa: S101 - rankings are tables
    return shapes.scatter(panel.title, panel.unit, [(float(row["actual"]), value) for row, value in known])


def _answers(rows: list[Row], name: str, ahead: timedelta) -> Values:
    found: dict[date, float] = {}
    for row in rows:
        value = row["outputs"].get(name)
        if value is not None:
            found[row["day"] + ahead] = float(value)
    return found


def _column(rows: list[Row], name: str, ahead: timedelta = timedelta(0)) -> Values:
    return {row["day"] + ahead: float(row[name]) for row in rows if row[name] is not None}
