"""Whether weights change between two steps by another hand than the optimizer's."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from isograd.frameworks.torch.places import Place
from isograd.frameworks.torch.roster import Held
from isograd.records.fact import Fact

MATRICES = 16
"""Matrices that are looked at; of more, so many spread evenly."""
ENTRIES = 256
"""Entries of each that are kept."""
SENTINELS = 4
"""Matrices of these whose version is read at every step."""
PATIENCE = 8
"""Changes on steps that are not looked at which are looked into without finding one that matters."""
STATES = 8
"""States of the weights that were taken without a copy and are remembered, the latest."""
STRANGE = 0.5
"""Cosine of old and new weights below which a change is told of: clipping, averaging and projection keep weights nearly
parallel, a fresh draw has a cosine of 0 +- 1 / sqrt(ENTRIES)."""


@dataclass
class Drift:
    """A few entries of some matrices, as the last step left them and as the first step found them."""

    first: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[int, tuple[str, Tensor]] = field(default_factory=dict)
    found: list[Fact] = field(default_factory=list)
    _pending: dict[int, tuple[str, Tensor]] = field(default_factory=dict)
    _sentinels: list[tuple[nn.Parameter, int]] = field(default_factory=list)
    _places: Sequence[Place] = ()
    _tried: int = 0
    _states: list[tuple[weakref.ref[Tensor], int]] = field(default_factory=list)
    """A tensor of each state that was taken and lives, and after how many steps."""
    _weights: tuple[nn.Parameter, ...] = ()
    _steps: int = 0
    _versions: int = 0

    def begin(self, places: Sequence[Place], *, sampled: bool) -> None:
        """A step begins; on one that is looked at the present weights are kept."""
        if not sampled:
            self.again()
            return
        if self._states:
            self._settle()
        matrices = [place for place in places if place.parameter.ndim >= 2 and place.parameter.requires_grad]
        some = matrices[:: 1 + len(matrices) // MATRICES]
        self._places = some
        self.kept = {id(place.parameter): (place.name, entries(place.parameter)) for place in some}
        for name, values in self.kept.values():
            self.first.setdefault(name, values)
        self._pending = dict(self.kept)
        self._sentinels = [(place.parameter, place.parameter._version) for place in some[:: -(-len(some) // SENTINELS) or 1]]

    def again(self) -> None:
        """A step begins that is not looked at."""
        if self._states:
            self._settle()
        if self._pending:
            self._pending = {}
        if self._tried < PATIENCE:
            self._sentinels = [(parameter, parameter._version) for parameter, _ in self._sentinels]

    def disturbed(self) -> bool:
        """Whether a sentinel has changed since the step began."""
        if self._tried < PATIENCE:
            for parameter, version in self._sentinels:
                if parameter._version != version:
                    return True
        return False

    def step(self, held: Held, *, sampled: bool) -> None:
        """An optimizer is about to step: are its weights what they were?"""
        if sampled:
            self._compare(held, self._pending, closely=True)
        elif self._tried < PATIENCE and any(parameter._version != version for parameter, version in self._sentinels):
            mine = {id(parameter) for parameter in held.parameters}
            if any(id(parameter) in mine and parameter._version != version for parameter, version in self._sentinels):
                self._tried += not self._compare(held, dict(self.kept))
        self._stepped(held)

    def moved(self) -> bool:
        """Whether any weight that is looked at is not what it was first."""
        return any(not torch.equal(self.first[place.name], entries(place.parameter)) for place in self._places)

    def take(self) -> Iterator[Fact]:
        """What was found since the last call."""
        found, self.found = self.found, []
        times = Counter(fact.get("parameter", "") for fact in found)
        for fact in {fact.get("parameter", ""): fact for fact in found}.values():
            settings = (*fact.settings, ("times", times[fact.get("parameter", "")]))
            yield dataclasses.replace(fact, settings=settings)

    def lent(self, value: Tensor, weights: Sequence[nn.Parameter]) -> None:
        """A state that holds ``value`` was taken; ``weights`` are all that optimizers move."""
        self._weights = tuple(weights)
        self._states = [*self._states, (weakref.ref(value), self._steps)][-STATES:]

    def stale(self, value: Tensor) -> bool:
        """Whether steps were made since the state that holds ``value`` was taken, and nothing else after the last of them.

        Who has just written into the state, and so into the weights themselves, loads what is there on purpose.
        """
        taken = [steps for reference, steps in self._states if reference() is value]
        return any(steps < self._steps for steps in taken) and self._versions == sum(one._version for one in self._weights)

    def _settle(self) -> None:
        self._states = [one for one in self._states if one[0]() is not None]
        self._steps += 1
        self._versions = sum(one._version for one in self._weights)

    def forget(self) -> None:
        """Let go of everything."""
        self._states, self._weights = [], ()
        self.kept, self._pending, self._sentinels, self.first, self._places = {}, {}, [], {}, ()

    def _stepped(self, held: Held) -> None:
        # What this optimizer's step changes is no other hand's doing.
        for parameter in held.parameters:
            self._pending.pop(id(parameter), None)

    def _compare(self, held: Held, kept: dict[int, tuple[str, Tensor]], *, closely: bool = False) -> bool:
        pairs = [(*kept[id(p)], entries(p)) for p in held.parameters if id(p) in kept]
        changed = [(name, old, new) for name, old, new in pairs if old.shape != new.shape or not torch.equal(old, new)]
        told = False
        for name, old, new in changed:
            size = float(old.norm())
            both = size * float(new.norm()) if old.shape == new.shape else 0.0
            if not both > 0.0:  # another layer, or one that was or is all zero: a first initialisation, pruning
                continue
            restored, cosine = torch.equal(new, self.first[name]), float(old @ new) / both
            if cosine < STRANGE or restored:
                settings = (("parameter", name), ("cosine", cosine), ("restored", restored))
                self.found.append(Fact("weights_changed", name.rpartition(".")[0], settings=settings))
                told = True
            elif closely:
                moved = (("parameter", name), ("rms", float((new - old).norm()) / math.sqrt(len(new))))
                self.found.append(Fact("weights_moved", name.rpartition(".")[0], settings=moved))
        return told


def entries(parameter: Tensor, most: int = ENTRIES) -> Tensor:
    """So many entries of a tensor at most, spread evenly, as they are on this rank; a copy."""
    local: Tensor = getattr(parameter, "_local_tensor", parameter).detach()
    flat = local.reshape(-1)
    return flat[:: 1 + len(flat) // most].float().clone()
