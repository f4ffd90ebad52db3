"""The state in which a training began: copies on the host, bounded, from which its program can be replayed."""

from __future__ import annotations

import copy
import dataclasses
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from isograd.errors import RequestError
from isograd.frameworks.torch.copying import Several, as_one, members_of, together, without_memory
from isograd.frameworks.torch.describe import checked
from isograd.frameworks.torch.handed import batches_of
from isograd.frameworks.torch.heard import loss_as_heard
from isograd.frameworks.torch.patient import TorchPatient
from isograd.frameworks.torch.places import unwrapped
from isograd.frameworks.torch.stepping import Own, check_step, on_copies
from isograd.ports import Start
from isograd.records.batch import InputSample, LossSample
from isograd.records.loop import Loop

MOST_BYTES = 2 << 30
"""Largest state that is kept: a model beyond is not copied, and says so when it is asked for."""
_Recipe = tuple[type[Optimizer], list[list[tuple[int, str]]]]
"""An optimizer without its parameters: its class and, for each group, the model and the name of each of them."""


class TorchStart(Start):
    """Weights, buffers, what may move and the optimizers' settings, as they are when ``keep`` is called.

    Of the person's own objects it holds weak references alone: nothing of theirs lives longer because of it. The copies are on
    the host, whatever device the model is on.
    """

    def __init__(self, models: Any, optimizers: Sequence[Optimizer]) -> None:
        self._models = [weakref.ref(model) for model in checked(models)]
        self._optimizers = [weakref.ref(optimizer) for optimizer in optimizers]
        self._state: list[dict[str, Tensor]] = []
        self._moving: list[dict[str, bool]] = []
        self._groups: list[list[dict[str, Any]]] = []
        self._recipes: list[_Recipe] = []
        self._meeting: RemovableHandle | None = None
        self._strange = weakref.WeakSet[Optimizer]()
        self.bytes = 0
        self._why_not = "nothing was kept of the start of this run"

    def keep(self) -> None:
        """Copy the present state, unless it is larger than ``MOST_BYTES`` or spread over several machines.

        Whatever goes wrong here is told where the start is asked for, and not in the person's loop.
        """
        try:
            self._keep()
        except Exception as error:  # noqa: BLE001 - a training must not end because of what we would like to keep
            self._state, self._why_not = [], f"the start of this run could not be kept: {type(error).__name__}: {error}"

    def meet(self) -> None:
        """Until ``let_go``: where no optimizer was given, know those that step the models, as they are at their first step."""
        if self._state and not self._optimizers:
            self._meeting = register_optimizer_step_pre_hook(self._met)

    def let_go(self) -> None:
        """Meet no more."""
        if self._meeting is not None:
            self._meeting.remove()
            self._meeting = None

    def _met(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if optimizer in self._strange or any(reference() is optimizer for reference in self._optimizers):
            return
        alive = [unwrapped(model) for reference in self._models if (model := reference()) is not None]
        ours = {id(parameter) for model in alive for parameter in model.parameters()}
        if not any(id(parameter) in ours for group in optimizer.param_groups for parameter in group["params"]):
            self._strange.add(optimizer)
            return
        try:
            groups, recipe = _settings(optimizer), _recipe(optimizer, alive)
        except Exception:  # noqa: BLE001 - an error of ours stays out of the person's loop
            self._strange.add(optimizer)
            return
        self._optimizers.append(weakref.ref(optimizer))
        self._groups.append(groups)
        self._recipes.append(recipe)

    def _keep(self) -> None:
        models = [reference() for reference in self._models]
        alive = [unwrapped(model) for model in models if model is not None]
        state = [_state_of(model) for model in alive]
        if any(hasattr(tensor, "_local_tensor") for one in state for tensor in one.values()):
            self._why_not = "the model is sharded: no process holds the whole of its start"
            return
        size = sum(tensor.numel() * tensor.element_size() for one in state for tensor in one.values())
        if size > MOST_BYTES:
            self._why_not = (
                f"the model is too large to copy: its state of {size / 2**30:.1f} GiB at the start was not kept "
                f"(at most {MOST_BYTES / 2**30:.0f} GiB is)"
            )
            return
        self.bytes = size
        self._state = [{name: tensor.detach().to("cpu", copy=True) for name, tensor in one.items()} for one in state]
        self._moving = [{name: p.requires_grad for name, p in model.named_parameters()} for model in alive]
        stepping = [one for reference in self._optimizers if (one := reference()) is not None]
        self._groups = [_settings(one) for one in stepping]
        self._recipes = [_recipe(one, alive) for one in stepping]

    def batches(self, given: Any, loss: Any, inputs: Sequence[InputSample] = (), compared: LossSample | None = None) -> Any:
        """Batches as people hand them over, in the form that the program was seen to use; see ``handed.batches_of``."""
        alive = [model for reference in self._models if (model := reference()) is not None]
        return batches_of(given, alive, loss, inputs, compared)

    def loss_as_heard(self, sample: LossSample) -> Any:
        """The loss that a sample was taken of; see ``heard.loss_as_heard``."""
        return loss_as_heard(sample)

    def patient(
        self,
        batches: Sequence[Any],
        loss: Any,
        loop: Loop,
        *,
        optimizer: Any = None,
        step: Own | None = None,
        score: Callable[[Any], float] | None = None,
        now: bool = False,
    ) -> TorchPatient:
        """The program as it was at the start, or with the weights that it has ``now``, on copies, with the habits of its loop.

        Raises ``RequestError`` where the start was not kept, a model is gone, or an optimizer that is none of torch's, where
        several optimizers belong to several models, and where ``step`` works on the original model; ``ModelError`` where
        something cannot be copied.
        """
        if not self._state:
            raise RequestError(
                self._why_not, remedy="explain a smaller copy of the program; watch.report() says without it what is wrong"
            )
        models = tuple(model for reference in self._models if (model := reference()) is not None)
        if len(models) < len(self._models):
            raise RequestError("the watched model is gone", remedy="call explain while the model still exists")
        if step is not None:
            check_step(step, models)
        chosen = self._optimizer(optimizer, models, stepping=step is not None)
        copies, own_loss, twin = together(models, loss, chosen)
        assert twin is not None
        for model, state, moving in () if now else zip(copies, self._state, self._moving, strict=True):
            _restore(model, state, moving)
        for group, settings in zip(twin.param_groups, self._settings_of(chosen), strict=False):
            group.update(copy.deepcopy(settings))
        made = TorchPatient(copies, batches[0] if batches else None, own_loss, without_memory(twin), loop)
        own = None if step is None else on_copies(step, self._models)
        return dataclasses.replace(made, known=tuple(batches), step=own, score=score)

    def _optimizer(self, given: Any, models: Sequence[nn.Module], *, stepping: bool) -> Optimizer:
        alive = [one for reference in self._optimizers if (one := reference()) is not None]
        if not alive:  # a function that trains has returned: one of torch's own is made again from its settings
            made = [_made(*each, models) for each in zip(self._recipes, self._groups, strict=True)]
            alive = [one for one in made if one is not None] if all(made) else []
        if given is not None:
            alive = members_of(as_one(given))
        if len(alive) > 1 and not stepping and not (len(self._models) == 1 and all(_is_plain(one) for one in alive)):
            raise RequestError(
                "this program has several models and optimizers, and a replay follows one loss",
                remedy="step=, a function of (models, optimizers, batch) that makes one step with each",
            )
        if not alive:
            raise RequestError(
                "there is no optimizer to replay with",
                remedy="isograd.watch(model, optimizer), or watch.explain(..., optimizer=optimizer), while it exists",
            )
        return as_one(alive[0] if len(alive) == 1 else alive)

    def _settings_of(self, optimizer: Optimizer) -> list[dict[str, Any]]:
        alive = [one for reference in self._optimizers if (one := reference()) is not None]
        if isinstance(optimizer, Several):
            return [settings for one in optimizer.members for settings in self._settings_of(one)]
        place = next((place for place, one in enumerate(alive) if one is optimizer), None)
        return self._groups[place] if place is not None and place < len(self._groups) else []


def _recipe(optimizer: Optimizer, models: Sequence[nn.Module]) -> _Recipe:
    """The class, and where the parameters of each group are found: which model, and by what name ("" for one of no model)."""
    known = {id(p): (place, name) for place, model in enumerate(models) for name, p in model.named_parameters()}
    return type(optimizer), [[known.get(id(p), (0, "")) for p in group["params"]] for group in optimizer.param_groups]


def _made(recipe: _Recipe, settings: Sequence[dict[str, Any]], models: Sequence[nn.Module]) -> Optimizer | None:
    """An optimizer of torch's own as it was at the start; nothing where it cannot be made, or held what no model holds."""
    kind: Any
    kind, places = recipe
    held = [dict(unwrapped(model).named_parameters()) for model in models]
    if kind.__module__.split(".")[:2] != ["torch", "optim"] or any(n not in held[k] for group in places for k, n in group):
        return None
    groups = [
        {"params": [held[k][name] for k, name in group], **copy.deepcopy(one)}
        for group, one in zip(places, settings, strict=True)
    ]
    try:
        optimizer: Optimizer = kind(groups)
    except (TypeError, ValueError):  # it asks for what its groups do not hold
        return None
    return optimizer


def _is_plain(optimizer: Any) -> bool:
    """Whether one call makes its step: it asks for no loss again."""
    return isinstance(optimizer, Optimizer) and not isinstance(optimizer, torch.optim.LBFGS)


def _state_of(model: nn.Module) -> dict[str, Tensor]:
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor for name, tensor in named if tensor.device.type != "meta"}


def _restore(model: nn.Module, state: dict[str, Tensor], moving: dict[str, bool]) -> None:
    """Put the kept values back by name; what is new since, or of another shape, stays as it is now."""
    with torch.no_grad():
        for name, tensor in _state_of(model).items():
            kept = state.get(name)
            if kept is not None and kept.shape == tensor.shape:
                tensor.copy_(kept)
    for name, parameter in model.named_parameters():
        if name in moving:
            parameter.requires_grad_(moving[name])


def _settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    groups = [
        {key: value for key, value in group.items() if key not in ("params", "param_names")} for group in optimizer.param_groups
    ]
    return [{key: float(v) if isinstance(v, Tensor) and v.numel() == 1 else v for key, v in group.items()} for group in groups]
