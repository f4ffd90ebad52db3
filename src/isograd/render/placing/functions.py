"""Edits of what a model calls: activations, a last function, the loss, how weights are drawn."""

from __future__ import annotations

import libcst as cst

from isograd.records.edit import Edit
from isograd.render.placing import Lines, UncertainError, layers
from isograd.render.placing.arguments import renamed
from isograd.render.placing.layers import DRAWS, drawn, kind_of, layers_of
from isograd.render.placing.paths import ends_of, from_nothing
from isograd.render.placing.source import Program, Splice, alike, home_of, only

MODULES = {
    "relu": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU", "selu": "SELU", "gelu": "GELU", "silu": "SiLU", "mish": "Mish",
    "softplus": "Softplus", "tanh": "Tanh", "sigmoid": "Sigmoid", "softmax": "Softmax", "log_softmax": "LogSoftmax",
    "hardtanh": "Hardtanh", "hardsigmoid": "Hardsigmoid", "relu6": "ReLU6",
}  # fmt: skip
"""The modules of the functions, by their names."""
_OF_TORCH = ("relu", "tanh", "sigmoid")
"""Activations that stand in ``torch`` itself."""
_ON_SCORES = {
    "torch.nn.NLLLoss": "CrossEntropyLoss",
    "torch.nn.functional.nll_loss": "cross_entropy",
    "torch.nn.BCELoss": "BCEWithLogitsLoss",
    "torch.nn.functional.binary_cross_entropy": "binary_cross_entropy_with_logits",
}
"""Losses of probabilities or their logarithms, and the ones of the same targets that take scores."""
_INIT = "torch.nn.init."


def _function(name: str) -> frozenset[str]:
    """The full names of a function, without its module and its method."""
    return frozenset({f"torch.{name}", f"torch.nn.functional.{name}", f"torch.special.{name}"})


def _uses(program: Program, names: frozenset[str]) -> list[cst.BaseExpression]:
    """Where a class or a function is named, each use once and imports left out."""
    found: list[cst.BaseExpression] = []
    for node in (one for one in program.nodes if isinstance(one, cst.Attribute | cst.Name)):
        above = program.parent(node)
        part = isinstance(above, cst.Attribute) or program.inside(node, cst.Import, cst.ImportFrom) is not None
        if not part and program.name(node) in names:
            found.append(node)
    return found


def activation(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """Every use of the present activation becomes the new one; raises ``UncertainError`` where one use may be the output's."""
    before, value = str(edit.before), str(edit.value)
    if edit.before is None or value not in MODULES:
        raise UncertainError("which activation is replaced is not known")
    methods = program.every(cst.Call, lambda call: _method(program, call, before))
    modules = _uses(program, frozenset({f"torch.nn.{MODULES.get(before, before)}"}))
    functions = _uses(program, _function(before))
    meant = {id(use) for use in alike([*modules, *functions], program, line)}
    modules, functions = ([use for use in uses if id(use) in meant] for uses in (modules, functions))
    if not (modules or functions or methods):
        return None
    uses = [*modules, *functions]
    homes = {id(home_of(program, use)) for use in uses}
    outside = any(not _in_forward(program, use) for use in functions)
    if methods or edit.where or len(homes) > 1 or outside or any(_comes_last(program, use) for use in uses):
        raise UncertainError("not every use is meant")
    plain = [use for use in functions if program.name(use).startswith("torch.") and ".functional." not in program.name(use)]
    if plain and value not in _OF_TORCH:
        raise UncertainError(f"torch has no {value} of its own")
    splices = renamed(program, modules, MODULES[value]) + renamed(program, functions, value)
    for use in modules:  # what the old one was made with is nothing to the new one
        call = program.parent(use)
        if isinstance(call, cst.Call) and call.func is use and call.args:
            splices.append((program.span(use)[1], program.span(call)[1], "()"))
    return splices


def _method(program: Program, call: cst.Call, name: str) -> bool:
    """``x.sigmoid()``."""
    func = call.func
    return isinstance(func, cst.Attribute) and func.attr.value == name and not program.name(func) and not _is_self(func.value)


def _is_self(expression: cst.BaseExpression) -> bool:
    return isinstance(expression, cst.Name) and expression.value == "self"


def _in_forward(program: Program, node: cst.CSTNode) -> bool:
    function = program.function(node)
    return isinstance(function, cst.FunctionDef) and function.name.value == "forward"


def _comes_last(program: Program, use: cst.BaseExpression) -> bool:
    """Whether a use ends a ``Sequential``, or is what a function returns with no layer behind it."""
    call = program.parent(use)
    above = program.parent(call)
    if isinstance(call, cst.Call) and call.func is use and isinstance(above, cst.Arg):
        outer = program.parent(above)
        if isinstance(outer, cst.Call) and _is_sequential(program, outer):
            return outer.args[-1] is above
    for one in program.above(use):
        if isinstance(one, cst.Return):
            return True
        if isinstance(one, cst.BaseSmallStatement | cst.BaseCompoundStatement) or (one is not call and _is_layer(one)):
            return False
    return False


def _is_layer(node: cst.CSTNode) -> bool:
    """``self.fc(...)``, or a call of a plain name."""
    if not isinstance(node, cst.Call):
        return False
    return isinstance(node.func, cst.Name) or (isinstance(node.func, cst.Attribute) and _is_self(node.func.value))


def _is_sequential(program: Program, call: cst.Call) -> bool:
    return program.name(call.func) == "torch.nn.Sequential"


def last(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """The one function behind the last weighted layer left out: at the end of a ``Sequential``, or in what is returned."""
    if not isinstance(edit.before, str):
        raise UncertainError("which function comes last is not known")
    before = edit.before
    module, functions = f"torch.nn.{MODULES.get(before, before)}", _function(before)

    def ends(call: cst.Call) -> bool:
        above = program.parent(call)
        outer = program.parent(above) if isinstance(above, cst.Arg) else None
        if not isinstance(outer, cst.Call) or program.name(call.func) != module or not _is_sequential(program, outer):
            return False
        return outer.args[-1] is above and not _goes_on(program, outer)

    def returned(call: cst.Call) -> bool:
        if not isinstance(program.parent(call), cst.Return) or not _is_whole(program, call):
            return False
        return program.name(call.func) in functions or _method(program, call, before) or _own(program, call, module)

    found = only(program.every(cst.Call, lambda call: ends(call) or returned(call)), program, line)
    if found is None:
        return None
    if ends(found):
        return [_left_out(program, found)]
    if program.name(found.func) in functions or not isinstance(found.func, cst.Attribute):
        given: cst.CSTNode | None = found.args[0].value if found.args and not found.args[0].keyword else None
    else:
        given = found.args[0].value if _own(program, found, module) and found.args else found.func.value
    if given is None:
        raise UncertainError("what it is called on is not seen")
    return [(*program.span(found), program.text(given))]


def _goes_on(program: Program, chain: cst.Call) -> bool:
    """Whether a weighted layer is made behind a chain: the chain then need not be the end of the model."""
    end = program.span(chain)[1]
    return any(program.span(one)[0] > end for one in program.every(cst.Call, lambda call: _weighs(program, call)))


def _weighs(program: Program, call: cst.Call) -> bool:
    kind = program.name(call.func).removeprefix("torch.nn.")
    return kind in ("Linear", "LazyLinear", "Bilinear") or kind.startswith("Conv")


def _is_whole(program: Program, node: cst.CSTNode) -> bool:
    """Whether a node stands in ``forward`` of a model that is not a part of another model of this file."""
    if not _in_forward(program, node):
        return False
    function = program.function(node)
    home = program.inside(function, cst.ClassDef)
    if not isinstance(home, cst.ClassDef):
        return True
    word = home.name.value
    uses = program.every(cst.Name, lambda one: one.value == word and program.parent(one) is not home)
    return not any(program.inside(use, cst.ClassDef) is not None for use in uses)


def _own(program: Program, call: cst.Call, module: str) -> bool:
    """``self.softmax(x)``, where ``self.softmax`` is made once, as that module."""
    if not isinstance(call.func, cst.Attribute) or not _is_self(call.func.value):
        return False
    name = program.text(call.func)
    made = [one.value for one in program.every(cst.Assign) if any(program.text(t.target) == name for t in one.targets)]
    return len(made) == 1 and isinstance(made[0], cst.Call) and program.name(made[0].func) == module


def _left_out(program: Program, call: cst.Call) -> Splice:
    """The last argument of a call, with the comma and the space in front of it."""
    argument = program.parent(call)
    outer = program.parent(argument)
    assert isinstance(argument, cst.Arg) and isinstance(outer, cst.Call)
    if len(outer.args) < 2:
        raise UncertainError("nothing would be left")
    previous = outer.args[-2]
    start, end = program.span(previous.value)[1], program.span(call)[1]
    if b"#" in program.raw[start : program.span(call)[0]]:  # a comment on the line before stays: the comma with it
        start = program.raw.rfind(b"\n", 0, program.span(call)[0])
    return start, end, ""


def loss(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """A loss of probabilities becomes the one of scores; which loss other targets ask for is not said by the edit."""
    uses = _uses(program, frozenset(_ON_SCORES))
    use = only(uses, program, line)
    if use is None:
        return _on_scores(program, line)
    if not isinstance(use, cst.BaseExpression):
        raise UncertainError("the loss is of another form")
    splices = renamed(program, [use], _ON_SCORES[program.name(use)])
    found = _head(program)
    if found is None:
        raise UncertainError("where its probabilities are made is not seen")
    return [*splices, *found]


def _on_scores(program: Program, line: Lines | None) -> list[Splice] | None:
    """A plain loss of scores that gets probabilities: the function that makes them goes, and the loss stays."""
    plain = frozenset(name.rpartition(".")[0] + f".{scores}" for name, scores in _ON_SCORES.items())
    use = only(_uses(program, plain), program, line)
    if use is None:
        return None
    call = program.parent(use)
    values = 0 if program.name(use).endswith("Loss") else 2
    negated = [one for one in program.every(cst.UnaryOperation) if isinstance(one.expression, cst.Call | cst.Name)]
    if not isinstance(call, cst.Call) or len(call.args) != values or negated:
        raise UncertainError("more than its last function may be wrong with the loss")
    return _head(program)


def _head(program: Program) -> list[Splice] | None:
    """The one function behind the last layer that makes probabilities or their logarithms left out; None where none is."""
    behind = []
    for head in ("softmax", "log_softmax", "sigmoid", "logsigmoid"):
        try:
            behind.append(last(program, Edit("last", before=head), None))
        except UncertainError:
            if _uses(program, _function(head) | {f"torch.nn.{MODULES.get(head, head)}"}):
                raise
    found = [one for one in behind if one]
    return found[0] if len(found) == 1 else None


def initialisation(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """The one rule by which weights are drawn becomes another; where there is none, lines that draw them are put in."""
    calls = program.every(cst.Call, lambda call: program.name(call.func).startswith(_INIT))
    of_weights = [call for call in calls if call.args and program.text(call.args[0].value).endswith(("weight", "weight.data"))]
    call = only(alike(of_weights, program, line), program)
    if call is None:
        return from_nothing(program, edit) if edit.value in ("fixup", "zero_residual") else drawn(program, edit)
    if not isinstance(call.func, cst.Attribute) or not _of_every_layer(program, call):
        raise UncertainError("not all weights are drawn there")
    if str(edit.value) not in DRAWS or edit.where:
        raise UncertainError("the rule is not known")
    name, more = DRAWS[str(edit.value)]
    start, end = program.span(call.args[0].value)[1], program.span(call)[1] - 1
    return [(*program.span(call.func.attr), name), (start, end, more)]


def _of_every_layer(program: Program, call: cst.Call) -> bool:
    """Whether weights are drawn in a loop over all modules, or in a function of one module, as ``apply`` takes it."""
    owner = call.args[0].value
    while isinstance(owner, cst.Attribute):
        owner = owner.value
    if not isinstance(owner, cst.Name):
        return False
    word = owner.value
    loops = [one for one in program.above(call) if isinstance(one, cst.For) and program.text(one.target) == word]
    if loops:
        return "modules()" in program.text(loops[0].iter)
    function = program.function(call)
    named = isinstance(function, cst.FunctionDef) and any(one.name.value == word for one in function.params.params)
    return named and word != "self"


def nonlinearity(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """An activation behind every layer but the last, as modules of the one list of them or in ``forward``.

    Certain is: no layer has one yet, the layers stand in one ``Sequential`` or are called once each, one on what another
    gave, and none is a bottleneck by design. None where the file makes no layers.
    """
    layers, value = layers_of(program), str(edit.value)
    if not layers:
        return None
    if value not in MODULES or edit.where or len(layers) < 2:
        raise UncertainError("which activation, or where, is not known")
    curves = frozenset[str]().union(*(_function(name) | {f"torch.nn.{kind}"} for name, kind in MODULES.items()))
    methods = program.every(cst.Call, lambda call: any(_method(program, call, name) for name in MODULES))
    if methods or any(not _comes_last(program, use) for use in _uses(program, curves)):
        raise UncertainError("some layers have an activation")
    if not _as_wide(program, layers):
        raise UncertainError("some layers may be narrow on purpose")
    prefix = program.text(layers[0].func).rpartition(".")[0]
    if not prefix:
        raise UncertainError("the name of torch.nn is not known")
    rows = {program.parent(program.parent(call)) for call in layers}
    row = rows.pop()
    if not rows and isinstance(row, cst.Call) and _is_sequential(program, row):
        members = [one.value for one in row.args]
        ends = [program.span(_normalised(program, members, members.index(call)))[1] for call in layers[:-1]]
        return [(end, end, f", {prefix}.{MODULES[value]}()") for end in ends]
    places = [program.span(call) for call in _called(program, layers)[:-1]]
    opened = f"{prefix}.functional.{value}("
    return [splice for start, end in places for splice in ((start, start, opened), (end, end, ")"))]


def _as_wide(program: Program, layers: list[cst.Call]) -> bool:
    """Whether no hidden layer is narrower than inputs and outputs of them all, or the answer is the same for each of them."""
    ends = [ends_of(program, call) for call in layers]
    if len({program.text(out) for _, out in ends[:-1]}) == 1:
        return True
    numbers = [program.number(one) for one in (ends[0][0], ends[-1][1], *(out for _, out in ends[:-1]))]
    known = [number for number in numbers if number is not None]
    return len(known) == len(numbers) and min(known[2:]) >= min(known[:2])


def _normalised(program: Program, members: list[cst.BaseExpression], at: int) -> cst.BaseExpression:
    """A layer in a list, or the normalisation right behind it."""
    after = members[at + 1] if at + 1 < len(members) else None
    return after if isinstance(after, cst.Call) and "Norm" in kind_of(program, after) else members[at]


def _target(program: Program, call: cst.Call) -> cst.CSTNode:
    """What a layer is assigned to, an attribute."""
    made = program.parent(call)
    if not isinstance(made, cst.Assign) or len(made.targets) != 1 or not program.text(made).startswith("self."):
        raise UncertainError("a layer is not made in a line of its own")
    return made.targets[0].target


def _called(program: Program, made: list[cst.Call]) -> list[cst.Call]:
    """The calls of layers in ``forward``, in the order in which they run, where one value goes through them all."""
    names = [program.text(_target(program, call)) for call in made]
    forwards = [one for one in program.every(cst.FunctionDef) if one.name.value == "forward"]
    if len(forwards) != 1 or any("Norm" in kind_of(program, call) for call in program.every(cst.Call)):
        raise UncertainError("what follows what is not certain")
    _goes_through(program, forwards[0])
    uses = program.every(cst.Attribute, lambda one: program.text(one) in names)
    calls = [one for one in program.every(cst.Call) if any(one.func is use for use in uses)]
    inside = all(program.function(call) is forwards[0] for call in calls)
    if sorted(program.text(call.func) for call in calls) != sorted(names) or len(uses) != 2 * len(names) or not inside:
        raise UncertainError("a layer is called elsewhere too, or not at all")
    return sorted(calls, key=lambda call: program.span(call)[1])


def normalisation(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """A normalisation behind every hidden layer: in the list of modules, or around what ``__init__`` makes.

    Around it where ``forward`` calls all layers one after the other, each but the last inside of an activation.
    """
    try:
        return layers.normalisation(program, edit, line)
    except UncertainError:
        made = {program.text(_target(program, call)): call for call in layers_of(program)}
    splices: list[Splice] = []
    *hidden, last_one = _called(program, list(made.values()))
    if edit.where or _bent(program, last_one) or not hidden or program.text(last_one.func) != list(made)[-1]:
        raise UncertainError("which layers are hidden is not certain")
    for use in hidden:
        call = made[program.text(use.func)]
        norm, (start, end) = layers.norm_behind(program, call, str(edit.value)), program.span(call)
        if not _bent(program, use):
            raise UncertainError("a hidden layer has no activation around it")
        splices += [(start, start, f"{program.text(call.func).rpartition('.')[0]}.Sequential("), (end, end, f", {norm})")]
    return splices


def _bent(program: Program, call: cst.Call) -> bool:
    """Whether what a layer gives goes into an activation, and nothing else."""
    above = program.parent(call)
    outer = program.parent(above) if isinstance(above, cst.Arg) else None
    names = frozenset[str]().union(*(_function(name) for name in MODULES))
    return isinstance(outer, cst.Call) and outer.args[0] is above and program.name(outer.func) in names


def _goes_through(program: Program, forward: cst.FunctionDef) -> None:
    """Raises ``UncertainError`` unless one value goes through all lines of a function, each reading it once."""
    names = [one.name.value for one in forward.params.params]
    if len(names) != 2 or not isinstance(forward.body, cst.IndentedBlock):
        raise UncertainError("forward takes several values")
    value = names[1]
    for line in forward.body.body:
        does = line.body[0] if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1 else None
        if not isinstance(does, cst.Assign | cst.Return) or does.value is None:
            raise UncertainError("forward decides something, or repeats it")
        inner = [one for one in program.every(cst.Name) if one.value == value and does.value in [one, *program.above(one)]]
        if len(inner) != 1:
            raise UncertainError("a value is read twice")
        if isinstance(does, cst.Assign):
            if len(does.targets) != 1 or not isinstance(does.targets[0].target, cst.Name):
                raise UncertainError("several values are made")
            value = does.targets[0].target.value
