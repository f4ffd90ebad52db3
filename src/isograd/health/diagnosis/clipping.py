"""Clipping: a bound so small that every gradient is cut down to it, and the layers hardly move.

A clipped step of plain SGD is ``learning_rate * bound`` long whatever the gradient says. Bounds:
  ALWAYS   nine of ten steps have a total gradient norm that is the largest of all to 3 digits although their directions
           differ; or the clip was seen at work in nine of ten looks
  movement the layers come nowhere (a path below 0.3 of their size, ``health.movement``) and the late loss is poor, or still
           falls and is not good
  BOUND    under plain SGD no look has to be late, for the length of every step is known: learning_rate * bound / (1 - momentum)
           at most. Where all steps together are shorter than a tenth of the weights, the network stays what it was
  EPS      an adaptive optimizer divides by the size of the gradient and undoes the clip, unless what is left of it
           (bound / sqrt(entries) an entry) is a tenth of the optimizer's eps or less, of an eps that is small itself
  SIDED    gradients that were clamped from one side (a hook with clamp(min=0)) have one sign in every tensor at every look,
           those of a loss have both: a mean of one sign in all tensors of MANY entries, LEAST of the rms, a fifth in half of
           them.
           Half of a Gaussian has 0.56; a mean of entries of both signs is near 0, of another sign from tensor to tensor and
           from look to look (24 sound programs: -0.3 to 0.2 on average). An alarm unless the answers are good
Where an adaptive optimizer undoes the clip, and where the layers move, clipping at every step is healthy and gets a remark; and
so does a bound that is ten times above every gradient of the run (LOOSE).
Look-alikes: full-batch training at a fixed point (its norms are not all the same), normalised gradients on purpose with a rate
that fits.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from isograd.health.case import Case, late
from isograd.health.layers import ADAPTIVE
from isograd.health.movement import SHORT, movement, rates_so_far
from isograd.health.outcome import outcome
from isograd.records.anatomy import capital
from isograd.records.finding import Evidence, Finding
from isograd.records.moments import Moments

ALWAYS = 0.9
SAME = 1e-3
"""How much norms at the bound may differ: clipping divides by the norm plus 1e-6, in float32."""
SEEN = 10
DEEP = 30.0
"""Times its bound that a norm must be for two looks to be enough: gradients of a network that learns do not shrink so much."""
ALIKE = 0.98
"""Cosine from which successive gradients are one and the same (a full batch that goes nowhere): then so are their norms."""
LOOSE = 10.0
"""Times the largest gradient of a run from which a bound is beyond what any burst of it came near to."""
SIDED, LEAST, MANY, TENSORS, LOOKS, TELLING, WELL = 0.2, 0.05, 64, 3, 3, 12, 0.9
MOVES = 0.3
EPS, SMALL_EPS = 10.0, 1e-6
SKILL, STILL_POOR = 0.7, 0.85
HALF_WAY = 0.5
"""Skill below which all steps together are held against the size of the weights."""
REFERENCES = ("Pascanu et al. 2013, arXiv:1211.5063, section 3.2", "Zhang et al. 2020, arXiv:1905.11881")


def pinned(case: Case) -> float | None:
    """The bound that nearly every gradient was cut down to, or nothing.

    >>> from isograd.records.anatomy import Anatomy
    >>> pinned(Case(Anatomy("torch", (), ()))) is None
    True
    """
    facts = [fact for _, fact in case.facts("clipped")]
    cut = [fact for fact in facts if float(fact.get("norm", -1.0)) > float(fact.get("bound", math.inf))]
    deep = len(cut) == len(facts) >= 2 and all(
        float(one.get("norm", 0.0)) >= DEEP * float(one.get("bound", 0.0)) for one in cut
    )
    if deep or (len(facts) >= SEEN // 2 and len(cut) >= ALWAYS * len(facts)):
        return float(cut[-1].get("bound", 0.0))
    norms = [r.value for r in case.series("total_gradient_norm") if math.isfinite(r.value)]
    turns = late(case.series("gradient_turn"))
    if len(norms) < SEEN or (not facts and turns and statistics.median(turns) > ALIKE):
        return None
    top = max(norms)
    alike = sum(norm >= (1.0 - SAME) * top for norm in norms)
    return top if top > 0.0 and alike >= ALWAYS * len(norms) else None


def undone(case: Case, bound: float) -> bool:
    """Whether the optimizer divides what a clip leaves by its own size, so that steps are as long as without it.

    >>> from isograd.records.anatomy import Anatomy, Optimizer
    >>> adam, sgd = (Case(Anatomy("torch", (), (), optimizer=Optimizer(kind))) for kind in ("adam", "sgd"))
    >>> undone(adam, 1.0), undone(sgd, 1.0)
    (True, False)
    """
    optimizer = case.anatomy.optimizer
    if optimizer is None or optimizer.kind not in ADAPTIVE:
        return False
    entries = max(1, sum(parameter.size for parameter in case.anatomy.parameters if parameter.trainable))
    eps = float(optimizer.get("eps", 1e-8))
    return eps > SMALL_EPS or eps < EPS * bound / math.sqrt(entries)


def _whole_path(case: Case, bound: float) -> float:
    r"""How far plain SGD can have moved all weights together, over their size: the longest possible path.

    .. math:: \frac{\sum_t \eta_t \; b}{(1 - \mu) \; \lVert \theta \rVert}

    for learning rates :math:`\eta_t`, a bound b and momentum :math:`\mu`, for a sum of momentum is at most the geometric series
    of equal steps. Infinite for another optimizer, or where rates or weights are not known. Range: above 0.
    """
    optimizer, rates = case.anatomy.optimizer, rates_so_far(case)
    size = math.sqrt(sum(parameter.values.rms**2 * parameter.values.count for parameter in case.anatomy.parameters))
    momentum = float(optimizer.get("momentum", 0.0)) if optimizer is not None else 1.0
    if optimizer is None or optimizer.kind != "sgd" or not rates or not size > 0.0 or not 0.0 <= momentum < 1.0:
        return math.inf
    longer = max(1.0, case.planned / case.taken) if case.planned and not case.ended else 1.0
    return rates[-1] * bound / (1.0 - momentum) / size * longer


def _idle(case: Case) -> Iterator[Finding]:
    """The remark that a clip never acted, and was never near to it."""
    facts = [fact for _, fact in case.facts("clipped")]
    bound = min((float(fact.get("bound", math.inf)) for fact in facts), default=math.inf)
    norms = [float(fact.get("norm", math.inf)) for fact in facts]
    most = max([*norms, *(r.value for r in case.series("total_gradient_norm") if math.isfinite(r.value))], default=math.inf)
    if not case.ended or len(facts) < SEEN // 2 or not math.isfinite(bound) or LOOSE * most > bound:
        return
    text = f"clipping at {bound:.3g} never acted: the largest gradient that was seen had a norm of {most:.2g}"
    yield Finding(
        "clipping",
        "note",
        0.8,
        "optimizer",
        f"{capital(text)}.",
        (Evidence(text, "total_gradient_norm", most, "before clipping", bound),),
        remedy="a bound of a few times the usual norm, if a burst is to be caught; else it can go",
        references=REFERENCES,
    )


def _one_sided(case: Case) -> Iterator[Finding]:
    """The finding that no gradient ever points the other way."""
    looks = [
        [one.gradient.mean / one.gradient.rms for one in step.parameters if one.gradient and _tells(one.gradient)]
        for step in case.sampled
    ]
    looks = [shares for shares in looks if len(shares) >= TENSORS]
    every = [share for shares in looks for share in shares]
    if len(looks) < LOOKS or len(every) < TELLING or not (min(every) > LEAST or max(every) < -LEAST):
        return
    if abs(statistics.median(every)) < SIDED:
        return
    way = "below" if min(every) > 0.0 else "above"
    usual = abs(statistics.median(every))
    text = f"the gradient of every weight tensor has one sign at every look: a mean of {usual:.2f} of its rms in the middle"
    yield Finding(
        "clipping",
        "note" if outcome(case).well(WELL) else "warning",
        0.85,
        "optimizer",
        f"Gradients of both signs never come: {text}. They look clamped from {way}, so that weights can go one way alone.",
        (Evidence(text, "gradient_rms", usual, "mean over rms", SIDED),),
        since=case.sampled[0].index,
        remedy="clip both sides (torch.nn.utils.clip_grad_norm_, or clamp(-bound, bound)) in the hook on the gradients",
    )


def _tells(gradient: Moments) -> bool:
    return gradient.count >= MANY and gradient.rms > 0.0


def diagnose(case: Case) -> Iterator[Finding]:
    """An alarm where the clip starves the layers, a remark where it is always active."""
    yield from _one_sided(case)
    bound = pinned(case)
    moved = movement(case) if bound is not None else None
    if bound is None or moved is None:
        yield from _idle(case) if bound is None else ()
        return
    found = outcome(case)
    text = f"the gradient had a norm of {bound:.3g} in nearly every step: clipping cut it down to that"
    evidence = [Evidence(text, "total_gradient_norm", bound, "after clipping", bound)]
    sure = (moved.sure or found.learning is False) and not found.advanced
    short = sure and moved.planned_path < MOVES and found.decided
    whole = _whole_path(case, bound) if found.decided and not found.advanced and found.poor(HALF_WAY) else math.inf
    if not undone(case, bound) and (whole < SHORT or (short and found.poor(STILL_POOR if found.falling else SKILL))):
        path, most = (whole, SHORT) if whole < SHORT else (moved.planned_path, MOVES)
        whom = "the network" if whole < SHORT else "the layer that moved furthest"
        way = f"{whom} moved by at most {path:.1g} of its size"
        evidence.append(Evidence(way, "turning_ratio", path, "of its size", most))
        yield Finding(
            "clipping",
            "critical" if found.learning is False else "warning",
            0.92,
            "optimizer",
            f"{capital(text)}, and the layers hardly move: {way}.",
            tuple(evidence),
            since=case.series("total_gradient_norm")[0].step,
            remedy="a bound near the usual norm of the gradient before clipping (often 1), or none",
            references=REFERENCES,
        )
    else:
        yield Finding(
            "clipping",
            "note",
            0.9,
            "optimizer",
            f"{capital(text)}; the direction alone is used"
            + (", and the optimizer divides by its size anyway." if undone(case, bound) else ". The layers move all the same."),
            tuple(evidence),
            remedy="nothing urgent; the learning rate now sets the length of a step by itself",
            references=REFERENCES,
        )
