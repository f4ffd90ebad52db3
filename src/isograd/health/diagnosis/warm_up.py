r"""Warm-up missing: an adaptive optimizer takes its first steps at full size in a transformer that normalises after the sum.

The size that Adam divides by is estimated from t gradients, with a relative error of about sqrt(2 / t): a quarter after 32
steps. Until then a step is as long as the rate allows, whatever the gradient is worth. Where the norm stands on the skip path
(post-norm), gradients near the output are large at birth at any depth, and what those steps did cannot be undone from below.
Bounds:
  BLIND   32 steps of the turning ratio r turn a layer by up to 32 r: from r = 1 / 64 on by half of itself before the optimizer
          knows what its gradients are like
  WHOLE   a step that turns a layer by its whole size is too long at the end of a warm-up, too
  WARM    a first rate of less than half of the largest is a warm-up
  LEARNED the skill that a run must not have reached
An alarm only for post-norm blocks, in the last four tenths of a run that learned nothing, or next to nothing after its loss had
jumped up early (JUMP). Where the rate is too high or too low all along, a warm-up would not mend it: ``learning_rate`` says
so. Attention of any other kind gets a remark.

ENDLESS: a rate that has doubled at least, never fell, and rose for the last time no longer before the end of the run than it
ever rested before is a warm-up that was meant to end: planned for longer than the run, or stepped once an epoch where it
counts steps. An alarm where next to nothing was learned, else a remark.

Look-alikes that are healthy: pre-norm blocks, a run that learns all the same, a warm-up, small rates, plain SGD, RAdam.
References: Xiong et al. 2020, arXiv:2002.04745, theorem 1; Liu et al. 2020, arXiv:1908.03265, section 3.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator

from isograd.health import layers as gather
from isograd.health.case import Case
from isograd.health.diagnosis import learning_rate
from isograd.health.layers import ADAPTIVE
from isograd.health.outcome import Outcome, outcome
from isograd.records.anatomy import Anatomy, Node, capital, spoken
from isograd.records.finding import Evidence, Finding

BLIND, WHOLE = 1 / 64, 1.0
WARM = 0.5
LEARNED = 0.15
JUMP = 1.5
EARLY = 0.1
RATES, RISES = 8, 3
SOME = 50
PASSING = ("dropout", "reshape")
REFERENCES = (
    "Xiong et al. 2020, On layer normalization in the transformer architecture, arXiv:2002.04745, theorem 1",
    "Liu et al. 2020, On the variance of the adaptive learning rate and beyond, arXiv:1908.03265, section 3",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that a transformer took its first steps at full size and has learned nothing since."""
    yield from _endless(case)
    optimizer, attention = case.anatomy.optimizer, _attention(case.anatomy)
    if optimizer is None or optimizer.kind not in ADAPTIVE or optimizer.kind == "radam" or attention is None:
        return
    first = _first_turn(case)
    if case.taken < SOME or first is None or not BLIND <= first < WHOLE or _warms_up(case):
        return
    found = outcome(case)
    jumped = _jumped(case, found)
    nothing = found.learning is False or (found.poor(LEARNED) and not found.falling and jumped is not None)
    if not found.decided or not nothing or any(one.alarm for one in learning_rate.diagnose(case)):
        return
    after = normed_after(case.anatomy)
    yield _finding(case, after or attention, found, first, jumped, post=after is not None)


def _endless(case: Case) -> Iterator[Finding]:
    """The finding that the rate was still on its way up when the run ended."""
    rates = [(reading.step, reading.value) for reading in case.series("learning_rate")]
    values = [value for _, value in rates]
    if not case.ended or case.taken < SOME or len(rates) < RATES or values[-1] < 2.0 * values[0]:
        return
    rises = [step for (_, before), (step, after) in itertools.pairwise(rates) if after > before * (1.0 + 1e-9)]
    falls = any(after < before * (1.0 - 1e-9) for before, after in itertools.pairwise(values))
    gap = max((later - earlier for earlier, later in itertools.pairwise(rises)), default=0)
    if falls or len(rises) < RISES or case.taken - rises[-1] > gap:
        return
    found = outcome(case)
    text = f"the learning rate rose from {values[0]:.2g} to {values[-1]:.2g} and was still rising after {case.taken:,} steps"
    yield Finding(
        "warm_up",
        "warning" if found.poor(LEARNED) or found.learning is False else "note",
        0.8,
        "optimizer",
        f"The warm-up never ended: {text}.",
        (Evidence(text, "learning_rate", values[-1]),),
        since=rates[0][0],
        cause="a warm-up that is planned for more steps than the run has, or a schedule that counts steps and is stepped once "
        "an epoch",
        remedy="scheduler.step() after every optimizer.step() where the schedule counts steps; a warm-up of 5 to 10 % of them",
    )


def normed_after(anatomy: Anatomy) -> Node | None:
    """The first norm that stands on the skip path behind an attention: it reads a sum, alone, and the next sum reads it.

    In pre-norm blocks a sum is read by the next sum as well; a norm of embeddings stands before any attention.
    """
    nodes = anatomy.nodes
    read: list[set[int]] = [set() for _ in nodes]
    for place, node in enumerate(nodes):
        for source in node.inputs if node.operation not in PASSING else ():
            read[_source(nodes, source)].add(place)
    behind: set[int] = set()
    for place, node in enumerate(nodes):
        if node.operation == "attention" or behind & set(node.inputs):
            behind.add(place)
        if node.operation == "norm" and len(node.inputs) == 1 and place in behind:
            before = _source(nodes, node.inputs[0])
            alone = len(read[before]) == 1 and nodes[before].operation == "add"
            if alone and any(nodes[reader].operation == "add" for reader in read[place]):
                return node
    return None


def _source(nodes: tuple[Node, ...], place: int) -> int:
    """The operation whose numbers arrive at ``place``, through dropout and reshapes."""
    while nodes[place].operation in PASSING and len(nodes[place].inputs) == 1:
        place = nodes[place].inputs[0]
    return place


def _attention(anatomy: Anatomy) -> Node | None:
    return next((node for node in anatomy.nodes if node.operation == "attention"), None) if anatomy.traced else None


def _first_turn(case: Case) -> float | None:
    """What the first two steps turned a typical matrix by, a step."""
    series = (case.series("turning_ratio", weight.name) for weight in gather.weights(case))
    turns = [statistics.fmean(early) for one in series if (early := [r.value for r in one if r.step <= 2])]
    return statistics.median(turns) if turns else None


def _warms_up(case: Case) -> bool:
    rates = [reading.value for reading in case.series("learning_rate")]
    return not rates or case.series("learning_rate")[0].step > 2 or rates[0] < WARM * max(rates)


def _jumped(case: Case, found: Outcome) -> float | None:
    """The highest loss of the first tenth of the steps, where it is far above the start."""
    early = [r.value for r in case.series("loss") if r.step <= max(10, EARLY * case.taken)]
    high = max(early, default=0.0)
    return high if found.start is not None and found.start > 0.0 and high > JUMP * found.start else None


def _finding(case: Case, node: Node, found: Outcome, first: float, jumped: float | None, *, post: bool) -> Finding:
    rate = case.series("learning_rate")[0].value
    text = f"the first steps turned a typical layer by {first:.1%} each, at the full learning rate of {rate:.2g}"
    evidence = [Evidence(text, "turning_ratio", first, "of the weight a step", BLIND)]
    if jumped is not None and found.start is not None:
        rose = f"the loss rose from {found.start:.3g} to {jumped:.3g} within the first {EARLY:.0%} of the steps"
        evidence.append(Evidence(rose, "loss", jumped, "", JUMP * found.start))
    if found.skill is not None:
        said = f"late answers are {100 * max(0.0, found.skill):.0f} % of the way from the best constant answer to perfect ones"
        evidence.append(Evidence(said, "skill", found.skill, "", LEARNED))
    what = "a transformer that normalises after the sum (post-norm) needs a warm-up" if post else "a warm-up may help"
    return Finding(
        "warm_up",
        "warning" if post else "note",
        0.75 if post else 0.6,
        node.path,
        f"{capital(text)}, and next to nothing was learned: {what}.",
        tuple(evidence),
        (node.path,),
        node.source,
        1,
        cause=f"{spoken(node.path)} stands on the skip path, so that gradients near the output are large at birth"
        if post
        else None,
        remedy="raise the rate from 0 over the first 5 to 10 % of the steps (torch.optim.lr_scheduler.LinearLR); or normalise "
        "what enters each branch (norm_first=True), or RAdam",
        references=REFERENCES,
    )
