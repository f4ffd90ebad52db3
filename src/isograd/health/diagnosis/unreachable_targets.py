"""Unreachable targets: the last function of the network cannot put out what the targets ask (a ReLU: negative numbers).

The mean square of how far the targets lie beyond the reach, over their variance, is the part of a squared error that no
training removes (``LossSample.shortfall``), so the bounds are arithmetic:
  LOST      a warning where 5 % of the variance or more cannot be explained: less is within what models differ by
  HOPELESS  critical where that is 90 % or more: a constant would do as well
Look-alikes that are healthy: a ReLU before prices, a sigmoid before pixels in [0, 1] (nothing lies beyond); a few outliers
beyond a tanh (a note).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.losses import REGRESSION, Use, uses
from isograd.records.anatomy import spoken
from isograd.records.batch import REACH
from isograd.records.finding import Evidence, Finding, Severity

LOST = 0.05
HOPELESS = 0.9
SEEN = 0.01
"""Share of the targets beyond reach that is worth a note."""


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for each regression whose targets lie beyond the reach of its head; medians over the looks."""
    for use in uses(case):
        if use.last.function not in REGRESSION or use.head not in REACH:
            continue
        beyond = statistics.median(look.beyond for look in use.looks)
        lost = statistics.median(look.shortfall for look in use.looks)
        if beyond > 0.0 and (beyond >= SEEN or lost >= LOST):
            yield _finding(use, beyond, lost)


def _finding(use: Use, beyond: float, lost: float) -> Finding:
    severity: Severity = "critical" if lost >= HOPELESS else "warning" if lost >= LOST else "note"
    low, high = REACH[use.head]
    asked = [look.target_range for look in use.looks]
    targets = f"{min(r[0] for r in asked):.3g} to {max(r[1] for r in asked):.3g}"
    bounds = f"between {low:g} and {high:g}" if high < float("inf") and low > -float("inf") else _one_sided(low, high)
    place = spoken(use.last.head_where) if use.last.head_where else use.last.head_source or "the head"
    price = "nothing is left to learn" if lost >= HOPELESS else f"{100 * lost:.0f} % of their variance cannot be explained"
    return Finding(
        "unreachable_targets",
        severity,
        0.97,
        use.where,
        f"The {use.head} at {place} gives numbers {bounds}, and the targets go from {targets}: {100 * beyond:.0f} % of them "
        f"lie out of reach, and {price}.",
        (
            Evidence("share of the targets that lie out of reach", "beyond", beyond, bound=SEEN),
            Evidence("share of the variance of the targets that no training can explain", "shortfall", lost, bound=LOST),
        ),
        source=use.source,
        since=use.since,
        cause="the last function of the network does not fit the range of the targets",
        remedy=f"return the output of the last layer without {use.head}, or scale the targets into its range",
        references=("Humbatova et al. 2020, Taxonomy of real faults in deep learning systems, arXiv:1910.11015",),
    )


def _one_sided(low: float, high: float) -> str:
    return f"of {low:g} and above" if low > -float("inf") else f"of {high:g} and below"
