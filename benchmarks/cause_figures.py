"""What the benchmark of causes finds of one case, and the shares of right answers over many."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cause_expected import right_kinds
from faults.grounds import OPERATORS

METHODS = ("rules", "gain", "price", "two-sided", "search", "answer")


@dataclass(frozen=True)
class Found:
    """One case: the answer of each method as kinds of edits, the best first; ``kinds`` is what would be right.

    ``why_not``: why it could not be replayed.
    """

    key: str
    program: str
    operator: str
    family: str
    harm: str
    kinds: tuple[str, ...] = ()
    why_not: str = ""
    answer: str = ""
    certainty: str = ""
    control: float = 0.0
    gain: float = 0.0
    steps: int = 0
    planned: int = 0
    seconds: float = 0.0
    placed: bool = False
    """Whether the first cause says that it is where the fault is, as ``detection`` has it of a finding."""
    named: dict[str, tuple[str, ...]] = field(default_factory=dict)
    causes: tuple[str, ...] = ()
    named_at_all: tuple[str, ...] = ()
    seen: tuple[tuple[str, str], ...] = ()
    """Alarms beside an answer without a cause, each with what the trials say of it."""
    seen_in_place: bool = False
    tried: tuple[dict[str, Any], ...] = ()


def hit(one: Found, method: str, top: int) -> bool:
    """Whether one of the first ``top`` names of a method is right."""
    wanted = {"right"} if method == "rules" else {*one.kinds, "right"} if method == "answer" else set(one.kinds)
    return bool(wanted & set(one.named.get(method, ())[:top]))


def figures(cases: Sequence[Found], twins: Sequence[Found]) -> dict[str, Any]:
    """Shares of right answers by strength and method, silence, and cost."""
    replayed = [one for one in cases if not one.why_not]
    covered = [one for one in replayed if one.kinds]
    result: dict[str, Any] = {
        "cases": len(cases),
        "replayed": len(replayed),
        "covered": len(covered),
        "not_replayed": dict(Counter(one.why_not for one in cases if one.why_not).most_common()),
        "no_edit": sorted({one.operator for one in replayed if not one.kinds}),
        "answers_where_no_edit": dict(Counter(one.answer for one in replayed if not one.kinds)),
    }
    for strength in ("strong", "moderate"):
        some = [one for one in covered if one.harm == strength]
        result[strength] = {"n": len(some)} | {
            method: [round(sum(hit(one, method, top) for one in some) / max(1, len(some)), 3) for top in (1, 3)]
            for method in METHODS
        }
        named = [one for one in some if one.causes]
        result[strength]["placed"] = f"{sum(one.placed for one in named)} of {len(named)} causes"
        result[strength]["seen"] = of_seen([one for one in some if one.seen and not one.named.get("search")])
    sound = [one for one in twins if not one.why_not]
    result["twins"] = {"n": len(sound)} | {method: sum(bool(one.named.get(method)) for one in sound) for method in METHODS}
    by_certainty: dict[str, list[bool]] = {}
    for one in covered:
        if one.certainty:
            by_certainty.setdefault(one.certainty, []).append(hit(one, "search", 1))
    result["certainty"] = {name: f"{sum(hits)}/{len(hits)}" for name, hits in by_certainty.items()}
    if replayed:
        result["median_steps"] = statistics.median(one.steps for one in replayed)
        result["median_seconds"] = statistics.median(one.seconds for one in replayed)
    return result


def of_seen(found: Sequence[Found]) -> dict[str, int]:
    """Of the cases where what was seen is all that is named: how many first ones are right by disease, by edit, in place."""
    from isograd.health.hypotheses import SUSPECTS

    return {
        "n": len(found),
        "right": sum(hit(one, "answer", 1) for one in found),
        "by_edit": sum(bool(set(one.kinds) & set(SUSPECTS.get(one.seen[0][0], ()))) for one in found),
        "in_place": sum(one.seen_in_place for one in found),
        "refuted": sum(one.seen[0][1] == "refuted" for one in found),
    }


def both(found: Sequence[Found]) -> dict[str, Any]:
    """Of the programs with two faults, how many had both, or one, named among the causes and their rivals."""
    replayed = [one for one in found if not one.why_not]
    hits = [
        [bool(right_kinds(name, OPERATORS[name].family) & set(one.named_at_all)) for name in one.operator.split(" + ")]
        for one in replayed
    ]
    return {"n": len(replayed), "both": sum(all(pair) for pair in hits), "one_at_least": sum(any(pair) for pair in hits)}
