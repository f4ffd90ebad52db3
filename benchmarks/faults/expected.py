"""What a good diagnosis names for each fault: the diseases that count as right, the place, and why."""

from __future__ import annotations

from dataclasses import dataclass

from faults.headings import HEADINGS

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
    "loss scale": _row(
        "learning_rate momentum vanishing interrupted underfitting precision clipping",
        "loss, loop, optimizer, any layer",
        "gradients so small that epsilon, rounding or the rate swallows them",
    ),
    "one step an epoch": _row(
        "gradients_lost interrupted underfitting learning_rate gradients_not_cleared",
        "loop, optimizer, loss",
        "most gradients are thrown away, and so few steps are left that nothing is learned",
    ),
    "recurrent weights": _row(
        "recurrent exploding vanishing initial_loss rank_collapse spikes nonfinite",
        "recurrent, any layer",
        "states that saturate, through which no gradient comes back",
    ),
    "attention": _row(
        f"attention rank_collapse structure vanishing {_STILL}",
        "any layer, loop, data",
        "words that cannot look where the answer is, or look at one place alone",
    ),
    "reinforcement": _row(
        f"targets labels noisy_labels exploding learning_rate loss_mismatch {_STILL}",
        "loss, data, loop, any layer, optimizer",
        "what is learned towards has nothing to do with the game, or runs away",
    ),
    "rows mixed": _row(
        f"recurrent_axes recurrent attention loss_mismatch structure {_STILL}",
        "any layer, data, loop, loss",
        "what a row is answered depends on the rows that happen to lie beside it",
    ),
    "task": _row(
        "cut_graph structure gradients_lost frozen_layers loss_mismatch optimizer_misses_parameters",
        "starved, loss, loop",
        "a head that no term of the loss asks",
    ),
}  # fmt: skip

OPERATORS: dict[str, Expected] = {
    "sign of the loss": _row(
        "loss_mismatch exploding nonfinite plateau learning_rate adversarial",
        "loss, loop, any layer, last",
        "the loss is climbed; in a game, the generator helps its judge",
    ),
    "inputs for the targets": _row(
        "leak labels loss_mismatch", "data, loss, loop", "the question is handed in as its own answer"
    ),
    "mask of the members turned round": _row(
        f"inputs inverted_mask structure rank_collapse underfitting labels {_STILL}",
        "any layer, data, loop, loss",
        "the empty places are read, and what lies in the others is not",
    ),
    "ignore_index of a class": _row(
        f"labels labels_misfit loss_mismatch {_STILL}",
        "loss, data",
        "one class is never asked for, and another is asked for nothing",
    ),
    "accumulation longer than an epoch": _row(
        "gradients_not_cleared gradients_lost interrupted learning_rate underfitting frozen_layers",
        "loop, optimizer, loss, any layer",
        "gradients are gathered and never used",
    ),
    "temperature of a thousandth": _row(
        f"loss_mismatch initial_loss exploding learning_rate balance spikes {_STILL}",
        "loss, last, any layer, optimizer, loop",
        "answers a thousand times too sure",
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
    "weights clamped as in a critic": _row(
        "weight_decay rank_collapse vanishing weights_reset underfitting learning_rate",
        "optimizer, loop, loss, any layer",
        "no weight may grow, and the signal with them",
    ),
    "gradients clamped from below": _row(
        f"clipping learning_rate exploding initial_loss {_STILL}",
        "optimizer, loop, any layer, loss",
        "gradients of one sign alone: every weight can only fall",
    ),
    "schedule of epochs stepped every batch": _row(
        "learning_rate interrupted underfitting", "optimizer, loop", "the rate has decayed to nothing within an epoch or two"
    ),
    "layer made in forward": _row(
        "optimizer_misses_parameters structure weights_reset cut_graph gradients_lost",
        "optimizer, loop, starved, last, any layer",
        "the layer that is asked is a new one in every step, and the one that is held is never asked",
    ),
    "modules in a tuple": _row(
        "optimizer_misses_parameters",
        "optimizer, loop, hidden, any layer",
        "layers that the model does not know of, nor the optimizer",
    ),
    "plain tensor for a parameter": _row(
        "optimizer_misses_parameters structure",
        "optimizer, loop, starved, any layer",
        "numbers that the model does not know of, nor the optimizer",
    ),
    "vectors that were not found, frozen": _row(
        "frozen_layers rank_collapse symmetry inputs dead_units vanishing structure",
        "starved, first, data, any layer",
        "every word is the same zero, for ever",
    ),
    "outputs rounded before the loss": _row(
        "cut_graph gradients_lost vanishing flat_activation loss_mismatch",
        "starved, loss, loop, any layer",
        "a stair has no slope: no gradient reaches the network",
    ),
    "running statistics that hardly follow": _row(
        "wrong_mode structure overfitting hidden_scale",
        "loop, any layer",
        "what evaluation normalises by is still what it was at the start",
    ),
    "last layer far too large": _row(
        "initial_loss exploding learning_rate balance spikes interrupted hidden_softmax loss_mismatch",
        "last, any layer, loss",
        "answers a hundred times too sure from the beginning",
    ),
    "log-softmax between layers": _row(
        "hidden_softmax rank_collapse vanishing underfitting loss_mismatch", "any layer", "units that compete where none should"
    ),
    "normalised over a single value": _row(
        f"rank_collapse vanishing cut_graph flat_activation unreachable_targets structure underfitting {_STILL}",
        "last, loss, any layer",
        "one value less its own mean is zero, whatever comes in",
    ),
    "targets smoothed to nothing": _row(
        f"labels noisy_labels loss_mismatch {_STILL}", "data, loss", "every class is asked for alike"
    ),
    "logits divided by a temperature": _row(
        f"loss_mismatch learning_rate vanishing initial_loss interrupted underfitting {_STILL}",
        "loss, last, any layer, optimizer, loop",
        "answers that can hardly differ from one another",
    ),
    "term of the loss turned round": _row(
        f"loss_mismatch exploding nonfinite learning_rate labels noisy_labels {_STILL}",
        "loss, loop, any layer, last, data",
        "a part of the loss is climbed, or asks for the contrary",
    ),
    "weight of a term far too large": _row(
        f"loss_mismatch weight_decay rank_collapse targets unreachable_targets exploding learning_rate {_STILL}",
        "loss, any layer, loop, last",
        "one term of the loss drowns the others",
    ),
    "targets as they came": _row(
        "targets initial_loss exploding unreachable_targets interrupted loss_mismatch labels_misfit learning_rate",
        "data, loss, last, any layer",
        "targets in units for which neither outputs nor loss were made",
    ),
    "word numbers clipped": _row(
        f"inputs underfitting rank_collapse structure {_STILL}",
        "data, first, any layer, loop, loss",
        "all words but two are the same",
    ),
    "augmentation that destroys": _row(
        f"labels noisy_labels inputs underfitting overfitting {_STILL}",
        "data, loss, loop, first, any layer",
        "what is shown has nothing left of what is asked",
    ),
    "batch_first forgotten": _row(
        "recurrent_axes recurrent exception", "recurrent, data, loop, loss, any layer", "the batch axis is taken for time"
    ),
    "state thrown away": _row(
        f"recurrent carried_state underfitting {_STILL}",
        "recurrent, loop, data, any layer",
        "what was read before is forgotten at every step",
    ),
    "generator rewarded for being caught": _row(
        "adversarial loss_mismatch learning_rate exploding balance",
        "loss, loop, generator, any layer, optimizer",
        "the generator helps its judge",
    ),
    "discriminator trained on swapped labels": _row(
        "adversarial loss_mismatch labels learning_rate balance",
        "loss, loop, generator, any layer, optimizer, data",
        "the judge rewards what is far from the data",
    ),
    "generator never steps": _row(
        "adversarial gradients_lost frozen_layers optimizer_misses_parameters learning_rate balance",
        "loop, generator, optimizer, starved, loss",
        "one of the two players never moves",
    ),
    "discriminator never steps": _row(
        "adversarial gradients_lost frozen_layers optimizer_misses_parameters learning_rate balance",
        "loop, optimizer, loss, any layer",
        "one of the two players never moves",
    ),
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
