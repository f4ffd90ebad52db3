"""How a looked-at step runs its models: modes, gradients on or off, what leaves the graph, how gradients are clipped."""

from __future__ import annotations

import ast
import inspect
import math
import re
import sys
import textwrap
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

from torch import Tensor, nn

from isograd.frameworks.torch.places import is_persons, persons_line, tensors_in
from isograd.records.fact import Fact

LEAVING = {"detach": "detach", "data": "data", "numpy": "numpy", "item": "item", "tolist": "tolist"}
LEAVING |= {"tensor": "rewrap", "as_tensor": "rewrap"}
"""Functions after which a value has no graph, and what they are called in a fact."""
CLIPPING = frozenset({"clamp", "foreach_clamp_min"})
RESHAPING = frozenset({"view", "reshape"})
DROPPING = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"})
METHODS = 6
"""Functions of the program, from within outwards, that may see to the mode."""
SAYING = 3
"""Arguments of a dropout of which the last is the mode."""
_MODES = re.compile(r"train|eval|sampl|monte|mc_|bayes|nois|augment|corrupt|perturb", re.IGNORECASE)
HEEDED = frozenset(LEAVING) | CLIPPING | RESHAPING | DROPPING
FACTS = 8
"""Places told of one kind in one step at most."""
CHANGES = 64
"""Changes in place that are remembered of one step."""
_DEPTH = 8


@dataclass
class Conduct:
    """What is seen of the passes of one step."""

    evaluated: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Models called in evaluation mode with gradients on: which layers behave differently, and whether they are new."""
    unmeasured: dict[str, str] = field(default_factory=dict)
    """Batch norms that ran in evaluation mode inside a model in training mode, without statistics: their kind, by path."""
    trained: set[str] = field(default_factory=set)
    unlearning: dict[str, str] = field(default_factory=dict)
    """Models called in training mode with gradients off."""
    facts: dict[tuple[str, str, str | None], Fact] = field(default_factory=dict)
    changes: list[tuple[tuple[int, ...], str | None]] = field(default_factory=list)
    """Shape and line of what was changed in place."""
    after: str = ""
    _states: list[weakref.ref[Tensor]] = field(default_factory=list)
    """Final states of recurrent layers: (layers, batch, hidden)."""
    _learning: bool = True
    _training: bool = True

    def begin(self) -> None:
        """A new step."""
        for kept in (self.evaluated, self.unmeasured, self.trained, self.unlearning, self.facts):
            kept.clear()
        self.changes.clear()
        self._states.clear()
        self.after = ""

    def enters(self, module: nn.Module, path: str, *, outermost: bool, learning: bool) -> None:
        """A module is about to run."""
        if outermost:
            self._learning, self._training = learning, module.training
            if learning and module.training:
                self.trained.add(path)
            elif learning and path not in self.evaluated and (kinds := changed(module, training=False)):
                self.evaluated[path] = kinds, _untouched(module)
            elif module.training and not learning and path not in self.unlearning:
                self.unlearning[path] = changed(module, training=True)
        elif self._learning and not learning and any(p.requires_grad for p in module.parameters(recurse=False)):
            self._left("no_grad", path)
        elif learning and self._training and path not in self.unmeasured and _unmeasured(module):
            self.unmeasured[path] = type(module).__name__

    def met(self, module: nn.Module, path: str) -> None:
        """A module runs that no watched model holds."""
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and self._training:
            self._dropped(path.rpartition(".")[0], float(module.p), f"nn.{type(module).__name__}")

    def calls(self, name: str, path: str | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """A function that is heeded here is called."""
        if name in DROPPING:
            if path is not None and self._training and kwargs.get("training", True):
                given = isinstance(args[0], Tensor) and not args[0].requires_grad if args else False
                self._dropped(path, float(kwargs.get("p", 0.5)), f"F.{name}", given=given)
        elif name in LEAVING:
            value = args[0] if args else None
            if not isinstance(value, Tensor) or (path is None and value.numel() == 1):
                return
            numbers = name == "numpy" and path is not None and self._learning  # after a detach it needs no gradient any more
            if numbers or (value.requires_grad and not value.is_leaf):
                self._left(LEAVING[name], path or "")
        elif path is None and name in CLIPPING:
            self._clipped()
        elif name in RESHAPING and args and isinstance(args[0], Tensor):
            self._reshaped(name, path or "", args[0], args[1:])

    def ran(self, module: nn.Module, path: str, output: Any) -> None:
        """A leaf module has run."""
        self.after = path
        if isinstance(module, nn.RNNBase) and isinstance(output, tuple) and len(self._states) < FACTS:
            self._states += [weakref.ref(state) for state in tensors_in(output[1]) if state.ndim == 3]

    def changed(self, tensor: Any) -> None:
        """A tensor is changed in place."""
        if isinstance(tensor, Tensor) and not isinstance(tensor, nn.Parameter) and len(self.changes) < CHANGES:
            self.changes.append((tuple(tensor.shape), persons_line()))

    def close(self, stepped: Callable[[str], bool]) -> Iterator[Fact]:
        """What is to be told; ``stepped`` says whether the parameters of a model got a gradient and were stepped."""
        for path, (kinds, fresh) in self.evaluated.items():
            if path not in self.trained and stepped(path):
                yield Fact("evaluation_mode", path, settings=(("kinds", kinds), ("fresh", fresh)))
        for path, kind in list(self.unmeasured.items())[:FACTS]:
            yield Fact("evaluation_mode", path, settings=(("kinds", kind), ("fresh", True), ("alone", True)))
        for path, kinds in self.unlearning.items():
            if kinds:
                yield Fact("training_mode", path, settings=(("kinds", kinds),))
        yield from self.facts.values()

    def _dropped(self, path: str, p: float, kind: str, *, given: bool = False) -> None:
        source = persons_line()
        key = ("dropout_stays", path, source)
        if (
            p > 0.0
            and self._learning
            and key not in self.facts
            and len(self.facts) < FACTS
            and stays(layer=kind.startswith("nn."))
        ):
            self.facts[key] = Fact("dropout_stays", path, source, (("p", p), ("kind", kind), ("given", given)))

    def _left(self, operation: str, path: str) -> None:
        source = persons_line()
        key = (operation, path, source)
        if key not in self.facts and len(self.facts) < FACTS:
            self.facts[key] = Fact("detached", path, source, (("operation", operation), ("after", self.after)))

    def _reshaped(self, operation: str, path: str, tensor: Tensor, sizes: Sequence[Any]) -> None:
        named = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
        if not all(isinstance(size, int) for size in named):
            return  # a view of the same bytes as another type
        made = swapped(tuple(tensor.shape), tuple(named)) or self._joined(tensor, tuple(named))
        if made and ("reshaped", path, None) not in self.facts:
            left, right = ("x".join(map(str, shape)) for shape in (tensor.shape, made))
            settings = (("left", left), ("right", right), ("operation", operation))
            self.facts["reshaped", path, None] = Fact("axes_reshaped", path, persons_line(), settings)

    def _joined(self, tensor: Tensor, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The shape (batch, rest) that final states (layers, batch, hidden) are laid out in as they lie; else nothing."""
        known = any(tensor is state() or (tensor._base is not None and tensor._base is state()) for state in self._states)
        if not known or tensor.ndim != 3 or min(tensor.shape[:2]) < 2 or len(sizes) != 2 or not tensor.is_contiguous():
            return ()
        made = tensor.shape[1], tensor.shape[0] * tensor.shape[2]
        return made if all(size in (-1, whole) for size, whole in zip(sizes, made, strict=True)) else ()

    def _clipped(self) -> None:
        frame: FrameType | None = sys._getframe(1)
        for _ in range(_DEPTH):
            if frame is None or frame.f_code.co_filename.endswith("clip_grad.py"):
                break
            frame = frame.f_back
        else:
            return
        if frame is None:
            return
        known = frame.f_locals
        bound, norm = known.get("max_norm", known.get("clip_value")), known.get("total_norm")
        if isinstance(bound, float | int) and ("clipped", "", None) not in self.facts:
            norm = float(norm) if isinstance(norm, Tensor) and norm.numel() == 1 else -1.0
            kind = "norm" if "max_norm" in known else "value"
            settings = (("bound", float(bound)), ("norm", norm), ("by", kind))
            self.facts["clipped", "", None] = Fact("clipped", source=persons_line(), settings=settings)


def changed(module: nn.Module, *, training: bool) -> str:
    """The kinds of layers inside that behave differently in training, and are in that mode."""
    kinds = {
        type(one).__name__
        for one in module.modules()
        if one.training is training
        and (
            (isinstance(one, nn.modules.dropout._DropoutNd) and one.p > 0)
            or (isinstance(one, nn.modules.batchnorm._BatchNorm) and one.track_running_stats)
        )
    }
    return ", ".join(sorted(kinds))


def _unmeasured(module: nn.Module) -> bool:
    """Whether it is a batch norm that divides by running statistics which are the 0 and 1 that they began at."""
    if not isinstance(module, nn.modules.batchnorm._BatchNorm) or module.training or not module.track_running_stats:
        return False
    mean, variance = module.running_mean, module.running_var
    return mean is not None and variance is not None and not mean.any() and bool((variance == 1.0).all())


def _untouched(module: nn.Module) -> bool:
    """Whether a batch norm inside has never seen a batch in training."""
    norms = [one for one in module.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    counts = [one.num_batches_tracked for one in norms if isinstance(one.num_batches_tracked, Tensor)]
    return any(int(count) == 0 for count in counts[:1])


def swapped(shape: tuple[int, ...], sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape that a reshape to ``sizes`` makes, where that is ``shape`` with axes in another order; else nothing.

    Axes of length 1 may stand anywhere, and axes of one length cannot be told apart.

    >>> swapped((32, 30, 6), (32, 6, -1)), swapped((32, 1, 28), (32, 28, 1)), swapped((32, 30, 6), (32, 180))
    ((32, 6, 30), (), ())
    """
    if len(sizes) != len(shape) or len(shape) < 3 or not all(isinstance(size, int) for size in sizes) or 0 in shape:
        return ()
    known = math.prod(size for size in sizes if size != -1)
    made = tuple(math.prod(shape) // known if size == -1 else size for size in sizes)
    same = [size for size in made if size != 1] == [size for size in shape if size != 1]
    return made if sorted(made) == sorted(shape) and not same else ()


def stays(*, layer: bool = False) -> bool:
    """Whether nothing in the functions that run now, up to the model's own, speaks of the mode of the dropout being called.

    ``F.dropout(x, 0.5)`` is on by default, and a layer that no module holds never hears of the mode. Whether the program sees
    to it in another way is read from the source of the functions that run: where one of them so much as speaks of training or
    of noise, hands on a third argument, or runs that line where a flag of its own is set, nothing is said; nor where a model
    that hands on its mode in a way of its own calls a ``layer``.
    """
    running = list(_running())
    if layer and any(type(frame.f_locals.get("self")).__dict__.keys() & {"train", "eval"} for frame in running):
        return False
    return bool(running) and not any(_speaks(frame.f_code, frame.f_lineno) for frame in running)


def _running() -> Iterator[FrameType]:
    """The innermost function of the program, and the methods of modules that called it."""
    frame: FrameType | None = sys._getframe(1)
    found = 0
    while frame is not None and found < METHODS:
        if is_persons(frame):
            if found and not isinstance(frame.f_locals.get("self"), nn.Module):
                return
            found += 1
            yield frame
        frame = frame.f_back


@lru_cache(maxsize=256)
def _speaks(code: CodeType, line: int) -> bool:
    """Whether a function's source speaks of a mode, or gives a dropout all its arguments; also where it cannot be read."""
    if code.co_name == "<module>":
        return True
    try:
        source = textwrap.dedent(inspect.getsource(code))
        nodes = list(ast.walk(ast.parse(source)))
    except (OSError, SyntaxError, TypeError, ValueError):
        return True
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    said = any(len(call.args) >= SAYING and "dropout" in ast.unparse(call.func).lower() for call in calls)
    return said or _MODES.search(source) is not None or _flagged(nodes, line - code.co_firstlineno + 1)


def _flagged(nodes: Sequence[ast.AST], line: int) -> bool:
    """Whether a line runs only where a flag is set or not: a name, or an attribute that does not ask for dropout at all."""
    asked = [
        node.test
        for node in nodes
        if isinstance(node, ast.If | ast.IfExp) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    parts = [part for test in asked for part in (test.values if isinstance(test, ast.BoolOp) else (test,))]
    bare = [part.operand if isinstance(part, ast.UnaryOp) else part for part in parts]
    return any(isinstance(one, ast.Name) or (isinstance(one, ast.Attribute) and "drop" not in one.attr.lower()) for one in bare)
