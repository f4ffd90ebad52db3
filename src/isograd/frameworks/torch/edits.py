"""What an ``Edit`` does to a copy of a model and of its optimizer, in place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isograd.errors import ModelError, did_you_mean
from isograd.frameworks.torch.copying import Several
from isograd.frameworks.torch.operations import of_module
from isograd.frameworks.torch.places import modules_of
from isograd.frameworks.torch.state import same_random_streams
from isograd.records.edit import Edit

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
"""The modules of the activations that an edit can put in, by the names of their functions."""

CONSTANTS = {"momentum": "momentum", "beta1": "betas", "beta2": "betas", "eps": "eps", "weight_decay": "weight_decay"}
"""The optimizer's name for each constant that an edit sets."""

USUAL: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "nesterov": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01),
    "nadam": lambda parameters: torch.optim.NAdam(parameters, lr=1e-3),
    "radam": lambda parameters: torch.optim.RAdam(parameters, lr=1e-3),
    "adamax": lambda parameters: torch.optim.Adamax(parameters, lr=2e-3),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=1e-3),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=1e-2),
}
"""Optimizers with their usual constants."""


def number(edit: Edit) -> float:
    """The value of an edit that takes a number; raises ``ModelError`` for another."""
    if edit.value is None or isinstance(edit.value, str):
        raise ModelError(f"{edit.kind} takes a number, not {edit.value!r}")
    return float(edit.value)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group, in place where it is a tensor."""
    for group in optimizer.param_groups:
        set_rate(group, rate)


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Set the learning rate of one parameter group."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def set_constant(optimizer: Optimizer, edit: Edit) -> None:
    """Set one of the ``CONSTANTS`` in every parameter group; raises ``ModelError`` where the optimizer has no such."""
    name, value = CONSTANTS[edit.kind], number(edit)
    if any(name not in group for group in optimizer.param_groups):
        raise ModelError(f"{type(optimizer).__name__} has no {edit.kind}")
    for group in optimizer.param_groups:
        if name == "betas":
            first, second = group[name]
            group[name] = (value, second) if edit.kind == "beta1" else (first, value)
        else:
            group[name] = value


def another_optimizer(models: Sequence[nn.Module], name: str, present: Optimizer | None = None) -> Optimizer:
    """An optimizer of ``USUAL`` for every parameter that asks for a gradient; of several, one in the place of each."""
    if name not in USUAL:
        raise ModelError(f"no optimizer is called {name!r}", remedy=did_you_mean(name, USUAL) or ", ".join(USUAL))
    if isinstance(present, Several):
        return Several([USUAL[name]([p for group in one.param_groups for p in group["params"]]) for one in present.members])
    return USUAL[name]([p for p in every_parameter(models) if p.requires_grad])


def unheld(models: Sequence[nn.Module], optimizer: Optimizer | None) -> set[tuple[str, str]]:
    """The parameters that ask for a gradient and that the optimizer does not hold, by path of the layer and name."""
    held = {id(p) for group in (optimizer.param_groups if optimizer is not None else ()) for p in group["params"]}
    return {
        (path, name)
        for path, module in modules_of(models)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.requires_grad and id(parameter) not in held
    }


def same_optimizer(
    models: Sequence[nn.Module], optimizer: Optimizer, left: Collection[tuple[str, str]] = frozenset()
) -> Optimizer:
    """The same kind and constants of its first group, for every parameter that asks for a gradient, without memory.

    ``left`` out are those that it did not hold before layers were exchanged (``unheld``): what it forgot it goes on forgetting,
    or a change of layers would put that right as well. Raises ``ModelError`` for several, of which nothing says which one new
    parameters belong to.
    """
    if isinstance(optimizer, Several):
        raise ModelError("several optimizers step this program, and the change has parameters that none of them holds yet")
    kind: Any = type(optimizer)
    known = inspect.signature(kind).parameters  # AdamW is an Adam whose groups hold more than it takes
    every = any(one.kind is one.VAR_KEYWORD for one in known.values())
    group = optimizer.param_groups[0]
    settings = {key: value for key, value in group.items() if key in optimizer.defaults and (every or key in known)}
    out = {
        id(p)
        for path, module in modules_of(models)
        for name, p in module.named_parameters(recurse=False)
        if (path, name) in left
    }
    made: Optimizer = kind([p for p in every_parameter(models) if p.requires_grad and id(p) not in out], **settings)
    return made


def give_parameters(models: Sequence[nn.Module], optimizer: Optimizer) -> None:
    """Add to the optimizer every parameter that asks for a gradient and that it does not hold.

    Raises ``ModelError`` where it holds all.
    """
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    missing = [p for p in every_parameter(models) if p.requires_grad and id(p) not in held]
    if not missing:
        raise ModelError("the optimizer holds every parameter that asks for a gradient")
    first = optimizer.param_groups[0]
    settings = {key: value for key, value in first.items() if key not in ("params", "param_names")}
    optimizer.add_param_group({**settings, "params": missing})


def unfreeze(models: Sequence[nn.Module]) -> None:
    """Let every parameter ask for a gradient; raises ``ModelError`` where all do."""
    frozen = [p for p in every_parameter(models) if not p.requires_grad and p.is_floating_point()]
    if not frozen:
        raise ModelError("no parameter is frozen")
    for parameter in frozen:
        parameter.requires_grad_(True)


def every_parameter(models: Sequence[nn.Module]) -> list[nn.Parameter]:
    """The parameters of the models, and of modules that they hold in plain lists and mappings, each once."""
    found: dict[int, nn.Parameter] = {}
    for model in models:
        for module in model.modules():
            for hidden in (module, *unregistered(module)):
                found.update((id(parameter), parameter) for parameter in hidden.parameters())
    return list(found.values())


def parameters_at(models: Sequence[nn.Module], where: str) -> list[nn.Parameter]:
    """The parameters at a path, of a module with all that is in it or one by its full name; all of them where it is ""."""
    if not where:
        return every_parameter(models)
    path = where.partition("@")[0]
    found = [p for here, module in modules_of(models) if here == path for p in module.parameters()]
    found += [
        p
        for here, module in modules_of(models)
        for name, p in module.named_parameters(recurse=False)
        if f"{here}.{name}".lstrip(".") == path
    ]
    if not found:
        raise ModelError("there is no layer or parameter of this name", where=where)
    return found


def unregistered(module: nn.Module) -> Iterator[nn.Module]:
    """Modules that it holds in plain lists and mappings."""
    for name, value in vars(module).items():
        if not name.startswith("_") and isinstance(value, list | tuple | dict):
            items = value.values() if isinstance(value, dict) else value
            yield from (item for item in items if isinstance(item, nn.Module))


def replace_activations(models: Sequence[nn.Module], edit: Edit, spared: frozenset[int] = frozenset()) -> bool:
    """Put another activation in the place of each activation module at ``edit.where``; of ``edit.before`` alone where given.

    Those whose ids are ``spared`` stay, unless they are named.

    Gives whether there was one. Raises ``ModelError`` for an unknown one.
    """
    name = str(edit.value)
    if name not in ACTIVATIONS:
        remedy = did_you_mean(name, ACTIVATIONS) or ", ".join(ACTIVATIONS)
        raise ModelError(f"no activation is called {edit.value!r}", remedy=remedy)
    new: dict[int, nn.Module] = {}  # what was shared stays shared
    taken_back = any(_gives_way(module, edit) for _, module in modules_of(models))
    for path, module in modules_of(models):
        for child, present in list(module._modules.items()):
            here = f"{path}.{child}".lstrip(".")
            chosen = edit.where.partition("@")[0] in ("", here) or id(present) in new
            if (
                present is not None
                and chosen
                and (edit.where or id(present) not in spared)
                and (_gives_way(present, edit) or not taken_back)
                and _is_activation(present, edit.before)
            ):
                module._modules[child] = new.setdefault(id(present), _instead(present, name))
    return bool(new)


def _gives_way(module: nn.Module, edit: Edit) -> bool:
    """Whether it was put in by the very edit that is taken back."""
    first = module.__dict__.get("replaced")
    return (
        first is not None
        and edit.before is not None
        and _is_activation(module, edit.before)
        and _is_activation(first, edit.value)
    )


def _instead(present: nn.Module, name: str) -> nn.Module:
    """Another activation, which knows what it replaced and gives way to that again."""
    first: nn.Module = present.__dict__.get("replaced", present)
    if _is_activation(first, name):
        return first
    made = ACTIVATIONS[name]().train(present.training)
    made.__dict__["replaced"] = first
    return made


def _is_activation(module: nn.Module, before: object) -> bool:
    operation, settings = of_module(module)
    return operation == "activation" and before in (None, dict(settings).get("function"))


def follow_statistics(models: Sequence[nn.Module], share: float) -> None:
    """Let running statistics take in this share of each batch; raises ``ModelError`` where no batch norm keeps any."""
    if not 0.0 < share <= 1.0:
        raise ModelError(f"the share of a new batch lies above 0 and at 1 at most, not at {share:g}")
    norms = [one for _, one in modules_of(models) if isinstance(one, nn.modules.batchnorm._NormBase)]
    following = [one for one in norms if one.running_var is not None]
    if not following:
        raise ModelError("no normalisation keeps running statistics")
    for one in following:
        one.momentum = share


def leave_gradients(models: Sequence[nn.Module]) -> None:
    """Take away what hooks of the program's own do to the gradients of its parameters."""
    for parameter in every_parameter(models):
        for name in ("_backward_hooks", "_post_accumulate_grad_hooks"):
            hooks = getattr(parameter, name, None)
            if hooks:
                hooks.clear()


def draw_again(models: Sequence[nn.Module], edit: Edit, generator: torch.Generator) -> None:
    """Draw the weights of linear, convolutional, recurrent and embedding layers at ``edit.where`` anew; biases become zero.

    A normalisation there begins as every rule takes for granted: its biases are zero and its scales one, unless all of them
    are zero, as where a branch is to begin at nothing.
    he: normal with variance 2 / fan_in; lecun: normal, 1 / fan_in; glorot: uniform, 2 / (fan_in + fan_out); orthogonal: rows
    or columns of norm 1; delta_orthogonal: the same at the middle of a kernel, zero around it. usual: every layer as torch
    draws it when it is made, its biases too.
    """
    if edit.value == "usual":
        _draw_as_made(models, edit.where.partition("@")[0], generator)
        return
    rule = _RULES.get(str(edit.value))
    if rule is None:
        raise ModelError(f"no initialisation is called {edit.value!r}; there are {', '.join(_RULES)}, usual")
    found = False
    for weight, fan_in in _weights(models, edit.where.partition("@")[0]):
        found = True
        with torch.no_grad():
            if weight.ndim < 2:
                weight.zero_()
                continue
            # on the host, so that every device gets the same numbers, and in a precision that can be orthogonalised
            drawn = torch.empty(weight.shape, dtype=torch.promote_types(weight.dtype, torch.float32))
            rule(drawn, fan_in, generator)
            weight.copy_(drawn)
    if not found:
        raise ModelError("there is no layer whose weights could be drawn again", where=edit.where or "the model")
    _begin_norms(models, edit.where.partition("@")[0])


def _begin_norms(models: Sequence[nn.Module], where: str) -> None:
    with torch.no_grad():
        for path, module in modules_of(models):
            if of_module(module)[0] == "norm" and where in ("", path):
                for name, parameter in module.named_parameters(recurse=False):
                    if name == "bias":
                        parameter.zero_()
                    elif bool(parameter.any()):
                        parameter.fill_(1.0)


def _draw_as_made(models: Sequence[nn.Module], where: str, generator: torch.Generator) -> None:
    with same_random_streams():
        torch.manual_seed(generator.initial_seed())
        kept = len(born_again(models, where))
    if kept == sum(1 for model in models for _ in model.parameters()):
        raise ModelError("there is no layer whose weights could be drawn again", where=where or "the model")


def born_again(models: Sequence[nn.Module], where: str = "") -> tuple[str, ...]:
    """Reset every module that knows how, from the present random stream; gives the parameters that nothing reset."""
    reset: set[int] = set()
    for _, module in ((path, one) for path, one in modules_of(models) if where in ("", path)):
        again = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
        if callable(again) and not inspect.signature(again).parameters:
            again()
            reset.update(id(parameter) for parameter in module.parameters())
    return tuple(name for model in models for name, parameter in model.named_parameters() if id(parameter) not in reset)


def _weights(models: Sequence[nn.Module], where: str) -> Iterator[tuple[Tensor, int]]:
    """Weights and biases with the fan_in of their layer."""
    for path, module in modules_of(models):
        operation, settings = of_module(module)
        if operation in ("linear", "conv", "recurrent", "embedding") and where in ("", path):
            for parameter in module.parameters():
                yield parameter, int(dict(settings).get("fan_in", parameter.shape[-1]))


Rule = Callable[[Tensor, int, torch.Generator], object]

_RULES: dict[str, Rule] = {
    "he": lambda weight, fan_in, generator: weight.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator),
    "lecun": lambda weight, fan_in, generator: weight.normal_(0.0, (1.0 / fan_in) ** 0.5, generator=generator),
    "glorot": lambda weight, _, generator: nn.init.xavier_uniform_(weight, generator=generator),
    "orthogonal": lambda weight, _, generator: nn.init.orthogonal_(weight, generator=generator),
    "delta_orthogonal": lambda weight, _, generator: _delta(weight, generator),
}


def _delta(weight: Tensor, generator: torch.Generator) -> None:
    """An orthogonal matrix at the middle of the kernel and zero around it (Xiao et al. 2018, arXiv:1806.05393, algorithm 1)."""
    if weight.ndim == 2:
        nn.init.orthogonal_(weight, generator=generator)
        return
    middle = weight.zero_()
    for size in weight.shape[2:]:
        middle = middle.select(2, size // 2)
    middle.copy_(nn.init.orthogonal_(torch.empty_like(middle), generator=generator))
