"""What the passes of one sampled step show: inputs, layers, loss, and at first how data flows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from isograd.frameworks.torch import attention
from isograd.frameworks.torch.budget import replay_due
from isograd.frameworks.torch.calls import Calls
from isograd.frameworks.torch.derivatives import flat_derivative
from isograd.frameworks.torch.evaluations import Evaluations
from isograd.frameworks.torch.flow import Flow
from isograd.frameworks.torch.functions import of_function
from isograd.frameworks.torch.heads import HEADS, LAYER, mark, tag
from isograd.frameworks.torch.hooks import is_recomputation
from isograd.frameworks.torch.inputs import input_sample, merged
from isograd.frameworks.torch.lagging import lag_of
from isograd.frameworks.torch.layers import Layers
from isograd.frameworks.torch.operations import LOSSES, loss_name, name_of, of_module
from isograd.frameworks.torch.places import persons_line, tensors_in
from isograd.frameworks.torch.recurrent import stream_of
from isograd.frameworks.torch.replaying import replayed
from isograd.frameworks.torch.sameness import Sameness
from isograd.frameworks.torch.tape import Tape
from isograd.records.anatomy import WEIGHTED
from isograd.records.batch import InputSample, LossSample, Replay
from isograd.records.fact import Fact
from isograd.records.trace import deep


class Passes:
    """Eyes of a live loop (``hooks.Eyes``): they hand each call to ``Layers``, and in the first pass of a model to ``Flow``."""

    def __init__(
        self,
        models: Sequence[nn.Module],
        spent: Callable[[float], None],
        failed: Callable[[Exception], None],
        tried: Evaluations | None = None,
        planned: int | None = None,
    ) -> None:
        self._tried = Evaluations() if tried is None else tried
        self.flow = Flow(models)
        self.tape = Tape()
        self.loss_name: str | None = None
        self.spent, self.failed = spent, failed
        self.learning: Callable[[], bool] = lambda: True
        self._same = Sameness()
        self._heads: dict[tuple[str, str | None, tuple[str, ...]], tuple[str, str | None]] = {}
        self._followed: set[str] = set()
        self._following = False
        self._steps, self._looks, self._deep = -1, 0, 0
        self._planned, self.replayed, self.unknown = planned, 0, False
        self.begin()

    def begin(self, index: int = 1, *, again: bool = True) -> None:
        """Step ``index`` begins: forget the last one. ``again``: a loss that nobody knows may be computed again in it."""
        self.layers = Layers(self.flow.axes, self.spent, self.failed)
        self.inputs: dict[tuple[str, int], InputSample] = {}
        self._same.begin()
        self.calls = Calls(self.layers.arriving)
        self._index = index
        self._lags: dict[str, Fact] = {}
        self.tape.clear(lost=not (again and replay_due(index, self.replayed, self._planned)))
        self.replays: tuple[Replay, ...] = ()
        self._fed: dict[int, int] = {}
        self._steps, self._begun = self._steps + 1, False

    def begins(self, path: str, arguments: Sequence[Any]) -> None:
        """An outermost watched module is called."""
        if not self._begun:
            self._begun, self._looks = True, self._looks + 1
            self.layers.deep = deep(self._looks, self._steps, self._deep)
            self._deep = self._steps if self.layers.deep else self._deep
        self._following = path not in self._followed and not is_recomputation()
        if self._following:
            self._followed.add(path)
            self.flow.begins(arguments)
        if is_recomputation() or not self.learning():
            return
        self._take(path, 0, arguments)
        self._same.look(self.inputs, arguments)

    def ends(self, path: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        """What came in by name is counted after what came by position."""
        if not is_recomputation() and self.learning():
            self._take(path, sum(1 for _ in tensors_in(tuple(arguments))), tuple(keywords.values()))

    def _take(self, path: str, first: int, arguments: Sequence[Any]) -> None:
        for position, tensor in enumerate(tensors_in(tuple(arguments)), first):
            found = input_sample(path, position, tensor, closely=self._following)
            if found is not None:
                known = self.inputs.get((path, position))
                self.inputs[path, position] = found if known is None else merged(known, found)

    def recurs(self, module: nn.RNNBase) -> None:
        """A recurrent layer is about to run."""
        self.layers.stream = stream_of(module) if self.layers.deep else None

    def module(self, path: str, module: nn.Module, arguments: Any, output: Any) -> None:
        """A leaf module has been called."""
        if self._following:
            self.flow.module(path, module, arguments, output)
        operation, settings = of_module(module)
        self.layers.see(path, operation, settings, output, learning=self.learning())
        if isinstance(module, nn.RNNBase):
            self.layers.see_through_time(path, module, arguments, output)
        elif self.layers.deep and isinstance(module, nn.MultiheadAttention):
            self.layers.see_attention(path, attention.of_module(module, *arguments))
        elif self.layers.deep and isinstance(module, nn.Softmax):
            self.layers.see_attention(path, attention.of_softmax(next(tensors_in(arguments), None), module.dim))
        if operation == "norm" and (lag := lag_of(module, next(tensors_in(arguments), None))) is not None:
            self._lags[path] = Fact("statistics_lag", path, settings=lag)
        if operation in ("activation", "softmax"):
            tag(output, path, None)
        elif operation in WEIGHTED:
            mark(output, LAYER, path)
        elif operation == "unknown" and (name := loss_name(module)) in LOSSES:
            args, kwargs = arguments
            self.calls.called(name, args, kwargs, output, training=self.learning(), module=module)

    def function(self, path: str, name: str, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None:
        """A function has been called inside a watched module."""
        if self._following:
            self.flow.function(path, name, args, kwargs, output)
        if path in self.flow.paths:
            operation, settings = of_function(name, args, kwargs, by_parameter=False)
            self.layers.see(path, operation, settings, output, learning=self.learning())
            if self.layers.deep and name == "scaled_dot_product_attention":
                self.layers.see_attention(path, attention.of_fused(args, kwargs))
            elif self.layers.deep and name == "softmax":
                axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
                self.layers.see_attention(path, attention.of_softmax(kwargs.get("input", args[0] if args else None), axis))
        if name in HEADS:
            tag(output, path, None)
        elif name in LOSSES:
            self.calls.called(name, args, kwargs, output, training=self.learning())

    def attends(self) -> bool:
        """Whether an evaluation is to be heard."""
        return self._tried.attends()

    def doubts(self) -> bool:
        """Whether a pass in training mode may be of an evaluation."""
        return self._tried.doubts

    def answers(self, name: str, args: Sequence[Any], output: Any) -> None:
        """Answers of an evaluation are asked for, or compared."""
        if name == "eq":
            self._tried.compared(args, output)
        else:
            self._tried.answered(output)

    def outside(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], output: Any, *, evaluation: bool) -> None:
        """The loss, and what leads to it."""
        training = self.learning() and not evaluation
        if name in LOSSES:
            if not self.learning() or self._tried.alone:
                self._tried.called(name, args, kwargs, output)
                return
            self.loss_name = name
            self.calls.called(name, args, kwargs, output, training=training)
            self._fed[len(self.calls.samples) - 1] = self._tried.loader()
        elif not self._tried.alone:
            self.calls.heard(name, args, output, training=training)

    def returned(self, output: Any) -> None:
        """What a model has put out."""
        if not self._tried.alone:
            self.tape.returned(output)

    def follows(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None:
        """A part of the way from there to the loss."""
        self.tape.called(function, args, kwargs, output)
        flat = flat_derivative(name_of(function), args, kwargs, output)
        if flat is not None:
            known = self.calls.facts.get(("derivative", ""))
            flat = flat and (known is None or bool(known.get("flat", False)))
            self.calls.facts["derivative", ""] = Fact("derivative", "", persons_line(), (("flat", flat),))

    def backward(self, root: Any) -> None:
        """A backward pass is about to begin; of the first of a step whose loss nobody knows other answers are tried."""
        if isinstance(root, Tensor) and root.numel() == 1:
            self.calls.backward(root)
            self.unknown = not self.calls.known(root)
            if self.unknown and self.tape.outputs:
                found = replayed(self.tape, root, persons_line())
                self.replays, self.replayed = () if found is None else (found,), self._index
        self.tape.clear(lost=True)

    def losses(self, total: float | None) -> tuple[LossSample, ...]:
        """The losses of the step, ``total`` what was stepped; heads inside the models get the line of their node's call."""
        samples = self.calls.close(total)
        self._tried.tried(samples, self._fed)
        return tuple(self._headed(sample) for sample in samples)

    def _headed(self, sample: LossSample) -> LossSample:
        """The sample with the place of its head; where the models were not looked into, the one that it had before."""
        key = (sample.function, sample.source, sample.head)
        if sample.head_where:
            self._heads[key] = self._place(sample.head_where)
        if sample.head and (sample.head_where or not sample.head_source) and key in self._heads:
            place, line = self._heads[key]
            return dataclasses.replace(sample, head_where=place, head_source=line)
        return sample

    def facts(self) -> tuple[Fact, ...]:
        """What the calls of the loss show of the program, and which layers could not be followed."""
        found = [
            dataclasses.replace(fact, where=place, source=line) if fact.where else fact
            for fact in self.calls.facts.values()
            for place, line in [self._place(fact.where)]
        ]
        known = (*self.layers.facts, *self._lags.values())
        found.extend(dataclasses.replace(fact, source=self._place(fact.where)[1]) for fact in known)
        return (*found, *self.calls.dropped(), *self._same.close(self.inputs, tuple(self.calls.samples)))

    def _place(self, path: str) -> tuple[str, str | None]:
        """The path of a head that is a module, "" for one that is a function, and its line."""
        node = next((node for node in self.flow.nodes if node.path == path), None)
        if node is None:
            return path, None
        return (path if node.label[:1].isupper() else ""), node.source
