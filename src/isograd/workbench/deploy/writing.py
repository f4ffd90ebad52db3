"""Write a bundle: ONNX that was checked against torch, weights, preprocessing, card, report, and every file's hash."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isograd.errors import ModelError, RequestError
from isograd.files import new_folder
from isograd.records import codec
from isograd.records.run import Bundle, Evaluation, Run
from isograd.records.schema import DataSummary, Encoding
from isograd.workbench.deploy.card import model_card
from isograd.workbench.deploy.opening import session_of

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-3
"""Largest difference between ONNX and torch, relative to the largest output (at least 1), with which a bundle is written."""


def write_bundle(
    folder: Path,
    model: Any,
    *,
    inputs: torch.Tensor,
    encoding: Encoding,
    evaluation: Evaluation | None,
    run: Run,
    summary: DataSummary,
    report_html: str,
    weights: str = "raw",
) -> Bundle:
    """Write ``model`` with all that travels with it to ``folder``, whole or not at all.

    ``inputs`` are real encoded rows (N, ...), N at least 1: ONNX is compared with torch on them, in batches of all, one and
    two. ``weights`` says which weights these are, "raw" or "ema". The model and the generators stay as they are.

    Raises ``RequestError`` where the folder exists, ``ModelError`` where the outputs do not fit the classes or ONNX and torch
    disagree, ``StorageError``.
    """
    # torch is imported here and not above: who only opens bundles needs none.
    from isograd.workbench.deploy import exporting

    if folder.exists():
        raise RequestError(
            f"{folder} exists already and is not overwritten", where=str(folder), remedy="name another folder, or remove it"
        )
    if len(inputs) == 0:
        raise RequestError("a bundle is checked on real rows and there is none", where="data")
    still = exporting.settled(model)
    rows = inputs.detach().cpu()
    content = exporting.onnx_bytes(still, rows)
    difference = _difference(content, still, rows, len(encoding.classes) or 1)
    files = {
        "model.onnx": content,
        "model.safetensors": exporting.safetensors_bytes(still),
        "preprocess.json": (codec.dumps(encoding) + "\n").encode(),
        "report.html": report_html.encode(),
    }
    bundle = Bundle(
        name=run.name,
        task=run.task,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        isograd=importlib.metadata.version("isograd"),
        files=(),
        max_difference=difference,
        compared_rows=len(rows),
        weights=weights,
        metrics=evaluation.metrics if evaluation is not None else (),
        run=run.id,
    )
    files["card.md"] = model_card(bundle, run, summary, evaluation, encoding).encode()
    hashes = tuple((name, hashlib.sha256(files[name]).hexdigest()) for name in sorted(files))
    bundle = replace(bundle, files=hashes)
    files["bundle.json"] = (codec.dumps(bundle) + "\n").encode()
    with new_folder(folder) as aside:
        for name, data in files.items():
            (aside / name).write_bytes(data)
    return bundle


def _difference(content: bytes, model: Any, rows: torch.Tensor, width: int) -> float:
    """The largest difference of any output. Raises ``ModelError`` where it is more than rounding explains."""
    from isograd.workbench.deploy import exporting

    session = session_of(content)
    worst, scale = 0.0, 1.0
    for count in {len(rows), 1, min(2, len(rows))}:
        expected = exporting.torch_outputs(model, rows[:count])
        if expected.ndim < 2 or (expected.shape[0], expected.shape[-1]) != (count, width):
            raise ModelError(
                f"the model gives outputs of shape {expected.shape[1:]} and the data needs {width} a row", where="model"
            )
        if not np.isfinite(expected).all():
            raise ModelError("the model's outputs on real rows are not finite: no bundle was written", where="model")
        found = session.run(None, {"input": rows[:count].numpy()})[0]
        worst = max(worst, float(np.abs(found - expected).max()) if np.isfinite(found).all() else math.inf)
        scale = max(scale, float(np.abs(expected).max()))
    if not worst <= TOLERANCE * scale:
        raise ModelError(
            f"ONNX and torch disagree by {worst:.3g} on real rows: no bundle was written",
            where="model",
            met=f"allowed: {TOLERANCE * scale:.3g}",
            remedy="look for an operation that ONNX has with another meaning",
        )
    return worst
