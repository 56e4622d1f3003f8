"""Values over days: lines with a band, points, bars, and lines to hold them against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from markupsafe import Markup

from headwater_ui.charts.scales import NARROW, Scale, extent
from headwater_ui.charts.svg import LEFT, Frame, element, legend, path, responsive, title
from headwater_ui.formats import number

Values = dict[date, float]
Days = Callable[[date], float]


@dataclass(frozen=True, slots=True)
class Line:
    """Values by day, drawn as `kind`: line, dashed, points or bars; `mark` is its colour in the style sheet."""

    values: Values
    said: str
    mark: str = "one"
    kind: str = "line"


@dataclass(frozen=True, slots=True)
class Band:
    """The values between which others lie."""

    low: Values
    high: Values
    said: str


def chart(
    label: str,
    start: date,
    end: date,
    lines: list[Line],
    *,
    band: Band | None = None,
    level: tuple[float, str] | None = None,
    unit: str = "",
    zero: bool = False,
    height: int = 260,
) -> Markup:
    """The lines of some days, with a legend; `level` is a line at one height, with its name."""
    values = [value for line in lines for value in line.values.values()]
    values += [*band.low.values(), *band.high.values()] if band else []
    low, high = extent(values + ([level[0]] if level else []), zero=zero or any(line.kind == "bars" for line in lines))

    def draw(width: int) -> Frame:
        frame = Frame(width, height if width > NARROW else min(height, 220), label)
        y, x = frame.y_axis(low, high, unit), frame.day_axis(start, end)
        if band:
            frame.parts.append(_band(band, x, y))
        for line in lines:
            frame.parts += _drawn(line, x, y, frame, (end - start).days)
        if level:
            at = y(level[0])
            frame.parts.append(element("line", x1=LEFT, x2=frame.right, y1=at, y2=at, class_="level"))
        return frame

    entries = [(f"{line.mark} {line.kind}", line.said) for line in lines]
    entries += [("band", band.said)] if band else []
    entries += [("level", level[1])] if level and level[1] else []
    return responsive(draw) + legend(entries)


def _band(band: Band, x: Days, y: Scale) -> Markup:
    """A shape for each run of days without a gap."""
    parts, run = [], list[date]()
    days = sorted(set(band.low) & set(band.high))
    for at, day in enumerate(days):
        run.append(day)
        if at + 1 == len(days) or days[at + 1] - day > timedelta(days=1):
            there = [f"{x(one)} {y(band.high[one])}" for one in run]
            back = [f"{x(one)} {y(band.low[one])}" for one in reversed(run)]
            parts.append(f"M{' L'.join(there + back)} Z")
            run = []
    return element("path", d=" ".join(parts), class_="band")


def _drawn(line: Line, x: Days, y: Scale, frame: Frame, days: int) -> list[Markup]:
    told = sorted(line.values.items())
    if line.kind == "points":
        return [element("circle", [title(f"{day}: {number(value)}")], cx=x(day), cy=y(value), r=2.2, class_=line.mark)
                for day, value in told]  # fmt: skip
    if line.kind == "bars":
        width = max((frame.right - LEFT) / (days + 1) * 0.7, 1.5)
        base = y(0)
        return [
            element("rect", [title(f"{day}: {number(value)}")], x=round(x(day) - width / 2, 1), y=min(y(value), base),
                    width=round(width, 1), height=round(abs(base - y(value)), 1), class_=line.mark)
            for day, value in told
        ]  # fmt: skip
    points: list[tuple[float, float] | None] = []
    before: date | None = None
    usual = _usual_step(line.values)
    for day, value in told:
        if before and (day - before).days > usual:
            points.append(None)
        points.append((x(day), y(value)))
        before = day
    return [path(points, f"{line.mark} {line.kind}")]


def _usual_step(values: Values) -> int:
    """Days between two values beyond which a line is interrupted: weekends and months' ends are no gaps."""
    days = sorted(values)
    steps = sorted((after - before).days for before, after in pairwise(days))
    return max(4, 2 * steps[len(steps) // 2]) if steps else 1


def spark(values: list[float | None], label: str, width: int = 120, height: int = 26) -> Markup:
    """A line as high as a row of text."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup("")
    values = _thinned(values, sum(known) / len(known), width // 2)
    low, high = extent(known)
    x, y = Scale(0, len(values) - 1, 2, width - 2), Scale(low, high, height - 2, 2)
    points = [None if value is None else (x(at), y(value)) for at, value in enumerate(values)]
    return element(
        "svg", [title(label), path(points, "one line")], viewBox=f"0 0 {width} {height}", width=width, height=height,
        role="img", aria_label=label, class_="spark",
    )  # fmt: skip


def _thinned(values: list[float | None], usual: float, most: int) -> list[float | None]:
    """At most so many of the values: of those that share a place, the one that is farthest from what is usual."""
    step = -(-len(values) // most)
    parts = ([one for one in values[at : at + step] if one is not None] for at in range(0, len(values), step))
    return [max(part, key=lambda value: abs(value - usual)) if part else None for part in parts]
