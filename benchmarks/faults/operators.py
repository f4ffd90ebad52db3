"""Fault operators: each spoils one choice of a program, at one to four strengths; which side of the split each is on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from faults.settings import PROGRAMS, Program, Settings, Side

Change = dict[str, Any] | Callable[[Settings], dict[str, Any]]


@dataclass(frozen=True)
class Operator:
    """One kind of fault. ``source`` names it in DeepCrime (D) or in the taxonomy of real faults (T), see README.md.

    ``kinds``: alternatives separated by "|", each a set of kinds of which a program must have all. A change that touches a
    setting that the program does not consult, or that changes nothing, does not apply.
    """

    name: str
    family: str
    side: Side
    source: str
    strengths: tuple[tuple[str, Change], ...]
    kinds: str = ""

    def settings(self, program: Program, strength: str) -> Settings | None:
        """The program's settings with the fault in them; None where the operator does not apply."""
        if self.kinds and not any(set(option.split()) <= program.kinds for option in self.kinds.split("|")):
            return None
        change = dict(self.strengths)[strength]
        spoiled = replace(program.settings, **(change(program.settings) if callable(change) else change))
        changed = {f.name for f in fields(Settings) if getattr(spoiled, f.name) != getattr(program.settings, f.name)}
        return spoiled if changed and changed <= program.honours else None


CALIBRATION: Side = "calibration"
HELD_OUT: Side = "held-out"

OPERATORS: dict[str, Operator] = {}


def operator(name: str, family: str, side: Side, source: str, kinds: str = "", /, **strengths: Change) -> None:
    """Enter an operator; strengths are named by their keywords."""
    OPERATORS[name] = Operator(name, family, side, source, tuple(strengths.items()), kinds)


@dataclass(frozen=True)
class Case:
    """A program with one fault in it, before anybody knows whether it does harm."""

    program: Program
    operator: Operator
    strength: str
    settings: Settings

    @property
    def key(self) -> str:
        """Its name: program, operator and strength."""
        return f"{self.program.name}:{self.operator.name}:{self.strength}"


def candidates(side: Side) -> list[Case]:
    """All cases of a side: its programs times its operators, wherever one applies; a fault that sets the same twice, once."""
    cases: dict[tuple[str, Settings], Case] = {}
    for program in PROGRAMS.values():
        for one in OPERATORS.values():
            if program.side != side or one.side != side:
                continue
            for strength, _ in one.strengths:
                settings = one.settings(program, strength)
                if settings is not None:
                    cases.setdefault((program.name, settings), Case(program, one, strength, settings))
    return list(cases.values())


def times(factor: float) -> Change:
    """The learning rate so many times as high."""
    return lambda s: {"rate": s.rate * factor}


def under_adam(**change: Any) -> Change:
    """Only where the program uses Adam or its kin."""
    return lambda s: change if s.optimizer.startswith("adam") else {}


def under_sgd(**change: Any) -> Change:
    """Only where the program uses SGD."""
    return lambda s: change if s.optimizer == "sgd" else {}
