"""Try a training on copies: the loss along the first real step, and the thin probe, some tens of steps on few examples."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch.optim import Optimizer

from isograd.errors import IsogradError
from isograd.frameworks.torch import glancing, stepping
from isograd.frameworks.torch.batches import first_line, loss_of, targets_of
from isograd.frameworks.torch.glancing import glance, head_of
from isograd.frameworks.torch.places import tensors_in
from isograd.frameworks.torch.state import same_random_streams
from isograd.records.fact import Fact
from isograd.records.probe import Glance, Probe
from isograd.records.trace import Trace

if TYPE_CHECKING:
    from isograd.frameworks.torch.patient import TorchPatient

STEPS, SIZE = 40, 8
"""Steps of the thin probe at most, and examples in each at least; more where the run is so long that they cost little."""
SHARE = 0.02
"""What it may cost, of the examples of the announced run."""
RANDOM = 1e-3
"""By how much, relative to it, the loss of a batch may differ from one pass to the next: rounding on devices does less."""
CHUNK = 5
"""Steps after which the probe looks whether it has gone too far."""
STRETCH = 10.0
"""How many of the optimizer's own steps one of the probe stands for, at most."""
FAR = 0.25
"""Share of the first loss that may be lost before longer steps are given up: less is the noise of batches of 8."""
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


def tried(patient: TorchPatient, trace: Trace, planned: int, *, deep: bool, remarks: list[str]) -> tuple[Probe | None, Trace]:
    """The probe of a check, and its recording without what a random forward pass falsifies; ``remarks`` get what to know.

    Costs one forward pass, and where it is ``deep`` the thin probe. What the program refuses here is a remark.
    """
    try:
        found = probe(patient, trace, planned, deep=deep)
    except (IsogradError, RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        remarks.append(f"nothing was tried beyond the first steps: {first_line(error)}")
        return None, trace
    loss, first = None if found.before is None else found.before.loss, next((step.loss for step in trace.steps), None)
    if loss is None or first is None or not abs(loss - first) > RANDOM * abs(first) or _drops_out(patient, trace):
        return found, trace
    remarks.append(
        f"the forward pass is random (loss {first:.4g}, then {loss:.4g} with the same weights and batch): "
        "what the first step brought cannot be told"
    )
    steps = tuple(replace(step, facts=tuple(f for f in step.facts if f.kind != "first_step")) for step in trace.steps)
    return found, replace(trace, steps=steps)


def _drops_out(patient: TorchPatient, trace: Trace) -> bool:
    """Whether dropout is at work, which a look from outside leaves out."""
    modules = (module for model in patient.models for module in model.modules())
    rates = [float(getattr(module, "p", 0.0) or 0.0) for module in modules if isinstance(module, glancing.RANDOM)]
    rates += [
        float(getattr(m, "dropout", 0.0) or 0.0)
        for model in patient.models
        for m in model.modules()
        if isinstance(m, glancing.RATED)
    ]
    return any(rates) or any(node.operation == "dropout" and node.get("p", 0.0) for node in trace.anatomy.nodes)


def probe(patient: TorchPatient, trace: Trace, planned: int, *, deep: bool = False) -> Probe:
    """Look at the patient's batch, and with ``deep`` again after the thin probe; ``planned`` steps are announced.

    The thin probe trains on pieces of the batch itself: whether a network can learn a few examples by heart tells more of its
    training than what the same steps do on fresh ones.
    """
    twin, batch = patient.copy(), patient.batch
    count = examples_in(batch)
    steps, size = plan(count, planned)
    deep = deep and twin.optimizer is not None and steps > 0
    with same_random_streams(), torch.compiler.set_stance("force_eager"):
        head = head_of(twin.models, trace.anatomy)
        torch.rand(1)  # other numbers than the looks had, so that a random forward pass is seen to be one
        random.random()
        before = heard(trace) if twin.step is not None else glance(twin.models, twin.loss, batch, head)
        if not deep:
            return Probe(before)
        stretch = stretch_of(*along(trace), planned / steps)
        pieces, losses = _again(batch, size), tuple[float, ...]()
        for done in range(0, steps, CHUNK):
            losses += _train(twin, islice(pieces, min(CHUNK, steps - done)), stretch)
            if stretch > 1.0 and too_far(losses):  # the quadratic model was wrong: begin again with the optimizer's own steps
                twin, stretch, losses = patient.copy(), 1.0, ()
                head = head_of(twin.models, trace.anatomy)
            elif not all(map(math.isfinite, losses)):
                break
        thin = heard(twin.observe([batch], 1)) if twin.step is not None else glance(twin.models, twin.loss, batch, head)
    share = steps * size / (planned * count) if count else steps / planned
    return Probe(before, thin, steps, size, stretch, losses, share)


def too_far(losses: Sequence[float]) -> bool:
    """Whether the last few steps lost a quarter or more on the first loss, or broke.

    >>> too_far((1.0, 0.9, 1.1, 0.8)), too_far((1.0, 2.0, 4.0, 8.0)), too_far((1.0, math.nan))
    (False, True, True)
    """
    late = losses[-CHUNK:]
    return bool(late) and not sum(late) / len(late) <= losses[0] + FAR * abs(losses[0])


def _train(twin: TorchPatient, batches: Iterable[Any], stretch: float) -> tuple[float, ...]:
    """Plain steps in place; ends early where the loss is no number, or the program fails after it has begun."""
    optimizer, losses = twin.optimizer, list[float]()
    assert optimizer is not None
    own = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * stretch
    for model in twin.models:
        model.train()
    listen = _Listening(twin.loss, losses)
    for index, batch in enumerate(batches, 1):
        try:
            stepping.one_step(twin.models, optimizer, listen, twin.loop, [batch], index, twin.step)
        except (IsogradError, RuntimeError, ValueError):
            if index == 1:
                raise
            losses.append(math.nan)
        if losses and not math.isfinite(losses[-1]):
            break
    for group, rate in zip(optimizer.param_groups, own, strict=True):
        group["lr"] = rate
    return tuple(losses)


class _Listening:
    """A loss that keeps its values."""

    def __init__(self, loss: Any, values: list[float]) -> None:
        self._loss, self._values = loss, values

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        value = loss_of(self._loss, outputs, targets)
        self._values.append(float(value.detach()))
        return value


def heard(trace: Trace) -> Glance:
    """What the loss of the last step says of the batch, where the program makes its steps itself."""
    sample = next((s for step in reversed(trace.steps) for s in step.losses if s.training), None)
    if sample is None:
        return Glance(next((step.loss for step in reversed(trace.steps)), None))
    seen = sum(sample.classes)
    if not seen or sample.hits < 0:
        return Glance(sample.value)
    return Glance(sample.value, sample.hits / seen, max(sample.classes) / seen)


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
