"""A change of a program as data: a small closed set that every door performs or refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Part = Literal["loop", "optimizer", "data", "loss", "model"]
Back = Literal["", "before", "off"]

OFF = "off"
"""The value of an edit that takes a flag back: residual paths out again, targets as they came."""


class Kind(NamedTuple):
    """What an edit of one kind does: the part of a program it changes, its size, whether it keeps the weights.

    ``size``: 1 is one number, flag or name; 2 and 3 change the architecture. ``remedy``: it helps programs with other faults as
    well, so that its success names no cause. ``back``: what takes it back is the value that was there ``before``, or ``OFF``;
    nothing where what was there is lost. ``off`` says what it does without a value, or with ``OFF``.
    """

    text: str
    part: Part
    size: int = 1
    keeps_weights: bool = True
    remedy: bool = False
    back: Back = ""
    off: str = ""


_UNCLIPPED = "do not clip the gradient"

EDITS: dict[str, Kind] = {
    # the loop
    "clear_gradients": Kind(
        "clear the gradients before each backward pass, and only there", "loop", back="off", off="never clear the gradients"
    ),
    "train_mode": Kind("train in training mode", "loop", back="off", off="train in evaluation mode"),
    "fresh_batches": Kind(
        "take the next batch at every step instead of the same one", "loop", back="off", off="take the same batch at every step"
    ),
    "constant_rate": Kind("leave the learning rate where it began", "loop"),
    "keep_weights": Kind("leave the weights to the optimizer while training: none drawn again, put back or cut off", "loop"),
    "take_steps": Kind("let the optimizer step after the backward pass", "loop"),
    "steps": Kind("train `value` steps", "loop", back="before"),
    "clip_norm": Kind("clip the gradient to the total norm `value` before each step", "loop", back="before", off=_UNCLIPPED),
    "clip_value": Kind(
        "clip every entry of the gradient to at most `value` before each step",
        "loop",
        remedy=True,
        back="before",
        off=_UNCLIPPED,
    ),
    "clip_unit": Kind(
        "clip the gradient of each unit to `value` times the norm of its weights",
        "loop",
        remedy=True,
        back="before",
        off=_UNCLIPPED,
    ),
    "schedule": Kind(
        "let the learning rate fall to zero over the run (`value`)",
        "loop",
        back="before",
        off="leave the learning rate without a schedule",
        remedy=True,
    ),
    "warm_up": Kind(
        "raise the learning rate from zero over the first `value` steps",
        "loop",
        back="before",
        off="begin with the full learning rate",
        remedy=True,
    ),
    "accumulate": Kind(
        "step on the mean gradient of `value` batches",
        "loop",
        back="before",
        off="step on the gradient of one batch",
        remedy=True,
    ),
    "loss_scale": Kind(
        "multiply the loss by `value` for the backward pass and divide the gradient by it after",
        "loop",
        back="before",
        off="do not scale the loss",
    ),
    # the optimizer
    "parameters": Kind("give the optimizer every parameter that asks for a gradient", "optimizer"),
    "unfreeze": Kind("let every parameter learn, and give it to the optimizer", "optimizer"),
    "learning_rate": Kind("set the learning rate of every parameter group to `value`", "optimizer", back="before"),
    "optimizer": Kind("use the optimizer `value` with its usual constants", "optimizer", remedy=True),
    "momentum": Kind("set the momentum to `value`", "optimizer", back="before"),
    "beta1": Kind("set the decay of the first moment to `value`", "optimizer", back="before"),
    "beta2": Kind("set the decay of the second moment to `value`", "optimizer", back="before"),
    "eps": Kind("set the optimizer's epsilon to `value`", "optimizer", back="before"),
    "weight_decay": Kind("set the weight decay to `value`", "optimizer", back="before"),
    "decay_l1": Kind(
        "add `value` times the sign of each weight to its gradient",
        "optimizer",
        back="before",
        off="do not decay weights by their sign",
        remedy=True,
    ),
    "decay_decoupled": Kind(
        "shrink the weights by learning rate times `value` at each step, beside the gradient",
        "optimizer",
        back="before",
        off="do not shrink the weights beside the gradient",
        remedy=True,
    ),
    "reset_state": Kind("let the optimizer forget its moments", "optimizer"),
    # the data
    "skip_batch": Kind("leave out batch `value`", "data", back="before", off="leave out no batch"),
    "input_scale": Kind("standardise the inputs, feature by feature", "data", back="off", off="take the inputs as they come"),
    "target_scale": Kind("standardise the targets", "data", back="off", off="take the targets as they come"),
    "shuffle": Kind("mix the order of the examples", "data", back="off", off="take the examples in their order"),
    "batch_size": Kind("take `value` examples a step", "data", back="before", off="take the batches as they come"),
    # the loss
    "loss": Kind("use the loss that fits outputs and targets, on outputs without a last function", "loss"),
    "other_terms": Kind("weigh what the loss asks beside its comparison with the targets by `value`", "loss", back="before"),
    "last": Kind("leave out the functions behind the last weighted layer", "loss"),
    # the model
    "keep_graph": Kind(
        "pass signals on in the graph where they were detached", "model", back="off", off="detach what the program detaches"
    ),
    "precision": Kind("compute in `value`", "model", back="before", off="compute in float32"),
    "statistics": Kind(
        "let the running statistics of batch norms take in the share `value` of each batch", "model", back="before"
    ),
    "axes": Kind("let what reads sequences take the `value` as the first axis of its input", "model", back="before"),
    "dropout": Kind("drop units with probability `value`", "model", back="before"),
    "forget_bias": Kind("set the bias of the forget gates to `value`", "model"),
    "initialisation": Kind("draw the weights again (`value`)", "model", keeps_weights=False),
    "rescale": Kind("rescale the layers in place (`value`)", "model", remedy=True),
    "revive": Kind("centre and rescale the dead units in place", "model"),
    "activation": Kind("use the activation `value` instead of the present one", "model", back="before"),
    "nonlinearity": Kind(
        "put the activation `value` between layers that have none between them",
        "model",
        2,
        back="off",
        off="take the activations between the layers out again",
    ),
    "truncate": Kind(
        "cut the gradient through time every `value` steps",
        "model",
        back="before",
        off="let the gradient pass through all of time",
        remedy=True,
    ),
    "width": Kind("make the hidden layers `value` times as wide", "model", 2, keeps_weights=False),
    "depth": Kind("make the network `value` times as deep", "model", 2, keeps_weights=False),
    "cell": Kind("use the recurrent layer `value` instead of the present one", "model", 2, keeps_weights=False, remedy=True),
    "separable": Kind("use depthwise-separable convolutions instead of full ones", "model", 3, keeps_weights=False),
    "norm_first": Kind(
        "normalise before each residual branch instead of behind it",
        "model",
        2,
        remedy=True,
        back="off",
        off="normalise behind each residual branch instead of before it",
    ),
    "normalisation": Kind(
        "normalise behind every hidden layer (`value`)",
        "model",
        3,
        remedy=True,
        back="off",
        off="take the normalisation out again",
    ),
    "residual": Kind(
        "add its input to the output of every layer that keeps the shape",
        "model",
        3,
        remedy=True,
        back="off",
        off="take the residual paths out again",
    ),
}
"""What can be done, by ``Edit.kind``. A new kind is a line here and one in the doors that can do it; the conformance suite
holds that every door either does it or refuses in words."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: its kind (a key of ``EDITS``), its new value, and where ("" is everywhere it applies).

    ``before`` is the value it replaces, where that is known. ``keeps_weights`` says whether what was learned survives; None:
    as its kind has it. Names that a value may have: see ``VALUES``.
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
    def off(self) -> bool:
        """Whether it takes something away: the value is ``OFF``, or none where a value would put something in.

        >>> Edit("clip_norm").off, Edit("residual").off, Edit("residual", "off").off
        (True, False, True)
        """
        kind = EDITS[self.kind]
        return self.value == OFF or (self.value is None and kind.back == "before" and bool(kind.off))

    @property
    def text(self) -> str:
        """What it asks for, in words that go on after "try to".

        >>> Edit("warm_up", 100.0).text
        'raise the learning rate from zero over the first 100 steps'
        >>> Edit("clip_norm").text, Edit("normalisation", "layer").text
        ('do not clip the gradient', 'normalise behind every hidden layer (layer)')
        """
        kind = EDITS[self.kind]
        if self.off:
            return kind.off
        value = f"{self.value:g}" if isinstance(self.value, float | int) else str(self.value or "")
        return kind.text.replace("`value`", value.replace("_", " "))

    @property
    def inverse(self) -> Edit | None:
        """The edit that takes this one back; None where what was there is lost (a drawn weight) or not known.

        >>> Edit("learning_rate", 0.1, before=10.0).inverse.value
        10.0
        >>> Edit("residual").inverse.text, Edit("initialisation", "he").inverse
        ('take the residual paths out again', None)
        """
        kind = EDITS[self.kind]
        if kind.back == "off":
            back = self.before if self.value == OFF else OFF
            return Edit(self.kind, back, self.where, self.value, self.keeps_weights)
        if kind.back == "before" and (self.before is not None or kind.off):
            return Edit(self.kind, self.before, self.where, self.value, self.keeps_weights)
        return None

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
        if self.off:
            return False
        return EDITS[self.kind].remedy or self.kind == "clip_norm"


VALUES: dict[str, tuple[str, ...]] = {
    "schedule": ("cosine", "linear"),
    "optimizer": ("sgd", "nesterov", "adam", "adamw", "nadam", "radam", "adamax", "rmsprop", "adagrad"),
    "precision": ("float32", "float64", "bfloat16", "float16"),
    "initialisation": (
        "usual",
        "he",
        "glorot",
        "lecun",
        "orthogonal",
        "delta_orthogonal",
        "identity",
        "zero_residual",
        "fixup",
    ),
    "rescale": ("unit_variance", "centred", "balance"),
    "activation": ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "tanh", "sigmoid"),
    "nonlinearity": ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "tanh", "sigmoid"),
    "axes": ("batch", "time"),
    "cell": ("lstm", "gru"),
    "normalisation": ("layer", "batch", "group"),
}
"""The values of the kinds that are names, and not numbers or flags."""
