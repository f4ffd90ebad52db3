"""Prepare a source for a network: read it, split it, fit the encoding on the training part, encode all three parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError, RequestError, did_you_mean
from isograd.records.schema import DataSummary, Encoding, Schema
from isograd.workbench.data import kept, pictures
from isograd.workbench.data.cleaning.applying import before_split
from isograd.workbench.data.hearing import heard
from isograd.workbench.data.pictures import Pictures
from isograd.workbench.data.pieces import MIB
from isograd.workbench.data.reading import Source, read
from isograd.workbench.data.recordings import Recordings
from isograd.workbench.data.rows import TASKS, EncodingPlan, Prepared, Rows, SplitKind, SplitPlan
from isograd.workbench.data.sequences import SEQUENCES
from isograd.workbench.data.sequential import prepare_sequences
from isograd.workbench.data.sources import PARTS, few
from isograd.workbench.data.split import Facts, describe_parts, twins
from isograd.workbench.data.split import split as part_rows
from isograd.workbench.data.stored import MEMORY
from isograd.workbench.data.table import Table
from isograd.workbench.data.tabular import prepare_table

A_PICTURE = 2000
"""Bytes that are held for each picture of a folder: its path, its name, what its header says, its place in the split."""


def prepare(
    source: str,
    *,
    base: Path,
    task: str,
    target: str | None,
    split: SplitPlan,
    seed: int,
    skip_corrupt: bool = False,
    image_size: tuple[int, int] | None = None,
    drop: tuple[str, ...] = (),
    query: str | None = None,
    files: str | None = None,
    label_pattern: str | None = None,
    encode_as: EncodingPlan = EncodingPlan(),  # noqa: B008 - it is frozen
    clean: tuple[str, ...] = (),
    cache: Path | None = None,
    memory: int = MEMORY,
    sequence: str | None = None,
    time: str | None = None,
) -> Prepared:
    """Read ``source`` (relative to ``base``), split it, and encode it with what the training part alone teaches.

    ``task`` is "classification" or "regression" (tables, with the ``target`` column), the same of texts, images, sounds or
    sequences (``sequence`` and ``time`` name the columns of a table that say which rows follow one another).
    ``image_size`` = (height, width). ``drop`` names columns to leave out; ``query``, ``files`` and ``label_pattern`` are said
    in ``Source``. ``clean`` are steps that are taken in their order; what they touched is in the remarks. ``skip_corrupt``
    leaves out files and rows that cannot be read, and lists them in ``summary.skipped``. ``cache`` is a folder where what took
    long to decode or to encode is kept, so that the next time is fast; what is larger than memory is trained on from there.
    Parquet that would take more than ``memory`` MiB is read in pieces, and encoded pictures that would are kept there. The
    result is a function of the content and of the arguments but ``cache`` and ``memory``.

    Raises ``DataError``, one clear message, for anything in the source that cannot be used.

    >>> plan = SplitPlan("stratified", validation=0.1, test=0.2)
    >>> found = prepare("builtin:digits", base=Path(), task="image-classification", target=None, split=plan, seed=0)
    >>> len(found.train), len(found.validation), len(found.test), tuple(found.train.inputs.shape[1:])
    (1259, 179, 359, (1, 8, 8))
    """
    _check_request(task, split)
    told = Source(
        source,
        base,
        target,
        query=query,
        files=files,
        label_pattern=label_pattern,
        image_size=image_size,
        cache=cache,
        memory=memory,
        sequence=sequence,
        time=time,
    )
    if task in SEQUENCES:
        return prepare_sequences(
            told, task=task, plan=split, seed=seed, skip_corrupt=skip_corrupt, drop=drop, encode_as=encode_as, clean=clean
        )
    for key, value in (("sequence", sequence), ("time", time)):
        if value is not None:
            raise DataError(f"{key} is for sequences", where=f"data.{key}", remedy='task = "sequence-classification"')
    found = read(told, task=task, skip_corrupt=skip_corrupt)
    if isinstance(found, Table):
        return prepare_table(
            found,
            source=source,
            task=task,
            target=target,
            plan=split,
            seed=seed,
            skip_corrupt=skip_corrupt,
            drop=drop,
            encode_as=encode_as,
            clean=clean,
            cache=cache,
        )
    cleaned, remarks, steps = before_split(found, clean, target)
    if isinstance(cleaned, Recordings):
        made = _from_recordings(cleaned, source, task, target, split, seed, encode_as, cache, [*clean])
    else:
        assert isinstance(cleaned, Pictures)
        made = _from_pictures(cleaned, source, task, target, split, seed, cache, memory)
    summary = replace(made.summary, remarks=(*made.summary.remarks, *remarks))
    return replace(made, summary=summary, encoding=replace(made.encoding, steps=tuple(steps)))


def _check_request(task: str, plan: SplitPlan) -> None:
    if task not in TASKS:
        raise RequestError(f"there is no task {task!r}", met=", ".join(TASKS), remedy=did_you_mean(task, TASKS))
    kinds = get_args(SplitKind)
    if plan.kind not in kinds:
        raise RequestError(f"there is no split {plan.kind!r}", met=", ".join(kinds), remedy=did_you_mean(plan.kind, kinds))


def _from_pictures(
    found: Pictures,
    source: str,
    task: str,
    target: str | None,
    plan: SplitPlan,
    seed: int,
    cache: Path | None,
    memory: int = MEMORY,
) -> Prepared:
    if task != "image-classification":
        raise DataError(f"{source} holds pictures, and the task {task} is not for them", remedy='task = "image-classification"')
    if plan.kind in ("group", "time"):
        raise DataError(f"a {plan.kind} split needs a table's column; pictures have none", remedy='split = "stratified"')
    if len(found.classes) < 2:
        raise DataError(f"{source} has one class only: {few(found.classes)}", remedy="a classification needs at least two")
    plan = plan.resolved(parts=found.parts is not None, classes=True)
    facts = Facts(twins(row.tobytes() for row in found.pixels), found.labels, found.classes, found.parts)
    parts, remarks = part_rows(plan, facts, seed=seed)
    encoding = pictures.fit(found.pixels, found.classes, target or "label", rows=parts[0])
    summary = _summary(found, source, encoding, encoding.image, parts, plan, remarks)
    need = 4 * len(found.labels) * int(np.prod(found.pixels.shape[1:]))
    place = cache if need > min(kept.IN_MEMORY, memory * MIB) else None
    made = [_rows(found, part, encoding, place, name) for part, name in zip(parts, PARTS, strict=True)]
    if place is not None:
        told = f"the pictures take {need / MIB:,.0f} MiB when they are encoded, and are read from {place.name}/ as needed"
        held = f"at most {kept.BLOCK >> 20} MiB of them are made at once, and about {A_PICTURE} bytes for each are held"
        summary = replace(summary, remarks=(*summary.remarks, f"{told}; {held}"))
    return Prepared(summary, encoding, *made)


def _from_recordings(
    found: Recordings,
    source: str,
    task: str,
    target: str | None,
    plan: SplitPlan,
    seed: int,
    encode_as: EncodingPlan,
    cache: Path | None,
    asked: list[str],
) -> Prepared:
    if task != "sound-classification":
        raise DataError(
            f"{source} holds recordings, and the task {task} is not for them", remedy='task = "sound-classification"'
        )
    if plan.kind == "time":
        raise DataError("a time split needs a table's column; recordings have none", remedy='split = "stratified" (or "group")')
    plan = plan.resolved(parts=found.parts is not None, classes=True)
    same = twins(signal.tobytes() for signal in found.signals)
    groups = _groups(found, plan.column) if plan.kind == "group" else None
    facts = Facts(same, found.labels, found.classes, found.parts, groups)
    parts, remarks = part_rows(plan, facts, seed=seed)
    encoding, inputs = heard(found, parts, target or "label", encode_as, cache, asked)
    rows = [_sounds(found, part, one) for part, one in zip(parts, inputs, strict=True)]
    bands, frames = inputs[0].shape[2:]
    summary = _summary(found, source, encoding, (1, bands, frames), parts, plan, remarks)
    return Prepared(summary, encoding, *rows)


def _summary(
    found: Pictures | Recordings,
    source: str,
    encoding: Encoding,
    image: tuple[int, int, int] | None,
    parts: tuple[NDArray[np.int64], ...],
    plan: SplitPlan,
    remarks: tuple[str, ...],
) -> DataSummary:
    """What was read of pictures or recordings, and how it was split."""
    return DataSummary(
        source=source,
        schema=Schema(
            kind=encoding.kind,
            rows=len(found.labels),
            fingerprint=found.fingerprint,
            target=encoding.target,
            image=image,
            classes=found.classes,
        ),
        parts=describe_parts(parts, found.labels, found.classes),
        split=plan.kind,
        skipped=found.skipped,
        remarks=found.remarks + remarks,
    )


def _groups(found: Recordings, column: str | None) -> NDArray[np.int64]:
    if column not in found.fields:
        raise DataError(
            f"no word of the names is called {column!r}",
            met=f"words of label_pattern: {few(list(found.fields)) or 'none beside the label'}",
            remedy='label_pattern = "{label}_{speaker}_{take}" and column = "speaker"',
        )
    return np.unique(found.fields[column], return_inverse=True)[1].astype(np.int64)


def _sounds(found: Recordings, part: NDArray[np.int64], inputs: NDArray[np.float32]) -> Rows:
    import torch  # here and not above: who only predicts needs none

    return Rows(torch.from_numpy(inputs), torch.from_numpy(found.labels[part]), tuple(found.names[row] for row in part))


def _rows(found: Pictures, part: NDArray[np.int64], encoding: Encoding, cache: Path | None, name: str) -> Rows:
    import torch  # here and not above: who only predicts needs none

    size = 4 * len(part) * int(np.prod(found.pixels.shape[1:]))
    if cache is not None and size:
        inputs = torch.from_numpy(_on_disk(found, part, encoding, cache / name))
    else:
        inputs = torch.from_numpy(pictures.encode(found.pixels[part], encoding))
    return Rows(inputs, torch.from_numpy(found.labels[part]), tuple(found.names[row] for row in part))


def _on_disk(found: Pictures, part: NDArray[np.int64], encoding: Encoding, place: Path) -> NDArray[np.float32]:
    """Encoded rows in a file that is memory-mapped, made in blocks unless it is there already."""
    asked = [found.fingerprint, encoding.image, encoding.channel_mean, encoding.channel_std]
    stamp = hashlib.sha256(json.dumps(asked).encode() + part.tobytes()).hexdigest()
    return kept.made_once(place, stamp, lambda: _blocks(found, part, encoding))[1]


def _blocks(found: Pictures, part: NDArray[np.int64], encoding: Encoding) -> Iterator[tuple[NDArray[np.float32], kept.Facts]]:
    height, width, channels = found.pixels.shape[1:]
    facts = kept.Facts("float32", (len(part), channels, height, width))
    count = max(1, kept.BLOCK // (5 * height * width * channels))
    for start in range(0, len(part), count):
        yield pictures.encode(found.pixels[part[start : start + count]], encoding), facts
