"""Let functions that hold a model from outside (a penalty in a loss, a forward put onto it) hold its copy instead."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from isograd.frameworks.torch.codes import names, theirs

MOST = 4096
"""Entries of a list that is looked through: parameters are fewer, examples may be many more."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def rebound(one: Any, copies: Mapping[int, Any]) -> Any:
    """The same function, or object that is called, with copies where it held originals; itself where it held none.

    ``copies`` are by the identity of the original. Looked at are closures, the globals that a function names, partials, bound
    methods and attributes of plain objects, and lists, tuples and mappings of parameters in them.

    >>> model, twin = nn.Linear(1, 1), nn.Linear(1, 1)
    >>> penalty = lambda: model.weight
    >>> rebound(penalty, {id(model): twin})() is twin.weight, rebound(penalty, {}) is penalty
    (True, True)
    """
    return _of(one, copies, {})


def rebind_modules(models: tuple[nn.Module, ...], copies: Mapping[int, Any]) -> None:
    """Let functions that were put onto copied modules, hooks among them, hold the copies."""
    for module in {id(part): part for model in models for part in model.modules()}.values():
        for name, value in list(vars(module).items()):
            if isinstance(value, FunctionType):
                object.__setattr__(module, name, rebound(value, copies))
        for hooks in (getattr(module, name, {}) for name in _HOOKS):
            for key, hook in list(hooks.items()):
                hooks[key] = rebound(hook, copies)


def _of(one: Any, copies: Mapping[int, Any], known: dict[int, Any]) -> Any:
    if id(one) in known:
        return known[id(one)]
    known[id(one)] = one  # what comes back to itself stays as it is
    if isinstance(one, nn.Module | Tensor):
        found = copies.get(id(one), one)
    elif isinstance(one, FunctionType):
        found = _function(one, copies, known) if theirs(one) else one
    elif isinstance(one, MethodType):
        holder = _of(one.__self__, copies, known)
        found = one if holder is one.__self__ else MethodType(one.__func__, holder)
    elif isinstance(one, functools.partial):
        parts = _all([one.func, *one.args, *one.keywords.values()], copies, known)
        count = 1 + len(one.args)
        found = (
            one
            if parts is None
            else functools.partial(parts[0], *parts[1:count], **dict(zip(one.keywords, parts[count:], strict=True)))
        )
    elif type(one) in (list, tuple) and len(one) <= MOST:
        parts = _all(list(one), copies, known)
        found = one if parts is None else type(one)(parts)
    elif type(one) is dict and len(one) <= MOST:
        parts = _all(list(one.values()), copies, known)
        found = one if parts is None else dict(zip(one, parts, strict=True))
    else:
        found = _object(one, copies, known)
    known[id(one)] = found
    return found


def _all(values: list[Any], copies: Mapping[int, Any], known: dict[int, Any]) -> list[Any] | None:
    """The values with copies for originals; None where nothing changes."""
    found = [_of(value, copies, known) for value in values]
    return found if any(new is not old for new, old in zip(found, values, strict=True)) else None


def _function(one: FunctionType, copies: Mapping[int, Any], known: dict[int, Any]) -> FunctionType:
    cells = [_content(cell) for cell in one.__closure__ or ()]
    held = _all(cells, copies, known)
    named = [name for name in sorted(names(one.__code__)) if name in one.__globals__]
    seen = _all([one.__globals__[name] for name in named], copies, known)
    given = _all(list(one.__defaults__ or ()), copies, known)
    if held is None and seen is None and given is None:
        return one
    space = one.__globals__ if seen is None else {**one.__globals__, **dict(zip(named, seen, strict=True))}
    whole = zip(one.__closure__ or (), cells, held or cells, strict=True)
    closure = tuple(cell if new is old else CellType(new) for cell, old, new in whole)  # what it counts in stays its own
    twin = FunctionType(one.__code__, space, one.__name__, one.__defaults__ if given is None else tuple(given), closure)
    twin.__kwdefaults__, twin.__qualname__, twin.__dict__ = one.__kwdefaults__, one.__qualname__, dict(vars(one))
    return twin


def _object(one: Any, copies: Mapping[int, Any], known: dict[int, Any]) -> Any:
    """A plain object of the person's own, copied one level deep where an attribute changes."""
    held = getattr(one, "__dict__", None)
    if not isinstance(held, dict) or isinstance(one, type) or not any(map(theirs, vars(type(one)).values())):
        return one
    found = _all(list(held.values()), copies, known)
    if found is None:
        return one
    twin = copy.copy(one)
    vars(twin).update(zip(held, found, strict=True))
    return twin


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def reaches(one: Any, kind: type, known: set[int] | None = None) -> bool:
    """Whether a function holds an object of a kind, where ``rebound`` looks.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    >>> reaches(lambda: optimizer.step(), torch.optim.Optimizer), reaches(lambda: None, torch.optim.Optimizer)
    (True, False)
    """
    known = set() if known is None else known
    if id(one) in known:
        return False
    known.add(id(one))
    if isinstance(one, kind):
        return True
    return any(reaches(part, kind, known) for part in _held(one))


def _held(one: Any) -> list[Any]:
    """What a function, a collection or an object of the person's own holds."""
    if isinstance(one, FunctionType):
        named = [one.__globals__[name] for name in names(one.__code__) if name in one.__globals__] if theirs(one) else []
        return [*map(_content, one.__closure__ or ()), *named, *(one.__defaults__ or ())]
    if isinstance(one, MethodType):
        return [one.__self__, one.__func__]
    if isinstance(one, functools.partial):
        return [one.func, *one.args, *one.keywords.values()]
    if type(one) in (list, tuple, dict):
        return list(one.values() if type(one) is dict else one) if len(one) <= MOST else []
    held = getattr(one, "__dict__", None)
    if not isinstance(held, dict) or isinstance(one, type | nn.Module | Tensor):
        return []
    return list(held.values()) if any(map(theirs, vars(type(one)).values())) else []
