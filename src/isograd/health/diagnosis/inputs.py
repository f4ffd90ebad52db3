"""Inputs of unsuitable size: unscaled, far from zero, one feature in huge units, constant, empty or not finite.

A weight is born for inputs of unit size. Its gradient is the error times the input: where one column is s times as large as the
others, the curvature along its weights is s**2 times as large, and the one learning rate that the network has can serve either
it or the others (LeCun et al. 1998, section 4.3; the condition number of the Hessian of a linear layer is that of E[x x^T]).
Bounds:
  APART   one column spreads 100 times as far as the middle one: a condition number of 1e4 from the data alone
  OFFSET  a column's mean is 10 times its own neighbours' spread: condition number 1 + 10**2, all from the mean
          a batch 100 times the size of the middle one: single rows do the same. Of n rows a single wild one makes
          the largest number sqrt(n) times the rms, and so at least PEAK, twice as far above it as in the middle batch; a whole
          batch of another size is another task or another stage, with a scale of its own
  LARGE   inputs of rms 30 (pixels of 0..255 have 80 to 180): what the first layer gives is then 30 times too large
  HUGE    from 1,000 on it is said also where nothing tells how good the answers are
  POOR    each of these is only an alarm where the late answers are poor, below 0.5, or the loss became NaN or infinite: Adam
          and normalisation put up with much
  INDEX   the only input holds one single index in all looks, and nothing was learned (masks and segments, beside others, may)
Certain without an outcome: batches of nothing but one value, or in which all examples are alike.

Look-alikes that are healthy: trees of one-hot columns (rare ones spread little: the *largest* over the middle is what counts),
integer indices for an embedding, a few constant columns, bags of words (of which a batch has few), a network that opens with a
normalisation; the targets of a model that computes its loss itself, which are called inputs only where nothing else goes in.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.health.outcome import outcome
from isograd.records.anatomy import capital
from isograd.records.batch import Features, InputSample
from isograd.records.finding import Evidence, Finding, Severity

APART = 100.0
OFFSET = 10.0
LARGE = 30.0
HUGE = 1000.0
POOR = 0.5
LOOKS = 2
SEVERAL = 3
PEAK = 2.0
ENTRIES = 64
"""Indices from which one and the same is no chance."""
NOTHING = 0.1
"""Skill below which nothing came of them."""
REFERENCES = ("LeCun, Bottou, Orr & Mueller 1998, Efficient BackProp, section 4.3",)
WILD = "of the median batch"
_ROWS = (
    "look at the largest rows of that batch: a wrong unit, a code for what is missing (999, -1e9), a row that was not scaled; "
    "drop or clip them, or take the logarithm of amounts; and clip the gradient"
)
_SCALE = "standardise each column with the mean and deviation of the training part: x = (x - mean) / (std + 1e-8)"


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for each input that is of unsuitable size."""
    by_place: dict[tuple[str, int], list[tuple[int, InputSample]]] = {}
    seen = _without_targets(case)
    for step, sample in seen:
        if sample.where in ("", seen[0][1].where) or sample.where.isdigit():  # later parts are given what others made
            by_place.setdefault((sample.where, sample.position), []).append((step, sample))
    for looks in by_place.values():
        found = _empty(looks) or _one_index(case, looks, len(by_place)) or _alike(case, looks) or _size(case, looks)
        if found is not None:
            yield found


def _without_targets(case: Case) -> list[tuple[int, InputSample]]:
    """The inputs but for those that a loss inside of the model takes as its targets, where another goes in beside them."""
    found = []
    for step in case.steps:
        due = [one.target for one in step.losses if one.target is not None]
        apart = [sample for sample in step.inputs if sample.values not in due]
        found += [(step.index, sample) for sample in apart or step.inputs]
    return found


def _empty(looks: Sequence[tuple[int, InputSample]]) -> Finding | None:
    """Inputs that say nothing: every look holds one single value."""
    if len(looks) < LOOKS or any(sample.shape[:1] and sample.shape[0] < 2 for _, sample in looks):
        return None
    if any(sample.low != sample.high or sample.values.nonfinite for _, sample in looks):
        return None
    if len({sample.low for _, sample in looks}) > 1 or "int" in looks[0][1].dtype or math.prod(looks[0][1].shape) < 16:
        return None
    value = looks[0][1].low
    return Finding(
        "inputs",
        "warning",
        0.9,
        "data",
        f"Every number that the model was given is {value:g}, in all {len(looks)} batches looked at: nothing to learn from.",
        (Evidence(f"lowest and highest value are both {value:g}", "input_range", 0.0),),
        since=looks[0][0],
        remedy="print a batch just before the model: most often the data were scaled twice, masked or never filled in",
    )


def _one_index(case: Case, looks: Sequence[tuple[int, InputSample]], places: int) -> Finding | None:
    """Indices of a table that are all one and the same; another input beside it, or an answer, says that it is meant."""
    values = {(sample.low, sample.high) for _, sample in looks}
    entries = sum(math.prod(sample.shape) for _, sample in looks)
    if places > 1 or "int" not in looks[0][1].dtype or len(looks) < LOOKS or entries < ENTRIES or len(values) > 1:
        return None
    ((low, high),) = values
    if low != high or not case.ended or not outcome(case).poor(NOTHING):
        return None
    return Finding(
        "inputs",
        "critical",
        0.95,
        "data",
        f"Every index that the model was given is {low:g}, in all {len(looks)} batches looked at: all examples look the same "
        "to it, and nothing was learned.",
        (Evidence(f"lowest and highest index are both {low:g}", "input_range", 0.0),),
        since=looks[0][0],
        remedy="print a batch just before the model: words that the vocabulary does not know (case, spaces, another tokenizer) "
        "all become one index",
    )


def _alike(case: Case, looks: Sequence[tuple[int, InputSample]]) -> Finding | None:
    """Columns that are the same for all examples of a batch: all of them, or more than half where the answers are poor."""
    columns = [s.features for _, s in looks if s.features is not None and s.shape[0] >= curves.BATCH and s.features.count > 1]
    if len(columns) < 2:
        return None
    share = statistics.median(one.constant / one.count for one in columns)
    sparse = all(_sparse(sample) for _, sample in looks)
    if share < 1.0 and sparse:
        return None
    if share < 1.0 and not (share > 0.5 and outcome(case).short_of(POOR)):
        return None
    text = f"{100 * share:.0f} % of the {columns[0].count} columns of the input are the same for all examples of a batch"
    return Finding(
        "inputs",
        "warning",
        0.9 if share >= 1.0 else 0.75,
        "data",
        f"{text}: they say nothing of an example.",
        (Evidence(text, "constant_columns", share, "of the columns", 1.0),),
        since=looks[0][0],
        remedy="print a batch just before the model: a wrong axis, a mean in place of values, a fill with one value",
    )


def _sparse(sample: InputSample) -> bool:
    """Whether most numbers are zero and there are more columns than examples: words of a text, of which a batch has few."""
    wide = sample.features is not None and sample.features.count > sample.shape[0]
    return wide and sample.values.zeros > 0.5 * sample.values.count


def _size(case: Case, looks: Sequence[tuple[int, InputSample]]) -> Finding | None:
    sample = looks[0][1]
    if not sample.dtype.startswith(("float", "bfloat")) or _normalised(case):
        return None
    rms = statistics.median(one.values.rms for _, one in looks)
    columns = [one.features for _, one in looks if one.features is not None]
    found = _wild(looks) or _columns(columns) or _whole(rms, sample)
    if found is None:
        return None
    text, evidence = found
    single = evidence.unit == WILD
    broke = any(not math.isfinite(reading.value) for reading in case.series("loss"))
    harmed = broke or outcome(case).short_of(POOR) or (evidence.value >= HUGE and curves.main(case) is None)
    severity: Severity = "warning" if harmed else "note"
    came = "the loss broke" if broke else "the answers are poor or unknown"
    ending = f": one learning rate cannot serve it, and {came}" if harmed else ""
    return Finding(
        "inputs",
        severity,
        0.85 if harmed else 0.6,
        "data",
        f"{capital(text)}{ending}.",
        (evidence,),
        since=_largest(looks)[0] if single else looks[0][0],
        remedy=_ROWS if single else _SCALE,
        references=REFERENCES,
    )


def _wild(looks: Sequence[tuple[int, InputSample]]) -> tuple[str, Evidence] | None:
    """A batch many times the size of the others: some of its rows are."""
    usual = statistics.median(one.values.rms for _, one in looks)
    step, wild = _largest(looks)
    ratio = wild.values.rms / usual if usual > 0.0 else 0.0
    if len(looks) < SEVERAL or not APART <= ratio < math.inf:
        return None
    peak = statistics.median(one.values.largest / one.values.rms for _, one in looks if one.values.rms > 0.0)
    if wild.values.largest < PEAK * peak * wild.values.rms:
        return None
    text = f"the batch of step {step:,} holds numbers from {wild.low:.3g} to {wild.high:.3g}, {ratio:.3g} times the usual size"
    return text, Evidence(text, "input_rms", ratio, WILD, APART)


def _largest(looks: Sequence[tuple[int, InputSample]]) -> tuple[int, InputSample]:
    return max(looks, key=lambda look: look[1].values.rms)


def _columns(columns: Sequence[Features]) -> tuple[str, Evidence] | None:
    """One column in huge units, or columns that sit far from zero, in the middle of all looks."""
    varied = [one for one in columns if one.median > 0.0]
    if not varied or varied[0].count < 2:
        return None
    apart = statistics.median(one.largest / one.median for one in varied)
    if apart >= APART:
        at = statistics.mode(one.largest_at for one in varied)
        text = f"column {at} of the input spreads {apart:.3g} times as far as the middle one"
        return text, Evidence(text, "feature_spread", apart, "times the median deviation", APART)
    offset = statistics.median(one.offset for one in varied)
    if offset >= OFFSET:
        text = f"a column of the input sits {offset:.3g} deviations away from zero"
        return text, Evidence(text, "feature_offset", offset, "median deviations", OFFSET)
    return None


def _whole(rms: float, sample: InputSample) -> tuple[str, Evidence] | None:
    if not rms >= LARGE:
        return None
    text = f"inputs run from {sample.low:.4g} to {sample.high:.4g} (rms {rms:.3g}) where the first layer expects about 1"
    return text, Evidence(text, "input_rms", rms, "", LARGE)


def _normalised(case: Case) -> bool:
    """Whether the network opens with a normalisation, or with an embedding that takes indices."""
    for node in case.anatomy.nodes:
        if node.operation in ("norm", "embedding"):
            return True
        if node.operation in ("linear", "conv", "recurrent", "attention"):
            return False
    return False
