"""Look into a compiled model without touching it: the step runs as it is, and is run again eagerly beside it.

Hooks inside a compiled program would make it another one. So only what goes in and comes out of the whole model is kept in a
sampled step, with the gradients that come back to its outputs. When the optimizer is about to step, the model is called once
more, eagerly, with the same weights and inputs, and those gradients are sent through its layers, not as far as its parameters.
Random streams, buffers, modes and attributes are put back. Dropout draws other masks than the compiled step did: one draw of
the same distribution.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isograd.frameworks.torch.hooks import Quiet, Walk
from isograd.frameworks.torch.passes import Passes
from isograd.frameworks.torch.places import persons_line, standing_for, tensors_in, unwrapped
from isograd.frameworks.torch.state import untouched


@dataclass
class _Call:
    """One call of a compiled model: what went in, as what, and the gradients that came back to its outputs."""

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    autocast: tuple[str, torch.dtype, bool]
    versions: list[tuple[Tensor, int]]
    outputs: int
    line: str | None
    arrived: dict[int, Tensor] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        """Whether the inputs are still what they were."""
        return all(tensor._version == version for tensor, version in self.versions)


class _Door:
    """Where compiled models are called: one place for all watches, so that they may come and go in any order."""

    def __init__(self) -> None:
        self.listeners: list[Shadow] = []
        self._undo: dict[int, Callable[[], None]] = {}

    def open(self, listener: Shadow, models: Sequence[nn.Module]) -> None:
        """Tell ``listener`` of the calls from here on."""
        if not any(one is listener for one in self.listeners):
            self.listeners.append(listener)
        kind = torch._dynamo.eval_frame.OptimizedModule
        if id(kind) not in self._undo:
            self._undo[id(kind)] = self._listen(kind)
        for model in models:
            if vars(model).get("_compiled_call_impl") is not None and id(model) not in self._undo:
                self._undo[id(model)] = self._listen_in_place(model)

    def close(self, listener: Shadow) -> None:
        """Tell it no more; with the last listener everything is as it was."""
        self.listeners = [one for one in self.listeners if one is not listener]
        if not self.listeners:
            for undo in self._undo.values():
                undo()
            self._undo.clear()

    def _called(self, model: nn.Module, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = call(*args, **kwargs)
        for listener in self.listeners:
            listener.called(model, args, kwargs, output)
        return output

    def _listen(self, kind: Any) -> Callable[[], None]:
        own, plain = "__call__" in vars(kind), kind.__call__

        def called(compiled: Any, *args: Any, **kwargs: Any) -> Any:
            return self._called(compiled._orig_mod, lambda *a, **k: plain(compiled, *a, **k), args, kwargs)

        def undo() -> None:
            if vars(kind).get("__call__") is not called:  # somebody else came after us: what stays hands on and tells nobody
                return
            if own:
                kind.__call__ = plain
            else:
                del kind.__call__

        kind.__call__ = called
        return undo

    def _listen_in_place(self, model: nn.Module) -> Callable[[], None]:
        plain = vars(model)["_compiled_call_impl"]

        def called(*args: Any, **kwargs: Any) -> Any:
            return self._called(model, plain, args, kwargs)

        def undo() -> None:
            if vars(model).get("_compiled_call_impl") is called:
                vars(model)["_compiled_call_impl"] = plain

        vars(model)["_compiled_call_impl"] = called
        return undo


_DOOR = _Door()


class Shadow:
    """Keeps the calls of compiled models in a sampled step, and runs them again."""

    def __init__(self, models: Sequence[nn.Module], failed: Callable[[Exception], None]) -> None:
        self._models = tuple(unwrapped(model) for model in models)
        self._failed = failed
        self._calls: list[_Call] = []
        self._replaying, self._listening = False, False
        self._thread = threading.get_ident()

    def follow(self, *, compiled: bool) -> None:
        """A new step begins: listen to the calls of the compiled models, from outside, where nothing is traced; or do not."""
        self._calls.clear()
        if compiled:
            _DOOR.open(self, self._models)
            self._listening, self._thread = True, threading.get_ident()
        elif self._listening:
            _DOOR.close(self)
            self._listening = False

    def leave(self) -> None:
        """Leave nothing behind, and keep none of the person's objects."""
        self.follow(compiled=False)
        self._models = ()

    def settle(self, passes: Passes) -> None:
        """All gradients of the step have arrived: show its passes to ``passes``, by running them again."""
        ready = [call for call in self._calls if call.arrived]
        self._calls = [call for call in self._calls if not call.arrived]  # the passes of another optimizer
        for call in ready:
            if call.same:
                self._replay(call, passes)
        passes.layers.settle()

    def called(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """A compiled model has been called."""
        if self._replaying or threading.get_ident() != self._thread or not (model.training and torch.is_grad_enabled()):
            return
        try:
            with Quiet():
                if any(model is one for one in self._models) and _repeatable(model):
                    self._keep(model, args, kwargs, output)
        except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's pass
            self._failed(error)

    def _keep(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        outputs = list(tensors_in(output))
        device = outputs[0].device.type if outputs else "cpu"
        autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        versions = [(tensor, tensor._version) for tensor in tensors_in((args, kwargs))]
        kept = _Call(model, args, kwargs, autocast, versions, len(outputs), persons_line())
        self._calls.append(kept)
        for place, tensor in enumerate(outputs):
            if tensor.requires_grad and not tensor.is_leaf:
                tensor.register_hook(self._gradient_of(kept, place))  # type: ignore[no-untyped-call]

    def _gradient_of(self, call: _Call, place: int) -> Callable[[Tensor], None]:
        def arrives(gradient: Tensor) -> None:
            if not any(call is one for one in self._calls):
                return
            try:
                with Quiet():
                    known = call.arrived.get(place)
                    call.arrived[place] = gradient.detach().clone() if known is None else known + gradient
            except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's backward pass
                self._failed(error)

        return arrives

    def _replay(self, call: _Call, passes: Passes) -> None:
        walk = Walk(self._models, passes)
        device, dtype, enabled = call.autocast
        self._replaying, passes.layers.edges = True, []
        try:
            with (
                _as_they_were(call.model),
                standing_for(call.line),
                torch._C._EnableTorchFunction(),
                torch.enable_grad(),
                torch.autocast(device, dtype, enabled, cache_enabled=False),
                torch.compiler.set_stance("force_eager"),
            ):
                walk.arm()
                try:
                    outputs = list(tensors_in(call.model(*call.args, **call.kwargs)))
                finally:
                    walk.disarm()
                if len(outputs) == call.outputs and passes.layers.edges:
                    ends = [outputs[place] for place in call.arrived]
                    gradients = [g.to(end.dtype) for g, end in zip(call.arrived.values(), ends, strict=True)]
                    torch.autograd.grad(ends, passes.layers.edges, gradients, allow_unused=True)
        finally:
            self._replaying, passes.layers.edges = False, None


def _repeatable(model: nn.Module) -> bool:
    """Whether a second call does nothing that the person would notice: no hooks of theirs, no distributed weights."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, name, None) for module in model.modules() for name in hooks):
        return False
    return all(type(parameter) in (Tensor, nn.Parameter) for parameter in model.parameters())


@contextlib.contextmanager
def _as_they_were(model: nn.Module) -> Iterator[None]:
    """Random streams, buffers, modes and plain attributes are afterwards what they were."""
    own = [(vars(module), dict(vars(module))) for module in model.modules()]
    with untouched([model]):
        try:
            yield
        finally:
            for now, before in own:
                for name in [name for name in now if name not in before]:
                    del now[name]
                now.update({name: value for name, value in before.items() if now.get(name, own) is not value})
