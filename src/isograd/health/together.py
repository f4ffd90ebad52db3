r"""Faults that hide one another: all that is suspect is put right at once, and then each alone is put back.

Of three faults none may gain anything when it alone is mended. A copy without any of them shows what there is to be had; of
what was put right, a present value is to blame where putting it back beside all others costs enough,

.. math:: gain_i = J_{all} - J_{all \setminus i}

and what costs less goes, the least harmful first, so that of two edits that do the same one is left. Only values that harm a
healthy reference are put right at all (``harm``): an edit that helps everybody is not among them.

  ENOUGH  all together must reach so much more than what stands without them
  COSTS   what is put back must cost so much, as a cause must gain so much alone; what a certain fact asks for NIL
  RATES   a learning rate that suits a mended program may be another than the usual one: a tenth of it and ten times it are
          tried where the usual one does not reach WELL
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isograd.health.attempting import NIL, Search
from isograd.health.harm import Harm
from isograd.health.remedies.order import in_order
from isograd.health.scoring import CERTAIN, FACTS, score_of
from isograd.records.cause import Hypothesis
from isograd.records.edit import Edit
from isograd.records.skill import Skill

ENOUGH, COSTS, WELL = 0.2, 0.08, 0.5
RATES = (1.0, 0.1, 10.0)
SAME = ({"loss", "last"}, {"unfreeze", "parameters"})
"""Edits of which one does what the other does as well: the loss that fits is put behind outputs without a last function."""


def suspects(work: Search, given: Sequence[Edit] = ()) -> list[Hypothesis]:
    """One edit of each kind that something speaks for and whose present value does harm, beside what is given."""
    taken = {edit.kind for edit in given}
    kinds: dict[str, Hypothesis] = {}
    able = (one for one in work.tried if one.failed is None and not one.given and not one.edit.remedy and _spoken_for(one))
    for one in sorted(able, key=lambda one: (-(one.harm or 0.0), -one.gain if one.gain > NIL else 0.0)):
        doubled = any(one.edit.kind in pair and pair & (taken | set(kinds)) for pair in SAME)
        if (one.harm or 0.0) >= ENOUGH and one.edit.kind not in taken and not doubled:
            kinds.setdefault(one.edit.kind, one)
    return list(kinds.values())


def _spoken_for(one: Hypothesis) -> bool:
    """Whether a fact, a finding or its value speaks for an edit, or the harm of what is there alone."""
    return one.reason != "list" or (one.edit.kind != "loss" and (one.harm or 0.0) >= CERTAIN)


def together(work: Search, start: Skill, known: Sequence[Hypothesis], given: tuple[Edit, ...] = ()) -> list[Hypothesis]:
    """What of all suspects is to blame, the costliest first; empty where mending them all at once gains too little.

    ``start`` is the skill with what is ``given``. The first of what is returned tells, by its skill, what all reach.
    """
    if len(known) + len(given) < 2 or not work.affords((2 + len(known)) * work.length):
        return []
    edits, whole = _all(work, start, known, given)
    if whole < start.value + ENOUGH or whole < work.stood + ENOUGH:
        return []
    told = {one.edit.kind: one for one in (*work.tried, *known)}
    kept: list[Hypothesis] = []
    for edit in sorted(edits, key=lambda one: (one.kind in FACTS, told[one.kind].harm or 0.0)):
        if not work.affords(work.length):
            break
        rest = tuple(one for one in edits if one is not edit)
        before = work.spent
        without = work.skill(rest, f"put back beside all others: {edit.kind.replace('_', ' ')}")[0].value
        if whole - without <= (NIL if edit.kind in FACTS else COSTS):
            edits, whole = rest, max(whole, without)
            continue
        score = score_of(whole - without, Harm(told[edit.kind].harm))
        reason = f"beside {' and '.join(one.kind.replace('_', ' ') for one in rest)}"
        told_so = replace(told[edit.kind], edit=edit, reason=reason, gain=whole - without, score=score)
        kept.append(replace(told_so, skill=whole, given=rest, steps=work.spent - before, failed=None))
    kept = [replace(one, given=tuple(edit for edit in one.given if edit in edits), skill=whole) for one in kept]
    work.tried += kept
    return sorted(kept, key=lambda one: -one.gain)


def _all(work: Search, start: Skill, known: Sequence[Hypothesis], given: tuple[Edit, ...]) -> tuple[tuple[Edit, ...], float]:
    """All edits together, with the rate of RATES that does best, and what they reach."""
    best: tuple[tuple[Edit, ...], float] = ((), start.value)
    for factor in RATES:
        edits = in_order((*given, *(_times(one.edit, factor) for one in known)))
        if (factor != 1.0 and edits == best[0]) or not work.affords((1 + len(known)) * work.length):
            break
        before = work.spent
        skill, failed = work.skill(edits, f"all at once: {', '.join(one.kind.replace('_', ' ') for one in edits)}")
        rows = Hypothesis(edits[-1], "all at once", skill.value, skill.value - start.value, steps=work.spent - before)
        work.tried.append(replace(rows, given=edits[:-1], failed=failed))
        if skill.value > best[1]:
            best = edits, skill.value
        if best[1] >= WELL or all(one.edit.kind != "learning_rate" for one in known):
            break
    return best


def _times(edit: Edit, factor: float) -> Edit:
    """The edit with another learning rate, where it is one."""
    if edit.kind != "learning_rate" or not isinstance(edit.value, float) or factor == 1.0:
        return edit
    return replace(edit, value=float(f"{edit.value * factor:.3g}"))
