"""What is seen of a program before its search: in its first steps, and later in the run that nothing was changed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from isograd.explaining import candidates
from isograd.health.case import Case
from isograd.health.harm import Harm, harm_of
from isograd.health.hypotheses import Proposal
from isograd.health.looks import frozen_by_accident
from isograd.health.present import Present
from isograd.health.remedies import prescribe, rates
from isograd.health.remedies.order import tier
from isograd.records.edit import Edit
from isograd.records.finding import Finding

OBSERVED = 40
"""Real steps, all of them measured, before the search: what they show proposes edits."""
GROWTH, TOGETHER = 1.5, 2
"""Later looks come when the run is so many times as long, this many steps one after the other: some things show between two."""
BOUNDS = ("clip_unit", "clip_value")
HABITS = ("keep_weights", "constant_rate")
"""Edits of what a loop does at some steps alone."""


def later_looks(length: int) -> tuple[int, ...]:
    """The steps of a run of ``length`` that are measured in full after the first OBSERVED.

    >>> later_looks(200), later_looks(40)
    ((60, 61, 90, 91, 135, 136, 199, 200), ())
    """
    found, at = list[int](), OBSERVED * GROWTH
    while at + TOGETHER - 1 < length:
        found += [int(at) + place for place in range(TOGETHER)]
        at *= GROWTH
    return tuple(dict.fromkeys([*found, length - 1, length])) if length > OBSERVED + TOGETHER else ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A case with its findings and present values; ``late`` is the same of the run's later steps.

    What its first steps ask for goes as they say: the values that a later look proposes are those of a network that has learned
    or failed by then. Of the later looks only what a fact, a finding or a value speaks for is added.
    """

    case: Case
    findings: tuple[Finding, ...]
    present: Present
    late: Seen | None = None

    def judged(self, own: tuple[float, float] | None, batches: int) -> Seen:
        """The same, told what the run reaches on what it trained on and on other examples, after passes of so many batches."""
        if own is None:
            return self
        present = self.present.having("own", own[0]).having("held", own[1]).having("epoch", float(batches))
        return replace(self, present=present, findings=(*self.findings, *rates.finding(present)))

    def later(self, late: Seen) -> Seen:
        """The same with what was seen later, and with the highest rate of the whole run: the first steps may be warming up."""
        highest = late.present.number("learning_rate") if late.present.loop.rates else None
        present = self.present if highest is None else self.present.having("learning_rate", highest)
        return Seen(self.case, self.findings, present, late)

    @property
    def told(self) -> tuple[Finding, ...]:
        """What was found at first and later; what was found twice as it was told last."""
        late = self.late.findings if self.late else ()
        return (*late, *(one for one in self.findings if (one.disease, one.where) not in {(a.disease, a.where) for a in late}))

    @property
    def alarmed(self) -> bool:
        """Whether the training was found to be sick, at first or later."""
        return any(finding.alarm for finding in (*self.findings, *(self.late.findings if self.late else ())))

    @property
    def certain(self) -> bool:
        """Whether layers are frozen that nobody trained: to let them learn is tried, however well the training goes."""
        return bool(frozen_by_accident(self.case.anatomy))

    @property
    def prescribed(self) -> tuple[Proposal, ...]:
        """Every single edit that is worth a trial, in the order in which they deserve one."""
        made = self._joined(lambda one: prescribe(one.case, one.findings, one.present))
        return tuple(sorted(made, key=lambda one: (not one.urgent, tier(one.edit))))

    @property
    def candidates(self) -> list[Proposal]:
        """The proposals for the search of a cause; of bursts short replays show at once which bound holds them."""
        bounds = [one for one in prescribe(self.case, self.findings, self.present) if one.urgent and one.edit.kind in BOUNDS]
        made = self._joined(lambda one: candidates(one.case, one.findings, one.present))
        return [*(replace(one, urgent=False) for one in bounds), *made]

    def harm(self, edit: Edit) -> Harm:
        """What the present value of an edit does to healthy references; of a habit of the loop as it is in the whole run."""
        late = self.late if edit.kind in HABITS else None
        return harm_of(edit, self.present if late is None else late.present)

    def _joined(self, proposed: Callable[[Seen], Sequence[Proposal]]) -> list[Proposal]:
        found = {_key(one): one for one in proposed(self)}
        for one in proposed(self.late) if self.late is not None else ():
            if one.urgent and not (_key(one) in found and found[_key(one)].urgent):
                found[_key(one)] = one
        return list(found.values())


def _key(one: Proposal) -> tuple[object, ...]:
    return one.edit.kind, one.edit.value, one.edit.where
