"""Flat activation: a function without slope (sign, round, a norm over one value) through which no gradient passes.

Certain as arithmetic: the gradient with respect to the function's output is there at every look, the one with respect to its
input is exactly zero at every look, and so are the gradients of all weights that it alone leads back to.
Bounds:
  LEAST  three looks (two where the run has ended): a layer that starts at zero lets nothing through at the first step only
Where the layers before it learn by another way (a skip), the branch is a fixed random function of them: a warning where the run
has ended below half of what is to be had.
Where not even what the network puts out last has a gradient, in any look, although a loss above zero was stepped, the function
without slope stands between outputs and loss: all gradients are exactly zero, and nothing is learned.
CURVED: a network of piecewise linear activations (ReLU and its like) has no curvature: a derivative of its derivative with
respect to the inputs is exactly zero, and a loss that asks for one (a differential equation) gets nothing of it. Certain where
it was zero at every look.
Look-alikes that are healthy: first derivatives alone (a penalty on the gradient), a smooth activation among them; a ReLU none
of whose units fires (``dead_units`` says more), underflow in a deep network (the gradient that arrives is tiny there; it is
``vanishing``), a straight-through estimator (its gradient is not zero).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from isograd.health.case import Case
from isograd.health.diagnosis.precision import in_half
from isograd.health.outcome import outcome
from isograd.records.anatomy import WEIGHTED, Node, spoken
from isograd.records.finding import Evidence, Finding
from isograd.records.trace import LayerSample

LEAST = 3
STEPS, SKILL = 50, 0.5
TINY = 1e-30
FLAT = ("activation", "unknown", "norm", "softmax")
"""What may have no slope: a norm or a softmax over a single value gives the same number whatever comes in."""
STRAIGHT = ("relu", "leaky_relu", "prelu", "relu6", "hardtanh", "rrelu", "threshold", "abs", "hardshrink", "softshrink")
"""Activations without curvature."""
STEPPED = ("round", "sign", "floor", "ceil", "trunc", "sgn", "heaviside")
"""Functions whose slope is zero everywhere."""
REFERENCES = ("Bengio et al. 2013, Estimating or propagating gradients through stochastic neurons, arXiv:1308.3432, section 4",)


def diagnose(case: Case) -> Iterator[Finding]:
    """The first function from the output on that lets no gradient through, if weights lie before it."""
    yield from _straight(case)
    looks = [{sample.where: sample for sample in step.layers} for step in case.steps if step.layers]
    if len(looks) < (2 if case.ended else LEAST):
        return
    for position, node in reversed(tuple(enumerate(case.anatomy.nodes))):
        if node.operation in FLAT and all(_flat(case, node, samples) for samples in looks):
            starved = _starved(case, position)
            if starved:
                yield _finding(case, node, starved, len(looks))
                return
            if case.ended and case.taken >= STEPS and outcome(case).poor(SKILL) and _weighted_before(case, position):
                yield _around(node, len(looks))
                return
    yield from _outside(case, looks)


def _outside(case: Case, looks: Sequence[Mapping[str, LayerSample]]) -> Iterator[Finding]:
    """Nothing comes back from the loss at all."""
    norms = [reading.value for reading in case.series("total_gradient_norm")]
    last = next((node for node in reversed(case.anatomy.nodes) if any(_gradient(node, one) is not None for one in looks)), None)
    if not norms or any(norms) or last is None or any(_gradient(last, one) != 0.0 for one in looks):
        return
    if not all(reading.value != 0.0 for reading in case.series("loss")):
        return  # a margin that is kept asks for nothing
    sample = next((sample for _, sample in reversed(case.losses) if sample.training), None)
    name = next((one for one in sample.head if one in STEPPED), "") if sample else ""
    if not name and in_half(case):
        return  # more likely underflow: ``precision``
    yield Finding(
        "flat_activation",
        "critical",
        0.97,
        "loss",
        f"All gradients are exactly zero: between the outputs and the loss stands {name or 'a function'}"
        f"{', whose slope is zero everywhere' if name else ' without slope'}, and nothing is learned.",
        (Evidence(f"the gradient of the outputs is exactly 0 in all of {len(looks)} looks", "gradient_rms", 0.0, "", 0.0),),
        (last.path,),
        (sample.head_source if name else None) or sample.source if sample else last.source,
        next(step.index for step in case.steps if step.layers),
        cause=None if name else "round, sign, a comparison or a clamp on the way to the loss, or a loss times zero",
        remedy="compute the loss from the outputs as they are; round or compare them only where they are judged",
        references=REFERENCES,
    )


def _gradient(node: Node, samples: Mapping[str, LayerSample]) -> float | None:
    """The largest gradient that came back to an output; None where none was looked at."""
    sample = samples.get(node.path)
    return sample.gradient.largest if sample is not None and sample.gradient is not None else None


def _straight(case: Case) -> Iterator[Finding]:
    """Second derivatives of a network that has none."""
    facts = [fact for _, fact in case.facts("derivative")]
    if len(facts) < (2 if case.ended else LEAST) or not all(bool(fact.get("flat", False)) for fact in facts):
        return
    curves = [node for node in case.anatomy.nodes if node.operation == "activation"]
    if not curves or any(str(node.get("function", "")) not in STRAIGHT for node in curves):
        return
    names = ", ".join(sorted({str(node.get("function", "")) for node in curves}))
    yield Finding(
        "flat_activation",
        "warning",
        0.95,
        curves[0].path,
        f"A second derivative that the program asks for is exactly zero everywhere, at all {len(facts)} looks: between its "
        f"kinks {names} is a straight line, and so is the network. What the loss makes of this derivative teaches it nothing.",
        (Evidence("second derivatives of exactly zero", "gradient_rms", 0.0, "", 0.0),),
        tuple(node.path for node in curves),
        facts[-1].source or curves[0].source,
        remedy="a smooth activation: tanh, sin, SiLU, GELU or softplus in the place of each",
        references=("Raissi et al. 2019, Physics-informed neural networks, J. Comput. Phys. 378",),
    )


def _flat(case: Case, node: Node, samples: dict[str, LayerSample]) -> bool:
    above = samples.get(node.path)
    if above is None or above.gradient is None or above.activation is None or not above.gradient.largest > TINY:
        return False
    if above.activation.zero_fraction == 1.0 and node.operation != "norm":
        return False  # no unit fires
    below = [samples.get(case.anatomy.nodes[source].path) for source in node.inputs]
    return bool(below) and all(one is not None and one.gradient is not None and one.gradient.largest == 0.0 for one in below)


def _starved(case: Case, position: int) -> list[str]:
    """The layers before a node whose trained matrices had a gradient of exactly zero at every look."""
    layers = {case.anatomy.nodes[place].path for place in case.anatomy.before[position]}
    names = {p.name: p.layer for p in case.anatomy.matrices if p.trainable and p.in_optimizer and p.layer in layers}
    sizes: dict[str, float] = {}
    for step in case.steps:
        for sample in step.parameters:
            if sample.name in names and sample.gradient is not None:
                sizes[sample.name] = max(sizes.get(sample.name, 0.0), sample.gradient.largest)
    return [names[name] for name in names if sizes.get(name) == 0.0]


def _weighted_before(case: Case, position: int) -> bool:
    return any(case.anatomy.nodes[place].operation in WEIGHTED for place in case.anatomy.before[position])


def _around(node: Node, looks: int) -> Finding:
    return Finding(
        "flat_activation",
        "warning",
        0.85,
        node.path,
        f"No gradient passes through {spoken(node.path)} ({node.label}), whose slope is zero everywhere: what is before it "
        "learns by other ways alone, and the answers are poor.",
        _evidence(looks),
        (node.path,),
        node.source,
        remedy=_remedy(node),
        references=REFERENCES,
    )


def _finding(case: Case, node: Node, starved: list[str], looks: int) -> Finding:
    many = f"{len(starved)} layers before it" if len(starved) > 1 else spoken(starved[0])
    return Finding(
        "flat_activation",
        "critical",
        0.99,
        node.path,
        f"No gradient passes through {spoken(node.path)} ({node.label}), whose slope is zero everywhere: {many} cannot learn.",
        _evidence(looks),
        (node.path, *starved),
        node.source,
        next(step.index for step in case.steps if step.layers),
        remedy=_remedy(node),
        references=REFERENCES,
    )


def _evidence(looks: int) -> tuple[Evidence]:
    return (
        Evidence(f"gradient behind it is there, before it exactly 0, in all of {looks} looks", "gradient_rms", 0.0, "", 0.0),
    )


def _remedy(node: Node) -> str:
    if node.operation in ("norm", "softmax"):
        return "take it over more than one value (over one it gives the same number whatever comes in), or leave it out"
    return (
        "a function with a slope (tanh or a steep sigmoid for sign, the number itself for round); or a straight-through "
        "estimator: x + (sign(x) - x).detach()"
    )
