"""What counts as naming the cause of a fault: the kinds of edits that take it back, by operator or by family."""

from __future__ import annotations

FAMILIES: dict[str, frozenset[str]] = {
    family: frozenset(kinds.split())
    for family, kinds in {
        "rate high": "learning_rate constant_rate",
        "rate low": "learning_rate constant_rate",
        "constants": "eps momentum beta1 beta2 learning_rate",
        "decay": "weight_decay loss",
        "dropout": "dropout",
        "initial": "initialisation",
        "activation": "activation",
        "last activation": "last loss",
        "loss": "loss",
        "broadcast": "loss",
        "clearing": "clear_gradients",
        "parameters": "parameters",
        "frozen": "unfreeze",
        "cut": "keep_graph loss",
        "mode": "train_mode",
        "batches": "fresh_batches",
        "order": "shuffle",
        "reborn": "keep_weights",
        "batch size": "batch_size steps learning_rate",
        "length": "steps learning_rate",
        "clipping": "clip_norm",
        "precision": "precision",
        "architecture": "width residual normalisation initialisation",
        "input scale": "input_scale",
        "features": "input_scale",
        "target scale": "target_scale",
        "labels": "no_signal",
        "class weights": "loss",
        "loss scale": "loss learning_rate",
        "recurrent weights": "initialisation",
        "task": "loss other_terms keep_graph",
    }.items()
}
"""By family of faults. "no_signal" is the answer that the labels do not follow from the inputs."""

NO_REPLAY = frozenset(
    ["adversarial", "recurrent", "one class", "raises", "attention", "one step an epoch", "reinforcement", "rows mixed"]
)
"""Two models against each other; axes, masks and states, which no edit turns round; examples that are not there; loops that
step seldom or ask a game; exceptions."""

OPERATORS: dict[str, frozenset[str]] = {
    "epsilon huge": frozenset(["eps"]),
    "momentum near one": frozenset(["momentum"]),
    "momentum above one": frozenset(["momentum"]),
    "betas absurd": frozenset(["beta1", "beta2"]),
    "optimizer is SGD without momentum": frozenset(["learning_rate", "momentum"]),
    "optimizer swapped": frozenset(["learning_rate", "momentum"]),
    "no activation": frozenset(["nonlinearity"]),
    "penalty overwhelms": frozenset(["loss"]),
    "running statistics that hardly follow": frozenset(["statistics"]),
    "batch and time swapped": frozenset(["axes"]),
    "batch_first forgotten": frozenset(["axes"]),
    "tokens for rows": frozenset(["axes"]),
    "softmax over the rows": frozenset(["axes", "last"]),
    "weights clamped as in a critic": frozenset(["weight_decay", "loss", "keep_weights"]),
    "weight of a term far too large": frozenset(["loss", "other_terms"]),
}
"""Operators for which it is narrower, or another edit than the family's."""

NO_EDIT = frozenset(
    ["few examples", "features constant", "samples detached", "inputs for the targets", "mask of the members turned round"]
)
"""Operators that no edit takes back: examples, features and targets that are not there."""


NOT_BROUGHT_BACK = frozenset(["features"])
BY_HAND = frozenset(["weights clamped as in a critic"])
"""What may be named, and no edit takes back: families whose inputs have lost what they held before the program gets them
(rounded, clipped, not finite, one number), and statements by hand that no kind of edit stands for."""

COPIES = frozenset(["digit_autoencoder", "factor_vae"])
"""Programs whose targets are their inputs: what is wrong with the one is wrong with the other."""


def right_kinds(operator: str, family: str, program: str = "") -> frozenset[str]:
    """The kinds of edits that name this fault; empty where it is not covered."""
    if program in COPIES and family == "input scale":
        return frozenset(["input_scale", "target_scale"])
    if operator in NO_EDIT or (family in NO_REPLAY and operator not in OPERATORS):
        return frozenset()
    return OPERATORS.get(operator, FAMILIES.get(family, frozenset()))


def curable_kinds(operator: str, family: str, program: str = "") -> frozenset[str]:
    """The kinds of edits that take this fault back; empty where none does, by what the operator does and not by any result."""
    if family in NOT_BROUGHT_BACK or operator in BY_HAND:
        return frozenset()
    return right_kinds(operator, family, program) - {"no_signal"}
