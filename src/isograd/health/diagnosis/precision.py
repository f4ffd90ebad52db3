"""Precision: updates that rounding swallows, gradients that underflow, and a loss scale that stops the training.

Bounds, from arithmetic:
  swallowed  a weight of p digits ignores an update below half a unit in its last place, 2**-9 of its size in bfloat16, 2**-12
             in float16, 2**-25 in float32: the entries of the real update are then exactly 0 although the gradient is not.
             From nine tenths of all entries on, in most layers, late, the layers stand still
  skipped    a gradient scaler that skips every other step or more halves its scale in vain: the overflow is not the scale's.
             A scale below 1 was halved 17 times, and makes small what it is there to make large
  underflow  numbers of float16 below 2**-14 are multiples of 2**-24, and what is below half of that is 0. A layer whose largest
             gradient is such a multiple (by chance one float32 in a million) is computed in float16 without a scale that fits,
             whatever type its weights have; where a fifth of its gradient is 0 that the activations after it do not explain,
             it has lost what small gradients have to say. Where every gradient is 0 from the first look on, no step changed
             anything
Alarms only where the late loss is poor (``health.outcome``), for skipping also where every look was skipped; in float32 and
above, updates that small are a matter of the rate, and get a remark here.
Look-alikes that are healthy: a converged network, whose updates are small; sparse gradients (embeddings, dead units), whose
zeros are in the gradient as well; one skipped step in a thousand, which is how a scaler finds its scale; a rate near zero.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator

from isograd.health import layers as gather
from isograd.health.case import Case, at, middle
from isograd.health.outcome import outcome
from isograd.records.anatomy import WEIGHTED, Node, capital, spoken
from isograd.records.finding import Evidence, Finding, Severity
from isograd.records.moments import Moments

SWALLOWED = 0.9
GRADIENT = 0.5
LOOKS = 4
ALWAYS = 3
"""Looks, the first two steps among them, in which every gradient is 0: no chance does that."""
SKIPPED = 0.5
SKILL = 0.7
NORMAL, GRAIN = 2.0**-14, 2.0**-24
"""The smallest normal number of float16, and the distance of those below it."""
FLUSHED = 0.2
DIGITS = {"bfloat16": 9, "float16": 12, "float32": 25, "float64": 54}
REFERENCES = (
    "Micikevicius et al. 2018, Mixed precision training, arXiv:1710.03740",
    "Zamirai et al. 2020, Revisiting BFloat16 training, arXiv:2010.06192",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """Updates lost to rounding, gradients that underflow, and steps lost to the loss scale."""
    yield from _skipped(case)
    yield from _underflow(case)
    yield from _swallowed(case)


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
    late = any(step >= looks[len(looks) // 2] for step in steps)
    tiny = isinstance(last, float) and last < 1.0
    stuck = late and (share >= 1.0 or ((share >= SKIPPED or (tiny and found.decided)) and found.poor(SKILL)))
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
        remedy="look for the overflow itself (a logarithm, a division, a mask of -inf in float16); bfloat16 needs no scaler",
        references=REFERENCES,
    )


def _vanished(case: Case) -> Finding | None:
    """Every gradient of every look was exactly 0 in float16: no step has ever changed anything."""
    looks = [[s.gradient for s in step.layers if s.gradient and s.gradient.count] for step in case.sampled]
    looks = [gradients for gradients in looks if gradients]
    half = {sample.output_dtype for _, sample in case.losses if sample.training} == {"float16"}
    if (
        not half
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
