"""Steps that a program makes by hand: weights that change between two backward passes although no optimizer stepped.

An update written out (``p -= lr * p.grad``, ``p.data.sub_(...)``, ``p -= lr * g`` with g of ``torch.autograd.grad``) passes
no optimizer, so nothing tells of it. It shows in the weights: what a backward pass left and the next forward pass finds
otherwise was stepped in between. A pass that finds them as they were goes on with the same step, as one that accumulates does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from isograd.frameworks.torch.backward import Ear
from isograd.frameworks.torch.hooks import Quiet, Walk, is_recomputation

TENSORS = 8
"""Tensors that are asked whether they changed; of more, so many spread evenly."""
ENTRIES = 4
"""Entries of each that are compared: an update through ``.data`` leaves no other trace."""


class Hand(Optimizer):
    """Stands for the person's own update among the optimizers; never steps itself."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__(parameters, {})

    def step(self, closure: Any = None) -> Any:
        """Nothing: the step is the person's."""


class ByHand:
    """Finds the steps of a loop that has no optimizer, until one steps.

    ``passed`` is called with the hand after each backward pass of a loop whose steps are known to be made by hand, ``stepped``
    (as torch calls its hooks) when a step is complete. The first is told as stepped alone, for only the second pass proves it.
    ``walk`` gives what follows the passes: where the end of a step arms it, the pass under way is shown to it.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        passed: Callable[[Optimizer], None],
        stepped: Callable[[Optimizer, tuple[Any, ...], dict[str, Any]], None],
        walk: Callable[[], Walk],
    ) -> None:
        self._models = set(map(id, models))
        self._parameters = list(dict.fromkeys(p for model in models for p in model.parameters() if p.requires_grad))
        some = self._parameters[:: 1 + len(self._parameters) // TENSORS]
        self._watched = [p for p in some if type(p) is nn.Parameter and p.numel() and p.layout == torch.strided]
        self._passed, self._stepped, self._walk = passed, stepped, walk
        self._left: list[tuple[int, Tensor]] = []
        self._handle: RemovableHandle | None = None
        self._hand: Hand | None = None

    def open(self, ear: Ear) -> None:
        """Watch from here on."""
        if self._watched:
            self._handle = register_module_forward_pre_hook(self._enters)
            ear.hand = self

    def close(self, but: Optimizer | None = None) -> None:
        """Watch no more: all is over, or an optimizer steps (``but`` the hand's own)."""
        if but is None:
            self.settle()
        if self._handle is not None and (but is None or but is not self._hand):
            self._handle.remove()
            self._handle, self._left, self._watched, self._parameters = None, [], [], []

    def settle(self) -> None:
        """Where the weights are no longer what the last backward pass left, a step has been made."""
        if not self._left:
            return
        with Quiet():
            changed = self._changed()
        if changed:
            self._left = []
            self._hand = self._hand or Hand(self._parameters)
            self._stepped(self._hand, (), {})

    def asks_for(self, inputs: Sequence[Any]) -> bool:
        """Whether any of these is a parameter that is watched."""
        mine = set(map(id, self._parameters))
        return self._handle is not None and any(id(one) in mine for one in inputs)

    def backward_over(self, gradients: Mapping[int, Tensor] | None = None) -> None:
        """A backward pass has run; ``gradients`` of parameters, by identity, that it gave out and did not put away.

        These stand where gradients are looked for while the pass is told, and are gone after it.
        """
        if self._handle is None:
            return
        with Quiet():
            self._left = [(p._version, _entries(p)) for p in self._watched]
        if self._hand is None:
            return
        lent = [p for p in self._parameters if gradients and p.grad is None and _fits(p, gradients.get(id(p)))]
        try:
            for parameter in lent:
                parameter.grad = (gradients or {})[id(parameter)].detach()
            self._passed(self._hand)
        finally:
            for parameter in lent:
                parameter.grad = None

    def _enters(self, module: nn.Module, arguments: Any) -> None:
        if not self._left or id(module) not in self._models or is_recomputation():
            return
        before = self._walk()
        armed = before.armed
        self.settle()
        after = self._walk()
        if after.armed and not (armed and after is before):  # torch has listed the hooks of this call already
            after.entered(module, arguments)

    def _changed(self) -> bool:
        if any(p._version != version for p, (version, _) in zip(self._watched, self._left, strict=True)):
            return True
        return any(not torch.equal(_entries(p), values) for p, (_, values) in zip(self._watched, self._left, strict=True))


def _fits(parameter: nn.Parameter, gradient: Tensor | None) -> bool:
    return gradient is not None and gradient.shape == parameter.shape and gradient.dtype == parameter.dtype


def _entries(parameter: nn.Parameter) -> Tensor:
    flat = parameter.detach().reshape(-1)
    return flat[:: 1 + len(flat) // ENTRIES].clone()
