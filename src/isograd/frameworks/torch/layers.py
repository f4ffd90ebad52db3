"""What the layers put out and what gradient comes back to them, in the passes of one sampled step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from isograd.frameworks.torch.alike import gram
from isograd.frameworks.torch.hooks import Quiet, is_recomputation
from isograd.frameworks.torch.operations import UNMEASURED, flat_part
from isograd.frameworks.torch.places import tensors_in
from isograd.frameworks.torch.sums import moments, moments_and_units, scaled
from isograd.records.anatomy import WEIGHTED, Settings
from isograd.records.moments import Gram, Moments, Units
from isograd.records.trace import LayerSample


@dataclass
class _Entry:
    where: str
    call: int
    examples: int
    activation: Moments | None
    units: Units | None
    gram: Gram | None
    gradient: Moments | None = None


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
    entries: dict[tuple[str, int], _Entry] = field(default_factory=dict)
    _calls: dict[str, int] = field(default_factory=dict)

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
        entry = _Entry(where, call, len(tensor) if tensor.ndim else 1, activation, units, self._alike(where, operation, tensor))
        self.entries[where, call] = entry
        if not tensor.is_leaf:
            tensor.register_hook(self._gradient_of(entry))  # type: ignore[no-untyped-call]

    def _alike(self, where: str, operation: str, output: Tensor) -> Gram | None:
        if not self.deep or operation not in (*WEIGHTED, "activation"):
            return None
        return gram(output, sequence=self.axes.get(where, -1) != 1)

    def _gradient_of(self, entry: _Entry) -> Callable[[Tensor], None]:
        def arrives(gradient: Tensor) -> None:
            if not self.open:
                return
            start = time.thread_time()
            try:
                with Quiet():
                    found = moments(gradient)
                    if found is not None:
                        found = scaled(found, 1 / self.scale) if self.scale != 1.0 else found
                        entry.gradient = found if entry.gradient is None else entry.gradient + found
                self.spent(time.thread_time() - start)
            except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's backward pass
                self.failed(error)

        return arrives

    def close(self) -> tuple[LayerSample, ...]:
        """What was seen; hooks that are still on some graph do nothing from here on."""
        self.open = False
        return tuple(
            LayerSample(entry.where, entry.call, entry.examples, entry.activation, entry.gradient, entry.units, gram=entry.gram)
            for entry in self.entries.values()
        )
