"""Charts without days: how values are spread, forecasts against what came, and probabilities against how often."""

from __future__ import annotations

from markupsafe import Markup

from headwater_ui.charts.scales import extent, ticks
from headwater_ui.charts.svg import TOP, Frame, element, legend, path, responsive, title
from headwater_ui.formats import number, share

BINS = 30
MOST_POINTS = 700
"""Of a scatter; more hide each other."""
LEAST_IN_BIN = 5
"""Of fewer, a share says little, and is not drawn."""


def histogram(label: str, unit: str, values: list[float], level: tuple[float, str] | None = None) -> Markup:
    """How many values are in each of some bins of equal width."""
    low, high = (min(values), max(values)) if len(set(values)) > 1 else extent(values)
    width = (high - low) / BINS
    counts = [0] * BINS
    for value in values:
        counts[min(int((value - low) / width), BINS - 1)] += 1

    def draw(size: int) -> Frame:
        frame = Frame(size, 220, label)
        y, x = frame.y_axis(0, max(counts) * 1.05), frame.x_axis(low, high)
        for at, count in enumerate(counts):
            left, right = x(low + at * width), x(low + (at + 1) * width)
            told = f"{number(low + at * width)} to {number(low + (at + 1) * width)}: {count:,}"
            frame.parts.append(
                element("rect", [title(told)], x=left, y=y(count), width=round(right - left - 1, 1),
                        height=round(y(0) - y(count), 1), class_="one")
            )  # fmt: skip
        if level and low <= level[0] <= high:
            at_x = x(level[0])
            frame.parts.append(element("line", x1=at_x, x2=at_x, y1=TOP, y2=y(0), class_="level"))
        return frame

    entries = [("one bars", f"how many of {len(values):,} forecasts (up) by their {unit} (right)")]
    return responsive(draw) + legend(entries + ([("level", level[1])] if level and level[1] else []))


def scatter(label: str, unit: str, pairs: list[tuple[float, float]]) -> Markup:
    """Points of (what came, what was forecast), with the diagonal on which both are the same."""
    pairs = pairs[:: -(-len(pairs) // MOST_POINTS)]
    both = [value for pair in pairs for value in pair]
    both = sorted(both)[: max(int(len(both) * 0.995), 1)]  # a slip of the keys would press all others into a corner
    low, high = extent(both, zero=min(both) >= 0)

    def draw(size: int) -> Frame:
        frame = Frame(size, 320, label)
        y, x = frame.y_axis(low, high, unit), frame.x_axis(low, high)
        ends = (max(low, ticks(low, high)[0]), high)
        frame.parts.append(path([(x(end), y(end)) for end in ends], "level"))
        frame.parts += [
            element("circle", cx=x(came), cy=y(said), r=2, class_="one faint")
            for came, said in pairs
            if max(came, said) <= high
        ]
        return frame

    entries = [("one points", f"forecast (up) against observed (right), {unit}"), ("level", "the same")]
    return responsive(draw) + legend(entries)


def calibration(label: str, pairs: list[tuple[float, bool]], bins: int = 10) -> Markup:
    """How often it came true, by bins of the probability with which it was forecast."""
    found: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for probability, came in pairs:
        found[min(int(probability * bins), bins - 1)].append((probability, came))
    told = [
        (sum(one for one, _ in part) / len(part), sum(came for _, came in part) / len(part), len(part))
        for part in found
        if len(part) >= LEAST_IN_BIN
    ]

    def draw(size: int) -> Frame:
        frame = Frame(size, 300, label)
        y, x = frame.y_axis(0, 1, "share that came true"), frame.x_axis(0, 1)
        frame.parts.append(path([(x(0), y(0)), (x(1), y(1))], "level"))
        frame.parts.append(path([(x(said), y(came)) for said, came, _ in told], "one line"))
        frame.parts += [
            element("circle", [title(f"said {share(said)}, came {share(came)}, of {count:,}")], cx=x(said), cy=y(came),
                    r=4, class_="one")
            for said, came, count in told
        ]  # fmt: skip
        return frame

    points = f"share that came true (up) by the chance forecast (right), of {len(pairs):,} with a known outcome"
    entries = [("one points", points), ("level", "as often as was said")]
    return responsive(draw) + legend(entries)
