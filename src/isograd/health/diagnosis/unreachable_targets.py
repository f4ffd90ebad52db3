"""Unreachable targets: the last function of the network cannot put out what the targets ask (a ReLU: negative numbers).

The mean square of how far the targets lie beyond the reach, over their variance, is the part of a squared error that no
training removes (``LossSample.shortfall``), so the bounds are arithmetic:
  LOST      a warning where 5 % of the variance or more cannot be explained: less is within what models differ by
  HOPELESS  critical where that is 90 % or more: a constant would do as well
In a game of two networks the targets are the real examples, which the judge gets. Where a generator ends in a function that
stays within b = 1, and the examples have the rms r and the largest magnitude L, r^2 <= (1 - s) b^2 + s L^2 says which share s
of the numbers is out of its reach at least (what the generator made is among what the judge gets, and is taken off). A judge
that looks at these alone is never wrong (Arjovsky & Bottou 2017: supports that do not meet).

Look-alikes that are healthy: a ReLU before prices, a sigmoid before pixels in [0, 1] (nothing lies beyond); a few outliers
beyond a tanh (a note); a generator of pictures scaled to [-1, 1]; an actor whose critic is given states.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.curve import contested
from isograd.health.losses import BINARY, REGRESSION, Use, uses
from isograd.records.anatomy import Node, spoken
from isograd.records.batch import InputSample
from isograd.records.finding import Evidence, Finding, Severity
from isograd.records.trace import Step

LOST = 0.05
HOPELESS = 0.9
BOUNDED = ("tanh", "sigmoid")
SEEN = 0.01
"""Share of the targets beyond reach that is worth a note."""


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for each regression whose targets lie beyond the reach of its head; medians over the looks."""
    for use in uses(case):
        if use.last.function not in REGRESSION or not any(map(math.isfinite, use.reach)):
            continue
        beyond = statistics.median(look.beyond for look in use.looks)
        lost = statistics.median(look.shortfall for look in use.looks)
        if beyond > 0.0 and (beyond >= SEEN or lost >= LOST):
            yield _finding(use, beyond, lost)
    yield from _game(case)


def _game(case: Case) -> Iterator[Finding]:
    """Real examples that the generator cannot make; only such lie beyond its reach in what the judge is given."""
    models = list(dict.fromkeys(sample.where for _, sample in case.inputs))
    asked = {
        one.target_range for _, one in case.losses if one.function in BINARY and one.target_range[0] == one.target_range[1]
    }
    if len(models) < 2 or len(asked) < 2 or not contested(case):
        return
    for maker in models:
        nodes = [node for node in case.anatomy.nodes if maker and f"{node.path}.".startswith(f"{maker}.")]
        if not nodes or nodes[-1].operation != "activation" or nodes[-1].activation not in BOUNDED:
            continue
        for judge in models:
            looks = [
                (s, one) for s in case.steps for one in s.inputs if one.where == judge and one.shape[1:] == nodes[-1].shape
            ]
            given = [one for _, one in looks] if judge != maker else []
            shares = [_out_of_reach(one, step, nodes[-1].path) for step, one in looks if given]
            if len(shares) >= 2 and statistics.median(shares) >= SEEN:
                yield _unmade(nodes[-1], given, statistics.median(shares))


def _out_of_reach(sample: InputSample, step: Step, maker: str) -> float:
    """The share of real numbers beyond 1, at least: by their rms and the largest, less what the generator put among them."""
    made = [one.activation for one in step.layers if one.where == maker and one.activation is not None]
    count = sample.values.count - sum(one.count for one in made)
    square = (sample.values.squares - sum(one.squares for one in made)) / count if count > 0 else 0.0
    return (square - 1.0) / (sample.values.largest**2 - 1.0) if square > 1.0 and sample.values.largest > 1.0 else 0.0


def _unmade(node: Node, given: list[InputSample], share: float) -> Finding:
    low, high = min(one.low for one in given), max(one.high for one in given)
    return Finding(
        "unreachable_targets",
        "warning",
        0.9,
        node.path,
        f"The generator ends in {node.activation}, which stays within -1 and 1, and real examples go from {low:.3g} to "
        f"{high:.3g}: the judge knows them by what the generator can never make.",
        (Evidence("share of the numbers of real examples out of reach, at least", "beyond", share, bound=SEEN),),
        (node.path,),
        node.source,
        remedy=f"scale the real examples to [-1, 1], or end the generator in its last layer without {node.activation}",
        references=("Arjovsky & Bottou 2017, Towards principled methods for training GANs, arXiv:1701.04862, theorem 2.1",),
    )


def _finding(use: Use, beyond: float, lost: float) -> Finding:
    severity: Severity = "critical" if lost >= HOPELESS else "warning" if lost >= LOST else "note"
    low, high = use.reach
    asked = [look.target_range for look in use.looks]
    targets = f"{min(r[0] for r in asked):.3g} to {max(r[1] for r in asked):.3g}"
    bounds = f"between {low:g} and {high:g}" if high < float("inf") and low > -float("inf") else _one_sided(low, high)
    place = spoken(use.last.head_where) if use.last.head_where else use.last.head_source or "the head"
    price = "nothing is left to learn" if lost >= HOPELESS else f"{100 * lost:.0f} % of their variance cannot be explained"
    return Finding(
        "unreachable_targets",
        severity,
        0.97,
        use.where,
        f"The {use.head} at {place} gives numbers {bounds}, and the targets go from {targets}: {100 * beyond:.0f} % of them "
        f"lie out of reach, and {price}.",
        (
            Evidence("share of the targets that lie out of reach", "beyond", beyond, bound=SEEN),
            Evidence("share of the variance of the targets that no training can explain", "shortfall", lost, bound=LOST),
        ),
        source=use.source,
        since=use.since,
        cause="the last function of the network does not fit the range of the targets",
        remedy=f"return the output of the last layer without {use.head}, or scale the targets into its range",
        references=("Humbatova et al. 2020, Taxonomy of real faults in deep learning systems, arXiv:1910.11015",),
    )


def _one_sided(low: float, high: float) -> str:
    return f"of {low:g} and above" if low > -float("inf") else f"of {high:g} and below"
