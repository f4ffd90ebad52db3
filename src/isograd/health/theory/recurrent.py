r"""Map a signal through a recurrent layer, forward over the announced steps and backward through time.

Forward, the moments of the state are iterated from zero, step by step, as if the weights were drawn anew at every step
(the same to first order in 1 / H)::

    simple  u = W x + U h + b,  h = phi(u)
    LSTM    E[c^2] <- E[f^2] E[c^2] + E[i^2] E[g^2],   E[h^2] = E[o^2] E[tanh(c)^2]
    GRU     E[h^2] <- E[(1 - z)^2] E[n^2] + E[z^2] E[h^2]

and the same with products over two places. Backward, the energies of the gradients of h (and c) at step t follow from those
at t + 1 by a matrix whose largest eigenvalue ``chi`` is what one step back keeps: the gradient falls by ``-log(chi) / 2``
nats a step. The weights are the same at every step, so that widths make the log of k steps differ with variance
``(c / H) k (1 + k / H)``: independent directions k / H, and k^2 / H^2 because any two steps share their matrix.

Sources: Chen, Pennington & Schoenholz 2018, arXiv:1806.05394 (simple and gated); Gilboa et al. 2019, arXiv:1901.08987
(LSTM and GRU); Pascanu et al. 2013, arXiv:1211.5063.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from isograd.health import activations
from isograd.health.activations import of_pair
from isograd.health.theory import weights
from isograd.health.theory.state import Alike, Back, Flow, World
from isograd.records.anatomy import Node

LONGEST = 2_000
"""Steps that are iterated at most; the state has long been stationary by then."""
STILL = 1e-5
"""Relative change of the state's mean square from which on it counts as stationary."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer in one direction: mean squares of its weights and biases."""

    kind: str
    into: float
    """I sigma^2 of the map from the input."""
    again: float
    """H sigma^2 of the map from the state."""
    given: float
    """H sigma^2 of the map from the input, summed over outputs: what a gradient gains on its way to the input."""
    bias: float
    forget: float
    hidden: float


@dataclass(frozen=True, slots=True)
class State:
    """Mean square, mean and products (near, far, same, cross) of a state.

    ``met`` are the products of what the state kept with what enters next, of one place and of the four pairs; see ``_meeting``.
    """

    square: float = 0.0
    mean: float = 0.0
    alike: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    met: tuple[float, ...] = (0.0,) * 6


@dataclass(frozen=True, slots=True)
class Step:
    """What one step back does to the energies: of h to h, h to c, c to c, c to h, and of h and c to the input of the gates.

    ``keep`` and ``enter`` are means, of what the state or cell keeps as it is and of what enters the cell: along them gradients
    of several steps that point the same way add as amplitudes, and states of several steps have something in common.
    """

    h_h: float
    h_c: float
    c_c: float
    c_h: float
    h_x: float
    c_x: float
    keep: float = 0.0
    enter: float = 0.0


def layer_of(node: Node, world: World, level: int, units: float, *, reverse: bool) -> Layer | None:
    """The weights of one layer and direction; nothing where they are not held."""
    tail = "" if node.get("cell", False) else f"_l{level}{'_reverse' if reverse else ''}"
    into, again = (weights.matrix(node, world, f"{name}{tail}") for name in ("weight_ih", "weight_hh"))
    if into is None or again is None:
        return None
    hidden = weights.number(node, "hidden", 1.0)
    bias = weights.bias(node, world, f"bias_ih{tail}") + weights.bias(node, world, f"bias_hh{tail}")
    kind, forget = str(node.get("kind", "")), weights.number(node, f"forget_bias{tail}", 0.0)
    bias = weights.number(node, f"gate_bias{tail}", bias)
    return Layer(kind, units * into, hidden * again, hidden * into, bias, forget, hidden)


def _curve(function: str, square: float, mean: float, products: Sequence[float]) -> tuple[activations.Gauss, tuple[float, ...]]:
    q, m = float(f"{square:.4g}"), float(f"{mean:.4g}")
    found, pairs = activations.gauss(function, (), q, m), activations.series(function, (), q, m)
    room = q - m * m
    return found, tuple(of_pair(pairs.value, (p - m * m) / room if room > 0 else 1.0) for p in products)


def _simple(layer: Layer, x: State, h: State) -> tuple[State, State, Step]:
    square = layer.into * x.square + layer.again * h.square + layer.bias
    products = [layer.into * a + layer.again * b + layer.bias for a, b in zip(x.alike, h.alike, strict=True)]
    function = "relu" if layer.kind == "rnn_relu" else "tanh"
    found, alike = _curve(function, square, 0.0, products)
    step = Step(layer.again * found.slope2, 0.0, 0.0, 0.0, found.slope2, 0.0)
    return State(found.square, found.mean, alike), State(), step


def _lstm(layer: Layer, x: State, h: State, c: State) -> tuple[State, State, Step]:
    square = layer.into * x.square + layer.again * h.square + layer.bias
    products = [layer.into * a + layer.again * b + layer.bias for a, b in zip(x.alike, h.alike, strict=True)]
    gate, gates = _curve("sigmoid", square, 0.0, products)
    m = layer.forget
    kept, keeps = _curve("sigmoid", square + m * m, m, [p + m * m for p in products])
    new, news = _curve("tanh", square, 0.0, products)
    met = _meeting(c, kept.mean, gate.mean, new.square, news)
    also = [2.0 * kept.mean * gate.mean * part for part in met]
    cell = State(
        kept.square * c.square + gate.square * new.square + also[0],
        0.0,
        tuple(f * a + i * g + m for f, a, i, g, m in zip(keeps, c.alike, gates, news, also[1:5], strict=True)),
        met,
    )
    out, outs = _curve("tanh", cell.square, 0.0, cell.alike)
    hidden = State(gate.square * out.square, 0.0, tuple(o * t for o, t in zip(gates, outs, strict=True)))
    h_x = out.square * gate.slope2
    c_x = c.square * kept.slope2 + new.square * gate.slope2 + gate.square * new.slope2
    h_c = gate.square * out.slope2
    enter = gate.mean * of_pair(activations.series("tanh", (), float(f"{cell.square:.4g}")).slope, 0.0) ** 0.5
    return hidden, cell, Step(layer.again * h_x, h_c, kept.square, layer.again * c_x, h_x, c_x, kept.mean, enter)


def _gru(layer: Layer, x: State, h: State) -> tuple[State, State, Step]:
    square = layer.into * x.square + layer.again * h.square + layer.bias
    products = [layer.into * a + layer.again * b + layer.bias for a, b in zip(x.alike, h.alike, strict=True)]
    gate, gates = _curve("sigmoid", square, 0.0, products)
    inner, inners = layer.again * h.square + layer.bias / 2, [layer.again * p + layer.bias / 2 for p in h.alike]
    outer, outers = layer.into * x.square + layer.bias / 2, [layer.into * p + layer.bias / 2 for p in x.alike]
    new, news = _curve(
        "tanh",
        outer + gate.square * inner,
        0.0,
        [a + r * b for a, r, b in zip(outers, gates, inners, strict=True)],
    )
    # 1 - z has the moments of z, for a sigmoid of symmetric values
    met = _meeting(h, gate.mean, 1.0 - gate.mean, new.square, news)
    also = [2.0 * (gate.mean - gate.square) * part for part in met]
    hidden = State(
        gate.square * (new.square + h.square) + also[0],
        0.0,
        tuple(z * (n + a) + m for z, n, a, m in zip(gates, news, h.alike, also[1:5], strict=True)),
        met,
    )
    to_new = gate.square * new.slope2
    to_reset, to_update = to_new * inner * gate.slope2, (h.square + new.square) * gate.slope2
    h_h = gate.square + layer.again * (to_new * gate.square + to_reset + to_update)
    return hidden, State(), Step(h_h, 0.0, 0.0, 0.0, to_new + to_reset + to_update, 0.0, gate.mean)


def _meeting(state: State, keep: float, enter: float, new: float, news: Sequence[float]) -> tuple[float, ...]:
    """What a state that keeps ``keep`` of itself has in common with what enters: what enters at two steps has, added up.

    Slow inputs and biases enter alike at every step, so that what is kept of them adds as amplitudes. Of neighbouring steps the
    part beyond that of any two (the last of the six numbers) falls off geometrically.
    """
    if state.square <= 0.0:
        return (0.0,) * 6
    near, far, _, cross = news
    fade = max(0.0, min(1.0, (near - far) / (new - far))) if new > far else 1.0
    beyond = keep * fade * state.met[5] + enter * (near - far)
    common = tuple(keep * old + enter * part for old, part in zip(state.met[2:5], (far, cross, cross), strict=True))
    return common[0] + beyond, common[0] + beyond, *common, beyond


def run(layer: Layer, x: State, steps: int) -> tuple[list[State], list[Step]]:
    """States and backward maps of every step, from a state of zero; the last of each stands for all that follow."""
    h, c = State(), State()
    states: list[State] = []
    maps: list[Step] = []
    for _ in range(min(steps, LONGEST)):
        before = h
        if layer.kind == "lstm":
            h, c, step = _lstm(layer, x, h, c)
        else:
            h, c, step = (_gru if layer.kind == "gru" else _simple)(layer, x, h)
        states.append(h)
        maps.append(step)
        now, then = (h.square, *h.alike), (before.square, *before.alike)
        if all(abs(a - b) <= STILL * h.square for a, b in zip(now, then, strict=True)):
            break
    return states, maps


def _over_time(states: Sequence[State], maps: Sequence[Step], steps: int) -> State:
    """Moments of a state over all steps; two steps have in common what the earlier one had time to share, and what was kept.

    A state that keeps a mean share k of itself has ``k^d`` of its free part in common with the one d steps later.
    """
    padded = [states[min(t, len(states) - 1)] for t in range(steps)]
    pairs = [2.0 * (steps - 1 - t) / max(1, steps * (steps - 1)) for t in range(steps)] if steps > 1 else [1.0]
    near, far, cross = (sum(w * state.alike[i] for w, state in zip(pairs, padded, strict=True)) for i in (0, 1, 3))
    square, mean = (sum(getattr(state, name) for state in padded) / steps for name in ("square", "mean"))
    same, keep = sum(state.alike[2] for state in padded) / steps, maps[-1].keep
    kept = sum(2.0 * (steps - d) * keep**d for d in range(1, steps)) / max(1, steps * (steps - 1)) if keep else 0.0
    near, far = near + keep * max(0.0, square - near), far + kept * max(0.0, square - far)
    return State(square, mean, (near, far, same, cross + kept * max(0.0, same - cross)))


def steps_of(node: Node, x: Flow) -> int:
    """How many steps the sequence has; a cell makes one."""
    return 1 if node.get("cell", False) else max(1, round(weights.number(node, "steps", x.positions)))


def _levels(node: Node, x: Flow, world: World) -> list[list[tuple[Layer, list[State], list[Step]]]] | None:
    """Layers by directions, each with its states and backward maps."""
    steps, state = steps_of(node, x), State(x.square, x.mean, tuple(x.alike))
    units, found = weights.number(node, "input", x.units), []
    keep = 1.0 - weights.number(node, "dropout", 0.0)
    both = (False, True) if node.get("bidirectional", False) else (False,)
    for level in range(int(weights.number(node, "layers", 1.0))):
        row = []
        for reverse in both:
            layer = layer_of(node, world, level, units, reverse=reverse)
            if layer is None:
                return None
            row.append((layer, *run(layer, state, steps)))
        found.append(row)
        state = _over_time(row[0][1], row[0][2], steps)
        state = replace(state, square=state.square / keep) if keep > 0 else state
        units = row[0][0].hidden * len(both)
    return found


def forward(node: Node, x: Flow, world: World) -> Flow | None:
    """The moments of the states of the last layer."""
    levels = _levels(node, x, world)
    if levels is None:
        return None
    steps, row = steps_of(node, x), levels[-1]
    state = _over_time(row[0][1], row[0][2], steps)
    units = row[0][0].hidden * len(row)
    own = 4.0 / units * world.averaged(steps, (state.alike[1] / state.square) ** 2 if state.square else 1.0, 0.1)
    thin = max(1.0 / units, 0.25 * x.far2)
    more = (thin, max(1.0 / units, 0.25 * x.cross2))
    return Flow(state.square, state.mean, Alike(*state.alike), units, float(steps), world.noisy({}, own), None, *more)


def back(node: Node, x: Flow | None, here: Back, world: World) -> Back | None:
    """The gradient that arrives at the inputs of all steps, for one that arrives at all outputs or at the last alone."""
    levels = _levels(node, x, world) if x is not None else None
    if x is None or levels is None:
        return None
    steps = steps_of(node, x)
    alone = here.alone if here.spot == "last" else 0.0
    arriving = [1.0 - alone] * (steps - 1) + [1.0 - alone + alone * steps]
    noise, travelled = here.noise, 0.0
    alike, fade = here.far * (1.0 - alone), 1.0
    for row in reversed(levels):
        total = [0.0] * steps
        for place, (layer, _, maps) in enumerate(row):
            given = arriving[::-1] if place else arriving
            found, far = _through(layer, maps, given, alike, fade)
            total = [a + b for a, b in zip(total, found[::-1] if place else found, strict=True)]
            travelled = max(travelled, far)
        layer = row[0][0]
        width = layer.hidden * len(row)
        once = world.averaged(1.0 if alone > 0.5 else steps, max(here.far2, here.far**2), here.cross2)
        once = max(once, 1.0 / layer.hidden)
        noise = world.noisy(noise, 4.0 / width * once * (1.0 + travelled * (1.0 + travelled / layer.hidden)))
        arriving = total
        step = row[0][2][-1]  # what reaches the layer below at two steps came the same way through the later ones
        alike, fade = 1.0, min(1.0, step.keep / math.sqrt(max(step.c_c, step.h_h, 1e-12)))
    gain = sum(arriving) / steps
    noise = world.noisy(noise, 2.0 / max(1.0, x.units) * world.averaged(steps, here.far2, here.cross2))
    spread = sum(arriving) ** 2 / (steps * sum(part * part for part in arriving)) if gain > 0.0 else 1.0
    far = here.far * 0.5 * (1.0 - alone)
    return here.times(
        gain, noise=noise, spot="", alone=0.0, own=0.0, far=far, far2=max(far**2, 0.0 if spread < 1 else here.far2)
    )


def _through(
    layer: Layer, maps: Sequence[Step], arriving: Sequence[float], alike: float, fade: float
) -> tuple[list[float], float]:
    """Energies at the inputs of all steps for those at the outputs, and how many steps a gradient travels on average.

    ``alike`` times ``fade`` a step is the correlation of the gradients that arrive at two steps. What the state keeps of itself
    carries the gradient of later steps down along their direction, where it meets what arrives with a product that is not zero
    on average: ``kept`` is its amplitude.
    """
    found = [0.0] * len(arriving)
    h = c = kept = travelled = total = 0.0
    for t in reversed(range(len(arriving))):
        step, root = maps[min(t, len(maps) - 1)], math.sqrt(arriving[t])
        meeting = 2.0 * alike * kept * root
        h += arriving[t] if layer.kind == "lstm" else arriving[t] + meeting
        total += h
        travelled += h - arriving[t]
        cell = c + h * step.h_c + (meeting * step.enter if layer.kind == "lstm" else 0.0)
        kept = step.keep * fade * (kept + (step.enter if layer.kind == "lstm" else 1.0) * root)
        found[t] = layer.given * (h * step.h_x + cell * step.c_x)
        h, c = h * step.h_h + cell * step.c_h, cell * step.c_c
        if h > 1e300:
            return [math.inf] * len(arriving), float(len(arriving))
    return found, travelled / max(total - travelled, 1e-300) if total > 0 else 0.0


def time_slope(node: Node, x: Flow, world: World) -> float | None:
    r"""What a step back costs the gradient of the first layer, in nats: ``-log(chi) / 2``, chi the largest eigenvalue.

    Unit: nats a step; positive when gradients vanish towards the first step. Compare ``signals.time.time_slope``.
    """
    levels = _levels(node, x, world)
    if levels is None:
        return None
    step = levels[0][0][2][-1]
    a, b, c, d = step.h_h + step.h_c * step.c_h, step.c_h, step.h_c * step.c_c, step.c_c
    trace, determinant = a + d, a * d - b * c
    chi = 0.5 * (trace + math.sqrt(max(0.0, trace * trace - 4.0 * determinant)))
    return -0.5 * math.log(chi) if chi > 0.0 else math.inf
