"""A run that ended long before the length that it had announced: does the same program, left to go on, learn in the rest?

An early stopping whose comparison is turned round, a ``break`` that was left in: no setting is wrong, and a replay as long as
others are does well. So where nothing else is to blame the untouched program is replayed twice, as long as the run was and as
long as it was to be, or as far as the budget goes: what it gains in between is what ending cost. A run that stopped because
nothing more was to be had gains nothing there.

Bounds:
  EARLY   less than half of the announced steps, and no exception (``present.EARLY``); where several batches make a step the
          length may have been announced in batches, so that they are counted
  TWICE   the longer replay has twice the steps of the run at least, and some four times as many at most, as those of a search
  ENOUGH  and gains .2, what a proposal must gain for the rest of a list to be left (``cause.ENOUGH``)
"""

from __future__ import annotations

from dataclasses import replace

from isograd.health.attempting import LENGTH, LONGER, Search
from isograd.health.case import Case
from isograd.health.cause import ENOUGH, LIKELY
from isograd.health.habits import passes_of_a_step
from isograd.health.harm import Harm
from isograd.health.present import EARLY
from isograd.health.scoring import score_of
from isograd.records.cause import Cause, Certainty, Explanation, Hypothesis
from isograd.records.edit import Edit

TWICE = 2


def early(case: Case) -> int | None:
    """The steps that were announced, where the loop went to its end without most of them.

    >>> from isograd.records.anatomy import Anatomy
    >>> bare = Anatomy("torch", (), ())
    >>> early(Case(bare, taken=30, planned=420, ended=True)), early(Case(bare, taken=400, planned=420, ended=True))
    (420, None)
    """
    if not case.ended or case.planned is None or case.facts("raised"):
        return None
    return case.planned if 0 < passes_of_a_step(case) * case.taken < EARLY * case.planned else None


def with_the_rest(found: Explanation, work: Search, case: Case) -> Explanation:
    """The answer where no other cause is named: the end of the run, if going on would have brought enough."""
    planned = early(case)
    if planned is None or found.causes or found.interrupted:
        return found
    said = f"The run ended after {case.taken:,} of the {planned:,} steps that it had announced"
    longest = min(planned, LONGER * max(LENGTH, case.taken), work.budget - work.spent - case.taken)
    if longest < TWICE * case.taken or not work.affords(case.taken + longest):
        return replace(
            found, remarks=(*found.remarks, f"{said[0].lower()}{said[1:]}; the budget holds no replay of what was left")
        )
    before, after = (_after(work, steps) for steps in (case.taken, longest))
    gain = after - before
    edit = Edit("steps", float(longest), before=float(case.taken))
    harm = work.harm(edit)
    tried = Hypothesis(
        edit, "fact: it ended early", after, gain, harm.value, harm.outside, score_of(gain, Harm(None)), case.taken + longest
    )
    found = replace(found, tried=(*found.tried, tried), spent=work.spent)
    if gain < ENOUGH:
        return found
    certainty: Certainty = "likely" if gain > LIKELY else "possible"
    return replace(
        found, answer="cause", causes=(Cause(edit, certainty, gain, harm.value, f"{said}, and learns in the rest.", "loop"),)
    )


def _after(work: Search, steps: int) -> float:
    """The skill of the untouched program after so many steps."""
    usual, work.length = work.length, steps
    skill, _ = work.skill((), f"no change, {steps:,} steps")
    work.length = usual
    return skill.value
