"""Drawing small SVG plots for a page, whose style sheet determines their colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

_WIDTH = 640
_LABELS = 168
_VALUES = 56
_LINE = 16
_GAP = 12
_AXIS = 26
_TOP = 6

_CURVE_HEIGHT = 280

_STYLE = """
text { fill: #7b8494; font: 12px system-ui, sans-serif; dominant-baseline: central; }
.middle { text-anchor: middle; } .end { text-anchor: end; }
.grid { stroke: #c9ccd2; } .axis, .zero, .whisker { stroke: #7b8494; } .band { fill: #8883; }
circle, .bar { fill: #4a74e0; } .curve { fill: none; stroke: #4a74e0; stroke-width: 2; }
.band-of-curve { fill: #4a74e0; opacity: .2; }
"""
"""Style of a plot in a separate file, readable on light and dark backgrounds."""

_HISTOGRAM_WIDTH = 300
_HISTOGRAM_HEIGHT = 130


class Interval(NamedTuple):
    """A value and the ends of its confidence interval; ``None`` for an unknown one."""

    value: float | None
    low: float | None
    high: float | None


class Row(NamedTuple):
    """A category, with one interval for each series."""

    label: str
    intervals: Sequence[Interval]


def interval_plot(
    rows: Sequence[Row],
    *,
    series: Sequence[str],
    bounds: tuple[float, float] = (0.0, 1.0),
    signed: bool = False,
    name: str = "",
) -> str:
    """Draw a dot with its interval for each category and series.

    Args:
        rows: rows from top to bottom.
        series: names of the series, shown when the pointer rests on a dot.
        bounds: bounds of the axis.
        signed: true for differences, which are shown with their sign and a line at 0.
        name: description of the plot; screen readers read it with all values.
    """
    group = _LINE * len(series) + _GAP
    bottom = _TOP + group * len(rows)
    facts = [f"{row.label}: {_values(row, series, signed=signed)}" for row in rows]
    svg = _svg(_WIDTH, bottom + _AXIS, name, facts)
    scale = _Scale(bounds, left=_LABELS, right=_WIDTH - _VALUES)
    for index in range(0, len(rows), 2):
        _shape(svg, "rect", "band", x=0, y=_TOP + index * group, width=_WIDTH, height=group, rx=4)
    _draw_axis(svg, scale, bottom, signed=signed)
    for index, row in enumerate(rows):
        top = _TOP + index * group
        middle = top + group / 2
        _text(svg, row.label, _LABELS - 14, middle, "label end")
        for place, interval in enumerate(row.intervals):
            height = top + _GAP / 2 + _LINE * (place + 0.5)
            hint = f"{series[place]}, {row.label}"
            _draw_interval(svg, scale, interval, height, f"s{place % 8}", hint, signed=signed)
    return _written(svg)


def _values(row: Row, series: Sequence[str], *, signed: bool) -> str:
    return ", ".join(
        f"{name} {_number(interval.value, signed=signed)}"
        for name, interval in zip(series, row.intervals, strict=True)
    )


def _number(value: float | None, *, signed: bool) -> str:
    if value is None:
        return "none"
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def histogram_plot(
    counts: Sequence[int], *, series: int, highest_share: float, name: str = ""
) -> str:
    """Draw a histogram over equal bins of [0, 1].

    Args:
        counts: number of values in each bin.
        series: index of the series, which determines its colour.
        highest_share: share of all values at the plot's top, so that several plots can be compared.
        name: description of the plot; screen readers read it with all values.
    """
    edges = [f"{index / len(counts):.2f}" for index in range(len(counts) + 1)]
    facts = [f"{edges[at]} to {edges[at + 1]}: {count}" for at, count in enumerate(counts) if count]
    svg = _svg(_HISTOGRAM_WIDTH, _HISTOGRAM_HEIGHT, name, facts)
    left, bottom = 10, _HISTOGRAM_HEIGHT - 22
    width = (_HISTOGRAM_WIDTH - 2 * left) / len(counts)
    total = sum(counts) or 1
    for index, count in enumerate(counts):
        height = (bottom - _TOP) * count / total / (highest_share or 1)
        place = {"x": left + index * width + 1, "y": bottom - height, "rx": 1.5}
        bar = _shape(svg, "rect", f"bar s{series % 8}", width=width - 2, height=height, **place)
        _hint(bar, f"{edges[index]} to {edges[index + 1]}: {count} turns, {count / total:.1%}")
    right = _HISTOGRAM_WIDTH - left
    _shape(svg, "line", "axis", x1=left, x2=right, y1=bottom, y2=bottom)
    for value in (0, 0.5, 1):
        anchor = {0: "start", 0.5: "middle", 1: "end"}[value]
        _text(svg, f"{value:g}", left + value * (right - left), bottom + 13, f"tick {anchor}")
    return _written(svg)


class Point(NamedTuple):
    """A value with its interval, at a position on the axis."""

    x: float
    interval: Interval


def curve_plot(points: Sequence[Point], *, x_label: str, name: str = "") -> str:
    """Draw a curve of values from 0 upwards, with a band for the interval.

    Args:
        points: points from left to right; those without a value are left out.
        x_label: unit of the horizontal axis.
        name: description of the plot; screen readers read it with all values.
    """
    known = [point for point in points if point.interval.value is not None]
    bottom = _CURVE_HEIGHT - 2 * _AXIS
    facts = [f"{point.x:,g} {x_label}: {point.interval.value:.3f}" for point in known]
    svg = _svg(_WIDTH, _CURVE_HEIGHT, name, facts)
    highest = max((end for point in known for end in point.interval if end is not None), default=1)
    across = _Scale((0, max((point.x for point in known), default=1) or 1), _VALUES, _WIDTH - 24)
    up = _Scale((0, highest or 1), bottom, _TOP + 8)
    for tick in up.ticks():
        _shape(svg, "line", "grid", x1=_VALUES, x2=_WIDTH - 24, y1=up(tick), y2=up(tick))
        _text(svg, f"{tick:g}", _VALUES - 8, up(tick), "tick end")
    for tick in across.ticks():
        _text(svg, f"{tick:,g}", across(tick), bottom + 14, "tick middle")
    _text(svg, x_label, (_VALUES + _WIDTH - 24) / 2, bottom + 34, "tick middle")
    mark = ElementTree.SubElement(svg, "g", {"class": "s0"})
    _draw_band(mark, [point for point in known if None not in point.interval], across, up)
    _draw_path(mark, "polyline", "curve", [_place(point, 0, across, up) for point in known])
    for point in known:
        x, y = _place(point, 0, across, up)
        dot = _shape(mark, "circle", "dot", cx=x, cy=y, r=4)
        value, low, high = point.interval
        ends = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
        _hint(dot, f"{point.x:,g}: {value:.3f}{ends}")
    return _written(svg)


def as_file(plot: str) -> str:
    """Add the name space and the style sheet that a plot in a separate file needs."""
    svg = ElementTree.fromstring(plot)  # noqa: S314  (drawn here)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    style = ElementTree.Element("style")
    style.text = _STYLE
    svg.insert(0, style)
    return _written(svg)


def _draw_band(
    mark: ElementTree.Element, points: Sequence[Point], across: _Scale, up: _Scale
) -> None:
    lower = [_place(point, 1, across, up) for point in points]
    upper = [_place(point, 2, across, up) for point in reversed(points)]
    _draw_path(mark, "polygon", "band-of-curve", lower + upper)


def _draw_path(
    mark: ElementTree.Element, tag: str, style: str, places: Sequence[tuple[float, float]]
) -> None:
    written = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    ElementTree.SubElement(mark, tag, {"class": style, "points": written})


def _place(point: Point, part: int, across: _Scale, up: _Scale) -> tuple[float, float]:
    value = point.interval[part]
    return across(point.x), up(0.0 if value is None else value)


class _Scale(NamedTuple):
    bounds: tuple[float, float]
    left: float
    right: float

    def __call__(self, value: float) -> float:
        low, high = self.bounds
        inside = min(max(value, low), high)
        return self.left + (inside - low) / (high - low) * (self.right - self.left)

    def ticks(self) -> list[float]:
        low, high = self.bounds
        step = _round_step((high - low) / 4)
        first = math.ceil(low / step - 1e-9)
        return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _round_step(step: float) -> float:
    """Round up to 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= step * (1 - 1e-9))


def _draw_axis(svg: ElementTree.Element, scale: _Scale, bottom: float, *, signed: bool) -> None:
    for tick in scale.ticks():
        x = scale(tick)
        is_reference = signed and abs(tick) < 1e-12
        _shape(svg, "line", "zero" if is_reference else "grid", x1=x, x2=x, y1=_TOP, y2=bottom)
        _text(svg, f"{tick:g}", x, bottom + 14, "tick middle")


def _draw_interval(
    svg: ElementTree.Element,
    scale: _Scale,
    interval: Interval,
    y: float,
    colour: str,
    name: str,
    *,
    signed: bool,
) -> None:
    value, low, high = interval
    if value is None:
        _text(svg, "none", _WIDTH - 4, y, "value end")
        return
    mark = ElementTree.SubElement(svg, "g", {"class": colour})
    written = _number(value, signed=signed)
    if low is not None and high is not None:
        _shape(mark, "line", "whisker", x1=scale(low), x2=scale(high), y1=y, y2=y)
        name = f"{name}: {written} ({low:.3f} to {high:.3f})"
    else:
        name = f"{name}: {written}"
    _shape(mark, "circle", "dot", cx=scale(value), cy=y, r=4.5)
    _text(mark, written, _WIDTH - 4, y, "value end")
    _hint(mark, name)


def _svg(width: float, height: float, name: str, facts: Sequence[str]) -> ElementTree.Element:
    """Create the element of a plot, with its name and values as text for screen readers."""
    label = ". ".join(filter(None, (name, "; ".join(facts)))) or "plot without values"
    return ElementTree.Element(
        "svg",
        {
            "viewBox": f"0 0 {width:g} {height:g}",
            "class": "plot",
            "role": "img",
            "aria-label": label,
        },
    )


def _shape(
    parent: ElementTree.Element, tag: str, style: str, **numbers: float
) -> ElementTree.Element:
    attributes = {name: f"{number:.2f}".rstrip("0").rstrip(".") for name, number in numbers.items()}
    return ElementTree.SubElement(parent, tag, {"class": style, **attributes})


def _text(parent: ElementTree.Element, words: str, x: float, y: float, style: str) -> None:
    _shape(parent, "text", style, x=x, y=y).text = words


def _hint(shape: ElementTree.Element, words: str) -> None:
    """Add a text to a shape that browsers show when the pointer rests on it."""
    ElementTree.SubElement(shape, "title").text = words


def _written(svg: ElementTree.Element) -> str:
    return ElementTree.tostring(svg, encoding="unicode")
