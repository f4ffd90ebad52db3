"""Adversarial: of two networks that learn from each other, the judge wins, and the generator has nothing to follow.

A judge (discriminator) that is sure of every answer has a loss near 0 on real and on made-up examples, and the generator's loss
on fooling it grows without bound. Under the original loss the generator's gradient then vanishes; under the usual one
(-log D) it is large and says little, for the judge is flat around what the generator can make.
A loss that asks for one answer only (targets all 1, or all 0) is one side of such a game; of two sides that ask for the same
answer, the one that ends lower belongs to the judge.
Bounds:
  SURE    0.05 nats: the judge gives the right answer 95 % on average, on real and on made-up examples
  LOST    3 nats: the generator's examples are taken for real with 5 %; with log 2 = 0.69 it would be even
  AGREE   a quarter of 2 log 2. What the judge pays on made-up examples and what the generator pays for the same outputs add up
          to softplus(x) + softplus(-x) >= 2 log 2 in a game, whoever wins; where all sides together pay less than a quarter of
          it, the generator is asked for the judge's own answer and helps it: a sign or a target is the wrong way round
Below SURE but not LOST, and at twice SURE: a remark. Only in the last third, and in every look of it.

Look-alikes that are healthy: a judge that leads (0.2 and 2 are usual with pictures), critics whose losses are no likelihood,
contrastive losses, a network that is asked for one class.
References: Goodfellow et al. 2014, arXiv:1406.2661, section 3; Arjovsky & Bottou 2017, arXiv:1701.04862, theorem 2.4.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.health.curve import BINARY, Curve
from isograd.records.finding import Evidence, Finding

SURE = 0.05
LOST = 3.0
LEADS = 0.25
AGREE = math.log(2.0) / 2.0
STEPS = 100
REFERENCES = (
    "Goodfellow et al. 2014, Generative adversarial nets, arXiv:1406.2661, section 3",
    "Arjovsky & Bottou 2017, Towards principled methods for training GANs, arXiv:1701.04862, theorem 2.4",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that the judge has won, or the remark that it leads by far."""
    if not case.ended or case.taken < STEPS or not curves.contested(case):
        return
    found = [curve for curve in curves.curves(case) if curve.function in BINARY and _asks_one(curve) and len(curve.looks) >= 3]
    if len(found) < 2:
        return
    if _agree(case, found):
        yield _helping(case, found)
        return
    values = {id(curve): [sample.value or 0.0 for _, sample in curve.late_looks()] for curve in found}
    generator = max(found, key=lambda curve: statistics.fmean(values[id(curve)]))
    judge = [value for curve in found if curve is not generator for value in values[id(curve)]]
    fooled = values[id(generator)]
    won = max(judge) < SURE and min(fooled) > LOST
    if not won and not (max(judge) < LEADS and min(fooled) > LOST / 2.0):
        return
    now, pays = statistics.fmean(judge), statistics.fmean(fooled)
    yield Finding(
        "adversarial",
        "warning" if won else "note",
        0.85 if won else 0.6,
        "loop",
        f"The judge is sure of its answers (loss {now:.2g}) and the generator's loss is {pays:.3g} (even: 0.69): "
        + ("the generator has nothing to follow." if won else "the judge leads by far."),
        (
            Evidence(f"loss of the judge, late: {now:.2g}", "loss", now, "nats", SURE),
            Evidence(f"loss of the generator, late: {pays:.3g}", "loss", pays, "nats", LOST),
        ),
        source=generator.looks[-1][1].source,
        since=generator.late_looks()[0][0],
        remedy="a lower learning rate or fewer steps for the judge, or a higher one for the generator; a gradient penalty or "
        "spectral normalisation for the judge; labels of 0.9 in place of 1",
        references=REFERENCES,
    )


def _agree(case: Case, found: list[Curve]) -> bool:
    """Whether the made-up examples are handed to the judge without their graph, and all three sides together pay too little."""
    if len(found) < 3 or not case.facts("detached"):
        return False
    for side in found:
        asked = {sample.target_range for _, sample in side.looks}
        if len(asked) != 1 or not asked <= {(0.0, 0.0), (1.0, 1.0)}:
            return False
    return sum(max(sample.value or 0.0 for _, sample in side.late_looks()) for side in found) < AGREE


def _helping(case: Case, found: list[Curve]) -> Finding:
    paid = sum(statistics.fmean(sample.value or 0.0 for _, sample in side.late_looks()) for side in found)
    last = found[-1]
    return Finding(
        "adversarial",
        "warning",
        0.85,
        "loop",
        f"Judge and generator pay {paid:.2g} together after {case.taken:,} steps, and in a game they pay 1.39 at least: the "
        "generator is asked for the answer that the judge gives, and helps it.",
        (Evidence(f"all losses together, late: {paid:.2g}", "loss", paid, "nats", 2.0 * math.log(2.0)),),
        source=last.looks[-1][1].source,
        since=last.late_looks()[0][0],
        remedy="for the generator, turn the targets round: its examples are to be taken for real (ones where the judge is "
        "told zeros)",
        references=REFERENCES[:1],
    )


def _asks_one(curve: Curve) -> bool:
    """Whether each call asks one answer of all its examples (real and made-up ones may share a line)."""
    return all(sample.target_range[0] == sample.target_range[1] for _, sample in curve.looks)
