"""Batch size far from the gradient noise scale: steps that are nearly pure noise, or examples that are spent for nothing.

The noise scale B_noise is the batch at which signal and noise of the gradient are equal (``signals.steps.noise_scale``). From
theory, a batch B needs (1 + B_noise / B) times the steps of a noiseless run, and (1 + B / B_noise) times the examples of an
ideal one.
  SMALL   B_noise above 100 batches in the median of the looks: a step is 99 % noise. That is how much training ends, and is
          healthy with a small rate; an alarm only for batches of at most 4 (there above 10) where nothing was learned
  ONE     batches of one example whose training has ended below half of what is to be had: an alarm, whatever the estimate says
          (a single example has no spread, so it is the agreement of steps that tells, and of few looks it tells little).
          Not where the network is barred from learning more by what it is made of (``underfitting``): no batch would help it
  LARGE   B above 100 B_noise: a remark, for it costs time and no quality
An estimate from few looks is coarse; at least 6 are asked for.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.diagnosis.underfitting import barred
from isograd.health.outcome import outcome
from isograd.records.anatomy import capital
from isograd.records.finding import Evidence, Finding

FAR, NOISY = 100.0, 10.0
LOOKS = 6
TINY = 4.0
STEPS = 100
POOR = 0.5
REFERENCES = ("McCandlish et al. 2018, An empirical model of large-batch training, arXiv:1812.06162",)


def diagnose(case: Case) -> Iterator[Finding]:
    """A remark on a batch far from the noise scale; an alarm where a tiny one keeps the network from learning."""
    scales = [r.value for r in case.series("noise_scale")]
    batches = [r.value for r in case.series("batch")]
    batch = statistics.median(batches) if batches else math.inf
    scale = statistics.median(scales) if len(scales) >= LOOKS else math.nan
    free = batch > TINY or barred(case.anatomy) is None
    judged = outcome(case) if batch <= 1.0 and free else None
    if judged is not None and case.ended and case.taken >= STEPS and judged.poor(POOR):
        yield _one(judged.skill or 0.0, scale)
        return
    if math.isnan(scale):
        return
    many = "far more" if math.isinf(scale) else f"about {scale:,.0f}"
    held = "1 example" if batch == 1.0 else f"{batch:,.0f} examples"
    tiny = batch <= TINY and scale > NOISY * batch
    if scale > FAR * batch or tiny:
        found = outcome(case)
        harm = tiny and free and found.decided and found.learning is False
        text = f"batches hold {held}, and the gradient's noise equals its signal only at {many} examples"
        yield Finding(
            "batch_size",
            "warning" if harm else "note",
            0.75,
            "loop",
            f"{capital(text)}: a step is nearly pure noise" + (", and nothing is learned." if harm else "."),
            (Evidence(text, "noise_scale", scale, "examples", FAR * batch),),
            remedy="a batch of 32 or more, or a learning rate that is as many times lower",
            references=REFERENCES,
        )
    elif batch > FAR * max(scale, 1.0):
        text = f"batches hold {held}, and the gradient's noise equals its signal at {many} examples"
        yield Finding(
            "batch_size",
            "note",
            0.7,
            "loop",
            f"{capital(text)}: smaller batches would learn as much in a step.",
            (Evidence(text, "noise_scale", scale, "examples", batch / FAR),),
            remedy="smaller batches and more steps for the same number of examples",
            references=REFERENCES,
        )


def _one(skill: float, scale: float) -> Finding:
    noise = () if math.isnan(scale) else (Evidence("the gradient's noise scale", "noise_scale", scale, "examples", 1.0),)
    return Finding(
        "batch_size",
        "warning",
        0.75,
        "loop",
        f"Every step sees a single example, and the training ends at a skill of {skill:.2f} (0: a constant answer): a step "
        "follows its example and not the data.",
        (Evidence("examples in a batch", "batch", 1.0, "examples", 2.0), Evidence("skill", "skill", skill, "", POOR), *noise),
        remedy="a batch of 16 or more, or a learning rate that is as many times lower and as many times the steps",
        references=REFERENCES,
    )
