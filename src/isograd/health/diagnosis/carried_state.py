"""A state carried over batches: a recurrent layer begins a batch with the state that the last one left.

Right where batches continue each other (truncated backpropagation through time) and the state is detached; wrong where they
are shuffled, which cannot be seen from outside: a remark. With the graph of the last batch still on it, the backward pass
goes back through all batches so far: it takes longer with every step, and raises unless the graph is retained.

Bounds:
  LEAST   with its graph, in two looks: the second was a mistake already

Look-alikes that are healthy: a detached state on continuing batches, an initial state that is learned, several calls a step.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import lasting, opening
from isograd.records.anatomy import spoken
from isograd.records.finding import Evidence, Finding

LEAST = 2


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding a layer."""
    for where, found in lasting(case, "state_carried").items():
        graph = bool(found.fact.get("graph", False))
        alarm = graph and found.seen >= LEAST
        node = case.anatomy.node(where)
        name = spoken(where)
        tail = (
            ", with its graph: every backward pass goes through all batches so far."
            if graph
            else ": right where batches continue each other, wrong where they are shuffled."
        )
        yield Finding(
            "carried_state",
            "warning" if alarm else "note",
            0.95 if alarm else 0.8,
            where,
            f"{opening(name)} begins each batch with the state that the last one left{tail}",
            (Evidence(f"seen in {found.seen} of {found.looks} looks", "state_carried", float(found.seen), "looks"),),
            (where,),
            node.source if node else found.fact.source,
            found.first,
            remedy="state = state.detach() before each batch"
            if graph
            else "no state given (zeros) for batches that are shuffled",
        )
