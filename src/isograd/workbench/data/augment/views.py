"""Two views of pictures that have no label: changed so far that only what a picture shows is left in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from isograd.errors import DataError
from isograd.records.schema import Encoding
from isograd.workbench.data.augment.augmenting import Augment
from isograd.workbench.data.augment.plan import are_signs
from isograd.workbench.data.order import permutation
from isograd.workbench.data.prediction import read_for_prediction
from isograd.workbench.data.rows import Prepared

_GEOMETRY: dict[str, Any] = {"rotate": 20.0, "shift": 0.12, "zoom": 0.25, "shear": 15.0, "erase": 0.5}
_COLOUR: dict[str, Any] = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4}


def strong(encoding: Encoding) -> dict[str, Any]:
    """How pictures are changed where they are to be recognised and not named: further than a label would bear.

    Raises ``DataError`` where rows are no pictures.
    """
    if encoding.image is None or encoding.kind != "images":
        raise DataError("pretraining without labels is for pictures", where="pretrain", remedy='task = "image-classification"')
    flip = "none" if are_signs(encoding.classes) else "horizontal"
    return {**_GEOMETRY, "flip": flip, **(_COLOUR if encoding.image[0] == 3 else {})}


def unlabelled(prepared: Prepared, source: str, base: Path) -> torch.Tensor:
    """The training pictures and those of a folder or a file without labels, encoded alike; raises ``DataError``."""
    where = source if source.startswith("builtin:") or Path(source).is_absolute() else str(base / source)
    inputs, _, _ = read_for_prediction(where, prepared.encoding)
    return torch.cat([prepared.train.inputs, torch.from_numpy(inputs)])


def views(
    inputs: torch.Tensor, augment: Augment, *, seed: int, epoch: int, batch_size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of two views of each row, in an order that (seed, epoch) fixes; what does not fill a batch waits an epoch."""
    order = permutation(seed, epoch, len(inputs))
    for first in range(0, len(inputs) - batch_size + 1, batch_size):
        keys = order[first : first + batch_size]
        rows = inputs[torch.from_numpy(keys)]
        yield augment.changed(rows, 2 * epoch, keys), augment.changed(rows, 2 * epoch + 1, keys)
