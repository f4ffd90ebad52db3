"""The gradient section: foretold against measured by layer, the heat map of layers by steps, and the layers one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isograd.records.report import Report
from isograd.render import axes, forward, sequence, svg
from isograd.render.axes import evenly
from isograd.render.gradients import Flow, drift_of, flow_of, sentence_of, title_of
from isograd.render.markup import Markup, el, join, name
from isograd.render.parts import chart, section, table, words
from isograd.render.svg import LEVELS, Grid, Series
from isograd.render.wording import count, number, percent

_FLOOR = -300.0
"""Decades below which a curve is not drawn: it is nothing for every number format."""
_CURVE = 5
"""Fewer losses than that are no curve."""
_SIDE = 8
"""Columns of steps in the table behind the heat map."""


def profile(flow: Flow) -> Markup:
    """Foretold and measured gradient of every layer relative to the last one, at the first step that was looked at."""
    measured = flow.relative(0) if flow.measured else ()
    theory = _curve(flow.foretold)
    band = tuple(
        (i + 1.0, _power(at - 2 * spread), _power(at + 2 * spread))
        for i, (at, spread) in enumerate(zip(flow.foretold, flow.spread, strict=True))
        if at is not None and spread is not None and math.isfinite(at) and spread < 700
    )
    last = max(len(flow.steps) - 1, 0)
    series = [Series(f"measured at step {flow.steps[0]:,}", _curve(measured), 0)] if measured else []
    if last and _apart(measured, flow.relative(last)) and any(log is not None for log in flow.relative(last)):
        series.append(Series(f"measured at step {flow.steps[last]:,}", _curve(flow.relative(last)), 2))
    if any(math.isfinite(y) for _, y in theory):
        series.append(Series("foretold, with two standard deviations", theory, 1, band))
    heights = [y for one in series for _, y in one.points] + [edge for _, low, high in band for edge in (low, high)]
    x = axes.fit([1.0, float(len(flow.layers))], log=False, whole=True)
    y = axes.fit([*heights, 10.0, 0.1], log=True)
    title = title_of(flow)
    picture = svg.lines(
        series,
        x,
        y,
        title=title,
        x_label="layer, 1 is next to the input",
        y_label="gradient relative to last layer (log scale)",
    )
    return chart(title, sentence_of(flow), picture, _profile_table(flow, measured), legend=series)


def _apart(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    """Whether two steps differ by more than two-fold anywhere: else the second curve would only hide the first."""
    pairs = zip(one, other, strict=True)
    return any(a is None or b is None or (a != b and abs(a - b) > math.log(2)) for a, b in pairs)


def _power(log: float) -> float:
    return math.pow(10.0, min(max(log / math.log(10), _FLOOR), -_FLOOR))


def _curve(logs: Sequence[float | None]) -> tuple[axes.Point, ...]:
    return tuple((i + 1.0, math.nan if log is None or not math.isfinite(log) else _power(log)) for i, log in enumerate(logs))


def _profile_table(flow: Flow, measured: Sequence[float | None]) -> Markup:
    rows = []
    for i, layer in enumerate(flow.layers):
        at = flow.foretold[i]
        cells = [number(i + 1), name(layer or "(the model)"), _ratio(measured[i]) if measured else "–", _ratio(at)]
        rows.append([*cells, number(flow.spread[i], 2)])
    head = ("layer", "place", "measured", "foretold", "spread (nats)")
    return table("Gradient relative to the last layer", head, rows, limit=200, text=2)


def _ratio(log: float | None) -> str:
    return "–" if log is None else "0" if log == -math.inf else number(_power(log), 2)


def heat_map(flow: Flow) -> Markup:
    """The gradient of every layer at every step, in decades."""
    known = [v for row in flow.rms for v in row if v is not None and math.isfinite(v) and v > 0]
    low, high = (math.log10(min(known)), math.log10(max(known))) if known else (-1.0, 1.0)
    if high - low < 2:  # noise of a factor of two must not look like a cliff
        low, high = (low + high) / 2 - 1, (low + high) / 2 + 1
    width = (high - low) / LEVELS
    cells = tuple(tuple(_level(v, low, width) for v in row) for row in reversed(flow.rms))
    depth = len(flow.layers)
    rows = tuple((depth - int(at), number(at)) for at in axes.fit([1.0, depth], log=False, whole=True).ticks)
    columns = tuple((i, number(flow.steps[i])) for i in evenly(len(flow.steps), 6))
    title = drift_of(flow)
    picture = svg.heat(Grid(cells, rows, columns), title=title, x_label="step, as looked at", y_label="layer")
    used = {cell for row in cells for cell in row}
    sentence = f"Gradient of the loss with respect to each layer's output, root mean square: {_extremes(known)}."
    if len(flow.steps) < flow.all_steps:
        sentence += f" Shown are {len(flow.steps)} of {count(flow.all_steps, 'watched step')}, evenly spread."
    return chart(title, sentence, picture, _heat_table(flow), key=_key(low, width, used))


def _extremes(known: Sequence[float]) -> str:
    return (
        f"from {number(min(known), 2)} (dark) to {number(max(known), 2)} (bright)"
        if known
        else "nothing that is finite and above 0"
    )


def _level(value: float | None, low: float, width: float) -> int | str | None:
    if value is None:
        return None
    if not math.isfinite(value):
        return "odd"
    return min(int((math.log10(value) - low) / width), LEVELS - 1) if value > 0 else "zero"


def _key(low: float, width: float, used: set[int | str | None]) -> Markup:
    entries = [(str(level), f"{number(10 ** (low + width * level), 2)} and more") for level in range(0, LEVELS, 3)]
    entries += [("zero", "exactly 0")] if "zero" in used else []
    entries += [("odd", "NaN or infinite")] if "odd" in used else []
    boxes = (
        el("li", el("svg", el("rect", width="100%", height="100%", class_=f"h{level}"), aria_hidden="true"), text)
        for level, text in entries
    )
    return el("ul", *boxes, class_="key")


def _heat_table(flow: Flow) -> Markup:
    columns = evenly(len(flow.steps), _SIDE)
    head = ["layer", "place", *(f"step {flow.steps[c]:,}" for c in columns)]
    rows = [
        [number(i + 1), name(layer or "(the model)"), *(number(flow.rms[i][c], 2) for c in columns)]
        for i, layer in enumerate(flow.layers)
    ]
    return table("Gradient, root mean square", head, rows, limit=200, text=2)


def by_layer(report: Report) -> Markup:
    """Every node at the last step that was looked at: activations, gradient, real update, zeros, saturation, dead units."""
    latest = {(r.signal, r.where): r.value for r in report.readings.values}
    holder = {parameter.name: parameter.layer for parameter in report.anatomy.matrices}
    updates: dict[str, float] = {}
    for (signal, where), value in latest.items():
        if signal == "update_ratio" and where in holder:
            updates[holder[where]] = max(value, updates.get(holder[where], 0.0))
    seen = {where for _, where in latest}
    rows = []
    for node in report.anatomy.nodes:
        if node.path not in seen:
            continue
        shares = (
            percent(latest.get((signal, node.path))) for signal in ("zero_fraction", "saturated_fraction", "dead_fraction")
        )
        values = (latest.get(("activation_rms", node.path)), latest.get(("gradient_rms", node.path)), updates.get(node.path))
        cells = (name(node.path or "(the model)"), join(node.label), name(node.source or "–"))
        rows.append([*cells, *(number(value, 2) for value in values), *shares])
    head = ("place", "what", "source", "activation rms", "gradient rms", "update / weight", "zeros", "saturated", "dead units")
    if not rows:
        return Markup("")
    numbers = table("Every layer when it was last looked at", head, rows, limit=200, text=3)
    return el("details", el("summary", "Layer by layer"), numbers, class_="numbers")


def losses(report: Report) -> Markup:
    """The loss at every step that was seen, where there are enough of them to make a curve."""
    points = tuple((float(r.step), r.value) for r in report.readings.values if r.signal == "loss")
    if len(points) < _CURVE:
        return Markup("")
    (first, start), (last, end) = points[0], points[-1]
    verb = "is not finite" if not math.isfinite(end) else "falls" if end < start else "rises"
    if math.isfinite(end) and abs(end - start) < 0.05 * abs(start):  # less than batches differ by
        verb = "hardly moves"
    title = f"Loss {verb}: {number(start)} at step {first:,.0f}, {number(end)} at step {last:,.0f}"
    shown = axes.thin(points)
    x, y = axes.fit((x for x, _ in shown), log=False, whole=True), axes.fit(v for _, v in shown)
    series = Series("loss", shown)
    picture = svg.lines([series], x, y, title=title, x_label="step", y_label=f"training loss{' (log scale)' if y.log else ''}")
    sentence = f"Loss of {count(len(points), 'step')}, each on its own batch."
    numbers = table("Loss by step", ("step", "loss"), [[number(a), number(b)] for a, b in points], text=0)
    return chart(title, sentence, picture, numbers)


def gradient_section(report: Report, *, hero: str = "", opened: bool = False) -> Markup:
    """All of it, folded; ``hero`` is the picture that stands on top of the page already."""
    flow = flow_of(report)
    time = [sequence.through_time(report, where) for where in sequence.places(report)]
    if len(flow.layers) < 2:
        gist = "There are not two layers whose gradients could be compared."
        charts = [one for one in time if one != hero]
        below = el("div", *charts, class_="pair") if charts else words(gist)
        return section("Gradient flow", gist, below, by_layer(report), anchor="gradients")
    charts = [one for one in (profile(flow), forward.profile(report), *time) if one and one != hero]
    if len(flow.steps) > 1:
        charts.append(heat_map(flow))
    charts.append(losses(report))
    gist = drift_of(flow) if hero and len(flow.steps) > 1 else title_of(flow)
    return section(
        "Gradient flow", gist, el("div", *charts, class_="pair"), by_layer(report), opened=opened, anchor="gradients"
    )


def hero_of(report: Report) -> Markup:
    """The one picture that shows what is wrong: the sequence where that is the first alarm, else the profile by layer."""
    first = next((finding for finding in report.findings if finding.alarm), None)
    if first is not None and first.disease == "recurrent" and first.where in sequence.places(report):
        return sequence.through_time(report, first.where)
    flow = flow_of(report)
    return profile(flow) if len(flow.layers) > 1 else Markup("")
