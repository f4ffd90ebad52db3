"""Copy models with their optimizer and loss, so that the copies belong together as the originals do."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from isograd.errors import ModelError
from isograd.frameworks.torch.batches import exhausted, first_line
from isograd.frameworks.torch.places import unwrapped
from isograd.frameworks.torch.rebinding import reaches, rebind_modules, rebound


def together(models: tuple[nn.Module, ...], loss: Any, optimizer: Optimizer | None) -> tuple[tuple[nn.Module, ...], Any, Any]:
    """Deep copies of models, loss and optimizer that share parameters as the originals do; compiled models become plain.

    A function that holds a model from outside, such as a loss with a penalty on its weights, holds the copy.

    Raises ``ModelError`` where something in them cannot be copied.
    """
    memo: dict[int, Any] = {}
    try:
        copies = tuple(copy.deepcopy(unwrapped(model), memo) for model in models)
        rebind_modules(copies, memo)
        _gradient_hooks(models, memo)
        own_loss = copy.deepcopy(loss, memo) if isinstance(loss, nn.Module) else rebound(loss, memo)
        return copies, own_loss, _optimizer(optimizer, memo)
    except (MemoryError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        if exhausted(error):
            needed = sum(p.numel() * p.element_size() for model in models for p in model.parameters())
            raise ModelError(
                "the model is too large to be copied, and isograd tries nothing on the original",
                met=f"its parameters alone hold {needed / 1e9:.3g} GB; {first_line(error)}",
                remedy="isograd.check(model) tells what theory alone knows, and isograd.watch copies nothing",
            ) from error
        raise ModelError(
            "the model or its optimizer cannot be copied, and isograd tries nothing on the original",
            met=f"{type(error).__name__}: {first_line(error)}",
            remedy="keep no computed tensors, open files or locks as attributes of the module",
        ) from error


def _gradient_hooks(models: Sequence[nn.Module], memo: dict[int, Any]) -> None:
    """What the person's program does to gradients by hooks on its parameters, on the copies too: torch copies none of it.

    A hook that reaches an optimizer is left out: on a copy it would step the original.
    """
    for parameter in {id(p): p for model in models for p in unwrapped(model).parameters()}.values():
        twin = memo.get(id(parameter))
        if twin is None or twin is parameter or not twin.requires_grad:
            continue
        for hook in (parameter._backward_hooks or {}).values():
            if _movable(hook):
                twin.register_hook(rebound(hook, memo))
        for hook in (getattr(parameter, "_post_accumulate_grad_hooks", None) or {}).values():
            if _movable(hook):
                twin.register_post_accumulate_grad_hook(rebound(hook, memo))


def _step_hooks(optimizer: Optimizer, twin: Optimizer, memo: dict[int, Any]) -> None:
    """The same of what the person's program does before and behind each step."""
    for kind in ("pre", "post"):
        for hook in getattr(optimizer, f"_optimizer_step_{kind}_hooks", {}).values():
            if _movable(hook):
                getattr(twin, f"register_step_{kind}_hook")(rebound(hook, memo))


def _movable(hook: Any) -> bool:
    """Whether a hook is the person's, and not one by which isograd listens, and may work on a copy."""
    return str(getattr(hook, "__module__", "")).partition(".")[0] != "isograd" and not reaches(hook, Optimizer)


def without_memory(optimizer: Optimizer) -> Optimizer:
    """The same optimizer with its state cleared: settings stay, momenta and step counts go."""
    for one in (optimizer, *members_of(optimizer)):
        one.state = defaultdict(dict)
    return optimizer


class Several(Optimizer):
    """Optimizers of one program that step one after the other, as one: its groups are theirs."""

    def __init__(self, members: Sequence[Optimizer]) -> None:
        held = {id(p): p for one in members for group in one.param_groups for p in group["params"]}
        super().__init__(list(held.values()), {})
        self.members = list(members)
        self.param_groups = [group for one in members for group in one.param_groups]

    def step(self, closure: Any = None) -> Any:
        """Step with each."""
        for member in self.members:
            if isinstance(member, torch.optim.LBFGS):
                raise ModelError(
                    "LBFGS computes the loss again in its step, and here it is one of several optimizers",
                    remedy="step=, a function of (model, optimizers, batch) that makes one step with each",
                )
            member.step()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Give parameters to the first of them."""
        members = getattr(self, "members", None)
        if not members:
            super().add_param_group(param_group)
            return
        members[0].add_param_group(param_group)
        self.param_groups.append(members[0].param_groups[-1])


def members_of(optimizer: Optimizer) -> list[Optimizer]:
    """The optimizers that step: those that are several as one, or the one."""
    return list(optimizer.members) if isinstance(optimizer, Several) else [optimizer]


def as_one(optimizer: Any) -> Optimizer:
    """One optimizer, or a list of them as one. Raises ``ModelError`` for anything else."""
    given = list(optimizer) if isinstance(optimizer, list | tuple) else [optimizer]
    wrong = [type(one).__name__ for one in given if not isinstance(one, Optimizer)]
    if wrong or not given:
        met = wrong[0] if wrong else "an empty list"
        raise ModelError("the optimizer is not a torch optimizer", met=met, remedy="pass torch.optim.SGD(...) or the like")
    return given[0] if given[0] is optimizer else Several(given)


def _optimizer(optimizer: Optimizer | None, memo: dict[int, Any]) -> Optimizer | None:
    if optimizer is None:
        return None
    if isinstance(optimizer, Several):
        return Several([twin for one in optimizer.members if (twin := _optimizer(one, memo)) is not None])
    twin = copy.deepcopy(optimizer, memo)
    _step_hooks(optimizer, twin, memo)
    for name, value in vars(optimizer).items():
        # What torch leaves out of a copy: its hooks (of which those of steps were copied above), the wrapper that a scheduler
        # put around step, and an optimizer's own attributes (LBFGS keeps its list of parameters in one): these are wanted.
        if name not in vars(twin) and name != "step" and "hook" not in name:
            setattr(twin, name, copy.deepcopy(value, memo))
    return twin
