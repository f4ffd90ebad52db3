"""Dead units: units of a ReLU that fire for no example, so that neither they nor what feeds them can learn.

Bounds, from theory:
  LOOKS   at 128 looks three quarters of a layer stay silent only where a typical unit fires for fewer than 1 in 440, so that
          it hardly learns; fewer looks prove nothing. The positions of one example are alike and count for 8 looks at most
  SILENT  but that all of a layer's units are silent by chance is out of the question after 64 looks; and of a run that has
          ended no more will be seen: so many tell of MOST of a layer, where a unit that fires for fewer than 1 in 20 (rule of
          three) learns nothing in so short a time
  SHARE   a layer of n units with a share d dead is a layer of (1 - d) n units; a warning from 3/4 on (the layer has a quarter
          of its width), critical where 99 % or all are dead: nothing passes, forward or back
Only activations that are flat at zero below zero can kill a unit: ReLU and its kin; a silent LeakyReLU or GELU still learns.
For bounded activations (sigmoid, tanh) the same question is asked of the flat parts: a unit that is pinned at every look is
stuck.

Where the training answers well all the same (``health.outcome``, a skill of WELL or more) it is a remark: the layer was wider
than it had to be. Look-alikes that are healthy: half of all outputs zero after a ReLU; some dead units in a wide layer; few
looks.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health import signals
from isograd.health.case import Case, at
from isograd.health.outcome import decided, outcome
from isograd.records.anatomy import DYING, Anatomy, Node, spoken
from isograd.records.finding import Evidence, Finding, Severity

LOOKS = signals.ENOUGH
SILENT = 64
SHARE, MOST = 0.75, 0.9
ALL = 0.99
WELL = 0.6
BOUNDED = ("sigmoid", "tanh", "hardtanh", "hardsigmoid", "softsign")
REFERENCES = ("Lu et al. 2019, Dying ReLU and initialization, arXiv:1903.06733",)


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for each kind of death (dead, stuck), with all layers that have it, the worst first."""
    rows, anatomy = case.rows, case.anatomy
    for kinds, signal, word in ((DYING, "dead_fraction", "dead"), (BOUNDED, "stuck_fraction", "stuck")):
        shares: list[tuple[float, Node, int]] = []
        for node in anatomy.nodes:
            if node.operation != "activation" or node.activation not in kinds:
                continue
            series, looks = at(rows, signal, node.path), at(rows, "unit_looks", node.path)
            most = series[-1].value if series else 0.0
            enough = SILENT if most >= 1.0 or (case.ended and most >= MOST) else LOOKS
            if series and looks and looks[-1].value >= enough and series[-1].value >= SHARE:
                since = next(r.step for r in series if r.value >= SHARE)
                shares.append((series[-1].value, node, since))
        if shares:
            worst = sorted(shares, key=lambda row: -row[0])
            early = not decided(case) and all(_passed_by(anatomy, node) for _, node, _ in worst)
            yield _finding(worst, signal, word, fine=early or outcome(case).well(WELL))


def _passed_by(anatomy: Anatomy, node: Node) -> bool:
    """Whether signals reach the last node around this one: then its inputs go on changing, and it may wake."""
    nodes, reached = anatomy.nodes, set[int]()
    for place, one in enumerate(nodes):
        if one is not node and (one.operation == "input" or reached & set(one.inputs)):
            reached.add(place)
    return len(nodes) - 1 in reached


def _finding(shares: list[tuple[float, Node, int]], signal: str, word: str, *, fine: bool) -> Finding:
    share, node, _ = shares[0]
    severity: Severity = "note" if fine else "critical" if share >= ALL else "warning"
    passes = " Nothing passes through the layer, forward or back." if word == "dead" and share >= 1.0 else ""
    others = len(shares) - 1
    more = f" {others} more {'layer is' if others == 1 else 'layers are'} like it." if others else ""
    what = "fired for no example" if word == "dead" else "sat on the flat part of the curve for every example"
    return Finding(
        "dead_units",
        severity,
        0.95 if share >= ALL else 0.85,
        node.path,
        f"{100 * share:.0f} % of the units of {spoken(node.path)} {what}: they do not learn.{passes}{more}",
        (
            Evidence(
                f"{100 * share:.0f} % of its units are {word}; a layer is in trouble from {100 * SHARE:.0f} % on",
                signal,
                share,
                bound=SHARE,
            ),
        ),
        tuple(place.path for _, place, _ in shares),
        node.source,
        min(row[2] for row in shares),
        remedy=(
            "a lower learning rate or a warm-up (one large step can push every bias below zero); LeakyReLU or GELU; "
            "biases that start at 0"
            if word == "dead"
            else "smaller initial weights, scaled inputs or normalisation before the activation; ReLU instead"
        ),
        references=REFERENCES,
    )
