"""What outputs and targets ask for: classes, yes or no, or numbers; and the loss that fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.nn import functional as F

from isograd.errors import ModelError
from isograd.frameworks.torch.places import tensors_in

Task = Literal["classes", "binary", "numbers"]


@dataclass(frozen=True, slots=True)
class Matched:
    """Outputs and targets brought to one form.

    classes: ``outputs`` (n, C) scores, ``targets`` (n,) indices; binary: both (n,), targets 0 or 1; numbers: both (n, D).
    """

    task: Task
    outputs: Tensor
    targets: Tensor


def matched(outputs: Any, targets: Any) -> Matched:
    """Bring the first tensor of each to one form; raises ``ModelError`` where they have nothing to do with one another.

    >>> import torch
    >>> matched(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])).task
    'classes'
    >>> matched(torch.zeros(4, 1), torch.tensor([0.0, 1.0, 1.0, 0.0])).task
    'binary'
    >>> matched(torch.zeros(4, 1), torch.tensor([0.5, 1.0, 7.0, 0.0])).outputs.shape
    torch.Size([4, 1])
    """
    made, wanted = next(tensors_in(outputs), None), next(tensors_in(targets), None)
    if made is None or wanted is None or not made.numel() or not wanted.numel():
        raise _unfit(outputs, targets)
    if not made.is_floating_point():
        raise _unfit(outputs, targets)
    width = made.numel() // wanted.numel()
    if width > 1 and made.numel() == width * wanted.numel() and _are_indices(wanted, width):
        return _of_classes(made, wanted.long(), width)
    if made.numel() != wanted.numel():
        raise _unfit(outputs, targets)
    wanted = wanted.to(made.dtype).reshape(made.shape)
    if bool(((wanted == 0) | (wanted == 1)).all()):
        if made.ndim == 2 and made.shape[1] > 1 and bool((wanted.sum(1) == 1).all()):
            return Matched("classes", made, wanted.argmax(1))
        return Matched("binary", made.reshape(-1), wanted.reshape(-1))
    rows = len(made) if made.ndim else 1
    return Matched("numbers", made.reshape(rows, -1), wanted.reshape(rows, -1))


def _are_indices(wanted: Tensor, width: int) -> bool:
    if not wanted.is_floating_point():
        return True
    return bool(((wanted == wanted.round()) & (wanted >= 0) & (wanted < width)).all())


def _of_classes(made: Tensor, wanted: Tensor, width: int) -> Matched:
    if made.ndim >= 3 and made.shape[1] == width and (made.shape[0], *made.shape[2:]) == wanted.shape:
        made = made.movedim(1, -1)  # (N, C, ...), as cross_entropy takes it
    made, wanted = made.reshape(-1, width), wanted.reshape(-1)
    counts = (wanted >= 0) & (wanted < width)  # an index beyond says that a place does not count
    if not bool(counts.all()):
        made, wanted = made[counts], wanted[counts]
    return Matched("classes", made, wanted)


def fitting_loss(outputs: Any, targets: Any) -> Tensor:
    """The loss that fits: cross-entropy of scores, binary cross-entropy of logits, or the squared error; means."""
    found = matched(outputs, targets)
    if found.task == "classes":
        return F.cross_entropy(found.outputs, found.targets)
    if found.task == "binary":
        return F.binary_cross_entropy_with_logits(found.outputs, found.targets)
    return F.mse_loss(found.outputs, found.targets)


def _unfit(outputs: Any, targets: Any) -> ModelError:
    shapes = [
        ", ".join(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in tensors_in(one)) or type(one).__name__
        for one in (outputs, targets)
    ]
    return ModelError(
        "there is no yardstick for this output and these targets",
        met=f"output {shapes[0]}; targets {shapes[1]}",
        remedy="score=, a function of the model that says how good it is (higher is better)",
    )
