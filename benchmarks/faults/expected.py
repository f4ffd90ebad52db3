"""What a good diagnosis names for each fault: the diseases that count as right, the place, and why."""

from __future__ import annotations

from dataclasses import dataclass

Heading = str
HEADINGS: dict[Heading, frozenset[str]] = {
    "flow": frozenset(
        [
            "vanishing",
            "exploding",
            "nonfinite",
            "dead_units",
            "rank_collapse",
            "attention",
            "recurrent",
            "spikes",
            "balance",
            "shattered",
            "residual",
            "hidden_scale",
            "hidden_softmax",
            "symmetry",
        ]
    ),
    "steps": frozenset(["learning_rate", "warm_up", "weight_decay", "momentum", "clipping", "precision", "batch_size"]),
    "program": frozenset(
        [
            "gradients_not_cleared",
            "gradients_lost",
            "cut_graph",
            "flat_activation",
            "optimizer_misses_parameters",
            "frozen_layers",
            "wrong_mode",
            "optimizer_restarted",
            "weights_reset",
            "same_batch",
            "recurrent_axes",
            "carried_state",
            "loss_mismatch",
            "unreachable_targets",
            "broadcast_loss",
            "labels_misfit",
            "structure",
            "exception",
        ]
    ),
    "data": frozenset(["inputs", "targets", "labels", "initial_loss", "noisy_labels"]),
    "learning": frozenset(["plateau", "collapse", "underfitting", "overfitting", "forgetting", "interrupted", "adversarial"]),
}
"""The headings of the list of what isograd must know, with the diseases under each."""

ALIASES = {"gan": "adversarial"}


@dataclass(frozen=True)
class Expected:
    """``diseases``: names that count as the right family. ``places``: where they may say that it is; see ``place_is_right``.

    Places: "data", "loss", "optimizer" and "loop" stand for themselves; "any layer" is every module of the models; "first"
    and "last" are the first and the last layer with weights; "starved" are modules that got no gradient or are held by no
    optimizer, as the models and optimizers themselves tell after the run; "recurrent" and "generator" are such modules, and
    "hidden" is the list that hides layers from the model ("blocks" in these programs).
    """

    diseases: frozenset[str]
    places: frozenset[str]
    why: str


def _row(diseases: str, places: str, why: str) -> Expected:
    return Expected(frozenset(diseases.split()), frozenset(places.split(", ")), why)


_STILL = "plateau collapse"
"""Allowed besides where nothing but the missing success can be seen from inside a run."""

FAMILIES: dict[str, Expected] = {
    "rate high": _row(
        "learning_rate exploding nonfinite spikes dead_units",
        "optimizer, loop, loss, any layer",
        "steps too large tear the layers apart: the rate, or what it did to a layer, is the finding",
    ),
    "rate low": _row(
        "learning_rate interrupted underfitting vanishing",
        "optimizer, loop, any layer",
        "the layers hardly move; where the rate is only a little low it looks like too few steps",
    ),
    "constants": _row(
        "momentum learning_rate exploding nonfinite interrupted vanishing underfitting spikes dead_units",
        "optimizer, loop, loss, any layer",
        "an absurd constant acts as a rate far too high or too low, and may be told as either",
    ),
    "decay": _row(
        "weight_decay rank_collapse vanishing",
        "optimizer, loop, loss, any layer",
        "weights shrink to nothing, and with them the signal",
    ),
    "dropout": _row("underfitting rank_collapse", "any layer, loop", "the signal is drowned in the noise of the dropped units"),
    "initial": _row(
        "symmetry vanishing exploding dead_units rank_collapse initial_loss nonfinite balance",
        "any layer",
        "weights of a wrong size lose or blow up the signal, equal ones make equal units",
    ),
    "activation": _row(
        "vanishing rank_collapse dead_units underfitting cut_graph hidden_softmax",
        "any layer",
        "saturation, a missing nonlinearity or a curve without slope",
    ),
    "last activation": _row(
        "loss_mismatch unreachable_targets",
        "last, loss",
        "outputs that cannot reach the targets, or an activation that the loss already has",
    ),
    "loss": _row(
        "loss_mismatch labels_misfit exception nonfinite exploding unreachable_targets",
        "loss, last",
        "the loss does not fit what it is given; what has no lower bound may run away first",
    ),
    "broadcast": _row("broadcast_loss loss_mismatch", "loss, last", "(N, 1) against (N,): N x N differences"),
    "clearing": _row(
        "gradients_not_cleared gradients_lost",
        "loop, optimizer",
        "gradients carried from step to step, or thrown away before the step",
    ),
    "parameters": _row(
        "optimizer_misses_parameters", "optimizer, loop, starved", "parameters that no optimizer holds"
    ),
    "frozen": _row("frozen_layers", "starved", "layers at their first values that ask for no gradient"),
    "cut": _row(
        "cut_graph exception gradients_lost",
        "starved, loss, loop",
        "no gradient reaches what stands before the cut; where nothing is left torch raises",
    ),
    "mode": _row("wrong_mode", "loop, any layer", "dropout and normalisation in the wrong mode"),
    "batches": _row(
        "same_batch overfitting labels", "data, loop", "the same few examples again and again, which are learned by heart"
    ),
    "order": _row("labels forgetting", "data, loop, loss", "one label after the other: each is forgotten for the next"),
    "one class": _row("labels collapse labels_misfit", "data, loss", "one kind of answer alone is ever asked for"),
    "reborn": _row("weights_reset", "loop, any layer, optimizer", "weights that jump back between steps"),
    "batch size": _row(
        "batch_size learning_rate interrupted underfitting spikes",
        "data, loop, optimizer, loss",
        "steps that are all noise, or so few of them that the training ends before it has begun",
    ),
    "length": _row("interrupted underfitting", "loop, loss, optimizer", "stopped while it still learned"),
    "clipping": _row("clipping learning_rate vanishing", "optimizer, loop, any layer", "a bound so small that nothing moves"),
    "precision": _row(
        "precision nonfinite exception", "any layer, optimizer, loss, loop", "float16 under- and overflows without a scaler"
    ),
    "raises": _row("exception labels_misfit cut_graph carried_state", "loop, loss, data, any layer", "torch refuses to go on"),
    "architecture": _row(
        "underfitting rank_collapse vanishing exploding", "any layer, loop", "too narrow to carry the answer, or too deep"
    ),
    "recurrent": _row(
        "carried_state recurrent_axes recurrent",
        "recurrent, loop, data, any layer",
        "state of other sequences, the wrong axis as time, or an output from before anything was read",
    ),
    "input scale": _row(
        "inputs exploding vanishing dead_units learning_rate rank_collapse",
        "data, first, any layer",
        "inputs in units for which neither weights nor rate were made",
    ),
    "features": _row("inputs nonfinite exception", "data, first, any layer, loss", "columns without information or with NaN"),
    "target scale": _row(
        "targets initial_loss exploding unreachable_targets interrupted",
        "data, loss, last",
        "targets so far away that the outputs cannot get there in time",
    ),
    "labels": _row(f"labels noisy_labels {_STILL}", "data, loss", "labels that have nothing to do with the inputs"),
    "class weights": _row(
        "labels collapse", "loss, data", "the loss counts the frequent class most, or one class alone"
    ),
    "adversarial": _row(
        "adversarial learning_rate balance",
        "loop, generator, optimizer, loss, any layer",
        "one of the two is too strong for the other to learn",
    ),
}  # fmt: skip

OPERATORS: dict[str, Expected] = {
    "sign of the loss": _row(
        "loss_mismatch exploding nonfinite plateau learning_rate adversarial",
        "loss, loop, any layer, last",
        "the loss is climbed; in a game, the generator helps its judge",
    ),
    "graph of the last batch kept": _row(
        "exception carried_state", "recurrent, loop, loss, any layer", "backward through a graph that is gone"
    ),
    "batch and time swapped": _row("recurrent_axes recurrent", "recurrent, data, loop", "the batch axis is taken for time"),
    "attention over the batch": _row(
        f"attention recurrent_axes {_STILL}", "any layer, data, loop", "examples attend to one another, and not words"
    ),
    "too few steps": _row("interrupted underfitting learning_rate", "loop, loss, optimizer", "stopped while it still learned"),
    "batch far too large": _row(
        "interrupted underfitting batch_size learning_rate", "loop, data, loss, optimizer", "a whole pass over the data a step"
    ),
    "few examples": _row("same_batch overfitting labels", "data, loop, loss", "learned by heart"),
    "activation without slope": _row(
        "vanishing cut_graph dead_units frozen_layers underfitting rank_collapse", "any layer, starved", "no gradient passes"
    ),
    "softmax over the wrong axis": _row("loss_mismatch recurrent_axes", "loss, last", "normalised over the batch"),
    "absolute error of classes": _row(
        f"loss_mismatch labels_misfit {_STILL}", "loss, last, any layer", "the median of one-hot targets is zero"
    ),
    "error without square": _row(
        "loss_mismatch exploding nonfinite learning_rate", "loss, last, any layer", "a mean difference has no lower bound"
    ),
    "layers in a list": _row(
        "optimizer_misses_parameters", "optimizer, loop, hidden", "layers that the model does not know of, nor the optimizer"
    ),
    "layers hidden in a list": _row(
        "optimizer_misses_parameters vanishing rank_collapse",
        "optimizer, loop, hidden, any layer",
        "layers that the model does not know of, so many of them that the signal is lost as well",
    ),
    "samples detached": _row("cut_graph exception", "starved, generator, loss, loop", "the generator is outside of the graph"),
    "loss wrapped anew": _row("cut_graph gradients_lost", "loss, loop, starved, any layer", "a new tensor has no history"),
    "biases far below zero": _row("dead_units vanishing rank_collapse initial_loss", "any layer", "ReLUs that never fire"),
}
"""Operators for which more, or something else, is right than for their family."""


def of(operator: str, family: str) -> Expected:
    """What is right for an operator: its own row, else its family's."""
    return OPERATORS.get(operator, FAMILIES[family])


def disease_is_right(expected: Expected, disease: str) -> bool:
    """Whether a finding's disease is of the right family; all kinds of exceptions are one.

    >>> disease_is_right(FAMILIES["raises"], "raises_shape")
    True
    """
    return _known(disease) in expected.diseases


def heading_is_right(expected: Expected, disease: str) -> bool:
    """Whether the disease stands under the heading of any right one: the wider sense of family.

    >>> heading_is_right(FAMILIES["rate high"], "clipping")
    True
    """
    return any(_known(disease) in names and names & expected.diseases for names in HEADINGS.values())


def _known(disease: str) -> str:
    if disease.startswith(("raises", "exception")):
        return "exception"
    return ALIASES.get(disease, disease)
