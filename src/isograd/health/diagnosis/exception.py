"""An exception ended the training: what it means, where it came from, and what to change.

The text of an exception is matched to a cause (``health.raising``). That training ended is certain; the cause is as certain as
the text is specific. An exception that is not known, raised by the framework, is told as it is; one that the program raised
itself may be its way of stopping, and is a remark.

Look-alikes that are healthy: an exception that the program catches within the watch, a stop that it raises itself, Ctrl-C.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.raising import Cause, known
from isograd.records.anatomy import spoken
from isograd.records.fact import Fact
from isograd.records.finding import Evidence, Finding


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for the exception that ended the watch, if there was one."""
    for index, fact in case.facts("raised"):
        yield explained(fact, index or None)


def explained(fact: Fact, step: int | None) -> Finding:
    """The finding on an exception."""
    kind, message = str(fact.get("type", "")), str(fact.get("message", "")).split("\n")[0]
    told = f"{kind}: {message}" if message else kind
    found = known(fact)
    if found is None:
        strange = not fact.get("own", True)
        return Finding(
            "exception",
            "warning" if strange else "note",
            0.7 if strange else 0.5,
            fact.where or "loop",
            f"Training ended with {told}" + ("" if strange else "; the cause is not known to isograd."),
            (Evidence(told, "raised", math.nan),),
            source=fact.source,
            since=step,
            cause=None,
            remedy="look at the line; torch.autograd.set_detect_anomaly(True) names the line of a fault in a backward pass"
            if strange
            else None,
        )
    cause, match = found
    words = _words(fact, match)
    return Finding(
        "exception",
        "critical",
        0.95,
        _where(fact, cause),
        cause.summary.format_map(words),
        (Evidence(told, "raised", math.nan),),
        (fact.where,) if fact.where else (),
        str(fact.get("inplace", "")) or fact.source if cause.name == "changed in place" else fact.source,
        step,
        cause=cause.name,
        remedy=cause.remedy.format_map(words),
    )


def in_a_line(finding: Finding) -> str:
    """What is added to the exception itself: the cause in a line, the way out in another."""
    at = f" (step {finding.since})" if finding.since else ""
    way = f"\n  try {finding.remedy}" if finding.remedy else ""
    return f"isograd{at}: {finding.summary}{way}"


def _where(fact: Fact, cause: Cause) -> str:
    if cause.name == "second backward pass" and fact.get("carried", ""):
        return str(fact.get("carried", ""))
    if cause.name == "not a number" and " holds " in str(fact.get("nan", "")):
        return "data"
    return cause.where if cause.where != "loop" else fact.where or "loop"


def _words(fact: Fact, match: re.Match[str]) -> dict[str, str]:
    """What the sentences of a cause may name."""
    words = {name.rstrip("2"): value for name, value in match.groupdict().items() if value is not None}
    label = words.pop("label", "")
    module = str(fact.get("module", ""))
    where = spoken(fact.where) if fact.where else ""
    words = {"want": "?", "got": "?", "a": "?", "b": "?", "shape": "?", "size": "?", "which": "input"} | words
    words["label"] = f" ({label} was met)" if label else ""
    words["module"] = f"{where[:1].upper()}{where[1:]} ({module})" if where.startswith("layer") else f"{where} ({module})"
    if not where:
        words["module"] = module or "A matrix product"
    words["wants"] = f" in {where} ({fact.get('wants', '') or module})" if where else ""
    words["message"] = str(fact.get("message", "")).split("\n")[0].rstrip(".")
    carried, holder = str(fact.get("carried", "")), str(fact.get("holder", ""))
    words["carried"] = f": {spoken(carried)} began with the state that the last batch left, with its graph" if carried else ""
    if holder:
        words["carried"] += f"{' and' if carried else ':'} {holder} still holds a graph"
    inplace, weight = str(fact.get("inplace", "")), str(fact.get("weight", ""))
    words["inplace"] = (
        f", at {inplace}" if inplace else f": {weight} has that shape, and an optimizer stepped" if weight else ""
    )
    nan = str(fact.get("nan", ""))
    words["nan"] = f": {nan}" if nan else ""
    left = str(fact.get("left", ""))
    words["left"] = f": {left}" if left else ""
    return words
