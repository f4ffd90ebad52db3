"""Posterior collapse: a variational autoencoder whose code says nothing, because another term of its loss outweighs the data.

What is decoded is a sample, mean + deviation * noise. The term that keeps the codes close to the prior is cheapest where mean
and deviation are the same for every example; then the decoder can only answer the mean of the data.
  sampled   some node of the network is the sum of a signal and of a product with an exponential (or softplus) in it
  EQUAL     the reconstruction, a loss that is known, is by what is proven no better than a constant answer in the late looks
            of a run that has ended (``health.worth.learned_nothing``), and pays 1 - GAIN = 0.97 of it or more in each of them
  OTHER     and the loss that is stepped has, or had, another part: it differed from the reconstruction by OTHER of it at some
            look. Without one there is no prior that could outweigh the data
It is an alarm, for what comes out is the mean, whatever goes in.

Look-alikes that are healthy: a variational autoencoder that reconstructs; one at its start; some codes of many that are not
used (the reconstruction is better than a constant all the same); a network without a sample, whose plateau is told as such.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.health.curve import REGRESSIONS
from isograd.health.worth import GAIN, learned_nothing
from isograd.records.anatomy import WEIGHTED, Anatomy, Node, spoken
from isograd.records.batch import LossSample
from isograd.records.finding import Evidence, Finding

EQUAL = 1.0 - GAIN
OTHER = 0.05
LOOKS = 4
STEPS = 50
DEVIATIONS = ("exp", "softplus")
RECONSTRUCTIONS = (*REGRESSIONS, "binary_cross_entropy", "binary_cross_entropy_with_logits")
REFERENCES = (
    "Kingma & Welling 2014, Auto-encoding variational Bayes, arXiv:1312.6114",
    "Bowman et al. 2016, Generating sentences from a continuous space, arXiv:1511.06349 (section 3.1)",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that the code says nothing."""
    sampled = sample_of(case.anatomy)
    if sampled is None or case.taken < STEPS or not case.ended:
        return
    for curve in curves.curves(case):
        looks = [(step, one) for step, one in curve.looks if one.value is not None and (one.floor or 0.0) > 0.0]
        if len(looks) < LOOKS or curve.function not in RECONSTRUCTIONS or not _with_another_part(case, looks):
            continue
        late = [(one.value or 0.0) / (one.floor or 1.0) for _, one in curve.late_looks() if (one.floor or 0.0) > 0.0]
        if late and min(late) >= EQUAL and learned_nothing(curve):
            yield _finding(sampled, statistics.median(late), looks)
            return


def sample_of(anatomy: Anatomy) -> Node | None:
    """The weighted layer whose output is the mean of a sample, mean + deviation * noise; nothing where none is drawn.

    >>> chain = (Node("mu", "linear", "Linear"), Node("lv", "linear", "Linear"), Node("exp", "activation", "exp", (1,)),
    ...     Node("mul", "multiply", "mul", (2,)), Node("add", "add", "add", (0, 3)))
    >>> sample_of(Anatomy("torch", chain, ())).path, sample_of(Anatomy("torch", chain[:3], ()))
    ('mu', None)
    """
    nodes = anatomy.nodes
    for node in nodes:
        if node.operation != "add" or len(node.inputs) < 2:
            continue
        drawn = [place for place in node.inputs if nodes[place].operation == "multiply" and _is_scaled(nodes, place)]
        means = [nodes[place] for place in node.inputs if place not in drawn and nodes[place].operation in WEIGHTED]
        if drawn and means:
            return means[0]
    return None


def _is_scaled(nodes: Sequence[Node], place: int) -> bool:
    return any(nodes[one].label in DEVIATIONS or nodes[one].activation in DEVIATIONS for one in nodes[place].inputs)


def _with_another_part(case: Case, looks: Sequence[tuple[int, LossSample]]) -> bool:
    """Whether what was stepped differed from this loss by a part of it."""
    stepped = {step.index: step.loss for step in case.steps if step.loss is not None}
    pairs = [(stepped[step], one.value or 0.0) for step, one in looks if step in stepped]
    return any(abs(whole - part) > OTHER * abs(part) for whole, part in pairs)


def _finding(mean: Node, share: float, looks: Sequence[tuple[int, LossSample]]) -> Finding:
    text = f"the reconstruction pays {share:.2f} of what the mean of the data would, in the median of the late looks"
    return Finding(
        "posterior_collapse",
        "warning",
        0.85,
        mean.path,
        f"What {spoken(mean.path)} codes says nothing of the examples: the decoder answers the mean of the data ({text}).",
        (Evidence(text, "skill", 1.0 - share, "", 1.0 - EQUAL),),
        (mean.path,),
        looks[-1][1].source,
        looks[len(looks) // 2][0],
        cause="another term of the loss outweighs the reconstruction",
        remedy="sum both terms over their dimensions (reduction='sum' divided by the batch) before they are added; a smaller "
        "weight on the divergence, or one that rises from 0 over the first epochs",
        references=REFERENCES,
    )
