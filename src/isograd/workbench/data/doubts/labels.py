"""Labels: classes of very different sizes, and rows that are sorted by their label."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from isograd.records.finding import Evidence
from isograd.records.inspection import Doubt
from isograd.workbench.data.doubts.case import LEAST_ROWS, Case

UNEQUAL, VERY_UNEQUAL = 3.0, 20.0
"""Rows of the largest class for each of the smallest: from 3 on a network that always says the largest looks good; from 20 on
it takes care that it ever says the smallest."""
FEW = 10
"""Rows of a class that cannot be split into three parts and learned from."""


def imbalance(case: Case) -> Iterator[Doubt]:
    """Classes with many times the rows of others, and classes with hardly any."""
    if case.labels is None or len(case.classes) < 2:
        return
    counts = np.bincount(case.labels[case.labels >= 0], minlength=len(case.classes))
    least, most = int(counts.argmin()), int(counts.argmax())
    ratio = float(counts[most] / max(1, counts[least]))
    rare = [case.classes[i] for i in np.flatnonzero(counts < FEW)] if len(case) >= FEW * len(case.classes) else []
    if ratio < UNEQUAL and not rare:
        return
    said = f"Class {case.classes[most]!r} has {ratio:.0f} times the rows of class {case.classes[least]!r}"
    said += f" ({counts[most]:,} and {counts[least]:,})."
    yield Doubt(
        "class imbalance",
        "warning" if ratio >= VERY_UNEQUAL or rare else "note",
        "labels",
        said,
        int(counts[least]),
        (Evidence("rows of the largest class for each of the smallest", "imbalance", ratio, bound=VERY_UNEQUAL),),
        tuple(rare[:20]),
        None,
        "judge by balanced accuracy or F1, not by accuracy",
    )


def sorted_labels(case: Case) -> Iterator[Doubt]:
    """Rows of a table that stand in the order of their labels: harmless here, where rows are shuffled; not in every loop."""
    if case.table is None or case.labels is None or case.parts is not None or len(case) < LEAST_ROWS:
        return
    runs = 1 + int((np.diff(case.labels) != 0).sum())
    if runs > 2 * len(case.classes) or len(case.classes) < 2:
        return
    yield Doubt(
        "sorted labels",
        "note",
        "labels",
        f"The rows are sorted by their label: {runs} runs of {len(case.classes)} classes.",
        len(case),
        (Evidence("runs of one label", "runs", float(runs)),),
        remedy="shuffle them (isograd does) and never split off the last rows as a test",
    )
