"""The gradient of a recurrent layer by time step: how far back it reaches, as a picture and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isograd.records.report import Report
from isograd.render import axes, svg
from isograd.render.markup import Markup, plain
from isograd.render.parts import chart, table
from isograd.render.svg import Series
from isograd.render.wording import fold, number

_LOST = 1e-30
"""Shares of the largest gradient below this are drawn at it: an axis over 300 decades shows nothing of the others."""


def places(report: Report) -> tuple[str, ...]:
    """The recurrent layers whose gradient was seen by time step, in their order."""
    return tuple(dict.fromkeys(r.where for r in report.readings.values if r.signal == "time_gradient"))


def through_time(report: Report, where: str) -> Markup:
    """One layer's gradient at every time step, at the first and the last step of training that was looked at."""
    found: dict[int, list[axes.Point]] = {}
    for reading in report.readings.values:
        if reading.signal == "time_gradient" and reading.where == where and reading.time_step is not None:
            found.setdefault(reading.step, []).append((float(reading.time_step), reading.value))
    first, last = min(found), max(found)
    series = [_series(f"step {first:,}", found[first], 0)]
    if last > first:
        series.append(_series(f"step {last:,}", found[last], 2))
    x = axes.fit((at for one in series for at, _ in one.points), log=False, whole=True)
    y = axes.fit([*(share for one in series for _, share in one.points), 1.0, 0.1], log=True)
    title = title_of(report, where)
    picture = svg.lines(
        series, x, y, title=title, x_label="time step", y_label="gradient at the hidden state, of the largest (log scale)"
    )
    return chart(title, _sentence(found[last], last), picture, _table(found[first], found[last], first, last), legend=series)


def title_of(report: Report, where: str) -> str:
    """How far back the gradient reaches, as a headline; of the last step of training that was looked at."""
    latest = {r.signal: r.value for r in report.readings.values if r.where == where}
    steps, reach = latest.get("time_steps"), latest.get("time_reach")
    name = plain(where or "the model")
    if steps is None or reach is None or not math.isfinite(reach):
        return f"No gradient reaches {name} through time"
    if reach >= steps - 1:
        return f"The gradient reaches all {steps:,.0f} time steps of {name}"
    return f"The gradient reaches {reach:,.0f} of {steps - 1:,.0f} steps back through {name}"


def _series(name: str, points: Sequence[axes.Point], style: int) -> Series:
    most = max((value for _, value in points if math.isfinite(value)), default=0.0)
    shares = tuple((at, max(value / most, _LOST) if most > 0.0 and value > 0.0 else math.nan) for at, value in points)
    return Series(name, shares, style)


def _sentence(points: Sequence[axes.Point], step: int) -> str:
    ends = [value for _, value in points]
    if not all(map(math.isfinite, ends)):
        return f"At step {step:,} of the training it is not finite."
    if ends[0] <= 0.0 or ends[-1] <= 0.0:
        return f"At step {step:,} of the training nothing arrives at the {'first' if ends[0] <= 0.0 else 'last'} time step."
    log = math.log(ends[0]) - math.log(ends[-1])
    verb = "grows" if log > 0 else "shrinks"
    return f"At step {step:,} of the training it {verb} {fold(log)} from the last time step back to the first."


def _table(first: Sequence[axes.Point], last: Sequence[axes.Point], start: int, end: int) -> Markup:
    later = dict(last)
    head = ["time step", f"at step {start:,}", *([f"at step {end:,}"] if end > start else [])]
    rows = [[number(at), number(value, 2), *([number(later.get(at), 2)] if end > start else [])] for at, value in first]
    return table("Gradient at the hidden state, root mean square", head, rows, text=0)
