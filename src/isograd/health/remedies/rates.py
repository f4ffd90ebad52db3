r"""Learning rates from what real steps did: the rate at which a step moves the weights as much as steps of sound trainings do.

Where the median matrix moves by r = |update| / |weight| a step, and the step is proportional to the rate (SGD, and Adam, whose
step is the rate whatever the gradient), the rate that moves it by USUAL is rate * USUAL / r. A ratio within TOLERANCE of the
usual says nothing. Where the first steps moved the weights by WILD of their size, those steps speak: what comes after is small
because they left huge weights or dead units behind, and would ask for a higher rate still. Source of the usual: You et al.
2017, arXiv:1708.03888; benchmarks/healthy hold 1e-4 to 1e-2.

Adam steps on pure noise too: with gradients that agree in nothing its first moment is sqrt((1 - beta1) / (1 + beta1)) of the
root of its second, and a step that share of the rate, .23 for .9. Steps of STALE of the rate are not its own: the second
moments are those of gradients ten times as large, of another loss or of a burst before a checkpoint, and 1 / (1 - beta2) steps
go by before they fade. An optimizer that begins with a memory may forget it there; the last SETTLED looks are asked, as the
first moment that came with it is gone by then (Kingma & Ba 2015, arXiv:1412.6980, section 3).

Decays are proposed where a run is seen to have learned what does not serve others: its skill on what it trained on is LEARNED
or more, and of that less than KEPT is left on other examples. Weights that shrink by rate times decay a step are a mean of the
last 1 / (rate * decay) updates; that time should be between one pass through the examples and the whole run (Wang & Aitchison
2024, arXiv:2405.13698): one pass and PASSES of them are tried, SHORTEST steps at least. Beside the gradient and not in it, as
Adam divides what is in it by the size of the gradient (Loshchilov & Hutter 2019, arXiv:1711.05101). By the sign where inputs
are many for the examples, fewer than ENOUGH a feature (Peduzzi et al. 1996, J Clin Epidemiol 49): what no decay of squares can
do, to leave most features out, takes examples by the logarithm of their number alone (Ng 2004, ICML, theorem 3.1).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence

from isograd.health.case import Case, late
from isograd.health.present import Present
from isograd.records.edit import Edit
from isograd.records.finding import Evidence, Finding

USUAL, TOLERANCE, FARTHEST = 2e-3, 5.0, 1e4
WILD, FIRST = 0.5, 2
TINY, TOGETHER = 8.0, 32.0
"""Examples a step that are few, and those whose mean gradient a step takes instead."""
ADAM_LIKE = ("adam", "adamw", "nadam", "radam", "adamax")
RATE = 3e-3
"""Adam's rate at which the references of harm learn best in a few hundred steps."""
STALE, SETTLED = 0.023, 5
LEARNED, KEPT = 0.5, 0.5
PASSES, SHORTEST, ENOUGH = 4.0, 10.0, 10.0
SIGNS = (1e-2, 3e-2, 3e-3)
"""Decays by sign under targets of deviation 1: some of what a standardised feature of no use has as a gradient, by chance, in
some hundred examples, which is sqrt(2 log p / n) of the deviation of the errors for p features and n examples."""
SCALE = 1024.0
"""Of the loss in float16: its smallest number is 2^-24, and gradients of sound networks are some 1e-6 an entry."""


def candidates(case: Case, present: Present) -> Iterator[tuple[Edit, str]]:
    """The rate that real steps ask for, a gentle start and end; gradients of more examples, or scaled, where they need it."""
    rate = standing_rate(present)
    if rate is None or rate <= 0.0:
        return
    ratio = update_ratio(case)
    if ratio is not None and not 1.0 / TOLERANCE <= ratio / USUAL <= TOLERANCE:
        factor = min(FARTHEST, max(1.0 / FARTHEST, USUAL / ratio))
        yield (
            Edit("learning_rate", rounded(rate * factor), before=rate),
            f"a step moves weights by {ratio:.0e} of their size",
        )
    moved = _typical([one.value for one in series[-SETTLED:]] for series in case.rows.get("update_rms", {}).values())
    if present.word("algorithm") in ADAM_LIKE and moved is not None and moved < STALE * rate:
        yield Edit("reset_state"), f"a step is {moved / rate:.1g} of the rate: the moments are of larger gradients"
    planned = present.loop.steps
    if planned and planned >= 100:
        yield Edit("warm_up", float(max(10, planned // 10))), "a gentle start"
        if not present.loop.rates:
            yield Edit("schedule", "cosine"), "small steps at the end"
    size = present.number("batch_size")
    if size is not None and 0.0 < size < TINY:
        yield Edit("accumulate", float(math.ceil(TOGETHER / size))), f"steps on {size:.0f} examples follow their noise"
    if case.anatomy.dtype == "float16":
        yield Edit("loss_scale", SCALE), "gradients below 6e-8 are nothing in float16"
    yield from _decays(case, present)


def _decays(case: Case, present: Present) -> Iterator[tuple[Edit, str]]:
    """Decays, where the run has learned by heart; nothing where that was not looked at."""
    rate, epoch = standing_rate(present), present.number("epoch")
    if not by_heart(present) or not rate or not epoch:
        return
    features = _features(case)
    if features * ENOUGH > epoch * (present.number("batch_size") or 1.0):
        scale = present.number("target_scale") or 1.0
        for value in SIGNS:
            yield Edit("decay_l1", float(f"{value * scale:.1g}")), f"{features:,} features, most of which may say nothing"
    for passes in (1.0, PASSES):
        steps = max(SHORTEST, passes * epoch)
        yield Edit("decay_decoupled", rounded(1.0 / (rate * steps))), f"weights that are a mean of the last {steps:.0f} steps"


def by_heart(present: Present) -> bool:
    """Whether what was learned does not serve others.

    >>> known = Present("dense", 2, 8.0, numbers=(("own", 1.0), ("held", 0.2)))
    >>> by_heart(known), by_heart(known.having("held", 0.6)), by_heart(known.having("own", 0.3))
    (True, False, False)
    """
    own, held = present.number("own"), present.number("held")
    return own is not None and held is not None and own >= LEARNED and held < KEPT * own


def finding(present: Present) -> tuple[Finding, ...]:
    """That the run has learned by heart, as a remark that speaks for these edits."""
    if not by_heart(present):
        return ()
    own, held = present.number("own") or 0.0, present.number("held") or 0.0
    said = f"What it was trained on it answers with a skill of {own:.2f}, other examples with one of {max(held, 0.0):.2f}."
    evidence = Evidence(f"skill on its own examples: {own:.2f}; on others: {held:.2f}", "skill", held, "", KEPT * own)
    return (Finding("overfitting", "note", 0.85, "loop", said, (evidence,)),)


def _features(case: Case) -> int:
    """The features of an example that is a row of numbers; of all else 0: there one weight reads many of them."""
    rows = [sample for _, sample in case.inputs if sample.position == 0 and sample.dtype.startswith("float")]
    return rows[0].shape[1] if rows and len(rows[0].shape) == 2 else 0


def update_ratio(case: Case) -> float | None:
    """Median over the matrices of how far a real step moves them; None where nothing was seen.

    Of the FIRST steps where they were wild, otherwise late in what was looked at.
    """
    names = {parameter.name for parameter in case.anatomy.matrices}
    every = [series for name, series in case.rows.get("update_ratio", {}).items() if name in names]
    first = _typical([[reading.value for reading in series if reading.step <= FIRST] for series in every])
    return first if first is not None and first >= WILD else _typical([late(series) for series in every])


def _typical(values: Iterable[Sequence[float]]) -> float | None:
    """Median over the matrices of the median of each, of what is a number above 0."""
    medians = [statistics.median(seen) for one in values if (seen := [v for v in one if math.isfinite(v) and v > 0.0])]
    return statistics.median(medians) if medians else None


def rounded(value: float) -> float:
    """To one digit: 1, 2, 3 or 5 times a power of ten, as people write rates.

    >>> rounded(0.0237), rounded(6e-5), rounded(1.1)
    (0.02, 5e-05, 1.0)
    """
    power = math.floor(math.log10(value))
    choices = [digit * 10.0**place for place in (power, power + 1) for digit in (1.0, 2.0, 3.0, 5.0)]
    return float(f"{min(choices, key=lambda one: abs(math.log(one / value))):.1g}")


def to_adam(present: Present) -> Edit | None:
    """Adam in place of whatever steps now; None where that is Adam or its like.

    Steps that do not grow with the gradient are not yet its kind: those of AdaGrad shrink with their number, and at a rate
    that suits Adam they are soon nothing (Duchi et al. 2011, section 1.1: the sum of all squares so far).

    >>> [to_adam(Present("dense", 2, 8.0, words=(("algorithm", name),))) is None for name in ("adamw", "adagrad")]
    [True, False]
    """
    standing = present.word("algorithm") or present.word("optimizer")
    return None if standing in (*ADAM_LIKE, "adaptive") else Edit("optimizer", "adam", before=standing or None)


def standing_rate(present: Present) -> float | None:
    """The rate as it stands in the optimizer: ``Present`` has that of SGD over 1 - momentum."""
    effective, momentum = present.number("learning_rate"), present.number("momentum") or 0.0
    if effective is None or present.word("optimizer") == "adaptive" or momentum >= 1.0:
        return effective
    return effective * (1.0 - momentum)
