"""Charts as inline SVG that keep their letters readable at every width: lines with a band, and a heat map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isograd.render.axes import Axis, Point
from isograd.render.markup import Markup, el, join, plain

HEIGHT = 220
_UNITS = 1000
"""The plane of an inner picture, stretched to whatever width the page has; strokes and letters do not stretch with it."""
_DOTS = 60
"""Up to so many points each gets a dot."""
_DOTTED = (0, 2)
"""Styles of what was measured; a forecast is a line without dots."""
LEVELS = 10


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, its points in order, how it is drawn, and a band of (x, low, high) around it."""

    name: str
    points: tuple[Point, ...]
    style: int = 0
    band: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line with a word."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Grid:
    """A heat map: ``cells[row][column]`` is a level 0 .. LEVELS - 1, or "zero", "odd" (not finite) or None (not measured)."""

    cells: tuple[tuple[int | str | None, ...], ...]
    row_ticks: tuple[tuple[int, str], ...]
    column_ticks: tuple[tuple[int, str], ...]


def lines(
    series: Sequence[Series], x: Axis, y: Axis, *, title: str, x_label: str, y_label: str, mark: Mark | None = None
) -> Markup:
    """A line chart; what is not finite, or not above 0 on a logarithmic axis, leaves a gap."""
    drawn: list[str] = [_rules(y)]
    drawn += [_band(one, x, y) for one in series]
    drawn += [_line(one, x, y) for one in series]
    if mark is not None and x.holds(mark.at):
        at = _place(x, mark.at)
        drawn.append(el("path", d=f"M{at} 0V{_UNITS}", class_="mark"))
    plane = _plane(drawn)
    shown = [(tick, f"{x.place(tick):.2%}") for tick in x.ticks]
    letters = [_text(x.label(tick), place, HEIGHT + 18, "middle") for tick, place in shown]
    letters += [_text(y.label(tick), "-8", HEIGHT * (1 - y.place(tick)) + 4, "end") for tick in y.ticks]
    if mark is not None and x.holds(mark.at):
        share = x.place(mark.at)
        left = share > 0.6
        high = HEIGHT - 8 if _height_near(mark.at, series, y) > 0.5 else 14
        letters.append(_text(mark.text, f"{share:.2%}", high, "end" if left else "start", dx=-5 if left else 5, class_="word"))
    return _picture(title, plane, letters, x_label, y_label)


def heat(grid: Grid, *, title: str, x_label: str, y_label: str) -> Markup:
    """A heat map: rows from top to bottom, columns from left to right; neighbours of one level in a row are one shape."""
    rows, columns = len(grid.cells), max((len(row) for row in grid.cells), default=0)
    shapes: dict[str, list[str]] = {}
    for r, row in enumerate(grid.cells):
        start = 0
        for c in range(1, len(row) + 1):
            if c == len(row) or row[c] != row[start]:
                if row[start] is not None:
                    shapes.setdefault(f"h{row[start]}", []).append(f"M{start} {r}h{c - start}v1h{start - c}z")
                start = c
    paths = [el("path", d="".join(parts), class_=level) for level, parts in sorted(shapes.items())]
    frame = el("path", d=f"M0 0V{rows}H{columns}V0Z", class_="frame")
    plane = el("svg", *paths, frame, class_="cells", **_box(columns, rows))
    letters = [_text(word, f"{(c + 0.5) / columns:.2%}", HEIGHT + 18, "middle") for c, word in grid.column_ticks]
    letters += [_text(word, "-8", HEIGHT * (r + 0.5) / rows + 4, "end") for r, word in grid.row_ticks]
    return _picture(title, plane, letters, x_label, y_label)


def swatch(one: Series) -> Markup:
    """A piece of a series' line for the legend."""
    line = el("path", d="M0 6h30", class_=f"line s{one.style}")
    dot = el("path", d="M15 6h.01", class_=f"dots s{one.style}") if one.style in _DOTTED else ""
    return el("svg", line, dot, width=30, height=12, class_="swatch", aria_hidden="true")


def _height_near(at: float, series: Sequence[Series], y: Axis) -> float:
    heights = [(abs(x - at), y.place(value)) for one in series[:1] for x, value in one.points if y.holds(value)]
    return min(heights, default=(0.0, 0.0))[1]


def _picture(title: str, plane: Markup, letters: Sequence[str], x_label: str, y_label: str) -> Markup:
    names = [_text(y_label, "-46", -14, "start", class_="axis"), _text(x_label, "100%", HEIGHT + 37, "end", class_="axis")]
    return el("svg", plane, *letters, *names, class_="plot", height=HEIGHT, role="img", aria_label=plain(title, 300))


def _plane(shapes: Sequence[str]) -> Markup:
    frame = el("path", d=f"M0 0V{_UNITS}H{_UNITS}", class_="frame")
    return el("svg", *shapes, frame, class_="plane", **_box(_UNITS, _UNITS))


def _box(width: int, height: int) -> dict[str, str | int]:
    box = {"viewBox": f"0 0 {max(width, 1)} {max(height, 1)}", "preserveAspectRatio": "none"}
    return {"width": "100%", "height": HEIGHT, **box}


def _text(words: str, x: str, y: float, anchor: str, *, dx: int | None = None, class_: str | None = None) -> Markup:
    return el("text", words, x=x, y=f"{y:.4g}", text_anchor=anchor, dx=dx, class_=class_)


def _place(axis: Axis, value: float) -> str:
    return f"{axis.place(value) * _UNITS:.1f}".removesuffix(".0")


def _spot(x: Axis, y: Axis, point: Point) -> str:
    height = (1 - y.place(point[1])) * _UNITS
    return f"{_place(x, point[0])} {height:.1f}".removesuffix(".0")


def _line(one: Series, x: Axis, y: Axis) -> Markup:
    runs: list[list[str]] = [[]]
    for point in one.points:
        if x.holds(point[0]) and y.holds(point[1]):
            runs[-1].append(_spot(x, y, point))
        elif runs[-1]:
            runs.append([])
    strokes = "".join("M" + "L".join(run) for run in runs if len(run) > 1)
    lonely = one.style in _DOTTED and sum(map(len, runs)) <= _DOTS
    dots = "".join(f"M{spot}h.01" for run in runs for spot in run if lonely or len(run) == 1)
    return join(
        el("path", d=strokes, class_=f"line s{one.style}") if strokes else "",
        el("path", d=dots, class_=f"dots s{one.style}") if dots else "",
    )


def _band(one: Series, x: Axis, y: Axis) -> Markup:
    known = [edge for edge in one.band if all(map(math.isfinite, edge)) and y.holds(edge[1]) and y.holds(edge[2])]
    if len(known) < 2:
        return Markup("")
    upper = [_spot(x, y, (at, high)) for at, _, high in known]
    lower = [_spot(x, y, (at, low)) for at, low, _ in reversed(known)]
    return el("path", d="M" + "L".join(upper + lower) + "Z", class_=f"band s{one.style}")


def _rules(y: Axis) -> Markup:
    across = "".join(f"M0 {(1 - y.place(tick)) * _UNITS:.1f}H{_UNITS}" for tick in y.ticks)
    return el("path", d=across, class_="rule")
