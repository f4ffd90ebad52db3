"""What the running program does with model, gradients and optimizer: the certain facts of each looked-at step."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from isograd.frameworks.torch import conduct
from isograd.frameworks.torch.arrivals import DRAWN, Arrivals
from isograd.frameworks.torch.backward import LOAD, STATE
from isograd.frameworks.torch.conduct import Conduct, changed
from isograd.frameworks.torch.drift import Drift
from isograd.frameworks.torch.exceptions import raised
from isograd.frameworks.torch.leaks import ATTENDS
from isograd.frameworks.torch.operations import LOSSES
from isograd.frameworks.torch.places import persons_line, tensors_in
from isograd.frameworks.torch.repeats import Repeats
from isograd.frameworks.torch.replicas import replicas_of
from isograd.frameworks.torch.roster import Held, Roster
from isograd.frameworks.torch.sequences import Sequences
from isograd.frameworks.torch.wrapping import Wrapping
from isograd.records.fact import Fact
from isograd.records.trace import LayerSample

ALL = 3
"""Looked-at steps in which everything is looked up; after them in every ``RARELY``-th."""
RARELY = 8
LINES = {
    "carried": "backward",
    "cleared_between": "backward",
    "loss_outside": "backward",
    "loss_scaled": "backward",
    "no_step": "backward",
    "cleared_early": "step",
    "no_backward": "step",
    "optimizer_replaced": "step",
    "ascends": "step",
    "evaluation_mode": "call",
    "training_mode": "trial",
    "same_batch": "call",
    "not_averaged": "call",
}
"""Facts of the whole loop, and the call of it that they are shown at."""


class Program:
    """Looks on beside the eyes of a live loop (``hooks.Beside``); on steps that are not looked at it only counts.

    ``copies``: the models are copies of ours, which no other rank has.
    """

    heeded = conduct.HEEDED | LOSSES | {ATTENDS, "softmax"}

    def __init__(self, models: Sequence[nn.Module], roster: Roster, *, copies: bool = False) -> None:
        self._roster = roster
        self._arrivals, self._conduct, self._sequences, self._drift = Arrivals(models), Conduct(), Sequences(), Drift()
        self._repeats, self._wrapping = Repeats(), Wrapping()
        self._wrapping.meet(models)
        self._replicas = None if copies else replicas_of(models, self._wrapping)
        self._trials: dict[str, tuple[str, int, str | None]] = {}
        self._looks, self._index, self._sampled, self._closure, self._called = 0, 0, False, False, False
        self._optimizers: list[tuple[weakref.ref[Optimizer], tuple[int, ...]]] = []
        self._former: list[weakref.ref[Optimizer]] = []
        self._replaced = 1
        self._lines: dict[str, str | None] = {}
        self._loaded: list[Fact] = []
        self._thread = 0

    def begin(self, index: int, *, sampled: bool) -> None:
        """A step begins; ``sampled``: it is looked at closely."""
        if not self._thread:
            self._thread = threading.get_ident()
            LOAD.add(self._loads)
            STATE.add(self._lends)
        self._index, self._sampled, self._closure = index, sampled, False
        if sampled:
            self._looks += 1
            self._arrivals.begin(self._held(), again=self._looks <= ALL or self._looks % RARELY == 0)
            self._conduct.begin()
            self._sequences.begin()
            self._wrapping.begin()
        if self._replicas is not None:
            self._replicas.begin(index, self._arrivals.places)
        self._repeats.begin(index)
        self._drift.begin(self._arrivals.places, sampled=sampled)

    @property
    def quick(self) -> tuple[Callable[[], None], Callable[[], bool]]:
        """For steps of which nothing is measured: called where one begins, and what tells whether a weight changed since."""
        again, disturbed, replicas = self._drift.again, self._drift.disturbed, self._replicas
        if replicas is None:
            return again, disturbed
        return lambda: replicas.again(again), lambda: replicas.due or disturbed()

    def backward(self) -> None:
        """A backward pass of a sampled step is about to begin."""
        if self._sampled:
            self._lines["backward"] = persons_line()
            self._arrivals.backward()

    def before_step(self, optimizer: Optimizer, held: Held, *, closure: bool) -> None:
        """An optimizer is about to step; with a ``closure`` its passes are yet to come."""
        self._meet(optimizer, held)
        if self._sampled:
            self._lines["step"] = persons_line()
        self._closure = self._closure or closure
        self._drift.step(held, sampled=self._sampled)
        if self._sampled and not closure:
            self._arrivals.step(held)
        if self._replicas is not None and not closure:
            self._replicas.step(self._arrivals.places, held)

    def close(self, layers: Sequence[LayerSample]) -> tuple[Fact, ...]:
        """The step is over: its facts. ``layers`` are what was measured in it."""
        if not self._sampled:
            return ()
        arrivals = self._arrivals
        facts = [*self._conduct.close(arrivals.trained), *self._sequences.close(), *self._drift.take()]
        facts += arrivals.within(self._stepping()) if self._closure else arrivals.close(self._index, self._stepping(), layers)
        facts += [*self._repeats.facts(arrivals.backwards), *self._taken()]
        facts += [*self._wrapping.facts(arrivals.places), *self._compared()]
        if self._replaced > 1:
            facts.append(Fact("optimizer_replaced", "optimizer", settings=(("count", self._replaced),)))
        return tuple(facts)

    def placed(self, *facts: Fact) -> tuple[Fact, ...]:
        """Facts of the loop with the line of its call that they are seen at, as it was last."""
        return tuple(
            fact if fact.source else dataclasses.replace(fact, source=self._lines.get(LINES.get(fact.kind, "")))
            for fact in facts
        )

    def end(self, steps: int, passes: int, error: BaseException | None, idle: Sequence[Optimizer] = ()) -> tuple[Fact, ...]:
        """The watch is over after so many steps, and backward passes since the last: what is to be said of these.

        ``error`` is the exception that ended it, ``idle`` are the optimizers that never stepped.
        """
        found = [*self._drift.take(), *self._repeats.facts(self._arrivals.backwards), *self._taken(), *self._compared()]
        for path, (kinds, times, source) in self._trials.items():
            if kinds:
                found.append(Fact("training_mode", path, source, (("kinds", kinds), ("times", times))))
        for optimizer in idle if steps else ():
            held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            settings = (("kind", type(optimizer).__name__), ("parameters", sum(one.numel() for one in held)), ("steps", steps))
            found.append(Fact("optimizer_idle", "optimizer", settings=settings))
        if not steps and passes and not self._drift.moved():  # weights may be stepped by hand
            called = self._called or not all(model.training for model in self._arrivals.models)
            found.append(Fact("no_step", settings=(("passes", passes), ("called", called))))
        if error is not None:
            seen = [*self._conduct.facts.values(), *self._sequences.close()] if self._sampled else []
            fact = raised(error, self._arrivals.models, seen, self._conduct.changes if self._sampled else ())
            found += [] if fact is None else [fact]
        return self.placed(*found)

    def forget(self) -> None:
        """Let go of the models and optimizers."""
        LOAD.remove(self._loads)
        STATE.remove(self._lends)
        self._arrivals, self._optimizers, self._former = Arrivals(()), [], []
        self._sequences.forget()
        self._drift.forget()
        self._wrapping.forget()
        if self._replicas is not None:
            self._replicas.forget()

    def given(self, module: nn.Module, path: str, arguments: Any, *, learning: bool) -> None:
        """A model in training mode is called."""
        self._called = True
        if learning:
            if self._sampled and len(self._arrivals.models) == 1:
                self._sequences.leaks.given(next(tensors_in(arguments), None))
            self._repeats.look(next(tensors_in(arguments), None))
            if self._sampled:
                self._wrapping.given(module, path)
            if self._replicas is not None:
                self._replicas.given(arguments)
            return
        kinds, times, _ = self._trials.get(path) or (changed(module, training=True), 0, None)
        self._trials[path] = kinds, times + 1, persons_line()

    def enters(self, module: nn.Module, path: str, *, known: bool, outermost: bool, learning: bool) -> None:
        """A module is about to run."""
        self._conduct.enters(module, path, outermost=outermost, learning=learning)
        if outermost and self._sampled:
            self._lines["call" if learning else "trial"] = persons_line()
        if known:
            self._arrivals.ran.add(path)
            return
        self._conduct.met(module, path)
        if next(module.parameters(recurse=False), None) is not None:
            self._arrivals.strangers[id(module)] = (weakref.ref(module), path)
            if learning and not outermost and isinstance(module, DRAWN):
                own, known_ones = next(module.parameters()), self._arrivals.places
                if own.requires_grad and all(place.parameter is not own for place in known_ones):
                    self._arrivals.made[path] = type(module).__name__

    def leaves(self, module: nn.Module, path: str, arguments: Any, output: Any) -> None:
        """A leaf module has run."""
        self._arrivals.leaves.add(path)
        self._conduct.ran(module, path, output)
        if getattr(module, "inplace", False):
            self._conduct.changed(output)
        self._sequences.leaves(module, path, arguments, output)

    def changes(self, tensor: Any) -> None:
        """A tensor is changed in place."""
        self._conduct.changed(tensor)

    def calls(self, name: str, path: str | None, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """A heeded function is called."""
        if name in LOSSES:
            self._sequences.target(args, kwargs)
        elif name == ATTENDS:
            self._sequences.leaks.attends_by_function(path or "", args, kwargs)
        elif name == "softmax":
            self._sequences.softened(path or "", args, kwargs)
        else:
            self._conduct.calls(name, path, args, kwargs)

    def _loads(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module is about to load a state: told if it is these very weights, taken before steps that were made since."""
        if threading.get_ident() != self._thread:
            return
        with contextlib.suppress(Exception):  # whatever is odd about a state, it is the person's call
            state = args[1] if len(args) > 1 else kwargs["state_dict"]
            own = {name: parameter for name, parameter in self._stepped(args[0]) if name in state}
            same = all(parameter.data_ptr() == state[name].data_ptr() for name, parameter in own.items())
            if own and same and self._drift.stale(state[next(iter(own))]):
                self._loaded = [Fact("loaded_itself", source=persons_line(), settings=(("count", len(own)),))]  # one a look

    def _lends(self, args: tuple[Any, ...], outcome: dict[str, Any]) -> None:
        """A module has given its state."""
        if threading.get_ident() != self._thread:
            return
        with contextlib.suppress(Exception):
            held = self._held()
            weights = [place.parameter for place in self._arrivals.places if id(place.parameter) in held]
            self._drift.lent(outcome["result"][self._stepped(args[0])[0][0]], weights)

    def _stepped(self, module: nn.Module) -> list[tuple[str, nn.Parameter]]:
        """The parameters of a module that optimizers move, by their names in it."""
        held = self._held()
        return [(name, one) for name, one in module.named_parameters() if id(one) in held and one.requires_grad]

    def _taken(self) -> list[Fact]:
        taken, self._loaded = self._loaded, []
        return taken

    def _compared(self) -> Iterator[Fact]:
        return iter(()) if self._replicas is None else self._replicas.facts(self._arrivals.places)

    def _held(self) -> set[int]:
        return {id(p) for one in self._stepping() for group in one.param_groups for p in group["params"]}

    def _stepping(self) -> list[Optimizer]:
        """Every optimizer that has stepped or was given, whatever it holds."""
        return self._roster.known()

    def _meet(self, optimizer: Optimizer, held: Held) -> None:
        if any(reference() is optimizer for reference, _ in self._optimizers):
            return
        slots = tuple(held.slots)
        back = any(reference() is optimizer for reference in self._former)  # two that take turns with the same parameters
        kept = [pair for pair in self._optimizers if back or pair[1] != slots]
        gone = [pair[0] for pair in self._optimizers if pair not in kept]
        self._former = [one for one in (*self._former, *gone) if one() is not None]
        self._replaced += -1 if back else len(gone) > 0
        self._optimizers = [*kept, (weakref.ref(optimizer), slots)]
