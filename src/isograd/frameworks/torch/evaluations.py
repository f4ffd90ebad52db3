"""Evaluations: the losses and right answers of a watched model between two steps, whatever the program does with them."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from isograd.frameworks.torch.calls import marks
from isograd.frameworks.torch.heads import mark
from isograd.frameworks.torch.hooks import Quiet
from isograd.frameworks.torch.losses import given_to
from isograd.frameworks.torch.places import persons_line, persons_sites
from isograd.frameworks.torch.tally import Part, Tally, counted, part_of, part_of_sample
from isograd.records.batch import Evaluation, LossSample

PLACES = 8
"""Losses of one evaluation that are told apart at most."""
DOUBTFUL = 256
"""Batches at most whose losses have a graph, until it shows whether a step is made of them."""
DEPTH = 3
"""Frames of the program by which two calls of a loss are told apart: the loss, the function it is in, and who called that."""

_KEY = "isograd.evaluation"


class Evaluations:
    """What is heard between two steps. Nothing of the person's is kept but weak references to answers that may be compared.

    A loss without a graph belongs to an evaluation; one that has a graph does where no backward pass begins with it.
    """

    def __init__(self, allowed: Callable[[int], float] = lambda _: math.inf, loader: Callable[[], int] = lambda: -1) -> None:
        self.cost = 0.0
        """Seconds that hearing took since the last step."""
        self.alone = False
        """Whether only evaluations are listened to, in a step that is not looked at."""
        self.untrained: Callable[[], bool] = lambda: False
        """Whether the loader that was begun last has never been seen to train."""
        self._allowed, self.loader = allowed, loader
        self._index, self._limit, self._batches, self._most = 1, -1.0, 0, 0
        self._tallies: dict[tuple[object, ...], Tally] = {}
        self._waiting: list[tuple[Tally, Part]] = []
        self._answers: weakref.ref[Tensor] | None = None
        self._whole = True

    def begin(self, index: int) -> None:
        """What is heard from here on comes before step ``index``."""
        if index != self._index:
            self._index, self._limit = index, -1.0

    @property
    def doubts(self) -> bool:
        """Whether the loss after a pass in training mode is to be heard as well, if only to see that a step is made of it."""
        return self.alone and (bool(self._waiting) or self.untrained())

    def attends(self) -> bool:
        """Whether a batch of an evaluation is to be heard: one is due, and those before left something of what it may cost."""
        if self._limit < 0.0:
            self._limit, self._batches = self._allowed(self._index), 0
        if not self._limit:
            return False
        if self.cost > self._limit or (self._most and self._batches >= self._most):
            self._whole, self._most = False, self._most or self._batches  # the same batches the next time
            return False
        return True

    def called(
        self,
        function: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        result: Any,
        module: nn.Module | None = None,
    ) -> None:
        """A loss function has been called on what a watched model put out."""
        if not self.attends():
            return
        start = time.thread_time()
        part = part_of(function, given_to(function, args, kwargs, module), result)
        if part is not None:
            self._batches += 1
            tally = self._tally(function)
            if not (isinstance(result, Tensor) and result.requires_grad):
                tally.add(part)
            elif len(self._waiting) < DOUBTFUL:
                mark(result, _KEY, len(self._waiting))
                self._waiting.append((tally, part))
        self.cost += time.thread_time() - start

    def answered(self, output: Any) -> None:
        """The class that an output favours has been asked for: what this is compared with next may be the targets."""
        value = output[1] if isinstance(output, tuple) and len(output) == 2 else output
        self._answers = weakref.ref(value) if isinstance(value, Tensor) and not value.is_floating_point() else None

    def compared(self, args: Sequence[Any], output: Any) -> None:
        """Two tensors have been compared entry by entry."""
        answers = None if self._answers is None else self._answers()
        if answers is None or not isinstance(output, Tensor) or not self.attends():
            return
        shares = [one for one in args[:2] if isinstance(one, Tensor) and not one.is_floating_point()]
        if len(shares) != 2 or not any(one is answers for one in shares) or output.numel() != answers.numel():
            return
        self._answers = None
        start = time.thread_time()
        if not any(key[0] for key in self._tallies):
            right = output.sum()
            part = Part(len(output) if output.ndim else 1, output.numel())
            part.hits, part.answers = float(right) if right.is_cpu else right, output.numel()
            part.counts = counted(next((one for one in shares if one is not answers), answers))
            self._batches += 1
            self._tally("").add(part)
        self.cost += time.thread_time() - start

    def tried(self, samples: Sequence[LossSample], loaders: Mapping[int, int]) -> None:
        """Losses that were looked at as if they were stepped, and were not; ``loaders`` were last at each place."""
        for place, sample in enumerate(samples):
            if not sample.training and sample.function:
                key = (sample.function, sample.source, loaders.get(place, -1))
                tally = self._tallies.setdefault(key, Tally(*key))
                tally.gradients = True
                tally.add(part_of_sample(sample))

    def backward(self, root: Any) -> None:
        """A backward pass begins: what it begins with is no evaluation."""
        if not self._waiting:
            return
        reached, whole = marks(root.grad_fn, _KEY) if isinstance(root, Tensor) else (set[int](), False)
        if not whole or not reached:
            self._waiting.clear()  # nobody knows of which of them a step is made
        self._settle(reached)

    def close(self) -> tuple[Evaluation, ...]:
        """The evaluations since the step before."""
        if not self._tallies:
            return ()
        self._settle(set())
        heard = [tally for tally in self._tallies.values() if tally.batches]
        judged = any(tally.function for tally in heard)  # the loss knows of the right answers, too
        with Quiet():
            found = [tally.record(self._index - 1, whole=self._whole) for tally in heard if tally.function or not judged]
        self._tallies, self._whole, self._answers = {}, True, None
        return tuple(found[:PLACES])

    def _settle(self, stepped: set[int]) -> None:
        for number, (tally, part) in enumerate(self._waiting):
            if number not in stepped:
                tally.add(part)
                tally.gradients = True
        self._waiting.clear()

    def _tally(self, function: str) -> Tally:
        loader = self.loader()
        key = (function, loader, *persons_sites(DEPTH))
        known = self._tallies.get(key)
        if known is None:
            known = Tally(function, persons_line(), loader)
            if len(self._tallies) < 2 * PLACES:
                self._tallies[key] = known
        return known
