"""Try a training on copies: the loss along the first real step, and the thin probe, some tens of steps on few examples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isograd.errors import IsogradError
from isograd.frameworks.torch.batches import inputs_of, loss_of, outputs_of, targets_of
from isograd.frameworks.torch.glancing import glance, head_of
from isograd.frameworks.torch.places import tensors_in
from isograd.frameworks.torch.state import same_random_streams
from isograd.records.fact import Fact
from isograd.records.probe import Probe
from isograd.records.trace import Trace

if TYPE_CHECKING:
    from isograd.frameworks.torch.patient import TorchPatient

STEPS, SIZE = 40, 8
"""Steps of the thin probe at most, and examples in each at least; more where the run is so long that they cost little."""
SHARE = 0.02
"""What it may cost, of the examples of the announced run."""
STRETCH = 10.0
"""How many of the optimizer's own steps one of the probe stands for, at most."""
TRUST = 0.5
"""Of the distance to the lowest point along the step so much is gone at most: batches of 8 know the curvature badly."""


class Along:
    """What an optimizer's first two steps on one batch say of the loss along the first; hooks of its own, gone at the end.

    ``promised`` is the first gradient times the step, ``met`` the gradient after the step times the same step: in a quadratic
    model their difference is the curvature along it, d'Hd.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self._handles = (
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        )
        self._weights: list[Tensor] = []
        self._gradients: list[Tensor | None] = []
        self._step: list[Tensor] = []
        self._steps = 0
        self.promised = self.met = math.nan

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
        self._weights, self._gradients, self._step = [], [], []

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What was found, where both steps were seen."""
        if not (math.isfinite(self.promised) and math.isfinite(self.met)):
            return ()
        return (Fact("first_step", "optimizer", settings=(("promised", self.promised), ("met", self.met))),)

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._steps == 1 and self._step:
            self.met = self._along([p.grad for p in self._parameters])
        elif self._steps == 0:
            self._weights = [p.detach().clone() for p in self._parameters]
            self._gradients = [None if p.grad is None else p.grad.detach().clone() for p in self._parameters]

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._steps += 1
        if self._steps == 1 and any(g is not None for g in self._gradients):
            self._step = [p.detach() - w for p, w in zip(self._parameters, self._weights, strict=True)]
            self.promised = self._along(self._gradients)
        self._weights, self._gradients = [], []

    def _along(self, gradients: Iterable[Tensor | None]) -> float:
        total = 0.0
        for gradient, step in zip(gradients, self._step, strict=True):
            if gradient is not None:
                whole = gradient.to_dense() if gradient.is_sparse else gradient
                total += float((whole.detach().double() * step.double()).sum())
        return total


def stretch_of(promised: float, met: float, room: float) -> float:
    """How many of its own steps the probe may make in one: within the quadratic model, ten, and ``room``.

    Along the step d the loss is lowest after ``|g'd| / d'Hd`` steps; half of that is trusted.

    >>> round(stretch_of(-1.0, -0.9, 100.0), 6), stretch_of(-1.0, -1.0, 100.0), stretch_of(-1.0, 3.0, 100.0)
    (5.0, 10.0, 1.0)
    """
    if not (math.isfinite(promised) and math.isfinite(met)) or promised >= 0.0:
        return 1.0
    bend = abs(met - promised) / -promised
    allowed = TRUST / bend if bend > TRUST / STRETCH else STRETCH
    return max(1.0, min(STRETCH, allowed, room))


def examples_in(batch: Any) -> int | None:
    """How many examples a batch has; None where its tensors do not agree in their first axis."""
    targets = list(tensors_in(targets_of(batch))) or list(tensors_in(batch))
    if not targets or not targets[0].ndim:
        return None
    count = len(targets[0])
    whole = all(tensor.ndim and len(tensor) == count for tensor in tensors_in(batch))
    return count if whole else None


def cut(batch: Any, rows: Any, count: int) -> Any:
    """Some examples of a batch of ``count``, in the same form.

    >>> cut({"x": torch.arange(4)}, slice(0, 2), 4)
    {'x': tensor([0, 1])}
    """
    if isinstance(batch, Tensor):
        return batch[rows] if batch.ndim and len(batch) == count else batch
    if isinstance(batch, dict):
        return {name: cut(one, rows, count) for name, one in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [cut(one, rows, count) for one in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch


def train(
    models: tuple[nn.Module, ...], loss: Any, optimizer: Optimizer, batches: Iterable[Any], steps: int
) -> tuple[float, ...]:
    """Plain steps on objects that are ours; ends early where the loss is no number or the program fails."""
    losses: list[float] = []
    for batch in islice(batches, steps):
        for model in models:
            model.zero_grad()
        try:
            value = loss_of(loss, outputs_of(models, inputs_of(batch)), targets_of(batch))
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]):
                break
            value.backward()  # type: ignore[no-untyped-call]
        except (IsogradError, RuntimeError, ValueError):
            if not losses:
                raise
            break
        if isinstance(optimizer, torch.optim.LBFGS):
            break
        optimizer.step()
    return tuple(losses)


def plan(count: int | None, planned: int) -> tuple[int, int]:
    """Steps of the thin probe and examples in each, for batches of ``count`` (None: cannot be cut) and a run so long.

    >>> plan(32, 400), plan(64, 400), plan(64, 10_000), plan(None, 400), plan(64, 4)
    ((32, 8), (40, 12), (40, 64), (8, 1), (0, 8))
    """
    if count is None:
        return min(STEPS, int(SHARE * planned)), 1
    allowed = SHARE * planned * count
    size = min(count, max(SIZE, int(allowed / STEPS)))
    return min(STEPS, int(allowed / size)), size


def probe(patient: TorchPatient, trace: Trace, planned: int, *, deep: bool = False) -> Probe:
    """Look at the patient's batch, and with ``deep`` again after the thin probe; ``planned`` steps are announced.

    The thin probe trains on pieces of the batch itself: whether a network can learn a few examples by heart tells more of its
    training than what the same steps do on fresh ones.
    """
    twin, batch = patient.copy(), patient.batch
    count = examples_in(batch)
    steps, size = plan(count, planned)
    with same_random_streams(), torch.compiler.set_stance("force_eager"):
        head = head_of(twin.models, trace.anatomy)
        before = glance(twin.models, twin.loss, batch, head)
        if not deep or twin.optimizer is None or steps < 1:
            return Probe(before)
        stretch = stretch_of(*along(trace), planned / steps)
        for group in twin.optimizer.param_groups:
            group["lr"] = group["lr"] * stretch
        for model in twin.models:
            model.train()
        losses = train(twin.models, twin.loss, twin.optimizer, _again(batch, size), steps)
        thin = glance(twin.models, twin.loss, batch, head)
    share = len(losses) * size / (planned * count) if count else len(losses) / planned
    return Probe(before, thin, len(losses), size, stretch, losses, share)


def along(trace: Trace) -> tuple[float, float]:
    """What the first step promised and what was met, NaN where it was not seen."""
    facts = [fact for step in trace.steps for fact in step.facts if fact.kind == "first_step"]
    if not facts:
        return math.nan, math.nan
    return float(facts[0].get("promised", math.nan)), float(facts[0].get("met", math.nan))


def _again(batch: Any, size: int) -> Iterator[Any]:
    """Pieces of the batch for ever, in another order each time; the whole batch where it cannot be cut."""
    order, count = torch.Generator().manual_seed(0), examples_in(batch)
    while True:
        if count is None or count <= size:
            yield batch
            continue
        shuffled = torch.randperm(count, generator=order)
        for start in range(0, count - size + 1, size):
            yield cut(batch, shuffled[start : start + size], count)
