"""Show training rows as they are and as training will see them: the very bits that its batches have, made visible."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from isograd.records.preview import Look, Preview, Seen
from isograd.records.schema import ColumnEncoding, Encoding
from isograd.workbench.data import pictures
from isograd.workbench.data.augment.augmenting import Augment
from isograd.workbench.data.features import width_of_column
from isograd.workbench.data.order import permutation
from isograd.workbench.data.rows import Prepared, Rows
from isograd.workbench.data.tokens import words_of

EPOCHS, LOOKS = 6, 24
"""Epochs that are shown of each row, and rows that are shown at most."""
_FIELDS, _WORDS, _STEPS = 12, 60, 8


def preview(prepared: Prepared, augment: Augment | None, *, seed: int, looks: int = LOOKS) -> Preview:
    """Rows of every class, evenly, each as it is and in the first epochs; without ``augment`` as they are alone."""
    rows, encoding = prepared.train, prepared.encoding
    chosen = _chosen(rows, encoding, looks)
    epochs = [_seen(rows, chosen, encoding, augment, seed, epoch) for epoch in range(1, EPOCHS + 1)] if augment else []
    originals = [_one(rows.inputs[row], rows.targets[row], encoding, 0) for row in chosen.tolist()]
    found = [
        Look(rows.names[row], original.label, original, tuple(seen[place] for seen in epochs))
        for place, (row, original) in enumerate(zip(chosen.tolist(), originals, strict=True))
    ]
    return Preview(
        source=prepared.summary.source,
        holds=encoding.kind,
        rows=len(rows),
        shape=tuple(rows.inputs.shape[1:]),
        done=augment.plan.said if augment else "",
        warnings=augment.remarks[1:] if augment else (),
        looks=tuple(found),
    )


def _chosen(rows: Rows, encoding: Encoding, looks: int) -> NDArray[np.int64]:
    """The first rows of each class in turn, or rows evenly spread where there are no classes."""
    if not encoding.classes or rows.targets.ndim > 1:
        return np.unique(np.linspace(0, len(rows) - 1, min(looks, len(rows))).astype(np.int64))
    labels = rows.targets.numpy()
    each = max(1, looks // len(encoding.classes))
    firsts = [np.flatnonzero(labels == number)[:each] for number in range(len(encoding.classes))]
    return np.concatenate(firsts)[:looks].astype(np.int64)


def _seen(rows: Rows, chosen: NDArray[np.int64], encoding: Encoding, augment: Augment, seed: int, epoch: int) -> list[Seen]:
    order = permutation(seed, epoch, len(rows))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    made = []
    for row in chosen:
        keys = order[(place[row] + np.arange(1 + augment.extra)) % len(order)]
        index = torch.from_numpy(keys)
        inputs, targets = augment.batch(rows.inputs[index], rows.targets[index], epoch, keys)
        made.append(_one(inputs[0], targets[0], encoding, epoch))
    return made


def _one(inputs: torch.Tensor, target: torch.Tensor, encoding: Encoding, epoch: int) -> Seen:
    if encoding.sequence is not None:
        return Seen(epoch, _step_label(target, encoding), fields=tuple(_steps(inputs, encoding)))
    label = _label(target, encoding)
    if encoding.kind == "images":
        return Seen(epoch, label, pictures.png(pictures.decode(inputs.numpy(), encoding)))
    if encoding.kind == "sound":
        return Seen(epoch, label, _spectrum(inputs[0].numpy()))
    return Seen(epoch, label, fields=tuple(_fields(inputs.numpy(), encoding)))


def _steps(inputs: torch.Tensor, encoding: Encoding) -> Iterator[tuple[str, str]]:
    """The first steps of each column of a sequence, back on their natural scale."""
    assert encoding.sequence is not None
    there = int(inputs[:, -1].sum()) if encoding.sequence.ragged else len(inputs)
    each = [dict(_fields(step.numpy(), encoding)) for step in inputs[: min(there, _STEPS)]]
    for name in each[0]:
        yield name, " ".join(step[name] for step in each) + (" …" if there > _STEPS else "")


def _step_label(target: torch.Tensor, encoding: Encoding) -> str:
    """The label of a sequence, or those of its first steps."""
    if encoding.sequence is None or not encoding.sequence.each:
        return _label(target, encoding)
    there = target[target >= 0] if encoding.classes else target[~target.isnan()]
    return " ".join(_label(one, encoding) for one in there[:_STEPS]) + (" …" if len(there) > _STEPS else "")


def _label(target: torch.Tensor, encoding: Encoding) -> str:
    if not encoding.classes:
        return f"{float(target) * encoding.target_std + encoding.target_mean:.4g}"
    if target.ndim == 0:
        return encoding.classes[int(target)]
    shares = sorted(
        ((float(share), name) for share, name in zip(target, encoding.classes, strict=True) if share > 0.005), reverse=True
    )
    return " + ".join(name if share > 0.995 else f"{share:.0%} {name}" for share, name in shares)


def _spectrum(bands: NDArray[np.float32]) -> str:
    """Bands by frames as a grey picture, low tones below; three deviations around the mean are black to white."""
    grey = np.clip((bands[::-1] + 3) / 6 * 255, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _fields(inputs: NDArray[np.float32], encoding: Encoding) -> Iterator[tuple[str, str]]:
    """The columns of a row, back on their natural scale."""
    first = 0
    for column in encoding.columns[:_FIELDS]:
        width = width_of_column(column)
        yield column.name, _value(inputs[first : first + width], column)
        first += width


def _value(part: NDArray[np.float32], column: ColumnEncoding) -> str:
    if column.text is not None:
        tokens = words_of(part, column.text)
        return " ".join(tokens[:_WORDS]) + (" …" if len(tokens) > _WORDS else "") or "(empty)"
    if column.kind == "category":
        place = int(part[0]) - 1 if column.index else int(part.argmax()) if part.any() else -1
        return column.values[place] if place >= 0 else "(not seen in training)"
    if column.indicator and part[1]:
        return "(missing)"
    value = float(part[0]) * column.std + column.mean
    if column.kind == "boolean":
        return "yes" if value > 0.5 else "no"
    decimals = 3 - math.floor(math.log10(column.std))  # a thousandth of a deviation is the least that can be told
    return f"{round(value, decimals):.7g}"
