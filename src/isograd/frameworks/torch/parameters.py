"""Parameters around an optimizer's step: gradient norms, weights, gradients as the optimizer gets them, real updates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from isograd.frameworks.torch.places import Place
from isograd.frameworks.torch.sums import moments, moments_of_all, pairs_of_all, scaled, values_of
from isograd.records.moments import Moments, Pairs
from isograd.records.trace import ParameterSample

LARGE = 32_768
"""Entries from which only every eighth row of a tensor is kept to see its update."""
_STRIDE, _OFFSET = 8, 3
_TINY = {torch.float32: 1e-15, torch.float64: 1e-150}  # below this a sum of squares may have underflowed


@dataclass
class Norms:
    """Norms of gradients on their way from the device: read with ``values`` when the device has long been done."""

    vectors: list[tuple[list[int], Tensor]]
    ready: dict[int, float] = field(default_factory=dict)
    factor: float = 1.0

    def values(self) -> dict[int, float]:
        """The norm for every slot that had a gradient; NaN or infinite where it has such entries."""
        for slots, vector in self.vectors:
            self.ready.update(zip(slots, vector.tolist(), strict=True))
        self.vectors = []
        return {slot: value * self.factor for slot, value in self.ready.items()}


def norms_of(slots: Sequence[int], parameters: Sequence[nn.Parameter], factor: float = 1.0) -> Norms:
    """Euclidean norms of all gradients in one fused call a device, times ``factor``.

    In the memory of the host they are read at once, and those that a float32 sum of squares may have falsified are taken
    again exactly; elsewhere they are summed in float64 and stay on the device until they are asked for.
    """
    norms = Norms([], factor=factor)
    groups: dict[tuple[torch.device, torch.dtype], list[tuple[int, Tensor]]] = {}
    for slot, parameter in zip(slots, parameters, strict=True):
        gradient = parameter.grad
        if gradient is None:
            continue
        values = gradient if gradient.dtype in (torch.float32, torch.float64) and _is_plain(gradient) else values_of(gradient)
        if values is not None and values.numel():
            groups.setdefault((values.device, values.dtype), []).append((slot, values))
    for (device, dtype), group in groups.items():
        where, gradients = [slot for slot, _ in group], [values for _, values in group]
        if device.type == "cpu":
            found = torch.stack(torch._foreach_norm(gradients)).tolist()
            for slot, values, norm in zip(where, gradients, found, strict=True):
                sure = _TINY[dtype] < norm < math.inf
                norms.ready[slot] = norm if sure else _exact(values)
        else:
            norms.vectors.append((where, torch.stack(torch._foreach_norm(gradients, 2, torch.float64))))
    return norms


def as_they_are(places: Sequence[Place]) -> tuple[ParameterSample, ...]:
    """The weights without a step around them."""
    found = moments_of_all([place.parameter for place in places])
    return tuple(ParameterSample(place.name, of) for place, of in zip(places, found, strict=True) if of is not None)


def norm_of(found: Moments) -> float:
    """The norm that says so where entries are not finite."""
    return math.nan if found.nans else math.inf if found.infs else found.norm


def _exact(values: Tensor) -> float:
    found = moments(values)
    return 0.0 if found is None else norm_of(found)


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and type(tensor) in (Tensor, nn.Parameter)


@dataclass
class Motion:
    """The parameters of one optimizer from just before its step to just after it."""

    slots: list[int]
    names: list[str]
    parameters: list[nn.Parameter]
    everything: bool
    weights: list[Moments | None] = field(default_factory=list)
    gradients: list[Moments | None] = field(default_factory=list)
    turns: list[Pairs | None] = field(default_factory=list)
    _before: list[Tensor | None] = field(default_factory=list)

    def before(self) -> None:
        """Sum the weights, and keep of large ones every eighth row."""
        self.weights = moments_of_all(self.parameters)
        self._before = [_copy(values_of(self._rows(parameter, parameter))) for parameter in self.parameters]

    def arrived(self, last: dict[int, Tensor], factor: float) -> None:
        """Sum the gradients as the optimizer gets them (times ``factor``), and compare with ``last``, which is renewed."""
        gradients = [parameter.grad for parameter in self.parameters]
        found = moments_of_all(gradients)
        self.gradients = [scaled(of, factor) if of is not None and factor != 1.0 else of for of in found]
        rows = [
            None if gradient is None or not _is_plain(gradient) else values_of(self._rows(parameter, gradient))
            for parameter, gradient in zip(self.parameters, gradients, strict=True)
        ]
        self.turns = pairs_of_all(rows, [last.get(slot) for slot in self.slots])
        for slot, row in zip(self.slots, rows, strict=True):
            if row is None:
                last.pop(slot, None)
            elif (kept := last.get(slot)) is not None and kept.shape == row.shape and kept.dtype == row.dtype:
                kept.copy_(row)
            else:
                last[slot] = row.clone()

    def along(self, last: dict[int, Tensor]) -> float:
        """Cosine of the update and the gradients that ``arrived`` left in ``last``; NaN where either is zero."""
        now = [values_of(self._rows(parameter, parameter)) for parameter in self.parameters]
        updates = [
            None if a is None or b is None or a.shape != b.shape else a - b for a, b in zip(now, self._before, strict=True)
        ]
        pairs = [one for one in pairs_of_all(updates, [last.get(slot) for slot in self.slots]) if one is not None]
        return sum(pairs[1:], pairs[0]).cosine if pairs else math.nan

    def after(self) -> list[ParameterSample]:
        """Take the update: what the weights are now less what they were."""
        now = [values_of(self._rows(parameter, parameter)) for parameter in self.parameters]
        updates = [
            None if a is None or b is None or a.shape != b.shape else a - b for a, b in zip(now, self._before, strict=True)
        ]
        samples = zip(
            self.names,
            self.weights,
            self.gradients,
            moments_of_all(updates),
            pairs_of_all(updates, self._before),
            self.turns,
            strict=True,
        )
        self._before = []
        return [ParameterSample(name, weight, *rest) for name, weight, *rest in samples if weight is not None]

    def _rows(self, parameter: nn.Parameter, tensor: Tensor) -> Tensor:
        """All of a small tensor, some rows of a large one; all rows where the gradient is sparse, because it has few."""
        local: Tensor = getattr(tensor, "_local_tensor", tensor).detach()
        gradient = parameter.grad
        sparse = gradient is not None and gradient.layout != torch.strided
        if self.everything or sparse or local.numel() <= LARGE or len(local) < 2 * _STRIDE:
            return local
        return local[_OFFSET::_STRIDE]


def _copy(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.clone()
