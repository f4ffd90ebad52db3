"""Exploding: a step is larger than the layer it changes, or the loss runs away, because signals or gradients grow with depth.

Bounds, from theory:
  WHOLE   one real update as large as the layer itself, rms(update) * sqrt(fan_in) >= 1: for inputs of unit size the output of
          the layer changes by as much as it was, so nothing that was learned survives the step. The root of fan_in, not the
          present size of the weights, is the yardstick, so that a layer that starts at zero is not taken for one that explodes.
          It must hold late in the recording, or, where the loss has not fallen below STILL of its start, at any time: one
          such step can leave a network that is dead and quiet
  AWAY    the loss ends 10 times above where it began, where the best constant answer would have kept it near 1 times; 100
          times (FAR) where it is not known what that answer gets, and while an announced run has seen fewer than EARLY steps:
          the first steps of adaptive optimizers, and of a new head, throw the loss up, and it comes back
  FORETOLD the gradient or the signal grows 1e4 times over the depth, by theory or, with a batch, by measurement; float32 has
          7 digits, and no learning rate fits layers whose gradients are 4 orders of magnitude apart. Where real updates
          were measured they decide about the gradient
  UPHILL  the loss that is stepped is minus the one that was computed, in every look, and that one rises: for losses that
          cannot be negative it has no end
  CHAOTIC the gradient is 30 times as large at the first layer as at the last, which is how much the network enlarges small
          differences of its inputs (the same product of Jacobians): examples less than a thirtieth apart look unrelated to
          its end. An alarm only where the run is decided and nothing was learned (NOTHING)
  RISEN   before training, the same of the rate that a warm-up rises to, where a scheduler wrote it down: a remark
  FORETOLD  also for the steepness of the loss (``health.steepness``): where a ten-thousandth of the weights is worth all of the
          loss, a gradient says nothing of where a step of any useful length leads. That is so however small a clip, or an
          adaptive optimizer, makes the step, so that the answers decide (WELL); before training it is a remark.
  LOUD    the loss stood 10 times above that of the best constant answer from the first step to the last, with outputs 3
          times as large as the targets (logits above 30): the weights were born so large that the run never came back
Look-alikes that are healthy: large gradients at the first step that pass, a layer that starts at zero, adaptive optimizers
(a large gradient does not make a large step), spikes of the loss that come back.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import replace

from isograd.health import layers as gather
from isograd.health.case import Case, Table, at, late, middle
from isograd.health.curve import contested, curves
from isograd.health.layers import ADAPTIVE, Layer
from isograd.health.movement import FIRST_STEPS
from isograd.health.outcome import outcome
from isograd.health.steepness import bound, norms, steepness
from isograd.records.anatomy import Anatomy, capital, spoken
from isograd.records.batch import LossSample
from isograd.records.expectation import Expectations
from isograd.records.finding import Evidence, Finding

WHOLE = 1.0
AWAY, FAR = 10.0, 100.0
STILL = 0.9
WELL = 0.6
"""Skill from which it does not matter (``health.outcome``)."""
FORETOLD = 1e4
CHAOTIC, NOTHING = 30.0, 0.2
LOUD, OUTPUTS, LOGITS = 10.0, 3.0, 30.0
EARLY = 20
"""Losses before which a run that goes on may still come back from its first steps: no alarm on 420 calibration runs."""
LOOKS = 3
BOUNDED = (
    *("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"),
    *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"),
)
"""Losses that cannot be negative."""
WHOLE_STEPS = ("lbfgs",)
"""Optimizers that step as far as the curvature allows, often by a layer's whole size: only the loss speaks against them."""
FEW = 3
REFERENCES = (
    "Pascanu et al. 2013, On the difficulty of training recurrent neural networks, arXiv:1211.5063",
    "Philipp et al. 2018, The exploding gradient problem demystified, arXiv:1712.05577",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that steps tear the network apart, or that theory foretells it."""
    rows, anatomy, expectations = case.rows, case.anatomy, case.expectations
    found = gather.layers(case)
    uphill = _uphill(case)
    if uphill is not None:
        yield uphill
        return
    growth = _loss_growth(rows, early=not case.ended and case.taken < EARLY)
    whole = anatomy.optimizer is not None and anatomy.optimizer.kind in WHOLE_STEPS
    sizes = [] if whole else [(_step_size(layer, rows, ever=growth >= STILL), layer) for layer in found]
    torn = sorted((row for row in sizes if row[0] >= WHOLE), key=lambda row: -row[0])
    early = case.planned is not None and not case.ended and len(at(rows, "loss")) < EARLY
    game = not case.ended and contested(case)
    if game or (growth < FAR and (early or outcome(case).floor is None)):
        growth = 0.0  # a loss of no known kind (a critic's, a bonus) may go anywhere, and first steps are thrown up
    if torn or growth >= AWAY:
        finding = _measured(torn, growth, found, rows, expectations)
        yield replace(finding, severity="note") if outcome(case).well(WELL) else finding
        return
    told = _loud(case, found) or _chaotic(case, found) or _steep(case, found) or _risen(case, found)
    if told is not None:
        yield told
    else:
        yield from _grown(found, rows, expectations, anatomy)


def _step_size(layer: Layer, rows: Table, *, ever: bool) -> float:
    """Late update (``ever``: the largest seen) in units of 1 / sqrt(fan_in); 0 where none was measured."""
    series = at(rows, "update_rms", layer.weight.name)
    sizes = [r.value for r in series] if ever else late(series)
    sizes = [size for size in sizes if math.isfinite(size)]
    if not sizes:
        return 0.0
    return (max(sizes) if ever else statistics.median(sizes)) * math.sqrt(max(1.0, float(layer.node.get("fan_in", 1))))


def _loss_growth(rows: Table, *, early: bool) -> float:
    """Median loss of the last tenth over the median size of the first (a policy's has both signs); 0 where it cannot be said.

    A median of fewer than three is no median: there the least of the last quarter (three at most) counts, over the largest
    of the first, for single losses of tiny batches differ by a hundred times and more. Where the run has just begun (``early``)
    the last two have to be above, for one of the first steps may throw the loss up, and the next brings it back.
    """
    losses = [r.value for r in at(rows, "loss")]
    if len(losses) < 2 or not all(map(math.isfinite, losses)):
        return 0.0
    tenth = len(losses) // 10
    sizes = [abs(loss) for loss in losses]
    first, last = statistics.median(sizes[: max(1, tenth)]), statistics.median(losses[-max(1, tenth) :])
    if tenth < FEW:
        few = max(1, min(FEW, len(losses) // 4))
        first, last = max(sizes[:few]), min(losses[-few:])
        last = min(losses[-2:]) if early and min(losses[-2:]) < AWAY * first else last
    return last / first if first > 0.0 else 0.0


def _uphill(case: Case) -> Finding | None:
    """Whether the program steps up its loss instead of down."""
    looks = [(step, [s for s in step.losses if s.training]) for step in case.steps if step.losses and step.loss is not None]
    looks = [(step, samples) for step, samples in looks if samples]
    if len(looks) < LOOKS or any(len(samples) != 1 or samples[0].function not in BOUNDED for _, samples in looks):
        return None
    pairs = [(step.loss or 0.0, samples[0].value or 0.0) for step, samples in looks]
    if any(value < 0.0 or abs(stepped + value) > 1e-3 * value for stepped, value in pairs):
        return None
    first, last = pairs[0][1], pairs[-1][1]
    if not last > 2.0 * first > 0.0:
        return None
    sample = looks[0][1][0]
    text = f"the loss that is stepped is minus {sample.function}, which rose from {first:.3g} to {last:.3g}"
    return Finding(
        "exploding",
        "critical",
        0.93,
        "loss",
        f"The training goes uphill: {text}.",
        (Evidence(text, "loss", last / first, "of its start", 1.0),),
        source=sample.source,
        since=looks[0][0].index,
        remedy="step the loss itself: take the minus sign away",
    )


def _loud(case: Case, found: tuple[Layer, ...]) -> Finding | None:
    """Whether outputs were far too large from the first step to the last."""
    judged = outcome(case)
    if not judged.decided or judged.floor is None or judged.start is None or judged.late is None or not judged.poor(0.0):
        return None
    samples = [sample for _, sample in case.losses if sample.training and sample.output is not None]
    if min(judged.start, judged.late) < LOUD * judged.floor or not samples:
        return None
    sizes = [_over_targets(sample) for sample in samples]
    if min(sizes) < 1.0:
        return None
    places = [
        (reading[0].value, node) for node in case.anatomy.nodes if (reading := at(case.rows, "activation_rms", node.path))
    ]
    node = max(places, key=lambda row: row[0])[1] if places else (found[-1].node if found else None)
    times = judged.late / judged.floor
    text = f"the loss stands {times:,.0f} times above that of the best constant answer, and never came near it"
    return Finding(
        "exploding",
        "critical",
        0.85,
        node.path if node else "loss",
        f"Outputs are far too large: {text}.",
        (Evidence(text, "loss", times, "of the best constant answer", LOUD),),
        (node.path,) if node else (),
        node.source if node else None,
        since=1,
        cause="weights, or signals on the way, that were too large from the start",
        remedy="He or Glorot initialisation where the weights were set by hand; normalisation; scaled inputs",
        references=REFERENCES,
    )


def _chaotic(case: Case, found: tuple[Layer, ...]) -> Finding | None:
    """Whether every small difference is blown up on its way through a plain network that has learned nothing."""
    judged, nodes = outcome(case), case.anatomy.nodes
    if not judged.decided or not judged.poor(NOTHING) or len(found) < FEW or any(node.operation == "norm" for node in nodes):
        return None
    if any(not curve.told for curve in curves(case)):
        return None  # another term of the loss may reach the first layers by a way of its own
    first, last = (at(case.rows, "gradient_rms", layer.node.path) for layer in (found[0], found[-1]))
    growth = first[0].value / last[0].value if first and last and last[0].value > 0.0 else 0.0
    if not CHAOTIC <= growth < math.inf:
        return None
    text = f"at the start the gradient is {growth:.2g} times as large at {spoken(found[0].node.path)} as at the last layer"
    return Finding(
        "exploding",
        "critical",
        0.8,
        found[0].node.path,
        f"{capital(text)}: examples that differ by a {growth:.2g}th come out as if they had nothing in common, so that nothing "
        "that is learned of one helps another.",
        (Evidence(text, "gradient_rms", growth, "first over last layer", CHAOTIC),),
        tuple(layer.node.path for layer in found),
        found[0].node.source,
        since=1,
        cause="weights that are too large: every layer enlarges differences",
        remedy="leave torch's default initialisation, or He for ReLU and Glorot for tanh (about 1 / sqrt(inputs) a weight); "
        "normalisation",
        references=("Schoenholz et al. 2017, Deep information propagation, arXiv:1611.01232 (the chaotic phase)",),
    )


def _steep(case: Case, found: tuple[Layer, ...]) -> Finding | None:
    """Whether gradients are as large as no step can follow, although a clip or the optimizer makes the steps small."""
    judged, steep = outcome(case), steepness(case)
    early = 0 < case.taken <= FIRST_STEPS
    if steep is None or steep < bound(case) or not (early or judged.short_of(WELL)) or not found:
        return None
    sizes = {layer.node.path: middle(at(case.rows, "parameter_gradient_rms", layer.weight.name)) or 0.0 for layer in found}
    layer = max(found, key=lambda one: sizes[one.node.path])
    norm = statistics.median(norms(case).values())
    bounds = [float(fact.get("bound", 0.0)) for _, fact in case.facts("clipped")]
    text = f"the gradient has a norm of {norm:.2g}" + (f" before it is cut down to {bounds[-1]:.2g}" if bounds else "")
    recurrent = layer.node.operation == "recurrent"
    return Finding(
        "exploding",
        "note" if early else "critical" if judged.learning is False else "warning",
        0.75 if early else 0.9,
        layer.node.path,
        f"{capital(text)}: going by it, moving the weights by {1.0 / steep:.0e} of their size would be worth the whole loss, "
        "and no step is short enough to follow it.",
        (Evidence(text, "total_gradient_norm", steep, "|g| |w| over the loss", bound(case)),),
        (layer.node.path,),
        layer.node.source,
        since=min(norms(case)),
        cause=f"the weights of {spoken(layer.node.path)} are too large"
        + (": every time step enlarges the gradient" if recurrent else ", or its inputs are"),
        remedy="orthogonal or smaller recurrent weights (torch's default), LSTM or GRU; a clip alone hides it"
        if recurrent
        else "He or Glorot initialisation where the weights were set by hand; normalisation; scaled inputs",
        references=REFERENCES,
    )


def _risen(case: Case, found: tuple[Layer, ...]) -> Finding | None:
    """Before training: whether steps as the first will be as large as a layer once a warm-up is over."""
    optimizer = case.anatomy.optimizer
    rate, peak = (float(optimizer.get(name, 0.0)) if optimizer else 0.0 for name in ("learning_rate", "peak_rate"))
    if not 0 < case.taken <= FIRST_STEPS or not 0.0 < rate < peak or not found:
        return None
    size, layer = max(((_step_size(one, case.rows, ever=True) * peak / rate, one) for one in found), key=lambda row: row[0])
    if size < WHOLE:
        return None
    whom = spoken(layer.node.path)
    text = (
        f"the learning rate rises from {rate:.3g} to {peak:.3g}: a step like the first then changes {whom} by {size:.2g} times"
    )
    return Finding(
        "exploding",
        "note",
        0.75,
        layer.node.path,
        f"{capital(text)} its natural size.",
        (Evidence(f"{text} its natural size", "update_rms", size, "of 1 / sqrt(fan_in)", WHOLE),),
        (layer.node.path,),
        layer.node.source,
        remedy="a learning rate 10 to 100 times lower",
        references=REFERENCES,
    )


def _over_targets(sample: LossSample) -> float:
    """Size of the outputs in units of what is far too much of it."""
    size = sample.output.rms if sample.output is not None else 0.0
    if sample.agreement is None and sample.classes:
        return size / LOGITS
    target = sample.target.rms if sample.target is not None else 0.0
    return size / (OUTPUTS * target) if target > 0.0 else 0.0


def _measured(
    torn: list[tuple[float, Layer]], growth: float, found: tuple[Layer, ...], rows: Table, expectations: Expectations
) -> Finding:
    evidence = []
    if torn:
        size, layer = torn[0]
        evidence.append(
            Evidence(
                f"one step changes {spoken(layer.node.path)} by {size:.2g} times the size that keeps its signals even",
                "update_rms",
                size,
                "of 1 / sqrt(fan_in)",
                WHOLE,
            )
        )
    if growth >= AWAY:
        evidence.append(Evidence(f"the loss grew {growth:.3g}-fold", "loss", growth, "of its start", AWAY))
    slope = middle(at(rows, "backward_slope"))
    if slope is not None and slope < 0:
        evidence.append(
            Evidence(
                f"every layer towards the input gets {math.exp(-slope):.2g} times the gradient of the one behind it",
                "backward_slope",
                slope,
                "nats a layer",
                foretold=expectations.slope,
            )
        )
    where = torn[0][1].node if torn else (found[0].node if found else None)
    steps = at(rows, "loss")
    parts = []
    if torn:
        parts.append(f"One step changes {spoken(torn[0][1].node.path)} by {torn[0][0]:.2g} times its natural size")
    if growth >= AWAY:
        parts.append(f"{'the' if torn else 'The'} loss grew {growth:.3g}-fold")
    return Finding(
        "exploding",
        "critical" if growth >= AWAY or (torn and torn[0][0] >= 10 * WHOLE) else "warning",
        0.95 if growth >= AWAY else 0.85,
        where.path if where else "loop",
        " and ".join(parts) + ": steps destroy what was learned.",
        tuple(evidence),
        tuple(layer.node.path for _, layer in torn),
        where.source if where else None,
        steps[0].step if steps else None,
        remedy="a learning rate 10 to 100 times lower; gradient clipping at norm 1; scaled inputs and targets; "
        "He or Glorot initialisation where the weights were set by hand",
        references=REFERENCES,
    )


def _loudness(rows: Table, expectations: Expectations, anatomy: Anatomy) -> float:
    """How many times as large as the inputs the last outputs are, at birth and still; 0 where the outputs are not large.

    The least of the two ratios and of the outputs' own size, so that small inputs that a norm brings to size do not count.
    """
    places = [node.path for node in anatomy.nodes if at(rows, "activation_rms", node.path)]
    inputs = {node.path for node in anatomy.nodes if node.operation == "input"}
    came = [e.activation_rms for e in expectations.nodes if e.where in inputs and e.activation_rms]
    if not places or not came:
        return 0.0
    series = at(rows, "activation_rms", places[-1])
    size = min(series[0].value, middle(series) or 0.0)
    return min(size, size / came[0]) if math.isfinite(size) else 0.0


def _grown(found: tuple[Layer, ...], rows: Table, expectations: Expectations, anatomy: Anatomy) -> Iterator[Finding]:
    """Signals or gradients that grow with depth: measured where there is a batch, foretold where there is none."""
    if len(found) < 2:
        return
    measured = bool(rows.get("gradient_rms"))
    moved = bool(rows.get("update_rms"))
    sizes = [layer.gradient if measured else layer.foretold_gradient for layer in (found[0], found[-1])]
    growth = 0.0
    if measured and sizes[0] is not None and sizes[1]:
        growth = sizes[0] / sizes[1]
    elif not measured and sizes[0] is not None and sizes[1] is not None:
        growth = math.exp(min(700.0, sizes[0] - sizes[1]))
    output = expectations.nodes[-1].activation_rms if expectations.nodes else None
    signal = _loudness(rows, expectations, anatomy) if measured else output or 0.0
    loud = signal >= FORETOLD
    adaptive = anatomy.optimizer is not None and anatomy.optimizer.kind in ADAPTIVE
    steep = growth >= FORETOLD and not adaptive and not moved
    if not loud and not steep:
        return
    names = spoken(found[0].node.path), spoken(found[-1].node.path)
    parts = []
    if steep:
        verb = "is" if measured else "will be"
        parts.append(f"the gradient {verb} {growth:.0e} times as large at {names[0]} as at {names[1]}")
    if loud and measured:
        parts.append(f"outputs are {signal:.0e} times as large as the inputs")
    elif loud:
        parts.append(f"outputs will be about {signal:.0e} times as large as the inputs")
    text = " and ".join(parts)
    yield Finding(
        "exploding",
        "critical",
        0.9 if anatomy.traced else 0.7,
        found[0].node.path,
        f"{capital(text)}: "
        + ("no step can be small enough for all layers." if measured else "the first steps will destroy the network."),
        (
            Evidence(text, "gradient_rms", growth, "first over last layer", FORETOLD, None if measured else growth)
            if steep
            else Evidence(text, "activation_rms", signal, "outputs over inputs", FORETOLD, None if measured else signal),
        ),
        (found[0].node.path,),
        found[0].node.source,
        remedy="an initialisation that keeps the size of signals (He for ReLU, Glorot for tanh); or normalisation",
        references=REFERENCES,
    )
