"""Momentum, betas and eps that make no sense, by themselves or for these gradients.

Bounds, from theory:
  momentum >= 1    the velocity never forgets: under a constant gradient it grows without bound. Wrong for certain
  memory           a velocity remembers 1 / (1 - momentum) steps; where that is more than half of the run, steps go where the
                   gradients of the beginning pointed, and the weights swing around every minimum
  beta1 ** 2 > beta2  the size that Adam divides by forgets faster than the gradient that it divides: an old large gradient
                   over a new small size is a step of any length, and convergence is not assured
                   (Reddi et al. 2018; Zhang et al. 2022 need beta1 < sqrt(beta2))
  eps              Adam divides by sqrt(v) + eps. Where eps is 10 times every gradient's size, it is plain SGD with the rate
                   learning_rate / eps: the adaptation is gone, and layers come nowhere
  eps = 0          0 / 0 as soon as one entry never gets a gradient: a remark
An alarm only where the late loss is poor (``health.outcome``), and for eps only where the layers hardly move (or, before
training, would hardly move by steps like the first); 0.99 with a rate that fits is healthy. Before training a velocity that
remembers more than the planned run is a remark.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health import layers as gather
from isograd.health.case import Case, at, middle
from isograd.health.layers import ADAPTIVE
from isograd.health.movement import FIRST_STEPS, leads_nowhere, movement
from isograd.health.outcome import Outcome, outcome
from isograd.records.anatomy import Optimizer, capital
from isograd.records.finding import Evidence, Finding

FORGETS = 0.5
"""Share of the run that a velocity may remember."""
LONG = 0.98
"""Momentum below which its memory, 50 steps, is no concern."""
SHORT = 10
"""Steps of a run that has ended from which on it says anything of its momentum."""
DEGENERATE = 10.0
HALF_WAY = 0.5
"""Path up to which layers count as hardly moved where eps is the reason."""
SKILL = 0.7
NEARLY = 0.8
"""Skill that excuses a velocity that remembers more than the whole run: nothing else speaks for it."""
LITTLE = 0.5
AWAY = -1.0
"""Skill of the loss below which it has run away, whatever the answers are: it pays twice what a constant answer does."""
HALF = 0.5
"""A beta2 that remembers two steps, beside a beta1 that remembers fifty: swapped, whatever the outcome may be."""
REFERENCES = (
    "Sutskever et al. 2013, On the importance of initialization and momentum in deep learning",
    "Reddi et al. 2018, On the convergence of Adam and beyond, arXiv:1904.09237",
    "Zhang et al. 2022, Adam can converge without any modification on update rules, arXiv:2208.09632",
)


def swallowed(case: Case) -> float | None:
    """How many times an adaptive optimizer's eps is as large as the gradient of the layer with the largest one.

    None where that is below ``DEGENERATE``.
    """
    optimizer = case.anatomy.optimizer
    if optimizer is None or optimizer.kind not in ADAPTIVE or optimizer.kind == "adamax":
        return None
    sizes = [middle(at(case.rows, "parameter_gradient_rms", weight.name)) for weight in gather.weights(case)]
    largest = max((size for size in sizes if size is not None), default=0.0)
    eps = float(optimizer.get("eps", 0.0))
    return eps / largest if largest > 0.0 and eps >= DEGENERATE * largest else None


def diagnose(case: Case) -> Iterator[Finding]:
    """What is wrong with the optimizer's constants."""
    optimizer = case.anatomy.optimizer
    if optimizer is None:
        return
    found = outcome(case)
    yield from _velocity(case, optimizer, found)
    yield from _betas(case, optimizer, found)
    yield from _eps(case, optimizer, found)


def _velocity(case: Case, optimizer: Optimizer, found: Outcome) -> Iterator[Finding]:
    name = "momentum" if optimizer.kind in ("sgd", "rmsprop") else "beta1"
    momentum = float(optimizer.get(name, 0.0))
    length = case.taken if case.ended and case.taken > FIRST_STEPS else case.planned
    if momentum >= 1.0:
        text = f"a {name} of {momentum:g} never forgets: the velocity grows with every gradient"
        yield _finding(case, found, text, momentum, 1.0, alarm=not found.well(SKILL), sure=0.95)
        return
    if momentum < LONG or length is None or FIRST_STEPS < case.taken < SHORT:
        return
    memory = 1.0 / (1.0 - momentum)
    if memory < FORGETS * length:
        return
    text = f"a {name} of {momentum:g} remembers the gradients of {memory:,.0f} steps, and the run has {length:,}"
    bound = 1.0 - 1.0 / (FORGETS * length)
    harmed = found.poor(SKILL) or (memory >= length and found.poor(NEARLY))
    yield _finding(case, found, text, momentum, bound, alarm=found.decided and harmed, sure=0.8)


def _betas(case: Case, optimizer: Optimizer, found: Outcome) -> Iterator[Finding]:
    first, second = float(optimizer.get("beta1", 0.0)), float(optimizer.get("beta2", 1.0))
    if optimizer.kind not in ("adam", "adamw", "nadam", "radam") or first * first <= second:
        return
    text = f"with beta1 = {first:g} and beta2 = {second:g} the size that steps are divided by forgets faster than the gradient"
    far = first >= LONG and second <= HALF and found.skill is None
    away = found.beat is not None and found.beat[0] + 2.0 * found.beat[1] < AWAY
    harmed = found.learning is False or found.poor(LITTLE) or far or away
    yield _finding(case, found, text, first * first, second, alarm=found.decided and harmed, sure=0.75)


def _eps(case: Case, optimizer: Optimizer, found: Outcome) -> Iterator[Finding]:
    if optimizer.kind not in ADAPTIVE or optimizer.kind == "adamax":
        return
    eps = optimizer.get("eps", 1e-8)
    if eps == 0.0:
        text = "with eps = 0 an entry that never gets a gradient gives 0 / 0"
        yield _finding(case, found, text, 0.0, 0.0, alarm=False, sure=0.9)
        return
    share, moved = swallowed(case), movement(case)
    if share is None or moved is None:
        return
    nowhere = leads_nowhere(case, moved) is not None
    if case.taken < SHORT and not nowhere:
        return
    much = f"{share:.2g} times the largest gradient of a layer"
    text = f"an eps of {float(eps):g} is {much}: the optimizer is plain SGD with tiny steps"
    slow = (moved.sure or found.learning is False) and moved.planned_path < HALF_WAY
    unjudged = found.skill is None and moved.starved  # then that no layer moves has to be enough
    alarm = nowhere or (found.decided and not found.advanced and ((slow and found.poor(SKILL)) or unjudged))
    yield _finding(case, found, text, share, DEGENERATE, alarm=alarm, sure=0.9)


def _finding(case: Case, found: Outcome, text: str, value: float, bound: float, *, alarm: bool, sure: float) -> Finding:
    hopeless = found.learning is False and found.share is not None and found.share >= 1.0
    return Finding(
        "momentum",
        "note" if not alarm else "critical" if hopeless else "warning",
        sure,
        "optimizer",
        f"{capital(text)}.",
        (Evidence(text, "optimizer", value, bound=bound),),
        since=1 if case.taken else None,
        remedy="the usual constants: momentum 0.9; betas 0.9 and 0.999, eps 1e-8",
        references=REFERENCES,
    )
