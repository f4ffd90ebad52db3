"""What the layers put out and what gradient comes back to them, in the passes of one sampled step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from isograd.frameworks.torch.alike import gram
from isograd.frameworks.torch.hooks import Quiet, is_recomputation
from isograd.frameworks.torch.operations import UNMEASURED, flat_part
from isograd.frameworks.torch.places import tensors_in
from isograd.frameworks.torch.recurrent import Replay, replay_of
from isograd.frameworks.torch.sums import moments, moments_and_units, scaled
from isograd.records.anatomy import WEIGHTED, Settings, spoken
from isograd.records.fact import Fact
from isograd.records.moments import Gram, Moments, Units
from isograd.records.trace import Attention, LayerSample

COMPARED = 256
"""Places of one step whose examples are compared; a loop over time makes a place of every call."""


@dataclass
class _Entry:
    where: str
    call: int
    examples: int
    activation: Moments | None
    units: Units | None
    gram: Gram | None
    gradient: Moments | None = None
    replay: Replay | None = None
    through_time: tuple[Moments, ...] = ()
    attention: Attention | None = None


@dataclass
class Layers:
    """The samples of one step. Nothing of the person's is kept: sums at once, and a hook for the gradient on each output.

    ``call`` counts the passes of the step in which a place was reached (micro-batches; a discriminator's two passes). A part
    that a checkpoint computes again is counted once: in the pass that has a graph.
    """

    axes: Mapping[str, int]
    spent: Callable[[float], None]
    failed: Callable[[Exception], None]
    deep: bool = False
    """Whether this look takes what is dear as well."""
    open: bool = True
    scale: float = 1.0
    """By how much the loss of the present backward pass is scaled; its gradients are divided by it."""
    stream: Tensor | None = None
    """The random stream as the recurrent layer that runs now found it."""
    edges: list[GradientEdge] | None = None
    """Where the outputs of the layers stand in the graph, if somebody wants to send gradients through them."""
    facts: list[Fact] = field(default_factory=list)
    entries: dict[tuple[str, int], _Entry] = field(default_factory=dict)
    _cells: dict[tuple[str, int], list[_Entry]] = field(default_factory=dict)
    _calls: dict[str, int] = field(default_factory=dict)
    _single: bool = False
    """Whether a layer was given one example without a batch axis."""

    def see(self, where: str, operation: str, settings: Settings, output: Any, *, learning: bool) -> None:
        """Take the sums of a layer's output, and ask for its gradient."""
        if operation in UNMEASURED:
            return
        tensor = next((t for t in tensors_in(output) if t.is_floating_point() or t.is_complex()), None)
        if tensor is None or not (learning or tensor.requires_grad) or (is_recomputation() and where in self._calls):
            return
        if operation == "activation" and tensor.ndim > 1:
            axis = self.axes.get(where, 1 if tensor.ndim > 3 else -1)
            activation, units = moments_and_units(tensor, axis, flat_part(settings))
        else:
            activation, units = moments(tensor), None
        if activation is None:
            return
        call = self._calls.get(where, -1) + 1
        self._calls[where] = call
        self._single = self._single or (operation == "linear" and tensor.ndim == 1)
        examples = len(tensor) if tensor.ndim > 1 or (tensor.ndim and not self._single) else int(self._single)  # no axis: a sum
        entry = _Entry(where, call, examples, activation, units, self._alike(where, operation, tensor))
        self.entries[where, call] = entry
        if operation == "recurrent" and dict(settings).get("cell"):
            self._cells.setdefault((where.partition("@")[0], call), []).append(entry)
        if not tensor.is_leaf:
            tensor.register_hook(self._gradient_of(entry))  # type: ignore[no-untyped-call]
            if self.edges is not None:
                self.edges.append(get_gradient_edge(tensor))

    def see_through_time(self, where: str, module: nn.RNNBase, arguments: Any, output: Any) -> None:
        """After ``see``, on a deep look: keep what it takes to follow the gradient back through the steps of a fused layer."""
        entry = self.entries.get((where, self._calls.get(where, -1)))
        if not self.deep or entry is None or entry.replay is not None:
            return
        args, kwargs = arguments
        given, initial = (*args, kwargs.get("input"), kwargs.get("hx"))[:2] if args else (kwargs["input"], kwargs.get("hx"))
        found = replay_of(module, given, initial, output, self.stream)
        if isinstance(found, str):
            reason = f"{spoken(where)} was not followed through time: {found}"
            self.facts.append(Fact("unseen", where, settings=(("reason", reason),)))
            return
        entry.replay = found
        finals = output[1] if isinstance(output[1], tuple) else (output[1],)
        for name, tensor in zip(("output", "h", "c"), (next(tensors_in(output[0])), *finals), strict=False):
            if not tensor.is_leaf:
                tensor.register_hook(self._final_of(entry, name))

    def see_attention(self, where: str, found: Attention | None) -> None:
        """After ``see``: how the attention at this place spreads."""
        entry = self.entries.get((where, self._calls.get(where, -1)))
        if entry is not None:
            entry.attention = found

    def settle(self) -> None:
        """All gradients of the step have arrived: run the recurrent layers again, while their weights are what they were."""
        for entry in self.entries.values():
            if entry.replay is not None and entry.replay.arrived:
                entry.through_time, entry.replay = entry.replay.run(), None

    def _alike(self, where: str, operation: str, output: Tensor) -> Gram | None:
        if not self.deep or operation not in (*WEIGHTED, "activation") or len(self.entries) >= COMPARED:
            return None
        return gram(output, sequence=self.axes.get(where, -1) != 1)

    def _gradient_of(self, entry: _Entry) -> Callable[[Tensor], None]:
        def take(gradient: Tensor) -> None:
            found = moments(gradient)
            if found is not None:
                found = scaled(found, 1 / self.scale) if self.scale != 1.0 else found
                entry.gradient = found if entry.gradient is None else entry.gradient + found

        return self.arriving(take)

    def _final_of(self, entry: _Entry, name: str) -> Callable[[Tensor], None]:
        def take(gradient: Tensor) -> None:
            if entry.replay is not None:
                entry.replay.hear(name, gradient, self.scale)

        return self.arriving(take)

    def arriving(self, take: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
        """A hook that takes a gradient while the step is open; what that costs is counted, and no error of it goes on."""

        def arrives(gradient: Tensor) -> None:
            if not self.open:
                return
            start = time.thread_time()
            try:
                with Quiet():
                    take(gradient)
                self.spent(time.thread_time() - start)
            except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's backward pass
                self.failed(error)

        return arrives

    def close(self) -> tuple[LayerSample, ...]:
        """What was seen; hooks that are still on some graph do nothing from here on."""
        self.open = False
        for calls in self._cells.values():
            if len(calls) > 1:  # a cell that is called again and again in one pass: each call is a time step
                calls[0].through_time = tuple(entry.gradient or _nothing(entry) for entry in calls)
        for entry in self.entries.values():
            entry.replay = None
        return tuple(
            LayerSample(
                entry.where,
                entry.call,
                entry.examples,
                entry.activation,
                entry.gradient,
                entry.units,
                entry.through_time,
                entry.gram,
                entry.attention,
            )
            for entry in self.entries.values()
        )


def _nothing(entry: _Entry) -> Moments:
    count = entry.activation.entries if entry.activation else 0
    return Moments(count, zeros=count)
