"""``module:function`` as an argument: import it, call it, and check what it makes."""

from __future__ import annotations

import functools
import importlib
import inspect
import random
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from isograd.cli import show
from isograd.doors import part
from isograd.errors import IsogradError, RequestError


def function_of(place: str) -> Callable[..., Any]:
    """The function that ``module:function`` names. Raises ``RequestError`` where there is none."""
    module, _, name = place.partition(":")
    sys.path.insert(0, "")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RequestError(f"{place}: {error}", remedy="name a project folder, or module:function") from error
    return function


def called(place: str) -> Any:
    """What ``module:function`` gives: a model, or (model, batch, loss, optimizer) as ``isograd.check`` takes them."""
    return function_of(place)()


def made_by(place: str) -> dict[str, Any]:
    """What a program is made of, by the names that ``api.name_cause`` takes.

    The function gives (model, batches, loss, optimizer), or a mapping of these and held_out, step, score, steps. One that takes
    ``seed`` is called with two: models that are one object, or have the same weights, are told. Raises ``RequestError``.
    """
    function = function_of(place)
    takes_seed = "seed" in inspect.signature(function).parameters
    given = _as_factories(_called(function, 0))
    if isinstance(given, dict) and "build" in given:
        return _begun(_factories(place, given))
    made = _named(place, given)
    if takes_seed:
        _differ(place, made["model"], _named(place, function(seed=1))["model"])
    return made


def factories_by(place: str, validation: str | None = None) -> dict[str, Any]:
    """A program that can begin again, by the names that ``api.cure`` takes; ``validation``: a module:function of batches.

    The function gives a mapping with ``build``, ``batches``, ``loss`` or ``step``, ``optimizer`` (of the parameters), and what
    else ``isograd.cure`` takes; or four of them in the order in which it takes them; or (model, batches, loss, optimizer), and
    is then itself the factory: it is called again for each trial, with ``seed`` where it takes one. Raises ``RequestError``.
    """
    function = function_of(place)
    made = _as_factories(_called(function, 0))
    if isinstance(made, dict) and "build" in made:
        found = _factories(place, made)
    else:
        found = _again(place, function, _named(place, made))
    if validation is not None:
        found["validation"] = _called(function_of(validation), 0)
    return found


def _as_factories(made: Any) -> Any:
    """Factories in the order in which ``isograd.cure`` takes them, by their names; all else as it is.

    >>> sorted(_as_factories((dict, [], None, list))), _as_factories((dict(), [], None, list))[1:3]
    (['batches', 'build', 'loss', 'optimizer'], ([], None))
    """
    if not isinstance(made, tuple) or len(made) != 4 or not (_makes(made[0]) and _makes(made[3])):
        return made
    return dict(zip(("build", "batches", "loss", "optimizer"), made, strict=True))


def _makes(one: Any) -> bool:
    """Whether it is a function or a class, and no model or optimizer."""
    return callable(one) and (isinstance(one, type) or not (hasattr(one, "parameters") or hasattr(one, "param_groups")))


def _factories(place: str, made: dict[str, Any]) -> dict[str, Any]:
    """A mapping with ``build`` as ``api.cure`` takes it. Raises ``RequestError`` for names that are not known."""
    known = ("build", "batches", "loss", "optimizer", "validation", "step", "score", "steps")
    odd = sorted(set(map(str, made)) - set(known))
    if odd or "batches" not in made:
        met = f"asked for: {', '.join(known)}"
        raise RequestError(f"{place} gives {odd[0]!r}, which is not asked for" if odd else f"{place} gives no batches", met=met)
    return dict(made)


def _begun(factories: dict[str, Any]) -> dict[str, Any]:
    """Factories called once: the program that they make, by the names that ``api.name_cause`` takes."""
    build, optimizer, batches = (factories.get(name) for name in ("build", "optimizer", "batches"))
    if not callable(build) or not callable(optimizer):
        raise RequestError("build and optimizer are functions: of nothing, and of the parameters")
    births = part("torch", "births").TorchBirths(build, None, optimizer)
    _told_of(births)
    with births.seeded(0):  # asked again, it is the same program
        model = build()
    models = model if isinstance(model, tuple | list) else (model,)
    taken = batches(0) if callable(batches) and not isinstance(batches, Iterable) else batches
    rest = {name: factories[name] for name in ("loss", "step", "score", "steps") if name in factories}
    made = optimizer(parameter for one in models for parameter in one.parameters())
    return rest | {"model": model, "batches": taken, "optimizer": made, "held_out": factories.get("validation")}


def _told_of(births: Any) -> None:
    """Refuse a factory that gives one model twice, and say what its weights come from where that is no seed of ours."""
    seeds, _, remarks = births.check()
    if not seeds:
        show.tell("build gives the same weights whatever the seed: what is found holds for these weights")
    elif any("no seed reaches" in one for one in remarks):
        show.tell("build draws from a source that no seed reaches: asked again, the answer is for other weights")


def _called(function: Callable[..., Any], seed: int) -> Any:
    """What the person's function gives; raises ``RequestError`` with its line where it raises."""
    try:
        return function(seed=seed) if "seed" in inspect.signature(function).parameters else function()
    except IsogradError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = (str(error).splitlines() or [""])[0]
        raise RequestError(
            f"{getattr(function, '__name__', 'the function')} raises",
            where=f"{last.filename}, line {last.lineno}",
            met=f"{type(error).__name__}: {said}",
        ) from error


def _again(place: str, function: Callable[..., Any], first: dict[str, Any]) -> dict[str, Any]:
    """Factories of a function that gives a model with its optimizer: the two of one call belong together."""
    last: list[dict[str, Any]] = []

    @functools.wraps(function)
    def build() -> Any:
        last[:] = [_named(place, _called(function, random.randrange(2**31)))]
        return last[0]["model"]

    @functools.wraps(function)  # both stand where the function does
    def optimizer(parameters: Any) -> Any:
        wanted, made = {id(one) for one in parameters}, last[0].get("optimizer")
        several = made if isinstance(made, tuple | list) else [made]
        held = [p for one in several for group in getattr(one, "param_groups", ()) for p in group["params"]]
        if made is not None and not any(id(one) in wanted for one in held):
            raise RequestError(f"the optimizer that {place} gives does not hold parameters of its model")
        return made

    if first.get("optimizer") is None:
        raise RequestError(f"{place} gives no optimizer", remedy="return model, batches, loss, optimizer")
    names = {"held_out": "validation", "batches": "batches", "loss": "loss", "step": "step", "score": "score", "steps": "steps"}
    given = {names[key]: value for key, value in first.items() if key in names}
    return given | {"build": build, "optimizer": optimizer}


def _named(place: str, made: Any) -> dict[str, Any]:
    names = ("model", "batches", "loss", "optimizer")
    if isinstance(made, tuple) and 2 <= len(made) <= len(names):
        if len(made) == len(names) and _makes(made[-1]):
            raise RequestError(
                f"{place} gives a model, and a function that makes its optimizer",
                remedy="both made: return model, batches, loss, optimizer(model.parameters()); or both as functions",
            )
        return dict(zip(names, made, strict=False))
    known = (*names, "held_out", "step", "score", "steps")
    if isinstance(made, dict) and {"model", "batches"} <= set(made):
        odd = sorted(set(map(str, made)) - set(known))
        if not odd:
            return dict(made)
        raise RequestError(f"{place} gives {odd[0]!r}, which is not asked for", met=f"asked for: {', '.join(known)}")
    raise RequestError(
        f"{place} does not give a program",
        met=type(made).__name__,
        remedy="return model, batches, loss, optimizer (or a mapping with these names)",
    )


def _differ(place: str, one: Any, other: Any) -> None:
    if one is other:
        raise RequestError(f"{place} returns the same model object twice", remedy="build the model inside of the function")
    pairs = list(zip(one.parameters(), other.parameters(), strict=False))
    if pairs and all(first is second for first, second in pairs):
        raise RequestError(f"{place} returns models that share their weights", remedy="build the layers inside of the function")
    if pairs and all(bool((first == second).all()) for first, second in pairs):
        raise RequestError(f"{place} ignores its seed: two seeds gave the same weights", remedy="torch.manual_seed(seed) first")
