"""A year of days as a calendar: a column a week, a square a day, its colour what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from markupsafe import Markup, escape

from headwater_ui.charts.svg import element, title

SIDE, GAP, HEAD, LEFT = 11, 2, 16, 30
WEEKDAYS = ((0, "Mon"), (2, "Wed"), (4, "Fri"))


def calendar(label: str, start: date, end: date, states: Mapping[date, tuple[str, str]]) -> Markup:
    """The days from start to end; of each its state, which is the square's class, and the words for it."""
    first = start - timedelta(days=start.weekday())
    weeks = (end - first).days // 7 + 1
    pitch = SIDE + GAP
    parts = [element("text", said, x=LEFT - 4, y=HEAD + row * pitch + 9, class_="tick end") for row, said in WEEKDAYS]
    for at in range((end - start).days + 1):
        day = start + timedelta(days=at)
        x, y = LEFT + (day - first).days // 7 * pitch, HEAD + day.weekday() * pitch
        if day.day == 1:
            parts.append(element("text", f"{day:%b}", x=x, y=HEAD - 5, class_="tick"))
        parts.append(_square(day, x, y, *states.get(day, ("none", "no rows"))))
    width, height = LEFT + weeks * pitch, HEAD + 7 * pitch
    drawn = element("svg", [title(label), *parts], viewBox=f"0 0 {width} {height}", width=width, height=height,
                    role="img", aria_label=label)  # fmt: skip
    return element("div", [drawn], class_="scroll calendar", tabindex=0, role="region", aria_label=label)


def _square(day: date, x: int, y: int, state: str, said: str) -> Markup:
    """A day. Written out at once and not by `element`: a page has thousands of them."""
    told = escape(f"{day}: {said}")
    square = f'<rect x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" rx="2" class="day {escape(state)}">'
    return Markup(f"{square}<title>{told}</title></rect>")  # noqa: S704 - what is told is escaped
