"""All healthy programs, and which side each is on: no program and no seed is on both."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from healthy import generators, pairs, pictures, sequences, structures, tables, unusual
from healthy.draws import SEEDS, Draw
from looking import Watching

Family = Callable[[Draw, Watching], float]
SIDES = tuple(SEEDS)
_ROOMS = (tables, pictures, sequences, generators, pairs, structures, unusual)
_SHARED = ("draws.py", "data.py", "loops.py", "skills.py")

FAMILIES: dict[str, dict[str, Family]] = {
    "calibration": {family.__name__: family for room in _ROOMS for family in room.CALIBRATION},
    "held-out": {family.__name__: family for room in _ROOMS for family in room.HELD_OUT},
}
"""The split, fixed before any alarm was looked at. Each kind of data, of model and of oddity has programs of its own on either
side (a frozen trunk here, adapters there; a clipped critic here, a penalised one there), so that what is learned on one side
has a chance on the other, and no line of a program is seen on both."""


@dataclass(frozen=True)
class Run:
    """One configuration of one program; ``fingerprint`` changes with the program's source."""

    side: str
    family: str
    index: int

    @property
    def key(self) -> str:
        """A name that sorts and that no other run has."""
        return f"{self.side}/{self.family}/{self.index}"

    @property
    def fingerprint(self) -> str:
        """A short hash of the file that the program is in and of those that all share."""
        return _hash(inspect.getmodule(FAMILIES[self.side][self.family]).__name__)  # type: ignore[union-attr]

    def draw(self) -> Draw:
        """Its configuration, not yet asked for; seeds torch."""
        return Draw(self.family, self.side, self.index)

    def program(self, draw: Draw) -> Callable[[Watching], float]:
        """The program as a function of the watch alone."""
        return partial(FAMILIES[self.side][self.family], draw)


def runs(side: str, draws: int) -> list[Run]:
    """The first configuration of every family, then the second of every family, and so on."""
    return [Run(side, family, index) for index in range(draws) for family in FAMILIES[side]]


def _hash(module: str) -> str:
    folder = Path(__file__).parent
    files = [Path(inspect.getsourcefile(sys.modules[module]) or ""), *(folder / name for name in _SHARED)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
