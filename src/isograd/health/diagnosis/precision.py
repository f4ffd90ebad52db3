"""Precision: updates that rounding swallows, gradients that underflow, and a loss scale that stops the training.

Bounds, from arithmetic:
  swallowed  a weight of p digits ignores an update below half a unit in its last place, 2**-9 of its size in bfloat16, 2**-12
             in float16, 2**-25 in float32: the entries of the real update are then exactly 0 although the gradient is not.
             From nine tenths of all entries on, in most layers, late, the layers stand still
  skipped    a gradient scaler that skips every other step or more, in the later half too (LOOKS times), halves its scale in
             vain: the overflow is not the scale's.
             A scale below 1 was halved 17 times, and makes small what it is there to make large
  underflow  numbers of float16 below 2**-14 are multiples of 2**-24, and what is below half of that is 0. A layer whose largest
             gradient is such a multiple (by chance one float32 in a million) is computed in float16 without a scale that fits,
             whatever type its weights have; where a fifth of its gradient is 0 that the activations after it do not explain,
             it has lost what small gradients have to say. Where every gradient is 0 from the first look on, no step changed
             anything
  rescaled   a bias gets the sum of the N gradients at its layer: its entries add up to what all of theirs do, which says by
             what factor a step's gradients differ from those of the backward pass. Under a loss scale S that the steps do not
             know of it is S (KEPT, and beyond what any sum can be: by Cauchy and Schwarz sqrt(N) times their norm), divided by
             S once too often 1 / S, at every look, within CLOSE. Sums that cancel say nothing (FIRM, SOUND), nor does a step
             that a clip has cut, unless the gradients are then as long as its bound over S, and that is less than 1 / S of
             them (CUT: half as much again): they were clipped while they carried S. Plain SGD moves as much too far or too
             short; what divides by the size of its gradients undoes either, and gets a remark unless the answers are poor
Alarms only where the late loss is poor (``health.outcome``), for skipping also where every look was skipped; in float32 and
above, updates that small are a matter of the rate, and get a remark here.
Look-alikes that are healthy: a converged network, whose updates are small; sparse gradients (embeddings, dead units), whose
zeros are in the gradient as well; one skipped step in a thousand, or a row of them at the beginning, which is how a scaler
finds its scale; a clip at a bound that is multiplied by the scale; a rate near zero.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from isograd.health import layers as gather
from isograd.health.case import Case, at, middle
from isograd.health.layers import ADAPTIVE
from isograd.health.outcome import outcome
from isograd.records.anatomy import WEIGHTED, Node, capital, spoken
from isograd.records.fact import Fact
from isograd.records.finding import Evidence, Finding, Severity
from isograd.records.moments import Moments
from isograd.records.trace import Step

SWALLOWED = 0.9
GRADIENT = 0.5
LOOKS = 4
ALWAYS = 3
"""Looks, the first two steps among them, in which every gradient is 0, or beyond what it can be: no chance does that."""
SKIPPED = 0.5
KEPT, CUT, HIGH = 16.0, 1.5, 256.0
CLOSE = 1 / 16
FIRM, SOUND = 2.0**-5, 2.0**-10
"""Of the most that it can be: a sum over the gradient of a bias, of which bfloat16 may round each entry by 2**-9, that is good
to CLOSE; a sum of what arrives that is far above the rounding of its parts, all that is left where they cancel."""
SKILL = 0.7
NORMAL, GRAIN = 2.0**-14, 2.0**-24
"""The smallest normal number of float16, and the distance of those below it."""
FLUSHED = 0.2
DIGITS = {"bfloat16": 9, "float16": 12, "float32": 25, "float64": 54}
WELL = 0.9
ANEW = "the scaler is made inside the loop: its scale begins again at what overflows"
_KEPT = (
    "optimizer.step() is called past the scaler, with gradients that it has not unscaled",
    "scaler.step(optimizer) for every optimizer whose loss is scaled, then scaler.update() once",
)
_PLAIN = ("backward() is called on the loss itself, not on what the scaler made of it", "scaler.scale(loss).backward()")
_CLIPPED = (
    "the gradients are clipped while they carry the scale, and divided by it after that",
    "scaler.unscale_(optimizer) before the clipping",
)
_TWICE = (
    "they are unscaled by hand, and once more by scaler.step(optimizer)",
    "scaler.unscale_(optimizer) instead of the division by hand: scaler.step() knows of it",
)
REFERENCES = (
    "Micikevicius et al. 2018, Mixed precision training, arXiv:1710.03740",
    "Zamirai et al. 2020, Revisiting BFloat16 training, arXiv:2010.06192",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """Updates lost to rounding, gradients that underflow, and steps lost to the loss scale."""
    yield from _rescaled(case)
    yield from _skipped(case)
    yield from _underflow(case)
    yield from _swallowed(case)


def is_of_the_program(finding: Finding) -> bool:
    """Whether it tells of lines that handle the loss scale wrongly: certain, and what steps of a wrong length follow from."""
    return finding.disease == "precision" and finding.cause is not None


def _swallowed(case: Case) -> Iterator[Finding]:
    lost: list[tuple[float, str]] = []
    layers = gather.layers(case)
    for layer in layers:
        updates = middle(at(case.rows, "update_zeros", layer.weight.name))
        gradients = middle(at(case.rows, "gradient_zeros", layer.weight.name))
        rates = [r.value for r in case.series("learning_rate")]
        resting = bool(rates) and max(rates[len(rates) // 2 :]) == 0.0
        if updates is not None and gradients is not None and not resting and updates >= SWALLOWED and gradients <= GRADIENT:
            lost.append((updates, layer.node.path))
    if 2 * len(lost) <= len(layers) or len(case.sampled) < LOOKS:
        return
    found = outcome(case)
    low = case.anatomy.dtype in ("bfloat16", "float16")
    harm = low and found.short_of(SKILL)
    severity: Severity = "warning" if harm else "note"
    share = statistics.median(row[0] for row in lost)
    digits = DIGITS.get(case.anatomy.dtype, 25)
    text = f"{100 * share:.0f} % of all weights do not change in a step although they have a gradient"
    yield Finding(
        "precision",
        severity,
        0.9 if low else 0.8,
        lost[0][1],
        f"{capital(text)}: {case.anatomy.dtype} rounds away an update below 2**-{digits} of its weight.",
        (Evidence(text, "update_zeros", share, bound=SWALLOWED),),
        tuple(path for _, path in lost),
        remedy="keep the weights in float32 and compute under torch.autocast"
        if low
        else "a higher learning rate, or smaller weights",
        references=REFERENCES,
    )


def _skipped(case: Case) -> Iterator[Finding]:
    facts = case.facts("scale_skipped")
    looks = [step.index for step in case.steps if step.sampled or step.facts]
    if not facts or len(looks) < LOOKS:
        return
    steps = sorted({step for step, _ in facts})
    share = len(steps) / len(looks)
    last = facts[-1][1].get("scale", 0.0)
    text = f"the gradient scaler skipped {len(steps)} of {len(looks)} steps that were looked at"
    found = outcome(case)
    late = sum(2 * step >= max(case.taken, looks[-1]) for step in steps)
    tiny = isinstance(last, float) and last < 1.0
    often = share >= SKIPPED and late >= LOOKS  # each skip is told, of other steps only those that are looked at
    stuck = late > 0 and (share >= 1.0 or ((often or (tiny and found.decided)) and found.poor(SKILL)))
    if share < SKIPPED and not late:
        return
    yield Finding(
        "precision",
        "critical" if stuck and share >= 1.0 else "warning" if stuck else "note",
        0.9,
        "optimizer",
        f"{capital(text)} (its scale is now {last:g}{', below 1' if tiny else ''}): these steps changed nothing.",
        (Evidence(text, "scale_skipped", share, "of the looks", SKIPPED),),
        since=steps[0],
        cause=ANEW if _anew(case) else None,
        remedy="make the scaler once, before the loop"
        if _anew(case)
        else "look for the overflow itself (a logarithm, a division, a mask of -inf in float16); bfloat16 needs no scaler",
        references=REFERENCES,
    )


def _anew(case: Case) -> bool:
    """Whether every look met a scaler that none before had met: a scale that is begun again finds none that fits."""
    met = [int(fact.get("scalers", 0)) for _, fact in case.facts("loss_scaled")]
    return len(met) >= LOOKS and all(later > earlier for earlier, later in pairwise(met))


def _rescaled(case: Case) -> Iterator[Finding]:
    facts = dict(case.facts("loss_scaled"))
    looks = [step for step in case.sampled if step.index in facts and not any(f.kind == "carried" for f in step.facts)]
    scale = min((float(fact.get("scale", 1.0)) for fact in facts.values()), default=1.0)
    seen = [_Seen(step, float(facts[step.index].get("scale", 1.0)), *_shares(case, step)) for step in looks]
    seen = [one for one in seen if one.shares]
    if scale < KEPT or not seen or len(looks) < ALWAYS:  # what has blown up by then says no more
        return
    kept = [path for path in seen[0].shares if _kept(path, seen)]
    clipped = all(_while_scaled(one) for one in seen)
    if not kept and (scale < HIGH or len(seen) < LOOKS or not (clipped or _divided(seen))):
        return
    optimizer, ended = case.anatomy.optimizer, outcome(case)
    undone = optimizer is not None and optimizer.kind in ADAPTIVE
    severity: Severity = "note" if ended.well(WELL) or (undone and not ended.short_of(SKILL)) else "critical"
    worst = min(one.shares[kept[0]] for one in seen) if kept else max(max(one.shares.values()) for one in seen)
    text = f"the gradient of a bias is {worst:.2g} of the most that what arrives at its layer can add up to"
    cause, remedy, source = (*_KEPT, None) if kept else _lost(case, facts, clipped=clipped)
    yield Finding(
        "precision",
        severity,
        0.95,
        kept[0] if kept else "optimizer",
        f"The steps are made along gradients that still carry the loss scale of {scale:g}: they are as many times too long."
        if kept
        else f"The gradients are divided by the loss scale of {scale:g} once too often: the steps are as many times too short.",
        (Evidence(text, "loss_scaled", worst, bound=KEPT if kept else CUT / scale),),
        tuple(kept),
        source,
        looks[0].index,
        cause=cause,
        remedy=remedy,
        references=REFERENCES,
    )


@dataclass(frozen=True)
class _Seen:
    """A look: its loss scale and, by layer with a bias, the gradient of that over what arrived at the layer.

    ``shares``: its norm, over the largest that it can be; ``ratios``: its sum over theirs, where both are more than rounding.
    """

    step: Step
    scale: float
    shares: dict[str, float]
    ratios: dict[str, float]

    @property
    def clip(self) -> Fact | None:
        """A clipping that cut, or may have."""
        found = (fact for fact in self.step.facts if fact.kind == "clipped")
        return next((f for f in found if not 0.0 <= float(f.get("norm", -1.0)) <= float(f.get("bound", 0.0))), None)


def _kept(path: str, seen: list[_Seen]) -> bool:
    """Whether the bias there has the scale in its gradient, at every look."""
    ratios = [one.ratios[path] / one.scale for one in seen if path in one.ratios]
    beyond = all(one.shares.get(path, 0.0) > KEPT for one in seen)
    return beyond and len(ratios) >= min(ALWAYS, len(seen)) and all(abs(ratio - 1.0) <= CLOSE for ratio in ratios)


def _divided(seen: list[_Seen]) -> bool:
    """Whether all gradients are one scale too small, at every look, and nothing clips them."""
    firm = [[ratio * one.scale for ratio in one.ratios.values()] for one in seen if one.ratios]
    exact = len(firm) >= LOOKS and all(abs(ratio - 1.0) <= CLOSE for look in firm for ratio in look)
    return exact and not any(one.clip for one in seen)


def _while_scaled(seen: _Seen) -> bool:
    """Whether the gradients were clipped while they carried the scale: a bound that is multiplied by it is none so small."""
    clip, norms = seen.clip, [one.gradient.norm for one in seen.step.parameters if one.gradient is not None]
    bound = 0.0 if clip is None or clip.get("by", "norm") == "value" else float(clip.get("bound", 0.0))
    if clip is None or not 0.0 < bound <= seen.scale / KEPT or float(clip.get("norm", -1.0)) <= bound:
        return False
    return abs(math.hypot(*norms) * seen.scale / bound - 1.0) <= CLOSE and max(seen.shares.values()) <= CUT / seen.scale


def _lost(case: Case, facts: Mapping[int, Fact], *, clipped: bool) -> tuple[str, str, str | None]:
    """How the scale was lost: cause, remedy and line."""
    last = list(facts.values())[-1]
    if all(fact.get("plain", 0) for fact in facts.values()):
        return (*_PLAIN, last.source)
    return (*_CLIPPED, case.facts("clipped")[-1][1].source) if clipped else (*_TWICE, None)


def _shares(case: Case, step: Step) -> tuple[dict[str, float], dict[str, float]]:
    """The ``shares`` and the ``ratios`` of a look."""
    biases = {one.layer: one for one in case.anatomy.parameters if one.name == f"{one.layer}.bias".lstrip(".") and one.size}
    most, arrived = defaultdict[str, float](float), defaultdict[str, Moments](Moments)
    for sample in step.layers:
        where = sample.where.split("@")[0]
        if sample.gradient is not None and where in biases and not sample.gradient.nonfinite:
            most[where] += math.sqrt(sample.gradient.count / biases[where].size) * sample.gradient.norm
            arrived[where] += sample.gradient
    got = {one.name: one.gradient for one in step.parameters if one.gradient is not None and not one.gradient.nonfinite}
    of = {where: got[biases[where].name] for where, bound in most.items() if bound and biases[where].name in got}
    firm = [where for where, one in of.items() if _stands(one, FIRM) and _stands(arrived[where], SOUND)]
    return {at: one.norm / most[at] for at, one in of.items()}, {at: of[at].total / arrived[at].total for at in firm}


def _stands(of: Moments, share: float) -> bool:
    """Whether a sum is not only what is left of parts that cancel."""
    return of.count > 0 and abs(of.total) > share * math.sqrt(of.count) * of.norm


def in_half(case: Case) -> bool:
    """Whether the outputs, and so their gradients, are of float16."""
    return case.anatomy.dtype == "float16" or {s.output_dtype for _, s in case.losses if s.training} == {"float16"}


def _vanished(case: Case) -> Finding | None:
    """Every gradient of every look was exactly 0 in float16: no step has ever changed anything."""
    looks = [[s.gradient for s in step.layers if s.gradient and s.gradient.count] for step in case.sampled]
    looks = [gradients for gradients in looks if gradients]
    if (
        not in_half(case)
        or len(looks) < ALWAYS
        or case.facts("scale_skipped")
        or any(gradient.largest for gradients in looks for gradient in gradients)
    ):
        return None
    losses = [sample.value for _, sample in case.losses if sample.training and sample.value]
    if not losses or case.anatomy.dtype not in DIGITS:
        return None
    text = f"in {len(looks)} of {len(looks)} looks every gradient, that of the last layer too, was exactly 0"
    return Finding(
        "precision",
        "critical" if outcome(case).learning is not True else "note",
        0.95,
        "loss",
        f"Gradients underflow in float16: {text}; what is below 6e-08 is 0 there.",
        (Evidence(text, "gradient_zeros", 1.0, "of its entries", FLUSHED),),
        source=case.losses[0][1].source,
        since=case.losses[0][0],
        remedy="scale the loss (torch.amp.GradScaler), or compute in bfloat16, which reaches as far down as float32; and no "
        "tiny factor on the loss",
        references=REFERENCES,
    )


def _underflow(case: Case) -> Iterator[Finding]:
    whole = _vanished(case)
    if whole is not None:
        yield whole
        return
    nodes = [node for node in case.anatomy.nodes if node.operation in WEIGHTED]
    gradients: dict[str, list[Moments | None]] = defaultdict(list)
    for step in case.sampled:
        for sample in step.layers:
            gradients[sample.where].append(sample.gradient)
    coarse: dict[str, Node] = {}
    lost: dict[str, float] = {}
    for node in nodes:
        looks = gradients.get(node.path, [])
        late = [gradient for gradient in looks[len(looks) // 2 :] if gradient is not None and gradient.count]
        if len(late) < LOOKS // 2 or not any(gradient.largest for gradient in late):
            continue
        if all(gradient.largest < NORMAL and (gradient.largest / GRAIN).is_integer() for gradient in late):
            coarse[node.path] = node
            zeros = statistics.median(gradient.zero_fraction for gradient in late) - _explained(case, node)
            if zeros >= FLUSHED:
                lost[node.path] = zeros
    if 2 * len(coarse) <= len(nodes) or not lost:
        return
    worst = max(lost, key=lambda path: lost[path])
    found = outcome(case)
    harm = 2 * len(lost) > len(nodes) and found.short_of(SKILL)
    text = f"{100 * lost[worst]:.0f} % of the gradient in {spoken(worst)} is exactly 0, and the rest is below 2**-14"
    yield Finding(
        "precision",
        "warning" if harm else "note",
        0.9,
        worst,
        f"Gradients underflow in float16: {text}, where float16 has no digits left.",
        (Evidence(text, "gradient_zeros", lost[worst], "of its entries", FLUSHED),),
        tuple(coarse),
        coarse[worst].source,
        remedy="scale the loss (torch.amp.GradScaler), or compute in bfloat16, which reaches as far down as float32",
        references=REFERENCES,
    )


def _explained(case: Case, node: Node) -> float:
    """The share of a layer's gradient that what follows it sets to 0: units that do not fire, drop-outs, what a pool leaves."""
    place = case.anatomy.nodes.index(node)
    after = [one for one in case.anatomy.nodes if place in one.inputs]
    if not after or any(one.operation in ("pool", "dropout", "unknown") for one in after):
        return 0.0 if not after else 1.0
    shares = [middle(at(case.rows, "zero_fraction", one.path)) for one in after if one.operation == "activation"]
    return max((share for share in shares if share is not None), default=0.0)
