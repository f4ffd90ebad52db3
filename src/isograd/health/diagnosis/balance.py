"""Balance: one layer stands still while others move a thousand times as much, so that no single rate serves both.

Bounds, from theory, as for vanishing gradients, which is the case where the still ones are the first (and is not repeated
here):
  APART   a layer turns less than 1/1,000 of what the layer that turns most does, a step
  MOVES   and its whole path is below 0.01 of its size: it computes what it computed at birth
A remark, and an alarm where the late loss is poor too (``health.outcome``). Look-alikes: frozen layers and layers outside the
optimizer (left out), a lower rate for a pretrained trunk on purpose, embeddings with rare rows (left out), layers that get no
gradient at all (cut off, which is another disease).
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health import layers as gather
from isograd.health.case import Case, at, middle
from isograd.health.diagnosis import vanishing
from isograd.health.layers import Layer
from isograd.health.movement import path_of, rates_so_far
from isograd.health.outcome import outcome
from isograd.records.anatomy import capital, spoken
from isograd.records.finding import Evidence, Finding

APART = 1e-3
MOVES = 1e-2
SKILL = 0.3
STEPS = 20


def diagnose(case: Case) -> Iterator[Finding]:
    """The layers that stand still among moving ones."""
    found = [layer for layer in gather.layers(case) if layer.movement is not None and _fed(case, layer)]
    if len(found) < 3 or case.taken < STEPS or any(one.alarm for one in vanishing.diagnose(case)):
        return
    most = max(layer.movement or 0.0 for layer in found)
    longer = max(1.0, case.planned / case.taken) if case.planned and not case.ended else 1.0
    rates = rates_so_far(case)
    still = []
    for layer in found[:-1]:
        path = path_of(at(case.rows, "turning_ratio", layer.weight.name), case.taken, rates) * longer
        if (layer.movement or 0.0) < APART * most and path < MOVES:
            still.append((layer.movement or 0.0, layer.node))
    if not still:
        return
    judged = outcome(case)
    harm = judged.short_of(SKILL)
    slowest, node = min(still, key=lambda row: row[0])
    text = f"a step turns {spoken(node.path)} by {slowest:.0e} of its size and the fastest layer by {most:.0e}"
    yield Finding(
        "balance",
        "warning" if harm else "note",
        0.8,
        node.path,
        f"{capital(text)}: no single learning rate serves both.",
        (Evidence(text, "turning_ratio", slowest / most if most else 0.0, "slowest over fastest", APART),),
        tuple(place.path for _, place in sorted(still, key=lambda row: row[0])),
        node.source,
        remedy="Adam or another optimizer that scales each layer by its own gradient; or an initialisation with layers of "
        "one scale; or a rate for each layer",
        references=("You et al. 2017, arXiv:1708.03888",),
    )


def _fed(case: Case, layer: Layer) -> bool:
    """Whether the layer's weight gets a gradient at all."""
    return (middle(at(case.rows, "parameter_gradient_rms", layer.weight.name)) or 0.0) > 0.0
