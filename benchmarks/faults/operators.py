"""Fault operators: each spoils one choice or place of a program, at one to several strengths; which lot each is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from faults.settings import LOTS, PROGRAMS, Lot, Program, Side

T = TypeVar("T")
Change = dict[str, Any] | Callable[[Any], dict[str, Any]]


@dataclass(frozen=True)
class Operator:
    """One kind of fault. ``source`` names it in DeepCrime (D) or in the taxonomy of real faults (T), see README.md.

    ``kinds``: alternatives separated by "|", each a set of kinds of which a program must have all. A change that touches a
    setting that the program does not consult, or that changes nothing, does not apply.
    """

    name: str
    family: str
    lot: Lot
    source: str
    strengths: tuple[tuple[str, Change], ...]
    kinds: str = ""

    def settings(self, program: Program, strength: str) -> Any:
        """The program's settings with the fault in them; None where the operator does not apply."""
        if self.kinds and not any(set(option.split()) <= program.kinds for option in self.kinds.split("|")):
            return None
        change = dict(self.strengths)[strength]
        spoiled = replace(program.settings, **(change(program.settings) if callable(change) else change))
        changed = {f.name for f in fields(spoiled) if getattr(spoiled, f.name) != getattr(program.settings, f.name)}
        return spoiled if changed and changed <= program.honours else None


FIRST: Lot = "first"
SECOND: Lot = "second"
THIRD: Lot = "third"
FOURTH: Lot = "fourth"

OPERATORS: dict[str, Operator] = {}


def operator(name: str, family: str, lot: Lot, source: str, kinds: str = "", /, **strengths: Change) -> None:
    """Enter an operator; strengths are named by their keywords."""
    OPERATORS[name] = Operator(name, family, lot, source, tuple(strengths.items()), kinds)


@dataclass(frozen=True)
class Case:
    """A program with one fault in it, before anybody knows whether it does harm."""

    program: Program
    operator: Operator
    strength: str
    settings: Any

    @property
    def key(self) -> str:
        """Its name: program, operator and strength."""
        return f"{self.program.name}:{self.operator.name}:{self.strength}"


MOST: dict[Lot, int] = {"first": 8, "second": 8, "third": 4, "fourth": 2}
"""Programs that one operator is tried on: so no fault, however widely it applies, outweighs the others."""


def candidates(side: Side) -> list[Case]:
    """All cases of a side, lot by lot."""
    return [case for lot in LOTS[side] for case in _of_lot(lot)]


def _of_lot(lot: Lot) -> list[Case]:
    """All cases of a lot: each of its operators with up to ``MOST`` of its programs, each program at one strength.

    Programs and strengths go round: the n-th operator begins with the n-th program, and each next program gets the next
    strength, so that all are met and no fault counts twice in one program.
    """
    cases: dict[tuple[str, Any], Case] = {}
    programs = [program for program in PROGRAMS.values() if program.lot == lot]
    operators = [one for one in OPERATORS.values() if one.lot == lot]
    for turn, one in enumerate(operators):
        found = 0
        for program in _round(programs, turn):
            for name in _round([name for name, _ in one.strengths], found):
                settings = one.settings(program, name)
                if found < MOST[lot] and settings is not None and (program.name, settings) not in cases:
                    cases[program.name, settings] = Case(program, one, name, settings)
                    found += 1
                    break
    return list(cases.values())


def _round(values: list[T], start: int) -> list[T]:
    start %= len(values)
    return values[start:] + values[:start]


def times(factor: float) -> Change:
    """The learning rate so many times as high."""
    return lambda s: {"rate": s.rate * factor}


def under_adam(**change: Any) -> Change:
    """Only where the program uses Adam or its kin."""
    return lambda s: change if s.optimizer.startswith("adam") else {}


def under_sgd(**change: Any) -> Change:
    """Only where the program uses SGD."""
    return lambda s: change if s.optimizer == "sgd" else {}
