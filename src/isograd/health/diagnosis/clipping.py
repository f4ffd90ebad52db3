"""Clipping: a bound so small that every gradient is cut down to it, and the layers hardly move.

A clipped step of plain SGD is ``learning_rate * bound`` long whatever the gradient says. Bounds:
  ALWAYS   nine of ten steps have a total gradient norm that is the largest of all to 3 digits although their directions
           differ; or the clip was seen at work in nine of ten looks
  movement the layers come nowhere (a path below 0.3 of their size, ``health.movement``) and the late loss is poor, or still
           falls and is not good
An adaptive optimizer divides by the size of the gradient and undoes the clip; there, and where the layers move, clipping at
every step is healthy and gets a remark. Look-alikes: full-batch training at a fixed point (its norms are not all the same),
normalised gradients on purpose with a rate that fits.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from isograd.health.case import Case, late
from isograd.health.movement import movement
from isograd.health.outcome import outcome
from isograd.records.anatomy import capital
from isograd.records.finding import Evidence, Finding

ALWAYS = 0.9
SAME = 1e-3
"""How much norms at the bound may differ: clipping divides by the norm plus 1e-6, in float32."""
SEEN = 10
ALIKE = 0.98
"""Cosine from which successive gradients are one and the same (a full batch that goes nowhere): then so are their norms."""
MOVES = 0.3
SKILL, STILL_POOR = 0.7, 0.85
REFERENCES = ("Pascanu et al. 2013, arXiv:1211.5063, section 3.2", "Zhang et al. 2020, arXiv:1905.11881")


def pinned(case: Case) -> float | None:
    """The bound that nearly every gradient was cut down to, or nothing.

    >>> from isograd.records.anatomy import Anatomy
    >>> pinned(Case(Anatomy("torch", (), ()))) is None
    True
    """
    facts = [fact for _, fact in case.facts("clipped")]
    cut = [fact for fact in facts if float(fact.get("norm", -1.0)) > float(fact.get("bound", math.inf))]
    if len(facts) >= SEEN // 2 and len(cut) >= ALWAYS * len(facts):
        return float(cut[-1].get("bound", 0.0))
    norms = [r.value for r in case.series("total_gradient_norm") if math.isfinite(r.value)]
    turns = late(case.series("gradient_turn"))
    if len(norms) < SEEN or (not facts and turns and statistics.median(turns) > ALIKE):
        return None
    top = max(norms)
    alike = sum(norm >= (1.0 - SAME) * top for norm in norms)
    return top if top > 0.0 and alike >= ALWAYS * len(norms) else None


def diagnose(case: Case) -> Iterator[Finding]:
    """An alarm where the clip starves the layers, a remark where it is always active."""
    bound = pinned(case)
    moved = movement(case) if bound is not None else None
    if bound is None or moved is None:
        return
    found = outcome(case)
    text = f"the gradient had a norm of {bound:.3g} in nearly every step: clipping cut it down to that"
    evidence = [Evidence(text, "total_gradient_norm", bound, "after clipping", bound)]
    sure = (moved.sure or found.learning is False) and not found.advanced
    short = sure and moved.planned_path < MOVES and found.decided
    if short and found.poor(STILL_POOR if found.falling else SKILL):
        way = f"the layer that moved furthest moved by at most {moved.planned_path:.1g} of its size"
        evidence.append(Evidence(way, "turning_ratio", moved.planned_path, "of its size", MOVES))
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
            f"{capital(text)}; the direction alone is used. The layers move all the same.",
            tuple(evidence),
            remedy="nothing urgent; the learning rate now sets the length of a step by itself",
            references=REFERENCES,
        )
