"""What outputs and targets ask for: classes, yes or no, or numbers; and the loss that fits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from isograd.errors import ModelError
from isograd.frameworks.torch.places import tensors_in
from isograd.frameworks.torch.preparing import mapped

Task = Literal["classes", "binary", "numbers", "ranks"]
IGNORED = -100
"""What torch takes for a label that does not count."""


@dataclass(frozen=True, slots=True)
class Matched:
    """Outputs and targets brought to one form.

    classes: ``outputs`` (n, C) scores, ``targets`` (n,) indices or (n, C) probabilities; binary: both (n, K), K questions with
    targets 0 or 1; numbers: both (n, D). ranks: ``outputs`` (n,) are by how much the right one of two is put above the other.
    """

    task: Task
    outputs: Tensor
    targets: Tensor


def matched(outputs: Any, targets: Any) -> Matched:
    """Bring the first tensor of each to one form; raises ``ModelError`` where they have nothing to do with one another.

    Targets of two values, 0 and 1 or -1 and 1, are answers of yes or no: of a table column by column, else of all places
    together. Rows that sum to 1 are classes.

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
        raise unfit(outputs, targets)
    if not made.is_floating_point():
        raise unfit(outputs, targets)
    width = made.numel() // wanted.numel()
    if width > 1 and made.numel() == width * wanted.numel() and _are_indices(wanted, width):
        return _of_classes(made, wanted.long(), width)
    if made.numel() != wanted.numel():
        raise unfit(outputs, targets)
    wanted = wanted.to(made.dtype).reshape(made.shape)
    if made.ndim >= 2 and made.shape[1] > 1 and _are_shares(wanted):
        made, wanted = (one.movedim(1, -1).reshape(-1, one.shape[1]) for one in (made, wanted))
        hard = bool(((wanted == 0) | (wanted == 1)).all())
        return Matched("classes", made, wanted.argmax(1) if hard else wanted)
    low, high = float(wanted.min()), float(wanted.max())
    if (low, high) in ((-1.0, 1.0), (0.0, 1.0), (0.0, 0.0), (1.0, 1.0)) and bool(((wanted == low) | (wanted == high)).all()):
        columns = made.shape[1] if made.ndim == 2 else 1
        return Matched("binary", made.reshape(-1, columns), wanted.reshape(-1, columns).clamp(min=0.0))
    return as_numbers(made, wanted)


def as_numbers(made: Tensor, wanted: Tensor) -> Matched:
    """Outputs and targets as numbers, whatever values they take."""
    rows = len(made) if made.ndim else 1
    return Matched("numbers", made.reshape(rows, -1), wanted.to(made.dtype).reshape(rows, -1))


def _are_indices(wanted: Tensor, width: int) -> bool:
    if not wanted.is_floating_point():
        return True
    return bool(((wanted == wanted.round()) & (wanted >= 0) & (wanted < width)).all())


def _are_shares(wanted: Tensor) -> bool:
    return float(wanted.min()) >= 0.0 and bool(((wanted.sum(1) - 1.0).abs() < 1e-3).all())


def _of_classes(made: Tensor, wanted: Tensor, width: int) -> Matched:
    if made.ndim >= 3 and made.shape[1] == width and _in_front(made, wanted):
        made = made.movedim(1, -1)  # (N, C, ...), as cross_entropy takes it
    made, wanted = made.reshape(-1, width), wanted.reshape(-1)
    counts = (wanted >= 0) & (wanted < width)  # an index beyond says that a place does not count
    if not bool(counts.all()):
        made, wanted = made[counts], wanted[counts]
    return Matched("classes", made, wanted)


def _in_front(made: Tensor, wanted: Tensor) -> bool:
    """Whether the classes are the second axis: the places agree, or the last axis is none of classes."""
    places = (made.shape[0], *made.shape[2:])
    return wanted.shape in (places, (places[0], 1, *places[1:])) or made.shape[-1] * wanted.numel() != made.numel()


def paired(outputs: Any, targets: Any) -> list[tuple[Tensor, Tensor]]:
    """Each output with the targets that it is for, by name in two mappings, else in order, else the first that fit.

    Outputs that fit no targets (a code beside a reconstruction, a hidden state) and targets that fit no output (lengths) are
    left out; a boolean tensor of the shape of the targets says which of them count. Empty where nothing fits.

    >>> import torch
    >>> made, wanted = (torch.zeros(4, 3), torch.zeros(4, 1)), (torch.tensor([0, 1, 2, 0]), torch.ones(4))
    >>> [(tuple(one.shape), tuple(other.shape)) for one, other in paired(made, wanted)]
    [((4, 3), (4,)), ((4, 1), (4,))]
    """
    if isinstance(outputs, Mapping) and isinstance(targets, Mapping):
        named = [(outputs[name], targets[name]) for name in outputs if name in targets]
        named = [pair for pair in named if all(isinstance(one, Tensor) for one in pair) and fits(*pair)]
        if named:
            return named
    made = [one for one in tensors_in(outputs) if one.is_floating_point() and one.ndim]
    every = [one for one in tensors_in(targets) if one.ndim]
    masks = [one for one in every if one.dtype == torch.bool] if len(every) > 1 else []
    wanted = [one for one in every if all(one is not mask for mask in masks)]
    if len(made) == len(wanted) and all(map(fits, made, wanted)):
        return [_masked(*pair, masks) for pair in zip(made, wanted, strict=True)]
    found = []
    for target in wanted:
        place = next((place for place, one in enumerate(made) if fits(one, target)), None)
        if place is not None:
            found.append(_masked(made.pop(place), target, masks))
    return found


def in_doubt(outputs: Any, targets: Any) -> bool:
    """Whether there are more outputs than targets, and several of them could be the answer to one."""
    made = [one for one in tensors_in(outputs) if one.is_floating_point() and one.ndim]
    wanted = [one for one in tensors_in(targets) if one.ndim]
    return len(made) > len(wanted) and any(sum(fits(one, target) for one in made) > 1 for target in wanted)


def fits(made: Tensor, wanted: Tensor) -> bool:
    """Whether an output can be an answer to these targets: as many numbers, or scores of classes for every place."""
    if not made.numel() or not wanted.numel() or not made.is_floating_point() or not made.ndim:
        return False
    if made.numel() == wanted.numel():
        return bool(len(made) == len(wanted)) if made.ndim > 1 and wanted.ndim > 1 else True
    width = made.numel() // wanted.numel()
    if width < 2 or made.numel() != width * wanted.numel() or width not in made.shape:
        return False
    return _are_indices(wanted, width)


def _masked(made: Tensor, wanted: Tensor, masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Without the places that a mask leaves out."""
    mask = next((one for one in masks if one.shape == wanted.shape), None)
    if mask is None or made.shape[: mask.ndim] != mask.shape:
        return made, wanted
    return made[mask], wanted[mask]


def fitting_loss(outputs: Any, targets: Any) -> Tensor:
    """The loss that fits: cross-entropy of scores, binary cross-entropy of logits, or the squared error; means.

    Several outputs, each with targets of its own, have the sum of theirs. Raises ``ModelError`` where nothing fits.
    """
    losses = [_loss(matched(made, wanted)) for made, wanted in paired(outputs, targets)]
    if not losses:
        raise unfit(outputs, targets)
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


class Fitting:
    """The loss that fits where the program's own also asks something of outputs that nothing is compared with, as a VAE's does.

    That part of it stays, in the same proportion: the fitting loss is scaled to the gradient that the program's own has there.
    ``binary``: the program's own takes numbers between 0 and 1 for probabilities, which is as good as their squared error;
    ``logits``: its outputs stand for them as logits.
    """

    def __init__(self, own: Any, *, binary: bool = False, logits: bool = False) -> None:
        self.own, self.binary, self.logits = own, binary, logits

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """The loss of these outputs and targets."""
        pairs = paired(outputs, targets)
        fitting, made = self._fitting(outputs, targets, pairs), [one for one, _ in pairs]
        rest = self.rest(outputs, targets)
        if rest is None:
            return fitting
        both = (self.own(outputs, targets), fitting)
        sizes = [_length(torch.autograd.grad(loss, made, retain_graph=True, allow_unused=True)) for loss in both]
        factor = sizes[0] / sizes[1] if 0.0 < sizes[0] < math.inf and 0.0 < sizes[1] < math.inf else 1.0
        return factor * fitting + rest

    def _fitting(self, outputs: Any, targets: Any, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        if not self.binary or any(float(wanted.min()) < 0.0 or float(wanted.max()) > 1.0 for _, wanted in pairs):
            return fitting_loss(outputs, targets)
        if self.logits:
            losses = [F.binary_cross_entropy_with_logits(made, wanted.to(made).reshape(made.shape)) for made, wanted in pairs]
        else:
            losses = [
                F.binary_cross_entropy(made.clamp(0.0, 1.0), wanted.to(made).reshape(made.shape)) for made, wanted in pairs
            ]
        return torch.stack(losses).sum()

    def rest(self, outputs: Any, targets: Any) -> Tensor | None:
        """What the program's own loss asks of the other outputs; None where it asks nothing."""
        made = {id(one) for one, _ in paired(outputs, targets)}
        if self.own is None or all(id(one) in made for one in tensors_in(outputs)):
            return None
        rest = self.own(mapped(outputs, lambda one: one.detach() if id(one) in made else one), targets)
        return rest if isinstance(rest, Tensor) and rest.numel() == 1 and rest.requires_grad else None


class Weighed:
    """The program's own loss with another weight of what it asks of outputs that nothing is compared with.

    The rest, which compares outputs with targets, stays as it is; the gradient is that of both, the value is off by a constant.
    """

    def __init__(self, own: Any, weight: float) -> None:
        if own is None:
            raise ModelError("the loss is inside the model or the step function", remedy="give batches and loss apart")
        self.own, self.weight, self.fitting = own, weight, Fitting(own)

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """The loss of these outputs and targets. Raises ``ModelError`` where nothing but the comparison is asked."""
        rest = self.fitting.rest(outputs, targets)
        if rest is None:
            raise ModelError("the loss asks nothing of outputs that are not compared with targets")
        loss: Tensor = self.own(outputs, targets) + (self.weight - 1.0) * rest
        return loss


def _length(gradients: Sequence[Tensor | None]) -> float:
    return math.sqrt(sum(float(one.double().square().sum()) for one in gradients if one is not None))


def _loss(found: Matched) -> Tensor:
    if found.task == "classes":
        return F.cross_entropy(found.outputs, found.targets)
    if found.task == "binary":
        return F.binary_cross_entropy_with_logits(found.outputs, found.targets)
    return F.mse_loss(found.outputs, found.targets)


def unfit(outputs: Any, targets: Any) -> ModelError:
    """What is said where no yardstick fits."""
    shapes = [
        ", ".join(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in tensors_in(one)) or type(one).__name__
        for one in (outputs, targets)
    ]
    return ModelError(
        "there is no yardstick for this output and these targets",
        met=f"output {shapes[0]}; targets {shapes[1]}",
        remedy="score=, a function of the model that says how good it is (higher is better)",
    )
