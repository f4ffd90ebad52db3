r"""Hidden softmax: a softmax in the place of an activation, between two weighted layers.

Its n outputs are positive and sum to 1: they average 1 / n, and its Jacobian diag(p) - p p^T has gain max(p) at most and about
1 / n where all are alike, as they are at birth. So signal and gradient both shrink by about the width of the layer, and the
units of a layer can no longer say several things at once. A log-softmax takes one number, log sum exp(x), off all units alike:
it is a shift and no activation, and what it gives grows with the log of the width. Networks learn nonetheless, more slowly or
less: it is a remark, and an alarm where
  WELL    the run has ended and reached less than nine tenths of what is to be had, or
  WIDE    nothing is known of the outcome (two networks against each other) and the gain at birth is 1 / 16 or less

Look-alikes that are healthy: attention and gates (their softmax goes into a product), the head (nothing follows), a draw of
categories (noise is added before it), a narrow code of categories that does well.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.curve import contested
from isograd.health.looks import listed
from isograd.health.outcome import outcome
from isograd.records.anatomy import Anatomy, Node, spoken
from isograd.records.finding import Evidence, Finding

WELL = 0.9
WIDE = 16
STEPS = 100
LAYERS = ("linear", "conv")
PRODUCTS = ("matmul", "mm", "bmm", "einsum")
"""A graph network multiplies what its weights gave by who is a neighbour of whom."""
PASSING = ("dropout", "norm", "pool", "reshape", "concat", "add")
"""What may stand between a layer and the softmax after it, or the softmax and the layer after it."""


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for all that stand between layers."""
    found = between(case.anatomy)
    if not found:
        return
    judged, over = outcome(case), case.ended and case.taken >= STEPS
    width = min(node.shape[0] if node.shape else 0 for node in found)
    poor = judged.skill is not None and not judged.well(WELL)
    unknown = judged.skill is None and contested(case) and width >= WIDE
    where = listed([spoken(node.path) for node in found])
    shift, text = bool(found[0].get("log", False)), f"its outputs average 1 / {width}"
    yield Finding(
        "hidden_softmax",
        "warning" if over and (poor or unknown) else "note",
        0.85 if poor else 0.7,
        found[0].path,
        f"A log-softmax stands between layers at {where}: it takes one number off all units alike, which is no activation."
        if shift
        else f"A softmax stands between layers at {where}: its outputs sum to 1, so that signal and gradient shrink by about "
        f"the {width} units of the layer.",
        () if shift else (Evidence(text, "softmax_width", float(width), "units", float(WIDE)),),
        tuple(node.path for node in found),
        found[0].source,
        remedy="an activation that works on each unit by itself (ReLU, GELU, tanh); a softmax belongs after the last layer",
    )


def between(anatomy: Anatomy) -> list[Node]:
    """The softmaxes that read a weighted layer and are read by weighted layers only, both but for what passes numbers on."""
    if not anatomy.traced:
        return []
    nodes, readers = anatomy.nodes, _readers(anatomy)
    found = []
    for position, node in enumerate(nodes):
        if node.operation == "softmax":
            below, above = _ends(nodes, [n.inputs for n in nodes], position), _ends(nodes, readers, position)
            made = all(nodes[at].operation in LAYERS or nodes[at].label in PRODUCTS for at in below)
            if below and above and made and all(nodes[at].operation in LAYERS for at in above):
                found.append(node)
    return found


def _readers(anatomy: Anatomy) -> list[tuple[int, ...]]:
    readers: list[list[int]] = [[] for _ in anatomy.nodes]
    for position, node in enumerate(anatomy.nodes):
        for source in node.inputs:
            readers[source].append(position)
    return [tuple(some) for some in readers]


def _ends(nodes: tuple[Node, ...], links: list[tuple[int, ...]], position: int) -> set[int]:
    """The first operations that do something to the numbers, one way; a dead end counts as itself."""
    found: set[int] = set()
    seen, todo = {position}, list(links[position])
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        passes = nodes[at].operation in PASSING
        if (passes and links[at]) or (nodes[at].operation == "softmax" and at != position):
            todo.extend(links[at])
        else:
            found.add(at)
    return found
