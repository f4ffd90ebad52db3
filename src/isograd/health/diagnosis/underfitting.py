"""Underfitting: the network learned something and stays far from what it knows or could know, for a reason that shows.

That a loss stays high says little by itself: nobody knows what the data allow. Two things can be known from inside:
  SHY     the answers are in the right order and of the wrong size: with the share of right answers that it has, a network whose
          confidence fits pays a certain loss at most (Fano's inequality read backwards; for a regression, what rescaling the
          outputs would explain: the correlation squared), and this one has reached less than a third of that
  REASON  what the network is made of bars it from learning more: no nonlinearity between its layers, a layer of one unit in
          the middle, or one of no more than NARROW, 3, from inputs that have more (networks none of whose layers is wider than
          their inputs approximate no function that has a peak: Johnson 2019, arXiv:1810.00393), dropout of 80 % and more; and
          the late loss is poor and flat, or below a quarter of the way
A run that ends with LITTLE, a fifth, or less of the way from a constant answer to perfect, for whatever reason, gets a remark:
from inside nobody can tell what the data allow, but the number has to be seen.
Bounds: KNOWS 0.2: enough is known (chance-corrected hits, or variance that rescaling would explain) for the order to count.

Look-alikes that are healthy: label smoothing and class weights (their floor is another: nothing is said), linear models on
purpose (one layer), problems that are linear, autoencoders (narrow on purpose: their targets are their inputs).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.health.curve import Curve
from isograd.health.outcome import outcome
from isograd.health.worth import against, allowed, falls, learned_nothing
from isograd.records.anatomy import WEIGHTED, Anatomy, Node, spoken
from isograd.records.finding import Evidence, Finding

KNOWS = 0.2
SURE = 0.1
SHY = 1 / 3
POOR = 0.5
HOPELESS = 0.25
STEPS = 50
LOOKS = 2
DROPPED = 0.8
NARROW = 3
LITTLE = 0.2


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that the network stays below what it knows, or could not know more."""
    curve = curves.main(case)
    reason = barred(case.anatomy)
    if curve is None or not case.ended or case.taken < STEPS or len(curve.looks) < LOOKS:
        return
    late = curve.late()
    if late.beat is None:
        return
    reachable, poor = allowed(curve), outcome(case).short_of(POOR)
    told = curve.standing(curve.late_looks()).beat  # on the same examples: a few wild ones elsewhere are no wrong size
    shy = reachable is not None and max(late.beat + 2.0 * late.error, told or 0.0) < SHY * reachable
    if reachable is not None and shy and _knows(curve) and reachable >= SURE:
        yield _shy(case, curve, late.beat, reachable)
    elif reason is not None and poor and (late.beat < HOPELESS or (late.beat < POOR and not falls(curve))):
        yield _barred(case, curve, late.beat, *reason)
    elif late.beat < LITTLE and outcome(case).poor(LITTLE) and curve.told and not learned_nothing(curve):
        yield _little(case, curve, late.beat)


def _knows(curve: Curve) -> bool:
    late = curve.late()
    if late.hits is not None:
        return late.hits >= KNOWS and late.hits > 3.0 * late.hits_error
    return late.correlation is not None and late.correlation**2 >= KNOWS


def _shy(case: Case, curve: Curve, beat: float, reachable: float) -> Finding:
    late = curve.late()
    knows = (
        f"{100 * late.right:.0f} % of the answers are right"
        if late.right is not None
        else f"outputs and targets have a correlation of {late.correlation or 0.0:.2f}"
    )
    return Finding(
        "underfitting",
        "warning",
        0.85,
        "loss",
        f"After {case.taken:,} steps {knows}, but the loss is {against(beat)}, "
        f"where outputs of the right size would be {100 * reachable:.0f} % below: they are in order and of the wrong size.",
        (
            Evidence(
                f"1 - loss / best constant answer: {beat:.2f}; with these hits at least {reachable:.2f}",
                "skill",
                beat,
                "",
                reachable,
            ),
        ),
        source=curve.looks[-1][1].source,
        since=curve.late_looks()[0][0],
        remedy="a higher learning rate or more steps, if the loss still falls; else look at what bounds the outputs: an "
        "activation after the last layer, a clipped gradient, weight decay, targets of another size",
    )


def _little(case: Case, curve: Curve, beat: float) -> Finding:
    late = curve.late()
    right = "" if late.right is None else f" {100 * late.right:.0f} % of the answers are right,"
    share = "" if late.majority is None else f" where always the most frequent gives {100 * late.majority:.0f} %."
    return Finding(
        "underfitting",
        "note",
        0.8,
        "loss",
        f"The run ends {100 * beat:.0f} % of the way from the best constant answer to perfect ones.{right}{share} Whether the "
        "data allow more cannot be seen from inside.",
        (Evidence(f"1 - loss / best constant answer: {beat:.2f}", "skill", beat, "", LITTLE),),
        source=curve.looks[-1][1].source,
        since=curve.late_looks()[0][0],
        remedy="a simple model (linear, trees, counts of neighbours) on the same inputs tells what can be had; 10 examples "
        "that the network cannot learn by heart speak against model, loss or step",
        references=("Karpathy 2019, A recipe for training neural networks",),
    )


def barred(anatomy: Anatomy) -> tuple[Node, str, str] | None:
    """What bars a network from learning more: the place, what it is, and the way out."""
    nodes = [node for node in anatomy.nodes if node.operation in WEIGHTED]
    if not nodes or not anatomy.traced:
        return None
    for node in anatomy.nodes:
        if node.operation == "dropout" and float(node.get("p", 0.0)) >= DROPPED:
            p = float(node.get("p", 0.0))
            return node, f"{spoken(node.path)} drops {100 * p:.0f} % of its inputs", "dropout of 0.1 to 0.5"
    for node in nodes[:-1]:
        if node.operation == "linear" and 1 <= int(node.get("fan_out", 0)) <= _bottleneck(node, nodes[0]):
            units = f"{node.get('fan_out', 0)} unit{'s' if int(node.get('fan_out', 0)) > 1 else ''}"
            return node, f"everything has to pass through the {units} of {spoken(node.path)}", "more units there"
    plain = unbent(anatomy)
    if plain:
        what = f"no activation stands between its {len(plain)} layers, which amount to one linear layer"
        return plain[0], what, "an activation (ReLU, GELU, tanh) after every layer but the last"
    return None


def _bottleneck(node: Node, first: Node) -> int:
    """Units up to which a layer is a bottleneck: one, or NARROW where the inputs of the network have more."""
    within = int(node.get("fan_in", 0)) <= NARROW < int(first.get("fan_in", 0))
    return NARROW if within or (node is first and int(node.get("fan_in", 0)) > NARROW) else 1


def squeezed(anatomy: Anatomy) -> Node | None:
    """The layer of a single unit that everything passes through, where one number is too few; None without one.

    It is too few for three and more answers, and where nothing before it bent the signal and more than one number comes in:
    behind layers that find the right one, a single number is enough for an amount and for two classes.

    >>> squeezed(Anatomy("torch", (), ())) is None
    True
    """
    nodes = anatomy.nodes
    layers = [place for place, node in enumerate(nodes) if node.operation in WEIGHTED]
    if not anatomy.traced or len(layers) < 2:
        return None
    answers = nodes[-1].shape[-1] if nodes[-1].shape else 1
    for place in layers[:-1]:
        node = nodes[place]
        bent = any(before.operation in ("activation", "recurrent", "attention") for before in nodes[:place])
        comes_in = int(node.get("fan_in", 0)) or int(node.get("input", 0)) * int(node.get("steps", 1))
        too_few = answers > 2 or (not bent and comes_in > 1)
        if node.operation in ("linear", "recurrent") and node.shape[-1:] == (1,) and too_few and _all_pass(nodes, place):
            return node
    return None


def _all_pass(nodes: Sequence[Node], place: int) -> bool:
    """Whether nothing that comes in reaches the last node but through this one."""
    reached = {at for at, node in enumerate(nodes) if not node.inputs and at != place}
    for at, node in enumerate(nodes):
        if at != place and reached & set(node.inputs):
            reached.add(at)
    return len(nodes) - 1 not in reached


def unbent(anatomy: Anatomy) -> list[Node]:
    """The layers of a network in which one reads the other and nothing bends the signal before the last of them; else none.

    What bends the answer alone (a sigmoid at the end) makes the network no less linear in what it can tell apart.
    """
    layers = [node for node in anatomy.nodes if node.operation in WEIGHTED]
    bends = ("activation", "recurrent", "attention", "softmax", "pool", "unknown", "norm", "embedding")
    last = max((place for place, node in enumerate(anatomy.nodes) if node.operation in WEIGHTED), default=0)
    if not anatomy.traced or any(node.operation in bends for node in anatomy.nodes[:last]):
        return []
    behind: set[int] = set()
    for place, node in enumerate(anatomy.nodes):
        if behind & set(node.inputs):
            if node in layers:
                return layers
            behind.add(place)
        elif node in layers:
            behind.add(place)
    return []


def _barred(case: Case, curve: Curve, beat: float, node: Node, what: str, remedy: str) -> Finding:
    return Finding(
        "underfitting",
        "warning",
        0.75,
        node.path,
        f"The loss no longer falls and is {against(beat)}: {what}.",
        (Evidence(f"1 - loss / best constant answer: {beat:.2f}", "skill", beat, "", POOR),),
        (node.path,),
        node.source,
        curve.late_looks()[0][0],
        remedy=remedy,
    )
