"""Spectra of the parts of recordings, fitted and computed once: many are kept, with the encoding that they were made by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isograd.records import codec
from isograd.records.schema import Encoding
from isograd.workbench.data import kept, spectra
from isograd.workbench.data.recordings import Recordings
from isograd.workbench.data.rows import EncodingPlan
from isograd.workbench.data.sources import PARTS

Spectra = NDArray[np.float32]


def heard(
    found: Recordings, parts: Sequence[NDArray[np.int64]], target: str, plan: EncodingPlan, cache: Path | None, asked: object
) -> tuple[Encoding, list[Spectra]]:
    """The encoding that the first part teaches, and the spectra of all parts (rows, 1, mels, frames).

    With a ``cache``, those of many recordings are memory-mapped files under a stamp of the recordings' content, of the parts,
    and of what was ``asked`` to be done to them before; a disk that is full is no failure.
    """
    told = json.dumps([found.fingerprint, found.rate, target, plan.mels, plan.span, asked]).encode()
    stamp = hashlib.sha256(told + b"".join(part.tobytes() for part in parts)).hexdigest()
    places = [cache / name for name in PARTS] if cache is not None and len(found.labels) >= kept.LEAST else []
    have = [kept.opened(place, stamp) for place in places]
    if have and all(one is not None for one in have):
        return codec.loads(Encoding, have[0][0].note), [one[1] for one in have if one is not None]  # type: ignore[index]
    training = [found.signals[row] for row in parts[0]]
    encoding = spectra.fit_sounds(training, found.rate, found.classes, target, mels=plan.mels, span=plan.span)
    made = [spectra.encode_sounds([found.signals[row] for row in part], encoding) for part in parts]
    for place, one in zip(places, made, strict=False):
        kept.keep(place, stamp, _whole(one, encoding))
    return encoding, made


def _whole(values: Spectra, encoding: Encoding) -> Iterator[tuple[Spectra, kept.Facts]]:
    yield values, kept.Facts("float32", values.shape, note=codec.dumps(encoding))
