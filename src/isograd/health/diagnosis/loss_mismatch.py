"""Loss mismatch: the head of the network is not what the loss takes: softmax twice, logits for probabilities, a log missing.

All of it is read from the program, so no bound is calibrated. What it costs follows from what each loss can reach:
  cross-entropy over C outputs squeezed into [a, b] stays above log(1 + (C - 1) e^(a - b)), whatever squeezes (a clamp, too)
  binary cross-entropy of logits from a up stays above log(1 + e^a) for every negative example (a = 0: log 2), up to b above
  log(1 + e^-b) for every positive one
  the likelihood of what is no logarithm of a probability has no least value: it falls for ever and says nothing
The program is wrong whatever it costs; a network often learns nonetheless, so that is a warning. Critical is only what cuts the
gradient off: a softmax over one output, cross-entropy over one class.

Three more are read off the program: training on minus a loss that has a least value (critical: it can only get worse, unless
the optimizer maximises), an update written by hand that adds the gradient of such a loss, and training on the plain mean of
differences, whose gradient does not know the targets. And two are a note that becomes a warning only where the training comes
to nothing: class indices as numbers (they may be counts or grades), absolute errors on one-hot targets (their best constant
answer is no class at all). Class indices as numbers are a warning at once where the last layer has as many units as there are
kinds of targets, 0 to C - 1, and one number an example is compared with them; and at the end of a run that is not good where
0 to C - 1 are equally frequent, as counts and grades are not.

A log_softmax before a likelihood, or a sigmoid before binary cross-entropy, belongs to the loss: what counts is what is before.

Look-alikes that are healthy: log_softmax before cross-entropy (it changes nothing); logarithms of probabilities; a softmax for
a metric (no backward pass begins there); logits clipped as 10 tanh(x) (the last function is the factor). Where the head does
not stand on a layer (a mixture of experts), or the loss is weighted example by example (policy gradients), it is a note.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from isograd.health.case import Case
from isograd.health.looks import holds, lasting
from isograd.health.losses import BINARY, REGRESSION, SHOWN, Use, ranks_the_batch, sums_to_one, uses
from isograd.health.outcome import outcome
from isograd.records.anatomy import capital, spoken
from isograd.records.fact import Fact
from isograd.records.finding import Evidence, Finding, Severity

COSTS = 0.05
"""Part of an ignorant answer's loss that every example pays for what the head cannot put out, from which it is told: a tanh
costs 0.18 and more of it; a clamp at 6 on either side 0.004."""

UNARY = ("relu", "sigmoid", "tanh", "leaky_relu", "gelu", "silu", "elu", "softplus", "clamp")
"""Functions that leave numbers which are neither probabilities nor their logarithms."""

SURE = 0.97
OFTEN = 5
"""Labels of each class from which whole numbers look like classes."""
SILENT = 0.97
"""Part of the loss of the best constant answer (0 everywhere) from which absolute errors have taught nothing else."""
STEPS = 100
POOR, FAIR = 0.3, 0.9
"""Skills below which a training came to little, and below which it matters that classes are fitted as amounts."""
MANY = 5
"""Kinds of targets from which whole numbers in equal shares are hardly amounts: counts and grades crowd in the middle."""


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for each loss of the program whose head does not fit it."""
    axes = {fact.where: (step, fact) for step, fact in reversed(case.facts("softmax_axis"))}
    for use in uses(case):
        over = axes.get(use.last.head_where) or (next(iter(axes.values()), None) if not use.last.head_where else None)
        wrong = _sign(case, use) or _ascends(case, use) or _axis(use, over) or _of(case, use.plain)
        if wrong is not None:
            yield wrong


def _of(case: Case, use: Use) -> Finding | None:
    function = use.last.function
    if function == "difference":
        return _difference(use)
    if function in REGRESSION:
        return _numbers(case, use)
    if function == "cross_entropy":
        return _cross_entropy(use)
    if function in ("nll_loss", "kl_div"):
        return _likelihood(use)
    return _binary(use) if function in BINARY else None


def _axis(use: Use, known: tuple[int, Fact] | None) -> Finding | None:
    """A softmax over the examples, or over a single output."""
    name = next((name for name in use.last.head if name in ("softmax", "log_softmax")), None)
    if known is None or name is None or ranks_the_batch(use.last):
        return None
    _, fact = known
    axis, size = int(fact.get("axis", 0)), int(fact.get("size", 0))
    at = f"at {spoken(fact.where)}" if fact.where else "before the loss"
    if size == 1:
        value = "0" if name == "log_softmax" else "1"
        return _finding(
            use,
            "critical",
            f"The {name} {at} runs over a single output, so that it gives {value} whatever the network says: "
            "no gradient passes and nothing is learned.",
            Evidence(f"axis {axis} has {size} entry", "softmax_axis", float(size), bound=2.0),
            "return the output as it is and use nn.BCEWithLogitsLoss(), or give the last layer one output a class",
        )
    return _finding(
        use,
        "warning",
        f"The {name} {at} runs over axis {axis}, the {size} examples of the batch, and not over the "
        f"{use.outputs} classes: each answer depends on the other examples.",
        Evidence(f"axis {axis} has {size} entries, the examples", "softmax_axis", float(axis), bound=1.0),
        f"{name}(..., dim=1)"
        if name == "log_softmax" or use.last.function == "nll_loss"
        else "no softmax before cross-entropy; elsewhere softmax(..., dim=1)",
    )


def _sign(case: Case, use: Use) -> Finding | None:
    """Gradient descent on minus the only loss of the program, or ascent on the loss itself."""
    optimizer = case.anatomy.optimizer
    up = optimizer is not None and bool(optimizer.get("maximize", False))
    alone = all(sum(sample.training for sample in step.losses) <= 1 for step in case.steps)
    if any(look.negated is up for look in use.looks) or use.last.function not in SHOWN or not alone:
        return None
    begins = "The optimizer maximizes" if up else "The backward pass begins with minus"
    return _finding(
        use,
        "critical",
        f"{begins} {SHOWN[use.last.function]}: every step makes the loss larger.",
        Evidence("the loss itself, before its sign was turned", "loss", use.last.value or math.nan),
        "maximize=False, which is the default" if up else "loss.backward() without the minus",
    )


def _ascends(case: Case, use: Use) -> Finding | None:
    """Steps made by hand that add the gradient of a loss whose least value is wanted."""
    found = lasting(case, "ascends").get("loop")
    if found is None or not holds(found, case) or use.last.function not in SHOWN or use.last.negated:
        return None
    cosine = float(found.fact.get("cosine", 1.0))
    wrong = _finding(
        use,
        "critical",
        f"Every step goes up the gradient of {SHOWN[use.last.function]}, which makes the loss larger.",
        Evidence(f"cosine of update and gradient: {cosine:.2f}, where descent has -1", "update_turn", cosine, bound=0.0),
        "subtract: with torch.no_grad(): p -= lr * p.grad",
    )
    return replace(wrong, where="loop", cause="the update written by hand adds the gradient")


def _difference(use: Use) -> Finding:
    return _finding(
        use,
        "warning",
        "The loss is the plain mean of outputs less targets: differences above and below cancel, and the gradient is the same "
        "whatever the targets are.",
        Evidence("the loss, which has no least value", "loss", use.last.value or math.nan),
        "loss = F.mse_loss(output, target)",
    )


def _numbers(case: Case, use: Use) -> Finding | None:
    """Errors of numbers where classes are meant."""
    one = _one_output_a_class(case, use)
    if one is not None:
        return one
    counts = [sum(column) for column in zip(*(look.classes for look in use.looks), strict=False)]
    kinds = [count for count in counts if count]
    if len(kinds) < 3 or min(kinds) < OFTEN:
        return None
    judged = outcome(case)
    over = judged.share is not None and judged.share >= 1.0
    amounts = use.last.hits < 0 and _crowded(counts)
    severity: Severity = "warning" if over and judged.poor(POOR) and not amounts else "note"
    if use.last.hits < 0:
        alike = _evenly(counts) and _single(use)
        if alike and over and judged.poor(FAIR):
            severity = "warning"
        which = f"{len(kinds)} kinds" + (", 0 to one less, of each about as many" if alike else "")
        return _finding(
            use,
            severity,
            f"The targets are whole numbers of {which}, and the loss takes them for amounts. "
            f"{'They look like classes' if alike else 'If they are classes'}: class 2 is not the middle of 1 and 3."
            f"{' They crowd around one of them, as counts and grades do.' if amounts else ''}",
            Evidence("kinds of targets", "classes", float(len(kinds)), bound=3.0),
            "for counts F.poisson_nll_loss(output, target)"
            if amounts
            else "for classes: a last layer with one output a class, and loss = F.cross_entropy(output, target.long())",
        )
    if use.last.function != "l1_loss":
        return None
    silent = judged.floor is not None and judged.late is not None and judged.late >= SILENT * judged.floor
    if judged.share is not None and judged.share >= 1.0 and case.taken >= STEPS and silent:
        severity = "warning"
    return _finding(
        use,
        severity,
        f"Under an absolute error the best answer to an uncertain example of {len(kinds)} classes is 0 everywhere, no class.",
        Evidence("classes, one each", "classes", float(len(kinds)), bound=3.0),
        "loss = F.cross_entropy(output, target.argmax(1))",
    )


def _one_output_a_class(case: Case, use: Use) -> Finding | None:
    """One whole number for each example, of as many kinds as the last layer has units: those were made to be classes.

    The outputs were brought to one number an example on their way to the loss, so that the units cannot stand apart.
    """
    counts = [sum(column) for column in zip(*(look.classes for look in use.looks), strict=False)]
    last = next((node for node in reversed(case.anatomy.nodes) if node.operation in ("linear", "conv")), None)
    units = int(last.get("fan_out", 0)) if last is not None else 0
    if last is None or use.last.hits >= 0 or not _single(use) or units < 2 or units != len(counts) or min(counts) < OFTEN:
        return None
    return _finding(
        use,
        "warning",
        f"The last layer has {units} units and the targets are the whole numbers 0 to {units - 1}, classes by all appearance; "
        f"but {SHOWN[use.last.function]} compares one number an example with them, and the units cannot stand for classes.",
        Evidence("units of the last layer, and kinds of targets", "classes", float(units), bound=float(len(counts))),
        "loss = F.cross_entropy(output, target.long()) on all outputs of the last layer",
    )


def _single(use: Use) -> bool:
    """Whether one number an example is asked for."""
    shape = use.last.target_shape
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def _evenly(counts: Sequence[int]) -> bool:
    """Whether 0, 1, ... are about equally frequent, by Pearson's statistic, at most 3 deviations above its mean."""
    each = sum(counts) / len(counts)
    if len(counts) < MANY or each < 2 * OFTEN:
        return False
    statistic = sum((count - each) ** 2 for count in counts) / each
    return statistic <= len(counts) - 1 + 3.0 * math.sqrt(2.0 * (len(counts) - 1))


def _crowded(counts: Sequence[int]) -> bool:
    """Whether the frequencies of 0, 1, ... rise to one peak and fall from there, beyond noise (two standard errors), as those
    of counts do. Classes in any order do so too by chance: of five kinds 16 of 120 orders.
    """
    peak = max(range(len(counts)), key=lambda place: counts[place])
    sides = (counts[: peak + 1], counts[: peak - 1 if peak else None : -1])
    steps = [(lower, upper) for side in sides for lower, upper in itertools.pairwise(side)]
    return sum(map(bool, counts)) >= MANY and all(a <= b + 2.0 * math.sqrt(a + b) for a, b in steps) and not _evenly(counts)


def _cross_entropy(use: Use) -> Finding | None:
    classes = use.outputs
    if len(use.last.output_shape) > 1 and classes == 1:
        return _finding(
            use,
            "critical",
            "Cross-entropy over one output is 0 whatever the network says: no gradient comes and nothing is learned.",
            Evidence("the outputs have one class", "outputs", 1.0, bound=2.0),
            "loss = F.binary_cross_entropy_with_logits(output.squeeze(1), target.float()), or one output a class",
        )
    low, high = use.reach
    least = math.log1p((classes - 1) * math.exp(low - high)) if classes > 1 else 0.0
    if classes > 1 and least >= COSTS * math.log(classes):
        twice = "applies a softmax itself, and here one was applied before" if use.head == "softmax" else "takes logits"
        return _finding(
            use,
            _harm(use),
            f"Cross-entropy {twice}: the {use.head} at {_place(use)} squeezes its inputs into [{low:g}, {high:g}], so that "
            f"with {classes} classes the loss cannot fall below {least:.2f} and gradients are small.",
            _least(use, least),
            f"return the output of the last layer without {use.head}; apply softmax only to show probabilities",
        )
    if use.head == "relu":
        return _finding(
            use,
            _harm(use),
            f"Cross-entropy takes logits: the ReLU at {_place(use)} cuts off all below 0, so that no class can be ruled out "
            "and outputs that are 0 get no gradient.",
            Evidence("the smallest output", "output_range", use.last.output_range[0], bound=0.0),
            "return the output of the last layer without the ReLU",
        )
    if classes > 1 and use.probabilities:
        least = math.log1p((classes - 1) / math.e)
        return _finding(
            use,
            _harm(use),
            f"Cross-entropy takes logits and was given probabilities: with {classes} classes it cannot fall below {least:.2f}.",
            Evidence("outputs lie in [0, 1] and sum to 1", "rows", use.last.rows[1] if use.last.rows else 1.0, bound=1.0),
            "loss = F.nll_loss(torch.log(probabilities), target), or give cross-entropy the logits",
        )
    return None


def _likelihood(use: Use) -> Finding | None:
    """Losses that take logarithms of probabilities; ``rows`` has the sums of the exponentials, which are then 1."""
    shown = SHOWN[use.last.function]
    if use.head == "softmax":
        return _finding(
            use,
            _harm(use),
            f"{capital(shown)} takes logarithms of probabilities and was given the probabilities themselves: "
            f"the log is missing at {_place(use)}.",
            Evidence("the loss, which is above 0 for logarithms", "loss", use.last.value or math.nan, bound=0.0),
            "log_softmax instead of softmax, or F.cross_entropy on the output of the last layer",
        )
    logits = use.bare or (use.head in UNARY and use.last.base in ("linear", "conv"))
    if logits and use.last.rows is not None and not any(sums_to_one(look) for look in use.looks):
        negative = use.last.function == "nll_loss" and use.last.value is not None and use.last.value < 0.0
        return _finding(
            use,
            "critical" if negative else "warning",
            f"{capital(shown)} takes logarithms of probabilities and was given logits: the loss has no least value and falls "
            "for ever while the outputs grow.",
            Evidence("sums of exponentials of the outputs, 1 for probabilities", "rows", use.last.rows[1], bound=1.0),
            "loss = F.cross_entropy(output, target), or F.log_softmax(output, dim=1) before the loss",
        )
    return None


def _binary(use: Use) -> Finding | None:
    function, look = use.last.function, use.last
    low, high = use.reach
    negative, positive = _softplus(low), _softplus(-high)
    if function == "binary_cross_entropy_with_logits" and max(negative, positive) >= COSTS * math.log(2.0):
        answers = _answers(low, high)
        kind, least = ("negative", negative) if negative >= positive else ("positive", positive)
        return _finding(
            use,
            _harm(use),
            f"Binary cross-entropy with logits applies a sigmoid itself: after the {use.head} at {_place(use)} {answers}, and "
            f"a {kind} example costs at least {least:.2f}.",
            _least(use, least, f" of a {kind} example"),
            f"return the output without {use.head}, or use nn.BCELoss() on probabilities",
        )
    cut = use.head in ("relu", "clamp", "leaky_relu") and look.base in ("linear", "conv")
    if function == "binary_cross_entropy" and not look.written and (use.bare or cut):
        return _finding(
            use,
            "warning",
            "Binary cross-entropy takes probabilities and was given logits: an output outside of [0, 1] raises, and one that "
            "is cut off there gets no gradient.",
            Evidence("the largest output", "output_range", look.output_range[1], bound=1.0),
            "loss = F.binary_cross_entropy_with_logits(output, target), or torch.sigmoid(output) before the loss",
        )
    if use.outputs > 2 and len(look.classes) == use.outputs and use.head in ("", "sigmoid"):
        return _finding(
            use,
            "note",
            f"Each example has exactly one of {use.outputs} classes, and the loss asks {use.outputs} yes-or-no questions: "
            "cross-entropy knows that they exclude one another.",
            Evidence("classes, one each", "outputs", float(use.outputs)),
            "loss = F.cross_entropy(logits, target.argmax(1))",
        )
    return None


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _answers(low: float, high: float) -> str:
    """Which probabilities logits within these bounds can say, one bound at least finite."""
    if math.isfinite(low) and math.isfinite(high):
        return f"every answer lies between {_probability(low)} and {_probability(high)}"
    return f"no answer is below {_probability(low)}" if math.isfinite(low) else f"no answer is above {_probability(high)}"


def _probability(logit: float) -> str:
    return f"{math.exp(-_softplus(-logit)):.2g}"


def _least(use: Use, least: float, of: str = "") -> Evidence:
    value = use.last.value if use.last.value is not None else math.nan
    text = f"the least loss{of} that can be reached is {least:.2f}; seen last: {value:.2f}"
    return Evidence(text, "loss", value, "nats", least)


def _harm(use: Use) -> Severity:
    """A warning, unless the program may mean it: a head that stands on no layer, or losses weighted one by one."""
    return "warning" if use.last.base in ("linear", "conv") and use.last.reduction != "none" else "note"


def _place(use: Use) -> str:
    return spoken(use.last.head_where) if use.last.head_where else use.last.head_source or "the head"


def _finding(use: Use, severity: Severity, summary: str, evidence: Evidence, remedy: str) -> Finding:
    return Finding(
        "loss_mismatch",
        severity,
        SURE,
        use.where,
        summary,
        (evidence,),
        source=use.source,
        since=use.since,
        cause="the last function of the network and the loss do not fit",
        remedy=remedy,
        references=("Humbatova et al. 2020, Taxonomy of real faults in deep learning systems, arXiv:1910.11015",),
    )
