"""Labels that cannot be learned from: one class only, sorted, weighted the wrong way round, or unrelated to the inputs.

  one class   every target of every look is the same class, and the network has found out: nothing else can come of it
  one number  the same for a regression, unless it is 0
  sorted      batches of one class each while classes change over time. With shuffled data of class shares p, a batch of n
              has one class with probability sum(p**n); that most looks have one is then out of the question (binomial,
              below 1e-6). The network learns the class of the hour and forgets the others. Where the few looks all fell on the
              same class, the loss of the steps between tells: it would have fallen to a part, had all been of that class
              Before training one batch of one class is a remark
              Or batches of few classes each (FEWER, half of what shuffled data of these shares bring) while classes differ from
              look to look more than by chance (chi-squared, below 1e-6): an alarm where the answers stay poor (HALF_WAY)
  inverted    the rarest class has the smallest weight by a factor of 2, and is hardly ever answered
  ignored     a class weighs a tenth of another that is about as frequent, and is hardly ever answered. Weights that even out
              the classes' frequencies, or soften that, give a class that is not the more frequent one no less than the other
  unrelated   nothing was learned although every layer turned by its own size and the answers do change with the inputs: the
              network tries, and finds nothing. Said beside the plateau it explains, never alone; and not where a recurrent
              layer's gradient does not reach back, for the answer may lie beyond its reach, nor where the network itself
              bars the way (``underfitting``), nor where the targets are the inputs

  by heart    the first pass over the data was no better than a constant answer, and since then the loss falls from pass to pass
              and not within: the network knows examples again, and nothing that serves others follows from the inputs
              (``health.passes`` has the derivation). A remark where rows are looked up (embeddings): a rare word learns only
              where its few examples come again, so that what serves others is small beside what is remembered

Look-alikes that are healthy: contrastive losses whose target is always index 0 (the loss stays high), rare classes, small
batches, full batches, the two halves of a GAN's batch, class weights that favour the rare, batches of a few classes on purpose
(metric learning) that are learned from.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from itertools import islice

from isograd.health import curve as curves
from isograd.health import layers as gather
from isograd.health.case import Case
from isograd.health.curve import BATCH, ENTROPIES, REGRESSIONS, Curve, examples
from isograd.health.diagnosis import recurrent
from isograd.health.diagnosis.underfitting import barred
from isograd.health.losses import copied
from isograd.health.movement import FIRST_STEPS
from isograd.health.outcome import decided, outcome
from isograd.health.passes import repeated
from isograd.health.worth import constant, falls, learned_nothing
from isograd.records.anatomy import capital
from isograd.records.batch import LossSample
from isograd.records.finding import Evidence, Finding

LOOKS = 3
CHANCE = 1e-6
ONE_CLASS_LOSS = 0.1
INVERTED = 2.0
IGNORED, ALIKE = 10.0, 1.5
NEVER = 5
"""Examples of a class that must have come late for it to count that none was answered so; twice as many for hardly any."""
STAYS = 0.5
TURNED = 0.3
FEWER, HALF_WAY = 0.5, 0.5
STEPS = 100
SEVERAL = 1.1
ABOVE = -0.15


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding: what is wrong with the labels."""
    curve = curves.main(case)
    if curve is None:  # of several losses one may show in which order the examples come
        several = () if curves.contested(case) else curves.curves(case)
        yield from islice(filter(None, (_sorted(case, each) for each in several)), 1)
        return
    if any(_of_several(sample) for _, sample in curve.looks):
        found = _unrelated(case, curve)
    elif len(curve.looks) < LOOKS:
        found = _other_classes(case, curve) or _one_batch(case, curve)
    else:
        found = (
            _one_class(case, curve)
            or _other_classes(case, curve)
            or _one_number(curve)
            or _sorted(case, curve)
            or _inverted(case, curve)
            or _by_heart(case, curve)
            or _unrelated(case, curve)
        )
    if found is not None:
        yield found


def _one_class(case: Case, curve: Curve) -> Finding | None:
    total = sum(curve.classes)
    if total < 32 or sum(map(bool, curve.classes)) != 1 or len(curve.classes) < 2:
        return None
    first, late = curve.looks[0][1].value or 0.0, curve.late_looks()[-1][1]
    found_out = (late.value or 0.0) - (late.floor or 0.0) < ONE_CLASS_LOSS * first and late.hits == sum(late.classes)
    if not found_out:
        return None
    label = next(i for i, count in enumerate(curve.classes) if count)
    return Finding(
        "labels",
        "warning",
        0.9,
        "data",
        f"All {total:,} targets that were looked at are class {label}: the network learns to say {label} and nothing else.",
        (Evidence(f"{total:,} of {total:,} targets are class {label}", "majority_rate", 1.0, "", 1.0),),
        source=curve.looks[0][1].source,
        since=curve.looks[0][0],
        remedy="look at how the targets are read, filtered or cast (a column of the wrong name, a float cut to 0), and which "
        "of them the loss counts (a mask the wrong way round)",
    )


def _one_number(curve: Curve) -> Finding | None:
    """Targets of a regression that are all one number, and not 0: a residual is asked to be that on purpose."""
    ranges = {sample.target_range for _, sample in curve.looks}
    value = curve.looks[0][1].target_range[0]
    if curve.function not in REGRESSIONS or ranges != {(value, value)} or value == 0.0:
        return None
    total = sum(examples(sample) for _, sample in curve.looks)
    if total < 32:
        return None
    return Finding(
        "labels",
        "warning",
        0.9,
        "data",
        f"All {total:,} targets that were looked at are {value:.4g}: there is nothing to learn but this number.",
        (Evidence("the lowest and the highest target are the same", "target_range", 0.0),),
        source=curve.looks[0][1].source,
        since=curve.looks[0][0],
        remedy="look at how the targets are read (a column of the wrong name, a mean in place of the values)",
    )


def _sorted(case: Case, curve: Curve) -> Finding | None:
    samples = [sample for _, sample in curve.looks if sum(sample.classes) >= BATCH and not _of_several(sample)]
    if len(samples) < LOOKS or sum(map(bool, curve.classes)) < 2:
        return None
    some = _some_classes(case, curve, samples)
    if some is not None:
        return some
    single = sum(sum(map(bool, sample.classes)) == 1 for sample in samples)
    total, rows = sum(curve.classes), min(sum(sample.classes) for sample in samples)
    chance = sum((count / total) ** rows for count in curve.classes)
    if single < 0.6 * len(samples) or _binomial(len(samples), single, chance) > CHANCE:
        return None
    share = single / len(samples)
    return Finding(
        "labels",
        "warning",
        0.9,
        "data",
        f"{single} of {len(samples)} batches looked at hold one class, although there are {sum(map(bool, curve.classes))}: "
        "the data are sorted by label, and what is learned of one class is forgotten over the next.",
        (Evidence(f"shuffled data give such a batch with probability {chance:.1g}", "majority_rate", share, "", chance),),
        source=curve.looks[0][1].source,
        since=curve.looks[0][0],
        remedy=_shuffle(case),
    )


def _of_several(sample: LossSample) -> bool:
    """Whether an example has several labels (or positives among the others of its batch), so that none is its class."""
    target = sample.target
    if sample.function in REGRESSIONS or target is None:
        return False
    return sample.target_shape == sample.output_shape and target.mean * len(sample.classes) > SEVERAL


def _some_classes(case: Case, curve: Curve, samples: Sequence[LossSample]) -> Finding | None:
    r"""Batches that bring a few of the classes, others from look to look.

    Shuffled, a batch of n has :math:`\sum_k 1 - (1 - p_k)^n` classes, and the counts of L looks differ from their shares by a
    chi-squared of :math:`(L - 1)(K - 1)` degrees of freedom (its tail by Wilson and Hilferty 1931).
    """
    width = max(len(sample.classes) for sample in samples)
    table = [[*sample.classes, *[0] * (width - len(sample.classes))] for sample in samples]
    columns = [sum(column) for column in zip(*table, strict=True)]
    total, kinds = sum(columns), sum(map(bool, columns))
    met = statistics.fmean(sum(map(bool, row)) for row in table)
    expected = statistics.fmean(sum(1.0 - (1.0 - n / total) ** sum(row) for n in columns) for row in table)
    if met <= 1.0 or met > FEWER * expected or not outcome(case).short_of(HALF_WAY):
        return None
    due = [(sum(row) * n / total, seen) for row in table for n, seen in zip(columns, row, strict=True) if n]
    chance = _tail(sum((seen - mean) ** 2 / mean for mean, seen in due), (len(table) - 1) * (kinds - 1))
    if chance > CHANCE:
        return None
    return Finding(
        "labels",
        "warning",
        0.85,
        "data",
        f"A batch holds {met:.1f} classes on average, where shuffled data would bring {expected:.1f}, and they change from "
        "batch to batch: the data are sorted by label, and what is learned of some is forgotten over the others.",
        (
            Evidence(
                f"shuffled data give such batches with probability {max(chance, 1e-12):.1g} at most",
                "majority_rate",
                chance,
                "",
                CHANCE,
            ),
        ),
        source=curve.looks[0][1].source,
        since=curve.looks[0][0],
        remedy=_shuffle(case),
    )


def _tail(squares: float, freedom: int) -> float:
    """Probability that chi-squared of so many degrees of freedom is that large."""
    spread = 2.0 / (9.0 * freedom)
    return 0.5 * math.erfc(((squares / freedom) ** (1.0 / 3.0) - (1.0 - spread)) / math.sqrt(2.0 * spread))


def _shuffle(case: Case) -> str:
    loaders = case.facts("loader")
    if loaders and loaders[-1][1].get("order", "") == "sequential":
        return "DataLoader(..., shuffle=True): this one gives its examples in the order in which they lie in the data set"
    return "shuffle: DataLoader(..., shuffle=True), or a random permutation of the rows before each epoch"


def _other_classes(case: Case, curve: Curve) -> Finding | None:
    """The looks all fell on one class, and the loss of the steps between says that others came there.

    One bias of a last layer is enough to say one class always: the loss would have fallen, as it does for rare classes. Where
    the outputs are no layer's (contrastive losses, whose target is always the first) nothing is said.
    """
    last = curve.looks[-1][1]
    if not _only_one(curve) or len(curve.looks) < 2:
        return None
    if not case.ended or not curve.told or case.taken < STEPS or len(curve.steps) < STEPS // 2:
        return None
    began, late = curve.looks[0][1].value or 0.0, statistics.median(curve.values(0.5, 1.0) or [0.0])
    if curve.function not in ENTROPIES or late < STAYS * began:
        return None
    label = next(i for i, count in enumerate(curve.classes) if count)
    return Finding(
        "labels",
        "warning",
        0.8,
        "data",
        f"All {sum(curve.classes):,} targets of the batches looked at are class {label}, and the loss has not fallen as it "
        "would if all were: other classes come at other times. The data look sorted by label.",
        (Evidence(f"loss of the later half, {late:.3g}, against {began:.3g} at first", "loss", late, "", STAYS * began),),
        source=last.source,
        since=curve.looks[0][0],
        remedy=_shuffle(case),
    )


def _only_one(curve: Curve) -> bool:
    """Whether all looks hold one class of the three or more that a layer's outputs tell apart."""
    whole = all(sum(sample.classes) >= BATCH for _, sample in curve.looks)
    layer = all(sample.base in ("linear", "conv") and not sample.head for _, sample in curve.looks)
    return sum(map(bool, curve.classes)) == 1 and len(curve.classes) >= 3 and whole and layer and not curve.looks[-1][1].weights


def _one_batch(case: Case, curve: Curve) -> Finding | None:
    """The remark before training that the batch holds one class: of shuffled data that is out of the question."""
    if not case.ended or case.taken > FIRST_STEPS or not _only_one(curve):
        return None
    step, first = curve.looks[0]
    label = next(i for i, count in enumerate(first.classes) if count)
    text = f"all {sum(first.classes):,} targets of the batch are class {label}, one of {len(first.classes)}"
    return Finding(
        "labels",
        "note",
        0.7,
        "data",
        f"{capital(text)}: if the others are like it, the data are sorted by label, or hold one class.",
        (Evidence(text, "majority_rate", 1.0, "", 1.0),),
        source=first.source,
        since=step,
        remedy=_shuffle(case),
    )


def _binomial(count: int, hits: int, p: float) -> float:
    """Probability of that many hits or more."""
    if p >= 1.0:
        return 1.0
    return sum(math.comb(count, k) * p**k * (1.0 - p) ** (count - k) for k in range(hits, count + 1))


def _inverted(case: Case, curve: Curve) -> Finding | None:
    weights, counts = curve.looks[-1][1].weights, curve.classes
    if len(weights) != len(counts) or not all(w > 0.0 for w in weights) or sum(map(bool, counts)) < 2:
        return None
    common = max(range(len(weights)), key=lambda i: counts[i])
    rare = min((i for i in range(len(weights)) if counts[i]), key=lambda i: counts[i])
    inverted = weights[common] >= INVERTED * weights[rare] and counts[common] >= INVERTED * counts[rare]
    if not inverted:
        common, rare = _ignored(weights, counts)
    if common == rare:
        return None
    samples = [sample for _, sample in curve.late_looks() if len(sample.answers) == len(weights)]
    answered = sum(sample.answers[rare] for sample in samples)
    due = sum(sample.classes[rare] for sample in samples)
    ratio = weights[common] / weights[rare]
    never = answered == 0 and due >= NEVER
    harmed = case.taken >= STEPS and (never or (due >= 2 * NEVER and answered < 0.5 * due))
    said = (
        f"The rarest class ({rare}) has weight {weights[rare]:.3g} and the most frequent ({common}) {weights[common]:.3g}: "
        "the weights are the wrong way round"
        if inverted
        else f"Class {rare} weighs {weights[rare]:.3g} in the loss and class {common}, which is no rarer, {weights[common]:.3g}"
    )
    return Finding(
        "labels",
        "warning" if harmed else "note",
        0.85 if harmed else 0.6,
        "loss",
        said + (f", and class {rare} is answered {answered} times where {due} were due." if harmed else "."),
        (Evidence(f"class {common} weighs {ratio:.3g} times as much as class {rare}", "class_weight", ratio, "", 1.0),),
        source=curve.looks[-1][1].source,
        since=curve.looks[0][0],
        remedy="weights that fall with the class's frequency: total / (classes * count)",
    )


def _ignored(weights: Sequence[float], counts: Sequence[int]) -> tuple[int, int]:
    """A heavy class, and the lightest of those that are no more frequent and weigh a tenth or less; the same twice: none."""
    pairs = [
        (weights[rare] / weights[heavy], heavy, rare)
        for heavy, many in enumerate(counts)
        for rare, few in enumerate(counts)
        if many and few and few <= ALIKE * many and IGNORED * weights[rare] <= weights[heavy] * (1.0 + 1e-6)
    ]
    return min(pairs)[1:] if pairs else (0, 0)


def _by_heart(case: Case, curve: Curve) -> Finding | None:
    passes = repeated(case, curve)
    if passes is None or not passes.only_between or not decided(case):
        return None
    fell = f"the loss fell by {passes.fell:.2g} since the first pass over the data, and within passes by {passes.within:.2g}"
    rows = any(node.operation == "embedding" for node in case.anatomy.nodes)
    means = (
        "they are learned by heart, and how much of that serves others only held-out examples tell"
        if rows
        else "they are learned by heart, and the targets do not follow from the inputs"
    )
    return Finding(
        "labels",
        "note" if rows else "warning",
        0.6 if rows else 0.9,
        "data",
        f"In the first of {passes.count} passes over the data nothing was learned; since then the loss falls only where "
        f"examples come again: {means}.",
        (
            Evidence(fell, "loss", passes.within, "", 0.5 * passes.fell),
            Evidence(f"the last third of the first pass paid {passes.first:.4g}", "loss", passes.first, "", curve.floor),
        ),
        source=curve.looks[-1][1].source,
        since=curve.looks[0][0],
        remedy="check that inputs and targets are shuffled and filtered together: look at ten pairs by eye; if they belong "
        "together, more data, augmentation, weight decay",
    )


def _unrelated(case: Case, curve: Curve) -> Finding | None:
    if not case.ended or case.taken < STEPS or not learned_nothing(curve) or constant(curve) or falls(curve):
        return None
    late = curve.late()
    moving = [layer.movement * case.taken for layer in gather.layers(case) if layer.movement is not None]
    least = min(moving, default=0.0)
    if least < TURNED or (late.beat or 0.0) < ABOVE or any(recurrent.diagnose(case)) or barred(case.anatomy) is not None:
        return None
    if copied(case, curve.looks):
        return None
    return Finding(
        "labels",
        "warning",
        0.7,
        "data",
        f"Nothing was learned in {case.taken:,} steps although every layer moved by its own size or so and the answers change "
        "with the inputs: the targets look unrelated to the inputs.",
        (
            Evidence(f"1 - loss / best constant answer: {late.beat or 0.0:.3f}", "skill", late.beat or 0.0),
            Evidence(f"the layer that moved least moved by {least:.2g} of its size", "turning_ratio", least, "", TURNED),
        ),
        source=curve.looks[-1][1].source,
        since=curve.looks[0][0],
        remedy="check that inputs and targets are shuffled and filtered together: look at ten pairs by eye",
    )
