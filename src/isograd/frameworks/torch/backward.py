"""Hear of every backward pass and of every step of a gradient scaler: one wrapper for all watches, gone with the last.

``torch.autograd.backward`` is wrapped: ``Tensor.backward`` looks it up at every call. Under a function mode torch calls it
again from within, a checkpoint calls it inside a backward pass: only the outermost call is told. ``torch.autograd.grad`` is
wrapped too in a loop that has no optimizer, where what it gives for the weights may be what they are stepped by.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from isograd.frameworks.torch.hooks import Quiet
from isograd.frameworks.torch.places import tensors_in
from isograd.records.fact import Fact

Listener = Callable[[tuple[Any, ...], dict[str, Any]], None]
"""Called with the arguments before the function itself runs, or with its ``result`` by that name after it; never raises."""

_ORDINARY = (Tensor, torch.nn.Parameter)


def untraced(function: Any, *, within: bool) -> None:
    """Let ``torch.compile`` pass over a function of ours (and ``within``, over all that it calls) where it breaks a graph.

    Where torch has no such switch, it would only compile frames that nobody needs. Does not load the compiler.
    """
    switch: Any = sys.modules.get("torch._C._dynamo.eval_frame")
    with contextlib.suppress(AttributeError, TypeError):
        skip, usual = switch._FrameAction.SKIP, switch._FrameAction.DEFAULT
        switch.set_code_exec_strategy(function.__code__, switch._FrameExecStrategy(skip, skip if within else usual))


class Tap:
    """One function of somebody else's, told to all listeners before it runs, or ``after``."""

    def __init__(self, owner: Any, name: str, *, after: bool = False) -> None:
        self._owner, self._name, self._after = owner, name, after
        self._listeners: tuple[Listener, ...] = ()
        self._over: tuple[Callable[[Any], None], ...] = ()
        self._busy: set[int] = set()
        self._original: Any = None
        self._wrapper: Any = None

    def add(self, listener: Listener, over: Callable[[Any], None] | None = None) -> None:
        """Tell ``listener`` from here on, and ``over`` what the function has returned each time."""
        self._listeners = (*self._listeners, listener)
        self._over = (*self._over, over) if over is not None else self._over
        if self._wrapper is None:
            self._original = getattr(self._owner, self._name)
            self._wrapper = self._wrapped(self._original)
            setattr(self._owner, self._name, self._wrapper)

    def remove(self, listener: Listener, over: Callable[[Any], None] | None = None) -> None:
        """Tell ``listener`` no more. With the last one the wrapper goes, unless others have put theirs around it."""
        self._listeners = tuple(one for one in self._listeners if one != listener)
        self._over = tuple(one for one in self._over if one != over)
        if not self._listeners and getattr(self._owner, self._name) is self._wrapper:
            setattr(self._owner, self._name, self._original)
            self._wrapper = self._original = None

    def _wrapped(self, original: Any) -> Any:
        busy, after = self._busy, self._after

        @functools.wraps(original)
        def heard(*args: Any, **kwargs: Any) -> Any:
            here = threading.get_ident()
            if here in busy or torch._C._current_graph_task_id() != -1:
                return original(*args, **kwargs)
            busy.add(here)
            try:
                if after:
                    result = original(*args, **kwargs)
                    for listener in self._listeners:
                        listener(args, {"result": result})
                    return result
                for listener in self._listeners:
                    listener(args, kwargs)
                result = original(*args, **kwargs)
                for over in self._over:
                    over(result)
                return result
            finally:
                busy.discard(here)

        heard._torchdynamo_disable = True  # type: ignore[attr-defined]  # never traced into a compiled program
        untraced(heard, within=False)
        return heard


BACKWARD = Tap(torch.autograd, "backward")
GRAD = Tap(torch.autograd, "grad")
SCALE = Tap(GradScaler, "scale")
UPDATE = Tap(GradScaler, "update")
LOAD = Tap(torch.nn.Module, "load_state_dict")
STATE = Tap(torch.nn.Module, "state_dict", after=True)


class Loss:
    """The loss of one step: the sum of what ``backward`` was called on, unscaled; of a closure's evaluations the first.

    In the memory of the host a value is read at once, elsewhere it stays on the device until ``value`` is asked for.
    """

    __slots__ = (
        *("_handed", "_made", "_scaled", "_scalers", "_unsure", "closure", "counted", "late", "passes", "plain", "ready"),
        *("scale", "scaler", "scalers"),
    )

    def __init__(self) -> None:
        self.scaler: GradScaler | None = None
        self.scalers = 0
        """Scalers that have been met."""
        self._scalers: weakref.WeakSet[GradScaler] = weakref.WeakSet()
        self._handed: weakref.ref[Tensor] | None = None
        self.late: list[tuple[Tensor, Tensor | None]] = []
        """What is still on a device, with the scale to divide it by."""
        self.clear()

    def clear(self) -> None:
        """A new step."""
        self.passes = self._scaled = self.plain = 0
        """Backward passes in this step; those of a loss that was handed to a scaler and that is not what the scaler gave."""
        self._made: list[tuple[int, weakref.ref[Tensor], float]] = []
        """What a scaler has given, with its identity and scale, until it has made its steps."""
        self._unsure = self.counted = False
        """Whether it cannot be told how a loss was scaled; whether the last backward pass followed on a call of a scaler."""
        self.scale: float | None = None
        """What the scaler multiplies by in this step, where that was looked up."""
        self.closure = False
        self.ready: float | None = None
        if self.late:
            self.late = []

    def scaled(self, scaler: GradScaler, outputs: Any = None) -> None:
        """The next backward pass is of a loss that ``scaler`` multiplies: of what it makes of ``outputs``."""
        if scaler is not self.scaler and scaler not in self._scalers:
            self._scalers.add(scaler)
            self.scalers += 1
        self.scaler = scaler
        self._handed = weakref.ref(outputs) if isinstance(outputs, Tensor) else None
        self._scaled += 1

    def made(self, results: Any) -> None:
        """What the scaler has given, where its scale was looked up."""
        if self.scale is not None and self.scaler is not None:
            here = id(self.scaler)
            self._made += [(here, weakref.ref(one), self.scale) for one in tensors_in(results)]
            self._unsure = self._unsure or len({scale for _, _, scale in self._made}) > 1

    def updated(self, scaler: GradScaler) -> None:
        """A scaler has made its steps: what it gave before is over."""
        self._made = [one for one in self._made if one[0] != id(scaler)]
        if scaler is self.scaler:
            self._scaled = 0

    def factor(self, roots: Any) -> float:
        """By how much the loss of the backward pass that was just heard is scaled; of what cannot be told, as the last."""
        begins = {id(one) for one in tensors_in(roots)}
        scales = [scale for _, made, scale in self._made if id(made()) in begins]
        if scales:
            return scales[-1]
        if self._handed is not None and id(self._handed()) in begins:
            return 1.0
        self._unsure = self._unsure or bool(self._made and not self.counted)
        return self.scale or 1.0 if self._made or self.counted else 1.0

    def facts(self) -> tuple[Fact, ...]:
        """How the loss of a step that was looked at is scaled."""
        if self.scale is None or self._unsure:
            return ()
        return (Fact("loss_scaled", settings=(("scale", self.scale), ("plain", self.plain), ("scalers", self.scalers))),)

    def heard(self, roots: Any) -> float | None:
        """A backward pass begins; gives the loss where it is known already."""
        self.passes += 1
        self.counted = False
        if self.closure and self.passes > 1:
            return None
        scaler = None
        if self._scaled:
            self._scaled -= 1
            scaler = self.scaler
            if self._handed is not None and self._handed() is roots:
                self.plain, scaler = self.plain + 1, None
        self.counted = scaler is not None
        if scaler is None and type(roots) is Tensor and roots.is_cpu and roots.numel() == 1 and not roots.is_complex():
            only: float = roots.item()  # the usual case, quickly
            self.ready = only if self.ready is None else self.ready + only
            return self.ready
        for root in (roots,) if isinstance(roots, Tensor) else tuple(roots):
            if type(root) not in _ORDINARY or root.numel() != 1 or root.is_complex():
                return None
            scale = None if scaler is None else scaler._scale
            if root.is_cpu:
                value: float = root.item() / (1.0 if scale is None else scale.item())
                self.ready = value if self.ready is None else self.ready + value
            elif not (root.is_cuda and torch.cuda.is_current_stream_capturing()):
                self.late.append((root.detach().clone(), None if scale is None else scale.clone()))
        return self.ready

    def take(self) -> Callable[[], float | None]:
        """What gives the value later, when the device has long been done."""
        ready, late = self.ready, self.late

        def value() -> float | None:
            values = [root.item() / (1.0 if scale is None else scale.item()) for root, scale in late]
            return sum(values, ready or 0.0) if values else ready

        return value


class Hand(Protocol):
    """Looks for steps that are made by hand."""

    def settle(self) -> None:
        """A backward pass is about to begin."""

    def backward_over(self, gradients: Mapping[int, Tensor] | None = None) -> None:
        """A backward pass has run; ``gradients`` of parameters, by identity, that it gave out and did not put away."""

    def asks_for(self, inputs: Any) -> bool:
        """Whether any of these is a parameter that is watched for steps by hand."""


class Ear:
    """What one recorder hears in its thread: the loss of each step, the scaling of losses, and steps that a scaler skips.

    ``scaled`` gets what gives the scale of a loss that has been scaled, ``skipped`` the identities of the optimizers that
    did not step, with the fact to tell.
    """

    def __init__(
        self,
        failed: Callable[[Exception], None],
        scaled: Callable[[Callable[[], float]], None],
        skipped: Callable[[set[int], Fact], None],
    ) -> None:
        self.loss = Loss()
        self.timed = False
        """Whether to time the hearing of backward passes, into ``spent``."""
        self.spent = 0.0
        self.told: Callable[[Any], None] | None = None
        """Given what a backward pass begins at."""
        self.broke: Callable[[], None] | None = None
        """Called once, in the backward pass of the first loss that is not finite and known in time."""
        self.hand: Hand | None = None
        """Told where a backward pass begins and ends, in a loop that has no optimizer so far."""
        self._failed, self._scaled, self._skipped = failed, scaled, skipped
        self._stepped: set[int] = set()
        self._giving = False
        self._asked: tuple[Any, ...] = ()
        self._taps = ((BACKWARD, self._hear), (SCALE, self._scales), (UPDATE, self._updates))

    def open(self) -> None:
        """Hear from here on, in this thread; the end of a backward pass only for a ``hand`` that is there already."""
        self._thread = threading.get_ident()
        for tap, listener in self._taps:
            backward = self._returned if tap is BACKWARD and self.hand is not None else None
            tap.add(listener, self._gives if tap is SCALE else backward)
        if self.hand is not None:
            GRAD.add(self._derives, self._derived)

    def close(self) -> None:
        """Hear no more."""
        for tap, listener in self._taps:
            tap.remove(listener, self._gives if tap is SCALE else self._returned)
        GRAD.remove(self._derives, self._derived)
        self.loss.clear()
        self.loss.scaler = self.hand = None

    def stepped(self, optimizer: Optimizer, *, wait: bool) -> Fact | None:
        """An optimizer has stepped; tells if it is a fused one that skipped within (``wait`` for the device to know it)."""
        if self.loss.scaler is None:
            return None
        self._stepped.add(id(optimizer))
        found = getattr(optimizer, "found_inf", None)
        if found is None or not (found.is_cpu or wait) or not float(found):
            return None
        return _fact(float(optimizer.grad_scale))  # type: ignore[attr-defined]

    def _hear(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() != self._thread:
            return
        clock = time.perf_counter if self.told is None else time.thread_time  # the quicker one for what is quick
        start = clock() if self.timed else 0.0
        try:
            if self.hand is not None:
                self.hand.settle()
            roots = args[0] if args else kwargs.get("tensors")
            if self.told is not None or torch._C._len_torch_function_stack():
                with Quiet():
                    loss = self.loss.heard(roots)
                    if self.told is not None:
                        self.told(roots)
            else:
                loss = self.loss.heard(roots)
            if loss is not None and loss - loss != 0.0 and self.broke is not None:  # NaN or infinite
                broke, self.broke = self.broke, None
                with Quiet():
                    broke()
        except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's backward pass
            self._failed(error)
        if self.timed:
            self.spent += clock() - start

    def _returned(self, _: Any) -> None:
        if self.hand is None or threading.get_ident() != self._thread:
            return
        try:
            self.hand.backward_over()
        except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's backward pass
            self._failed(error)

    def _derives(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Derivatives are asked for: those by watched weights are a backward pass, of whose gradients a step may be made."""
        if self.hand is None or threading.get_ident() != self._thread:
            return
        inputs = args[1] if len(args) > 1 else kwargs.get("inputs")
        asked = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs) if isinstance(inputs, Sequence) else ()
        self._asked = asked if self.hand.asks_for(asked) else ()
        if self._asked:
            self._hear(args[:1], {"tensors": kwargs.get("outputs")})

    def _derived(self, result: Any) -> None:
        asked, self._asked = self._asked, ()
        if not asked or self.hand is None or threading.get_ident() != self._thread:
            return
        try:
            given = {id(of): one for of, one in zip(asked, result, strict=False) if isinstance(one, Tensor)}
            self.hand.backward_over(given)
        except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's program
            self._failed(error)

    def _scales(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() != self._thread:
            return
        try:
            self._giving = args[0].is_enabled()
            with Quiet():
                if self._giving:
                    self.loss.scaled(args[0], args[1] if len(args) > 1 else kwargs.get("outputs"))
                    self._scaled(args[0].get_scale)
        except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's loop
            self._failed(error)

    def _gives(self, result: Any) -> None:
        if self.told is None or not self._giving or threading.get_ident() != self._thread:
            return
        try:
            self.loss.made(result)
        except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's loop
            self._failed(error)

    def _updates(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() != self._thread:
            return
        try:
            if not args[0].is_enabled():
                return  # it was made without its tables, and only passes calls on
            states = args[0]._per_optimizer_states
            asked = {key for key, state in states.items() if state["stage"].name == "STEPPED"} - self._stepped
            self._stepped.difference_update(states)  # the others are for their own scalers to ask of
            self.loss.updated(args[0])
            if asked:
                with Quiet():
                    self._skipped(asked, _fact(float(args[0].get_scale())))
        except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's loop
            self._failed(error)


def _fact(scale: float) -> Fact:
    return Fact("scale_skipped", settings=(("scale", scale),))


for _listener in (Ear._hear, Ear._returned, Ear._scales, Ear._gives, Ear._updates, Ear._derives, Ear._derived):
    untraced(_listener, within=True)
