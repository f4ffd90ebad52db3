"""Two views of a row that has no label: changed so far that only what a picture shows, or a row means, is left in common."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isograd.errors import DataError
from isograd.records.schema import Encoding
from isograd.workbench.data.augment.augmenting import Augment
from isograd.workbench.data.augment.plan import are_signs
from isograd.workbench.data.features import width_of_column
from isograd.workbench.data.order import permutation, uniforms
from isograd.workbench.data.prediction import read_for_prediction
from isograd.workbench.data.rows import Prepared

SWAPPED = 0.6
"""Share of the columns of a row that are taken from other rows: that of Bahri et al. 2022, who saw little between .3 and .8."""
LEAST_COLUMNS = 4
"""Columns below which a row that has lost the usual share of them says too little to be known again."""
_SWAP, _FROM = 51, 52

_GEOMETRY: dict[str, Any] = {"rotate": 20.0, "shift": 0.12, "zoom": 0.25, "shear": 15.0, "erase": 0.5}
_COLOUR: dict[str, Any] = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4}


def refuse_others(encoding: Encoding) -> None:
    """Raise ``DataError`` where two views of a row cannot be made, or were never seen to help."""
    if encoding.kind == "images" or (
        encoding.kind == "table" and len(encoding.columns) >= LEAST_COLUMNS and not _texts(encoding)
    ):
        return
    met = {
        "table": "texts" if _texts(encoding) else f"a table of {len(encoding.columns)} columns",
        "sound": "recordings",
        "sequence": "sequences",
    }
    remedy = "leave [pretrain] out, and label more rows"
    what = f"pretraining without labels is for pictures and for tables of {LEAST_COLUMNS} columns or more"
    raise DataError(what, where="pretrain", met=met.get(encoding.kind, encoding.kind), remedy=remedy)


def _texts(encoding: Encoding) -> bool:
    return any(column.kind == "text" for column in encoding.columns)


def strong(encoding: Encoding) -> dict[str, Any]:
    """How pictures are changed where they are to be recognised and not named: further than a label would bear."""
    assert encoding.image is not None
    flip = "none" if are_signs(encoding.classes) else "horizontal"
    return {**_GEOMETRY, "flip": flip, **(_COLOUR if encoding.image[0] == 3 else {})}


def unlabelled(prepared: Prepared, source: str, base: Path) -> torch.Tensor:
    """The rows of the training part and those of a source without labels, encoded alike; raises ``DataError``."""
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


def views_of_rows(
    inputs: torch.Tensor, encoding: Encoding, *, seed: int, epoch: int, batch_size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of two views of each row of a table: the row, and the row with ``SWAPPED`` of its columns from other rows.

    Each column that is swapped comes from a row of its own, so that its values stay as frequent as they are.
    Source: Bahri et al. 2022, arXiv:2106.15147 (SCARF).
    """
    order, widths = permutation(seed, epoch, len(inputs)), [width_of_column(column) for column in encoding.columns]
    borders = np.concatenate([[0], np.cumsum(widths)])
    for first in range(0, len(inputs) - batch_size + 1, batch_size):
        keys = order[first : first + batch_size]
        rows = inputs[torch.from_numpy(keys)]
        swapped = uniforms(seed, epoch, keys, _SWAP, len(widths)) < SWAPPED
        other = (uniforms(seed, epoch, keys, _FROM, len(widths)) * len(inputs)).astype(np.int64)
        made = rows.clone()
        for column, (start, end) in enumerate(itertools.pairwise(borders.tolist())):
            taken = torch.from_numpy(np.flatnonzero(swapped[:, column]))
            made[taken, start:end] = inputs[torch.from_numpy(other[:, column])[taken], start:end]
        yield rows, made
