"""Run a model over rows, and leave it as it was."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from isograd.errors import ModelError, RequestError

PRECISIONS = ("float32", "bfloat16")


def predict(
    model: nn.Module,
    inputs: torch.Tensor,
    *,
    batch_size: int = 256,
    device: str = "cpu",
    precision: str = "float32",
    each: bool = False,
) -> NDArray[np.float32]:
    """The model's raw outputs for encoded rows, in their order.

    The model is put into evaluation mode and every one of its modules back into the mode that it was in; no gradient is kept
    and no random number drawn. Shape: (rows, outputs), or (rows, steps, outputs) where ``each`` step has an answer.
    Raises ``ModelError`` where the model does not take such rows or gives something else than a tensor with one row for each.

    >>> predict(nn.Identity(), torch.tensor([[1.0, 2.0]])).tolist()
    [[1.0, 2.0]]
    """
    if precision not in PRECISIONS:
        raise RequestError(f"there is no precision {precision!r} here", met=", ".join(PRECISIONS))
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), _cast(device, precision):
            answers = [
                _checked(_run(model, _short(part).to(device)), len(part), 3 if each else 2)
                for part in torch.split(inputs, batch_size)
            ]
    finally:
        for module, training in modes:
            module.training = training
    return np.concatenate(answers)


def _short(part: torch.Tensor) -> torch.Tensor:
    """Sequences of token numbers without the columns in which all have ended; other rows as they are."""
    if part.ndim != 2 or part.dtype != torch.int64:
        return part
    used = (part != 0).any(dim=0).nonzero()
    return part[:, : int(used.max()) + 1 if len(used) else 1]


def _cast(device: str, precision: str) -> contextlib.AbstractContextManager[Any]:
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


def _run(model: nn.Module, part: torch.Tensor) -> object:
    try:
        return model(part)
    except RuntimeError as error:
        raise ModelError(
            "the model does not take these rows",
            met=f"rows of shape {tuple(part.shape[1:])}, {part.dtype} on {part.device}: {str(error).splitlines()[0]}",
            remedy="the model's first layer must fit the encoded data, and both must be on one device",
        ) from error


def _checked(outputs: object, rows: int, axes: int) -> NDArray[np.float32]:
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != axes or len(outputs) != rows:
        met = f"a tensor of shape {tuple(outputs.shape)}" if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise ModelError(
            f"the model must give a tensor of {rows} rows {'x steps ' * (axes == 3)}x outputs for {rows} rows of input", met=met
        )
    answers: NDArray[np.float32] = outputs.float().cpu().numpy()
    return answers
