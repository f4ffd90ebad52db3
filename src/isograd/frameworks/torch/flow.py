"""How data flows through a model in one forward pass: every leaf module and function call becomes a ``Node``."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from isograd.frameworks.torch.details import of_arguments, of_call
from isograd.frameworks.torch.functions import of_function
from isograd.frameworks.torch.operations import of_module, unit_axis
from isograd.frameworks.torch.places import persons_line, places_of, tensors_in
from isograd.records.anatomy import Node

_BY_PLACE = ("add", "multiply", "attention")
"""Operations for which it counts whether a signal is given twice, and in which place."""
_NO_FLOW = frozenset(
    {"grad", "shape", "zeros_like", "ones_like", "empty_like", "rand_like", "randn_like", "full_like", "new_zeros"}
)


class Flow:
    """Collects the nodes of the passes it is told of, and which node each tensor came out of.

    Tensors are known by identity and a weak reference, so that none lives longer for it. A tensor that came from parameters
    alone (a transposed weight) is no node; what it came from is remembered for the layer that uses it.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.nodes: list[Node] = []
        self.axes: dict[str, int] = {}
        """The axis of the units in the output of each node, where it is known."""
        self._from: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._made_of: dict[int, tuple[weakref.ref[Tensor], tuple[str, ...]]] = {}
        for place in places_of(models):
            self._made_of[id(place.parameter)] = (weakref.ref(place.parameter), (place.name,))
        self._names = {id(place.parameter): place.name for place in places_of(models)}
        self.paths: set[str] = set()
        """The paths of all nodes."""

    def begins(self, arguments: Iterable[Any]) -> None:
        """The tensors that come in from outside."""
        for tensor in tensors_in(tuple(arguments)):
            if self._position(tensor) is None:
                base = path = "input"
                while path in self.paths:
                    path = f"{base}_{sum(node.operation == 'input' for node in self.nodes)}"
                    base = path
                self._add(Node(path, "input", "input", shape=tuple(tensor.shape[1:])), tensor)

    def module(self, path: str, module: nn.Module, arguments: Any, output: Any) -> None:
        """A leaf module has been called."""
        operation, settings = of_module(module)
        settings += of_call(module, *arguments)
        parameters = tuple(self._names[id(p)] for p in module.parameters() if id(p) in self._names)
        inputs = self._each(arguments[0][:3]) if operation == "attention" else ()
        inputs = inputs if len(inputs) == 3 else self._inputs(arguments)
        label = type(module).__name__
        self._node(Node(path, operation, label, inputs, (), settings, parameters, persons_line()), output)

    def function(self, path: str, name: str, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None:
        """A function has been called inside a module."""
        if name in _NO_FLOW:
            return
        inputs, origins = self._inputs((args, kwargs)), self._origins((args, kwargs))
        tensors = list(tensors_in(output))
        if not inputs:
            for tensor in tensors if origins else ():
                self._made_of[id(tensor)] = (weakref.ref(tensor), origins)
            return
        if not any(tensor.is_floating_point() or tensor.is_complex() for tensor in tensors):
            for tensor in tensors:
                self._from[id(tensor)] = (weakref.ref(tensor), inputs[0])
            return
        by_parameter = len(args) > 1 and bool(self._origins(args[1])) and not self._inputs(args[1])
        operation, settings = of_function(name, args, kwargs, by_parameter=by_parameter)
        settings += of_arguments(name, args, kwargs, self._constants(args))
        if operation in _BY_PLACE:
            inputs = self._each(args[:3] if operation == "attention" else args) or inputs
        self._node(Node(path, operation, name, inputs, (), settings, origins, persons_line()), output)

    def _node(self, node: Node, output: Any) -> None:
        tensors = list(tensors_in(output))
        shape = tuple(tensors[0].shape[1:]) if tensors else ()
        if node.path in self.paths:  # a later pass of the same model: the first one stands for it
            position = next(place for place, known in enumerate(self.nodes) if known.path == node.path)
            for tensor in tensors:
                self._from[id(tensor)] = (weakref.ref(tensor), position)
            return
        axis = unit_axis(node.operation, len(shape) + 1)
        if axis is None and node.inputs:
            axis = self.axes.get(self.nodes[node.inputs[0]].path)
        if axis is not None and axis <= len(shape) and node.operation != "reshape":
            self.axes[node.path] = axis
        facts = (node.operation, node.label, node.inputs, shape, node.settings, node.parameters, node.source)
        self._add(Node(node.path, *facts), *tensors)

    def _add(self, node: Node, *tensors: Tensor) -> None:
        for tensor in tensors:
            self._from[id(tensor)] = (weakref.ref(tensor), len(self.nodes))
        self.paths.add(node.path)
        self.nodes.append(node)

    def _position(self, tensor: Tensor) -> int | None:
        known = self._from.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def _constants(self, args: Sequence[Any]) -> list[Tensor]:
        """The tensors that came neither from a node nor from a parameter."""
        return [tensor for tensor in tensors_in(tuple(args)) if self._position(tensor) is None and not self._origins(tensor)]

    def _each(self, arguments: Iterable[Any]) -> tuple[int, ...]:
        """The node that each tensor came out of, one that is given twice twice."""
        found = (self._position(tensor) for tensor in tensors_in(tuple(arguments)))
        return tuple(position for position in found if position is not None)

    def _inputs(self, something: Any) -> tuple[int, ...]:
        found = (self._position(tensor) for tensor in tensors_in(something))
        return tuple(dict.fromkeys(position for position in found if position is not None))

    def _origins(self, something: Any) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for tensor in tensors_in(something):
            known = self._made_of.get(id(tensor))
            if known is not None and known[0]() is tensor:
                names.update(dict.fromkeys(known[1]))
        return tuple(names)
