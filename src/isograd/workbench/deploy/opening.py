"""Open a bundle: verify every file's hash, then predict with onnxruntime alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isograd.errors import DamagedError, MissingExtra, ModelError, RequestError
from isograd.files import MANIFEST
from isograd.records import codec
from isograd.records.run import Bundle
from isograd.records.schema import Encoding
from isograd.workbench.deploy.answers import answers_by_step, answers_of, refuse_odd

BATCH = 1024
"""Rows that go through the network at once, so that a large file needs little memory."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A verified bundle: its record, the preprocessing that travels with it, and the network behind ``outputs``."""

    bundle: Bundle
    encoding: Encoding
    session: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one encoded row."""
        return tuple(self.session.get_inputs()[0].shape[1:])

    def outputs(self, inputs: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Logits or scaled values (N, outputs), or (N, steps, outputs), for encoded ``inputs`` (N, ...).

        Raises ``ModelError`` for another shape.
        """
        if inputs.ndim == 0 or tuple(inputs.shape[1:]) != self.shape:
            raise ModelError(
                f"the bundle takes rows of shape {self.shape}",
                met=f"an array of shape {tuple(inputs.shape)}",
                remedy="encode the rows with the bundle's own preprocess.json",
            )
        shape = self.session.get_outputs()[0].shape[1:]
        name = self.session.get_inputs()[0].name
        kind = np.int64 if self.session.get_inputs()[0].type == "tensor(int64)" else np.float32  # token numbers, or quantities
        parts = [
            self.session.run(None, {name: np.ascontiguousarray(inputs[start : start + BATCH], dtype=kind)})[0]
            for start in range(0, len(inputs), BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, *shape), np.float32)

    def answers(self, inputs: npt.NDArray[np.floating[Any]]) -> list[dict[str, Any]]:
        """What ``answers_of`` says of the outputs for encoded ``inputs``."""
        return self._said(self.outputs(inputs), inputs)

    def _said(self, outputs: npt.NDArray[np.float32], inputs: npt.NDArray[np.floating[Any]]) -> list[dict[str, Any]]:
        sequence = self.encoding.sequence
        if sequence is None or not sequence.each:
            return answers_of(outputs, self.encoding)
        lengths = inputs[:, :, -1].sum(axis=1) if sequence.ragged else np.full(len(inputs), sequence.length)
        return answers_by_step(outputs, self.encoding, lengths.astype(np.int64))

    def answering(self, inputs: npt.NDArray[np.floating[Any]]) -> Iterator[list[dict[str, Any]]]:
        """``answers`` some rows at a time; the network has seen all ``inputs`` before the first, and its outputs are finite."""
        outputs = self.outputs(inputs)
        refuse_odd(outputs, self.encoding)
        for start in range(0, len(inputs), BATCH):
            some = slice(start, start + BATCH)
            yield self._said(outputs[some], inputs[some])


def open_bundle(folder: Path) -> Opened:
    """Verify the bundle in ``folder`` and make it ready to predict.

    Raises ``RequestError`` where there is no bundle, ``DamagedError`` naming every file that is missing or not as written,
    ``MissingExtra`` without onnxruntime.
    """
    if not (folder / "bundle.json").is_file():
        raise RequestError(
            f"{folder} is no bundle: it has no bundle.json", where=str(folder), remedy="isograd export makes one of a run"
        )
    contents = _verified(folder)
    bundle = codec.loads(Bundle, contents["bundle.json"].decode("utf-8", errors="replace"))
    absent = sorted({"model.onnx", "preprocess.json", *dict(bundle.files)} - contents.keys())
    if absent:
        raise DamagedError(f"{folder}: the manifest does not list {', '.join(absent)}", where=str(folder))
    encoding = codec.loads(Encoding, contents["preprocess.json"].decode("utf-8", errors="replace"))
    return Opened(bundle, encoding, session_of(contents["model.onnx"]))


def session_of(model: bytes) -> Any:
    """An onnxruntime session on the CPU; raises ``MissingExtra`` without onnxruntime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("predicting needs onnxruntime", remedy='pip install "isograd[serve]"') from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _verified(folder: Path) -> dict[str, bytes]:
    """The very bytes whose hashes are right; a file that the manifest does not know is not looked at."""
    try:
        promised = json.loads((folder / MANIFEST).read_text("utf-8"))
        names = {str(name): str(digest) for name, digest in promised.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DamagedError(f"{folder}: its manifest cannot be read: {error}", where=str(folder / MANIFEST)) from error
    contents: dict[str, bytes] = {}
    wrong = []
    for name, digest in names.items():
        file = folder / name
        plain = Path(name).name == name and file.is_file()
        contents[name] = file.read_bytes() if plain else b""
        if not plain or hashlib.sha256(contents[name]).hexdigest() != digest:
            wrong.append(name)
    if wrong or "bundle.json" not in contents:
        raise DamagedError(
            f"{folder}: {', '.join(wrong) or 'bundle.json'} is not the file that was written; the bundle is refused",
            where=str(folder),
            met="its SHA-256 is not the recorded one, or it is missing",
            remedy="copy the bundle again, or make it again with isograd export",
        )
    return contents
