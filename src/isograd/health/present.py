"""Case -> Present: the values that a program has now, as they are read off the running program and not off its text."""

from __future__ import annotations

import functools
import math
import operator
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

from isograd.health.case import Case
from isograd.health.diagnosis import hidden_softmax, recurrent
from isograd.health.habits import loop_of, passes_of_a_step
from isograd.records.anatomy import Anatomy, Node
from isograd.records.batch import InputSample, LossSample
from isograd.records.loop import Loop
from isograd.records.moments import Moments

Family = Literal["dense", "convolutional", "recurrent", "attention", "regression"]

REGRESSIONS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss", "poisson_nll_loss", "difference")
FLAT = ("sign", "sgn", "round", "floor", "ceil", "trunc")
"""Functions without a slope that stand where an activation does."""
ODD_GAIN, ODD_BIAS = 5.0, 10.0
"""A matrix whose gain (rms * sqrt(fan_in)) is beyond, or biases whose mean is: of one layer by itself. Usual are .58 to 1.41,
and what is beyond 5 saturates what follows or makes the first loss (Glorot & Bengio 2010); to be calibrated."""
EARLY = 0.5
"""Share of the announced steps below which a run that ended by itself was cut short."""
SHORT = 100
"""Steps that are assumed where Adagrad's run has no known length, and at least."""
LOOKS = 4
"""Looks at least, for the order of the labels to be told."""
ADAPTIVE = ("adam", "adamw", "nadam", "radam", "adamax", "rmsprop", "adagrad", "adadelta", "lion")
"""Optimizers whose steps do not grow with the gradient."""


@dataclass(frozen=True, slots=True)
class Present:
    """What a program is made of. ``numbers`` and ``words`` are its settings by the names of the edits that change them.

    numbers: learning_rate (of SGD: over 1 - momentum), momentum, beta1, beta2, eps, weight_decay, clip_norm, gain (median over
    the matrices of rms * sqrt(fan_in)), bias (how far below zero), dropout, batch_size, input_scale (deviation), input_shift
    (magnitude of the mean over the deviation), target_scale, target_shift (the same), steps (announced, or made where it was
    cut short), mixing, fading (nats by which theory foretells that the gradient shrinks or grows from the last layer to the
    first), odd_gain and odd_bias (of one layer), fading_steps (of the longest sequence of a recurrent layer whose gradient does
    not reach back to its beginning), shrinks (of Adagrad, whose t-th step is 1 / sqrt(t) of what Adam's would be: the mean of
    that over the run, 2 / sqrt(n); Duchi et al. 2011, JMLR 12, section 1), own and held (skill after the run on what it
    trained on, and on other examples) and epoch (batches that it goes through before one comes again), where these are known.
    words: optimizer ("sgd" or "adaptive"), algorithm (its name), decay ("decoupled", or as optimizer), activation (the
    commonest), activations (all of them), straight ("whole" where nothing bends between any layers, "part" where some follow
    each other directly), odd_layer (whose weights or biases are far larger than usual), last, loss, foreign (an operation that
    no reference of the family has).
    """

    family: Family
    depth: int
    width: float
    loop: Loop = Loop()
    numbers: tuple[tuple[str, float], ...] = ()
    words: tuple[tuple[str, str], ...] = ()

    def number(self, name: str) -> float | None:
        """A setting that is a number, where it could be read."""
        return dict(self.numbers).get(name)

    def having(self, name: str, value: float) -> Present:
        """The same with another value of a number."""
        return replace(self, numbers=tuple((dict(self.numbers) | {name: value}).items()))

    def word(self, name: str) -> str:
        """A setting that is a name; "" where it could not be read."""
        return dict(self.words).get(name, "")


def present_of(case: Case) -> Present:
    """Everything that could be read.

    >>> from isograd.records.anatomy import Optimizer
    >>> case = Case(Anatomy("torch", (), (), Optimizer("sgd", (("learning_rate", 0.1), ("momentum", 0.9)))))
    >>> round(present_of(case).number("learning_rate"), 6)
    1.0
    """
    anatomy, loop = case.anatomy, loop_of(case)
    weighted = [node for node in anatomy.nodes if node.operation in ("linear", "conv", "recurrent", "attention")]
    odd = _odd(anatomy)
    numbers = {**_steps(anatomy, loop), **_cut_short(case), **_weights(anatomy), **odd[1], **_inputs(case), **_targets(case)}
    if case.expectations.slope is not None and math.isfinite(case.expectations.slope):
        numbers["fading"] = abs(case.expectations.slope) * max(0, len(weighted) - 1)
    fading = recurrent.fading_steps(case)
    if fading is not None:
        numbers["fading_steps"] = fading
    mixing = _mixing(case)
    if mixing is not None:
        numbers["mixing"] = mixing
    dropped = [
        float(p) for node in anatomy.nodes if node.operation == "dropout" and isinstance(p := node.get("p", 0.0), float | int)
    ]
    if dropped:
        numbers["dropout"] = max(dropped)
    loss = _loss(case)
    words = {
        "optimizer": "" if anatomy.optimizer is None else "adaptive" if anatomy.optimizer.kind in ADAPTIVE else "sgd",
        "algorithm": "" if anatomy.optimizer is None else anatomy.optimizer.kind,
        "decay": "" if anatomy.optimizer is None else _decay(anatomy.optimizer.kind),
        "activation": next(iter(_activations(anatomy)), ""),
        "activations": " ".join(_activations(anatomy)),
        "straight": "" if not anatomy.straight else "part" if anatomy.bends else "whole",
        "odd_layer": odd[0],
        "last": "" if loss is None or _reaches(loss) else " ".join(loss.head),
        "loss": loss.function if loss is not None else anatomy.loss or "",
    }
    family = _family(anatomy, weighted, words["loss"])
    words["foreign"] = _foreign(anatomy, family)
    return Present(
        family,
        len(weighted),
        _width(weighted),
        loop,
        tuple((name, value) for name, value in numbers.items() if math.isfinite(value)),
        tuple((name, word) for name, word in words.items() if word),
    )


def _decay(kind: str) -> str:
    """How weight decay acts: beside the gradient, or in it."""
    return "decoupled" if kind == "adamw" else "adaptive" if kind in ADAPTIVE else "sgd"


def _family(anatomy: Anatomy, weighted: list[Node], loss: str) -> Family:
    operations = Counter(node.operation for node in weighted)
    products, soft = _products(anatomy), [node for node in anatomy.nodes if node.operation == "softmax"]
    by_hand = bool(products and soft) and anatomy.nodes.index(soft[0]) < anatomy.nodes.index(products[-1])
    if operations["attention"] or (by_hand and not hidden_softmax.between(anatomy)):
        return "attention"
    if operations["recurrent"]:
        return "recurrent"
    if operations["conv"]:
        return "convolutional"
    return "regression" if loss in REGRESSIONS else "dense"


def _products(anatomy: Anatomy) -> list[Node]:
    """Products of signals with each other, or with what is no weight."""
    return [node for node in anatomy.nodes if node.operation == "unknown" and node.label in hidden_softmax.PRODUCTS]


def _foreign(anatomy: Anatomy, family: Family) -> str:
    """What a network does that no reference of its family does: a graph network multiplies by who is a neighbour of whom."""
    return next((node.label for node in _products(anatomy)), "") if family in ("dense", "regression") else ""


def _width(weighted: list[Node]) -> float:
    """The narrowest hidden layer."""
    outs = [float(node.get("fan_out", node.get("hidden", node.get("width", 0)))) for node in weighted[:-1]]
    return min((out for out in outs if out > 0), default=0.0)


def _steps(anatomy: Anatomy, loop: Loop) -> dict[str, float]:
    found: dict[str, float] = {}
    if loop.steps:
        found["steps"] = float(loop.steps)
    if loop.clip_norm is not None:
        found["clip_norm"] = loop.clip_norm
    if anatomy.optimizer is None:
        return found
    for name in ("learning_rate", "momentum", "beta1", "beta2", "eps", "weight_decay"):
        value = anatomy.optimizer.get(name, "")
        if isinstance(value, float | int):
            found[name] = float(value)
    if anatomy.optimizer.kind == "adagrad":
        found["shrinks"] = 2.0 / math.sqrt(max(loop.steps or 0, SHORT))
    if loop.rates:
        found["learning_rate"] = max(rate for _, rate in loop.rates)
    momentum = found.get("momentum", 0.0)
    if anatomy.optimizer.kind not in ADAPTIVE and "learning_rate" in found and 0.0 <= momentum < 1.0:
        found["learning_rate"] /= 1.0 - momentum
    return found


def _cut_short(case: Case) -> dict[str, float]:
    """The steps that were made, where the loop went to its end without most of those that were announced.

    A length may be announced in batches: where several make a step it is as many times shorter.
    """
    early = case.ended and case.planned is not None and 0 < passes_of_a_step(case) * case.taken < EARLY * case.planned
    return {"steps": float(case.taken)} if early and not case.facts("raised") else {}


def _weights(anatomy: Anatomy) -> dict[str, float]:
    gains, equal = [], []
    rows = {name for node in anatomy.nodes if node.operation == "embedding" for name in node.parameters}
    rows -= _multiplied(anatomy)
    matrices = [one for one in anatomy.matrices if one.values.count and math.prod(one.shape[1:]) > 1]
    for parameter in [one for one in matrices if one.name not in rows] or matrices:
        # the rows of an embedding are outputs: of size 1, not 1 / sqrt(fan_in)
        scale = 1.0 if parameter.name in rows else math.sqrt(math.prod(parameter.shape[1:]))
        gains.append(parameter.values.rms * scale)
        equal.append(parameter.values.std <= 1e-6 * parameter.values.rms)
    biases = [_below(p.values) for p in anatomy.parameters if len(p.shape) == 1 and p.values.count and "bias" in p.name]
    found = {"gain": 0.0 if equal and all(equal) else statistics.median(gains)} if gains else {}
    return {**found, "bias": max(biases)} if biases else found


def _multiplied(anatomy: Anatomy) -> set[str]:
    """Embeddings whose rows are multiplied with those of others: each is the weights of the other, and fan_in is its width."""
    found = set[str]()
    for node in anatomy.nodes:
        if node.operation == "multiply" or node in _products(anatomy):
            ends = [_source(anatomy, place) for place in dict.fromkeys(node.inputs)]
            if len(ends) > 1 and all(end.operation == "embedding" for end in ends):
                found.update(name for end in ends for name in end.parameters)
    return found


def _source(anatomy: Anatomy, place: int) -> Node:
    """The node that a signal comes from, before it was given another shape."""
    node = anatomy.nodes[place]
    while node.operation == "reshape" and len(node.inputs) == 1:
        node = anatomy.nodes[node.inputs[0]]
    return node


def _below(bias: Moments) -> float:
    """How far below zero the entries are in the mean, where that is no accident of the draw (three standard errors)."""
    return -bias.mean if -bias.mean > 3.0 * bias.std / math.sqrt(bias.count) else 0.0


def _inputs(case: Case) -> dict[str, float]:
    seen: list[InputSample] = [sample for _, sample in case.inputs if sample.position == 0]
    if not seen:
        return {}
    first = seen[0]
    found = {"batch_size": float(first.shape[0])} if first.shape else {}
    values = first.values
    if not first.dtype.startswith("float") or not values.count:
        return found
    if first.features is not None and first.features.median > 0.0:
        scale, shift = first.features.median, first.features.offset
        found["input_ratio"] = first.features.largest / first.features.median
    else:
        scale, shift = values.std, abs(values.mean) / values.std if values.std > 0.0 else math.inf
    found |= {"input_scale": scale, "input_shift": min(shift, 1e12)}
    if values.nonfinite:
        found["input_nonfinite"] = float(values.nonfinite)
    return found


def _targets(case: Case) -> dict[str, float]:
    """Deviation and distance from zero of the first targets that are numbers: of several losses, those of any."""
    samples = [sample for _, sample in case.losses if sample.training and sample.function]
    for loss in samples:
        target = loss.target
        if target is None or not loss.target_dtype.startswith("float") or target.std <= 0.0:
            continue
        if not set(loss.target_range) <= {0.0, 1.0}:
            return {"target_scale": target.std, "target_shift": abs(target.mean) / target.std}
    return {}


def _mixing(case: Case) -> float | None:
    """How much the labels of one batch vary, of what those of all looks together do: 1 where the order is mixed.

    Entropies of the classes, or variances of the numbers, the mean over the looks over that of all together. Of n draws an
    entropy is (K - 1) / 2n too small in the mean (Miller 1955), which is given back.
    """
    samples = [sample for _, sample in case.losses if sample.training and sample.function]
    counts = _by_step(case)
    if len(counts) >= LOOKS:
        pooled = [sum(column) for column in zip(*counts, strict=False)]
        together, kinds = _entropy(pooled), sum(map(bool, pooled))
        each = [min(together, _entropy(one) + (kinds - 1) / (2 * sum(one))) for one in counts]
        return statistics.fmean(each) / together if together > 0.0 else None
    targets = [sample.target for sample in samples if sample.target is not None and sample.target.count > 1]
    if len(targets) < LOOKS:
        return None
    whole = functools.reduce(operator.add, targets)
    return statistics.fmean(one.std**2 for one in targets) / whole.std**2 if whole.std > 0.0 else None


def _by_step(case: Case) -> list[list[int]]:
    """How many labels of each class came in a step, in all of its losses: a judge is asked for ones and zeros in turn."""
    steps: dict[int, list[tuple[int, ...]]] = {}
    for step, sample in case.losses:
        if sample.training and sample.function and sum(sample.classes) > 1:
            steps.setdefault(step, []).append(sample.classes)
    return [[sum(column) for column in zip_longest(*seen, fillvalue=0)] for seen in steps.values()]


def _entropy(counts: Sequence[int]) -> float:
    total = sum(counts)
    return -math.fsum(count / total * math.log(count / total) for count in counts if count) if total else 0.0


def _reaches(loss: LossSample) -> bool:
    """Whether the last function can put out the targets of a regression: then it may well belong there."""
    return loss.function in REGRESSIONS and loss.beyond == 0.0 and not loss.classes


def _loss(case: Case) -> LossSample | None:
    return next((sample for _, sample in case.losses if sample.training and sample.function), None)


def _odd(anatomy: Anatomy) -> tuple[str, dict[str, float]]:
    """The layer whose weights, or else whose biases, are the furthest beyond what is usual, and its gain or bias."""
    rows = {name for node in anatomy.nodes if node.operation == "embedding" for name in node.parameters}
    gains = [
        (one.values.rms * math.sqrt(math.prod(one.shape[1:])), one.layer)
        for one in anatomy.matrices
        if one.values.count and one.name not in rows and math.prod(one.shape[1:]) > 1
    ]
    gain, layer = max(gains, default=(0.0, ""))
    if gain > ODD_GAIN:
        return layer, {"odd_gain": gain}
    biased = [
        (abs(p.values.mean), p.layer) for p in anatomy.parameters if len(p.shape) == 1 and p.values.count and "bias" in p.name
    ]
    bias, layer = max(biased, default=(0.0, ""))
    return (layer, {"odd_bias": bias}) if bias > ODD_BIAS else ("", {})


def _activations(anatomy: Anatomy) -> tuple[str, ...]:
    """The functions between the first and the last weighted layer, the commonest first."""
    places = [at for at, node in enumerate(anatomy.nodes) if node.parameters or node.operation in ("linear", "conv")]
    if len(places) < 2:
        return ()
    between = anatomy.nodes[places[0] : places[-1]]
    names = Counter(str(node.get("function", node.label)) for node in between if node.operation == "activation")
    soft = [node for node in hidden_softmax.between(anatomy) if node in between]  # none of an attention
    names.update("log_softmax" if node.get("log", False) else "softmax" for node in soft)
    names.update(node.label for node in between if node.operation == "unknown" and node.label in FLAT)
    return tuple(name for name, _ in names.most_common())
