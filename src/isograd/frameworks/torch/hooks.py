"""Follow forward passes from outside: global module hooks and a function mode, entered and left without a trace.

Global hooks, because hooks stored in a module travel with its copies and pickles; never full-backward hooks, because they
break in-place operations. The mode sits at the bottom of the stack of modes, so that the person's own modes come and go
above it, and is away while a module is in evaluation, where its presence would switch fast paths off.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from isograd.frameworks.torch.heads import HEADS
from isograd.frameworks.torch.modes import enter, leave
from isograd.frameworks.torch.operations import LOSSES, loss_name, name_of
from isograd.frameworks.torch.places import modules_of, tensors_in
from isograd.frameworks.torch.written import WRITTEN

_HEEDED = LOSSES | HEADS | WRITTEN
_ANSWERS = frozenset({"argmax", "max", "eq"})
"""Functions by which right answers are counted; heeded in evaluations only."""
_IN_PLACE = frozenset({"__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__", "__setitem__"})


class Eyes(Protocol):
    """What is told of a pass; called with gradients off and torch functions unwatched."""

    def begins(self, path: str, arguments: Sequence[Any]) -> None:
        """An outermost watched module is called."""

    def ends(self, path: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        """An outermost watched module that was called with keyword arguments has returned."""

    def recurs(self, module: nn.RNNBase) -> None:
        """A recurrent layer is about to run."""

    def module(self, path: str, module: nn.Module, arguments: Any, output: Any) -> None:
        """A leaf module has been called."""

    def function(self, path: str, name: str, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None:
        """A torch function has been called inside a watched module."""

    def outside(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], output: Any, *, evaluation: bool) -> None:
        """A torch function was called outside of all watched modules: the loss, what leads to it.

        ``evaluation``: the last pass of a watched model was one in evaluation mode.
        """

    def returned(self, output: Any) -> None:
        """An outermost watched module in training mode has returned, with gradients on."""

    def follows(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None:
        """A torch function, whichever, was called outside of all watched modules and gave something that has a graph."""

    def answers(self, name: str, args: Sequence[Any], output: Any) -> None:
        """In an evaluation a largest entry was asked for, or two tensors were compared."""

    def attends(self) -> bool:
        """Whether what follows a pass without gradients, or in evaluation mode, is to be heard."""

    def doubts(self) -> bool:
        """Whether a pass in training mode may be one of an evaluation, too."""

    def spent(self, seconds: float) -> None:
        """One of the above took so long."""

    def failed(self, error: Exception) -> None:
        """One of the above raised."""


class Beside(Protocol):
    """What looks at the program beside the eyes: modules that are entered, functions that say something of the loop."""

    heeded: frozenset[str]
    """The names of the functions that it is told of."""

    def given(self, module: nn.Module, path: str, arguments: Sequence[Any], *, learning: bool) -> None:
        """A model in training mode is called, in a step of which at least the loss is heard; ``learning``: gradients are on."""

    def enters(self, module: nn.Module, path: str, *, known: bool, outermost: bool, learning: bool) -> None:
        """A module is about to run; not ``known``: it is no part of a watched model but runs inside one."""

    def leaves(self, module: nn.Module, path: str, arguments: Any, output: Any) -> None:
        """A leaf module has run."""

    def changes(self, tensor: Any) -> None:
        """A tensor is changed in place."""

    def calls(self, name: str, path: str | None, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """A heeded function is called, inside the module at ``path``, or outside of all (None): there, before it runs."""


class Quiet:
    """Gradients off, torch functions unwatched: the context of everything that we compute in the person's loop."""

    def __enter__(self) -> None:
        # In this order: to switch gradients is a torch function, too, which a mode would be told of.
        self._functions = torch._C.DisableTorchFunction()
        self._functions.__enter__()
        self._grad = torch.is_grad_enabled()
        if self._grad:
            torch._C._set_grad_enabled(False)

    def __exit__(self, *_: object) -> None:
        if self._grad:
            torch._C._set_grad_enabled(True)
        self._functions.__exit__(None, None, None)


class _Mode(TorchFunctionMode):
    def __init__(self, walk: Walk) -> None:
        self._walk = walk

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        walk, kwargs = self._walk, kwargs or {}
        if walk.blind or walk.muted:
            return func(*args, **kwargs)
        if walk.inside:
            output = func(*args, **kwargs)
            walk.function(func, args, kwargs, output)
            return output
        name = name_of(func)
        walk.coming(func, name, args, kwargs)
        output = func(*args, **kwargs)
        walk.follows(func, args, kwargs, output)
        if name in _HEEDED and name != "backward":
            walk.outside(name, args, kwargs, output)
        elif name in _ANSWERS:
            walk.answers(name, args, output)
        return output


class Walk:
    """The hooks and the mode over some models, and the names of the calls in a pass.

    A leaf module is one whose ``forward`` is torch's own and that has no children (attention and parametrised layers too);
    it is not looked into. The second call of a module in one pass is "path@2"; the second call of a function "path_1".
    """

    def __init__(self, models: Sequence[nn.Module], eyes: Eyes, *, always: bool = False, beside: Beside | None = None) -> None:
        self.names = {id(module): path for path, module in modules_of(models)}
        self.blind = 0
        self.muted = True
        self.learning = True
        """Whether gradients were on where the eyes were last told of something."""
        self.skipped = False
        """Whether a model was called in evaluation mode with gradients on, which is not followed, since it was armed."""
        self.inside: list[tuple[nn.Module, str]] = []
        self._taken = frozenset(self.names.values())
        self._eyes, self._beside = eyes, beside
        self._heeded = beside.heeded if beside is not None else frozenset()
        self._leaves = {id(module) for _, module in modules_of(models) if is_leaf(module)}
        self._always, self._skipping, self._was_in, self._shallow = always, False, False, False
        self._waiting, self._evaluating, self._apart = False, False, False
        self._calls: Counter[str] = Counter()
        self._mode = _Mode(self)
        self._handles: list[RemovableHandle] = []
        self._thread, self._process = threading.get_ident(), os.getpid()

    def arm(self, *, shallow: bool = False, waiting: bool = False) -> None:
        """Follow the passes from here on; ``shallow``: only what is called outside of the models, such as the loss.

        ``waiting`` (and shallow): for evaluations, until there is a pass of training.
        """
        self._shallow, self._waiting = shallow, waiting
        self.inside.clear()
        self.blind, self._skipping, self.muted, self.skipped = 0, False, False, False
        self._evaluating, self._apart = False, False
        if not self._handles:
            register = nn.modules.module
            self._handles = [
                register.register_module_forward_pre_hook(self._before),
                register.register_module_forward_hook(self._after, with_kwargs=True, always_call=True),
            ]

    def disarm(self) -> None:
        """Take the hooks and the mode away."""
        for handle in self._handles:
            handle.remove()
            nn.modules.module._global_forward_hooks_with_kwargs.pop(handle.id, None)  # torch forgets this one
        self._handles = []
        self.muted = True
        leave(self._mode)

    @property
    def armed(self) -> bool:
        """Whether the hooks are there."""
        return bool(self._handles)

    def entered(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """A module is being called for which the hooks came too late."""
        self._before(module, args)

    def mute(self) -> None:
        """See nothing more; for a time at which the hooks cannot be removed because torch is going through them."""
        self.muted = True

    def _here(self) -> bool:
        return not self.muted and threading.get_ident() == self._thread and os.getpid() == self._process

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not self._here():
            return
        if self.blind:
            self.blind += 1
            return
        path = self.names.get(id(module))
        if not self.inside:
            if path is None:
                if self._is_apart(module):
                    self._pass_by(module, "")  # a teacher: the mode would switch its fast paths off
                    self._apart = True
                return
            if (self._shallow or not module.training) and self._judges(module):
                return
            self._enters(module, path, known=True)
            if not self._begin(module, path, args):
                return
        else:
            known = path is not None
            path = path if path is not None else f"{self.inside[-1][1]}.{type(module).__name__.lower()}".lstrip(".")
            self._enters(module, path, known=known)
        self.inside.append((module, path))
        if id(module) in self._leaves or (id(module) not in self.names and is_leaf(module)):
            self.blind = 1
            if isinstance(module, nn.RNNBase):
                self._tell(lambda: self._eyes.recurs(module))

    def _enters(self, module: nn.Module, path: str, *, known: bool) -> None:
        if (beside := self._beside) is not None and not self._shallow:
            at = {"known": known, "outermost": not self.inside, "learning": torch.is_grad_enabled()}
            self._tell(lambda: beside.enters(module, path, **at))

    def _begin(self, module: nn.Module, path: str, args: tuple[Any, ...]) -> bool:
        self._calls.clear()
        learning = torch.is_grad_enabled()
        tries = not (learning and module.training)
        self._evaluating, self._apart = not module.training, False
        if module.training and (beside := self._beside) is not None:
            self._tell(lambda: beside.given(module, path, args, learning=learning))
        heard = self._always or (not tries and not self._waiting)
        heard = heard or ((tries or self._eyes.doubts()) and self._eyes.attends())
        if self._waiting and not heard:
            self.disarm()
            return False
        if self._shallow or (tries and not self._always):
            self._pass_by(module, path)
            self.skipped = self.skipped or (learning and not module.training)
            self._was_in = heard  # to see the loss that follows
            return False
        enter(self._mode)
        self._tell(lambda: self._eyes.begins(path, args))
        return True

    def _judges(self, module: nn.Module) -> bool:
        """Whether a module of a watched model is a loss: what it calls is to be heard."""
        return id(module) in self._leaves and loss_name(module) in LOSSES

    def _is_apart(self, module: nn.Module) -> bool:
        """Whether an unwatched module is in evaluation mode and holds no watched one; a loss is not meant."""
        if module.training or next(module.children(), None) is None:
            return False
        return not any(id(inner) in self.names for inner in module.modules())

    def _pass_by(self, module: nn.Module, path: str) -> None:
        self._was_in, self._skipping, self.blind = leave(self._mode), True, 1
        self.inside.append((module, path))

    def _after(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> None:
        # Torch calls this with the keyword arguments and the output, and where the module raised, with the output alone.
        if not self.inside or not self._here():
            return
        if self.blind > 1:
            self.blind -= 1
            return
        if self.inside[-1][0] is not module:
            return
        _, path = self.inside.pop()
        leaf, self.blind = bool(self.blind), 0
        if not self.inside and rest and module.training and not self._apart and torch.is_grad_enabled():
            self._tell(lambda: self._eyes.returned(rest[-1]))
        if self._skipping:
            self._skipping = False
            if self._was_in:
                enter(self._mode)
            return
        if leaf and len(rest) == 2:
            self._leaf(path, module, (args, rest[0]), rest[1])
        if not self.inside and len(rest) == 2 and rest[0]:
            self._tell(lambda: self._eyes.ends(path, args, rest[0]))

    def _leaf(self, path: str, module: nn.Module, arguments: Any, output: Any) -> None:
        self._calls[path] += 1
        called = path if self._calls[path] == 1 else f"{path}@{self._calls[path]}"
        self._tell(lambda: self._eyes.module(called, module, arguments, output))
        if (beside := self._beside) is not None:
            self._tell(lambda: beside.leaves(module, path, arguments, output))

    def function(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None:
        """A torch function was called inside a watched module."""
        name = name_of(func)
        self._calls_beside(func, name, self.inside[-1][1], args, kwargs)
        if not any(True for _ in tensors_in(output)):
            return
        path = f"{self.inside[-1][1]}.{name}".lstrip(".")
        while True:
            self._calls[path] += 1
            called = path if self._calls[path] == 1 else f"{path}_{self._calls[path] - 1}"
            if called not in self._taken:
                break
        self._tell(lambda: self._eyes.function(called, name, args, kwargs, output))

    def _calls_beside(self, func: Any, name: str, path: str | None, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        if (beside := self._beside) is None or self._shallow:
            return
        if name in self._heeded:
            self._tell(lambda: beside.calls(name, path, args, kwargs))
        plain = getattr(func, "__name__", "")
        if args and (plain in _IN_PLACE or (plain[-1:] == "_" and plain[-2:] != "__")):
            self._tell(lambda: beside.changes(args[0]))

    def pause(self) -> None:
        """Take the mode away until the next pass: an optimizer calls hundreds of functions that say nothing."""
        leave(self._mode)

    def coming(self, func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """A torch function is about to be called outside of the watched modules."""
        self._calls_beside(func, name, None, args, kwargs)

    def outside(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None:
        """A torch function was called outside of the watched modules."""
        if not self._apart or torch.is_grad_enabled():  # what follows another model's evaluation is not of ours
            self._tell(lambda: self._eyes.outside(name, args, kwargs, output, evaluation=self._evaluating))

    def follows(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None:
        """Something with a graph was computed outside of the watched modules."""
        if (output.requires_grad if isinstance(output, Tensor) else isinstance(output, tuple | list)) and not self._waiting:
            self._tell(lambda: self._eyes.follows(func, args, kwargs, output))

    def answers(self, name: str, args: Sequence[Any], output: Any) -> None:
        """Answers were asked for or compared outside of the watched modules."""
        if not self._apart and (self._evaluating or not torch.is_grad_enabled()):
            self._tell(lambda: self._eyes.answers(name, args, output))

    def _tell(self, what: Callable[[], None]) -> None:
        if os.getpid() != self._process:  # a worker that was forked with our mode in its stack
            self.muted = True
            return
        start = time.thread_time()
        self.learning = torch.is_grad_enabled()
        try:
            with Quiet():
                what()
            self._eyes.spent(time.thread_time() - start)
        except Exception as error:  # noqa: BLE001  whatever goes wrong in the watching stays out of the person's loop
            self._eyes.failed(error)


def is_recomputation() -> bool:
    """Whether we are inside a backward pass: a checkpointed part runs forward again."""
    return torch._C._current_graph_task_id() != -1


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is torch's own and not looked into."""
    if isinstance(module, torch.jit.ScriptModule | nn.MultiheadAttention):
        return True
    if isinstance(module, nn.Sequential):
        return False
    owned = (getattr(type(module).forward, "__module__", None) or "").startswith("torch.nn.modules.")
    return owned and all(name == "parametrizations" for name, _ in module.named_children())
