"""Watch a live torch loop: a few global hooks, a budget, and nothing left behind."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from isograd.errors import RequestError
from isograd.frameworks.torch.budget import Budget
from isograd.frameworks.torch.describe import assemble, checked, registered
from isograd.frameworks.torch.history import History
from isograd.frameworks.torch.hooks import Quiet, Walk
from isograd.frameworks.torch.parameters import Motion, Norms, norm_of, norms_of
from isograd.frameworks.torch.passes import Passes
from isograd.frameworks.torch.places import is_compiled, places_of
from isograd.frameworks.torch.program import Program
from isograd.frameworks.torch.roster import Held, Roster
from isograd.frameworks.torch.sums import moments_of_all
from isograd.ports import Recorder
from isograd.records.anatomy import Anatomy
from isograd.records.fact import Fact
from isograd.records.trace import Meter, ParameterSample, Step, Trace


@dataclass
class _Open:
    """The step under way: it ends when every optimizer that steps in this loop has stepped once."""

    index: int
    sampled: bool
    normed: bool
    cost: float = 0.0
    done: set[int] = field(default_factory=set)
    motion: Motion | None = None
    norms: list[Norms] = field(default_factory=list)
    parameters: list[ParameterSample] = field(default_factory=list)
    learning_rate: float | None = None
    compiled: bool = False


class TorchRecorder(Recorder):
    """Sees the steps of a live loop and changes nothing.

    One ``Step`` is one round of all watched optimizers (a GAN's two make one step). Steps that were neither sampled nor
    normed are counted and not kept. With ``budget=None`` every step is measured in full, otherwise as often as that share of
    the thread's time allows, the first two steps always. Where ``torch.compile`` is at work only norms and parameters are
    measured: hooks in the layers would make it another program (``eager`` vouches that nothing compiled runs).

    An error of ours is reported once as a warning; the watching stops then, and the loop goes on. Raises ``ModelError`` for
    models that cannot be watched and for an optimizer that holds none of their parameters.
    """

    def __init__(
        self,
        models: Sequence[nn.Module] | nn.Module,
        optimizers: Sequence[Optimizer] | None = None,
        *,
        budget: float | None = 0.03,
        planned_steps: int | None = None,
        eager: bool = False,
    ) -> None:
        self._models = checked(models, training=True)
        self._roster = Roster(self._models, tuple(optimizers or ()))
        self._expected = {id(optimizer) for optimizer in optimizers or ()}
        self._planned, self._eager = planned_steps, eager
        self._budget = Budget(budget)
        self._history = History()
        self._passes = Passes(self._models, self._spent, self._failed)
        self._program = Program(self._models, self._roster)
        self._walk = Walk(self._models, self._passes, beside=self._program)
        self._handles: list[RemovableHandle] = []
        self._open = _Open(1, sampled=False, normed=False)
        self._pending: tuple[Step, list[Norms]] | None = None
        self._last: dict[int, torch.Tensor] = {}
        self._anatomy: Anatomy | None = None
        self._total: float | None = None
        self._counts = [0, 0, 0]  # steps, sampled, normed
        self._entered = 0.0
        self.stopped_by: Exception | None = None
        """The error of ours that ended the watching, if there was one."""
        self.on_step: Callable[[], None] | None = None
        """Called in the loop after each step that was kept."""

    def attach(self) -> None:
        """Begin to watch, once; raises ``RequestError`` the second time."""
        if self._handles or self._total is not None:
            raise RequestError("this watch has been used already", remedy="make a new one: isograd.watch(model, optimizer)")
        self._budget = Budget(self._budget.share)
        self._thread, self._process, self._version = threading.get_ident(), os.getpid(), self._roster.version
        with Quiet():
            self._start = assemble(self._models, (), None, self._roster.optimizers(), traced=False)
        self._passes.learning = lambda: self._walk.learning
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        self._begin()
        self._budget.overhead += self._budget.elapsed

    def detach(self) -> None:
        """Leave nothing behind: no hook, no mode, none of the person's objects."""
        if not self._handles:
            return
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._walk.disarm()
        before = self._budget.elapsed
        try:
            if self._open.done and self.stopped_by is None:
                self._keep()
            self._flush()
            self._look_back()
            if (facts := self._program.end(self._counts[0])) and self.stopped_by is None:
                self._history.add(Step(self._counts[0], facts=facts))
            self._anatomy = self._described()
        except Exception as error:  # noqa: BLE001  the person's loop has ended well, whatever we make of it
            self._failed(error)
        self._passes.layers.close()
        self._last.clear()
        self._models = ()
        self._roster.forget()
        self._program.forget()
        self._total = self._budget.elapsed
        self._budget.overhead += self._total - before

    def take(self) -> tuple[Step, ...]:
        """The steps that were looked at since the last call, in order."""
        self._flush()
        return self._history.take()

    def trace(self) -> Trace:
        """All that was seen so far: anatomy, steps (old ones thinned where there are thousands), and what it cost."""
        self._flush()
        names = tuple(self._roster.names)
        missing = (None,) * len(names)  # a parameter that joined later had no gradient before
        steps = tuple(
            dataclasses.replace(step, gradient_norms=(step.gradient_norms + missing)[: len(names)])
            if step.gradient_norms and len(step.gradient_norms) < len(names)
            else step
            for step in self._history.steps
        )
        return Trace(self._anatomy or self._described(), names, steps, self._planned, self.meter)

    @property
    def meter(self) -> Meter:
        """What the watching cost so far, by its own clock."""
        total = self._budget.elapsed if self._total is None else self._total
        return Meter(self._budget.own, total, *self._counts)

    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._hooked(self._before, optimizer, args, kwargs)

    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._hooked(self._after, optimizer, args, kwargs)

    def _hooked(self, work: Callable[[Optimizer, Held, bool], None], optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # Torch gives the optimizer itself as the first of ``args``; a closure comes after it or by name.
        if threading.get_ident() != self._thread or os.getpid() != self._process:
            return
        if self.stopped_by is not None:
            self._walk.disarm()
            return
        self._entered = time.thread_time()
        try:
            held = self._roster.held_by(optimizer)
            if held is not None:
                with Quiet():
                    work(optimizer, held, any(callable(one) for one in (*args[1:], *kwargs.values())))
        except Exception as error:  # noqa: BLE001  whatever goes wrong in the watching stays out of the person's loop
            self._failed(error)
        self._open.cost += time.thread_time() - self._entered

    def _before(self, optimizer: Optimizer, held: Held, closure: bool) -> None:
        if id(optimizer) in self._open.done:
            self._close()
        opened = self._open
        self._program.before_step(optimizer, held, closure=closure)
        if opened.sampled:
            names = [self._roster.names[slot] for slot in held.slots]
            opened.motion = Motion(held.slots, names, held.parameters, self._budget.share is None)
            opened.motion.before()
        if not closure:  # with a closure the passes of this step are yet to come
            if opened.sampled:
                self._walk.pause()
            self._gradients(optimizer, held)

    def _after(self, optimizer: Optimizer, held: Held, closure: bool) -> None:
        opened = self._open
        if closure:
            self._gradients(optimizer, held)
        if opened.motion is not None:
            opened.parameters.extend(opened.motion.after())
            opened.motion = None
        rate = optimizer.param_groups[0].get("lr") if opened.learning_rate is None else None
        if isinstance(rate, float | int) or (isinstance(rate, torch.Tensor) and opened.sampled):
            opened.learning_rate = float(rate)
        self._program.after_step()
        opened.done.add(id(optimizer))
        if opened.done >= self._expected or opened.done >= self._expected & {id(one) for one in self._roster.optimizers()}:
            self._close()

    def _gradients(self, optimizer: Optimizer, held: Held) -> None:
        opened = self._open
        if not opened.normed:
            return
        # A fused optimizer divides by the loss scale inside its step: until then the gradients are scaled.
        scale = getattr(optimizer, "grad_scale", None)
        factor = 1.0 if scale is None else 1.0 / float(scale)
        if opened.motion is None:
            opened.norms.append(norms_of(held.slots, held.parameters, factor))
            return
        opened.motion.arrived(self._last, factor)
        found = zip(held.slots, opened.motion.gradients, strict=True)
        opened.norms.append(Norms([], {slot: norm_of(of) for slot, of in found if of is not None}))

    def _close(self) -> None:
        """The step is complete: keep what was seen, pay for it, and decide about the next one."""
        opened, alive = self._open, {id(optimizer) for optimizer in self._roster.optimizers()}
        self._expected = opened.done & alive
        self._keep()
        now = time.thread_time()
        self._budget.charge(opened.cost + now - self._entered, sampled=opened.sampled, normed=opened.normed)
        self._entered = now
        self._begin()

    def _keep(self) -> None:
        opened, passes = self._open, self._passes
        self._flush()
        for place, counted in enumerate((True, opened.sampled, opened.normed)):
            self._counts[place] += counted
        if not opened.normed:
            return
        step = Step(opened.index, learning_rate=opened.learning_rate)
        if opened.sampled:
            layers = passes.layers.close()
            step = dataclasses.replace(
                step,
                loss=passes.loss,
                layers=layers,
                parameters=tuple(opened.parameters),
                inputs=tuple(passes.inputs.values()),
                losses=passes.losses(),
                facts=(*self._unseen(), *passes.facts(), *self._program.close(layers)),
            )
        self._pending = (step, opened.norms)
        if not any(norms.vectors for norms in opened.norms):
            self._flush()

    def _unseen(self) -> tuple[Fact, ...]:
        """Why a step that was to be looked at closely shows no layer."""
        if self._passes.layers.entries:
            return ()
        reason = "the model was not called as model(inputs) in the thread that entered the watch"
        if self._open.compiled:
            reason = "torch.compile is at work in this program, and a look inside would change it"
        elif self._walk.skipped:
            reason = "the model was in evaluation mode; model.train() before the loop shows them"
        return (Fact("unseen", settings=(("reason", reason),)),)

    def _flush(self) -> None:
        """Read the norms of the step before, which the device has finished by now."""
        if self._pending is None:
            return
        step, several = self._pending
        self._pending = None
        norms: dict[int, float] = {}
        for one in several:
            norms.update(one.values())
        row = tuple(norms.get(slot) for slot in range(len(self._roster.names)))
        self._history.add(dataclasses.replace(step, gradient_norms=row))
        if self.on_step is not None and self._handles:
            self.on_step()

    def _begin(self) -> None:
        index = self._open.index + 1 if self._counts[0] else 1
        sampled, normed = self._budget.next(index)
        sampled = sampled or index == self._planned  # how it ended is worth its price
        self._open = _Open(index, sampled, sampled or normed)
        self._passes.begin()
        self._program.begin(sampled=sampled)
        self._open.compiled = sampled and not self._eager and is_compiled(self._models)
        if not sampled or self._open.compiled:
            self._walk.disarm()
            return
        if self._version != self._roster.version:
            self._version = self._roster.version
            self._walk.disarm()
            self._walk = Walk(self._models, self._passes, beside=self._program)
        self._walk.arm()

    def _look_back(self) -> None:
        """How the weights ended, where the last steps were not looked at: what broke after the last look shows in them."""
        steps = self._history.steps
        if not self._counts[0] or (steps and steps[-1].index >= self._counts[0]) or self.stopped_by is not None:
            return
        places = places_of(self._models)
        with Quiet():
            found = moments_of_all([place.parameter for place in places])
        samples = (ParameterSample(place.name, of) for place, of in zip(places, found, strict=True) if of is not None)
        self._history.add(Step(self._counts[0], parameters=tuple(samples)))

    def _described(self) -> Anatomy:
        if not self._models:
            return self._start
        flow, optimizers = self._passes.flow.nodes, self._roster.optimizers()
        nodes, loss = flow or registered(self._models), self._passes.loss_name
        first = {parameter.name: parameter.values for parameter in self._start.parameters}
        with Quiet():
            return assemble(self._models, nodes, loss, optimizers, traced=bool(flow), known=first)

    def _spent(self, seconds: float) -> None:
        self._open.cost += seconds

    def _failed(self, error: Exception) -> None:
        """Report an error of ours once, and see nothing more; the hooks go as soon as nothing runs through them."""
        if self.stopped_by is not None:
            return
        self.stopped_by = error
        self._walk.mute()
        self._passes.layers.open = False
        text = f"isograd stopped watching because of an error of its own; the training goes on: {type(error).__name__}: {error}"
        logging.getLogger("isograd").warning(text, exc_info=error)
        try:
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        except RuntimeWarning:  # the person's filter makes an error of it, which must not reach the loop
            return
