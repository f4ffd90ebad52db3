"""Vanishing gradients: the backward signal shrinks geometrically on its way to the first layer.

Bad when the first layers move less over the whole run than would change what they compute: the *real* update over the weight,
not the gradient, decides, because Adam undoes a small gradient (until it falls below Adam's eps) and plain SGD does not. So a
slope is evidence, a starved layer is the finding. Weight decay is taken out of the movement: it moves what does not learn.

Bounds, from theory:
  MOVES     a layer must be able to turn by 1 % over the run, even if all its steps agreed: movement * steps >= 0.01
  APART     and it is starved, not merely slow, where another hidden layer moves 1,000 times as much and gets 1,000 times the
            gradient: then no single learning rate serves both (a rate that moves the first layer by 1e-3 tears the other apart)
  HALF_ULP  2**-24 for float32: a smaller relative update is rounded away and the weight does not move at all
  STILL     or nothing was learned at all (``health.outcome``), the first layer gets 1/1,000 of the last one's gradient, and
            most hidden layers moved by less than a tenth of their size; not where an adaptive optimizer moved the first of
            them by a tenth (ALIKE) or more of what the others did, for then its rate is what keeps all still
The last layer is left out of the comparison: its own initialisation (small, zero) sets the scale of everything below it once.

Look-alikes that are healthy: a converged network (all gradients small, slope flat), frozen layers, warm-up from zero, a
learning rate of 0, a zero or small last layer, zero-initialised residual branches, rarely used embeddings.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace

from isograd.health import layers as gather
from isograd.health.case import Case, Table, at, middle, planned
from isograd.health.layers import Layer
from isograd.health.movement import SHORT
from isograd.health.outcome import outcome
from isograd.records.anatomy import Anatomy, spoken
from isograd.records.expectation import Expectations
from isograd.records.finding import Evidence, Finding

MOVES = 1e-2
APART = 1e-3
ALIKE = 0.1
HALF_ULP = {"float64": 2.0**-53, "float32": 2.0**-24}
PLAIN = gather.PLAIN
WELL = 0.6
"""Skill from which the layers behind do without the starved ones (``health.outcome``)."""
HIDDEN_GRADIENT = 1e-6
"""Below this share of the last layer's gradient a remark is worth making even where the optimizer undoes it."""
_NAMES = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "adagrad": "Adagrad", "sgd": "SGD"}
REFERENCES = (
    "Hochreiter 1991; Bengio et al. 1994, Learning long-term dependencies with gradient descent is difficult",
    "Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks",
    "Schoenholz et al. 2017, arXiv:1611.01232",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that the first layers are starved, or the remark that an optimizer hides it.

    Works on what was measured where there is something, else on theory alone.
    """
    rows, anatomy, expectations = case.rows, case.anatomy, case.expectations
    found = gather.layers(case)
    updated = any(layer.gradient is not None and layer.movement is not None for layer in found)
    measured = updated or (anatomy.optimizer is None and any(layer.gradient is not None for layer in found))
    if len(found) < 3:
        return
    gradients = [_gradient(layer, measured) for layer in found]
    movements = [layer.movement if updated else layer.foretold_movement for layer in found]
    if measured and not updated:  # no optimizer: the plain rate at which a step moves the last layer by 1 %
        movements = [PLAIN * gradient / _last(gradients) for gradient in gradients]
    steps = planned(rows)
    starved = _starved(gradients, movements, steps)
    if starved:
        finding = _finding(found[:starved], found, gradients, movements, rows, expectations, anatomy, measured)
        judged = outcome(case)
        early = finding.severity == "warning" and updated and not judged.decided  # a branch that begins at zero is fed later
        yield replace(finding, severity="note") if early or judged.well(WELL) else finding
    elif updated and _shrinks(gradients) and gradients[0] < APART * _last(gradients) and _stands_still(case, movements):
        yield _all_still(found, gradients)
    elif updated and _shrinks(gradients) and gradients[0] < HIDDEN_GRADIENT * _last(gradients):
        yield _hidden(found, gradients, movements, anatomy)


def _stands_still(case: Case, movements: Sequence[float | None]) -> bool:
    """Whether nothing was learned, and most hidden layers moved by less than a tenth of their size over the run."""
    known = [movement for movement in movements if movement is not None and math.isfinite(movement)]
    if len(known) < len(movements) or statistics.median(known[:-1]) * max(case.taken, case.planned or 0) >= SHORT:
        return False
    optimizer = case.anatomy.optimizer
    if optimizer is not None and optimizer.kind in gather.ADAPTIVE and known[0] >= ALIKE * max(known):
        return False
    judged = outcome(case)
    return judged.decided and judged.learning is False


def _gradient(layer: Layer, measured: bool) -> float:
    if measured:
        return layer.gradient if layer.gradient is not None else math.nan
    return math.exp(max(-745.0, min(700.0, layer.foretold_gradient))) if layer.foretold_gradient is not None else math.nan


def _last(gradients: Sequence[float]) -> float:
    return next((g for g in reversed(gradients) if g > 0), math.nan)


def _starved(gradients: Sequence[float], movements: Sequence[float | None], steps: int) -> int:
    """How many layers from the input on are starved."""
    hidden = [g for g in gradients[:-1] if math.isfinite(g)]
    moving = [m for m in movements[:-1] if m is not None and math.isfinite(m)]
    if not hidden or not moving or max(moving) <= 0.0 or not _shrinks(gradients):
        return 0
    count = 0
    for gradient, movement in zip(gradients, movements, strict=True):
        small = gradient < APART * max(hidden)
        if not small or movement is None or movement >= APART * max(moving) or movement * steps >= MOVES:
            break
        count += 1
    return count


def _shrinks(gradients: Sequence[float]) -> bool:
    """Whether a gradient of exactly 0 comes from shrinking (underflow), not from a cut: it was tiny before it was zero."""
    if not math.isfinite(gradients[0]):
        return False
    tiny = [g for g in gradients if 0.0 < g < math.inf]
    return gradients[0] > 0.0 or (bool(tiny) and min(tiny) < 1e-20 * max(tiny))


def _orders(share: float) -> str:
    return f"{share:.0e} of the one at the last layer: {-math.log10(share):.1f} orders of magnitude less"


def _reach(place: str, gradients: Sequence[float], tense: str) -> str:
    last = _last(gradients)
    if gradients[0] > 0.0:
        return f"The gradient that {tense} {place} is {_orders(gradients[0] / last)}."
    tiny = min(g for g in gradients if g > 0.0)
    return f"The gradient that {tense} {place} is exactly 0: it underflowed on the way, after {_orders(tiny / last)}."


def _finding(
    starved: Sequence[Layer],
    found: Sequence[Layer],
    gradients: Sequence[float],
    movements: Sequence[float | None],
    rows: Table,
    expectations: Expectations,
    anatomy: Anatomy,
    measured: bool,
) -> Finding:
    first = starved[0]
    movement = movements[0] or 0.0
    half = HALF_ULP.get(anatomy.dtype, HALF_ULP["float32"])
    stuck = movement < half
    names = tuple(layer.node.path for layer in starved)
    which = spoken(names[0])
    which = f"{which[0].upper()}{which[1:]}" if which.startswith("layer ") else which
    if len(names) > 1:
        which += f" to {names[-1]} ({len(names)} of {len(found)} layers)"
    verb = "will not learn" if not measured else "do not learn" if len(names) > 1 else "does not learn"
    summary = _reach(spoken(first.node.path), gradients, "reaches" if measured else "will reach") + f" {which} {verb}."
    bad = stuck or gradients[0] < 1e-6 * _last(gradients)
    return Finding(
        "vanishing",
        "critical" if bad else "warning",
        (0.97 if bad else 0.9) if measured else (0.93 if bad else 0.8) if anatomy.traced else 0.7,
        first.node.path,
        summary,
        tuple(_evidence(first, found, gradients, movement, half, rows, expectations, anatomy, measured)),
        names,
        first.node.source,
        _since(first, rows) if measured else None,
        cause=_cause(expectations, found, anatomy),
        remedy=_remedy(found, anatomy),
        references=REFERENCES,
    )


def _evidence(
    first: Layer,
    found: Sequence[Layer],
    gradients: Sequence[float],
    movement: float,
    half: float,
    rows: Table,
    expectations: Expectations,
    anatomy: Anatomy,
    measured: bool,
) -> Iterator[Evidence]:
    share = gradients[0] / _last(gradients)
    foretold = None
    if first.foretold_gradient is not None and found[-1].foretold_gradient is not None:
        foretold = math.exp(max(-745.0, min(700.0, first.foretold_gradient - found[-1].foretold_gradient)))
    told = f" (theory: {foretold:.0e})" if measured and foretold is not None else ""
    yield Evidence(
        f"gradient at {spoken(first.node.path)} over gradient at {spoken(found[-1].node.path)}: {share:.0e}{told}",
        "gradient_rms",
        share,
        "",
        APART,
        foretold,
    )
    steps = planned(rows)
    place = spoken(first.node.path)
    size = f"by {movement:.0e} of its size" if movement else "not at all"
    if movement < half:
        text = f"the gradient moves {place} {size} in a step; rounding loses whatever is below {half:.0e}"
    else:
        text = f"one step moves {place} {size}, {steps:,} steps by at most {movement * steps:.0e}"
    if anatomy.optimizer is None:
        text = f"a step that moves {spoken(found[-1].node.path)} by {PLAIN:.0%} moves {place} {size}"
    yield Evidence(text, "turning_ratio", movement, "of the weight a step", MOVES / steps, first.foretold_movement)
    slope = middle(at(rows, "backward_slope")) if measured else expectations.slope
    if slope is not None:
        yield Evidence(
            f"every layer towards the input gets {100 * math.exp(-slope):.2g} % of the gradient of the one behind it",
            "backward_slope",
            slope,
            "nats a layer",
            foretold=expectations.slope,
        )


def _since(first: Layer, rows: Table) -> int | None:
    series = at(rows, "gradient_rms", first.node.path)
    return series[0].step if series else None


def _cause(expectations: Expectations, found: Sequence[Layer], anatomy: Anatomy) -> str | None:
    slope = expectations.slope
    if slope is None or slope <= 0.05:
        return None
    functions = {str(n.get("function", n.label)) for n in anatomy.nodes if n.operation == "activation"}
    among = f" through {', '.join(sorted(functions))}" if functions else ""
    return (
        f"with these weights every layer{among} passes on {100 * math.exp(-slope):.2g} % of the gradient, by theory, "
        f"and there are {len(found)} in a row"
    )


def _remedy(found: Sequence[Layer], anatomy: Anatomy) -> str:
    names = {n.activation for n in anatomy.nodes if n.operation == "activation"}
    if names & {"sigmoid", "hardsigmoid", "logsigmoid"}:
        return (
            "ReLU with He initialisation instead of the sigmoid; or residual paths around every two layers; or far fewer layers"
        )
    if names & {"relu", "leakyrelu", "gelu", "silu", "elu"}:
        return "He initialisation (gain sqrt(2), by fan_in); or normalisation after each layer; or residual paths"
    return "an initialisation at the edge of chaos (Glorot or orthogonal for tanh); or normalisation; or residual paths"


def _all_still(found: Sequence[Layer], gradients: Sequence[float]) -> Finding:
    first = found[0].node
    share = gradients[0] / _last(gradients)
    return Finding(
        "vanishing",
        "warning",
        0.85,
        first.path,
        _reach(spoken(first.path), gradients, "reaches") + " The hidden layers hardly move, and nothing is learned.",
        (Evidence("gradient at the first over the last layer", "gradient_rms", share, bound=APART),),
        tuple(layer.node.path for layer in found[:-1]),
        first.source,
        since=1,
        remedy="normalisation after each layer, or residual paths; no softmax or sigmoid between hidden layers; initial "
        "weights that keep the size of signals (He for ReLU, Glorot for tanh)",
        references=REFERENCES,
    )


def _hidden(found: Sequence[Layer], gradients: Sequence[float], movements: Sequence[float | None], anatomy: Anatomy) -> Finding:
    first = found[0].node
    kind = _NAMES.get(anatomy.optimizer.kind, anatomy.optimizer.kind) if anatomy.optimizer else "The optimizer"
    moved = movements[0]
    how = f" (a step moves it by {moved:.0e} of its size)" if moved else ""
    return Finding(
        "vanishing",
        "note",
        0.9,
        first.path,
        _reach(spoken(first.path), gradients, "reaches")
        + f" {kind} undoes it for the weights{how}, so that the layer moves all the same.",
        (Evidence("gradient at the first over the last layer", "gradient_rms", gradients[0] / _last(gradients)),),
        (first.path,),
        first.source,
        remedy="nothing urgent; plain SGD would not train this network",
        references=REFERENCES,
    )
