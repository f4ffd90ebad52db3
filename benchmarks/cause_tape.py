"""A program's own loss, model inputs and held-out examples, written down while it runs, for a replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from faults import skill
from isograd.frameworks.torch.places import tensors_in
from isograd.frameworks.torch.preparing import mapped

TURNS = (Tensor.T.__get__, Tensor.mT.__get__)  # type: ignore[attr-defined]
"""Attributes that are operations: other tensors, which the loss goes through."""
MOST = 400
"""Batches that are written down."""
JUDGES = ("of_classes", "of_numbers", "of_ranking")


@dataclass(frozen=True)
class Call:
    """One function between the outputs and the backward pass: what it is given are values, by number, and constants."""

    function: Any
    args: Any
    kwargs: Any
    made: tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A value of the tape by its number."""

    number: int


@dataclass
class Step:
    """What one step did after its forward pass. ``leaves`` are the tensors that it did not make itself."""

    inputs: Any
    calls: list[Call] = field(default_factory=list)
    leaves: dict[int, Tensor] = field(default_factory=dict)
    outputs: tuple[int, ...] = ()
    root: int | None = None

    @property
    def shape(self) -> tuple[str, ...]:
        """What two steps of one program have in common."""
        return tuple(getattr(call.function, "__name__", "?") for call in self.calls)


class Tape(nn.Module):
    """The loss as the program computes it from outputs and what changes with the batch; the rest is as it was.

    ``held`` are parameters that the loss reads: in a plain list, so that a copy of model and tape together keeps them apart.
    """

    def __init__(self, step: Step, changing: Sequence[int], parameters: dict[int, Tensor]) -> None:
        super().__init__()
        self.step, self.changing = step, tuple(changing)
        self.held = list(parameters.items())

    def forward(self, outputs: Any, targets: Any) -> Tensor:
        """The loss of these outputs and targets."""
        step = self.step
        values: dict[int, Any] = dict(step.leaves)
        values.update(self.held)
        values.update(zip(step.outputs, tensors_in(outputs), strict=False))
        values.update(zip(self.changing, tensors_in(targets), strict=False))
        for call in step.calls:
            args, kwargs = _filled(call.args, values), _filled(call.kwargs, values)
            result = call.function(*args, **kwargs)
            values.update(zip(call.made, tensors_in(result), strict=False))
        if step.root is None:
            return torch.zeros(())
        return values[step.root]  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: dict[int, Any]) -> Tape:
        made = Tape(self.step, self.changing, {})
        made.held = [(number, memo.get(id(tensor), tensor)) for number, tensor in self.held]
        return made


class Writer(TorchFunctionMode):
    """Writes the steps of a program down."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models, self.steps = tuple(models), list[Step]()
        self.evaluated: Any = None
        self.answered: Any = None
        self.judged: Any = None
        self._open: Step | None = None
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []
        self._depth = 0
        self.handles = [m.register_forward_pre_hook(self._enters, with_kwargs=True) for m in self.models]
        self.handles += [m.register_forward_hook(self._leaves) for m in self.models]

    def _enters(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        given = kwargs or (args if len(args) > 1 or isinstance(args[0], dict) else args[0])
        if not torch.is_grad_enabled():
            self.evaluated = given
        elif not self._depth and len(self.steps) < MOST:
            self._open, self._numbers, self._alive = Step(mapped(given, torch.clone)), {}, []
        self._depth += torch.is_grad_enabled()

    def _leaves(self, module: nn.Module, args: Any, output: Any) -> None:
        self._depth -= torch.is_grad_enabled()
        if self._open is not None and not self._depth and torch.is_grad_enabled():
            self._open.outputs = tuple(self._number(tensor) for tensor in tensors_in(output))
        elif not torch.is_grad_enabled():
            self.answered, self.judged = output, None

    def judge(self, outputs: Any, targets: Any) -> None:
        """The program's judge is asked: kept are the targets of one answer of the network, whole, and of no part of several."""
        sizes = [tensor.numel() for tensor in tensors_in(self.answered)]
        self.judged = targets if sizes == [outputs.numel()] else None

    def _number(self, tensor: Tensor) -> int:
        if id(tensor) not in self._numbers:
            self._numbers[id(tensor)] = len(self._numbers)
            self._alive.append(tensor)
        return self._numbers[id(tensor)]

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        step, name = self._open, getattr(function, "__name__", "")
        if step is None or self._depth or not step.outputs:
            return function(*args, **kwargs)
        if name == "backward":
            step.root = self._numbers.get(id(args[0]))
            self.steps.append(step)
            self._open = None
            return function(*args, **kwargs)
        folded = name == "__getitem__" and id(args[0]) not in self._numbers  # taking a batch from the data
        result = function(*args, **kwargs)
        made = list(tensors_in(result))
        if made and not folded and (name != "__get__" or function in TURNS):
            known = set(self._numbers)
            for tensor in tensors_in([list(args), dict(kwargs)]):
                if id(tensor) not in known:
                    step.leaves[self._number(tensor)] = tensor
            given = _marked(list(args), self._number), _marked(dict(kwargs), self._number)
            step.calls.append(Call(function, *given, tuple(self._number(tensor) for tensor in made)))
        return result


@contextmanager
def written(models: Sequence[nn.Module]) -> Iterator[Writer]:
    """Within, the steps of the models are written down, and after it what they are judged by, until ``finish``."""
    writer = Writer(models)
    with writer:
        yield writer


@contextmanager
def judged_by(writers: list[Writer]) -> Iterator[None]:
    """Within, the targets that a program hands to its judge are kept by the last writer."""
    kept = {name: getattr(skill, name) for name in JUDGES}

    def listening(name: str) -> Callable[[Any, Any], float]:
        def judge(outputs: Any, targets: Any) -> float:
            if writers:
                writers[-1].judge(outputs, targets)
            return float(kept[name](outputs, targets))

        return judge

    for name in JUDGES:
        setattr(skill, name, listening(name))
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(skill, name, function)


def batches_and_loss(writer: Writer) -> tuple[list[Any], Tape]:
    """(inputs, targets) of every step of the commonest form, and the program's loss; ``LookupError`` without any."""
    steps = [step for step in writer.steps if step.root is not None] or writer.steps
    if not steps:
        raise LookupError("no step of the program could be written down")
    forms = [step.shape for step in steps]
    form = max(forms, key=forms.count)
    alike = [step for step in steps if step.shape == form]
    first = alike[0]
    parameters = {id(p): p for model in writer.models for p in model.parameters()}
    held = {number: tensor for number, tensor in first.leaves.items() if id(tensor) in parameters}
    changing = [
        number
        for number, tensor in first.leaves.items()
        if number not in held and any(_differs(tensor, step.leaves.get(number, tensor)) for step in alike[1:])
    ]
    if not changing:  # one batch for ever: what is as long as the batch
        length = len(next(tensors_in(first.inputs)))
        changing = [n for n, tensor in first.leaves.items() if n not in held and tensor.ndim and len(tensor) == length]
    pairs = [(step.inputs, _one([step.leaves[number] for number in changing])) for step in alike]
    return pairs, Tape(first, changing, held)


def judgeable(writer: Writer, batches: Sequence[Any], made: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Examples and patient: judged by what the program judges itself by, or by its last batches where it scores in parts."""
    from isograd.errors import ModelError
    from isograd.explaining import Examples

    if writer.judged is not None and writer.evaluated is not None:
        given = Examples(tuple(batches), ((writer.evaluated, writer.judged),))
        patient = made(given.training)
        with suppress(ModelError):
            patient.judge(given.held)
            return given, patient
    apart = 20 if len(batches) >= 40 else max(1, len(batches) // 5)
    given = Examples(tuple(batches[:-apart]), tuple(batches[-apart:]))
    return given, made(given.training)


def _one(tensors: list[Tensor]) -> Any:
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _differs(one: Tensor, other: Tensor) -> bool:
    return one is not other and (one.shape != other.shape or not bool(((one == other) | (one != one)).all()))


def _marked(something: Any, number: Callable[[Tensor], int]) -> Any:
    if isinstance(something, Tensor):
        return Value(number(something))
    if isinstance(something, tuple | list):
        items = [_marked(item, number) for item in something]
        return items if isinstance(something, list) else tuple(items)
    if isinstance(something, dict):
        return {key: _marked(item, number) for key, item in something.items()}
    return something


def _filled(something: Any, values: dict[int, Any]) -> Any:
    if isinstance(something, Value):
        return values[something.number]
    if isinstance(something, tuple | list):
        items = [_filled(item, values) for item in something]
        return items if isinstance(something, list) else tuple(items)
    if isinstance(something, dict):
        return {key: _filled(item, values) for key, item in something.items()}
    return something
