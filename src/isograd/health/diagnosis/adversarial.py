"""Adversarial: of two networks that learn from each other, the judge wins, or the generator starves, or says one thing only.

A judge (discriminator) that is sure of every answer has a loss near 0 on real and on made-up examples, and the generator's loss
on fooling it grows without bound. Under the original loss the generator's gradient then vanishes; under the usual one
(-log D) it is large and says little, for the judge is flat around what the generator can make.
A loss that asks for one answer only (targets all 1, or all 0) is one side of such a game; of two sides that ask for the same
answer, the one that ends lower belongs to the judge.
Bounds:
  SURE    0.05 nats: the judge gives the right answer 95 % on average, on real and on made-up examples
  LOST    3 nats: the generator's examples are taken for real with 5 %; with log 2 = 0.69 it would be even
  AGREE   a quarter of 2 log 2. What the judge pays on made-up examples and what the generator pays for the same outputs add up
          to softplus(x) + softplus(-x) >= 2 log 2 in a game, whoever wins; where all sides together pay less than a quarter of
          it, the generator is asked for the judge's own answer and helps it: a sign or a target is the wrong way round.
          Of squared errors (Mao et al. 2017) d^2 + (1 - d)^2 >= 1 / 2 takes its place
  STARVED one network's layers come 1/1,000 as far as the other's, and not a tenth of their own size, while the judge tells
          both kinds apart (TELLS): the generator is what it was at birth
  STILL   or not a fiftieth of their own size while the other's come half of theirs (FAR): what a network computes changes by
          about as much as its layers turn, so that one of the two plays with what it was born with. Of the judge (the one
          that is called more often in a step) that is enough; a generator may stand still before a judge that is even
  ALIKE   what the judge's first layer makes of one kind of examples spreads a twentieth as far as of the other (a 400th of its
          variance) at every look of the last half: mode collapse; a remark, and an alarm from ONE, a fiftieth, on. At
          SAME, a hundredth, LOOKS of the whole run will do, the last behind an eighth of it: it never made two that differ
  APART   2 times, at the end of all that was announced: the judge's first layer is affine in what it is shown, so that where
          the generator makes what the real examples are, both kinds spread alike in it. The logarithm of the ratio of two
          deviations over 16 examples in one direction has a standard error of 1 / sqrt(15), so that 2 is 2.7 errors; its
          outputs over all examples must spread wider as well (WIDER), or the ratio be FAR_APART, 4.3 errors
Below SURE but not LOST, and at twice SURE: a remark. Only in the last third, and in every look of it; where looks end in the
first half, the losses that are stepped have to bear it out.

Look-alikes that are healthy: a judge that leads (0.2 and 2 are usual with pictures), critics whose losses are no likelihood,
contrastive losses, a network that is asked for one class, a generator whose examples are alike at the start.
References: Goodfellow et al. 2014, arXiv:1406.2661, section 3; Arjovsky & Bottou 2017, arXiv:1701.04862, theorem 2.4;
Salimans et al. 2016, arXiv:1606.03498, section 3.2.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from isograd.health import curve as curves
from isograd.health import layers as gather
from isograd.health.case import Case
from isograd.health.curve import BINARY, Curve
from isograd.health.movement import SHORT, path_of, rates_so_far
from isograd.health.signals.rank import spread
from isograd.records.anatomy import Node, capital, spoken
from isograd.records.finding import Evidence, Finding

SURE = 0.05
LOST = 3.0
LEADS = 0.25
EVEN = {"binary": 2.0 * math.log(2.0), "squared": 0.5}
"""What judge and generator pay at least together for the same outputs, by kind of loss."""
AGREE = 0.25
TELLS, FOOLS_NOT = 0.5, 1.0
STARVED = 1e-3
STILL, FAR = 0.02, 0.5
ALIKE, ONE, SAME = 0.05, 0.02, 0.01
APART, WIDER, FAR_APART, OVER = 2.0, 1.25, 3.0, 0.9
SUM = 0.05
"""How far the loss that is stepped may be from the sum of the losses heard to be that sum."""
LOOKS = 3
FEW = 20
HALF = 0.5
STEPS = 100
REFERENCES = (
    "Goodfellow et al. 2014, Generative adversarial nets, arXiv:1406.2661, section 3",
    "Arjovsky & Bottou 2017, Towards principled methods for training GANs, arXiv:1701.04862, theorem 2.4",
    "Salimans et al. 2016, Improved techniques for training GANs, arXiv:1606.03498, section 3.2",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that the judge has won, or leads, or that the generator stands still; and that its examples are all alike."""
    if not case.ended or case.taken < STEPS or not curves.contested(case):
        return
    asking = [curve for curve in curves.curves(case) if _asks_one(curve) and len(curve.looks) >= LOOKS]
    found = [curve for curve in asking if curve.function in BINARY]
    for kind, sides in (("binary", found), ("squared", [curve for curve in asking if curve.function == "mse_loss"])):
        if len(sides) >= 2 and (paid := _agree(case, sides, AGREE * EVEN[kind])) is not None:
            yield _helping(case, sides, paid, EVEN[kind])
            return
    if len(found) < 2:
        return
    values = {id(curve): [sample.value or 0.0 for _, sample in curve.late_looks()] for curve in found}
    generator = max(found, key=lambda curve: statistics.fmean(values[id(curve)]))
    judge = [value for curve in found if curve is not generator for value in values[id(curve)]]
    fooled = values[id(generator)]
    for one in (_starved(case, judge, fooled) or _won(case, generator, judge, fooled), _alike(case) or _unlike(case)):
        if one is not None:
            yield one


def _won(case: Case, generator: Curve, judge: Sequence[float], fooled: Sequence[float]) -> Finding | None:
    won = max(judge) < SURE and min(fooled) > LOST
    if not won and not (max(judge) < LEADS and min(fooled) > LOST / 2.0):
        return None
    won = won and (generator.looks[-1][0] > HALF * case.taken or _stays_far(case))
    now, pays = statistics.fmean(judge), statistics.fmean(fooled)
    return Finding(
        "adversarial",
        "warning" if won else "note",
        0.85 if won else 0.6,
        "loop",
        f"The judge is sure of its answers (loss {now:.2g}) and the generator's loss is {pays:.3g} (even: 0.69): "
        + ("the generator has nothing to follow." if won else "the judge leads by far."),
        tuple(_losses(now, pays)),
        source=generator.looks[-1][1].source,
        since=generator.late_looks()[0][0],
        remedy="a lower learning rate or fewer steps for the judge, or a higher one for the generator; a gradient penalty or "
        "spectral normalisation for the judge; labels of 0.9 in place of 1",
        references=REFERENCES,
    )


def _stays_far(case: Case) -> bool:
    """Whether a tenth of what is stepped late, which is known where looks end early, costs what no even game does (2.1)."""
    late = sorted(r.value for r in case.series("loss") if r.step > (1.0 - curves.LATE) * case.taken)
    return len(late) >= FEW and late[-len(late) // 10] > LOST


def _losses(now: float, pays: float) -> Iterator[Evidence]:
    yield Evidence(f"loss of the judge, late: {now:.2g}", "loss", now, "nats", SURE)
    yield Evidence(f"loss of the generator, late: {pays:.3g}", "loss", pays, "nats", LOST)


def _starved(case: Case, judge: Sequence[float], fooled: Sequence[float]) -> Finding | None:
    """One network stands still: the judge, or the generator where the judge has learned to tell both kinds apart."""
    rates, paths = rates_so_far(case), dict[int, tuple[float, Node]]()
    parts = gather.parts(case.anatomy.nodes)
    for layer in gather.layers(case):
        series = [r for r in case.series("turning_ratio", layer.weight.name) if not math.isnan(r.value)]
        part = parts[case.anatomy.nodes.index(layer.node)]
        if series:
            path = path_of(series, case.taken, rates)
            paths[part] = max(paths.get(part, (-1.0, layer.node)), (path, layer.node), key=lambda row: row[0])
    if len(paths) != 2:
        return None
    told = max(judge) < TELLS and min(fooled) > FOOLS_NOT
    (short, still), (far, moving) = sorted(paths.values(), key=lambda row: row[0])
    judged = _calls(case, still) > _calls(case, moving)
    starves = told and not judged and (short < STILL if far >= FAR else short < min(STARVED * far, SHORT))
    if not starves and not (judged and short < STILL and far >= FAR):
        return None
    whose, others = ("the generator", "the judge") if starves else ("the judge", "the generator")
    text = f"the layers of {whose} moved by at most {short:.1g} of their size, those of {others} by up to {far:.2g}"
    return Finding(
        "adversarial",
        "warning",
        0.85,
        still.path,
        f"{capital(text)}: "
        + ("the generator starves." if starves else "it judges with what it was born with, and the generator learns nothing."),
        (
            Evidence(text, "turning_ratio", short, "of its size", STARVED * far),
            *_losses(statistics.fmean(judge), statistics.fmean(fooled)),
        ),
        (still.path, moving.path),
        still.source,
        1,
        remedy="a learning rate for it that is as high as the other's; look whether its loss is multiplied by "
        "something small, and whether the judge saturates (a sigmoid before the loss of logits)",
        references=REFERENCES,
    )


def _calls(case: Case, node: Node) -> int:
    """How often the network of a node is called in a step."""
    return max((sample.call for step in case.steps for sample in step.layers if sample.where == node.path), default=0)


def _alike(case: Case) -> Finding | None:
    """The judge's first layer sees examples that are all alike beside others that are not."""
    for node in case.anatomy.nodes:
        reads = {case.anatomy.nodes[source].operation for source in node.inputs}
        if node.operation not in ("linear", "conv") or reads != {"input"}:
            continue
        every: list[tuple[int, float]] = []
        for step in case.steps:
            spreads = [spread(sample.gram) for sample in step.layers if sample.where == node.path and sample.gram is not None]
            if len(spreads) >= 2 and max(spreads) > 0.0:
                every.append((step.index, min(spreads) / max(spreads)))
        shares = [pair for pair in every if pair[0] > case.taken / 2]
        most = max((share for _, share in shares), default=0.0)
        always = len(every) >= LOOKS and max(share for _, share in every) < SAME and every[-1][0] > case.taken / 8
        if (len(shares) >= LOOKS and most < ALIKE) or always:
            return _collapsed(node, shares if len(shares) >= LOOKS else every)
    return None


def _unlike(case: Case) -> Finding | None:
    """At the end the judge's first layer sees one kind of examples spread much further than the other."""
    calls = {n.path: _calls(case, n) for n in case.anatomy.nodes if n.operation in ("linear", "conv")}
    first = next((n for n in case.anatomy.nodes if calls.get(n.path, 0) == max(calls.values()) > 0), None)
    last = case.sampled[-1] if case.sampled else None
    if first is None or last is None or last.index < OVER * max(case.taken, case.planned or 0):
        return None
    seen = [
        (spread(sample.gram), sample.activation.std)
        for sample in last.layers
        if sample.where == first.path and sample.gram is not None and sample.activation is not None
    ]
    near, far = min(seen, default=(0.0, 0.0)), max(seen, default=(0.0, 0.0))
    if len(seen) < 2 or not near[0] > 0.0:
        return None
    apart = far[0] / near[0]
    if not (apart >= FAR_APART or (apart >= APART and far[1] >= WIDER * near[1])):
        return None
    text = f"one kind of examples spreads {apart:.2g} times as far as the other in {spoken(first.path)}"
    return Finding(
        "adversarial",
        "warning",
        0.8,
        "loop",
        f"The generator does not make what the real examples are: when the run ended, {text}, where both are judged.",
        (Evidence(text, "difference_of_examples", apart, "times", APART),),
        (first.path,),
        first.source,
        last.index,
        remedy="train longer; look whether generator and judge learn at the same pace, and whether real and made-up examples "
        "are scaled alike",
        references=REFERENCES,
    )


def _collapsed(node: Node, shares: Sequence[tuple[int, float]]) -> Finding:
    most = max(share for _, share in shares)
    text = f"made-up examples spread {most:.1g} times as far as real ones in {spoken(node.path)}, at most"
    return Finding(
        "adversarial",
        "warning" if most < ONE else "note",
        0.85 if most < ONE else 0.7,
        node.path,
        f"The generator makes nearly the same example every time (mode collapse): {text}.",
        (Evidence(f"{text}, at all of {len(shares)} looks", "difference_of_examples", most, "of the other kind", ALIKE),),
        (node.path,),
        node.source,
        shares[0][0],
        remedy="let the judge see how much a batch varies (minibatch discrimination, its deviation as a feature); a gradient "
        "penalty; a lower learning rate for the generator; look whether the noise reaches it at all",
        references=REFERENCES,
    )


def _agree(case: Case, found: list[Curve], least: float) -> float | None:
    """What all sides pay together, late, where it is too little and the made-up examples go to the judge without their graph.

    A side is what one line asks of one kind of examples: real and made-up ones may share the line. Where the loss that is
    stepped is their sum, its late median counts, for looks may all be early.
    """
    sides: dict[tuple[int, float], list[tuple[int, float]]] = {}
    for place, curve in enumerate(found):
        for step, sample in curve.looks:
            sides.setdefault((place, sample.target_range[0]), []).append((step, sample.value or 0.0))
    if len(sides) < 3 or not case.facts("detached") or {asked for _, asked in sides} != {0.0, 1.0}:
        return None
    together: dict[int, float] = {}
    for looks in sides.values():
        for step, value in looks:
            together[step] = together.get(step, 0.0) + value
    stepped = {r.step: r.value for r in case.series("loss")}
    whole = set.intersection(*({step for step, _ in looks} for looks in sides.values()))
    known = [step for step in whole & set(stepped) if abs(stepped[step] - together[step]) <= SUM * abs(stepped[step])]
    if len(known) >= max(LOOKS, OVER * len(together)):  # judge and generator learn in one step, always
        paid = statistics.median(value for step, value in stepped.items() if step > (1.0 - curves.LATE) * case.taken)
    else:
        late = [curve.late_looks()[0][0] for curve in found]
        paid = sum(max(value for step, value in looks if step >= late[place]) for (place, _), looks in sides.items())
    return paid if paid < least else None


def _helping(case: Case, found: list[Curve], paid: float, even: float) -> Finding:
    last = found[-1]
    return Finding(
        "adversarial",
        "warning",
        0.85,
        "loop",
        f"Judge and generator pay {paid:.2g} together after {case.taken:,} steps, and in a game they pay {even:.3g} at least: "
        "the generator is asked for the answer that the judge gives, and helps it.",
        (Evidence(f"all losses together, late: {paid:.2g}", "loss", paid, "", even),),
        source=last.looks[-1][1].source,
        since=last.late_looks()[0][0],
        remedy="for the generator, turn the targets round: its examples are to be taken for real (ones where the judge is "
        "told zeros)",
        references=REFERENCES[:1],
    )


def _asks_one(curve: Curve) -> bool:
    """Whether each call asks one answer of all its examples (real and made-up ones may share a line)."""
    return all(sample.target_range[0] == sample.target_range[1] for _, sample in curve.looks)
