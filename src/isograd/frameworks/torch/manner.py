"""Another manner of running a model: functions that it calls are exchanged, left out or kept in the graph, on copies alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from isograd.errors import ModelError
from isograd.frameworks.torch.fitting import fitting_loss
from isograd.frameworks.torch.losses import given_to, reduction_of
from isograd.frameworks.torch.made import kept
from isograd.frameworks.torch.operations import LOSSES, name_of

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

BENT = frozenset(CURVES) | {"softmax", "log_softmax", "hardtanh", "hardsigmoid", "relu6", "hardshrink", "celu"}
BENT |= {"sign", "sgn", "round", "floor", "ceil", "trunc"}
"""Functions that count as an activation or a last function where a model calls them."""

_WEIGHTED = frozenset(
    {"linear", "bilinear", "matmul", "mm", "bmm", "addmm", "einsum", "embedding", "rnn_tanh", "rnn_relu", "lstm", "gru"}
)
_KEPT = frozenset({"detach", "data"})


@dataclass(frozen=True, slots=True)
class Manner:
    """What is different where the model runs; the plain one changes nothing.

    ``swap`` exchanges an activation by name, ``last`` are the positions, among the calls of ``BENT`` functions of one pass, of
    those that are left out, ``keep_graph`` passes on in the graph what is detached, ``dropout`` is its probability. ``fit``:
    losses give way to the one that fits what they are called with, in the model and, where the whole loop runs within, in a
    step of the person's own. ``hold``: layers that a pass makes keep their weights (``made.kept``).
    """

    swap: tuple[str, str] | None = None
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
            within.enter_context(_exchanging(models, manner))
        yield


@contextlib.contextmanager
def _exchanging(models: Sequence[nn.Module], manner: Manner) -> Iterator[None]:
    mode, depth = _Exchange(manner), [0]

    def enters(module: nn.Module, args: Any) -> None:
        depth[0] += 1
        if depth[0] == 1:
            mode.calls = 0
            mode.__enter__()  # type: ignore[no-untyped-call]

    def leaves(module: nn.Module, args: Any, output: Any) -> None:
        depth[0] -= 1
        if not depth[0]:
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    handles = [model.register_forward_pre_hook(enters) for model in models]
    handles += [model.register_forward_hook(leaves, always_call=True) for model in models]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def last_functions(models: Sequence[nn.Module], call: Callable[[], Any]) -> tuple[tuple[str, ...], frozenset[int]]:
    """The functions that come after the last weighted layer in a pass, and their positions among all ``BENT`` calls."""
    heard = _Hearing()
    with heard, torch.no_grad():
        call()
    names = [name for name, _ in heard.calls]
    weighted = max((at for at, (_, bent) in enumerate(heard.calls) if not bent), default=-1)
    positions = [sum(bent for _, bent in heard.calls[:at]) for at in range(len(names))]
    behind = range(weighted + 1, len(names))
    return tuple(names[at] for at in behind), frozenset(positions[at] for at in behind)


@dataclass
class _Hearing(TorchFunctionMode):
    """Writes down the weighted and the bent functions that are called."""

    calls: list[tuple[str, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = name_of(function)
        if name in BENT or name in _WEIGHTED or name.startswith("conv"):
            self.calls.append((name, name in BENT))
        return function(*args, **(kwargs or {}))


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

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs, manner = name_of(function), kwargs or {}, self.manner
        if name in BENT:
            at, self.calls = self.calls, self.calls + 1
            given = args[0] if args else kwargs.get("input")
            if at in manner.last:
                return given
            if manner.swap is not None and manner.swap[0] == name:
                return CURVES[manner.swap[1]](given)
        elif manner.keep_graph and args:
            if name in _KEPT and isinstance(args[0], Tensor):
                return args[0]
            if name == "set_grad_enabled":
                return function(True)
            if name == "numpy":
                return function(args[0].detach(), *args[1:], **kwargs)
        elif manner.dropout is not None and "dropout" in name:
            kwargs = {"p": manner.dropout, "training": bool(kwargs.get("training", args[2] if len(args) > 2 else True))}
            args = args[:1]
        return function(*args, **kwargs)
