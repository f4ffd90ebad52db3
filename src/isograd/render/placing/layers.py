"""Edits that put lines or layers of their own into a network: weights drawn at its end, normalisation behind its layers."""

from __future__ import annotations

import re

import libcst as cst

from isograd.records.edit import Edit
from isograd.render.placing import Lines, UncertainError
from isograd.render.placing.source import Program, Splice, argument, written

DRAWS = {
    "he": ("kaiming_normal_", ', nonlinearity="relu"'),
    "glorot": ("xavier_uniform_", ""),
    "lecun": ("kaiming_normal_", ', nonlinearity="linear"'),
    "orthogonal": ("orthogonal_", ""),
}
"""How weights are drawn by each rule, as it is written behind the weights."""
_PLAIN = ("Linear", "Conv1d", "Conv2d", "Conv3d")
_OTHER = ("Bilinear", "ConvTranspose", "Embedding", "RNN", "LSTM", "GRU", "MultiheadAttention", "Transformer", "Lazy")
"""Layers whose weights are drawn in ways of their own."""
_READERS = ("Embedding", "RNN", "LSTM", "GRU")
"""Those of them that the edit draws by the same rule: every weight, and biases of zero."""
_NORMS = {"layer": {"Linear": "LayerNorm"}, "batch": {f"Conv{n}d": f"BatchNorm{n}d" for n in (1, 2, 3)}}
"""The normalisation behind a layer, where torch has one that takes its units alone."""
_CURVES = tuple(
    f"torch.nn.{name}"
    for name in (
        *("ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Mish", "Softplus", "Tanh", "Sigmoid"),
        *("ReLU6", "PReLU", "CELU", "Hardswish", "Hardtanh"),
    )
)

_SIMPLE, _GATED = ("torch.nn.RNN", "torch.nn.RNNCell"), ("LSTM", "GRU", "LSTMCell", "GRUCell")
"""Recurrent layers without gates, by their full names, and with gates."""
_GATES = re.compile(rb"\b(weight|bias)_[ih]h|\.nonlinearity\b")
"""What reads a recurrent layer's weights, or what a gated one does not have."""
AROUND = "Residual"
"""The class that adds a layer's input (``paths``)."""
TOUCHED = re.compile(
    rb"\.weight\b|\.bias\b|\.data\s*(\.\w+_\(|\[|=[^=])|\.init\.|\bin\s[\w.]+\.(named_)?parameters\(|reset_parameters|\.apply\("
    rb"|load_state_dict"
)
"""What may change weights after they were drawn, or draw them again."""


def drawn(program: Program, edit: Edit) -> list[Splice] | None:
    """Lines that draw all weights where the network is made, in a program that leaves them as torch draws them.

    At the end of the ``__init__`` of the one network of the file, or behind the line that assigns it. None where the file makes
    no layers; uncertain where something else in it may set weights.
    """
    layers = layers_of(program, _READERS)
    if not layers:
        return None
    if TOUCHED.search(program.raw) or _GATES.search(program.raw):
        raise UncertainError("weights are set somewhere else too")
    at, owner = made_at(program, layers)
    written = list(dict.fromkeys(program.text(call.func) for call in layers))
    prefixes = {name.rpartition(".")[0] for name in written}
    if len(prefixes) != 1 or "" in prefixes or str(edit.value) not in DRAWS or edit.where:
        raise UncertainError("the rule, or the name of torch.nn, is not known")
    (prefix,), (rule, more) = prefixes, DRAWS[str(edit.value)]
    kinds = written[0] if len(written) == 1 else f"({', '.join(written)})"
    lines = [f"for m in {owner}.modules():", f"    if isinstance(m, {kinds}):"]
    if any(kind_of(program, call) in _READERS for call in layers):  # their weights have names of their own, and are several
        lines += ["        for weights in m.parameters():", "            if weights.dim() > 1:"]
        lines += [f"                {prefix}.init.{rule}(weights{more})", "            else:"]
        return [behind(program, at, [*lines, f"                {prefix}.init.zeros_(weights)"])]
    zero = [f"        {prefix}.init.zeros_(m.bias)"]
    if b"bias" in program.raw:  # of a layer without one
        zero = ["        if m.bias is not None:", f"            {prefix}.init.zeros_(m.bias)"]
    return [behind(program, at, [*lines, f"        {prefix}.init.{rule}(m.weight{more})", *zero])]


def normalisation(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """A normalisation between each hidden layer and the activation that follows it in the same list of modules.

    Certain is: every layer of the file but the last one is followed by an activation, as modules one after the other.
    """
    layers = layers_of(program)
    if not layers:
        return None
    splices: list[Splice] = []
    for call in layers[:-1]:
        if not activated(program, call) or edit.where:
            raise UncertainError("a hidden layer is not followed by an activation in one list of modules")
        end = program.span(call)[1]
        splices.append((end, end, f", {norm_behind(program, call, str(edit.value))}"))
    if not splices or activated(program, layers[-1]):
        raise UncertainError("which layer is the last is not certain")
    return splices


def norm_behind(program: Program, call: cst.Call, value: str) -> str:
    """The normalisation behind a layer, as it is written; raises ``UncertainError`` where torch has none for its units."""
    kind, norms = kind_of(program, call), _NORMS.get(value, {})
    units = argument(call, "out_features" if kind == "Linear" else "out_channels", 1)
    prefix = program.text(call.func).rpartition(".")[0]
    if kind not in norms or units is None or not prefix:
        raise UncertainError("torch has no normalisation of these units alone")
    return f"{prefix}.{norms[kind]}({program.text(units.value)})"


def cell(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """Another name in every call that makes a simple recurrent layer, without the nonlinearity that a gated one does not take.

    A GRU is called as the simple layer was and gives back what that gave. The state of an LSTM is two, so that it goes in only
    where no state is given and the one that comes back is not read. Certain is: nothing in the file reads the weights, or names
    the layer's class anywhere else. None where the file makes no such layer.
    """
    names = [one for one in program.nodes if isinstance(one, cst.Name | cst.Attribute) and program.name(one) in _SIMPLE]
    if not names:
        return None
    calls = program.every(cst.Call, lambda one: program.name(one.func) in _SIMPLE)
    funcs = [call.func for call in calls]
    if len(names) != len(calls) or not all(isinstance(func, cst.Attribute) for func in funcs):
        raise UncertainError("the class is named in other ways than torch.nn.RNN(...)")
    if TOUCHED.search(program.raw) or _GATES.search(program.raw) or (edit.where and len(calls) > 1):
        raise UncertainError("something else in the file reads the weights, or one of several layers is meant")
    splices: list[Splice] = []
    for call in calls:
        stepped = kind_of(program, call) == "RNNCell"
        if edit.value == "lstm" and (stepped or not _forgets(program, call)):
            raise UncertainError("the state that comes back may be read")
        if sum(arg.keyword is None for arg in call.args) > 3 or any(arg.star for arg in call.args):
            raise UncertainError("an argument by its place is another in a gated layer")
        start, end = program.span(call.func)
        prefix = program.text(call.func).rpartition(".")[0]
        splices.append((start, end, f"{prefix}.{str(edit.value).upper()}{'Cell' if stepped else ''}"))
        splices += _without(program, call, "nonlinearity")
    return splices


def _without(program: Program, call: cst.Call, keyword: str) -> list[Splice]:
    """An argument that is taken away, with the comma before it or behind it."""
    for place, arg in enumerate(call.args):
        if arg.keyword is not None and arg.keyword.value == keyword:
            start, end = program.span(arg)[0], program.span(arg.value)[1]
            if place + 1 < len(call.args):
                return [(start, program.span(call.args[place + 1])[0], "")]
            return [(program.span(call.args[place - 1].value)[1] if place else start, end, "")]
    return []


def _forgets(program: Program, call: cst.Call) -> bool:
    """Whether a layer is an attribute that is called with its input alone, and of what comes back the state is never read."""
    made = program.parent(call)
    if not isinstance(made, cst.Assign) or len(made.targets) != 1 or not isinstance(made.targets[0].target, cst.Attribute):
        return False
    target = made.targets[0].target
    uses = program.every(cst.Attribute, lambda one: one.attr.value == target.attr.value and one is not target)
    return bool(uses) and all(program.text(use) == program.text(target) and _dropped(program, use) for use in uses)


def _dropped(program: Program, use: cst.Attribute) -> bool:
    """Whether a layer is used as ``output, _ = layer(inputs)``, where nothing reads the second name, or with ``[0]`` behind."""
    call = program.parent(use)
    if not isinstance(call, cst.Call) or call.func is not use or len(call.args) != 1:
        return False
    taken = program.parent(call)
    if isinstance(taken, cst.Subscript):
        return program.text(taken)[len(program.text(call)) :].replace(" ", "") == "[0]"
    if not isinstance(taken, cst.Assign) or len(taken.targets) != 1 or not isinstance(taken.targets[0].target, cst.Tuple):
        return False
    parts = [one.value for one in taken.targets[0].target.elements]
    if len(parts) != 2 or not isinstance(parts[1], cst.Name):
        return False
    state, home = parts[1].value, program.function(use)
    named = program.every(cst.Name, lambda one: one.value == state and program.function(one) is home)
    return all(isinstance(program.inside(one, cst.AssignTarget, cst.SimpleStatementLine), cst.AssignTarget) for one in named)


def forget_bias(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """Lines behind the one that makes a gated layer, which set the bias of the gate that decides what stays.

    It is the second of the gates, of an LSTM and of a GRU. Certain is: each layer is assigned in a line of its own, and nothing
    else in the file reads weights. None where there is none.
    """
    calls = [call for call in program.every(cst.Call) if kind_of(program, call) in _GATED]
    if not calls:
        return None
    if TOUCHED.search(program.raw) or _GATES.search(program.raw) or (edit.where and len(calls) > 1):
        raise UncertainError("something else in the file reads the weights, or one of several layers is meant")
    splices = []
    for call in calls:
        assigned = program.parent(call)
        if not isinstance(assigned, cst.Assign) or len(assigned.targets) != 1:
            raise UncertainError("a recurrent layer is not assigned in a line of its own")
        owner, prefix = program.text(assigned.targets[0].target), program.text(call.func).rpartition(".")[0]
        if not prefix:
            raise UncertainError("the name of torch.nn is not known")
        lines = [
            f"for name, bias in {owner}.named_parameters():  # the gate that decides what stays",
            '    if name.startswith("bias"):',
            f"        keeps = bias.data[{owner}.hidden_size : 2 * {owner}.hidden_size]",
            f'        {prefix}.init.constant_(keeps, {written(edit.value)} if "_ih" in name else 0.0)',
        ]
        splices.append(behind(program, program.statement(call), lines))
    return splices


def kind_of(program: Program, call: cst.Call) -> str:
    """The name of what a call makes, in torch.nn; "" for anything else."""
    name = program.name(call.func)
    return name.removeprefix("torch.nn.") if name.startswith("torch.nn.") else ""


def layers_of(program: Program, beside: tuple[str, ...] = ()) -> list[cst.Call]:
    """The calls that make layers; raises ``UncertainError`` where one is of a kind that is drawn in its own way.

    Of these kinds ``beside`` the plain ones are taken as well.
    """
    every = [call for call in program.every(cst.Call) if kind_of(program, call)]
    if any(kind_of(program, call).startswith(_OTHER) and kind_of(program, call) not in beside for call in every):
        raise UncertainError("there are layers of other kinds")
    return [call for call in every if kind_of(program, call) in (*_PLAIN, *beside)]


def made_at(program: Program, layers: list[cst.Call]) -> tuple[cst.BaseStatement | cst.BaseSmallStatement, str]:
    """The statement behind which the whole network is there, and what it is called there."""
    classes = program.every(cst.ClassDef, lambda one: any(program.name(base.value) == "torch.nn.Module" for base in one.bases))
    if len(classes) > 1:
        raise UncertainError("several networks are written there")
    if classes:
        starts = [one for one in program.every(cst.FunctionDef) if one.name.value == "__init__"]
        starts = [one for one in starts if program.inside(one, cst.ClassDef) is classes[0]]
        if len(starts) != 1 or any(program.function(call) is not starts[0] for call in layers):
            raise UncertainError("layers are made outside of __init__")
        body = starts[0].body
        if not isinstance(body, cst.IndentedBlock) or not starts[0].params.params:
            raise UncertainError("__init__ has no body of its own")
        return body.body[-1], starts[0].params.params[0].name.value
    lines = {program.statement(call) for call in layers}
    (one, *more) = lines
    assigned = one.body[0]
    if more or not isinstance(assigned, cst.Assign) or len(assigned.targets) != 1:
        raise UncertainError("the network is not assigned in one line")
    target, value = assigned.targets[0].target, assigned.value
    if (
        not isinstance(target, cst.Name)
        or not isinstance(value, cst.Call)
        or kind_of(program, value) not in ("Sequential", *_PLAIN)
    ):
        raise UncertainError("the network is not assigned in one line")
    return one, target.value


def behind(program: Program, at: cst.CSTNode, lines: list[str]) -> Splice:
    """Lines of their own behind a statement, as far to the right as it is."""
    start, end = program.span(at)
    first = program.raw.rfind(b"\n", 0, start) + 1
    indent = program.raw[first:start].decode("utf-8")
    if indent.strip():
        raise UncertainError("the statement shares its line")
    ending = "\r\n" if b"\r\n" in program.raw else "\n"
    close = program.raw.find(b"\n", len(program.raw[:end].rstrip()))
    lacking = "" if close >= 0 else ending
    place = len(program.raw) if close < 0 else close + 1
    return place, place, lacking + "".join(f"{indent}{one}{ending}" for one in lines)


def activated(program: Program, call: cst.Call) -> bool:
    """Whether an activation follows a layer as its neighbour in a list, a tuple or the arguments of one call.

    A class around the layer, which another edit has put there, counts as the layer.
    """
    element = program.parent(call)
    row = program.parent(element)
    if isinstance(row, cst.Call) and isinstance(row.func, cst.Name) and row.func.value == AROUND and row.args[-1] is element:
        return activated(program, row)
    if isinstance(row, cst.List | cst.Tuple):
        members: list[cst.CSTNode] = [one.value for one in row.elements]
    elif isinstance(row, cst.Call) and isinstance(element, cst.Arg):
        members = [one.value for one in row.args]
    else:
        return False
    if call not in members or members.index(call) + 1 == len(members):
        return False
    following = members[members.index(call) + 1]
    return isinstance(following, cst.Call) and program.name(following.func) in _CURVES
