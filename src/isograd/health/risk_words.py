"""What a sign says in words: one sentence a sign, with its number in a form that a person can judge."""

from __future__ import annotations

import math
from collections.abc import Callable


def _times(value: float) -> str:
    size = 10.0**value
    return f"{size:,.0f}" if 10.0 <= size < 1e5 else f"{size:.2g}"


def _percent(value: float) -> str:
    return f"{100.0 * value:.0f} %"


WORDS: dict[str, tuple[str, Callable[[float], str]]] = {
    "depth": ("{} layers hold weights", lambda v: f"{2.0**v - 1.0:.0f}"),
    "gap_foretold": ("theory foretells a gradient at the first layer of {} times that at the last", _times),
    "width_noise": ("finite width lets the first layer's log gradient vary by {} nats", lambda v: f"{v:.2f}"),
    "signal_foretold": ("theory foretells an output of size {}", _times),
    "run": ("learning rate times steps is {}", _times),
    "decay": ("weight decay takes off {} of a weight over the run", lambda v: _percent(1.0 - math.exp(-v))),
    "gap": ("the gradient at the first layer is {} times that at the last", _times),
    "signal": ("the last layer's output has size {}", _times),
    "signal_least": ("the faintest layer's output has size {}", _times),
    "signal_most": ("the largest layer's output has size {}", _times),
    "alike": ("where examples are most alike, {} of a layer's output tells them apart", lambda v: _percent(10.0**v)),
    "dead": ("{} of the units of a layer never fire", _percent),
    "saturated": ("{} of a layer's units sit on a flat part", _percent),
    "reach_back": ("the gradient at the first time step is {} times that at the last", _times),
    "moved_least": ("the layer that moves least moves by {} of its size in a step", _times),
    "moved": ("a typical layer moves by {} of its size in a step", _times),
    "moved_most": ("the layer that moves most moves by {} of its size in a step", _times),
    "path": ("over the whole run the steps add up to {} times the size of a typical layer", _times),
    "overshoot": ("the first step goes {} times as far as the lowest point on its way", lambda v: f"{math.sinh(v) / 10.0:.2g}"),
    "promised": ("going on like the first step, the loss would fall by {} times what an ignorant answer pays", _times),
    "start": ("the loss begins at {} times what the best constant answer pays", _times),
    "first_gain": ("the first step takes off {} of the loss of a constant answer", lambda v: _percent(math.sinh(v) / 100.0)),
    "log_batch": ("a batch has {} examples", lambda v: f"{2.0**v:.0f}"),
    "dropout": ("dropout of {}", _percent),
    "skill": ("answers are {} of the way from ignorant to perfect", _percent),
    "best_skill": ("the best losses are {} of the way from ignorant to perfect", _percent),
    "trend": ("the loss fell by {} of what an ignorant answer pays, from the first to the second half", _percent),
    "noise": ("the loss varies by {} of what an ignorant answer pays", _percent),
    "hits_now": ("right answers are {} of the way from the commonest class to all", _percent),
    "loss_now": ("the loss is {} times that of a constant answer", _times),
    "fallen": ("the loss is {} times what it was at first", _times),
    "pace": ("going on like this the loss would fall by {} times what an ignorant answer pays", _times),
    "thin_pace": ("going on like the thin probe, answers would come {} times the way from ignorant to perfect", _times),
    "thin_done": ("the thin probe went {} times the way of the run", _times),
    "rank": ("what the last layer reads spreads over {} of the directions that it could", _percent),
    "separable": ("what the last layer reads aligns with the targets by {}", lambda v: f"{v:.2f}"),
    "thin_skill": ("after the thin probe answers are {} of the way from ignorant to perfect", _percent),
    "thin_gain": ("the thin probe brought {} of the way from ignorant to perfect", _percent),
    "thin_loss": ("after the thin probe the loss is {} times that of a constant answer", _times),
    "thin_trend": ("the last losses of the thin probe are {} times that of a constant answer", _times),
    "thin_burst": ("in the thin probe the loss rose to {} times its start", _times),
    "thin_separable": ("after the thin probe, what the last layer reads aligns with the targets by {}", lambda v: f"{v:.2f}"),
    "thin_rank": ("after the thin probe, what the last layer reads spreads over {} of its directions", _percent),
    "thin_stretch": ("the steps of the thin probe could be {} times as long as the optimizer's", _times),
    "thin_told": ("the thin probe saw {} examples", lambda v: f"{2.0**v:.0f}"),
}


def said(sign: str, value: float) -> str:
    """The sentence of a sign.

    >>> said("gap", -2.0)
    'the gradient at the first layer is 0.01 times that at the last'
    """
    sentence, form = WORDS[sign]
    return sentence.format(form(value))
