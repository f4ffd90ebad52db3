"""Whether the answer to one row of a batch depends on the rows beside it, and where in a forward pass the rows first meet.

In evaluation mode the same few rows go through the network twice, the second time with other rows of the batch in the place
of all but the middle ones. What changes in the answers to the middle ones came from their neighbours. Nothing is said where the
same rows with other random numbers give another answer (dropout that is always on, a memory, a count), of a network whose
inputs tie the rows together themselves (a square of rows by rows, edges of a graph), where the rows are the steps of one
sequence, which a recurrent layer, a convolution or an attention reads as one example, nor of statistics of the batch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from isograd.frameworks.torch.batches import inputs_of, outputs_of, targets_of
from isograd.frameworks.torch.places import modules_of, persons_line, tensors_in
from isograd.frameworks.torch.preparing import mapped
from isograd.frameworks.torch.state import same_random_streams, seeded
from isograd.records.fact import Fact

FEWER, CHANGED = 7, 4
"""Rows that go through the network, and how many of them are changed, half of these in front of the others and half behind, for
a recurrent layer goes one way: a prime is seldom the length of another axis."""
NOISE = 1e-4
"""Share of the largest entry that a difference exceeds: a kernel that takes its blocks in another order rounds by less."""
SEQUENTIAL = (
    "lstm",
    "gru",
    "rnn_tanh",
    "rnn_relu",
    "conv1d",
    "conv2d",
    "conv3d",
    "multi_head_attention_forward",
    "scaled_dot_product_attention",
)
"""Operations that read one sequence as one example."""
STATISTICS = ("batch_norm", "instance_norm")
_QUIET = ("__get__", "__set__", "size", "dim")


def mixed_rows(models: Sequence[nn.Module], batch: Any) -> Fact | None:
    """The fact ``rows_mixed`` of copies of models on a batch, (inputs, targets); None where nothing is certain.

    ``answers_drawn`` where the same rows are answered otherwise with other random numbers.

    Their buffers may change. A network that cannot be called with fewer rows is called with all.

    >>> class Halves(nn.Module):
    ...     def forward(self, x):
    ...         return x.t().reshape(x.shape)
    >>> rows = torch.arange(48.0).reshape(12, 4)
    >>> found = mixed_rows([Halves()], (rows, rows))
    >>> found.get("operation", ""), found.get("ordered", False), mixed_rows([nn.Linear(4, 2)], (rows, rows))
    ('reshape', True, None)
    """
    inputs, targets = inputs_of(batch), next(tensors_in(targets_of(batch)), None)
    if len(models) != 1 or targets is None or not targets.ndim:
        return None
    count = len(targets)
    rows = [one for one in tensors_in(inputs) if one.ndim and len(one) == count]
    if not rows or count < FEWER or _tied(inputs, count):
        return None
    for size in (FEWER, count):
        if size == FEWER and count < FEWER + CHANGED:
            continue
        with contextlib.suppress(Exception), _still(models):
            return _found(models, _Rows(inputs, count, size), _same_axis(rows[0], targets))
    return None


@dataclass(frozen=True)
class _Rows:
    """Inputs of ``count`` rows, of which ``size`` are taken."""

    inputs: Any
    count: int
    size: int

    @property
    def kept(self) -> slice:
        """The rows in the middle, which stay."""
        front = (CHANGED if self.size == FEWER else self.size // 2) // 2
        return slice(front, self.size - front)

    def taken(self, rows: Sequence[int]) -> Any:
        """These rows."""
        chosen = torch.tensor(rows)
        return mapped(self.inputs, lambda x: x[chosen.to(x.device)] if x.ndim and len(x) == self.count else x)

    @property
    def base(self) -> list[int]:
        """The rows as they are."""
        return list(range(self.size))

    @property
    def changed(self) -> list[int]:
        """Other rows in the place of those at both ends; where all are taken, those that stay once more."""
        first, last = self.kept.start, self.kept.stop
        stay = range(first, last)
        others = (
            range(self.size, self.size + 2 * first)
            if self.size < self.count
            else [stay[k % len(stay)] for k in range(2 * first)]
        )
        return [*others[:first], *stay, *others[first:]]

    @property
    def turned(self) -> list[int]:
        """The same rows in the opposite order."""
        return self.base[::-1]


def _found(models: Sequence[nn.Module], rows: _Rows, other: int) -> Fact | None:
    before = _answers(models, rows.taken(rows.base))
    after = _answers(models, rows.taken(rows.changed))
    states = [apart(one, two, rows.size, rows.kept) for one, two in zip(before, after, strict=True)]
    again = _answers(models, rows.taken(rows.base), 1)
    if any(differs(one, two).any() for one, two in zip(before, again, strict=True)):
        return Fact("answers_drawn")  # random, or it remembers
    if False not in states:
        return None
    turned = _answers(models, rows.taken(rows.turned))
    place = _place(models, rows)
    if place is None or place.alone or place.name in STATISTICS:
        return None
    told = [state for state in states if state is not None]
    settings = (
        ("operation", place.name),
        ("ordered", not all(_turns(one, two, rows.size) for one, two in zip(before, turned, strict=True))),
        ("all", not any(told)),
        ("square", place.square),
        ("given", place.given),
        ("rows", rows.count),
        ("other", other),
    )
    return Fact("rows_mixed", place.where, place.line, settings)


def _tied(inputs: Any, count: int) -> bool:
    """Whether what the model is given says how rows belong together."""
    for one in tensors_in(inputs):
        square = one.ndim >= 2 and tuple(one.shape[:2]) == (count, count)
        edges = one.ndim == 2 and len(one) == 2 and count != 2 and not one.is_floating_point()
        if square or edges or one.layout is not torch.strided:
            return True
    return False


def _same_axis(rows: Tensor, targets: Tensor) -> int:
    """The length of a second axis that may be the rows as well: one that the targets have too, or as long; 0 without one."""
    if rows.ndim < 2 or rows.shape[1] < 2:
        return 0
    shared = targets.ndim >= 2 and rows.shape[1] == targets.shape[1]
    return int(rows.shape[1]) if shared or rows.shape[1] == len(rows) else 0


@contextlib.contextmanager
def _still(models: Sequence[nn.Module]) -> Iterator[None]:
    """Evaluation without gradients, random streams as they were, and no kernel that hides what it is made of."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with same_random_streams(), torch.no_grad(), torch.compiler.set_stance("force_eager"):
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            for model in models:
                model.eval()
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


def _answers(models: Sequence[nn.Module], inputs: Any, seed: int = 0) -> list[Tensor]:
    with seeded(seed):
        return [one.detach().clone() for one in tensors_in(outputs_of(models, inputs))]


def differs(one: Tensor, other: Tensor) -> Tensor:
    """Where two tensors differ by more than rounding; all of it where their shapes do.

    >>> differs(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5])).tolist()
    [False, True]
    """
    if one.shape != other.shape:
        return torch.ones_like(one, dtype=torch.bool)
    if not one.is_floating_point():
        return one != other
    finite = torch.nan_to_num(one.double()), torch.nan_to_num(other.double())
    bound = NOISE * max(float(finite[0].abs().amax()), float(finite[1].abs().amax())) if one.numel() else 0.0
    return (finite[0] - finite[1]).abs() > bound


def apart(one: Tensor, other: Tensor, rows: int, kept: slice) -> bool | None:
    """Whether, along some axis that may be the rows, those that were ``kept`` are alike; None without such an axis.

    Rows may stand beside others in a longer axis, before or behind them; in a square of rows by rows those that stayed meet.

    >>> first, second = torch.zeros(4, 3), torch.tensor([[0.0], [0.0], [1.0], [1.0]]).expand(4, 3)
    >>> kept = slice(0, 2)
    >>> apart(first, second, 4, kept), apart(first.t(), second.t(), 4, kept), apart(first, second.flip(0), 4, kept)
    (True, True, False)
    >>> apart(torch.zeros(3), torch.ones(3), 4, kept), apart(torch.zeros(12), second.flatten(), 4, kept)
    (None, True)
    """
    if one.shape != other.shape:
        return None
    unlike, axes = differs(one, other), [axis for axis, length in enumerate(one.shape) if length and length % rows == 0]
    if not axes:
        return None
    if not bool(unlike.any()):
        return True
    for axis in axes:
        laid = unlike.movedim(axis, 0)
        for form in (laid.reshape(rows, -1)[kept], laid.reshape(-1, rows, laid[0].numel())[:, kept]):
            if not bool(form.any()):
                return True
    whole = [axis for axis in axes if one.shape[axis] == rows]
    pairs = [(left, right) for left in whole for right in whole if left < right]
    return any(not bool(unlike.movedim(pair, (0, 1))[kept, kept].any()) for pair in pairs)


def _turns(one: Tensor, other: Tensor, rows: int) -> bool:
    """Whether rows in the opposite order give the same answers in the opposite order, along the first axis that may be rows."""
    axes = [axis for axis, length in enumerate(one.shape) if length == rows]
    return not axes or any(not bool(differs(one.flip(axis), other).any()) for axis in axes)


@dataclass
class _Call:
    """One operation of a pass: its name, module and line, what it was given and made."""

    name: str
    where: str
    line: str | None
    given: tuple[Tensor, ...]
    made: tuple[Tensor, ...]


@dataclass(frozen=True)
class _Place:
    """Where rows first meet: in what reads them as steps of the only sequence (``alone``), or has a number for each pair."""

    name: str
    where: str
    line: str | None
    alone: bool
    square: bool
    given: bool
    """Whether what it is given has an axis of the rows."""


@dataclass
class _Listener(TorchFunctionMode):
    """Writes down every operation of a pass with the module that makes it."""

    models: Sequence[nn.Module]
    calls: list[_Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._paths: list[str] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = tuple(tensors_in([list(args), dict(kwargs or {})]))
        result = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "")
        if name not in _QUIET and (made := tuple(tensors_in(result))):
            where = self._paths[-1] if self._paths else ""
            self.calls.append(_Call(name, where, persons_line(), _kept(given), _kept(made)))
        return result

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Within, operations are written down."""
        handles = []

        def ends(module: nn.Module, args: Any, output: Any) -> None:
            self._paths.pop()

        for path, module in modules_of(self.models):
            handles.append(module.register_forward_pre_hook(lambda module, args, path=path: self._paths.append(path)))
            handles.append(module.register_forward_hook(ends))
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()


def _kept(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(one.detach().clone() for one in tensors)


def _calls(models: Sequence[nn.Module], inputs: Any) -> list[_Call]:
    listener = _Listener(models)
    with seeded(0), listener.listening():
        outputs_of(models, inputs)
    return listener.calls


def _place(models: Sequence[nn.Module], rows: _Rows) -> _Place | None:
    """The first operation of two passes that gives rows which were apart to one another."""
    before, after = _calls(models, rows.taken(rows.base)), _calls(models, rows.taken(rows.changed))
    if [call.name for call in before] != [call.name for call in after]:
        return None
    for one, two in zip(before, after, strict=True):
        made = [apart(left, right, rows.size, rows.kept) for left, right in zip(one.made, two.made, strict=True)]
        if False in made:
            alone = one.name in SEQUENTIAL and _alone(one.given, rows.size)
            counts = [tuple(tensor.shape).count(rows.size) for tensor in one.given]
            return _Place(one.name, one.where, one.line, alone, max(counts, default=0) > 1, any(counts))
    return None


def _alone(given: Sequence[Tensor], rows: int) -> bool:
    """Whether, of what an operation is given first, nothing but features stands beside the rows."""
    shape = next((tuple(one.shape) for one in given if rows in one.shape), ())
    others = sorted(length for place, length in enumerate(shape) if place != shape.index(rows))
    return math.prod(others[:-1]) == 1
