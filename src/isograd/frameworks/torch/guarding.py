"""Guard every step of a live loop: copy what it may change, have it judged, and take it back where that is the verdict."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from isograd.errors import RequestError
from isograd.frameworks.torch.backward import BACKWARD, SCALE, UPDATE, Loss, Tap
from isograd.frameworks.torch.describe import checked
from isograd.frameworks.torch.hooks import Quiet
from isograd.frameworks.torch.mending import reset_moments
from isograd.frameworks.torch.opened import has_closure
from isograd.frameworks.torch.places import is_compiled, modules_of
from isograd.frameworks.torch.ranks import Alone, ranks_of
from isograd.frameworks.torch.roster import Roster
from isograd.frameworks.torch.saving import Buffers, Saved, local, squares_of
from isograd.frameworks.torch.silent import Silence
from isograd.frameworks.torch.snapshot import Snapshot
from isograd.frameworks.torch.state import say_that_we_stop
from isograd.ports import Decide, Guard
from isograd.records.aid import Heed, Pending, Reading, Treatment


class TorchGuard(Guard):
    """What a step did is undone, where its judge says so, before anybody sees it.

    Before every watched step its parameters, the state of its optimizer and the buffers of the models are copied, into memory
    of their own (as much again as they take). ``decide`` is given the optimizer's number, what the step shows, and what
    takes it back. Random numbers are never touched. An error of ours ends it with a warning, and the loop goes on.
    """

    def __init__(self, models: Sequence[nn.Module] | nn.Module, optimizers: Sequence[Optimizer] | None) -> None:
        self._models = checked(models, training=True)
        self._roster = Roster(self._models, tuple(optimizers or ()))
        self._order = [id(optimizer) for optimizer in optimizers or ()]
        self._planned: list[tuple[float, ...]] = []
        self._saved: dict[int, Saved] = {}
        self._loss, self._stale = Loss(), True
        self._handles: list[RemovableHandle] = []
        self._taps: list[tuple[Tap, Any]] = []
        self._failed: Exception | None = None
        self._over = False
        self.lowered = 0
        self.clip: float | None = None
        self._heed, self._silence = Heed(), Silence(self._models)
        self._changed, self._closed = False, False
        self._own: list[Any] = []
        self._snapshot: Snapshot | None = None
        self._others = False

    def attach(self, decide: Decide) -> None:
        """Begin to guard, before any other hook of a watch: what others see of a step is what has become of it.

        Raises ``RequestError`` the second time.
        """
        if self._handles or not self._models:
            raise RequestError("this guard has been used already", remedy="make a new watch: isograd.watch(model, optimizer)")
        self._decide, self._thread, self._process = decide, threading.get_ident(), os.getpid()
        self._ranks: Alone = ranks_of(self._models)
        self._asked = False
        self._buffers = Buffers(module for _, module in modules_of(self._models))
        trainable = ((p for p in model.parameters() if p.requires_grad) for model in self._models)
        self._heads = [head for parameters in trainable if (head := next(parameters, None)) is not None]
        with Quiet():
            self._buffers.save()
        self._handles = [register_optimizer_step_pre_hook(self._before), register_optimizer_step_post_hook(self._after)]
        self._taps = [(BACKWARD, self._hear), (SCALE, self._scales), (UPDATE, self._updates)]
        self._taps += [(tap, self._scheduled) for tap in _schedulers()]
        for tap, listener in self._taps:
            tap.add(listener)
        self.heed(self._heed)

    def detach(self) -> None:
        """Leave nothing behind, and keep nothing of the person's."""
        for handle in self._handles:
            handle.remove()
        for tap, listener in self._taps:
            tap.remove(listener)
        self._handles, self._taps, self._heads = [], [], []
        self._saved.clear()
        self._silence.listen(False)
        self._silence = Silence(())
        self._models = ()
        self._roster.forget()
        self._buffers = Buffers(())

    def end(self) -> None:
        """Guard no more; what was copied is let go."""
        self._over = True
        self._saved.clear()
        self._silence.listen(False)

    def heed(self, heed: Heed) -> None:
        """Hear units in the next step only where there is one process: what they said is not joined with other ranks."""
        self._heed = heed
        self._silence.stepped()
        if self._handles:
            here = heed.units and not self._over and type(self._ranks) is Alone and not is_compiled(self._models)
            self._silence.listen(here)

    def treat(self, treatment: Treatment, bound: float | None = None) -> bool:
        """Change the rate or the gradients of all coming steps, or weights and moments here, remembered as they were."""
        self._changed = treatment == "rate"
        if treatment == "rate":
            self.lowered += 1
            return True
        several = self._roster.optimizers()
        self._silence.stepped()
        if len(several) > 1:
            return False
        if treatment == "clip":
            self.clip = None if self._closed else bound
            return self.clip is not None
        snapshot = Snapshot.of(self._models, several[0])
        if treatment == "revive" and not self._silence.revive(several[0]):
            return False
        if treatment == "moments" and reset_moments(several[0]) is None:
            return False
        self._snapshot = snapshot
        return True

    def settle(self, treatment: str, *, undo: bool) -> None:
        """Keep the treatment, or go back: to the rate, or to the weights and moments that were there when it began.

        Of "back" those that are left are kept in their place, until it is settled without undoing.
        """
        if undo and treatment == "rate":
            self.lowered -= 1
            self._changed = True
        elif undo and treatment == "clip":
            self.clip = None
        elif undo and self._snapshot is not None:
            (optimizer, *_) = self._roster.optimizers()
            present = Snapshot.of(self._models, optimizer) if treatment == "back" else None
            self._snapshot.restore(self._models, optimizer)
            self._snapshot = present
            return
        self._snapshot = None

    def kept(self) -> dict[str, Any]:
        """Tensors by name, and the plain values of the optimizer's state."""
        held = self._snapshot or Snapshot({}, {})
        tensors = held.tensors | self._silence.kept()
        return {"tensors": tensors, "plain": held.plain} if tensors else {}

    def keep(self, given: dict[str, Any]) -> None:
        """Go on with what ``kept`` gave, in memory of our own, on the devices of the parameters."""
        self._snapshot = None
        if given:
            device = next(self._models[0].parameters()).device
            heard = {name: tensor for name, tensor in given["tensors"].items() if name.startswith("unit/")}
            tensors = {name: tensor.to(device, copy=True) for name, tensor in given["tensors"].items() if name not in heard}
            self._snapshot = Snapshot(tensors, dict(given["plain"])) if tensors else None
            self._silence.keep(heard)

    @property
    def pending(self) -> Pending:
        """What was heard since the last step."""
        return Pending(None if self._stale else self._loss.take()(), tuple(self._planned), self._changed)

    @pending.setter
    def pending(self, pending: Pending) -> None:
        self._loss.clear()
        self._stale, self._loss.ready = pending.loss is None, pending.loss
        self._planned, self._changed = list(pending.planned), pending.changed

    def _hear(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() != self._thread or self._over:
            return
        try:
            with Quiet():
                self._fresh()
                self._loss.heard(args[0] if args else kwargs.get("tensors"))
        except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's backward pass
            self._failed = error

    def _scales(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() == self._thread and args[0].is_enabled():
            self._fresh()
            self._loss.scaled(args[0])

    def _updates(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A scaler has made its steps, or skipped them: what was heard is over."""
        if threading.get_ident() == self._thread:
            self._stale = True

    def _fresh(self) -> None:
        """The first backward pass since a step, or since gradients were cleared without one, begins a new loss."""
        if self._loss.closure:
            return
        if self._stale or (not self._loss.scaler and all(head.grad is None for head in self._heads)):
            self._loss.clear()
            self._stale = False

    def _scheduled(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        optimizer = getattr(args[0], "optimizer", None)
        if isinstance(optimizer, Optimizer) and self._mine(optimizer):
            self._planned[self._place(optimizer)] = _rates(optimizer)

    def _mine(self, optimizer: Optimizer) -> bool:
        if self._over or threading.get_ident() != self._thread or os.getpid() != self._process:
            return False
        return self._roster.held_by(optimizer) is not None

    def _place(self, optimizer: Optimizer) -> int:
        if id(optimizer) not in self._order:
            self._order.append(id(optimizer))
        self._planned += [()] * (len(self._order) - len(self._planned))
        return self._order.index(id(optimizer))

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._mine(optimizer):
            return
        try:
            if not self._asked:
                self._asked = True
                if not self._ranks.complete():
                    raise _Alone("one rank that decides alone would leave the others: every rank must watch with act=")
            closure = has_closure(args, kwargs)
            if closure:
                self._loss.clear()
                self._loss.closure, self._stale = True, False
            with Quiet():
                self._lower(optimizer)
                self._saved.setdefault(id(optimizer), Saved()).save(optimizer, whole=closure)
                asked = self._heed.norm or self.clip is not None or not isinstance(optimizer, _UNDIVIDED)
                self._gradient = _gradient(optimizer) if asked and not closure else None
                self._closed = closure
                self._silence.stepping()
                if self._snapshot is not None and not self._snapshot.fits(self._models, optimizer):
                    self._snapshot, self._others = None, True
        except _Alone as error:
            self._give_up(error)
        except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's loop
            self._failed = error
        if self.clip is not None:
            self._clipped(optimizer, self.clip)

    def _clipped(self, optimizer: Optimizer, bound: float) -> None:
        """Shorten the gradient to the bound; also where we have failed, because the other ranks wait for what we say."""
        try:
            with Quiet():
                known = self._failed is None and self._gradient is not None
                square = float(self._gradient) if known and self._gradient is not None else math.nan
                norm = _root(self._ranks.joined([square])[0])
                if bound < norm < math.inf:
                    for group in optimizer.param_groups:
                        for parameter in group["params"]:
                            if parameter.grad is not None:
                                local(parameter.grad).mul_(bound / norm)
        except Exception as error:  # noqa: BLE001  the same
            self._failed = error

    def _after(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._mine(optimizer):
            return
        try:
            with Quiet():
                # Also where we have failed: the other ranks wait for what we say.
                failed, losses, heard, running, gradient, *squares = self._ranks.joined(self._numbers(optimizer))
                if failed:
                    self._give_up(self._failed or RuntimeError("it failed on another rank"))
                elif not _skipped(optimizer):
                    place, rates, saved = self._place(optimizer), _rates(optimizer), self._saved[id(optimizer)]
                    steep = None if self._gradient is None else _root(gradient)
                    reading = Reading(
                        losses / heard if heard else None,
                        tuple(map(_root, squares)),
                        rates,
                        _root(running) if self._running else None,
                        None if isinstance(optimizer, _UNDIVIDED) else steep,
                        steep if self._heed.norm else None,
                        planned=self._changed or self._planned[place] == self._asked_for(optimizer),
                        judged=not has_closure(args, kwargs),
                        asked=self._asked_for(optimizer),
                        others=self._others,
                    )
                    self._changed = self._others = False
                    self._decide(place, reading, lambda: self._take_back(optimizer, saved))
                    self._buffers.save()
        except Exception as error:  # noqa: BLE001  the same
            self._failed = error
            if type(self._ranks) is Alone:
                self._give_up(error)
        finally:
            for group, rate in zip(optimizer.param_groups, self._own, strict=False):
                group["lr"] = rate
            self._own = []

    def _take_back(self, optimizer: Optimizer, saved: Saved) -> None:
        saved.restore(optimizer)
        self._buffers.restore()
        self._silence.taken_back()

    def _lower(self, optimizer: Optimizer) -> None:
        """For this step alone: the person's own rates come back after it."""
        for group, rate in zip(optimizer.param_groups, self._own, strict=False):  # of a step that raised on its way
            group["lr"] = rate
        self._own = []
        factors = [0.1**self.lowered] * len(optimizer.param_groups)
        if len(self._heed.factors) == len(factors):
            factors = [factor * held for factor, held in zip(factors, self._heed.factors, strict=True)]
        if any(factor < 1.0 for factor in factors):
            self._own = [group["lr"] for group in optimizer.param_groups]
            for group, factor in zip(optimizer.param_groups, factors, strict=True):
                group["lr"] = group["lr"] * factor

    def _asked_for(self, optimizer: Optimizer) -> tuple[float, ...]:
        return tuple(map(float, self._own)) if self._own else _rates(optimizer)

    def _numbers(self, optimizer: Optimizer) -> list[float]:
        """What this process says of a step: whether we failed, the loss, whether there is one, squares."""
        try:
            if self._failed is None:
                squares = self._saved[id(optimizer)].moved()
                moved = self._buffers.moved()
                self._running = moved is not None
                zero = torch.zeros_like(squares[0])
                both = (zero if one is None else one for one in (moved, self._gradient))
                found = torch.stack([*both, *squares]).tolist()
                loss = self._loss.take()()
                self._loss.closure, self._stale = False, True
                return [0.0, loss or 0.0, float(loss is not None), *found]
        except Exception as error:  # noqa: BLE001  told to all ranks, so that none waits
            self._failed = error
        return [1.0, 0.0, 0.0, 0.0, 0.0, *[0.0] * len(optimizer.param_groups)]

    def _give_up(self, error: Exception) -> None:
        self.end()
        say_that_we_stop(error, "gives no first aid")


_UNDIVIDED = (torch.optim.SGD, torch.optim.LBFGS)
"""Optimizers that do not divide by what they remember of the gradient."""


class _Alone(RuntimeError):
    """Not every process takes part."""


def _rates(optimizer: Optimizer) -> tuple[float, ...]:
    return tuple(float(group.get("lr", 1.0)) for group in optimizer.param_groups)


def _gradient(optimizer: Optimizer) -> Tensor:
    """The sum of squares of its gradients, unscaled where a fused optimizer does that within its step."""
    found = squares_of(parameter for group in optimizer.param_groups for parameter in group["params"])
    scale = getattr(optimizer, "grad_scale", None)
    return found if scale is None else found / scale.double().square().to(found.device)


def _root(square: float) -> float:
    return square**0.5 if square >= 0.0 else square


def _skipped(optimizer: Optimizer) -> bool:
    """Whether a fused optimizer was told by a gradient scaler to do nothing."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(float(found))


_TAPS: dict[type, Tap] = {}
"""One a class of schedulers, shared by all guards."""


def _schedulers() -> list[Tap]:
    """What tells of every ``step`` of a scheduler, whatever class it is of."""
    found, waiting = list[Tap](), [LRScheduler]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if "step" in vars(kind):
            found.append(_TAPS.setdefault(kind, Tap(kind, "step", after=True)))
    return list(dict.fromkeys(found))
