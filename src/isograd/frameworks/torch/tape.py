"""The way from the outputs of a model to the loss, as the program went it, to be gone again with other answers.

Whatever a program makes of its outputs (a loss written by hand, a likelihood of two heads, a module of its own) it makes with
torch functions that are called outside of the model. They are kept, in their order, with what they were given, until the
backward pass begins; then they can be called again with other outputs in the place of the model's. Nothing is said where
the way cannot be gone again: a random function stands on it, something on it was changed in place behind our back, or a
gradient comes from elsewhere (another network, a derivative by ``torch.autograd.grad``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from isograd.frameworks.torch.losses import is_plain
from isograd.frameworks.torch.operations import name_of
from isograd.frameworks.torch.places import tensors_in
from isograd.frameworks.torch.preparing import mapped

CALLS = 256
"""Functions between outputs and loss that are kept at most."""
LARGEST = 1 << 18
"""Entries of all outputs together up to which another answer is worth its price."""

_RANDOM = frozenset({"dropout", "alpha_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d", "dropout3d"}) | frozenset(
    {"rrelu", "gumbel_softmax", "bernoulli", "normal", "multinomial", "fractional_max_pool2d", "fractional_max_pool3d"}
)
"""Functions that would draw again."""
_CHANGING = frozenset({"batch_norm", "instance_norm", "embedding", "embedding_bag", "fused_moving_avg_obs_fake_quant"})
"""Functions that may change what they are given besides: running statistics, rows beyond a norm."""
_OPERATORS = (torch._ops.OpOverload, torch._ops.OpOverloadPacket)
_PASSED_OVER = frozenset({"requires_grad", "retain_grad", "register_hook", "backward"})


@dataclass(frozen=True, slots=True)
class _Call:
    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: dict[str, Any]
    output: Any
    in_place: bool


@dataclass
class Tape:
    """What one step did with the outputs of the watched models. It holds the program's tensors: clear it in time."""

    outputs: list[Tensor] = field(default_factory=list)
    """What the models put out, with a graph, in the order of their calls."""
    _calls: list[_Call] = field(default_factory=list)
    _depends: dict[int, bool] = field(default_factory=dict)
    _versions: dict[int, tuple[Tensor, int]] = field(default_factory=dict)
    _entries: int = 0
    _lost: bool = False

    def clear(self, *, lost: bool = False) -> None:
        """Forget everything, and where it is ``lost`` hear no more of this step."""
        self.outputs, self._calls, self._depends, self._versions = [], [], {}, {}
        self._entries, self._lost = 0, lost

    def returned(self, output: Any) -> None:
        """A watched model has put something out."""
        if self._lost:
            return
        for one in tensors_in(output):
            if one.requires_grad and id(one) not in self._depends:
                if not is_plain(one) or self._entries + one.numel() > LARGEST:
                    self.clear(lost=True)
                    return
                self._entries += one.numel()
                self.outputs.append(one)
                self._keep(one)

    def called(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None:
        """A torch function has been called outside of the models."""
        made = [] if self._lost else [one for one in tensors_in(output) if one.requires_grad]
        name = name_of(function)
        if not made or not self.outputs or name in _PASSED_OVER:
            return
        given = [one for one in tensors_in((tuple(args), kwargs)) if one.requires_grad or one is output]
        from_outputs = any(self._depends.get(id(one), False) for one in given)
        if not from_outputs:
            if all(one.is_leaf or id(one) in self._depends for one in given):
                self._depends.update((id(one), False) for one in made if not one.is_leaf)
                self._versions.update((id(one), (one, one._version)) for one in made if not one.is_leaf)
            return  # a penalty on the weights; what comes from elsewhere, where it meets the outputs, is not known
        if all(id(one) in self._versions and self._versions[id(one)][1] == one._version for one in made):
            return  # a tensor that was there already: a reshape to the shape that it has
        in_place = any(one is other for one in made for other in given)
        foreign = any(not one.is_leaf and id(one) not in self._depends for one in given)
        odd = in_place and (len(made) != 1 or made[0] is not args[0] or made[0]._base is not None)
        foreign = foreign or isinstance(function, _OPERATORS)  # it may ask other processes, which would not answer twice
        if foreign or odd or name in _RANDOM | _CHANGING or len(self._calls) >= CALLS or not all(map(is_plain, made)):
            self.clear(lost=True)
            return
        self._calls.append(_Call(function, tuple(args), dict(kwargs), output, in_place))
        for one in made:
            self._keep(one)

    def answers(self, root: Tensor) -> list[int]:
        """Which of ``outputs`` lead to ``root``, by their places; none where the way to it is not known."""
        if self._lost or not self._depends.get(id(root), False):
            return []
        if any(tensor._version != version for tensor, version in self._versions.values()):
            return []
        needed = {id(one) for call in self._way(root) for one in tensors_in((call.args, call.kwargs))}
        return [place for place, one in enumerate(self.outputs) if id(one) in needed]

    def again(self, root: Tensor, instead: dict[int, Tensor]) -> Tensor:
        """What ``root`` would be with other ``outputs``, by their places; raises whatever a function raises."""
        known = {id(self.outputs[place]): answer for place, answer in instead.items()}

        def other(tensor: Tensor) -> Tensor:
            return known.get(id(tensor), tensor)

        for call in self._way(root):
            args, kwargs = mapped(call.args, other), mapped(call.kwargs, other)
            if call.in_place:
                args = (args[0].clone(), *args[1:])
            output = call.function(*args, **kwargs)
            known.update((id(then), now) for then, now in zip(tensors_in(call.output), tensors_in(output), strict=True))
        return known[id(root)]

    def _way(self, root: Tensor) -> list[_Call]:
        """The calls that ``root`` depends on, in order."""
        needed, way = {id(root)}, list[_Call]()
        for call in reversed(self._calls):
            if any(id(one) in needed for one in tensors_in(call.output)):
                needed.update(id(one) for one in tensors_in((call.args, call.kwargs)))
                way.append(call)
        return way[::-1]

    def _keep(self, tensor: Tensor) -> None:
        self._depends[id(tensor)] = True
        self._versions[id(tensor)] = tensor, tensor._version
