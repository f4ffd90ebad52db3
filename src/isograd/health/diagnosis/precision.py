"""Precision: updates that rounding swallows, gradients that underflow, and a loss scale that stops the training.

Bounds, from arithmetic:
  swallowed  a weight of p digits ignores an update below half a unit in its last place, 2**-9 of its size in bfloat16, 2**-12
             in float16, 2**-25 in float32: the entries of the real update are then exactly 0 although the gradient is not.
             From nine tenths of all entries on, in most layers, late, the layers stand still
  skipped    a gradient scaler that skips every other step or more halves its scale in vain: the overflow is not the scale's
Alarms only where the late loss is poor (``health.outcome``), for skipping also where every look was skipped; in float32 and
above, updates that small are a matter of the rate, and get a remark here.
Look-alikes that are healthy: a converged network, whose updates are small; sparse gradients (embeddings, dead units), whose
zeros are in the gradient as well; one skipped step in a thousand, which is how a scaler finds its scale; a rate near zero.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from isograd.health import layers as gather
from isograd.health.case import Case, at, middle
from isograd.health.outcome import outcome
from isograd.records.anatomy import capital
from isograd.records.finding import Evidence, Finding, Severity

SWALLOWED = 0.9
GRADIENT = 0.5
LOOKS = 4
SKIPPED = 0.5
SKILL = 0.7
DIGITS = {"bfloat16": 9, "float16": 12, "float32": 25, "float64": 54}
REFERENCES = (
    "Micikevicius et al. 2018, Mixed precision training, arXiv:1710.03740",
    "Zamirai et al. 2020, Revisiting BFloat16 training, arXiv:2010.06192",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """Updates lost to rounding, and steps lost to the loss scale."""
    yield from _skipped(case)
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
    harm = low and found.decided and found.poor(SKILL)
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
    stuck = share >= SKIPPED and late and (share >= 1.0 or found.poor(SKILL))
    if share < SKIPPED and not late:
        return
    yield Finding(
        "precision",
        "critical" if stuck and share >= 1.0 else "warning" if stuck else "note",
        0.9,
        "optimizer",
        f"{capital(text)} (its scale is now {last:g}): these steps changed nothing.",
        (Evidence(text, "scale_skipped", share, "of the looks", SKIPPED),),
        since=steps[0],
        remedy="look for the overflow itself (a logarithm, a division, a mask of -inf in float16); bfloat16 needs no scaler",
        references=REFERENCES,
    )
