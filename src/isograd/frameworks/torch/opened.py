"""The step under way: what was seen of it so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from isograd.frameworks.torch.budget import NOTHING, Look
from isograd.frameworks.torch.by_hand import Hand
from isograd.frameworks.torch.history import History
from isograd.frameworks.torch.hooks import Quiet, Walk
from isograd.frameworks.torch.parameters import Motion, Norms, as_they_are, norm_of, norms_of
from isograd.frameworks.torch.passes import Passes
from isograd.frameworks.torch.places import places_of
from isograd.frameworks.torch.roster import Held
from isograd.records.aid import Action
from isograd.records.anatomy import Settings
from isograd.records.fact import Fact
from isograd.records.trace import ParameterSample

ALONG = 0.5
"""Cosine of update and gradient from which a step made by hand goes uphill; momentum and noise stay below."""


@dataclass
class Open:
    """It ends when every optimizer that steps in this loop has stepped once."""

    index: int
    look: Look = NOTHING
    timed: bool = False
    compiled: bool = False
    heeds: bool = False
    """Whether it began with listening to an evaluation, and is no step to be passed over quickly."""
    undone: bool = False
    """Whether first aid has taken it back."""
    tried: bool = False
    """Whether an evaluation was heard before it."""
    cost: float = 0.0
    done: set[int] = field(default_factory=set)
    """The optimizers that have stepped, by identity."""
    motion: Motion | None = None
    norms: list[Norms] = field(default_factory=list)
    parameters: list[ParameterSample] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    learning_rate: float | None = None

    @property
    def sampled(self) -> bool:
        """Whether everything is measured in this step."""
        return self.look.sampled

    @property
    def normed(self) -> bool:
        """Whether gradient norms are taken."""
        return self.look.normed

    @property
    def busy(self) -> bool:
        """Whether anything is."""
        return self.look is not NOTHING

    def again(self, index: int, *, timed: bool) -> None:
        """Go on as the next step; for steps of which nothing is measured, because that is quicker than a new one."""
        self.index, self.timed, self.cost, self.learning_rate = index, timed, 0.0, None
        self.heeds = self.tried = self.undone = False
        self.done.clear()
        self.facts.clear()

    def before(self, held: Held, names: Sequence[str], *, whole: bool) -> None:
        """Remember the weights as they are now; ``names`` are those of all slots, ``whole``: of large tensors all rows."""
        if self.motion is not None:  # a step that raised on its way
            self.norms.clear()
        self.motion = Motion(held.slots, [names[slot] for slot in held.slots], held.parameters, whole)
        self.motion.before()

    def gradients(self, optimizer: Optimizer, held: Held, last: dict[int, Tensor]) -> None:
        """Take the gradients as the optimizer is about to get them; ``last`` are those of the last look, renewed."""
        if not self.normed:
            return
        # A fused optimizer divides by the loss scale inside its step: until then the gradients are scaled.
        scale = getattr(optimizer, "grad_scale", None)
        factor = 1.0 if scale is None else 1.0 / float(scale)
        if self.motion is None:
            self.norms.append(norms_of(held.slots, held.parameters, factor))
            return
        self.motion.arrived(last, factor)
        found = zip(held.slots, self.motion.gradients, strict=True)
        self.norms.append(Norms([], {slot: norm_of(of) for slot, of in found if of is not None}))

    def moved(self, optimizer: Optimizer, last: dict[int, Tensor]) -> None:
        """The step has been made: take the updates, and of one made by hand whether it goes the right way."""
        if self.motion is None:
            return
        if type(optimizer) is Hand and self.normed and (cosine := self.motion.along(last)) > ALONG:
            self.facts.append(Fact("ascends", "loop", settings=(("cosine", cosine),)))
        self.parameters.extend(self.motion.after())
        self.motion = None

    def acted(self, action: Action) -> None:
        """First aid acted on this step; one that it took back has not happened."""
        self.undone |= action.kind in ("rejected", "back")
        settings: Settings = (("action", action.kind), ("reason", action.reason), ("what", action.what))
        numbers = (("value", action.value), ("bound", action.bound))
        settings += tuple((name, number) for name, number in numbers if number is not None)
        self.facts.append(Fact("first_aid", "optimizer", settings=settings))

    def unseen(self, passes: Passes, walk: Walk) -> tuple[Fact, ...]:
        """Why a step that was to be looked at closely shows no layer."""
        if passes.layers.entries:
            return ()
        reason = "the model was not called as model(inputs) in the thread that entered the watch"
        if passes.inputs:
            reason = "the model was called, and nothing in it is a layer that is known"
        if self.compiled:
            reason = "torch.compile is at work in this program, and the watched model could not be run again beside it"
        elif walk.skipped:
            reason = "the model was in evaluation mode; model.train() before the loop shows them"
        return (Fact("unseen", settings=(("reason", reason),)),)


def has_closure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an optimizer's step was given a closure: torch gives the optimizer itself first, a closure next or by name."""
    return any(callable(one) for one in (*args[1:], *kwargs.values()))


def look_back(history: History, taken: int, models: Sequence[nn.Module]) -> None:
    """How the weights ended, where the last step was not looked at closely: what broke after the last look shows in them."""
    looks = history.looks
    known = looks[-1] if looks and looks[-1].index >= taken else None
    if known is not None and (known.sampled or known.index > taken):
        return
    with Quiet():
        samples = as_they_are(places_of(models))
    history.amend(taken, lambda step: dataclasses.replace(step, parameters=samples))
