"""Watch a live torch loop: a few global hooks, a budget, and nothing left behind."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from isograd.errors import RequestError
from isograd.frameworks.torch.backward import Ear
from isograd.frameworks.torch.between import Between
from isograd.frameworks.torch.breaking import broken
from isograd.frameworks.torch.budget import BRIEFLY, LOSS, NOTHING, TIMED, Budget
from isograd.frameworks.torch.by_hand import ByHand
from isograd.frameworks.torch.describe import as_seen, at_birth, checked
from isograd.frameworks.torch.hooks import Quiet, Walk
from isograd.frameworks.torch.keeping import Keeping
from isograd.frameworks.torch.opened import Open, has_closure, look_back
from isograd.frameworks.torch.passes import Passes
from isograd.frameworks.torch.places import is_compiled
from isograd.frameworks.torch.program import Program
from isograd.frameworks.torch.roster import Held, Roster
from isograd.frameworks.torch.shadow import Shadow
from isograd.frameworks.torch.state import say_that_we_stop
from isograd.ports import Recorder
from isograd.records.aid import Action
from isograd.records.anatomy import Anatomy
from isograd.records.fact import Fact
from isograd.records.trace import Meter, Step, Trace


class TorchRecorder(Recorder):
    """Sees the steps of a live loop and changes nothing.

    One ``Step`` is one round of all watched optimizers (a GAN's two make one); one that a gradient scaler skipped counts.
    Of every step the loss and the learning rate are kept, of normed ones the gradient norms too, of sampled ones everything.
    With ``budget=None`` every step is measured in full, or these ``only``; otherwise as often as that share of the thread's
    time allows, the first two steps always. Where ``torch.compile`` is at work sampled steps are run again eagerly beside it
    (``shadow``): hooks in the layers would make it another program (``eager``: copies of ours, and nothing compiled).

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
        only: frozenset[int] | None = None,
    ) -> None:
        self._models = checked(models, training=True)
        self._roster = Roster(self._models, tuple(optimizers or ()))
        self._expected = {id(optimizer) for optimizer in optimizers or ()}
        self._planned, self._eager = planned_steps, eager
        self._budget = Budget(budget, planned_steps, only)
        self._kept = Keeping(self._budget, self._roster.names)
        self._between = Between(self._budget, self._calm, self._failed)
        self._passes = Passes(self._models, self._spent, self._failed, self._between.tried, planned_steps)
        self._program = Program(self._models, self._roster, copies=eager)
        self._again, self._disturbed = self._program.quick
        self._walk = Walk(self._models, self._passes, beside=self._program)
        self._between.walk = self._walk
        self._shadow = Shadow(self._models, self._failed)
        self._handles: list[RemovableHandle] = []
        self._open = Open(1)
        self._ear = self._between.ear = Ear(self._failed, self._scaled, self._skipped)
        self._hand = ByHand(() if optimizers else self._models, self._by_hand, self._after_step, lambda: self._walk)
        self._loss, self._ear.broke = self._ear.loss, self._broke
        self._alone, self._quick = 0, 0
        self._stepped: set[int] = set()
        self._last: dict[int, torch.Tensor] = {}
        self._start: Anatomy | None = None
        self._anatomy: Anatomy | None = None
        self._total: float | None = None
        self._entered = 0.0
        self.stopped_by: Exception | None = None
        """The error of ours that ended the watching, if there was one."""

    @property
    def on_step(self) -> Callable[[bool], None] | None:
        """Called in the loop after each step that was looked at; told whether a diagnosis is due and paid for."""
        return self._kept.on_step

    @on_step.setter
    def on_step(self, told: Callable[[bool], None] | None) -> None:
        self._kept.on_step = told

    def attach(self) -> None:
        """Begin to watch, once; raises ``RequestError`` the second time."""
        if self._handles or self._total is not None:
            raise RequestError("this watch has been used already", remedy="make a new one: isograd.watch(model, optimizer)")
        self._budget.begin()
        self._kept.open = True
        self._thread, self._process, self._version = threading.get_ident(), os.getpid(), self._roster.version
        self._start = at_birth(self._models, self._roster.optimizers())
        self._passes.learning = lambda: self._walk.learning
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        self._hand.open(self._ear)
        self._ear.open()
        self._between.open()
        self._begin()
        self._budget.overhead += self._budget.elapsed

    def detach(self, error: BaseException | None = None) -> None:
        """Leave nothing behind: no hook, no mode, none of the person's objects. ``error`` is what ended the loop."""
        if not self._handles:
            return
        self._hand.close()
        for handle in self._handles:
            handle.remove()
        self._handles, self._kept.open = [], False
        self._walk.disarm()
        self._shadow.leave()
        before, passes = self._budget.elapsed, self._loss.passes
        try:
            if self._open.done and self.stopped_by is None:
                self._keep()
            self._kept.flush()
            taken = self._kept.taken
            if taken and self.stopped_by is None:
                look_back(self._kept.history, taken, self._models)
            self._ear.close()
            self._between.close()
            if taken and self.stopped_by is None:
                self._kept.evaluated(taken, self._between.take())
            idle = [one for one in self._roster.optimizers() if id(one) not in self._stepped | self._open.done]
            if (facts := self._program.end(taken, passes, error, idle) + self._between.end(taken)) and self.stopped_by is None:
                self._kept.history.add(Step(taken + (error is not None), facts=facts))
            self._anatomy = self._described()
        except Exception as error:  # noqa: BLE001  the person's loop has ended well, whatever we make of it
            self._failed(error)
        self._passes.layers.close()
        self._passes.tape.clear(lost=True)
        self._last.clear()
        self._models = ()
        self._roster.forget()
        self._program.forget()
        self._total = self._budget.elapsed
        self._budget.overhead += self._total - before

    def take(self) -> tuple[Step, ...]:
        """The steps that were looked at since the last call, in order."""
        self._kept.flush()
        return self._kept.history.take()

    def trace(self) -> Trace:
        """All that was seen so far: anatomy, steps (old ones thinned where there are thousands), and what it cost."""
        steps, names = self._kept.steps(), tuple(self._roster.names)
        return Trace(self._anatomy or self._described(), names, steps, self._planned, self.meter, self._total is not None)

    def acted(self, action: Action) -> None:
        """First aid acted on the step under way, before our hooks see what it did."""
        self._open.acted(action)

    @property
    def meter(self) -> Meter:
        """What the watching cost so far, by its own clock."""
        return self._kept.meter(self._budget.elapsed if self._total is None else self._total)

    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        opened = self._open
        if opened.busy or id(optimizer) in opened.done or self._disturbed():
            self._hooked(self._before, optimizer, args, kwargs)
        elif (len(args) > 1 or kwargs) and threading.get_ident() == self._thread:
            self._loss.closure = has_closure(args, kwargs)

    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        opened = self._open
        if opened.busy or threading.get_ident() != self._thread or self.stopped_by is not None:
            self._hooked(self._after, optimizer, args, kwargs)
            return
        start = time.perf_counter() if opened.timed else 0.0
        try:
            alone = opened.index < self._quick and id(optimizer) == self._alone and not opened.done
            if alone and not (self._loss.late or opened.facts or opened.heeds):
                self._hurry(optimizer, start)
            elif (held := self._roster.held_by(optimizer)) is not None:
                self._entered = time.thread_time() if opened.timed else 0.0
                self._after(optimizer, held, False)
        except Exception as error:  # noqa: BLE001  the same as in ``_hooked``, which costs more
            self._failed(error)

    def _hurry(self, optimizer: Optimizer, start: float) -> None:
        """Close a step and open the next one where nothing is to be measured in either."""
        opened, loss = self._open, self._loss
        rate = optimizer.param_groups[0].get("lr")
        self._kept.taken += 1
        if self._kept.glance(opened.index, loss.ready, rate if type(rate) is float else None):
            self._quick = 0
        if opened.timed:
            self._budget.overhead += min(self._ear.spent + time.perf_counter() - start, BRIEFLY) * TIMED
            self._ear.spent = 0.0
        loss.clear()
        opened.index += 1
        opened.timed = self._ear.timed = not opened.index % TIMED
        self._again()

    def _hooked(self, work: Callable[[Optimizer, Held, bool], None], optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if threading.get_ident() != self._thread or os.getpid() != self._process:
            return
        if self.stopped_by is not None:
            self._walk.disarm()
            self._shadow.leave()
            return
        self._entered = time.thread_time()
        try:
            held = self._roster.held_by(optimizer)
            if held is not None:
                with Quiet():
                    work(optimizer, held, has_closure(args, kwargs))
        except Exception as error:  # noqa: BLE001  whatever goes wrong in the watching stays out of the person's loop
            self._failed(error)
        self._open.cost += time.thread_time() - self._entered

    def _scaled(self, scale: Callable[[], float]) -> None:
        """A loss has been scaled, and so will be the gradients that come back to the layers."""
        if self._open.sampled:
            self._passes.layers.scale = self._loss.scale = scale()

    def _backward(self, root: Any) -> None:
        """A backward pass of a sampled step is about to begin."""
        self._passes.layers.scale = self._loss.factor(root)
        self._passes.backward(root)
        self._program.backward()

    def _broke(self) -> None:
        self._open.facts.append(broken(self._models, self._kept.history.looks))

    def _skipped(self, asked: set[int], fact: Fact) -> None:
        """A scaler was asked to step these optimizers and did not: their step is over."""
        opened, known = self._open, {id(optimizer) for optimizer in self._roster.optimizers()}
        if asked & known or (not known and self._loss.passes):
            opened.facts.append(fact)
            opened.done |= asked & known
            if opened.done >= self._expected:
                self._entered = time.thread_time()
                self._close()

    def _before(self, optimizer: Optimizer, held: Held, closure: bool) -> None:
        if id(optimizer) in self._open.done:
            self._close()
        opened = self._open
        self._loss.closure = closure
        self._program.before_step(optimizer, held, closure=closure)
        if opened.sampled:
            if self._start is not None and self._start.optimizer is None and (met := self._roster.optimizers()):
                self._start = as_seen(self._models, (), None, met, self._start)  # it may be gone when it is asked for
            opened.before(held, self._roster.names, whole=self._budget.share is None)
        if not closure:  # with a closure the passes of this step are yet to come
            if opened.sampled:
                self._walk.pause()
                self._shadow.settle(self._passes)
            opened.gradients(optimizer, held, self._last)

    def _by_hand(self, hand: Optimizer) -> None:
        """A backward pass has run whose step will be made by hand."""
        if self._open.busy:
            self._hooked(self._before if self._open.motion is None else self._renewed, hand, (), {})

    def _renewed(self, hand: Optimizer, held: Held, closure: bool) -> None:
        self._open.norms.clear()
        self._open.gradients(hand, held, self._last)

    def _after(self, optimizer: Optimizer, held: Held, closure: bool) -> None:
        opened = self._open
        self._hand.close(but=optimizer)
        if closure:
            opened.gradients(optimizer, held, self._last)
        opened.moved(optimizer, self._last)
        rate = optimizer.param_groups[0].get("lr") if opened.learning_rate is None else None
        if isinstance(rate, float | int) or (isinstance(rate, torch.Tensor) and opened.sampled):
            opened.learning_rate = float(rate)
        skipped = self._ear.stepped(optimizer, wait=opened.busy)
        if skipped is not None:
            opened.facts.append(skipped)
        opened.done.add(id(optimizer))
        if opened.done >= self._expected or opened.done >= self._expected & {id(one) for one in self._roster.optimizers()}:
            self._close()

    def _close(self) -> None:
        """The step is complete: keep what was seen, pay for it, and decide about the next one."""
        opened = self._open
        if len(opened.done) > 1 or opened.done != self._expected:
            self._expected = opened.done & {id(optimizer) for optimizer in self._roster.optimizers()}
        self._stepped |= opened.done
        self._keep()
        self._between.over(opened)
        if opened.busy or opened.timed:
            now = time.thread_time()
            cost = (opened.cost + self._ear.spent + now - self._entered) * (1 if opened.busy else TIMED)
            self._ear.spent = 0.0
            self._budget.charge(cost, opened.look)
            self._entered = now
        self._begin()

    def _keep(self) -> None:
        opened, passes, loss, kept = self._open, self._passes, self._loss, self._kept
        kept.aside = 0.0
        kept.flush()
        self._entered += kept.aside
        kept.taken += 1
        if opened.undone:  # it has not happened: all that is known of it is why
            passes.layers.close()
            kept.keep(Step(opened.index, facts=tuple(opened.facts)), [], lambda: None, wait=False)
            return
        late, later = bool(loss.late), loss.take()
        losses = passes.losses(later()) if opened.look.heard else ()
        replays = passes.replays if opened.look.heard else ()
        evaluations = self._between.take()
        opened.tried = bool(evaluations)
        if not (opened.busy or opened.facts or late or evaluations):
            if kept.glance(opened.index, later(), opened.learning_rate):
                self._quick = 0
            return
        kept.sampled += opened.sampled
        kept.normed += opened.normed
        step = Step(opened.index, learning_rate=opened.learning_rate, facts=tuple(opened.facts))
        if losses or evaluations:
            step = dataclasses.replace(step, losses=losses, evaluations=evaluations, replays=replays)
        if opened.sampled:
            layers, known = passes.layers.close(), (*opened.facts, *opened.unseen(passes, self._walk), *passes.facts())
            facts = self._program.placed(*known, *loss.facts(), *self._program.close(layers), *self._between.facts())
            parameters, inputs = tuple(opened.parameters), tuple(passes.inputs.values())
            step = dataclasses.replace(step, layers=layers, parameters=parameters, inputs=inputs, facts=facts)
        kept.aside = 0.0
        kept.keep(step, opened.norms, later, wait=late)
        self._entered += kept.aside

    def _begin(self) -> None:
        before = self._open
        index = before.index + 1 if self._kept.taken else 1
        self._budget.unknown, self._budget.replayed = self._passes.unknown, self._passes.replayed
        look = self._budget.next(index)
        self._loss.clear()
        if look is not NOTHING:
            self._between.begin(index)
        if look is NOTHING and not before.busy:  # nothing to put away, nothing to prepare
            before.again(index, timed=not index % TIMED)
            self._ear.timed = before.timed
            self._again()
            self._alone = next(iter(self._expected)) if len(self._expected) == 1 and self._loss.scaler is None else 0
            self._quick = self._budget.asked - 1
            return
        self._open = Open(index, look)
        heed = self._backward if look.sampled else self._passes.backward if look.heard else None
        self._ear.timed, self._ear.told = self._open.busy, heed
        self._passes.begin(index, again=look is not LOSS)  # listening alone is to be cheap
        self._program.begin(index, sampled=look.sampled)
        compiled = look.heard and not self._eager and is_compiled(self._models)
        self._open.compiled = compiled and look.sampled
        self._shadow.follow(compiled=self._open.compiled)
        if not look.heard or compiled:
            self._walk.disarm()
            return
        if self._version != self._roster.version:
            self._version = self._roster.version
            self._walk.disarm()
            self._walk = self._between.walk = Walk(self._models, self._passes, beside=self._program)
        self._walk.arm(shallow=not look.sampled)

    def _calm(self) -> Open | None:
        """The present step, if its passes are not followed anyway and no backward pass has come yet."""
        opened = self._open
        if opened.look.heard or self._loss.passes or self.stopped_by is not None or not self._handles:
            return None
        return None if not self._eager and is_compiled(self._models) else opened

    def _described(self) -> Anatomy:
        optimizers = self._roster.optimizers()
        self._start = start = self._start or at_birth(self._models, optimizers)
        passes = self._passes
        return as_seen(self._models, passes.flow.nodes, passes.loss_name, optimizers, start) if self._models else start

    def _spent(self, seconds: float) -> None:
        self._open.cost += seconds

    def _failed(self, error: Exception) -> None:
        """Report an error of ours once, and see nothing more; the hooks go as soon as nothing runs through them."""
        if self.stopped_by is not None:
            return
        self.stopped_by = error
        self._walk.mute()
        self._passes.layers.open = False
        say_that_we_stop(error)
