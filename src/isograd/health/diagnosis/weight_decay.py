"""Weight decay that overwhelms: what pulls the weights to zero is stronger than what the data say.

Bounds, from theory. A layer's weight obeys  dw = -rate (g + lambda w): decay wins where lambda |w| >= |g|; then the weight
falls geometrically until both are equal, and what is left of it is small.
  share    decay part over gradient part of the late updates of a typical weight. Where decay is coupled (SGD, Adam, ...) that
           is lambda rms(w) / rms(g), with g as it comes from the loss; where it is decoupled (AdamW) it is rate lambda rms(w)
           over the rest of the update
  left     what typical weights have left of their first size
  BOUNDS   decay wins, and half is left or less; it is three times as strong, and the weights are on their way (nine tenths);
           it is half as strong, and it has already taken two thirds
Before training, three times as strong is a remark. And so is a decoupled decay lambda that holds every weight below
1 / lambda: a step moves a weight by the rate at most and decay takes rate lambda of it away, so that none stays larger. Where
1 / lambda is below half (HELD) of 1 / sqrt(fan_in) in a typical layer, signals fade from layer to layer, if the run is long
enough for it (the rates add up to 1 / lambda).
Where the first gradient of a typical layer is below FADED of the strongest layer's, the signal was lost on its way before decay
could win: taking the decay away would leave it as lost, so that the same is a remark. In sound networks of any width the rms of
layers differ by their fan-in and activations, some 1e-2 at most; every layer of slope 1/3 takes away two thirds of the square.
The same by a penalty that the program adds to its loss: what is stepped is more than twice what the loss of the data is
(PENALTY) at the first looks, weights have half of their size left or less (EMPTIED), and the loss of the data is no better than
NOTHING below that of the best constant answer.
Before training, from the constants alone: a step of rate r takes r lambda / (1 - momentum) of a weight away, so that what was
learned is forgotten after as many steps as that is below 1. At FORGETS, ten steps, nothing that needs more can be learned;
the same is said of a decided run that has learned nothing, whose weights are too small by then to tell what pulls at them.
The first two also hold in a network that has converged with sound decay (the gradient is small because all is well), so the
late loss must be poor as well (``health.outcome``). Look-alikes: AdamW with its usual 0.01 to 0.1; normalised layers, whose
scale does not matter; large decay that is right.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace

from isograd.health import layers as gather
from isograd.health.case import DEFAULT_STEPS, Case, at, middle
from isograd.health.curve import LATE
from isograd.health.layers import COUPLED
from isograd.health.movement import FIRST_STEPS
from isograd.health.outcome import decided, outcome
from isograd.records.anatomy import Optimizer, capital
from isograd.records.finding import Evidence, Finding, Severity
from isograd.records.reading import Reading

BOUNDS = ((0.5, 0.35), (1.0, 0.5), (3.0, 0.9))
SKILL = 0.75
PENALTY, EMPTIED, NOTHING, LOOKS = 1.0, 0.5, 0.1, 3
FORGETS, FADED, HELD = 0.1, 1e-3, 0.5
DECOUPLED = ("adamw",)
REFERENCES = (
    "Krogh & Hertz 1992, A simple weight decay can improve generalization",
    "Loshchilov & Hutter 2019, Decoupled weight decay regularization, arXiv:1711.05101",
)


def stronger(case: Case) -> tuple[float, float] | None:
    """How many times as hard as the gradient decay pulls a typical weight, and what is left of it; None where that is sound."""
    optimizer = case.anatomy.optimizer
    decay = float(optimizer.get("weight_decay", 0.0)) if optimizer else 0.0
    if optimizer is None or decay <= 0.0:
        return None
    shares, sizes = [], []
    for weight in gather.weights(case):
        series = at(case.rows, "weight_rms", weight.name)
        share = _share(case, weight.name, optimizer, decay)
        if share is not None and series and series[0].value > 0.0:
            shares.append(share)
            sizes.append(series[-1].value / series[0].value)
    if not shares:
        return None
    typical, size = statistics.median(shares), statistics.median(sizes)
    sick = any(typical >= share and size <= left for share, left in BOUNDS)
    return (typical, size) if sick else None


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that decay empties the network."""
    found, optimizer = stronger(case), case.anatomy.optimizer
    if optimizer is not None and 0 < case.taken <= FIRST_STEPS:
        yield from list(_forgets(optimizer)) or list(_pulls(case, optimizer)) or _holds(case, optimizer)
        return
    if found is None or optimizer is None:
        penalty = list(_penalised(case))
        if not penalty and optimizer is not None and decided(case) and outcome(case).learning is False and _emptied(case):
            penalty = list(_forgets(optimizer))
        yield from penalty
        return
    judged = outcome(case)
    if not judged.short_of(SKILL):
        return
    typical, size = found
    decay = float(optimizer.get("weight_decay", 0.0))
    pull = f"decay of {decay:g} pulls a typical layer {typical:.2g} times as hard as the gradient does"
    left = f"typical weights have fallen to {size:.1g} of their first size"
    faded, hopeless = _faded(case), judged.learning is False
    told = _told(
        f"Weight {pull}, and {left}: "
        + ("most layers were hardly reached by the gradient before that." if faded else "the network is emptied."),
        "note" if faded else "critical" if hopeless else "warning",
        0.6 if faded else 0.93 if hopeless else 0.85,
        decay,
        Evidence(pull, "weight_rms", typical, "decay over gradient", BOUNDS[1][0]),
        Evidence(left, "weight_rms", size, "of its start", BOUNDS[1][1]),
    )
    yield replace(told, layers=tuple(weight.layer for weight in gather.weights(case)))


def _told(summary: str, severity: Severity, confidence: float, decay: float, *evidence: Evidence) -> Finding:
    """What is said of a decay of the optimizer's, with the way out."""
    remedy = f"a weight decay of {decay / 100:.1g} or less; none on biases and norms"
    return Finding(
        "weight_decay", severity, confidence, "optimizer", summary, evidence, since=1, remedy=remedy, references=REFERENCES
    )


def _faded(case: Case) -> bool:
    """Whether the gradient was lost on its way at the first look already, when the weights had their first size."""
    series = [at(case.rows, "parameter_gradient_rms", weight.name) for weight in gather.weights(case)]
    first = [one[0].value for one in series if one and one[0].step <= FIRST_STEPS and math.isfinite(one[0].value)]
    return bool(first) and statistics.median(first) < FADED * max(first)


def _emptied(case: Case) -> bool:
    """Whether typical weights have half of their first size left or less."""
    series = [at(case.rows, "weight_rms", weight.name) for weight in gather.weights(case)]
    sizes = [one[-1].value / one[0].value for one in series if one and one[0].value > 0.0]
    return bool(sizes) and statistics.median(sizes) <= EMPTIED


def _forgets(optimizer: Optimizer) -> Iterator[Finding]:
    """What the constants say before training."""
    coupled = optimizer.kind == "sgd"
    if not coupled and optimizer.kind not in DECOUPLED and not optimizer.get("decoupled_weight_decay", False):
        return  # an adaptive optimizer divides the decay by the size of the gradient with it
    momentum = float(optimizer.get("momentum", 0.0)) if coupled else 0.0
    if momentum >= 1.0:
        return
    share = float(optimizer.get("learning_rate", 0.0)) * float(optimizer.get("weight_decay", 0.0)) / (1.0 - momentum)
    if share < FORGETS:
        return
    text = f"decay takes {100 * min(1.0, share):.0f} % of every weight away in a step"
    message = f"Weight {text}: what was learned is forgotten after {max(1, round(1.0 / share)):,} steps."
    decay = float(optimizer.get("weight_decay", 0.0))
    yield _told(message, "warning", 0.9, decay, Evidence(text, "learning_rate", share, "a step", FORGETS))


def _pulls(case: Case, optimizer: Optimizer) -> Iterator[Finding]:
    """The remark that the first gradients are weak beside the decay: weights shrink until both pull alike."""
    decay = float(optimizer.get("weight_decay", 0.0))
    if optimizer.kind not in COUPLED or optimizer.get("decoupled_weight_decay", False):
        return
    shares = [share for weight in gather.weights(case) if (share := _share(case, weight.name, optimizer, decay)) is not None]
    share = statistics.median(shares) if shares and decay > 0.0 else 0.0
    if share < BOUNDS[-1][0]:
        return
    text = f"decay of {decay:g} pulls a typical layer {share:.2g} times as hard as the first gradients do"
    evidence = Evidence(text, "weight_rms", share, "decay over gradient", BOUNDS[-1][0])
    yield _told(f"Weight {text}: weights shrink until the data pull as hard.", "note", 0.7, decay, evidence)


def _holds(case: Case, optimizer: Optimizer) -> Iterator[Finding]:
    """The remark that decoupled decay holds the weights below what passes signals on."""
    decay = float(optimizer.get("weight_decay", 0.0))
    rate = max(float(optimizer.get(name, 0.0)) for name in ("learning_rate", "peak_rate"))
    decoupled = optimizer.kind in DECOUPLED or optimizer.get("decoupled_weight_decay", False)
    widths = [float(layer.node.get("fan_in", 0)) for layer in gather.layers(case) if layer.node.get("fan_in", 0)]
    if not decoupled or not widths or decay <= 0.0 or rate * decay * (case.planned or DEFAULT_STEPS) < 1.0:
        return
    held = math.sqrt(statistics.median(widths)) / decay
    if held >= HELD:
        return
    text = f"decay of {decay:g} holds every weight below 1 / {decay:g}"
    evidence = Evidence(text, "weight_rms", held, "of 1 / sqrt(fan_in)", HELD)
    yield _told(f"Weight {text}, {held:.1g} of what passes a signal on from layer to layer.", "note", 0.8, decay, evidence)


def _penalised(case: Case) -> Iterator[Finding]:
    """The same by a penalty in the loss: it outweighs the data from the start, and the weights follow it."""
    rest, level, floors, seen, source = [], [], [], [], None
    for step in case.steps:
        samples = [sample for sample in step.losses if sample.training]
        value = math.fsum(sample.value or 0.0 for sample in samples)
        floor = math.fsum(sample.floor or 0.0 for sample in samples)
        if step.loss is not None and math.isfinite(step.loss) and 0.0 < value < math.inf and floor > 0.0:
            rest.append(step.loss / value - 1.0)
            level.append(value / floor)
            floors.append(floor)
            seen.append(step.index)
            source = samples[-1].source
    series = [at(case.rows, "weight_rms", weight.name) for weight in gather.weights(case)]
    sizes = [one[-1].value / one[0].value for one in series if one and one[0].value > 0.0]
    if not decided(case) or len(rest) < LOOKS or not sizes:
        return
    first, size = statistics.median(rest[:LOOKS]), statistics.median(sizes)
    late = statistics.median(level[len(level) // 2 :])
    if seen[-1] <= case.taken / 2:  # too old; an emptied network pays the floor and no penalty, this one all that is stepped
        stepped = [r.value for r in case.series("loss") if r.step > (1.0 - LATE) * case.taken and math.isfinite(r.value)]
        late = max(late, statistics.median(stepped) / statistics.median(floors)) if stepped else late
    if first < PENALTY or size > EMPTIED or late < 1.0 - NOTHING:
        return
    adds = f"what the program adds to its loss is {first:.2g} times the loss of the data at the start"
    left = f"typical weights have fallen to {size:.1g} of their first size"
    yield Finding(
        "weight_decay",
        "critical",
        0.9,
        "loss",
        f"{capital(adds)}, and {left}: the penalty empties the network.",
        (
            Evidence(adds, "loss", first, "penalty over data", PENALTY),
            Evidence(left, "weight_rms", size, "of its start", EMPTIED),
            Evidence(f"loss of the data over that of the best constant answer: {late:.2g}", "skill", 1.0 - late, "", NOTHING),
        ),
        tuple(weight.layer for weight in gather.weights(case)),
        source,
        1,
        remedy="a penalty a hundred times weaker, so that it is a small part of the loss at the start",
        references=REFERENCES[:1],
    )


def _share(case: Case, name: str, optimizer: Optimizer, decay: float) -> float | None:
    """Decay part over gradient part of a layer's late updates."""
    size = middle(sizes := at(case.rows, "weight_rms", name))
    if size is None:
        return None
    if optimizer.kind in COUPLED and not optimizer.get("decoupled_weight_decay", False):
        return _beside(sizes, at(case.rows, "parameter_gradient_rms", name), decay)
    update, rates = middle(at(case.rows, "update_rms", name)), [r.value for r in case.series("learning_rate")]
    if update is None or not rates:
        return None
    pulled = statistics.median(rates[len(rates) // 2 :]) * decay * size
    return pulled / max(update - pulled, 0.1 * pulled) if pulled > 0.0 else 0.0


def _beside(sizes: Sequence[Reading], gradients: Sequence[Reading], decay: float) -> float | None:
    """Decay over gradient part, each step by itself: both fall by orders of magnitude, and emptied weights let none through."""
    then = {reading.step: reading.value for reading in sizes}
    shares = [decay * then[one.step] / one.value for one in gradients if one.value > 0.0 and one.step in then]
    return statistics.median(shares[len(shares) // 2 :]) if shares else None
