"""A torch program that can begin again from a seed: the person's factories and what may be wrong with them."""

from __future__ import annotations

import hashlib
import inspect
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isograd.errors import ModelError, RequestError
from isograd.frameworks.torch.batches import first_line
from isograd.frameworks.torch.codes import code_of
from isograd.frameworks.torch.copying import as_one, members_of
from isograd.frameworks.torch.describe import checked
from isograd.frameworks.torch.odd import odd_ones
from isograd.frameworks.torch.patient import TorchPatient
from isograd.frameworks.torch.places import tensors_in
from isograd.frameworks.torch.preparing import length_of, mapped
from isograd.frameworks.torch.recorder import TorchRecorder
from isograd.frameworks.torch.state import seeded
from isograd.frameworks.torch.stepping import Own, check_step
from isograd.frameworks.torch.yardsticks import LABELS
from isograd.ports import Births
from isograd.records.loop import Loop

COPIES = 6
"""What one trial holds at once, in units of the parameters: the start and the copy in training, each with a gradient or the two
moments of Adam, and the copy that is judged."""
LEARNED = 0.5
"""Share of the numbers in matrices that no seed changes from which a network was learned: a head is drawn anew, a fixed matrix
(of positions, of features drawn at random) is the smaller part of a network that is to learn."""
_SEEDS = (1, 2)


class TorchBirths(Births):
    """``build()`` gives a model or a tuple of them, ``optimizer(parameters)`` the optimizer that steps it, or several.

    An optimizer factory that takes as many arguments as there are models is given the parameters of each. ``loss`` takes
    (outputs, targets); instead of it ``step(model, optimizer, batch)`` makes one step, with tuples where there are several.
    ``score(model)`` says how good a model is, where outputs and targets fit no yardstick. ``loop`` are the habits of the loop,
    where they are known.
    """

    def __init__(
        self,
        build: Callable[[], Any],
        loss: Any,
        optimizer: Callable[[Any], Any],
        step: Own | None = None,
        score: Callable[[Any], float] | None = None,
        loop: Loop | None = None,
    ) -> None:
        self._build, self._loss, self._optimizer, self._step = build, loss, optimizer, step
        self._score = None if score is None else _finite(score)
        # what a person's own step clears it clears itself
        self._loop = loop or Loop(clears=1 if step is None else 0)

    def check(self) -> tuple[bool, bool, tuple[str, ...]]:
        """Build three times and compare: the objects, the weights of one seed and of two.

        The same weights from any seed were learned, unless the factory sets a seed, or a matrix of them is one number; so were
        most of them where a new head stands on a body.
        """
        first, after = self._built(_SEEDS[0])
        again, _ = self._built(_SEEDS[0])
        other, after_other = self._built(_SEEDS[1])
        _apart(first, again)
        needed = COPIES * sum(p.numel() * p.element_size() for model in first for p in model.parameters())
        free = _free(first)
        if free is not None and needed > free:
            raise ModelError(
                "the model is too large for trials, which work on copies",
                met=f"a trial needs about {needed / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free",
                remedy="isograd.watch(model, optimizer, act=...) repairs in place, without a copy",
            )
        if _same(first, other):
            if torch.equal(after, after_other):
                said = (
                    "build sets a seed of its own, so that all trials begin with the same weights and differ by the order of "
                    "the data alone; without that line the proof would be over initial weights too"
                )
                return False, False, (said,)
            said = (
                "build gives the same weights whatever the seed: the trials differ by the order of the data alone, and the "
                "proof is for these weights"
            )
            return False, not any(_constant(value) for value in _values(first)), (said,)
        if not _same(first, again):
            return True, False, ("build draws from a source that no seed reaches: a search cannot be repeated exactly",)
        if _kept(first, other) > LEARNED:
            said = (
                "most weights of the model are the same whatever the seed: they were learned, no edit draws them again, and "
                "the proof is for these weights"
            )
            return True, True, (said,)
        return True, False, ()

    def born(self, seed: int, batches: Sequence[Any]) -> TorchPatient:
        """The untouched program at its start. Raises ``RequestError`` for factories that give something else."""
        models, _ = self._built(seed)
        if self._step is not None:
            check_step(self._step, models)
        optimizer = self._made_optimizer(models, seed)
        return TorchPatient(
            models,
            batches[0] if batches else None,
            self._loss,
            optimizer,
            self._loop,
            known=tuple(batches),
            step=self._step,
            score=self._score,
            seed=seed,
        )

    @contextmanager
    def seeded(self, seed: int, batches: Any = None) -> Iterator[None]:
        """Within, the streams of torch, Python and NumPy begin at ``seed``, and those of a loader's own generators."""
        own = {id(one): one for one in _generators(batches)}.values()
        before = [(one, one.get_state()) for one in own]
        with seeded(seed):
            try:
                for one in own:
                    one.manual_seed(seed)
                yield
            finally:
                for one, state in before:
                    one.set_state(state)

    def paired(self, batches: Sequence[Any]) -> tuple[Any, ...]:
        """Mappings with labels as (inputs, labels), where neither the model nor a step of the person's takes the labels."""
        if self._step is not None or not any(isinstance(batch, Mapping) for batch in batches):
            return tuple(batches)
        taken = _taken_by(self._built(_SEEDS[0])[0][0])
        return tuple(_paired(batch, taken) if isinstance(batch, Mapping) else batch for batch in batches)

    def halves(self, batches: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]] | None:
        """Examples 0, 2, 4 ... of each batch, and 1, 3, 5 ...; whole batches in turn where examples cannot be told apart."""
        lengths = [length_of(batch) for batch in batches]
        if batches and all(length is not None and length >= 2 for length in lengths):
            one, other = (tuple(mapped(batch, _every_second(first)) for batch in batches) for first in (0, 1))
            return one, other
        return (tuple(batches[::2]), tuple(batches[1::2])) if len(batches) >= 2 else None

    def odd(self, batches: Sequence[Any]) -> dict[int, str]:
        """The few batches that are not finite or on another scale than the rest, by place from 1."""
        return odd_ones(batches)

    def processes(self, patient: Any, most: int) -> tuple[int, str]:
        """As many as the memory holds; one on an accelerator, which a forked process cannot use."""
        kinds = {value.device.type for value in _values(patient.models)}
        if kinds - {"cpu"} or torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return 1, "a forked process cannot use an accelerator"
        free, needed = _free(patient.models), COPIES * sum(p.numel() * p.element_size() for p in _values(patient.models))
        able = most if free is None or not needed else min(most, free // (2 * needed))
        return (able, "") if able > 1 or most < 2 else (1, "the memory holds no two of them")

    def apart(self) -> None:
        """One thread: the pool of the parent's is not in the fork, and every core has a process."""
        torch.set_num_threads(1)

    def fingerprint(self, patient: Any, batches: Sequence[Any]) -> str:
        """SHA-256 over weights, buffers, the optimizer's settings, batches, and the code of all functions; 16 digits of it.

        A journal that goes by it never speaks for a step, a loss, a score or a forward that was changed in between.
        """
        seen = hashlib.sha256()
        for model in patient.models:
            seen.update(repr(model).encode())
            for name, tensor in chain(model.named_parameters(), model.named_buffers()):
                seen.update(name.encode())
                _digest(seen, tensor)
        for group in patient.optimizer.param_groups:
            seen.update(repr({key: value for key, value in group.items() if key != "params"}).encode())
        seen.update(repr((type(patient.optimizer).__name__, _name(patient.loss), _name(patient.step), patient.loop)).encode())
        for part in code_of(*patient.models, patient.loss, patient.step, patient.score):
            seen.update(part)
        for batch in batches:
            for tensor in tensors_in(batch):
                _digest(seen, tensor)
        return seen.hexdigest()[:16]

    def _built(self, seed: int) -> tuple[tuple[nn.Module, ...], Tensor]:
        """The models from a seed, and the state of torch's stream after that."""
        with seeded(seed):
            try:
                made = self._build()
            except (RequestError, KeyboardInterrupt):
                raise
            except Exception as error:
                raise RequestError("build raises", met=f"{type(error).__name__}: {first_line(error)}") from error
            return checked(made, training=True), torch.get_rng_state()

    def _made_optimizer(self, models: tuple[nn.Module, ...], seed: int) -> Optimizer:
        with seeded(seed):
            try:
                apart = [model.parameters() for model in models]
                made = self._optimizer(*apart) if _takes(self._optimizer, len(apart)) else self._optimizer(chain(*apart))
            except RequestError:
                raise
            except Exception as error:
                raise RequestError(
                    "the optimizer factory raises",
                    met=f"{type(error).__name__}: {first_line(error)}",
                    remedy="optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-3)",
                ) from error
        try:
            chosen = as_one(made)
        except ModelError as error:
            raise RequestError(
                "the optimizer factory gives no optimizer",
                met=error.faults[0].met,
                remedy="optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-3)",
            ) from error
        for one in members_of(chosen):
            TorchRecorder(models, [one])  # raises where it holds parameters of another model
        return chosen


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function asks for so many arguments, more than one: the parameters of each model apart."""
    try:
        asked = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return count > 1 and sum(one.default is one.empty and one.kind in (0, 1) for one in asked) == count


def _generators(batches: Any) -> Iterator[torch.Generator]:
    """The generators of a loader's own, and of what gives its order."""
    sampler = getattr(batches, "batch_sampler", None)
    for one in (batches, getattr(batches, "sampler", None), sampler, getattr(sampler, "sampler", None)):
        found = getattr(one, "generator", None)
        if isinstance(found, torch.Generator):
            yield found


def _taken_by(model: nn.Module) -> set[str] | None:
    """The names that ``forward`` takes; None: any."""
    try:
        known = inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return None
    return None if any(one.kind is one.VAR_KEYWORD for one in known.values()) else set(known)


def _paired(batch: Mapping[str, Any], taken: set[str] | None) -> Any:
    label = next((name for name in LABELS if name in batch), None)
    if taken is None or label is None or label in taken:
        return batch
    return {name: value for name, value in batch.items() if name != label}, batch[label]


def _finite(score: Callable[[Any], float]) -> Callable[[Any], float]:
    """The score, which fails where it raises or is not finite: no number says on a person's own scale how bad that is."""

    def judged(model: Any) -> float:
        try:
            value = float(score(model))
        except Exception as error:
            raise ModelError("score raises", met=f"{type(error).__name__}: {first_line(error)}") from error
        if not math.isfinite(value):
            raise ModelError(f"the score is not finite: {value}")
        return value

    return judged


def _apart(first: Sequence[nn.Module], again: Sequence[nn.Module]) -> None:
    """Refuse a factory whose second model is, or shares weights with, its first."""
    remedy = "build a new model in the factory, or give back copy.deepcopy(model)"
    if any(one is other for one in first for other in again):
        raise RequestError(
            "build gives the same model each time: one trial would go on with the weights of another", remedy=remedy
        )
    held = {id(p) for model in first for p in (*model.parameters(), *model.buffers())}
    held |= {p.data_ptr() for model in first for p in model.parameters() if p.numel()}
    for model in again:
        for name, parameter in model.named_parameters():
            if id(parameter) in held or (parameter.numel() and parameter.data_ptr() in held):
                raise RequestError(
                    "the models that build gives share weights: one trial would go on with those of another",
                    met=f"{name} is in both",
                    remedy=remedy,
                )


def _same(one: Sequence[nn.Module], other: Sequence[nn.Module]) -> bool:
    pairs = zip(_values(one), _values(other), strict=False)
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def _kept(one: Sequence[nn.Module], other: Sequence[nn.Module]) -> float:
    """The share of the numbers in matrices that are the same in both, a matrix of one number aside."""
    pairs = [(a, b) for a, b in zip(_values(one), _values(other), strict=False) if a.ndim >= 2 and a.shape == b.shape]
    same = sum(a.numel() for a, b in pairs if torch.equal(a, b) and not _constant(a))
    return same / max(1, sum(a.numel() for a, _ in pairs))


def _constant(values: Tensor) -> bool:
    return values.ndim >= 2 and values.numel() > 1 and bool((values == values.reshape(-1)[0]).all())


def _values(models: Sequence[nn.Module]) -> Iterator[Tensor]:
    return (parameter for model in models for parameter in model.parameters())


def _free(models: Sequence[nn.Module]) -> int | None:
    """Bytes that are free where the model is; None where that cannot be asked."""
    device = next((p.device for p in _values(models)), None)
    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:  # what Linux holds as a cache of files is free as well
        with open("/proc/meminfo", encoding="ascii") as opened:
            return next(1024 * int(line.split()[1]) for line in opened if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _every_second(first: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor[first::2]


def _digest(seen: Any, tensor: Tensor) -> None:
    values = tensor.detach().cpu().contiguous()
    seen.update(repr((tuple(values.shape), values.dtype)).encode())
    seen.update(values.reshape(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b"")


def _name(something: Any) -> str:
    return str(getattr(something, "__qualname__", type(something).__qualname__))
