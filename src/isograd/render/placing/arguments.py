"""Edits that change an argument: the optimizer and its constants, the batch size, the order, the share of dropped units."""

from __future__ import annotations

import re

import libcst as cst

from isograd.records.edit import Edit
from isograd.render.placing import Lines, UncertainError
from isograd.render.placing.source import Program, Splice, added, alike, argument, only, same, written

PLACES: dict[str, tuple[str, ...]] = {
    "SGD": ("params", "lr", "momentum", "dampening", "weight_decay"),
    "RMSprop": ("params", "lr", "alpha", "eps", "weight_decay", "momentum"),
    "Adagrad": ("params", "lr", "lr_decay", "weight_decay"),
    **dict.fromkeys(("Adam", "AdamW", "NAdam", "RAdam", "Adamax"), ("params", "lr", "betas", "eps", "weight_decay")),
}
"""The first arguments of torch's optimizers, in their order."""
DEFAULTS: dict[str, dict[str, float]] = {
    "SGD": {"lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0},
    "RMSprop": {"lr": 1e-2, "momentum": 0.0, "eps": 1e-8, "weight_decay": 0.0},
    "Adagrad": {"lr": 1e-2, "weight_decay": 0.0},
    "Adam": {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    "AdamW": {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 1e-2},
    "NAdam": {"lr": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    "RAdam": {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    "Adamax": {"lr": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
}
"""What an argument that is left out is."""
USUAL = {
    "sgd": ("SGD", "lr=0.05, momentum=0.9"),
    "nesterov": ("SGD", "lr=0.05, momentum=0.9, nesterov=True"),
    "adam": ("Adam", "lr=1e-3"),
    "adamw": ("AdamW", "lr=1e-3, weight_decay=0.01"),
    "nadam": ("NAdam", "lr=1e-3"),
    "radam": ("RAdam", "lr=1e-3"),
    "adamax": ("Adamax", "lr=2e-3"),
    "rmsprop": ("RMSprop", "lr=1e-3"),
    "adagrad": ("Adagrad", "lr=1e-2"),
}
"""Optimizers with their usual constants, as they are written."""


def usual_of(name: str) -> dict[str, float]:
    """The usual constants of an optimizer, by the kinds of the edits that change them.

    >>> usual_of("sgd")
    {'momentum': 0.9, 'weight_decay': 0.0, 'learning_rate': 0.05}
    """
    kind, constants = USUAL[name]
    written_down = dict(part.split("=") for part in constants.split(", "))
    found = DEFAULTS[kind] | {key: float(value) for key, value in written_down.items() if value != "True"}
    return {key: value for key, value in found.items() if key != "lr"} | {"learning_rate": found["lr"]}


_KEYWORDS = {"learning_rate": "lr"}
_OVERRIDES = ("torch.optim.lr_scheduler.OneCycleLR", "torch.optim.lr_scheduler.CyclicLR")


def optimizer_of(program: Program, line: Lines | None = None) -> cst.Call | None:
    """The one call that makes an optimizer of torch, once."""
    found = only(program.every(cst.Call, lambda call: _kind(program, call) != ""), program, line)
    if found is not None and program.inside(found, cst.CompFor, cst.ListComp, cst.DictComp, cst.GeneratorExp) is not None:
        raise UncertainError("several optimizers are made there")
    if found is not None and _is_loaded(program, found):
        raise UncertainError("a state is loaded into the optimizer, and brings the constants that it was saved with")
    return found


def _is_loaded(program: Program, call: cst.Call) -> bool:
    """Whether ``load_state_dict`` is called on the name that the optimizer is bound to."""
    bound = program.inside(call, cst.Assign)
    targets = bound.targets if isinstance(bound, cst.Assign) else ()
    names = {one.target.value for one in targets if isinstance(one.target, cst.Name)}
    return any(
        isinstance(one.func, cst.Attribute)
        and one.func.attr.value == "load_state_dict"
        and isinstance(one.func.value, cst.Name)
        and one.func.value.value in names
        for one in program.every(cst.Call)
    )


def _kind(program: Program, call: cst.Call) -> str:
    name = program.name(call.func)
    own = name.removeprefix("torch.optim.")
    return own if own != name and re.fullmatch(r"[A-Z]\w*", own) else ""


def constant(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """One of the optimizer's constants."""
    call = optimizer_of(program, line)
    if call is None:
        return None
    kind, name = _kind(program, call), _KEYWORDS.get(edit.kind, edit.kind)
    if kind not in PLACES or name not in DEFAULTS[kind]:
        raise UncertainError(f"{kind} is not known")
    if name == "lr" and program.every(cst.Call, lambda one: program.name(one.func) in _OVERRIDES):
        raise UncertainError("the schedule sets the learning rate itself")
    if b'"params"' in program.raw or b"'params'" in program.raw:
        raise UncertainError("parameter groups may have constants of their own")
    if name in ("beta1", "beta2"):
        return _beta(program, edit, call, DEFAULTS[kind])
    place = PLACES[kind].index(name) if name in PLACES[kind] else None
    given = argument(call, name, place)
    if given is not None:
        return [_number(program, edit, given.value)]
    if not same(DEFAULTS[kind][name], edit.before):
        raise UncertainError(f"{name} is not written here")
    return [added(program, call, f"{name}={written(edit.value)}")]


def _beta(program: Program, edit: Edit, call: cst.Call, defaults: dict[str, float]) -> list[Splice]:
    at = 0 if edit.kind == "beta1" else 1
    given = argument(call, "betas", 2)
    if given is None:
        if not same(defaults[edit.kind], edit.before):
            raise UncertainError("betas are not written here")
        pair = [written(defaults["beta1"]), written(defaults["beta2"])]
        pair[at] = written(edit.value)
        return [added(program, call, f"betas=({', '.join(pair)})")]
    if not isinstance(given.value, cst.Tuple) or len(given.value.elements) != 2:
        raise UncertainError("betas are not written here")
    return [_number(program, edit, given.value.elements[at].value)]


def _number(program: Program, edit: Edit, expression: cst.BaseExpression) -> Splice:
    """A literal that is the present value, exchanged; a name that is bound once to one and read once where it is bound."""
    if not same(program.number(expression), edit.before):
        raise UncertainError("the present value is not the one that was tried")
    if isinstance(expression, cst.Name):
        word = expression.value
        read = program.every(cst.Name, lambda one: one.value == word)
        bound = program.value_of(expression)
        if bound is not None and len(read) == 2:  # where it is bound, and here
            expression = bound
    return (*program.span(expression), written(edit.value))


def another(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """Another optimizer with its usual constants: the name, and the arguments after the parameters."""
    call = optimizer_of(program, line)
    if call is None:
        return None
    present = "sgd" if _kind(program, call) == "SGD" else "adaptive"
    if edit.before not in (present, _kind(program, call).lower()):
        raise UncertainError("the optimizer is not the one that was tried")
    if str(edit.value) not in USUAL or not call.args or call.args[0].star or call.args[0].keyword is not None:
        raise UncertainError("the call is of another form")
    name, constants = USUAL[str(edit.value)]
    start, end = program.span(call.args[0].value)[1], program.span(call)[1] - 1
    return [*renamed(program, [call.func], name), (start, end, f", {constants}")]


def renamed(program: Program, uses: list[cst.BaseExpression], name: str) -> list[Splice]:
    """Every use of a class or function under another name of the same module; its import as well where that names it.

    Raises ``UncertainError`` where the import serves other uses too.
    """
    splices: list[Splice] = []
    plain = []
    for use in uses:
        if isinstance(use, cst.Attribute):
            splices.append((*program.span(use.attr), name))
        elif isinstance(use, cst.Name):
            plain.append(use)
            splices.append((*program.span(use), name))
    if plain:
        old = plain[0].value
        every = program.every(cst.Name, lambda one: one.value == old)
        imported = [one for one in every if isinstance(program.parent(one), cst.ImportAlias)]
        known = [one for one in program.every(cst.ImportAlias) if isinstance(one.name, cst.Name) and one.name.value == name]
        alias = program.parent(imported[0]) if len(imported) == 1 else None
        if len(every) != len(plain) + 1 or known or not isinstance(alias, cst.ImportAlias) or alias.asname is not None:
            raise UncertainError("the import is used elsewhere")
        splices.append((*program.span(imported[0]), name))
    return splices


def _loader(program: Program, line: Lines | None) -> cst.Call | None:
    """The loader of the training batches: the only one, or the only one that says so by its name or by mixing them."""
    found = program.every(cst.Call, lambda call: program.name(call.func) == "torch.utils.data.DataLoader")
    if len(found) > 1:
        named = [call for call in found if "train" in _bound_to(program, call)]
        mixed = [call for call in found if _flag(call, "shuffle") == "True"]
        found = named if len(named) == 1 else mixed if not named and len(mixed) == 1 else found
    return only(found, program, line)


def _bound_to(program: Program, call: cst.Call) -> str:
    above = program.parent(call)
    targets = above.targets if isinstance(above, cst.Assign) else []
    return program.text(targets[0].target).lower() if len(targets) == 1 else ""


def _flag(call: cst.Call, name: str) -> str:
    found = argument(call, name)
    return found.value.value if found is not None and isinstance(found.value, cst.Name) else ""


def batch_size(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """The loader's batch size, or the one number that the program calls so."""
    call = _loader(program, line)
    if call is not None:
        given = argument(call, "batch_size", 1)
        if given is not None:
            return [_number(program, edit, given.value)]
        if not same(1.0, edit.before):
            raise UncertainError("the batch size is not written here")
        return [added(program, call, f"batch_size={written(edit.value)}")]
    named = program.every(
        cst.AssignTarget,
        lambda one: isinstance(one.target, cst.Name) and one.target.value.lower() in ("batch_size", "batchsize"),
    )
    target = only(named, program, line)
    if target is None:
        return None
    assignment = program.parent(target)
    name = target.target
    if not isinstance(assignment, cst.Assign) or not isinstance(name, cst.Name) or len(program.bindings(name)) != 1:
        raise UncertainError("the batch size is set in several places")
    return [_number(program, edit, assignment.value)]


def shuffle(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """The loader mixes its examples."""
    call = _loader(program, line)
    if call is None:
        return None
    if any(argument(call, name) is not None for name in ("sampler", "batch_sampler")):
        raise UncertainError("a sampler gives the order")
    given = argument(call, "shuffle", 2)
    if given is None:
        return [added(program, call, "shuffle=True")]
    if not isinstance(given.value, cst.Name) or given.value.value != "False":
        raise UncertainError("the order is not written here")
    return [(*program.span(given.value), "True")]


_DROPS = re.compile(r"torch\.nn\.(functional\.)?(dropout|Dropout)[123]?d?")


def dropout(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """The share of dropped units, wherever units are dropped."""
    calls = program.every(cst.Call, lambda call: _DROPS.fullmatch(program.name(call.func)) is not None)
    calls = alike(calls, program, line)
    if not calls:
        return None
    splices: dict[tuple[int, int], Splice] = {}
    for call in calls:
        given = argument(call, "p", 1 if ".functional." in program.name(call.func) else 0)
        if given is None:
            splice = added(program, call, written(edit.value) if not call.args else f"p={written(edit.value)}")
            if not same(0.5, edit.before):
                raise UncertainError("the share is not written here")
        else:
            splice = _number(program, edit, given.value)
        splices[splice[:2]] = splice
    return list(splices.values())


_BRANCHES = ("torch.nn.TransformerEncoderLayer", "torch.nn.TransformerDecoderLayer", "torch.nn.Transformer")


def norm_first(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """The one transformer layer of torch's own normalises first."""
    every = program.every(cst.Call, lambda one: program.name(one.func) in _BRANCHES)
    call = only(alike(every, program, line), program)
    if call is None:
        return None
    given = argument(call, "norm_first")
    if given is None:
        return [added(program, call, "norm_first=True")]
    if not isinstance(given.value, cst.Name) or given.value.value != "False":
        raise UncertainError("the order is not written here")
    return [(*program.span(given.value), "True")]
