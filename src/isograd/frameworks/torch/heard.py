"""The loss of a program as a watch heard it, where nobody hands it over: a function of torch's, and what it was called on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from isograd.errors import ModelError
from isograd.frameworks.torch.places import tensors_in
from isograd.records.batch import LossSample

KNOWN = frozenset(
    {
        "cross_entropy",
        "nll_loss",
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
    }
)
"""Functions of outputs and targets that their name and reduction say all of."""


def loss_as_heard(sample: LossSample) -> Callable[[Any, Any], Tensor] | None:
    """The function of (outputs, targets) that a sample was taken of; None where more went into it than is known.

    That is: options, a function between the model and the loss that is no module's, outputs or targets that came in another
    order or were cut. Axes of length 1 and the type of the targets are brought into the form that it was called on, where
    there are several outputs the first is meant, and the sign is kept. A model that gives its loss itself is believed.

    >>> loss = loss_as_heard(LossSample("mse_loss", output_shape=(8,), target_shape=(8,), target_dtype="float32", plain=True))
    >>> float(loss(torch.ones(4, 1), torch.zeros(4, dtype=torch.int64)))
    1.0
    >>> loss_as_heard(LossSample("cross_entropy", weights=(1.0, 2.0))) is None
    True
    """
    between = bool(sample.head) and not sample.head_where
    if sample.function not in KNOWN or sample.written or not sample.plain or between or sample.reduction not in ("mean", "sum"):
        return None
    function, dtype = getattr(F, sample.function), getattr(torch, sample.target_dtype, None)

    def loss(outputs: Any, targets: Any) -> Tensor:
        own = outputs.get("loss") if isinstance(outputs, Mapping) else getattr(outputs, "loss", None)
        if isinstance(own, Tensor):
            return own
        given, wanted = next(tensors_in(outputs)), next(tensors_in(targets))
        if isinstance(dtype, torch.dtype):
            wanted = wanted.to(dtype)
        given, wanted = _shaped(given, sample.output_shape), _shaped(wanted, sample.target_shape)
        value: Tensor = function(given, wanted, reduction=sample.reduction)
        return -value if sample.negated else value

    return loss


def _shaped(tensor: Tensor, like: tuple[int, ...]) -> Tensor:
    """With the axes of length 1 that the loss was called with; raises ``ModelError`` where more was done to it in the loop."""
    there, wanted = tuple(tensor.shape[1:]), tuple(like[1:])
    if there == wanted:
        return tensor
    if [size for size in there if size != 1] != [size for size in wanted if size != 1]:
        raise ModelError(
            "the loss that was heard cannot be called again: the loop brings outputs or targets into another form",
            met=f"{there}, where the loss got {wanted}",
            remedy="loss=, a function of (outputs, targets) that does so too",
        )
    return tensor.reshape(len(tensor), *wanted)
