"""Signs that an evaluation may be about to begin, heard without anything that costs a step time.

``model.eval()``, ``no_grad``, ``inference_mode`` and the beginning of a pass over a ``DataLoader``: each is wrapped once for
all watches, and only asks whether to listen from here on. A place in the program whose signs led to nothing is soon ignored: an
accuracy on the training batch, a moving average of weights.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from isograd.frameworks.torch.backward import Tap, untraced
from isograd.frameworks.torch.places import persons_sites

PATIENCE = 3
"""Times that a place may lead to nothing before it is ignored; one that once led to an evaluation never is."""
KNOWN = 256
"""Places that are remembered at most."""

MODE = Tap(nn.Module, "train")
NO_GRAD = Tap(torch.no_grad, "__enter__")
INFERENCE = Tap(torch.inference_mode, "__enter__")

Site = tuple[tuple[int, int], ...]


class Signs:
    """Hears the signs in one thread. ``begins`` is asked to listen, and tells whether it does; ``ends``: training goes on."""

    def __init__(
        self,
        watched: Callable[[nn.Module], bool],
        begins: Callable[[], bool],
        ends: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.spent = 0.0
        """Seconds that hearing signs took, since it was last set to 0."""
        self._watched, self._begins, self._ends, self._failed = watched, begins, ends, failed
        self._misses: dict[Site, int] = {}
        self._site: Site | None = None
        self._taps = ((MODE, self._mode), (NO_GRAD, self._graphless), (INFERENCE, self._graphless))

    def open(self) -> None:
        """Hear from here on, in this thread."""
        self._thread = threading.get_ident()
        for tap, listener in self._taps:
            tap.add(listener)

    def close(self) -> None:
        """Hear no more."""
        for tap, listener in self._taps:
            tap.remove(listener)
        self._misses.clear()

    def came(self, *, evaluation: bool) -> None:
        """What was listened for came, or did not."""
        if self._site is not None:
            if evaluation:
                self._misses[self._site] = -1
            elif self._misses.get(self._site, 0) >= 0 and (self._site in self._misses or len(self._misses) < KNOWN):
                self._misses[self._site] = self._misses.get(self._site, 0) + 1
            self._site = None

    def loader(self) -> None:
        """A pass over a loader begins."""
        self._hear()

    def _mode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() == self._thread:
            if args[1] if len(args) > 1 else kwargs.get("mode", True):
                self._ends()
            else:
                self._hear(args[0])

    def _graphless(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() == self._thread:
            self._hear()

    def _hear(self, module: nn.Module | None = None) -> None:
        start = time.perf_counter()
        try:
            site = persons_sites(1)
            if self._misses.get(site, 0) < PATIENCE and (module is None or self._watched(module)) and self._begins():
                self._site = site
        except Exception as error:  # noqa: BLE001  an error of ours stays out of the person's loop
            self._failed(error)
        self.spent += time.perf_counter() - start


for _listener in (Signs._mode, Signs._graphless):
    untraced(_listener, within=True)
