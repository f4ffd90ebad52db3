"""Gradient flow as data and words: what was measured in which layer and step, what theory foretold, what it means."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from isograd.records.anatomy import WEIGHTED
from isograd.records.report import Report
from isograd.render.axes import evenly
from isograd.render.wording import count, fold, number

_STEADY = math.log(3.0)
"""Up to three-fold, a gradient counts as keeping its size: single batches differ by as much."""


@dataclass(frozen=True, slots=True)
class Flow:
    """The gradient of every layer (rows, from the input to the output) at every step that was looked at (columns).

    ``foretold`` and ``spread`` are natural logarithms relative to the last layer; ``all_steps`` counts those
    looked at, of which ``steps`` are here. ``moved`` is the first layer's real update over its weight at the first of them.
    """

    layers: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    rms: tuple[tuple[float | None, ...], ...] = ()
    foretold: tuple[float | None, ...] = ()
    spread: tuple[float | None, ...] = ()
    all_steps: int = 0
    moved: float | None = None

    @property
    def measured(self) -> bool:
        """Whether any step was looked at."""
        return bool(self.steps)

    def relative(self, column: int) -> tuple[float | None, ...]:
        """Log of each layer's gradient over the last layer's at one step: -inf for none at all, None where unknown."""
        gradients = [row[column] for row in self.rms]
        last = gradients[-1]
        if last is None or not math.isfinite(last) or last <= 0:
            return (None,) * len(gradients)
        return tuple(_log_ratio(value, last) for value in gradients)


def _log_ratio(value: float | None, last: float) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return math.log(value) - math.log(last) if value > 0 else -math.inf


def flow_of(report: Report, columns: int = 48) -> Flow:
    """The flow through the layers that hold weights, on at most ``columns`` steps; without two such, through every node."""
    found: dict[str, dict[int, float]] = {}
    for reading in report.readings.values:
        if reading.signal == "gradient_rms":
            found.setdefault(reading.where, {})[reading.step] = reading.value
    expected = {node.where: node for node in report.expectations.nodes if node.log_gradient is not None and node.known}
    known = found.keys() if found else expected.keys()
    nodes = [node for node in report.anatomy.nodes if node.path in known]
    weighted = [node.path for node in nodes if node.operation in WEIGHTED]
    layers = tuple(weighted if len(weighted) > 1 else dict.fromkeys([node.path for node in nodes] or known))
    if not layers:
        return Flow()
    steps = sorted({step for layer in layers for step in found.get(layer, ())})
    shown = tuple(steps[i] for i in evenly(len(steps), columns))
    base = expected[layers[-1]].log_gradient if layers[-1] in expected else None
    foretold: list[float | None] = []
    for layer in layers:
        at = expected[layer].log_gradient if layer in expected else None
        foretold.append(None if at is None or base is None else at - base)
    return Flow(
        layers,
        shown,
        tuple(tuple(found.get(layer, {}).get(step) for step in shown) for layer in layers),
        tuple(foretold),
        tuple(expected[layer].spread if layer in expected else None for layer in layers),
        len(steps),
        _moved(report, layers[0], shown[0]) if shown else None,
    )


def _moved(report: Report, layer: str, step: int) -> float | None:
    names = {parameter.name for parameter in report.anatomy.matrices if parameter.layer == layer}
    found = [r.value for r in report.readings.values if r.signal == "update_ratio" and r.step == step and r.where in names]
    return max((value for value in found if math.isfinite(value)), default=None)


def title_of(flow: Flow, column: int = 0) -> str:
    """What the flow shows, as a headline with its figure.

    >>> title_of(Flow(("a", "b"), (1,), ((1e-3,), (0.6,)), (None, None), (None, None)))
    'Gradients shrink 600-fold from layer 2 to layer 1'
    """
    if len(flow.layers) < 2:
        return "Gradient flow needs two layers or more to be seen"
    way = f"from layer {len(flow.layers)} to layer 1"
    if not flow.measured:
        return _headline(flow.foretold[0], way, lambda verb: f"Theory foretells that gradients {verb}")
    if any(row[column] is not None and not math.isfinite(row[column] or 0.0) for row in flow.rms):
        return f"Gradients are not finite at step {flow.steps[column]}"
    first, foretold = flow.relative(column)[0], flow.foretold[0]
    return _headline(first, way, lambda verb: f"Gradients {verb}") + _surprise(first, foretold, flow.spread[0])


def _surprise(log_ratio: float | None, foretold: float | None, spread: float | None) -> str:
    """Whether theory said so too, where there is something to say: the gradient shrinks or grows, or was to."""
    if log_ratio is None or foretold is None or not math.isfinite(log_ratio) or not math.isfinite(foretold):
        return ""
    if abs(log_ratio - foretold) <= max(2 * (spread or 0.0), math.log(2.0), 0.1 * abs(foretold)):
        return ", as foretold" if abs(log_ratio) > _STEADY else ""
    return ", which theory did not foretell"


def _headline(log_ratio: float | None, way: str, say: Callable[[str], str]) -> str:
    if log_ratio is None or math.isnan(log_ratio):
        return say(f"cannot be compared {way}")
    if log_ratio == -math.inf:
        return "No gradient reaches layer 1"
    if abs(log_ratio) <= _STEADY:
        return say(f"keep their size {way}")
    return say(f"{'shrink' if log_ratio < 0 else 'grow'} {fold(log_ratio)} {way}")


def sentence_of(flow: Flow, column: int = 0) -> str:
    """The same for somebody who cannot see the chart: what was measured at the two ends, and what theory foretold."""
    parts: list[str] = []
    relative = flow.relative(column) if flow.measured else ()
    if relative and relative[0] is not None:
        share = math.exp(max(relative[0], -740.0)) if math.isfinite(relative[0]) and relative[0] < 700 else 0.0
        ends = (
            f"layer 1 ({flow.layers[0] or 'the model'}) gets {number(share, 2)} times the gradient of layer {len(flow.layers)}"
        )
        parts.append(f"At step {flow.steps[column]}, {ends} ({flow.layers[-1] or 'the model'}).")
    elif flow.measured:
        parts.append(f"At step {flow.steps[column]} the gradients of the two ends cannot be compared.")
    foretold = flow.foretold[0] if flow.foretold else None
    if foretold is None or not math.isfinite(foretold):
        parts.append("Theory has no forecast for layer 1.")
    else:
        parts.append(f"Theory foretold {number(math.exp(min(max(foretold, -740.0), 700.0)), 2)} from the architecture alone.")
    if flow.moved is not None and not column:
        parts.append(f"The weights of layer 1 moved by {number(flow.moved, 2)} of their size in that step.")
    lost = [i + 1 for i, row in enumerate(flow.rms) if row[column] == 0.0] if flow.measured else []
    if lost:
        parts.append(f"No gradient at all arrives at {count(len(lost), 'layer')}, the last of them layer {lost[-1]}.")
    return " ".join(parts)


def drift_of(flow: Flow) -> str:
    """How the share of the gradient that reaches layer 1 changed from the first to the last step, as a headline."""
    for column, step in enumerate(flow.steps):
        if any(not math.isfinite(row[column] or 0.0) for row in flow.rms):
            return f"Gradients are not finite at step {step:,}{', the first such step shown' if column else ''}"
    first, last = flow.relative(0)[0], flow.relative(len(flow.steps) - 1)[0]
    if first is None or last is None:
        return f"Layer {len(flow.layers)} has no gradient at step {flow.steps[0 if first is None else -1]:,}"
    if not math.isfinite(first) or not math.isfinite(last):
        return f"No gradient reaches layer 1 at step {flow.steps[0 if first == -math.inf else -1]}"
    start, end = (number(math.exp(min(log, 700.0)), 2) for log in (first, last))
    ends = f"{start} at step {flow.steps[0]:,} and {end} at step {flow.steps[-1]:,}"
    return f"Layer 1 gets {ends} times the gradient of layer {len(flow.layers)}"
