"""From a bundle and new inputs to answers: the bundle's own preprocessing, then its ONNX network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from isograd.records.schema import Skipped
from isograd.workbench import data, deploy


def predict_with(
    bundle: Path, inputs: Sequence[str], *, skip_corrupt: bool = False
) -> tuple[list[dict[str, Any]], tuple[Skipped, ...]]:
    """One plain object an input row: its name, and a label with probabilities or a value; and what was left out.

    Raises ``DamagedError`` where a file of the bundle is not the one that was written, ``DataError`` for inputs that the
    bundle cannot take.
    """
    answers: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    for some, lost in predictions(bundle, inputs, skip_corrupt=skip_corrupt):
        answers += some
        skipped += lost
    return answers, tuple(skipped)


def predictions(
    bundle: Path,
    inputs: Sequence[str],
    *,
    skip_corrupt: bool = False,
    memory: int = data.MEMORY,
    remark: Callable[[str], None] | None = None,
) -> Iterator[tuple[list[dict[str, Any]], tuple[Skipped, ...]]]:
    """The same some rows at a time, in little memory: inputs that would take more than ``memory`` MiB are read in pieces.

    ``remark`` hears where that is so. What does fit is read, and has gone through the network, before the first answer.
    """
    opened = deploy.open_bundle(bundle)
    pieces = data.pieces_for_prediction(inputs, opened.encoding, skip_corrupt=skip_corrupt, memory=memory, remark=remark)
    for rows, names, skipped in pieces:
        first = 0
        for answers in opened.answering(rows):
            named = zip(names[first : first + len(answers)], answers, strict=True)
            yield [{"name": name, **answer} for name, answer in named], ()
            first += len(answers)
        yield [], skipped
