"""Whether the ranks of a training hold the same weights: a few numbers of each are laid into the store of their group.

Not a collective: each rank lays down its own at steps that are fixed by the step number alone (1, 2, 4, 8 ...), and reads the
next rank's when it finds them there. Nobody waits; where only one rank watches, nothing is found and nothing is said.
"""

from __future__ import annotations

import array
import functools
import hashlib
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from isograd.frameworks.torch.drift import entries
from isograd.frameworks.torch.places import Place, tensors_in
from isograd.frameworks.torch.roster import Held
from isograd.frameworks.torch.wrapping import Wrapping, collectives
from isograd.records.fact import Fact

MATRICES = 12
"""Matrices that are compared; of more, so many spread evenly, the last among them."""
ENTRIES = 24
"""Entries of each."""
TENSORS = 8
"""Tensors of a batch, from that number of calls on no more are looked at."""
RANKS = 8
"""Ranks that take part: of more, the first ones speak for all."""
WAITING = 4
"""Steps whose counterpart is still waited for; older ones are let go."""
SAME = 1e-4
"""Relative distance up to which weights are the same: those of replicas are to the bit; float32 adds 6e-8 a step where not."""
_NOTHING = math.nan


def due(index: int) -> bool:
    """Whether a step is one of the fixed ones.

    >>> [step for step in range(1, 20) if due(step)]
    [1, 2, 4, 8, 16]
    """
    return index & (index - 1) == 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A few entries of some matrices, of their gradients and of the batch; NaN where there is no gradient."""

    layers: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]
    gradients: tuple[tuple[float, ...], ...]
    batch: tuple[float, ...]

    def packed(self) -> bytes:
        """As bytes: a mark of what the entries belong to, then all numbers."""
        numbers = array.array("d", [value for part in (*self.weights, *self.gradients, self.batch) for value in part])
        return self.mark() + numbers.tobytes()

    def mark(self) -> bytes:
        """What numbers stand where."""
        shape = (self.layers, [len(part) for part in self.weights])
        return hashlib.blake2b(repr(shape).encode(), digest_size=16).digest()

    def unpacked(self, text: bytes) -> Sample | None:
        """Another rank's numbers of the same places, or nothing."""
        if text[:16] != self.mark():
            return None
        numbers = array.array("d")
        numbers.frombytes(text[16:])
        lengths = [len(part) for part in self.weights] * 2
        parts, at = [], 0
        for length in lengths:
            parts.append(tuple(numbers[at : at + length]))
            at += length
        half = len(self.weights)
        return Sample(self.layers, tuple(parts[:half]), tuple(parts[half:]), tuple(numbers[at:]))


def distance(left: Sequence[float], right: Sequence[float]) -> float:
    r"""How far two tensors are apart: :math:`\lVert a - b \rVert / \max(\lVert a \rVert, \lVert b \rVert)`, in [0, 2].

    >>> distance((3.0, 4.0), (3.0, 4.0)), distance((0.0, 0.0), (0.0, 1.0))
    (0.0, 1.0)
    """
    size = max(math.hypot(*left), math.hypot(*right))
    return math.dist(left, right) / size if size else (0.0 if size == 0.0 else math.nan)


class Replicas:
    """The samples of this rank, and what they are beside those of the next."""

    _made: ClassVar[Counter[str]] = Counter()
    """Watches begun, by what they are of and how many collectives had run: ranks that stand together agree on both."""

    def __init__(self, store: Any, rank: int, ranks: Sequence[int], wrapping: Wrapping) -> None:
        self._key = ""
        self._store, self._rank = store, rank
        self._other = ranks[(ranks.index(rank) + 1) % len(ranks)]
        self._wrapping = wrapping
        self._mine: dict[str, tuple[int, Sample, int, bool]] = {}
        self._index, self._round = 0, 0
        self._batch: list[Tensor] = []
        self._former: tuple[float, ...] = ()
        self._started = -1

    @property
    def due(self) -> bool:
        """Whether the present step is to be compared."""
        return due(self._index)

    def begin(self, index: int, places: Sequence[Place]) -> None:
        """A step begins."""
        if not self._key:
            self._started = collectives([torch.distributed.group.WORLD])
            named = repr([(place.name, tuple(place.parameter.shape)) for place in places])
            begun = f"{hashlib.blake2b(named.encode(), digest_size=8).hexdigest()}/{self._started}"
            Replicas._made[begun] += 1
            self._key = f"isograd/replicas/{begun}/{Replicas._made[begun]}"
        self._index, self._round, self._batch = index, 0, []

    def again(self, then: Callable[[], None]) -> None:
        """The next step begins, and is not looked at."""
        self._index += 1
        self._round, self._batch = 0, []
        then()

    def given(self, arguments: Any) -> None:
        """A model learns from these."""
        if self.due and len(self._batch) < TENSORS:
            self._batch += [entries(one, ENTRIES) for one in tensors_in(arguments) if not one.is_sparse]

    def step(self, places: Sequence[Place], held: Held) -> None:
        """An optimizer is about to step: on a step that is due, what it holds is laid into the store."""
        if not self.due or self._store is None:
            return
        mine = {id(parameter) for parameter in held.parameters}
        every = [p for p in places if id(p.parameter) in mine and p.parameter.ndim >= 2 and p.parameter.requires_grad]
        some = every[-1 :: -(-len(every) // MATRICES) * -1] if every else []
        if not some:
            return
        self._round += 1
        name = f"{self._key}/{self._index}.{self._round}"
        sample = _sample(some, self._batch)
        fresh, self._former = sample.batch != self._former != (), sample.batch
        ran = collectives([torch.distributed.group.WORLD])
        self._mine[name] = self._index, sample, ran - self._started if min(ran, self._started) >= 0 else -1, fresh
        for old in list(self._mine)[:-WAITING]:
            del self._mine[old]
        self._ask(lambda store: store.set(f"{name}/{self._rank}", sample.packed()))

    def facts(self, places: Sequence[Place]) -> Iterator[Fact]:
        """What is known of the steps whose counterpart has come."""
        averaged = self._wrapping.averaged()
        inside = {place.layer for place in places if id(place.parameter) in averaged}
        for name, (index, sample, ran, fresh) in list(self._mine.items()):
            there = f"{name}/{self._other}"
            text = self._ask(functools.partial(_read, there))
            if not text:
                continue
            del self._mine[name]
            other = sample.unpacked(text)
            if other is not None:
                yield self._compared(index, sample, other, ran, fresh, inside)

    def forget(self) -> None:
        """Let go of everything."""
        self._store, self._batch = None, []
        self._mine.clear()

    def _compared(self, index: int, mine: Sample, other: Sample, ran: int, fresh: bool, inside: set[str]) -> Fact:
        weights = [distance(a, b) for a, b in zip(mine.weights, other.weights, strict=True)]
        pairs = zip(mine.gradients, other.gradients, strict=True)
        gradients = [distance(a, b) if any((*a, *b)) else math.nan for a, b in pairs]  # two that are nothing are not alike
        apart = [place for place, far in enumerate(weights) if far > SAME]
        told = apart or range(len(weights))
        batch = "" if not (mine.batch and other.batch) else "same" if mine.batch == other.batch else "other"
        settings = (
            ("step", index),
            ("rank", self._other),
            ("layers", len(weights)),
            ("apart", len(apart)),
            ("weights", max(_known(weights))),
            ("nearest", min(_known(gradients[place] for place in told))),
            ("farthest", max(_known(gradients[place] for place in told))),
            ("batch", batch),
            ("fresh", fresh),
            ("collectives", ran),
            ("wrapped", bool(inside) and all(mine.layers[place] in inside for place in told)),
        )
        worst = max(apart, key=lambda place: weights[place], default=-1)
        return Fact("ranks_compared", mine.layers[worst] if apart else "", settings=settings)

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """Ask the store; one that does not answer is asked no more."""
        if self._store is None:
            return None
        try:
            return question(self._store)
        except Exception:  # noqa: BLE001  whatever is wrong with the store, it is no part of the training
            self._store = None
            return None


def replicas_of(models: Sequence[nn.Module], wrapping: Wrapping) -> Replicas | None:
    """Who compares weights with others: one of several ranks whose parameters are whole on each of them."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
        return None
    sharding: Any = getattr(sys.modules.get("torch.distributed.fsdp"), "FullyShardedDataParallel", ())
    parts = [module for model in models for module in model.modules()]
    if sharding and any(isinstance(module, sharding) for module in parts):
        return None
    if any(hasattr(parameter, "device_mesh") for model in models for parameter in model.parameters()):
        return None
    wrapper = next((part for part in parts if isinstance(part, DistributedDataParallel)), None)
    group = wrapper.process_group if wrapper is not None else distributed.group.WORLD
    ranks = list(distributed.get_process_group_ranks(group))[:RANKS]
    rank = distributed.get_rank()
    if rank not in ranks or len(ranks) < 2:
        return None
    return Replicas(distributed.distributed_c10d._get_default_store(), rank, ranks, wrapping)


def _read(key: str, store: Any) -> bytes:
    return bytes(store.get(key)) if store.check([key]) else b""


def _known(distances: Iterable[float]) -> list[float]:
    return [one for one in distances if math.isfinite(one)] or [-1.0]


def _sample(places: Sequence[Place], batch: Sequence[Tensor]) -> Sample:
    weights = [entries(place.parameter, ENTRIES) for place in places]
    given = [place.parameter.grad for place in places]
    none = [torch.full_like(kept, _NOTHING) for kept in weights]
    gradients = [
        entries(grad, ENTRIES) if grad is not None and not grad.is_sparse else empty
        for grad, empty in zip(given, none, strict=True)
    ]
    numbers = torch.cat([*weights, *gradients]).tolist()  # the device is waited for once
    parts, at = [], 0
    for kept in (*weights, *gradients):
        parts.append(tuple(numbers[at : at + len(kept)]))
        at += len(kept)
    half = len(weights)
    known = tuple(torch.cat([one.to(batch[0].device) for one in batch]).tolist()) if batch else ()
    return Sample(tuple(place.layer for place in places), tuple(parts[:half]), tuple(parts[half:]), known)
