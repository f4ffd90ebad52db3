"""Surprise: at birth a layer does something else to the signal or the gradient than its anatomy foretells.

A remark: weights that come from another training, are all the same, or were drawn with a mean do this, and so does a layer
whose numbers are not what its name says. Whether it harms, the other diagnoses tell; where the run has ended with less than
POOR, a fifth of what is to be had, it is an alarm, though no sure one. Bounds and how often random networks cross them:
``health.surprise``. Only the first look counts, as theory speaks of the weights as they were then.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.outcome import outcome
from isograd.health.surprise import Surprise, first, surprises
from isograd.records.anatomy import capital, spoken
from isograd.records.finding import Evidence, Finding

STEPS, POOR = 50, 0.2


def diagnose(case: Case) -> Iterator[Finding]:
    """The remark on the first layer that is not what theory says of it, forward and backward."""
    if not case.sampled or case.sampled[0].index > 1:
        return
    step = case.sampled[0].index
    signal, gradient = (
        {where: rows[0].value for where, rows in case.rows.get(name, {}).items() if rows and rows[0].step == step}
        for name in ("activation_rms", "gradient_rms")
    )
    for one in first(surprises(case.anatomy, case.expectations, signal, gradient)):
        yield _finding(one, step, harms=case.taken >= STEPS and case.ended and outcome(case).short_of(POOR))


def _finding(one: Surprise, step: int, *, harms: bool) -> Finding:
    what = "the signal" if one.of == "signal" else "the gradient on its way back"
    text = f"{what} comes out of {spoken(one.node.path)} {_times(one.measured)} as large as it went in; theory says "
    text += _times(one.foretold)
    return Finding(
        "surprise",
        "warning" if harms else "note",
        0.7 if harms else 0.9,
        one.node.path,
        f"{capital(text)}: this layer is not what its kind and the size of its weights say.",
        (
            Evidence(
                f"{text}, to within {100 * one.spread:.0f} % from its width",
                "activation_rms" if one.of == "signal" else "gradient_rms",
                one.measured,
                "of what came in",
                foretold=one.foretold,
            ),
        ),
        (one.node.path,),
        one.node.source,
        step,
        cause="weights that are not independent draws of mean zero (constant, loaded, tied to another layer), inputs that are "
        "far from Gaussian, or a layer that computes something else than its name says",
        references=("Poole et al. 2016, arXiv:1606.05340; Schoenholz et al. 2017, arXiv:1611.01232",),
    )


def _times(factor: float) -> str:
    return f"{factor:.2g} times"
