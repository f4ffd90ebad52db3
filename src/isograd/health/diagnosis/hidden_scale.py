"""A normalisation that hides a growing scale: the weight before it grows, and its learning rate dies unseen.

From theory: the output of norm(W x) does not depend on the size of W, so its gradient is across W, every step lengthens W, and
a step turns it by rate / |W|**2 (van Laarhoven 2017). Weight decay shortens it again and keeps a balance.
  GROWN   the weight has grown to 3 times its first size or more
  DIED    what a step of the same rate turns it by has fallen to a hundredth
  BORN    or it was born 30 times as long as He's initialisation makes it, sqrt(2 / fan_in) a weight, and all steps of the run
          together turned it by less than STILL
A remark, and an alarm where these layers moved by less than 1 % of their size in the late half while the loss is poor
(``health.outcome``). Look-alikes: a schedule that lowers the rate (divided out), a network at its goal, Adam's large first
steps (the first two looks are left out).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from isograd.health import layers as gather
from isograd.health.case import Case, at
from isograd.health.outcome import outcome
from isograd.records.anatomy import Node, capital, spoken
from isograd.records.finding import Evidence, Finding
from isograd.records.reading import Reading

GROWN = 3.0
DIED = 1e-2
BORN = 30.0
STILL = 1e-2
LOOKS = 6
SHORT = 50
SKILL = 0.5
REFERENCES = (
    "van Laarhoven 2017, L2 regularization versus batch and weight normalization, arXiv:1706.05350",
    "Li & Arora 2020, An exponential learning rate schedule for deep learning, arXiv:1910.07454",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """The layers before a normalisation whose steps have died of their own size."""
    rates = {r.step: r.value for r in case.series("learning_rate")}
    found: list[tuple[float, float, float, Node]] = []
    born: list[tuple[float, Node]] = []
    weighted = gather.layers(case)
    normed = gather.normalised(case.anatomy)
    for layer in weighted:
        if layer.node.path not in normed:
            continue
        sizes = at(case.rows, "weight_rms", layer.weight.name)
        turns = at(case.rows, "turning_ratio", layer.weight.name)
        size = sizes[0].value * math.sqrt(max(1.0, float(layer.node.get("fan_in", 1))) / 2.0) if sizes else 0.0
        if size >= BORN and turns and max(r.value for r in turns) * case.taken < STILL and case.taken >= SHORT:
            born.append((size, layer.node))
            continue
        fell = _fell(turns, rates)
        if fell is None or not sizes or not sizes[0].value > 0.0:
            continue
        grown = sizes[-1].value / sizes[0].value
        if grown >= GROWN and fell <= DIED:
            found.append((fell, grown, turns[-1].value * case.taken / 2.0, layer.node))
    if born and len(born) >= len(weighted) / 2:
        yield _born(case, sorted(born, key=lambda row: -row[0]))
    if found:
        yield _finding(case, sorted(found, key=lambda row: row[0]))


def _born(case: Case, born: Sequence[tuple[float, Node]]) -> Finding:
    size, node = born[0]
    judged = outcome(case)
    harm = judged.short_of(SKILL)
    text = (
        f"the weight of {spoken(node.path)} was born {size:.2g} times as long as it is drawn by custom, before a normalisation"
    )
    return Finding(
        "hidden_scale",
        "warning" if harm else "note",
        0.8,
        node.path,
        f"{capital(text)}, which hides it: no step turns it by as much as {100 * STILL:.0f} % in the whole run.",
        (Evidence(text, "weight_rms", size, "of sqrt(2 / fan_in)", BORN),),
        tuple(one.path for _, one in born),
        node.source,
        1,
        remedy="draw these weights by torch's own initialisation or He's (nn.init.kaiming_normal_); or a weight decay that "
        "brings them back",
        references=REFERENCES,
    )


def _fell(turns: Sequence[Reading], rates: dict[int, float]) -> float | None:
    """Late over early turning ratio a unit of rate."""
    per_rate = [r.value / rates[r.step] for r in turns[2:] if rates.get(r.step, 0.0) > 0.0]
    if len(per_rate) < LOOKS or not max(per_rate[:2]) > 0.0:
        return None
    return sorted(per_rate[-3:])[1] / max(per_rate[:2])


def _finding(case: Case, found: Sequence[tuple[float, float, float, Node]]) -> Finding:
    fell, grown, path, node = found[0]
    judged = outcome(case)
    harm = path < STILL and judged.share is not None and judged.share >= 1.0 and judged.poor(SKILL)
    grew = f"the weight of {spoken(node.path)} has grown {grown:.2g}-fold before a normalisation"
    text = f"{grew}, and a step turns it {100 * fell:.2g} % as far as at first"
    return Finding(
        "hidden_scale",
        "warning" if harm else "note",
        0.75,
        node.path,
        f"{capital(text)}: its learning rate dies unseen.",
        (
            Evidence(text, "turning_ratio", fell, "late over early, a unit of rate", DIED),
            Evidence(f"weight {grown:.2g} times its first size", "weight_rms", grown, bound=GROWN),
        ),
        tuple(place.path for _, _, _, place in found),
        node.source,
        remedy="a small weight decay on these weights (1e-4), or weight standardisation; a lower rate at the start",
        references=REFERENCES,
    )
