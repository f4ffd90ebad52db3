"""Recordings: clipped at the top, silent, or far shorter or longer than the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from isograd.records.finding import Evidence
from isograd.records.inspection import Doubt
from isograd.workbench.data.columns import Flags, Floats
from isograd.workbench.data.doubts.case import Case
from isograd.workbench.data.doubts.columns import far_off
from isograd.workbench.data.recordings import SILENT, Recordings, Signal

FLAT_RUN = 3
"""Samples at the very top in a row: a wave that is not cut touches its top once or twice."""
CLIPPED = 0.001
"""Share of a recording's samples in such runs from which on it counts: one cut wave in a second of speech at 8 kHz is heard as
a click, eight samples are five thousandths of a second."""
LOUD, FULL = 0.1, 0.98
FINE = 256
"""Steps of its own resolution that a peak below full scale must have: a tone of 300 Hz at 8 kHz with a peak of 20 steps stays
on its top step for three samples by itself. Recordings of 8 bits that were stored as 16 are so: their tops say nothing."""


def clipped_share(signal: Signal) -> float:
    """Share of the samples that lie in runs of at least three at the largest magnitude of their sign; 0 for quiet recordings.

    >>> wave = np.sin(np.arange(1000) / 5).astype(np.float32)
    >>> clipped_share(wave), round(clipped_share(np.clip(wave, -0.7, 0.7)), 1)
    (0.0, 0.5)
    """
    total = 0
    values = np.unique(np.abs(signal))
    step = float(np.diff(values).min()) if len(values) > 1 else 1.0
    for side in (signal, -signal):
        top = float(side.max())
        if top < LOUD or (top < FULL and top < FINE * step):
            continue
        at = side >= top - 1e-4
        edges = np.flatnonzero(np.diff(np.concatenate([[False], at, [False]]).astype(np.int8)))
        runs = edges[1::2] - edges[::2]
        total += int(runs[runs >= FLAT_RUN].sum())
    return total / len(signal)


def faulty_recordings(case: Case) -> Iterator[Doubt]:
    """Clipped and silent recordings, and those whose length is far from all others."""
    found = case.found
    if not isinstance(found, Recordings):
        return
    clipped = np.array([clipped_share(signal) for signal in found.signals])
    yield from _told(
        case, "clipped", clipped >= CLIPPED, clipped, "are clipped: the tops of their waves are cut off.",
        "record them again at a lower level; what is cut cannot be brought back", None,
    )  # fmt: skip
    peak = np.array([float(np.abs(signal).max()) for signal in found.signals])
    yield from _told(case, "silent", peak < SILENT, peak, "are silent (never above -60 dB).", "leave them out", "drop_silent")
    seconds = case.traits["seconds"]
    yield from _told(
        case, "odd length", far_off(seconds), seconds, "are far shorter or longer than all others.",
        "cut them, or trim their silence", "trim_silence",
    )  # fmt: skip


def _told(case: Case, kind: str, flags: Flags, values: Floats, said: str, remedy: str, fix: str | None) -> Iterator[Doubt]:
    rows = np.flatnonzero(flags)
    if len(rows):
        yield Doubt(
            kind,
            "warning",
            "files",
            f"{len(rows):,} of {len(case):,} recordings {said}",
            len(rows),
            (Evidence("the first of them", kind.replace(" ", "_"), float(values[rows[0]])),),
            case.places(rows),
            fix,
            remedy,
        )
