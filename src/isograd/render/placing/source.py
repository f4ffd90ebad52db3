"""A program as text: its calls by their full names, what a name is bound to, and splices that leave every other byte alone."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import libcst as cst
from libcst.metadata import (
    Assignment,
    ByteSpanPositionProvider,
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    QualifiedNameProvider,
    QualifiedNameSource,
    ScopeProvider,
)

from isograd.render.placing import Lines, UncertainError

Node = TypeVar("Node", bound=cst.CSTNode)
Splice = tuple[int, int, str]
"""From byte, to byte (excluded), what stands there then."""
_PROVIDERS = (ByteSpanPositionProvider, PositionProvider, ParentNodeProvider, QualifiedNameProvider, ScopeProvider)
_CLOSE = 1e-6
"""Two numbers that differ relatively by less are the same number, once written and once computed."""


class Program:
    """A source file that parses; raises ``UncertainError`` for one that does not."""

    def __init__(self, text: str) -> None:
        self.raw = text.encode("utf-8")
        try:
            self._wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
            self._known: dict[Any, Any] = dict(self._wrapper.resolve_many(_PROVIDERS))
        except (cst.ParserSyntaxError, RecursionError, ValueError) as error:
            raise UncertainError("the source cannot be read") from error
        everything = _Everything()
        self._wrapper.module.visit(everything)
        self.nodes = everything.found

    def every(self, kind: type[Node], wanted: Callable[[Node], bool] = lambda _: True) -> list[Node]:
        """The nodes of a kind, in the order of the text."""
        return [node for node in self.nodes if isinstance(node, kind) and wanted(node)]

    def span(self, node: cst.CSTNode) -> tuple[int, int]:
        """First byte and the byte after the last."""
        found = self._known[ByteSpanPositionProvider][node]
        return found.start, found.start + found.length

    def lines(self, node: cst.CSTNode) -> tuple[int, int]:
        """First and last line, from 1."""
        found = self._known[PositionProvider][node]
        return found.start.line, found.end.line

    def text(self, node: cst.CSTNode) -> str:
        """A node as it is written."""
        start, end = self.span(node)
        return self.raw[start:end].decode("utf-8")

    def name(self, node: cst.CSTNode) -> str:
        """The one full name of what is called or named, as imports tell it ("torch.optim.SGD"); "" for none or several."""
        lazy = self._known[QualifiedNameProvider].get(node, frozenset())
        found = lazy() if callable(lazy) else lazy
        names = [one.name for one in found if one.source is QualifiedNameSource.IMPORT]
        return names[0] if len(names) == 1 and len(found) == 1 else ""

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        """What a node stands in."""
        above: cst.CSTNode = self._known[ParentNodeProvider][node]
        return above

    def above(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """Everything that a node stands in, from the inside out."""
        while not isinstance(node, cst.Module):
            node = self.parent(node)
            yield node

    def inside(self, node: cst.CSTNode, *kinds: type[cst.CSTNode]) -> cst.CSTNode | None:
        """The innermost node of these kinds that this one stands in."""
        return next((one for one in self.above(node) if isinstance(one, kinds)), None)

    def function(self, node: cst.CSTNode) -> cst.CSTNode:
        """The function that a node stands in, or the module."""
        return self.inside(node, cst.FunctionDef, cst.Module) or self._wrapper.module

    def bindings(self, name: cst.Name) -> list[cst.CSTNode]:
        """The nodes that bind a name where it is read; [] where it is not known in this file."""
        scope = self._known[ScopeProvider].get(name)
        if scope is None:
            return []
        found = [one for one in scope[name.value] if isinstance(one, Assignment)]
        return [one.node for one in found]

    def value_of(self, name: cst.Name) -> cst.BaseExpression | None:
        """What a name that is bound once, by a plain assignment, is bound to."""
        bound = self.bindings(name)
        if len(bound) != 1:
            return None
        assignment = self.inside(bound[0], cst.Assign, cst.AnnAssign)
        if isinstance(assignment, cst.Assign) and len(assignment.targets) == 1 and assignment.targets[0].target is bound[0]:
            return assignment.value
        return assignment.value if isinstance(assignment, cst.AnnAssign) and assignment.target is bound[0] else None

    def number(self, expression: cst.BaseExpression) -> float | None:
        """The value of a literal number, or of a name that is bound once to one."""
        if isinstance(expression, cst.Name):
            found = self.value_of(expression)
            return None if found is None or isinstance(found, cst.Name) else self.number(found)
        try:
            value = ast.literal_eval(self.text(expression))
        except (ValueError, SyntaxError, TypeError):
            return None
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def spliced(self, splices: Sequence[Splice]) -> str:
        """The text with these places changed and every other byte as it was."""
        raw = self.raw
        for start, end, new in sorted(splices, reverse=True):
            raw = raw[:start] + new.encode("utf-8") + raw[end:]
        return raw.decode("utf-8")

    def statement(self, node: cst.CSTNode) -> cst.SimpleStatementLine:
        """The line that a node stands on, alone; raises ``UncertainError`` where several statements share it."""
        line = node if isinstance(node, cst.SimpleStatementLine) else self.inside(node, cst.SimpleStatementLine)
        if not isinstance(line, cst.SimpleStatementLine) or len(line.body) != 1:
            raise UncertainError("the statement has no line of its own")
        return line

    def whole_line(self, line: cst.SimpleStatementLine) -> tuple[int, int]:
        """The bytes of a statement with its indentation, its comment and the end of its line."""
        start, end = self.span(line)
        start = self.raw.rfind(b"\n", 0, start) + 1
        newline = self.raw.find(b"\n", end)
        return start, len(self.raw) if newline < 0 else newline + 1

    def before(self, line: cst.CSTNode, new: str) -> Splice:
        """A line of its own, in front of a statement and as far to the right."""
        at = self.span(line)[0]
        start = self.raw.rfind(b"\n", 0, at) + 1
        indent = self.raw[start:at].decode("utf-8")
        if indent.strip():
            raise UncertainError("the statement shares its line")
        ending = "\r\n" if b"\r\n" in self.raw else "\n"
        return start, start, f"{indent}{new}{ending}"

    def without(self, line: cst.SimpleStatementLine) -> Splice:
        """A statement taken away with its line; raises ``UncertainError`` where a block would be left empty."""
        block = self.parent(line)
        if not isinstance(block, cst.IndentedBlock | cst.Module) or len(block.body) < 2:
            raise UncertainError("nothing would be left of the block")
        return (*self.whole_line(line), "")


@functools.lru_cache(maxsize=8)
def program_of(text: str) -> Program:
    """The program that a text is, read once; raises ``UncertainError`` where it cannot be read."""
    return Program(text)


@dataclass
class _Everything(cst.CSTVisitor):
    """All nodes, in the order of the text."""

    found: list[cst.CSTNode] = field(default_factory=list)

    def on_visit(self, node: cst.CSTNode) -> bool:
        self.found.append(node)
        return True


def same(one: float | None, other: float | str | None) -> bool:
    """Whether a number in the program is the value that was there before; what is not known is never the same.

    >>> same(0.3, 0.1 + 0.2), same(0.3, 0.2), same(0.3, None), same(None, None)
    (True, False, False, False)
    """
    if one is None or not isinstance(other, float | int):
        return False
    return abs(one - other) <= _CLOSE * max(abs(one), abs(other))


def written(value: float | str | None) -> str:
    """A number as a person writes it.

    >>> written(0.30000000000000004), written(1e-05), written(32.0), written(1.0)
    ('0.3', '1e-5', '32', '1')
    """
    if value is None or isinstance(value, str):
        return str(value)
    return f"{value:.6g}".replace("e-0", "e-").replace("e+0", "e")


def within(found: Sequence[Node], program: Program, line: Lines | None) -> list[Node]:
    """Those of several nodes that stand on the lines that are meant; all of them where none does."""
    if line is None:
        return list(found)
    meant = [node for node in found if program.lines(node)[0] <= line[1] and line[0] <= program.lines(node)[1]]
    return meant or list(found)


def home_of(program: Program, node: cst.CSTNode) -> cst.CSTNode:
    """The outermost class or function that a node stands in, or its statement: what is one model, if anything is."""
    around = [one for one in program.above(node) if isinstance(one, cst.ClassDef | cst.FunctionDef | cst.SimpleStatementLine)]
    return around[-1] if around else node


def alike(found: Sequence[Node], program: Program, line: Lines | None) -> list[Node]:
    """Those of several nodes that stand in one model with one on the lines that are meant: an edit changes all of a model."""
    homes = {id(home_of(program, node)) for node in within(found, program, line)}
    return [node for node in found if id(home_of(program, node)) in homes]


def only(found: Sequence[Node], program: Program, line: Lines | None = None) -> Node | None:
    """The one place that is meant, by its lines where there are several; ``UncertainError`` for several all the same."""
    left = within(found, program, line)
    if len(left) > 1:
        raise UncertainError(f"{len(left)} places could be meant")
    return left[0] if left else None


def call_of(node: cst.CSTNode, method: str) -> cst.Call | None:
    """The call of a method that a statement consists of: ``optimizer.step()`` for "step"."""
    if not isinstance(node, cst.SimpleStatementLine) or len(node.body) != 1 or not isinstance(node.body[0], cst.Expr):
        return None
    value = node.body[0].value
    called = isinstance(value, cst.Call) and isinstance(value.func, cst.Attribute) and value.func.attr.value == method
    return value if called and isinstance(value, cst.Call) else None


def argument(call: cst.Call, keyword: str, place: int | None = None) -> cst.Arg | None:
    """An argument by its keyword, or by its place; raises ``UncertainError`` where ``*`` or ``**`` may hold it."""
    found = [arg for arg in call.args if arg.keyword is not None and arg.keyword.value == keyword]
    if found:
        return found[0]
    if any(arg.star for arg in call.args):
        raise UncertainError("the arguments are not all written here")
    plain = [arg for arg in call.args if arg.keyword is None]
    return plain[place] if place is not None and place < len(plain) else None


def added(program: Program, call: cst.Call, new: str) -> Splice:
    """One more argument at the end of a call, in the manner of the call."""
    if not call.args:
        end = program.span(call)[1] - 1
        return end, end, new
    last = call.args[-1]
    end = program.span(last.value)[1]
    comma = isinstance(last.comma, cst.Comma)
    if comma:  # after the comma that is there, on a line of its own where the arguments have theirs
        end = program.raw.index(b",", end) + 1
    start, first = program.lines(call)[0], program.lines(last)[0]
    if comma and first > start:
        at = program.span(last)[0]
        indent = program.raw[program.raw.rfind(b"\n", 0, at) + 1 : at].decode("utf-8")
        ending = "\r\n" if b"\r\n" in program.raw else "\n"
        if not indent.strip():
            return end, end, f"{ending}{indent}{new},"
    return end, end, f" {new}" if comma else f", {new}"
