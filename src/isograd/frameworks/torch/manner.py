"""Another manner of running a model: functions that it calls are exchanged, left out or kept in the graph, on copies alone."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from isograd.errors import ModelError
from isograd.frameworks.torch.fitting import fitting_loss
from isograd.frameworks.torch.losses import given_to, reduction_of
from isograd.frameworks.torch.made import kept
from isograd.frameworks.torch.operations import ACTIVATIONS, FUNCTION_OF, LOSSES, name_of
from isograd.frameworks.torch.places import modules_of

CURVES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
"""The activations that an edit can put in, by the names of their functions."""

BENT = frozenset(CURVES) | {FUNCTION_OF.get(name, name.lower()) for name in ACTIVATIONS} - {"glu", "prelu"}
BENT |= {"softmax", "log_softmax", "sign", "sgn", "round", "floor", "ceil", "trunc"}
"""Functions that count as an activation or a last function where a model calls them: all but those that halve what they are
given, or have weights of their own."""

_WEIGHTED = frozenset(
    {"linear", "bilinear", "matmul", "mm", "bmm", "addmm", "einsum", "embedding", "rnn_tanh", "rnn_relu", "lstm", "gru"}
)
_KEPT = frozenset({"detach", "data"})
_OUT = frozenset({"numpy", "tolist", "array"})
_BACK = frozenset({"tensor", "as_tensor", "asarray"})
"""Ways out of the graph into plain numbers, and back; ``from_numpy``, which no mode hears of, is another."""
TIMES = frozenset({"mul", "multiply", "__mul__", "__rmul__", "div", "divide", "true_divide", "__truediv__"})
"""Functions that make a signal so many times as large."""
_ODD = 20.0
"""Times that a signal is made larger or smaller from which a number behind the last layer is more than a matter of units: of
probabilities that are told apart by 1, logits of a twentieth of that say nothing, and of 20 times all."""
_CUTS = frozenset({"clamp", "clip", "clamp_"})
_AXES = {"layer_norm": "normalized_shape", "rms_norm": "normalized_shape"}
"""Norms that say over which axes they go, and how."""


@dataclass(frozen=True, slots=True)
class Manner:
    """What is different where the model runs; the plain one changes nothing.

    ``swap`` exchanges an activation by name, with a positive constant that multiplies its input, but for those at the places
    ``spared``; ``last`` are those that are left out: places among the calls of one pass that ``bends`` counts. ``keep_graph``
    passes on in the graph what is detached, or comes back from numpy as it left; ``dropout`` is its probability. ``fit``:
    losses give way to the one that fits what they are called with, in the model and, where the whole loop runs within, in a
    step of the person's own. ``hold``: layers that a pass makes keep their weights (``made.kept``).
    """

    swap: tuple[str, str] | None = None
    spared: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()
    keep_graph: bool = False
    dropout: float | None = None
    fit: bool = False
    hold: bool = False

    @property
    def plain(self) -> bool:
        """Whether nothing is different."""
        return self == Manner()

    def but(self, **changes: Any) -> Manner:
        """The same with some things different."""
        return replace(self, **changes)


@contextlib.contextmanager
def running(models: Sequence[nn.Module], manner: Manner) -> Iterator[None]:
    """Within, the models run in that manner; what is called outside of their forward passes stays as it is."""
    with contextlib.ExitStack() as within:
        if manner.fit:
            within.enter_context(Fitted())
        if manner.hold:
            within.enter_context(kept(models))
        if not manner.but(fit=False, hold=False).plain:
            mode = within.enter_context(_exchanging(models, manner))
            if manner.keep_graph:
                within.enter_context(_back_from_numpy(mode))
        yield


@contextlib.contextmanager
def _back_from_numpy(mode: _Exchange) -> Iterator[None]:
    """Within, an array that was a signal of the pass under way is that signal again."""
    plain = torch.from_numpy

    def back(array: Any) -> Tensor:
        signal = mode.signal(array)
        return plain(array) if signal is None else signal

    torch.from_numpy = back  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.from_numpy = plain


@contextlib.contextmanager
def _exchanging(models: Sequence[nn.Module], manner: Manner) -> Iterator[_Exchange]:
    mode, depth = _Exchange(manner), [0]

    def enters(module: nn.Module, args: Any) -> None:
        depth[0] += 1
        if depth[0] == 1:
            mode.calls = 0
            mode.forget()
            mode.__enter__()  # type: ignore[no-untyped-call]

    def leaves(module: nn.Module, args: Any, output: Any) -> None:
        depth[0] -= 1
        if not depth[0]:
            mode.forget()
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    handles = [model.register_forward_pre_hook(enters) for model in models]
    handles += [model.register_forward_hook(leaves, always_call=True) for model in models]
    try:
        yield mode
    finally:
        for handle in handles:
            handle.remove()


def last_functions(models: Sequence[nn.Module], call: Callable[[], Any]) -> tuple[tuple[str, ...], frozenset[int]]:
    """The functions that come after the last weighted layer in a pass, and their positions among all that may be left out.

    A number that makes the outputs far larger or smaller counts where nothing else comes there.
    """
    heard = _Hearing()
    with heard, torch.no_grad():
        call()
    found = list(zip((name for name, _ in heard.calls[heard.weighted + 1 :]), heard.last, strict=True))
    found = [one for one in found if one[0] not in TIMES] or found
    return tuple(name for name, _ in found), frozenset(at for _, at in found)


def last_bent(models: Sequence[nn.Module], call: Callable[[], Any]) -> frozenset[int]:
    """The places of ``last_functions``, but for a number that outputs are multiplied by: any loss takes it."""
    names, last = last_functions(models, call)
    return frozenset() if TIMES.issuperset(names) else last


def norms_of_one(call: Callable[[], Any]) -> frozenset[int]:
    """The places, among all functions that may be left out, of norms over a single value, wherever in the pass they stand."""
    heard = _Hearing()
    with heard, torch.no_grad():
        call()
    bent = [name for name, bent in heard.calls if bent]
    return frozenset(at for at, name in enumerate(bent) if name in _AXES)


def behind(models: Sequence[nn.Module], call: Callable[[], Any]) -> tuple[frozenset[int], frozenset[int]]:
    """What stands between no layers: the places of ``last_functions``, and the ids of the modules that run behind them alone.

    Nothing where the pass fails.
    """
    heard, began = _Hearing(), dict[int, int]()

    def enters(module: nn.Module, args: Any) -> None:
        began.setdefault(id(module), len(heard.calls))

    alone = {id(module): module for _, module in modules_of(models) if not module._modules}
    handles = [module.register_forward_pre_hook(enters) for module in alone.values()]
    try:
        with heard, torch.no_grad():
            call()
    except ModelError:
        return frozenset(), frozenset()
    finally:
        for handle in handles:
            handle.remove()
    return frozenset(heard.last), frozenset(key for key, at in began.items() if at > heard.weighted)


@dataclass
class _Hearing(TorchFunctionMode):
    """Writes down the weighted and the bent functions that are called."""

    calls: list[tuple[str, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def weighted(self) -> int:
        """The place of the last weighted function."""
        return max((at for at, (_, bent) in enumerate(self.calls) if not bent), default=-1)

    @property
    def last(self) -> range:
        """The places, among all functions that may be left out, of those behind it."""
        first = sum(bent for _, bent in self.calls[: self.weighted + 1])
        return range(first, first + len(self.calls) - self.weighted - 1)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = name_of(function)
        bent = bends(name, args, kwargs or {})
        if bent or name in _WEIGHTED or name.startswith("conv"):
            self.calls.append((name, bent))
        return function(*args, **(kwargs or {}))


def bends(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether this call counts as an activation or a last function.

    So do a norm of single values, which gives the same number whatever comes in, what cuts answers off at the ends of a
    range within -1 and 1, and what makes a signal by a number ODD times as large or small.

    >>> bends("layer_norm", (None, (1,)), {}), bends("layer_norm", (None, (8,)), {}), bends("clamp", (None, 0, 1), {})
    (True, False, True)
    >>> bends("mul", (torch.ones(2), 100), {}), bends("div", (torch.ones(2), 2.0), {})
    (True, False)
    """
    if name in TIMES:
        numbers = [abs(one) for one in args if isinstance(one, float | int)]
        return _by_a_number(args) and not 1.0 / _ODD < numbers[0] < _ODD
    if name in _AXES:
        axes = kwargs.get(_AXES[name], args[1] if len(args) > 1 else ())
        return bool(axes) and math.prod(axes) == 1
    if name in _CUTS:
        ends = [kwargs.get(end, args[at] if len(args) > at else None) for at, end in ((1, "min"), (2, "max"))]
        return all(isinstance(end, float | int) and abs(end) <= 1.0 for end in ends)
    return name in BENT


class Fitted(TorchFunctionMode):
    """Losses give way to the one that fits their outputs and targets; one that gives a value an example stays."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = name_of(function)
        if name in LOSSES:
            given = given_to(name, args, kwargs or {})
            made, wanted = given.get("input"), given.get("target")
            if isinstance(made, Tensor) and isinstance(wanted, Tensor) and reduction_of(given) != "none":
                with contextlib.suppress(ModelError):
                    return fitting_loss(made, wanted)
        return function(*args, **(kwargs or {}))


class _Exchange(TorchFunctionMode):
    def __init__(self, manner: Manner) -> None:
        super().__init__()
        self.manner, self.calls = manner, 0
        self.scaled: dict[int, tuple[Tensor, Tensor]] = {}
        self.left: list[tuple[Any, Tensor]] = []
        """What left for numpy or a list, and what it was."""

    def forget(self) -> None:
        """A pass begins or is over."""
        self.scaled.clear()
        self.left.clear()

    def signal(self, plain: Any) -> Tensor | None:
        """The tensor that plain numbers were, where they come back as they left."""
        if isinstance(plain, Tensor):
            return None
        same = (one for out, one in reversed(self.left) if out is plain or np.array_equal(plain, out))
        return next(same, None)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs, manner = name_of(function), kwargs or {}, self.manner
        if bends(name, args, kwargs):
            at, self.calls = self.calls, self.calls + 1
            given = args[0] if args else kwargs.get("input")
            if at in manner.last:
                return given if isinstance(given, Tensor) else args[1]
            if manner.swap is not None and manner.swap[0] == name and at not in manner.spared:
                result, before = self.scaled.get(id(given), (None, given))
                return CURVES[manner.swap[1]](before if result is given else given)
        if manner.swap is not None and name in TIMES and _by_a_number(args):
            result = function(*args, **kwargs)
            self.scaled[id(result)] = result, args[0] if isinstance(args[0], Tensor) else args[1]
            return result
        if manner.keep_graph and args:
            if name in _KEPT and isinstance(args[0], Tensor):
                return args[0]
            if name == "set_grad_enabled":
                return function(True)
            if name in _OUT:
                plain = function(args[0].detach(), *args[1:], **kwargs)
                self.left.append((plain, args[0]))
                return plain
            if name in _BACK and (signal := self.signal(args[0])) is not None:
                return signal if kwargs.get("dtype") is None else signal.to(kwargs["dtype"])
        elif manner.dropout is not None and "dropout" in name:
            kwargs = {"p": manner.dropout, "training": bool(kwargs.get("training", args[2] if len(args) > 2 else True))}
            args = args[:1]
        return function(*args, **kwargs)


def _by_a_number(args: Sequence[Any]) -> bool:
    """Whether one of two factors is a positive number, and the other a tensor that is none of one number."""
    if len(args) != 2 or not any(isinstance(one, Tensor) and one.ndim for one in args):
        return False
    return any(isinstance(one, float | int) and one > 0.0 for one in args)
