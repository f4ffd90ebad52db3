"""From a bundle and new inputs to answers: the bundle's own preprocessing, then its ONNX network."""

from __future__ import annotations

from collections.abc import Sequence
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
    opened = deploy.open_bundle(bundle)
    rows, names, skipped = data.read_for_prediction(inputs, opened.encoding, skip_corrupt=skip_corrupt)
    answers = opened.answers(rows)
    return [{"name": name, **answer} for name, answer in zip(names, answers, strict=True)], skipped
