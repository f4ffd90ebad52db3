"""First aid in a running training: what was done and why, and all that it remembers from one step to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["rejected", "accepted", "back", "forth", "held", "freed", "tried", "kept", "undone", "restart", "ended"]
Reason = Literal["nonfinite", "loss", "update", "gradient", "statistics", "ruin", "others", "rate", "lasting", "limit"]

Treatment = Literal["back", "revive", "rate", "moments", "clip"]

TREATMENTS = {
    "": "",
    "revive": "reviving dead units",
    "rate": "a tenth of the learning rate",
    "moments": "forgetting the optimizer's moments",
    "clip": "clipping the gradient at its length in good times",
}
_WORDS = {
    "nonfinite": "{met} is not finite",
    "loss": "the loss is {value:.3g}, and {bound:.3g} is the most that its recent values allow",
    "update": "the update is {value:.3g} long, and {bound:.3g} is the most that its recent lengths allow",
    "gradient": "the gradient is {value:.3g} long, and {bound:.3g} is the most that moments which remember it can bear",
    "statistics": "it moved the running means of the norms by {value:.3g}, and {bound:.3g} is the most that they moved of late",
    "ruin": "the loss of its last steps is {value:.3g} at the median, and {bound:.3g} is the most that those before allow",
    "others": "the losses are as far from what they were at the state of before, so that the data are others now",
    "rate": "{value:.3g} is asked for, and {bound:.3g} is used",
    "lasting": "the loss of its last steps is {value:.3g} at the median, and was {bound:.3g} in good times",
    "limit": "{bound:.0f} actions are the limit of this run",
}
_DONE = {
    "rejected": "step {step} was taken back",
    "accepted": "step {step} was accepted after so many in a row that were taken back",
    "back": "after step {step} the training went back to where it stood at step {what}",
    "forth": "after step {step} the training went on from where it stood at step {what}",
    "held": "from step {step} on the learning rate is held down",
    "freed": "from step {step} on the learning rate is free again",
    "tried": "from step {step} on, {what} is tried",
    "kept": "{what} is kept at step {step}",
    "undone": "{what} is undone at step {step}, because it did not help",
    "restart": "at step {step} nothing more can be done in place: start again, with what isograd.watch(...).explain finds",
    "ended": "first aid ends at step {step}",
}


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that first aid did. ``step`` counts the steps of its optimizer from 1; ``what`` names a treatment.

    ``value`` was met where at most ``bound`` was expected; None where there is no number.

    >>> Action(12, "rejected", "loss", 9.0, 2.5).text
    'step 12 was taken back: the loss is 9, and 2.5 is the most that its recent values allow'
    """

    step: int
    kind: Kind
    reason: Reason
    value: float | None = None
    bound: float | None = None
    what: str = ""
    optimizer: int = 0

    @property
    def text(self) -> str:
        """What was done and why, as a sentence without its full stop."""
        done = _DONE[self.kind].format(step=self.step, what=TREATMENTS.get(self.what, self.what))
        met = "the loss" if self.what == "loss" else "the update"
        return f"{done}: {_WORDS[self.reason].format(value=self.value, bound=self.bound, met=met)}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one optimizer step shows: the loss, and by parameter group the length of the update and the learning rate.

    ``loss`` is None where none was heard; ``statistics`` is how far running means and variances (of a batch norm) moved,
    None where there are none; ``gradient`` is the length of the gradient, where the optimizer divides by what it remembers of
    it, else None; ``norm`` is that of any optimizer, in the steps in which it was asked for; ``planned`` says that a scheduler
    set these rates; ``judged``, whether the lengths of this optimizer's updates may be compared with each other (not where it
    searches for its step itself); ``asked`` are the rates of the person's own, where others
    were used; ``others`` says that the parameters are no more those that a treatment remembers, or were loaded since.
    """

    loss: float | None
    updates: tuple[float, ...]
    rates: tuple[float, ...]
    statistics: float | None = None
    gradient: float | None = None
    norm: float | None = None
    planned: bool = False
    judged: bool = True
    asked: tuple[float, ...] = ()
    others: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to become of a step: ``reason`` is None for an ordinary one; ``accept`` it all the same, or take it back."""

    reason: Reason | None = None
    value: float | None = None
    bound: float | None = None
    accept: bool = True
    what: str = ""


@dataclass(frozen=True, slots=True)
class Ranges:
    """What first aid remembers of one optimizer: the recent accepted steps, and how many in a row were not.

    ``moves`` are lengths of updates as they would be at the learning rates of the last accepted step that moved, whose
    ``updates`` and ``rates`` by group are kept; ``recent`` are the rates of the accepted steps in the window; ``norms`` are the
    lengths of the gradient in those of its steps that were asked for it. ``odd``: the rates of the last step were not believed.
    """

    taken: int = 0
    losses: tuple[float, ...] = ()
    moves: tuple[float, ...] = ()
    statistics: tuple[float, ...] = ()
    gradients: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()
    updates: tuple[float, ...] = ()
    rates: tuple[float, ...] = ()
    recent: tuple[tuple[float, ...], ...] = ()
    row: int = 0
    odd: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Rates are multiplied by ``factors``, by parameter group, until those that are asked for are at most ``above`` again.

    ``asked`` are those of the last step.
    """

    factors: tuple[float, ...]
    above: tuple[float, ...]
    asked: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Refuge:
    """Where a run stood before a step was given in to: ``ranges`` then, and the ``losses`` of the last steps since.

    ``left``: it has gone back, and this is where it stood then.
    """

    ranges: Ranges
    losses: tuple[float, ...] = ()
    left: bool = False


@dataclass(frozen=True, slots=True)
class Course:
    """How the training goes, from window to window, and what is being tried where it goes badly.

    ``start`` and ``best`` are the first and the lowest level of the loss, ``bad`` counts bad windows in a row; ``trial`` is the
    treatment under way, begun at the level ``before``, with ``left`` windows to watch; ``tried`` those of this trouble;
    ``lowered`` how often the rate is divided by ten at present; ``usual`` is the length of the gradient when the loss was at
    its best, and ``clip`` the bound on it at present; ``over``: nothing more can be done in place. ``refuge`` is what the run
    may go back to, ``backs`` how often it did in this trouble, last after step ``went``, ``hold`` what holds its rates down;
    ``stood`` are the highest rates, by group, of steps that were ordinary.
    """

    start: float | None = None
    best: float | None = None
    bad: int = 0
    trial: str = ""
    before: float | None = None
    left: int = 0
    tried: tuple[str, ...] = ()
    lowered: int = 0
    usual: float | None = None
    clip: float | None = None
    over: bool = False
    refuge: Refuge | None = None
    backs: int = 0
    went: int = 0
    hold: Hold | None = None
    stood: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Heed:
    """What the door is to look at in the next step, the length of the gradient and which units say nothing, and by what its
    rates are multiplied, by parameter group.
    """

    norm: bool = False
    units: bool = False
    factors: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """What the door has heard since the last step: the loss so far, by optimizer the rates that a scheduler set, and whether
    a treatment has changed them.
    """

    loss: float | None = None
    planned: tuple[tuple[float, ...], ...] = ()
    changed: bool = False


@dataclass(frozen=True, slots=True)
class AidState:
    """All that first aid knows between two steps; ``optimizers`` in the order in which they were met."""

    most: int
    optimizers: tuple[Ranges, ...] = ()
    actions: tuple[Action, ...] = ()
    over: bool = False
    course: Course = Course()
    pending: Pending = Pending()
