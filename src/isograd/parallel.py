"""Trainings that a search may ask for next, begun in forked processes before it asks: the answers are those of a sequence."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from isograd.health.trials import Ask
from isograd.records import codec
from isograd.records.proof import Training

Key = tuple[Any, ...]
Make = Callable[[Ask], Callable[[], Training]]
"""Prepares a training in this process (model and data of its seed) and gives what makes it, to be called in another."""

_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_RAISED = 3
"""Exit status of a process whose training raised what is no answer: it is made again here, where the error can be told."""
_MEMORY = ("MemoryError", "OutOfMemoryError", "allocate memory")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a training in another process ended: with an answer, or ``killed`` by a signal, or with neither where it raised."""

    training: Training | None = None
    seconds: float = 0.0
    killed: int = 0

    @property
    def starved(self) -> bool:
        """Whether it may have ended so because others took the memory."""
        failed = self.training.failed if self.training is not None else None
        return bool(self.killed) or (failed is not None and any(word in failed for word in _MEMORY))


@dataclass
class _Child:
    key: Key
    pid: int
    heard: bytearray = field(default_factory=bytearray)


class Ahead:
    """Up to ``processes`` trainings at a time, in the order in which they are foreseen; ``first`` is called in each process.

    What was foreseen and is not asked for is ended, and paid by nobody. A training that dies, or runs out of memory, is made
    once more, alone; if it dies again, that is its answer.
    """

    def __init__(self, make: Make, first: Callable[[], object], processes: int) -> None:
        self._make, self._first, self._processes = make, first, processes
        self._wanted: dict[Key, Ask] = {}
        self._running: dict[int, _Child] = {}
        self._ended: dict[Key, Ended] = {}

    def foresee(self, asks: Sequence[Ask]) -> None:
        """What may be asked for next, the likeliest first; whatever else is under way is ended."""
        wanted = {ask.key: ask for ask in asks}
        for place, child in list(self._running.items()):
            if child.key not in wanted:
                self._end(place)
        busy = {child.key for child in self._running.values()}
        self._wanted = {key: ask for key, ask in wanted.items() if key not in self._ended and key not in busy}
        self._fill()

    def result(self, ask: Ask) -> Ended:
        """How a training ended; waits for it, and begins it where it was not foreseen."""
        ended = self._waited(ask)
        if ended.starved and self._processes > 1:
            self.close()
            usual, self._processes = self._processes, 1
            try:
                ended = self._waited(ask)
            finally:
                self._processes = usual
        return ended

    def close(self) -> None:
        """End whatever is under way."""
        self._wanted.clear()
        for place in list(self._running):
            self._end(place)

    def _waited(self, ask: Ask) -> Ended:
        under_way = any(child.key == ask.key for child in self._running.values())
        if ask.key not in self._ended and not under_way:
            self._wanted.pop(ask.key, None)
            self._begin(ask)  # beyond the number of processes, if need be: it is what everything waits for
        while ask.key not in self._ended:
            self._hear()
            self._fill()
        return self._ended.pop(ask.key)

    def _fill(self) -> None:
        while self._wanted and len(self._running) < self._processes:
            self._begin(self._wanted.pop(next(iter(self._wanted))))

    def _begin(self, ask: Ask) -> None:
        try:
            train = self._make(ask)
        except Exception:  # noqa: BLE001 - it is met again, and told, where it is asked for
            self._ended[ask.key] = Ended()
            return
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        reads, writes = os.pipe()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of threads beside a fork: the child starts none of theirs
                pid = os.fork()
        except OSError:  # no process is to be had: it is made here
            os.close(reads)
            os.close(writes)
            self._ended[ask.key] = Ended()
            return
        if pid == 0:
            _work(writes, self._first, train)
        os.close(writes)
        self._running[reads] = _Child(ask.key, pid)

    def _hear(self) -> None:
        """Wait until one of the processes says something, or is over."""
        ready, _, _ = select.select(list(self._running), [], [])
        for place in ready:
            said, child = os.read(place, 1 << 16), self._running[place]
            child.heard += said
            if not said:
                os.close(place)
                del self._running[place]
                self._ended[child.key] = _read(child)

    def _end(self, place: int) -> None:
        child = self._running.pop(place)
        os.close(place)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child.pid, 0)


def _read(child: _Child) -> Ended:
    try:
        _, status = os.waitpid(child.pid, 0)
    except ChildProcessError:  # somebody else waits for all children of this process
        status = 0
    if os.WIFSIGNALED(status):
        return Ended(killed=os.WTERMSIG(status))
    if not child.heard:
        return Ended()
    seconds, made = json.loads(child.heard)
    return Ended(codec.loads(Training, made), seconds)


def _work(writes: int, first: Callable[[], object], train: Callable[[], Training]) -> NoReturn:
    """The life of a process: one training, said on the pipe; it hears no Ctrl-C, and dies with the one that began it."""
    status = _RAISED
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
        first()
        began = time.monotonic()
        made = train()
        said = json.dumps([round(time.monotonic() - began, 4), codec.dumps(made)]).encode()
        while said:
            said = said[os.write(writes, said) :]
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it was, it is met again in the process that asks
        status = _RAISED
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(status)


def processes_here() -> int:
    """How many processes can work at once: the cores that this one may use; 1 where processes cannot be forked safely.

    >>> processes_here() >= 1
    True
    """
    if not sys.platform.startswith("linux"):
        return 1
    return max(1, len(os.sched_getaffinity(0)))
