"""What all charts are made of: elements of SVG as escaped text, the frame with its axes, and a chart in two widths."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date

from markupsafe import Markup, escape

from headwater_ui.charts.scales import NARROW, WIDE, Scale, day_ticks, ticks
from headwater_ui.formats import number

LEFT, RIGHT, TOP, BOTTOM = 52, 12, 20, 24
Value = str | float


def element(name: str, content: Iterable[Markup] | str = (), /, **attributes: Value | None) -> Markup:
    """An element; `class_` is written `class`, other underscores as hyphens, and None not at all."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = escape(content) if isinstance(content, str) else Markup("").join(content)
    return Markup(f"<{name}{told}>{inside}</{name}>")  # noqa: S704 - all values are escaped above


def path(points: Iterable[tuple[float, float] | None], class_: str) -> Markup:
    """A line through points; None interrupts it."""
    said, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        said.append(f"{pen}{point[0]} {point[1]}")
        pen = "L"
    return element("path", d=" ".join(said), class_=class_)


def title(said: str) -> Markup:
    """What a pointer that rests there is told."""
    return element("title", said)


@dataclass
class Frame:
    """A chart's area and what is drawn in it."""

    width: int
    height: int
    label: str
    parts: list[Markup] = field(default_factory=list)

    @property
    def right(self) -> int:
        """Where the area ends, in px."""
        return self.width - RIGHT

    @property
    def bottom(self) -> int:
        """Where it ends below, in px."""
        return self.height - BOTTOM

    def y_axis(self, low: float, high: float, unit: str = "", about: int = 4) -> Scale:
        """The scale from below to above, with a line at each tick."""
        scale = Scale(low, high, self.bottom, TOP)
        for at in ticks(low, high, about):
            y = scale(at)
            self.parts.append(element("line", x1=LEFT, x2=self.right, y1=y, y2=y, class_="grid"))
            self.parts.append(element("text", number(at), x=LEFT - 6, y=y + 4, class_="tick end"))
        if unit:
            self.parts.append(element("text", unit, x=4, y=TOP - 10, class_="tick unit"))
        return scale

    def x_axis(self, low: float, high: float) -> Scale:
        """The scale from left to right."""
        scale = Scale(low, high, LEFT, self.right)
        for at in ticks(low, high, 8 if self.width > NARROW else 4):
            self.parts.append(element("text", number(at), x=scale(at), y=self.height - 6, class_="tick middle"))
        return scale

    def day_axis(self, start: date, end: date) -> Callable[[date], float]:
        """The place of each day, from left to right."""
        # Half a day at both ends, for bars have a width
        scale = Scale(start.toordinal() - 0.5, end.toordinal() + 0.5, LEFT, self.right)
        for day, said in day_ticks(start, end, 8 if self.width > NARROW else 4):
            x = scale(day.toordinal())
            self.parts.append(element("line", x1=x, x2=x, y1=self.bottom, y2=self.bottom + 4, class_="axis"))
            self.parts.append(element("text", said, x=x, y=self.height - 6, class_="tick middle"))
        self.parts.append(element("line", x1=LEFT, x2=self.right, y1=self.bottom, y2=self.bottom, class_="axis"))
        return lambda day: scale(day.toordinal())

    def svg(self) -> Markup:
        """The chart."""
        return element(
            "svg",
            [title(self.label), *self.parts],
            viewBox=f"0 0 {self.width} {self.height}",
            width=self.width,
            height=self.height,
            role="img",
            aria_label=self.label,
        )


def responsive(draw: Callable[[int], Frame]) -> Markup:
    """A chart in both widths, since text that is scaled down with a chart cannot be read on a phone."""
    return element(
        "div",
        [
            element("div", [draw(WIDE).svg()], class_="wide"),
            element("div", [draw(NARROW).svg()], class_="narrow"),
        ],
        class_="chart",
    )


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """What the marks mean: (class of the mark, words)."""
    return element(
        "p",
        [
            element("span", [element("span", "", class_=f"mark {mark}"), Markup(" "), escape(said)])
            for mark, said in entries
        ],
        class_="legend",
    )
