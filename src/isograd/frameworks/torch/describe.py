"""A torch model as an ``Anatomy``: operations in the order of execution, parameters, optimizer, loss."""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.fx
from torch import nn
from torch.nn.parameter import is_lazy

from isograd.errors import ModelError
from isograd.frameworks.torch.batches import inputs_of, outputs_of
from isograd.frameworks.torch.flow import Flow
from isograd.frameworks.torch.hooks import Quiet, Walk, is_leaf
from isograd.frameworks.torch.operations import loss_name, of_module
from isograd.frameworks.torch.places import line_of_call, modules_of, places_of
from isograd.frameworks.torch.state import untouched
from isograd.frameworks.torch.sums import moments_of_all
from isograd.records.anatomy import Anatomy, Node, Optimizer, Parameter, Settings
from isograd.records.moments import Moments

_UNSEEN = {
    **dict.fromkeys(("flatten", "view", "reshape", "squeeze", "unsqueeze", "contiguous", "permute", "transpose"), "reshape"),
    "dropout": "dropout",
    "add": "add",
}
"""What functions do that are read and not seen; of the others it is not known whether they bend a signal."""
_NAMES = {"lr": "learning_rate", "betas": "beta"}
_PEAKS = ("initial_lr", "max_lr")
_PLUMBING = frozenset({"params", "param_names", "foreach", "fused", "capturable", "differentiable", "initial_lr"})


def describe(model: nn.Module | Sequence[nn.Module], batch: Any = None, loss: Any = None, optimizer: Any = None) -> Anatomy:
    """What a model is; with a ``batch``, how its data flows, seen in one forward pass that leaves no trace.

    Without a batch the nodes are the modules in their order of registration. Raises ``ModelError`` for what cannot be
    described.

    >>> anatomy = describe(nn.Sequential(nn.Linear(2, 3), nn.Tanh()), batch=(torch.zeros(4, 2), None))
    >>> [(node.path, node.operation, node.inputs, node.shape) for node in anatomy.nodes]
    [('input', 'input', (), (2,)), ('0', 'linear', (0,), (3,)), ('1', 'activation', (1,), (3,))]
    """
    models = checked(model)
    nodes = _traced(models, batch) if batch is not None else registered(models)
    return assemble(models, nodes, loss_name(loss), [optimizer] if optimizer is not None else [], traced=batch is not None)


def without_a_batch(models: Sequence[nn.Module]) -> Anatomy:
    """A model as ``torch.fx`` reads its forward pass, on a copy, where there is no batch to see it on.

    Without flow where it cannot be read: where what it does depends on the data, a layer is called twice, or with several
    models.
    """
    nodes: list[Node] = []
    if len(models) == 1:
        with contextlib.suppress(Exception):  # whatever the person's code makes of values that are not there
            nodes = _read(copy.deepcopy(models[0]))
    whole = bool(nodes) and len({node.path for node in nodes}) == len(nodes)
    return assemble(models, nodes if whole else registered(models), None, [], traced=whole)


def _read(model: nn.Module) -> list[Node]:
    known = {node.path: node for node in registered((model,))}
    graph = torch.fx.symbolic_trace(model).graph
    places: dict[Any, int] = {}
    found: list[Node] = []
    for step in graph.nodes:
        if step.op in ("output", "get_attr"):
            continue
        inputs = tuple(places[one] for one in step.all_input_nodes if one in places)
        if step.op == "call_module":
            node = replace(known[str(step.target)], inputs=inputs)
        elif step.op == "placeholder":
            node = Node(step.name, "input", "input")
        else:
            name = step.target if isinstance(step.target, str) else getattr(step.target, "__name__", "")
            node = Node(f"{step.name}()", _UNSEEN.get(name, "unknown"), name, inputs)
        places[step] = len(found)
        found.append(node)
    return found


def at_birth(models: Sequence[nn.Module], optimizers: Sequence[Any]) -> Anatomy:
    """The models and their weights as they are now."""
    with Quiet():
        return assemble(models, (), None, optimizers, traced=False)


def as_seen(
    models: Sequence[nn.Module], flow: Sequence[Node], loss: str | None, optimizers: Sequence[Any], start: Anatomy
) -> Anatomy:
    """The models as their passes were seen, with the weights that they had at the ``start``."""
    known = {parameter.name: parameter.values for parameter in start.parameters}
    with Quiet():
        seen = assemble(models, flow or registered(models), loss, optimizers, traced=bool(flow), known=known)
    if optimizers or start.optimizer is None:
        return seen
    held = {parameter.name: parameter.in_optimizer for parameter in start.parameters}  # of a function that has returned
    parameters = tuple(replace(parameter, in_optimizer=held.get(parameter.name)) for parameter in seen.parameters)
    return replace(seen, optimizer=start.optimizer, parameters=parameters)


def checked(model: Any, *, training: bool = False) -> tuple[nn.Module, ...]:
    """One model or several, as a tuple; raises ``ModelError`` where one cannot be looked at (or, ``training``, not trained)."""
    models = tuple(model) if isinstance(model, tuple | list) and not isinstance(model, nn.Module) else (model,)
    for one in models:
        if not isinstance(one, nn.Module):
            met = f"{type(one).__name__}: {one!r:.60}"
            raise ModelError("the model is not a torch module", met=met, remedy="pass an nn.Module, or a tuple of them")
    parameters = [(name, parameter) for one in models for name, parameter in one.named_parameters()]
    lazy = [name for name, parameter in parameters if is_lazy(parameter)]
    if lazy:
        remedy = "run one batch through the model first: model(inputs)"
        raise ModelError("the model has lazy layers whose shape is not known yet", where=", ".join(lazy[:3]), remedy=remedy)
    devices = sorted({str(parameter.device) for _, parameter in parameters})
    if training and len(devices) > 1:
        first = [name for name, parameter in parameters if str(parameter.device) == devices[0]]
        way = f"model.to({devices[-1]!r}), or one watch for the part on each device"
        if "meta" in devices:
            way = "give what is on 'meta' its values, by load_state_dict(..., assign=True) or by building it elsewhere"
        raise ModelError(
            f"the model is on several devices: {', '.join(devices)}",
            where=f"{', '.join(first[:3])} {'is' if len(first) == 1 else 'are'} on {devices[0]}",
            remedy=f"{way}: a model is watched on one device",
        )
    meta = [name for name, parameter in parameters if parameter.device.type == "meta"]
    if meta:
        remedy = "model.to_empty(device=...) and initialise it, or build it outside of torch.device('meta')"
        raise ModelError(
            "the model is on the meta device: its weights have no values", where=", ".join(meta[:3]), remedy=remedy
        )
    if training and not any(parameter.requires_grad for _, parameter in parameters):
        what = "the model has no trainable parameter"
        met = f"{len(parameters)} parameters, all with requires_grad=False" if parameters else "no parameters at all"
        raise ModelError(what, met=met, remedy="set requires_grad_(True) on what is to be trained")
    return models


def assemble(
    models: Sequence[nn.Module],
    nodes: Sequence[Node],
    loss: str | None,
    optimizers: Sequence[Any],
    *,
    traced: bool,
    known: Mapping[str, Moments] | None = None,
) -> Anatomy:
    """The anatomy around nodes that were found: parameters, optimizer, device, precision.

    Parameters have the moments of their present values, but for those whose moments are ``known``.
    """
    places = places_of(models)
    held = {id(parameter) for one in optimizers for group in one.param_groups for parameter in group["params"]}
    known = known or {}
    fresh = [place for place in places if place.name not in known]
    taken = moments_of_all([place.parameter for place in fresh])
    values = {**known, **{place.name: of or Moments() for place, of in zip(fresh, taken, strict=True)}}
    parameters = tuple(
        Parameter(
            place.name,
            place.layer,
            tuple(place.parameter.shape),
            place.parameter.requires_grad,
            id(place.parameter) in held if optimizers else None,
            values[place.name],
        )
        for place in places
    )
    most = [place.parameter for place in places]
    dtype, device = _commonest(p.dtype for p in most).removeprefix("torch."), _commonest(p.device for p in most)
    optimizer = optimizer_facts(optimizers[0]) if optimizers else None
    return Anatomy("torch", tuple(nodes), parameters, optimizer, loss, dtype or "float32", device or "cpu", traced)


def optimizer_facts(optimizer: Any) -> Optimizer:
    """Kind and constants of an optimizer: those of its first parameter group, by the field's names.

    >>> layer = nn.Linear(1, 1)
    >>> dict(optimizer_facts(torch.optim.Adam(layer.parameters(), lr=0.1)).settings)["beta2"]
    0.999
    """
    name, group = type(optimizer).__name__, optimizer.param_groups[0]
    return Optimizer(name.lower(), _settings(group), line_of_call(name, "lr", group.get("initial_lr", group.get("lr"))))


def _settings(group: Mapping[str, Any]) -> Settings:
    facts: dict[str, float | int | bool | str] = {}
    for key, value in group.items():
        if key in _PLUMBING or (key == "maximize" and not value):
            continue
        name = _NAMES.get(key, key)
        several = value if isinstance(value, tuple | list) else None
        for position, number in enumerate(several or [value], start=1):
            number = float(number) if isinstance(number, torch.Tensor) and number.numel() == 1 else number
            if isinstance(number, bool | int | float | str):
                facts[f"{name}{position}" if several else name] = number
    peak = max((float(group[key]) for key in _PEAKS if isinstance(group.get(key), int | float)), default=0.0)
    if peak > float(facts.get("learning_rate", peak)):  # a scheduler wrote down what it warms up to
        facts["peak_rate"] = peak
    return tuple(facts.items())


def _commonest(values: Iterable[object]) -> str:
    counted = Counter(str(value) for value in values)
    return counted.most_common(1)[0][0] if counted else ""


class _Describing:
    """Eyes that only follow the flow; what fails is remembered and raised when the pass is over."""

    def __init__(self, models: Sequence[nn.Module], arguments: Any) -> None:
        self.flow = Flow(models)
        self.error: Exception | None = None
        self._arguments = arguments
        self.flow.begins((arguments,))

    def begins(self, path: str, arguments: Sequence[Any]) -> None: ...

    def ends(self, path: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None: ...

    def recurs(self, module: nn.RNNBase) -> None: ...

    def module(self, path: str, module: nn.Module, arguments: Any, output: Any) -> None:
        self.flow.module(path, module, arguments, output)

    def function(self, path: str, name: str, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None:
        self.flow.function(path, name, args, kwargs, output)

    def outside(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], output: Any, *, evaluation: bool) -> None: ...

    def returned(self, output: Any) -> None: ...

    def follows(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None: ...

    def answers(self, name: str, args: Sequence[Any], output: Any) -> None: ...

    def attends(self) -> bool:
        return False

    def doubts(self) -> bool:
        return False

    def spent(self, seconds: float) -> None: ...

    def failed(self, error: Exception) -> None:
        self.error = self.error or error


def _traced(models: Sequence[nn.Module], batch: Any) -> list[Node]:
    inputs = inputs_of(batch)
    eyes = _Describing(models, inputs)
    walk = Walk(models, eyes, always=True)
    with untouched(models), torch.enable_grad():
        walk.arm()
        try:
            outputs_of(models, inputs)
        finally:
            walk.disarm()
    if eyes.error is not None:
        raise eyes.error
    return eyes.flow.nodes


def registered(models: Sequence[nn.Module]) -> list[Node]:
    """The modules in their order of registration, as nodes without edges."""
    names = {id(place.parameter): place.name for place in places_of(models)}
    nodes = []
    for path, module in modules_of(models):
        if is_leaf(module) or not any(True for _ in module.children()):
            operation, settings = of_module(module)
            parameters = tuple(names[id(parameter)] for parameter in module.parameters() if id(parameter) in names)
            nodes.append(Node(path, operation, type(module).__name__, settings=settings, parameters=parameters))
    return nodes
