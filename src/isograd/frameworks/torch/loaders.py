"""Where the batches come from: loaders that were begun, how often, in which order they give, and how far they are."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, WeightedRandomSampler

from isograd.frameworks.torch.backward import Tap, untraced
from isograd.records.anatomy import Scalar
from isograd.records.fact import Fact

STEPS = 20
"""Steps from which a loader that was begun in each of them is told of."""
LOADERS = 32
"""Loaders that are told apart at most."""

ITERATORS = Tap(DataLoader, "__iter__", after=True)


@dataclass
class _Known:
    """One loader, by weak references."""

    loader: weakref.ref[Any]
    settings: tuple[tuple[str, Scalar], ...]
    epochs: int = 0
    iterator: Callable[[], Any] = lambda: None
    given: int = 0
    farthest: int = 0
    trains: bool = False
    tries: bool = False

    @property
    def position(self) -> int:
        """Batches given in the present pass."""
        return int(getattr(self.iterator(), "_num_yielded", 0))


class Loaders:
    """The loaders that were begun in this thread; ``begun`` is called with each."""

    def __init__(self, begun: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        self._known: list[_Known] = []
        self._last = -1
        self._begun, self._failed = begun, failed

    def open(self) -> None:
        """Hear from here on, in this thread."""
        self._thread = threading.get_ident()
        ITERATORS.add(self._begins)

    def close(self) -> None:
        """Hear no more."""
        ITERATORS.remove(self._begins)

    @property
    def last(self) -> int:
        """The number of the loader that was begun last; -1 where none was."""
        return self._last

    @property
    def doubtful(self) -> bool:
        """Whether that loader has not been seen to train: what it feeds may be an evaluation."""
        return self._last >= 0 and not self._known[self._last].trains

    def begin(self) -> None:
        """A step that is looked at begins."""
        for known in self._known:
            known.given = known.position

    def tried(self) -> None:
        """An evaluation was heard: it is this loader's, if it is one's."""
        if self._last >= 0 and not self._known[self._last].trains:
            self._known[self._last].tries = True

    def close_step(self) -> tuple[Fact, ...]:
        """The step is over: the loader that its batch came from."""
        gave = [n for n, known in enumerate(self._known) if known.position not in (known.given, 0) and not known.tries]
        if len(gave) != 1:
            return ()
        known = self._known[gave[0]]
        known.trains, known.farthest = True, max(known.farthest, known.position)
        settings = (("number", gave[0]), *known.settings, ("epoch", known.epochs), ("position", known.position))
        return (Fact("loader", "data", settings=settings),)

    def end(self, steps: int) -> tuple[Fact, ...]:
        """The watch is over: the first loader of several batches that was begun anew for each step and gave its first alone."""
        for number, known in enumerate(self._known):
            anew = known.epochs >= 0.9 * steps and known.farthest <= 1  # a step may go through a whole loader, accumulating
            if steps >= STEPS and int(dict(known.settings)["batches"]) > 1 and anew and not known.tries:
                settings = (("number", number), *known.settings, ("epoch", known.epochs), ("position", 0))
                return (Fact("loader_restarted", "data", settings=settings),)
        return ()

    def _begins(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() != self._thread:
            return
        try:
            loader, iterator = args[0], kwargs["result"]
            number = next((n for n, known in enumerate(self._known) if known.loader() is loader), -1)
            if number < 0 and len(self._known) < LOADERS:
                number = len(self._known)
                self._known.append(_Known(weakref.ref(loader), _settings(loader)))
            self._last = number
            if number >= 0:
                known = self._known[number]
                known.epochs, known.iterator, known.given = known.epochs + 1, weakref.ref(iterator), 0
            if number < 0 or not self._known[number].trains:
                self._begun()
        except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's loop
            self._failed(error)


def _settings(loader: Any) -> tuple[tuple[str, Scalar], ...]:
    batches = examples = -1
    with contextlib.suppress(Exception):  # one of the person's own may have no length, or fail to tell it
        examples = len(loader.dataset)
        batches = len(loader)
    sampler = getattr(loader, "sampler", None)
    weights = len(sampler.weights) if isinstance(sampler, WeightedRandomSampler) else -1
    order = {SequentialSampler: "sequential", RandomSampler: "random"}.get(type(sampler), "other")
    return (
        ("batches", batches),
        ("batch_size", -1 if loader.batch_size is None else int(loader.batch_size)),
        ("dataset", examples),
        ("order", order),
        ("weights", weights),
        ("drop_last", bool(loader.drop_last)),
    )


untraced(Loaders._begins, within=True)
