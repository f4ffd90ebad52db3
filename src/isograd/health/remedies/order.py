"""The two orders of edits: in which they deserve a trial, and in which several are put into one program."""

from __future__ import annotations

from collections.abc import Iterable

from isograd.records.edit import EDITS, Edit

CORRECTNESS = frozenset(
    [
        "clear_gradients",
        "train_mode",
        "fresh_batches",
        "keep_weights",
        "take_steps",
        "parameters",
        "unfreeze",
        "keep_graph",
        "precision",
        "axes",
        "loss",
        "last",
        "skip_batch",
    ]
)
"""Edits that put right what is wrong in any program."""
SETTINGS = frozenset(
    [
        "learning_rate",
        "constant_rate",
        "momentum",
        "beta1",
        "beta2",
        "eps",
        "weight_decay",
        "decay_l1",
        "decay_decoupled",
        "input_scale",
        "target_scale",
        "batch_size",
        "shuffle",
        "dropout",
        "statistics",
        "steps",
        "warm_up",
        "loss_scale",
        "other_terms",
        "reset_state",
    ]
)
INITIAL = frozenset(["initialisation", "forget_bias", "rescale", "revive"])
ARCHITECTURE = frozenset(["width", "depth", "cell", "separable"])

_PARTS = ("data", "loss", "model", "optimizer", "loop")
_LAST_OF_A_MODEL = ("initialisation", "forget_bias", "rescale", "revive")
_FIRST_OF_AN_OPTIMIZER = ("unfreeze", "parameters", "optimizer")


def tier(edit: Edit) -> int:
    """How early an edit deserves its trial: correctness 0, settings 1, initialisation 2, activation 3, what helps everybody 4,
    architecture 5; taking a thing away is a setting.

    >>> [tier(Edit(kind)) for kind in ("loss", "learning_rate", "initialisation", "activation", "residual", "width")]
    [0, 1, 2, 3, 4, 5]
    """
    if edit.kind in CORRECTNESS:
        return 0
    if edit.kind in SETTINGS or edit.off:
        return 1
    if edit.kind in INITIAL:
        return 2
    if edit.kind in ("activation", "nonlinearity"):
        return 3
    return 5 if edit.kind in ARCHITECTURE else 4


def in_order(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """Edits in the order in which they do not undo one another: the network before its weights are drawn, the optimizer before
    its constants; of several of one kind and place the last.

    >>> found = in_order([Edit("learning_rate", 0.1), Edit("initialisation", "he"), Edit("optimizer", "adam")])
    >>> [edit.kind for edit in found]
    ['initialisation', 'optimizer', 'learning_rate']
    """
    kept = {(edit.kind, edit.where): edit for edit in edits}
    return tuple(sorted(kept.values(), key=_place))


def _place(edit: Edit) -> tuple[int, int, int]:
    part = _PARTS.index(EDITS[edit.kind].part)
    late = 1 + _LAST_OF_A_MODEL.index(edit.kind) if edit.kind in _LAST_OF_A_MODEL else 0
    early = -len(_FIRST_OF_AN_OPTIMIZER) + _FIRST_OF_AN_OPTIMIZER.index(edit.kind) if edit.kind in _FIRST_OF_AN_OPTIMIZER else 0
    return part, late + early, list(EDITS).index(edit.kind)
