"""Programs with two faults at once: pairs of single ones, each of which an edit takes back, put into one program together."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, cycle
from typing import Any

from cause_expected import curable_kinds
from faults.grounds import OPERATORS, PROGRAMS


def pairs(cases: Sequence[Mapping[str, Any]], count: int, seed: int = 0) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """So many pairs of single faults, program by program in turn: no edit takes both back, and both are in the settings.

    Each operator is met once before any is met twice, as far as its programs allow.
    """
    by_program: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for one, other in combinations(cases, 2):
        if one["program"] == other["program"] and not kinds_of(one) & kinds_of(other) and settings_of((one, other)) is not None:
            by_program.setdefault(one["program"], []).append((one, other))
    draw, met, found = random.Random(f"doubles {seed}"), dict[str, int](), list[tuple[Mapping[str, Any], Mapping[str, Any]]]()
    for choices in by_program.values():
        draw.shuffle(choices)
    for name in cycle(list(by_program)):
        if len(found) >= count or not any(by_program.values()):
            return found
        choices = by_program[name]
        if choices:
            chosen = min(choices, key=lambda pair: sum(met.get(case["operator"], 0) for case in pair))
            choices.remove(chosen)
            found.append(chosen)
            for case in chosen:
                met[case["operator"]] = met.get(case["operator"], 0) + 1
    return found


def kinds_of(case: Mapping[str, Any]) -> frozenset[str]:
    """The kinds of edits that take one fault back."""
    return curable_kinds(case["operator"], case["family"], case["program"])


def settings_of(cases: Sequence[Mapping[str, Any]]) -> Any:
    """The program's settings with all these faults in them; None where one undoes or hides another."""
    program = PROGRAMS[cases[0]["program"]]
    made = program
    for case in cases:
        spoiled = OPERATORS[case["operator"]].settings(made, case["strength"])
        if spoiled is None:
            return None
        made = replace(made, settings=spoiled)
    again = program
    for case in reversed(cases):
        spoiled = OPERATORS[case["operator"]].settings(again, case["strength"])
        if spoiled is None:
            return None
        again = replace(again, settings=spoiled)
    return made.settings if made.settings == again.settings else None
