"""What facts say together: in how many of the looks they were seen, where, and whether weights are as they were drawn."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from isograd.health.case import Case
from isograd.records.anatomy import Anatomy, Node, Parameter
from isograd.records.fact import Fact
from isograd.records.trace import Step

NORMALS = (0.02, 1.0)
"""Deviations from which parameters of a module's own are drawn by convention."""
ELSEWHERE = frozenset(
    {"first_aid", "loaded_itself", "loader_restarted", "loss_broke", "ranks_compared", "repeats", "training_mode"}
)
"""Facts that are told outside of the looks, or for the whole run when it is over."""
FEWEST = 64
"""Entries from which the extremes of a matrix tell how it was drawn."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """A fact through the looks at a run: the first and the last time, in how many of the looks since the first."""

    fact: Fact
    first: int
    last: int
    seen: int
    looks: int

    @property
    def always(self) -> bool:
        """Whether it was there at every look since the first time."""
        return self.seen >= self.looks


def looked(case: Case) -> tuple[int, ...]:
    """The steps in which facts could be seen.

    >>> from isograd.records.trace import Step
    >>> looked(Case(Anatomy("torch", (), ()), steps=(Step(1), Step(2, facts=(Fact("carried"),)))))
    (2,)
    """
    return tuple(dict.fromkeys(step.index for step in case.steps if _looked(step)))


def _looked(step: Step) -> bool:
    # How the weights ended is looked up without a step: then no parameter has an update. A loss may be listened to alone.
    # A step that first aid acted on shows that and no more, as what is known of the loaders when all is over.
    told = any(fact.kind not in ELSEWHERE for fact in step.facts)
    return bool(step.layers) or told or any(p.update is not None for p in step.parameters)


def lasting(case: Case, kind: str) -> dict[str, Lasting]:
    """The facts of one kind by place, each as it was last seen."""
    steps = looked(case)
    found: dict[str, list[tuple[int, Fact]]] = defaultdict(list)
    for index, fact in case.facts(kind):
        found[fact.where].append((index, fact))
    return {
        where: Lasting(
            some[-1][1],
            some[0][0],
            some[-1][0],
            len({index for index, _ in some}),
            sum(index >= some[0][0] for index in steps),
        )
        for where, some in found.items()
    }


def over(case: Case) -> bool:
    """Whether the run has ended, or made all the steps that it announced."""
    return case.ended or (case.planned is not None and case.taken >= case.planned)


def holds(found: Lasting, case: Case, *, least: int = 3) -> bool:
    """Whether a fact was there at every look since the first time, in ``least`` looks (in two where the run has ended)."""
    return found.always and found.seen >= (min(least, 2) if over(case) else least)


def as_drawn(parameter: Parameter, node: Node | None) -> bool:
    r"""Whether a matrix looks as torch draws it for a new layer, so that nothing was ever learned or loaded into it.

    Drawn uniformly within :math:`\pm b` (``_bounds``), of n entries the largest magnitude lies within 10 b / n below b (all
    but e^-10 of the time) and never above, and their rms is b / sqrt(3) to within 4 standard errors (:math:`\sqrt{0.8 / n} / 2`
    of it). Embeddings are drawn from the unit normal, a module's own parameters from it or with a deviation of
    0.02 (the custom since Devlin et al. 2019, BERT). Weights that were trained or loaded cross b, with time; those drawn in
    another way are not known as new. Range: True, False.
    """
    values, n = parameter.values, parameter.values.count
    if n < FEWEST or values.nonfinite or len(parameter.shape) < 2:
        return False
    if node is not None and node.operation == "embedding":
        return _normal(parameter, 1.0)
    if node is None and _own(parameter) and any(_normal(parameter, deviation) for deviation in NORMALS):
        return True
    for bound in _bounds(parameter, node):
        within = bound * (1.0 - 10.0 / n) <= values.largest <= bound * (1.0 + 1e-6)
        if within and abs(values.rms * math.sqrt(3.0) / bound - 1.0) < 4.0 * math.sqrt(0.8 / n) / 2.0:
            return True
    return False


def _normal(parameter: Parameter, deviation: float) -> bool:
    """Whether mean and deviation are within 4 standard errors of those of a normal draw, and the largest where it would be."""
    values, n = parameter.values, parameter.values.count
    close = abs(values.rms / deviation - 1.0) < 4.0 / math.sqrt(2.0 * n)
    return close and abs(values.total / n) < 4.0 * deviation / math.sqrt(n)


def _own(parameter: Parameter) -> bool:
    """Whether it is no ``weight`` of a layer, but a parameter that a module holds itself (positions, tokens)."""
    return not parameter.name.rpartition(".")[2].endswith("weight")


def _bounds(parameter: Parameter, node: Node | None) -> tuple[float, ...]:
    """1 / sqrt(fan_in), that of linear and convolution layers; 1 / sqrt(hidden), recurrent; Glorot's, attention; He's."""
    fan_in, area = math.prod(parameter.shape[1:]), math.prod(parameter.shape[2:])
    if node is not None and node.operation == "recurrent":
        fan_in = int(node.get("hidden", fan_in))
    both = fan_in + parameter.shape[0] * area
    return (1.0 / math.sqrt(fan_in), math.sqrt(6.0 / both), math.sqrt(6.0 / fan_in)) if fan_in > 0 else ()


def fresh(anatomy: Anatomy, layers: Sequence[str]) -> list[str]:
    """Those of some layers that hold a matrix, if they look new, all of them; none where any shows traces of training.

    They are judged together because training touches all that it reaches, and a small matrix may stay within its bound:
    a matrix that is not as drawn, a bias beyond the bound, scales and shifts of a norm that differ from each other, and none
    of the layers is new.
    """
    matrices = [parameter for parameter in anatomy.matrices if parameter.layer in layers]
    bounds: dict[str, float] = {}
    for matrix in matrices:
        node = anatomy.node(matrix.layer)
        table = node is not None and node.operation == "embedding"  # drawn from the normal: a small one shows no bound
        widest = math.inf if table else max(_bounds(matrix, node), default=0.0)
        bounds[matrix.layer] = max(bounds.get(matrix.layer, 0.0), widest)
        if not as_drawn(matrix, node) and (matrix.values.count >= FEWEST or matrix.values.largest > widest):
            return []
    own = {matrix.layer for matrix in matrices if not matrix.trainable}  # a bias that is trained says nothing of such a matrix
    others = [
        p
        for p in anatomy.parameters
        if p.layer in layers and len(p.shape) < 2 and p.values.std > 0.0 and not (p.trainable and p.layer in own)
    ]
    if any(p.values.largest > bounds.get(p.layer, 0.0) * (1.0 + 1e-6) for p in others):
        return []
    known = any(matrix.values.count >= FEWEST for matrix in matrices)
    return [layer for layer in layers if layer in bounds] if known else []


def blank(anatomy: Anatomy) -> list[str]:
    """The frozen layers whose matrices hold nothing but zeros: whatever comes in, the same comes out, for ever.

    No training leaves that behind and no table that was found holds it alone, so that it needs no other sign.
    """
    frozen = [one for one in anatomy.matrices if not one.trainable]
    full = {one.layer for one in anatomy.matrices if one.trainable or one.values.largest > 0.0 or not one.values.count}
    return [layer for layer in dict.fromkeys(one.layer for one in frozen) if layer not in full]


def frozen_by_accident(anatomy: Anatomy) -> list[str]:
    """The frozen layers that nobody trained or loaded: new ones, judged together and those in the optimizer, and blank ones."""
    held = dict.fromkeys(p.layer for p in anatomy.parameters if not p.trainable)
    given = dict.fromkeys(p.layer for p in anatomy.parameters if not p.trainable and p.in_optimizer)
    new = [layer for some in (held, given) for layer in fresh(anatomy, tuple(some))]
    return list(dict.fromkeys([*new, *blank(anatomy)]))


def weighted(anatomy: Anatomy) -> list[str]:
    """The layers that hold a matrix, from input to output where the flow was seen."""
    layers = list(dict.fromkeys(parameter.layer for parameter in anatomy.matrices))
    order: dict[str, int] = {}
    for position, node in enumerate(anatomy.nodes):
        for name in node.parameters:
            order.setdefault(name.rpartition(".")[0], position)
    return sorted(layers, key=lambda layer: order.get(layer, -1)) if anatomy.traced else layers


def opening(text: str) -> str:
    """A sentence with a capital letter, unless it begins with the name of a module.

    >>> opening("layer 0 is frozen"), opening("the model is"), opening("encoder is frozen")
    ('Layer 0 is frozen', 'The model is', 'encoder is frozen')
    """
    return text[0].upper() + text[1:] if text.startswith(("layer ", "the ")) else text


def listed(layers: Sequence[str], most: int = 3) -> str:
    """Some layers in a sentence.

    >>> listed(["a", "b"]), listed(["a", "b", "c", "d", "e"])
    ('a and b', 'a, b, c and 2 more')
    """
    if len(layers) <= 1:
        return "".join(layers)
    shown = list(layers[:most]) if len(layers) > most else list(layers[:-1])
    rest = f"{len(layers) - most} more" if len(layers) > most else layers[-1]
    return f"{', '.join(shown)} and {rest}"
