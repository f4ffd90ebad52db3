"""Judge answers that are given step by step: each step is a row, and what is drawn at random are whole sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from isograd.errors import ModelError
from isograd.workbench.evaluate.metrics import Floats, Sums

Targets = torch.Tensor | NDArray[np.int64] | NDArray[np.float32]
Owner = NDArray[np.int64]


def by_step(outputs: NDArray[np.float32], targets: Targets) -> tuple[NDArray[np.float32], Targets, Owner | None]:
    """Outputs (sequences, steps, outputs) as (rows, outputs), a row for each step that is there, and whose step it is.

    A step is not there where its target is below 0 (classes) or NaN (values). Outputs (rows, outputs) stay as they are, and
    have no owner.

    >>> found, truths, owner = by_step(np.zeros((2, 3, 5), np.float32), np.array([[1, 2, -100], [0, -100, -100]]))
    >>> found.shape, truths.tolist(), owner.tolist()
    ((3, 5), [1, 2, 0], [0, 0, 1])
    """
    if outputs.ndim != 3:
        return outputs, targets, None
    truths: Any = targets.numpy() if isinstance(targets, torch.Tensor) else targets
    if truths.shape[:2] != outputs.shape[:2]:
        raise ModelError("there must be an answer for every step", met=f"answers {outputs.shape}, targets {truths.shape}")
    steps = truths.reshape(truths.shape[:2]).astype(np.float64)
    there = ~np.isnan(steps) & (steps >= 0 if truths.dtype.kind == "i" else True)
    return outputs[there], truths[there], np.nonzero(there)[0].astype(np.int64)


def step_names(names: Sequence[str], owner: Owner | None) -> Sequence[str]:
    """The name of each row: of its sequence, with the number of its step from 1 on.

    >>> step_names(("a", "b"), np.array([0, 0, 1]))
    ('a, step 1', 'a, step 2', 'b, step 1')
    """
    if owner is None:
        return names
    first = np.searchsorted(owner, owner)
    return tuple(f"{names[row]}, step {place + 1}" for row, place in zip(owner, np.arange(len(owner)) - first, strict=True))


def grouped(
    terms: tuple[sparse.csr_array, Callable[[Floats], Sums]], owner: Owner | None
) -> tuple[sparse.csr_array, Callable[[Floats], Sums]]:
    """Terms of metrics summed over the steps of each sequence: steps of one sequence are alike, and not drawn apart.

    Resampling them one by one would take them for independent, and the interval would be too narrow.
    """
    if owner is None:
        return terms
    sums = sparse.csr_array((np.ones(len(owner)), (owner, np.arange(len(owner)))))
    return sparse.csr_array(sums @ terms[0]), terms[1]
