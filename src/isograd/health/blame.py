"""Edit -> the sentence that names what was wrong before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isograd.records.cause import Cause, Hypothesis
from isograd.records.edit import Edit
from isograd.records.finding import Finding

ALIKE = 0.9
"""The share of one gain that another must have not to be told from it (``cause.TIE``)."""

_WORDS = {
    "clear_gradients": "The gradients are not cleared between one step and the next.",
    "train_mode": "The network trains in evaluation mode.",
    "fresh_batches": "Every step sees the same batch.",
    "constant_rate": "The schedule takes the learning rate away from where it works.",
    "keep_weights": "Another hand than the optimizer's changes the weights while the network trains.",
    "take_steps": "Backward passes run, and no optimizer steps: the weights never change.",
    "parameters": "The optimizer does not hold all parameters that should learn.",
    "unfreeze": "Layers that should learn are frozen.",
    "input_scale": "The inputs are on a scale for which neither weights nor learning rate were made.",
    "target_scale": "The targets are on a scale that the outputs cannot reach in time.",
    "shuffle": "The examples come in an order that teaches one kind after the other.",
    "loss": "The loss does not fit the outputs and the targets.",
    "other_terms": "Another part of the loss outweighs its comparison with the targets.",
    "keep_graph": "A signal leaves the graph, so that what stands before it learns nothing.",
    "precision": "The network computes in half precision without a scaler.",
    "axes": "A recurrent layer takes the examples of a batch for the steps of a sequence.",
    "statistics": "The running statistics of a batch norm hardly follow its batches: what is evaluated is another network.",
    "initialisation": "The weights begin at a wrong size.",
    "nonlinearity": "No activation stands between layers, which then amount to one linear layer.",
    "width": "A hidden layer is too narrow to carry the answer.",
    "normalisation": "The signal is not normalised on its way.",
    "residual": "The network is too deep without residual paths.",
    "optimizer": "The optimizer does not suit this problem.",
    "schedule": "The learning rate does not fall far enough for the weights to settle.",
    "warm_up": "The first steps are too large for weights that have just been drawn.",
    "accumulate": "The gradient of one step is too noisy.",
    "loss_scale": "Gradients are too small for the numbers that hold them.",
    "reset_state": "The optimizer remembers gradients that no longer hold.",
    "skip_batch": "One batch spoils the training.",
    "forget_bias": "The forget gates lose what the network should remember.",
    "rescale": "The layers pass the signal on at a wrong size.",
    "revive": "Units are dead: no example makes them fire.",
    "truncate": "The gradient through time grows or fades over too many steps.",
    "cell": "The recurrent layer forgets what came long before.",
    "separable": "The convolutions have more weights than the examples can teach.",
    "norm_first": "The signal is normalised behind the residual branches, where it weakens the paths around them.",
}


def summary_of(edit: Edit) -> str:
    """One sentence on what the edit takes away.

    >>> summary_of(Edit("learning_rate", 0.001, before=3.0))
    'The learning rate of 3 is too high.'
    >>> summary_of(Edit("clip_norm", None, before=1e-4))
    'The gradient is clipped to 0.0001, so that hardly anything moves.'
    """
    if edit.kind in _WORDS:
        return _WORDS[edit.kind]
    before, value = edit.before, edit.value
    if edit.kind == "depth":
        return f"The network is too {'deep' if isinstance(value, float | int) and value < 1.0 else 'shallow'}."
    name = edit.kind.replace("_", " ")
    if edit.kind == "clip_norm" and before is None:
        return "What a hook does to the gradients leaves little of where they point."
    if edit.kind == "clip_norm":
        return f"The gradient is clipped to {_shown(before)}, so that hardly anything moves."
    if edit.kind == "activation":
        return f"The activation {before} between the layers keeps the signal from passing."
    if edit.kind == "last" and before in ("mul", "div"):
        return "The outputs are made many times larger or smaller behind the last layer (a temperature)."
    if edit.kind == "last":
        return f"The function {before} comes last, where it does not belong."
    if edit.kind == "steps":
        return f"The run of {_shown(before)} steps is too short."
    if isinstance(before, float | int) and isinstance(value, float | int):
        return f"The {name} of {_shown(before)} is too {'high' if before > value else 'low'}."
    return f"It helps to {edit.text}."


def as_a_sum(cause: Cause, tried: Sequence[Hypothesis], examples: float) -> Cause:
    """A loss that is summed over so many examples, told by its size where a lower rate cures as well as another loss.

    Then the form of the loss is not to blame, and nothing tells the mean from a rate so many times lower.
    """
    lower = [one for one in tried if one.edit.kind == "learning_rate" and not one.given and _lowers(one.edit)]
    best = max(lower, key=lambda one: one.gain, default=None)
    if cause.edit.kind != "loss" or best is None or best.gain < ALIKE * cause.gain:
        return cause
    said = (
        f"The loss is a sum over the {examples:,.0f} examples of a batch: each step is as many times larger as with their mean."
    )
    rivals = tuple(dict.fromkeys((*cause.rivals, best.edit)))
    return replace(cause, summary=said, certainty="likely" if cause.certainty == "sure" else cause.certainty, rivals=rivals)


def as_lost(cause: Cause, findings: Sequence[Finding]) -> Cause:
    """Gradients that are cleared at a wrong place, told as they were seen: an optimizer that finds none carries none over."""
    seen = next((one for one in findings if one.alarm and one.disease == "gradients_lost"), None)
    return cause if seen is None or cause.edit.kind != "clear_gradients" else replace(cause, summary=seen.summary)


def _lowers(edit: Edit) -> bool:
    before, value = edit.before, edit.value
    return isinstance(before, float | int) and isinstance(value, float | int) and value < before


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | int) else str(value)
