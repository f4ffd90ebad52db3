"""Labels that do not fit the loss: out of range, no distributions, none left after ignoring, or classes that never come.

Torch raises for most of them (``isograd.explain`` has those); what it takes silently:
  binary cross-entropy with targets outside of [0, 1] (-1 and 1, 1 and 2) has no least value: -t log p falls for ever
  cross-entropy with class probabilities that do not sum to 1: the mean of n rows over C classes is then not 1 / C. A remark;
  an alarm where the targets are zeros and ones, SEVERAL of them ones in an example and a DENSE part of all: of k labels the
  softmax can give none more than 1 / k, so that from 2 on all but one are answered below one half. Baskets and words, which
  are only ranked, are a few of many; so is what is given back (targets that are inputs) and what is no layer's output of one
  a class: products of two views, scores of a question's answers
  an index loss whose labels are all ignored is 0 / 0
  label smoothing s leaves the right class 1 - s + s / K: at SMOOTH (half) and more most of each label is noise. An alarm where
  answers stay poor (POOR); published uses lie between .1 and .3
  a margin loss takes 1 and -1: log(1 + exp(-t x)) and the hinge on a distance are the same for every x where t = 0, so that
  targets of 0 and 1, with no -1 among them, ask for one answer
  a Poisson likelihood exp(x) - t x (or x - t log x) has no least value where a count t is below 0
  classes that make up a tenth of an evaluation (SHARE) and never came in training are lost on the way there (a cast to bool,
  a filter): shuffled data of the same kind leave such a class out of LABELS, 200, labels with probability 0.9^200 = 7e-10;
  told when the run is decided, for where tasks follow one another they come later
These are arithmetic. OFTEN is from chance: at 20 looks a class on average, a class as frequent as the others stays unseen with
probability exp(-20); a rare one may, so that outputs without a class are a note.
Look-alikes that are healthy: soft labels and label smoothing (rows sum to 1), padding that is ignored, baskets that are ranked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.losses import BINARY, INDEXED, SHOWN, Use, copied, uses
from isograd.health.outcome import decided, outcome
from isograd.health.smoothing import smoothing_of
from isograd.records.batch import LossSample
from isograd.records.finding import Evidence, Finding, Severity

SMOOTH, POOR = 0.5, 0.75
MARGIN = {"soft_margin_loss": "The soft margin loss", "hinge_embedding_loss": "The hinge embedding loss"}
SEVERAL, DENSE = 1.5, 0.1
LABELS, SHARE, ASKED = 200, 0.1, 100
OFTEN = 20
MANY = 1_000
"""Classes above which some are rare by nature (words)."""


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for each loss of the program whose labels do not fit."""
    for use in uses(case):
        wrong: Finding | None = None
        if use.last.function in MARGIN:
            wrong = _margin(use)
        elif use.last.function == "poisson_nll_loss":
            wrong = _counts(use)
        elif use.last.function in BINARY:
            wrong = _binary(use)
        elif use.last.function in INDEXED:
            wrong = _distributions(case, use) if use.last.target_shape == use.last.output_shape else _indices(use)
            if wrong is None or wrong.severity == "note":
                wrong = _smoothed(case, use) or _lost(case, use) or wrong
        if wrong is not None:
            yield wrong


def _binary(use: Use) -> Finding | None:
    low = min((look.target_range[0] for look in use.looks), default=0.0)
    high = max((look.target_range[1] for look in use.looks), default=1.0)
    if low >= -1e-6 and high <= 1.0 + 1e-6:
        return None
    hopeless = low >= 1.0 - 1e-6 or high <= 1e-6
    more = "No target says the contrary, so that the same answer is best for all. " if hopeless else ""
    return _finding(
        use,
        "critical" if hopeless else "warning",
        f"{SHOWN[use.last.function].capitalize()} takes targets between 0 and 1 and was given {low:g} to {high:g}: the loss "
        f"has no least value and falls for ever while the outputs grow. {more}".rstrip(),
        Evidence("the target farthest outside", "target_range", *((low, "", 0.0) if low < -1e-6 else (high, "", 1.0))),
        _to_unit(low, high),
    )


def _margin(use: Use) -> Finding | None:
    low = min((look.target_range[0] for look in use.looks), default=-1.0)
    high = max((look.target_range[1] for look in use.looks), default=1.0)
    if low != 0.0 or high != 1.0:
        return None
    return _finding(
        use,
        "critical",
        f"{MARGIN[use.last.function]} takes targets of 1 and -1 and was given 0 to 1: what has the target 0 adds a constant "
        "and no gradient, and all the rest is asked for the same answer.",
        Evidence("the lowest target", "target_range", low, bound=-1.0),
        "target = 2 * target - 1, or F.binary_cross_entropy_with_logits(output, target)",
    )


def _counts(use: Use) -> Finding | None:
    low = min((look.target_range[0] for look in use.looks), default=0.0)
    if not low < 0.0:
        return None
    return _finding(
        use,
        "warning",
        f"The Poisson likelihood (poisson_nll_loss) takes counts, 0 or more, and was given {low:.3g}: there its loss has no "
        "least value and falls for ever.",
        Evidence("the lowest target", "target_range", low, bound=0.0),
        "the counts as they are, not standardised; for other numbers F.mse_loss(output, target) or F.gaussian_nll_loss",
    )


def _to_unit(low: float, high: float) -> str:
    if (low, high) == (-1.0, 1.0):
        return "target = (target + 1) / 2"
    return "target = target - 1" if (low, high) == (1.0, 2.0) else "target = (target > threshold).float()"


def _indices(use: Use) -> Finding | None:
    low = min(look.target_range[0] for look in use.looks)
    high = max(look.target_range[1] for look in use.looks)
    if use.outputs > 0 and high >= use.outputs and len(use.last.output_shape) > 1:
        return _finding(
            use,
            "critical",
            f"The labels go up to {high:g} and there are {use.outputs} outputs, for the classes 0 to {use.outputs - 1}.",
            Evidence("the largest label", "target_range", high, bound=float(use.outputs - 1)),
            f"labels that count from 0, or a last layer with {int(high) + 1} outputs",
        )
    if high < 0 and all(look.target_range[1] < 0 for look in use.looks):
        return _finding(
            use,
            "critical",
            f"Every label is {low:g}, which is ignored: there is nothing to learn from, and the loss is 0 / 0.",
            Evidence("the largest label", "target_range", high, bound=0.0),
            "give the loss the labels themselves; ignore_index is for padding",
        )
    return _unseen(use)


def _unseen(use: Use) -> Finding | None:
    seen = [0] * use.outputs
    for look in use.looks:
        if len(look.classes) != use.outputs:
            return None
        seen = [a + b for a, b in zip(seen, look.classes, strict=True)]
    never = [label for label, count in enumerate(seen) if not count]
    if not never or use.outputs > MANY or sum(seen) < OFTEN * use.outputs or len(never) == use.outputs - 1:
        return None
    which = ", ".join(map(str, never[:5])) + (", ..." if len(never) > 5 else "")
    return _finding(
        use,
        "note",
        f"There are {use.outputs} outputs, and {len(never)} of their classes ({which}) never came in {sum(seen):,} labels.",
        Evidence("classes without a label", "classes", float(len(never)), bound=0.0),
        f"a last layer with {use.outputs - len(never)} outputs, if there are no more classes; labels that count from 0",
    )


def _smoothed(case: Case, use: Use) -> Finding | None:
    told = [look for look in use.looks if look.floor is not None and any(look.classes)]
    spread = smoothing_of(told) if told and len(use.last.output_shape) > 1 else None
    if spread is None or spread < SMOOTH or use.outputs < 2:
        return None
    right, other = 1.0 - spread + spread / use.outputs, spread / use.outputs
    return _finding(
        use,
        "warning" if outcome(case).short_of(POOR) else "note",
        f"Label smoothing of {spread:.2g} leaves the right class a target of {right:.2g}, where each other has {other:.2g}: "
        "most of what a label says is gone.",
        Evidence("label smoothing", "floor", spread, "", SMOOTH),
        "label_smoothing=0.1, or none",
    )


def _lost(case: Case, use: Use) -> Finding | None:
    """Classes that evaluations ask for and training never had."""
    labels = [look.classes for look in use.looks if look.classes]
    seen = {place for counts in labels for place, count in enumerate(counts) if count}
    tried = [one for step in case.steps for one in step.evaluations if sum(one.classes) >= ASKED]
    if not decided(case) or sum(map(sum, labels)) < LABELS or len(seen) < 2 or not tried:
        return None
    last, total = tried[-1], sum(tried[-1].classes)
    lost = [place for place, count in enumerate(last.classes) if place not in seen and count >= SHARE * total]
    if not lost:
        return None
    share = sum(last.classes[place] for place in lost) / total
    text = f"{100 * share:.0f} % of the labels of an evaluation are of a class that never came in training"
    return _finding(
        use,
        "warning",
        f"The evaluation asks for class {', '.join(map(str, lost[:5]))}{', ...' if len(lost) > 5 else ''}, which never came in "
        f"{sum(map(sum, labels)):,} labels of training ({text}).",
        Evidence(text, "majority_rate", share, "of the labels", 0.0),
        "look at how the training labels are made: a cast to bool leaves 0 and 1, a filter or a slice may leave classes out",
    )


def _distributions(case: Case, use: Use) -> Finding | None:
    means = [look.target.mean * use.outputs for look in use.looks if look.target is not None and look.target.count]
    low = min((look.target_range[0] for look in use.looks), default=0.0)
    if not means or use.outputs < 2 or not use.last.target_dtype.startswith(("float", "bfloat")):
        return None
    total = max(means, key=lambda mean: abs(mean - 1.0))
    if abs(total - 1.0) <= 2e-2 and low >= -1e-3:
        return None
    several = (
        _of_a_layer(case, use) and total >= SEVERAL and total >= DENSE * use.outputs and all(map(_is_multi_hot, use.looks))
    )
    severity: Severity = "warning" if low < -1e-3 or not math.isfinite(total) or several else "note"
    fault = f"the smallest is {low:.3g}" if low < -1e-3 else f"they sum to {total:.3g} an example on average"
    if several:
        fault += f", so that no label of them can be given more than {1.0 / total:.2g} and none of the others be denied"
    return _finding(
        use,
        severity,
        f"{SHOWN[use.last.function].capitalize()} with targets of the shape of the outputs takes probabilities of the classes; "
        f"{fault}.",
        Evidence("sum of the targets of an example, on average", "target", total, bound=1.0),
        "class indices, or targets that are at least 0 and sum to 1; for several labels at once "
        "F.binary_cross_entropy_with_logits(output, target)",
    )


def _of_a_layer(case: Case, use: Use) -> bool:
    """Whether the outputs are those of a layer with one a class: no table of pairs, scores of a list or baskets given back."""
    shape, layers = use.last.output_shape, [node for node in case.anatomy.nodes if node.operation in ("linear", "conv")]
    wide = not layers or any(use.outputs in node.shape for node in layers)
    return use.plain.last.base in ("linear", "conv") and wide and shape[:1] != shape[1:2] and not copied(case, case.losses)


def _is_multi_hot(look: LossSample) -> bool:
    """Whether the targets are zeros and ones."""
    target = look.target
    return target is not None and look.target_range == (0.0, 1.0) and math.isclose(target.rms**2, target.mean, rel_tol=1e-6)


def _finding(use: Use, severity: Severity, summary: str, evidence: Evidence, remedy: str) -> Finding:
    return Finding(
        "labels_misfit",
        severity,
        0.97,
        "loss",
        summary,
        (evidence,),
        source=use.last.source,
        since=use.since,
        cause="the labels are not of the form that the loss takes",
        remedy=remedy,
        references=("Humbatova et al. 2020, Taxonomy of real faults in deep learning systems, arXiv:1910.11015",),
    )
