"""Structure: what a network or its settings are, before any training, and hardly anybody means.

Read off, so that a check knows it without a step; a remark, for each can be meant, and what comes of it is told elsewhere
(``underfitting``, ``learning_rate``, ``batch_size``), in whose place this never speaks:
  linear   no activation between any two weighted layers: however many, they amount to one (their product). An alarm where no
           layer is a bottleneck (that would limit the rank, which can be the purpose), so that all but one are for nothing,
           and the run ended below WELL, 0.9 of the way from the best constant answer to perfect ones
  narrow   everything passes through a layer of a single unit, where one number is too few (``underfitting.squeezed``); an alarm
           where the run ended below WELL, unless the targets are the inputs (an autoencoder's code)
  dropout  0.9 and more of a layer's inputs are dropped: the noise of a unit is 3 times its signal, sqrt(p / (1 - p))
  rate     an adaptive optimizer moves every weight by about its rate a step. Weights are of size 1 and below, so that 1
           replaces them at once, and 1e-7 is lost in the rounding of float32 (6e-8 of the weight). While a run is young the
           rate may still warm up, and only what is too large is told
  one      batch normalisation over a batch of one example: it subtracts every picture's own mean, and evaluation will not

Look-alikes that are healthy: linear models of one layer, embeddings that are multiplied, a warm-up from nothing, plain gradient
descent (its rate has a unit of its own), several linear heads side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from isograd.health.case import Case
from isograd.health.diagnosis import batch_size, learning_rate, underfitting
from isograd.health.layers import ADAPTIVE
from isograd.health.outcome import outcome
from isograd.records.anatomy import Node, capital, spoken
from isograd.records.finding import Evidence, Finding

DROPPED = 0.9
WELL = 0.9
ABSURD, NOTHING = 1.0, 1e-7
YOUNG = 100
"""Steps of a run that has not ended in which a small rate may be the beginning of a warm-up; a check takes two at most."""


def diagnose(case: Case) -> Iterator[Finding]:
    """Remarks on what can be read off."""
    if not any(one.alarm for one in underfitting.diagnose(case)):
        yield from _linear(case)
        yield from _narrow(case)
        yield from _dropout(case)
    yield from _rate(case)
    yield from _one(case)


def _linear(case: Case) -> Iterator[Finding]:
    found = underfitting.unbent(case.anatomy)
    if found:
        text = f"no activation stands between its {len(found)} layers, which amount to one linear layer"
        remedy = "an activation (ReLU, GELU, tanh) after every layer but the last, or one layer"
        note = _note(f"The network is linear: {text}.", text, float(len(found)), found[0].path, found[0].source, remedy)
        yield note if _limits_rank(found) else _told_by_its_end(note, case)


def _limits_rank(layers: Sequence[Node]) -> bool:
    """Whether a layer in the middle is narrower than inputs and outputs, or that is not known."""
    widths = [int(node.get("fan_out", 0)) for node in layers]
    return any(node.operation != "linear" for node in layers) or min(widths) < min(int(layers[0].get("fan_in", 0)), widths[-1])


def _narrow(case: Case) -> Iterator[Finding]:
    node = underfitting.squeezed(case.anatomy)
    if node is None or underfitting.unbent(case.anatomy):
        return
    text = f"everything has to pass through the single unit of {spoken(node.path)}"
    note = _note(f"{capital(text)}.", text, 1.0, node.path, node.source, "more units there")
    code = math.prod(case.anatomy.nodes[-1].shape) == math.prod(case.anatomy.nodes[0].shape)
    yield note if code else _told_by_its_end(note, case)


def _told_by_its_end(note: Finding, case: Case) -> Finding:
    """An alarm instead of a remark where the run ended below WELL."""
    end = outcome(case)
    if not case.ended or not end.short_of(WELL):
        return note
    skill = max(0.0, end.skill or 0.0)
    reached = f"answers are {100 * skill:.0f} % of the way to perfect ones"
    evidence = (*note.evidence, Evidence(reached, "skill", skill, "", WELL))
    return replace(note, severity="warning", confidence=0.8, summary=f"{note.summary[:-1]}; {reached}.", evidence=evidence)


def _dropout(case: Case) -> Iterator[Finding]:
    for node in case.anatomy.nodes:
        p = float(node.get("p", 0.0)) if node.operation == "dropout" else 0.0
        if p >= DROPPED:
            text = f"{spoken(node.path)} drops {100 * p:.0f} % of its inputs"
            what = "nothing comes through" if p >= 1.0 else f"its noise is {(p / (1.0 - p)) ** 0.5:.2g} times its signal"
            remedy = "dropout of 0.1 to 0.5 (p is the share that is dropped, not the one that is kept)"
            yield _note(f"{capital(text)}: {what}.", text, p, node.path, node.source, remedy)
            return


def _rate(case: Case) -> Iterator[Finding]:
    optimizer = case.anatomy.optimizer
    if optimizer is None or optimizer.kind not in ADAPTIVE:
        return
    seen = [reading.value for reading in case.series("learning_rate")]
    rate = max(seen, default=float(optimizer.get("learning_rate", 1e-3)))
    young = not case.ended and 2 < case.taken < YOUNG
    if not (rate >= ABSURD or (0.0 < rate <= NOTHING and not young)) or any(one.alarm for one in learning_rate.diagnose(case)):
        return
    text = f"{optimizer.kind} with a learning rate of {rate:g} moves every weight by about {rate:g} a step"
    what = "more than weights are large" if rate >= ABSURD else "which rounding swallows, unless a warm-up begins there"
    yield _note(f"{capital(text)}, {what}.", text, rate, "optimizer", None, "1e-3 to begin with, and 1e-4 for transformers")


def _one(case: Case) -> Iterator[Finding]:
    norms = {node.path: node for node in case.anatomy.nodes if node.operation == "norm" and node.get("kind", "") == "batch"}
    counts: dict[str, list[int]] = {}
    for step in case.sampled:
        for sample in step.layers:
            if sample.where in norms:
                counts.setdefault(sample.where, []).append(sample.examples)
    where = next((path for path, seen in counts.items() if max(seen) == 1), None)
    if where is None or any(one.alarm for one in batch_size.diagnose(case)):
        return
    text = f"{spoken(where)} normalises over batches of one example"
    remedy = "group or layer normalisation, or larger batches"
    yield _note(
        f"{capital(text)}: what the example has in common with itself is lost, and evaluation does it differently.",
        text,
        1.0,
        where,
        norms[where].source,
        remedy,
    )


def _note(summary: str, text: str, value: float, where: str, source: str | None, remedy: str) -> Finding:
    evidence = (Evidence(text, "structure", value),)
    return Finding("structure", "note", 0.9, where, summary, evidence, (), source, remedy=remedy)
