"""Batch size far from the gradient noise scale: steps that are nearly pure noise, or examples that are spent for nothing.

The noise scale B_noise is the batch at which signal and noise of the gradient are equal (``signals.steps.noise_scale``). From
theory, a batch B needs (1 + B_noise / B) times the steps of a noiseless run, and (1 + B / B_noise) times the examples of an
ideal one.
  SMALL   B_noise above 100 batches in the median of the looks: a step is 99 % noise. That is how much training ends, and is
          healthy with a small rate; an alarm only for batches of at most 4 (there above 10) where nothing was learned
  LARGE   B above 100 B_noise: a remark, for it costs time and no quality
An estimate from few looks is coarse; at least 6 are asked for.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.outcome import outcome
from isograd.records.anatomy import capital
from isograd.records.finding import Evidence, Finding

FAR, NOISY = 100.0, 10.0
LOOKS = 6
TINY = 4.0
REFERENCES = ("McCandlish et al. 2018, An empirical model of large-batch training, arXiv:1812.06162",)


def diagnose(case: Case) -> Iterator[Finding]:
    """A remark on a batch far from the noise scale; an alarm where a tiny one keeps the network from learning."""
    scales = [r.value for r in case.series("noise_scale")]
    batches = [r.value for r in case.series("batch")]
    if len(scales) < LOOKS:
        return
    scale, batch = statistics.median(scales), statistics.median(batches)
    many = "far more" if math.isinf(scale) else f"about {scale:,.0f}"
    tiny = batch <= TINY and scale > NOISY * batch
    if scale > FAR * batch or tiny:
        found = outcome(case)
        harm = tiny and found.decided and found.learning is False
        text = f"batches hold {batch:,.0f} examples, and the gradient's noise equals its signal only at {many} examples"
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
        text = f"batches hold {batch:,.0f} examples, and the gradient's noise equals its signal at {many} examples"
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
