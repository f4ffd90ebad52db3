"""Residual branches that dominate their skip path, or vanish beside it.

Bounds, from theory. A block gives x + f(x). With independent parts the square of the signal grows by (1 + b**2) a block, where
b = rms(f(x)) / rms(x) (``signals.balance.branch_over_skip``):
  DOMINATES  b above 10 in most blocks: the signal grows a hundredfold a block in square, and the skip path, which is what keeps
             gradients alive, carries 1 % of it
  DEAD       b below 1e-3 in most blocks, late: a thousand blocks change the signal by as much as one should; they are not used
Most of at least three blocks. A remark, and an alarm where the late loss is poor too (``health.outcome``). Look-alikes:
branches that start at zero on purpose (only the late half counts), one odd block, networks whose first joint adds a position.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from isograd.health.case import Case, at, middle
from isograd.health.outcome import outcome
from isograd.health.signals.balance import branch_over_skip
from isograd.records.anatomy import Node, capital
from isograd.records.finding import Evidence, Finding

DOMINATES = 10.0
DEAD = 1e-3
BLOCKS = 3
RECENT = 0.6
"""The last look must lie in the last four tenths of the steps: branches that start at zero need time."""
SKILL = 0.3
PASSING = ("dropout", "reshape")
"""Operations that leave the size of a signal as it is, more or less, and are not always measured."""
REFERENCES = (
    "Zhang et al. 2019, Fixup initialization, arXiv:1901.09321",
    "De & Smith 2020, Batch normalization biases residual blocks towards the identity function, arXiv:2002.10444",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """What most residual blocks have in common, where it is wrong."""
    seen = [series[-1].step for series in case.rows.get("activation_rms", {}).values()]
    if not seen or max(seen) < RECENT * case.taken:
        return
    shares = [(share, node) for node in case.anatomy.nodes if not math.isnan(share := _share(case, node))]
    if len(shares) < BLOCKS:
        return
    loud = [(share, node) for share, node in shares if share > DOMINATES]
    dead = [(share, node) for share, node in shares if share < DEAD]
    if 2 * len(loud) > len(shares):
        text = (
            f"the branches of {len(loud)} of {len(shares)} residual blocks are more than 10 times as large as what they add to"
        )
        yield _finding(case, loud[::-1], text, "the skip path carries next to nothing", DOMINATES)
    elif 2 * len(dead) > len(shares) and case.taken >= 20:
        text = f"the branches of {len(dead)} of {len(shares)} residual blocks are less than 1/1,000 of what they add to"
        yield _finding(case, dead, text, "these blocks do nothing", DEAD)


def _share(case: Case, node: Node) -> float:
    """Branch over skip of a joint, late; NaN for everything else. The skip is the input that was computed first."""
    if node.operation != "add" or len(node.inputs) != 2:
        return math.nan
    skip, branch = (_size(case, place) for place in sorted(node.inputs))
    return math.nan if skip is None or branch is None else branch_over_skip(branch, skip)


def _size(case: Case, place: int) -> float | None:
    nodes = case.anatomy.nodes
    while nodes[place].operation in PASSING and len(nodes[place].inputs) == 1:
        if at(case.rows, "activation_rms", nodes[place].path):
            break
        place = nodes[place].inputs[0]
    return middle(at(case.rows, "activation_rms", nodes[place].path))


def _finding(case: Case, places: Sequence[tuple[float, Node]], text: str, what: str, bound: float) -> Finding:
    judged = outcome(case)
    harm = judged.short_of(SKILL)
    node = places[0][1]
    typical = statistics.median(share for share, _ in places)
    return Finding(
        "residual",
        "warning" if harm else "note",
        0.8,
        node.path,
        f"{capital(text)}: {what}.",
        (Evidence(text, "branch_over_skip", typical, bound=bound),),
        tuple(place.path for _, place in places),
        node.source,
        remedy="scale the last layer of each branch by 1 / sqrt(number of blocks), or start it at zero; normalise what enters "
        "the branch, not what leaves the joint",
        references=REFERENCES,
    )
