"""A change of a program as data: a small closed set that every door performs or refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Part = Literal["loop", "optimizer", "data", "loss", "model"]


class Kind(NamedTuple):
    """What an edit of one kind does: the part of a program it changes, its size, whether it keeps the weights.

    ``size``: 1 is one number, flag or name; 2 and 3 change the architecture. ``remedy``: it helps programs with other faults as
    well, so that its success names no cause.
    """

    text: str
    part: Part
    size: int = 1
    keeps_weights: bool = True
    remedy: bool = False


EDITS: dict[str, Kind] = {
    # the loop
    "clear_gradients": Kind("clear the gradients before each backward pass, and only there", "loop"),
    "train_mode": Kind("train in training mode", "loop"),
    "fresh_batches": Kind("take the next batch at every step instead of the same one", "loop"),
    "constant_rate": Kind("leave the learning rate where it began", "loop"),
    "keep_weights": Kind("do not draw the weights again while training", "loop"),
    "steps": Kind("train `value` steps", "loop"),
    "clip_norm": Kind("clip the gradient to the total norm `value` before each step; no value: do not clip", "loop"),
    # the optimizer
    "parameters": Kind("give the optimizer every parameter that asks for a gradient", "optimizer"),
    "unfreeze": Kind("let every parameter learn, and give it to the optimizer", "optimizer"),
    "learning_rate": Kind("set the learning rate of every parameter group to `value`", "optimizer"),
    "optimizer": Kind("use the optimizer `value` (sgd, adam) with its usual constants", "optimizer", remedy=True),
    "momentum": Kind("set the momentum to `value`", "optimizer"),
    "beta1": Kind("set the decay of the first moment to `value`", "optimizer"),
    "beta2": Kind("set the decay of the second moment to `value`", "optimizer"),
    "eps": Kind("set the optimizer's epsilon to `value`", "optimizer"),
    "weight_decay": Kind("set the weight decay to `value`", "optimizer"),
    # the data
    "input_scale": Kind("standardise the inputs, feature by feature", "data"),
    "target_scale": Kind("standardise the targets", "data"),
    "shuffle": Kind("mix the order of the examples", "data"),
    "batch_size": Kind("take `value` examples a step", "data"),
    # the loss
    "loss": Kind("use the loss that fits outputs and targets, on outputs without a last function", "loss"),
    "last": Kind("leave out the functions behind the last weighted layer", "loss"),
    # the model
    "keep_graph": Kind("pass signals on in the graph where they were detached", "model"),
    "precision": Kind("compute in float32", "model"),
    "dropout": Kind("drop units with probability `value`", "model"),
    "initialisation": Kind("draw the weights again: `value` is he, glorot, lecun or orthogonal", "model", keeps_weights=False),
    "activation": Kind("use the activation `value` instead of the present one", "model"),
    "width": Kind("make the hidden layers `value` times as wide", "model", 2, keeps_weights=False),
    "normalisation": Kind("normalise behind every hidden layer: `value` is layer", "model", 3, remedy=True),
    "residual": Kind("add its input to the output of every layer that keeps the shape", "model", 3, remedy=True),
}
"""What can be done, by ``Edit.kind``. A new kind is a line here and one in the doors that can do it; the conformance suite
holds that every door either does it or refuses in words."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: its kind (a key of ``EDITS``), its new value, and where ("" is everywhere it applies).

    ``before`` is the value it replaces, where that is known: the inverse is the edit with both swapped. ``keeps_weights``
    says whether what was learned survives; None: as its kind has it.
    """

    kind: str
    value: float | str | None = None
    where: str = ""
    before: float | str | None = None
    keeps_weights: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in EDITS:
            raise ValueError(f"no edit is called {self.kind!r}; there are {', '.join(EDITS)}")
        if self.keeps_weights is None:
            object.__setattr__(self, "keeps_weights", EDITS[self.kind].keeps_weights)

    @property
    def inverse(self) -> Edit:
        """The edit that takes this one back (a drawn weight does not come back: only its distribution does).

        >>> Edit("learning_rate", 0.1, before=10.0).inverse.value
        10.0
        """
        return Edit(self.kind, self.before, self.where, self.value, self.keeps_weights)

    @property
    def size(self) -> int:
        """How much of the program it changes: 1 is one number, flag or name.

        >>> Edit("clip_norm", 1.0).size, Edit("residual").size
        (1, 3)
        """
        return EDITS[self.kind].size

    @property
    def remedy(self) -> bool:
        """Whether its success names no cause: it helps programs with other faults as well.

        >>> Edit("clip_norm", 1.0).remedy, Edit("clip_norm", None).remedy
        (True, False)
        """
        return EDITS[self.kind].remedy or (self.kind == "clip_norm" and self.value is not None)
