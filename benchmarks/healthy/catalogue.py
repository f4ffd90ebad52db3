"""All healthy programs, and which side each is on: no program and no seed is on both."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from healthy import (
    generators,
    pairs,
    pictures,
    practice_others,
    practice_pictures,
    practice_sequences,
    practice_tables,
    sequences,
    structures,
    tables,
    unusual,
)
from healthy.draws import Draw
from looking import Watching

Family = Callable[[Draw, Watching], float]
SIDES = ("calibration", "held-out")
_ROOMS = (tables, pictures, sequences, generators, pairs, structures, unusual)
_NEW_ROOMS = (practice_tables, practice_pictures, practice_sequences, practice_others)
_SHARED = ("draws.py", "data.py", "loops.py", "practice.py", "skills.py")

LOTS: dict[str, dict[str, Family]] = {
    "first": {family.__name__: family for room in _ROOMS for family in room.FIRST},
    "second": {family.__name__: family for room in _ROOMS for family in room.SECOND},
    "third": {family.__name__: family for room in _NEW_ROOMS for family in room.THIRD},
}
"""Programs come in lots. The second was held out once; what has been looked at is for calibration, and the next look takes a
new lot."""
DRAWS = {"first": 13, "second": 16, "third": 16}
"""Configurations of each program: of 36 programs in each of the first two lots at least 400 runs have to end well."""
FAMILIES: dict[str, dict[str, Family]] = {"calibration": LOTS["first"] | LOTS["second"], "held-out": LOTS["third"]}
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
    def lot(self) -> str:
        """The lot of its program."""
        return next(lot for lot, families in LOTS.items() if self.family in families)

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
        return Draw(self.family, self.lot, self.index)

    def program(self, draw: Draw) -> Callable[[Watching], float]:
        """The program as a function of the watch alone."""
        return partial(FAMILIES[self.side][self.family], draw)


def runs(side: str, draws: int | None = None) -> list[Run]:
    """The first configuration of every family, then the second of every family, and so on; ``draws`` of each, or its lot's."""
    every = [Run(side, family, index) for index in range(draws or max(DRAWS.values())) for family in FAMILIES[side]]
    return [run for run in every if draws or run.index < DRAWS[run.lot]]


def _hash(module: str) -> str:
    folder = Path(__file__).parent
    files = [Path(inspect.getsourcefile(sys.modules[module]) or ""), *(folder / name for name in _SHARED)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
