"""The cause by experiment, on short replays, paid by the search for a cure that asks for it."""

from __future__ import annotations

import functools
import math

from isograd.errors import ModelError
from isograd.health import attempting, cause
from isograd.health.hypotheses import Proposal
from isograd.health.trials import SEARCH_SEED, Work
from isograd.records.cause import Explanation
from isograd.records.edit import Edit
from isograd.records.skill import Skill
from isograd.seeing import Seen
from isograd.trying import Program, short_of


def explained(program: Program, work: Work, seen: Seen, allowed: int, enough: float) -> Explanation | None:
    """The cause, within so many steps; None where these hold no comparison. No second fault is looked for beside ``enough``."""
    short = short_of(work.length)
    if allowed < 2 * short:
        return None
    patient, training, _ = program.at(SEARCH_SEED)

    def memorises(steps: int) -> Skill:
        return patient.trained(training[:1], steps).judge(training[:1])

    search = _search(program, work, seen, allowed, enough)
    return cause.search(search, able(work, seen), memorises, max(short, work.length // 4))


def first_explained(program: Program, work: Work, seen: Seen, allowed: int) -> Explanation | None:
    """The cause among what a fact, a finding or a value speaks for, with no replay for anything else; None without any."""
    short = short_of(work.length)
    spoken = [one for one in able(work, seen) if one.urgent]
    allowed = min(allowed, (1 + len(spoken)) * short)
    if allowed < 2 * short:
        return None
    return cause.search(_search(program, work, seen, allowed, -math.inf), spoken, None, short)


def longer(edit: Edit, work: Work) -> bool:
    """Whether a run of so many steps is longer: what is said of the length of the first steps is said of those alone."""
    said_of = edit.before if isinstance(edit.before, float | int) else 0.0
    return said_of >= work.length and float(edit.value or 0.0) > work.length


def able(work: Work, seen: Seen) -> list[Proposal]:
    """What is proposed for the search of a cause."""
    return [one for one in seen.candidates if one.edit.kind != "steps" or longer(one.edit, work)]


def _search(program: Program, work: Work, seen: Seen, allowed: int, enough: float) -> attempting.Search:
    short = short_of(work.length)
    patient, _, held = program.at(SEARCH_SEED)

    def attempt(edits: tuple[Edit, ...], steps: int) -> Skill:
        if not steps:
            return functools.reduce(lambda one, edit: one.apply(edit), edits, patient).judge(held["search"])
        whole = work.known.get((edits, SEARCH_SEED, "search", work.length))
        way = {} if whole is None else dict(whole.curve)
        if steps in way:
            return Skill(way[steps], 0)
        made = work.train(edits, SEARCH_SEED, "search", steps, f"cause: {'; '.join(e.text for e in edits) or 'no change'}")
        if made.failed is not None:
            raise ModelError(made.failed)
        return made.skill

    return attempting.Search(
        attempt,
        seen.harm,
        allowed,
        short,
        lambda: not work.affords(short),
        enough=enough,
        alarmed=seen.alarmed,
        ahead=lambda asks: work.foresee(work.searching(*ask) for ask in asks),
        run=work.length,
        sure=cause.SURE,
    )
