"""Residual paths put into a network's source: a class that adds its input, around every layer that may keep its shape."""

from __future__ import annotations

import re

import libcst as cst

from isograd.records.edit import Edit
from isograd.render.placing import Lines, UncertainError
from isograd.render.placing.layers import AROUND, TOUCHED, activated, behind, kind_of, layers_of, made_at
from isograd.render.placing.source import Program, Splice, argument

_UNSEEN = ("MultiheadAttention", "Transformer", "Lazy", "ConvTranspose")
"""Modules with layers inside, or of shapes, that are not read off a call."""
_ASKED = re.compile(
    rb"\.(in|out)_(features|channels)\b|\bisinstance\(|\.weight\b|\.bias\b|state_dict|named_(parameters|modules)"
)
"""What asks a layer for what a class around it does not have, or by a name that is another then."""


def residual(program: Program, edit: Edit, line: Lines | None) -> list[Splice] | None:
    """Every layer whose widths are not known to differ goes into the class, which adds where the shapes are equal.

    Certain is: all layers of the file are made in one class, function or line, by calls of one name of ``torch.nn``, and
    nothing else reads what is in them. ``x + layer(x)`` is then what the edit does, whatever the widths are when it runs. None
    where the file makes no layers.
    """
    layers = layers_of(program)
    if not layers:
        return None
    if edit.where or _ASKED.search(program.raw):
        raise UncertainError("something else in the file reads or sets what is in a layer")
    if any(kind_of(program, call).startswith(_UNSEEN) for call in program.every(cst.Call)):
        raise UncertainError("some layers are not made by a call that can be read")
    if re.search(rf"\b{AROUND}\b".encode(), program.raw):
        raise UncertainError("the name is taken")
    prefixes = {program.text(call.func).rpartition(".")[0] for call in layers}
    homes = {_home(program, call) for call in layers}
    chosen = [call for call in layers if _may_keep(program, call)]
    if len(prefixes) != 1 or "" in prefixes or len(homes) != 1 or not chosen:
        raise UncertainError("the layers are made in several places, or none can keep its shape")
    (prefix,), (home,) = prefixes, homes
    splices = [place for call in chosen for start, end in [program.span(call)] for place in _around(start, end)]
    return [*splices, _class(program, home, prefix)]


def _around(start: int, end: int) -> tuple[Splice, Splice]:
    return (start, start, f"{AROUND}("), (end, end, ")")


def _home(program: Program, call: cst.Call) -> cst.CSTNode:
    """The statement of the file itself that a call stands in."""
    *inner, _ = [call, *program.above(call)]
    return inner[-1]


def _may_keep(program: Program, call: cst.Call) -> bool:
    """Whether the shape may be kept: what goes in and what comes out are not two numbers that differ."""
    one, other = ends_of(program, call)
    numbers = program.number(one), program.number(other)
    return None in numbers or numbers[0] == numbers[1]


def ends_of(program: Program, call: cst.Call) -> tuple[cst.BaseExpression, cst.BaseExpression]:
    """How wide a layer reads and gives, as it is written."""
    dense = kind_of(program, call) == "Linear"
    ends = [argument(call, f"{way}_{'features' if dense else 'channels'}", place) for place, way in enumerate(("in", "out"))]
    if ends[0] is None or ends[1] is None:
        raise UncertainError("a layer is made without its widths")
    return ends[0].value, ends[1].value


def _class(program: Program, home: cst.CSTNode, prefix: str) -> Splice:
    """The class, in front of the statement that makes the layers."""
    lines = [
        f"class {AROUND}({prefix}.Sequential):",
        '    """Its input added to its output, where both have one shape."""',
        "",
        "    def forward(self, x):",
        "        out = super().forward(x)",
        "        return x + out if x.shape == out.shape else out",
    ]
    start = program.span(home)[0]
    ending = "\r\n" if b"\r\n" in program.raw else "\n"
    return start, start, ending.join([*lines, "", "", ""])


def from_nothing(program: Program, edit: Edit) -> list[Splice] | None:
    """Lines that begin the paths of ``residual`` at nothing; with "fixup" all weights are drawn first, the last layer is zero.

    Certain is what is certain for weights that are drawn at the end of the network, for linear layers alone, whose shapes tell
    which of them have a path, and where each but the last is followed by an activation: the last is the one that answers.
    """
    calls = layers_of(program)
    if not calls:
        return None
    class_ = program.every(cst.ClassDef, lambda one: one.name.value == AROUND)
    linear = all(kind_of(program, call) == "Linear" for call in calls)
    ordered = all(activated(program, call) for call in calls[:-1]) and not activated(program, calls[-1])
    if len(class_) != 1 or not linear or not ordered or edit.where or TOUCHED.search(program.raw) or b"bias" in program.raw:
        raise UncertainError("which layers have a path, or which is the last, is not certain")
    at, owner = made_at(program, calls)
    name = program.text(calls[0].func)
    init = f"{name.rpartition('.')[0]}.init"
    lines = [f"layers = [m for m in {owner}.modules() if isinstance(m, {name})]"]
    if edit.value == "fixup":
        draw, zero = f'    {init}.kaiming_normal_(m.weight, nonlinearity="relu")', f"    {init}.zeros_(m.bias)"
        lines += ["for m in layers:", draw, zero]
    lines += [
        f"for path in {owner}.modules():",
        f"    if isinstance(path, {AROUND}) and path[0].in_features == path[0].out_features:",
        f"        {init}.zeros_(path[0].weight)",
        f"        {init}.zeros_(path[0].bias)",
    ]
    last = [f"{init}.zeros_(layers[-1].weight)"] if edit.value == "fixup" else []
    return [behind(program, at, [*lines, *last])]
