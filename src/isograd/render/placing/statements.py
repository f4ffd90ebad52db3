"""Edits of the loop: a line put in, taken away or moved, where exactly one line can be meant."""

from __future__ import annotations

import re

import libcst as cst

from isograd.records.edit import Edit
from isograd.render.placing import Lines, UncertainError
from isograd.render.placing.arguments import optimizer_of
from isograd.render.placing.source import Program, Splice, argument, call_of, only, same, written

Line = cst.SimpleStatementLine
_CLIPS = {"clip_norm": ("clip_grad_norm_", "max_norm"), "clip_value": ("clip_grad_value_", "clip_value")}
"""torch's function, and its name for the bound, by the edit."""


def _lines(program: Program, method: str) -> list[Line]:
    return program.every(Line, lambda one: call_of(one, method) is not None)


def _receiver(program: Program, line: Line, method: str) -> str:
    call = call_of(line, method)
    assert call is not None and isinstance(call.func, cst.Attribute)
    return program.text(call.func.value)


def _backward(program: Program, line: Lines | None) -> Line | None:
    """The one line with the backward pass; another call of ``backward`` in the file makes it uncertain."""
    every = program.every(cst.Attribute, lambda one: one.attr.value == "backward")
    found = only(_lines(program, "backward"), program, line)
    if found is not None and len(every) > 1 and line is None:
        raise UncertainError("there are several backward passes")
    if found is None and every:
        raise UncertainError("the backward pass has no line of its own")
    if b"GradScaler" in program.raw:
        raise UncertainError("a scaler stands between the gradients and the step")
    return found


def _step(program: Program, backward: Line) -> Line:
    """The optimizer's step that follows the backward pass in the same function; its receiver clears or is made there."""
    here = program.function(backward)
    made = optimizer_name(program)
    found = [one for one in _lines(program, "step") if program.function(one) is here and _is_optimizer(program, one, made)]
    if len(found) != 1:
        raise UncertainError(f"{len(found)} optimizer steps could be meant")
    if program.span(found[0])[0] < program.span(backward)[1]:
        raise UncertainError("the step comes before the backward pass")
    return found[0]


def optimizer_name(program: Program) -> str:
    """The name that the one optimizer is bound to; "" where it is not seen."""
    try:
        call = optimizer_of(program)
    except UncertainError:
        return ""
    assignment = None if call is None else program.parent(call)
    if isinstance(assignment, cst.Assign) and len(assignment.targets) == 1:
        return program.text(assignment.targets[0].target)
    return ""


def model_name(program: Program) -> str:
    """The name of the model, as the one optimizer gets its parameters; "" where it is not seen."""
    try:
        call = optimizer_of(program)
    except UncertainError:
        return ""
    first = call.args[0].value if call is not None and call.args else None
    asked = isinstance(first, cst.Call) and isinstance(first.func, cst.Attribute) and first.func.attr.value == "parameters"
    return (
        program.text(first.func.value)
        if asked and isinstance(first, cst.Call) and isinstance(first.func, cst.Attribute)
        else ""
    )


def _is_optimizer(program: Program, line: Line, made: str) -> bool:
    name = _receiver(program, line, "step")
    return name == made or re.fullmatch(r"(self\.)?(opt|optim|optimizer|optimiser)", name) is not None


def clear_gradients(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """``zero_grad`` right in front of the backward pass: put in, or moved there from where it does not belong."""
    backward = _backward(program, line)
    if backward is None:
        return None
    step = _step(program, backward)
    name = _receiver(program, step, "step")
    clears = _lines(program, "zero_grad")
    if len(clears) != len(program.every(cst.Attribute, lambda one: one.attr.value == "zero_grad")) or len(clears) > 1:
        raise UncertainError("gradients are cleared in several places")
    new = program.before(backward, f"{name}.zero_grad()")
    if clears and _in_time(program, clears[0], backward):
        raise UncertainError("gradients are cleared where they should be")
    if not clears:
        return [new]
    if _receiver(program, clears[0], "zero_grad") != name:
        raise UncertainError("something else is cleared")
    return [program.without(clears[0]), new]


def _in_time(program: Program, clearing: Line, backward: Line) -> bool:
    """Whether a clearing stands in front of the backward pass in the same block."""
    early = program.span(clearing)[0] < program.span(backward)[0]
    return early and program.parent(clearing) is program.parent(backward)


def train_mode(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """``train()`` as the first line of the loop that trains, on the model that was set to evaluate."""
    backward = _backward(program, line)
    if backward is None:
        return None
    loop = program.inside(backward, cst.For, cst.While)
    evals = _lines(program, "eval")
    names = {_receiver(program, one, "eval") for one in evals}
    if not isinstance(loop, cst.For | cst.While) or len(names) != 1 or _lines(program, "train"):
        raise UncertainError("which model is to train is not said")
    if not isinstance(loop.body, cst.IndentedBlock):
        raise UncertainError("the loop has one line")
    name = names.pop()
    scopes = {program.function(one) for one in evals}
    if not scopes & {program.function(loop)} and not program.function(loop) == program.function(program.nodes[0]):
        raise UncertainError("the name may mean another model there")
    return [program.before(loop.body.body[0], f"{name}.train()")]


def clip(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """The bound of the one clipping that is there, its line taken away, or a line of its own in front of the step."""
    function, bound = _CLIPS[edit.kind]
    clips = {f"torch.nn.utils.{name}": kind for kind, (name, _) in _CLIPS.items()}
    calls = program.every(cst.Call, lambda call: program.name(call.func) in clips)
    call = only(calls, program, line)
    if call is not None:
        if program.name(call.func) != f"torch.nn.utils.{function}":
            raise UncertainError("it is clipped in another way")
        given = argument(call, bound, 1)
        if given is None or not same(program.number(given.value), edit.before):
            raise UncertainError("the bound is not the one that was tried")
        if edit.value is None:
            return [program.without(program.statement(call))]
        return [(*program.span(given.value), written(edit.value))]
    if edit.value is None or edit.before is not None:
        raise UncertainError("no clipping is seen here")
    backward = _backward(program, line)
    if backward is None:
        return None
    step = _step(program, backward)
    name = _receiver(program, step, "step")
    model = model_name(program)
    here = program.function(step)
    made = optimizer_of(program)
    near = made is not None and program.function(made) in (here, program.function(program.nodes[0]))
    every = f"{model}.parameters()" if model and near and name == optimizer_name(program) else ""
    every = every or f'[p for group in {name}.param_groups for p in group["params"]]'
    return [program.before(step, f"{_utils(program)}.{function}({every}, {written(edit.value)})")]


def _utils(program: Program) -> str:
    """``torch.nn.utils`` by whatever name the program has for torch; raises ``UncertainError`` where it has none."""
    for statement, path in (
        ("import torch", "torch.nn.utils"),
        ("from torch import nn", "nn.utils"),
        ("import torch.nn as nn", "nn.utils"),
    ):
        if re.search(rf"^{re.escape(statement)}\b(?!\.|\s+as)", program.raw.decode(), re.M):
            return path
    if re.search(r"^from torch import .*\bnn\b", program.raw.decode(), re.M):
        return "nn.utils"
    raise UncertainError("torch is imported under another name")


def constant_rate(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """The step of the one schedule taken away."""
    made = program.every(cst.Call, lambda call: program.name(call.func).startswith("torch.optim.lr_scheduler."))
    call = only(made, program)
    if call is None:
        return None
    assignment = program.parent(call)
    if not isinstance(assignment, cst.Assign) or len(assignment.targets) != 1:
        raise UncertainError("the schedule has no name")
    name = program.text(assignment.targets[0].target)
    steps = [one for one in _lines(program, "step") if _receiver(program, one, "step") == name]
    found = only(steps, program, line)
    if found is None:
        raise UncertainError("the schedule moves elsewhere")
    return [program.without(found)]


def unfreeze(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """The one place that freezes parameters lets them learn."""
    calls = program.every(cst.Call, lambda c: isinstance(c.func, cst.Attribute) and c.func.attr.value == "requires_grad_")
    false = [one.args[0].value for one in calls if one.args and program.text(one.args[0].value) == "False"]
    assigned = program.every(cst.Assign, lambda one: program.text(one.targets[0].target).endswith(".requires_grad"))
    false += [one.value for one in assigned if program.text(one.value) == "False"]
    found = only(false, program)  # the edit lets all of them learn
    return None if found is None else [(*program.span(found), "True")]


def parameters(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """The optimizer gets the parameters of the whole model instead of those of one of its parts."""
    call = optimizer_of(program, line)
    if call is None:
        return None
    first = call.args[0].value if call.args else None
    if not isinstance(first, cst.Call) or not isinstance(first.func, cst.Attribute) or first.func.attr.value != "parameters":
        raise UncertainError("the parameters are put together elsewhere")
    root: cst.BaseExpression = first.func.value
    while isinstance(root, cst.Attribute | cst.Subscript):
        root = root.value
    if root is first.func.value or not isinstance(root, cst.Name) or root.value == "self":
        raise UncertainError("the whole model is not seen here")
    return [(*program.span(first.func.value), root.value)]


def keep_graph(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """The one ``detach()`` in a forward pass taken away."""

    def cuts(call: cst.Call) -> bool:
        function = program.function(call)
        named = isinstance(function, cst.FunctionDef) and function.name.value == "forward"
        return named and isinstance(call.func, cst.Attribute) and call.func.attr.value == "detach" and not call.args

    found = only(program.every(cst.Call, cuts), program)  # the edit passes on all that is cut
    if found is None:
        return None
    assert isinstance(found.func, cst.Attribute)
    return [(*program.span(found), program.text(found.func.value))]
