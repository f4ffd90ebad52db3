"""Who takes part: the parameters of the watched models by slot, and the optimizers that hold any of them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from isograd.errors import ModelError
from isograd.frameworks.torch.places import places_of


@dataclass(frozen=True, slots=True)
class Held:
    """The watched parameters that one optimizer holds, with their slots in ``Trace.parameters``."""

    slots: list[int]
    parameters: list[nn.Parameter]


class Roster:
    """Slots of parameters, found again by identity; optimizers are known by the parameters that they hold.

    A parameter keeps its slot by name: a layer that is replaced goes on in the slot of the old one, a new one gets a new slot.
    """

    def __init__(self, models: Sequence[nn.Module], given: Sequence[Optimizer]) -> None:
        self.names: list[str] = []
        self.version = 0
        """Rises when the models' parameters have been looked up again."""
        self._models = tuple(models)
        self._slots: dict[int, int] = {}
        self._known: dict[int, tuple[weakref.ref[Optimizer], int, Held | None]] = {}
        self._look_up()
        for optimizer in given:
            if not isinstance(optimizer, Optimizer):
                raise ModelError(
                    "the optimizer is not a torch optimizer",
                    met=getattr(optimizer, "__qualname__", type(optimizer).__qualname__),
                    remedy="pass the torch.optim.Optimizer that makes the steps, not its class, its scheduler or its scaler",
                )
        held = [self.held_by(optimizer) for optimizer in given]
        if given and not any(held):  # one of several may hold a number of its own
            raise ModelError(
                "the optimizer holds none of the model's parameters",
                where=type(given[0]).__name__,
                met=f"{sum(len(group['params']) for group in given[0].param_groups)} parameters of something else",
                remedy="make the optimizer after the model, from model.parameters()",
            )

    def held_by(self, optimizer: Optimizer) -> Held | None:
        """What ``optimizer`` holds of the watched models, or nothing; quick where it has been asked before."""
        size = 0
        for group in optimizer.param_groups:
            size += len(group["params"])
        known = self._known.get(id(optimizer))
        if known is not None and known[1] == size and known[0]() is optimizer:
            return known[2]
        held = self._find(optimizer)
        self._known[id(optimizer)] = (weakref.ref(optimizer), size, held)
        return held

    def optimizers(self) -> list[Optimizer]:
        """The optimizers of the watched models that are alive, in the order in which they were met."""
        alive = ((reference(), held) for reference, _, held in self._known.values())
        return [optimizer for optimizer, held in alive if optimizer is not None and held is not None]

    def known(self) -> list[Optimizer]:
        """Every optimizer that has been met and is alive, whatever it holds."""
        return [optimizer for reference, *_ in self._known.values() if (optimizer := reference()) is not None]

    def forget(self) -> None:
        """Let go of the models and optimizers; names and slots stay."""
        self._models = ()
        self._known.clear()

    def _find(self, optimizer: Optimizer) -> Held | None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if any(id(parameter) not in self._slots for parameter in parameters):
            self._look_up()
        mine = [(self._slots[id(p)], p) for p in parameters if id(p) in self._slots]
        return Held([slot for slot, _ in mine], [p for _, p in mine]) if mine else None

    def _look_up(self) -> None:
        positions = {name: slot for slot, name in enumerate(self.names)}
        self._slots = {}
        for place in places_of(self._models):
            if place.name not in positions:
                positions[place.name] = len(self.names)
                self.names.append(place.name)
            self._slots[id(place.parameter)] = positions[place.name]
        self.version += 1
