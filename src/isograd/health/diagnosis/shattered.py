"""Shattered gradients: in a deep plain network gradients of successive batches, and of like inputs, have nothing in common.

From theory (Balduzzi et al. 2017): the correlation of gradients of like inputs falls as 2**-depth in a plain ReLU network and
as 1 / sqrt(depth) in a residual one; beyond some twenty layers the gradient is white noise and a step helps no other batch.
  DEEP    20 weighted layers and more without residual joints
  RANDOM  the cosine of successive looks is below 0.02 in the median of at least 6, in size
A remark only: noise of small batches and a converged network look the same, and what matters of it shows in the loss. It is
made where the loss has not moved (``health.outcome``).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.outcome import outcome
from isograd.records.anatomy import WEIGHTED, capital
from isograd.records.finding import Evidence, Finding

DEEP = 20
RANDOM = 0.02
LOOKS = 6


def diagnose(case: Case) -> Iterator[Finding]:
    """The remark that gradients agree with nothing."""
    nodes = case.anatomy.nodes
    depth = sum(node.operation in WEIGHTED for node in nodes)
    turns = [r.value for r in case.series("gradient_turn")]
    if depth < DEEP or any(node.operation == "add" for node in nodes) or len(turns) < LOOKS:
        return
    turn = statistics.median(turns)
    if abs(turn) > RANDOM or outcome(case).learning is not False:
        return
    text = f"gradients of successive looks have a cosine of {turn:.2f}, through {depth} layers without a skip path"
    yield Finding(
        "shattered",
        "note",
        0.6,
        "",
        f"{capital(text)}: a step that suits one batch suits no other.",
        (Evidence(text, "gradient_turn", turn, bound=RANDOM),),
        remedy="residual paths around every two layers; or far fewer layers",
        references=("Balduzzi et al. 2017, The shattered gradients problem, arXiv:1702.08591",),
    )
