"""Case, findings -> edits worth a full trial: correctness first, each disease's ranked by theory, the smallest change first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isograd.health.case import Case
from isograd.health.hypotheses import DEEP, SUSPECTS, Proposal, proposals
from isograd.health.present import Present
from isograd.health.remedies import memory, rates, signal, weights
from isograd.health.remedies.order import CORRECTNESS, in_order, tier
from isograd.records.edit import Edit
from isograd.records.finding import Finding

REMEDIES: dict[str, tuple[str, ...]] = {
    "vanishing": ("normalisation", "residual"),
    "exploding": ("normalisation", "clip_norm"),
    "rank_collapse": ("normalisation", "residual"),
    "symmetry": ("normalisation",),
    "dead_units": ("normalisation",),
}
"""What helps against a disease beside the values that it makes suspect: it is no cause, but it may be the smallest cure."""

FAMILIES = (rates, weights, signal, memory)
"""What theory adds to the values that a search for the cause tries: each file has ``candidates(case, present)``."""


def prescribe(case: Case, findings: Sequence[Finding], present: Present) -> tuple[Proposal, ...]:
    """Every single edit that is worth a trial, each once, in the order in which they deserve one.

    First what a fact, a finding or a value speaks for, then the rest; within each what an alarm speaks for, and after
    correctness the likeliest first; then settings, initialisation, activation, normalisation and paths, architecture.

    >>> from isograd.records.anatomy import Anatomy
    >>> from isograd.health.present import present_of
    >>> case = Case(Anatomy("torch", (), ()))
    >>> [one.edit.kind for one in prescribe(case, (), present_of(case))]
    ['loss', 'shuffle', 'clip_norm']
    """
    spoken: dict[str, Finding] = {}
    for finding in sorted(findings, key=lambda one: not one.alarm):
        spoken = dict.fromkeys(_answers(finding), finding) | spoken  # the first that speaks for a kind, alarms before remarks
    found: dict[tuple[object, ...], Proposal] = {}
    for one in (*_from_theory(case, present, spoken), *proposals(case, findings, present)):
        if one.edit.value is None or one.edit.value != one.edit.before:
            found.setdefault((one.edit.kind, one.edit.value, one.edit.where), one)
    order = list(found.values())

    def rank(one: Proposal) -> tuple[bool, bool, bool, int, int]:
        finding = spoken.get(one.edit.kind)
        told = finding is not None and finding.alarm
        place = _answers(finding).index(one.edit.kind) if finding is not None and told else 0
        return not one.urgent, one.edit.kind not in CORRECTNESS, not told, place, tier(one.edit)

    return tuple(sorted(order, key=rank))


def _answers(finding: Finding) -> tuple[str, ...]:
    """The kinds of edits that a finding speaks for, the likeliest first."""
    return *SUSPECTS.get(finding.disease, ()), *REMEDIES.get(finding.disease, ())


def _from_theory(case: Case, present: Present, spoken: dict[str, Finding]) -> Iterator[Proposal]:
    for family in FAMILIES:
        for edit, reason in family.candidates(case, present):
            finding = spoken.get(edit.kind)
            if finding is None:
                yield Proposal(edit, reason)
            else:
                said = f"finding: {finding.disease.replace('_', ' ')}; {reason}"
                yield Proposal(edit, said, True, finding.where, finding.source)


def companions(proposed: Sequence[Proposal], present: Present) -> tuple[tuple[Edit, ...], ...]:
    """Edits that help together where neither does alone, the likeliest first.

    An activation with the initial weights that suit it; in a deep network weights that suit the present activation with
    residual paths: weights of zero, or of one number, add nothing to a path, and the best ones may not do without.

    >>> from isograd.records.edit import Edit
    >>> present = Present("dense", 20, 16.0, numbers=(("gain", 0.01),), words=(("activation", "sigmoid"),))
    >>> proposed = [Proposal(Edit("activation", "relu"), ""), Proposal(Edit("residual"), "")]
    >>> [[edit.kind for edit in pair] for pair in companions(proposed, present)]
    [['activation', 'initialisation'], ['residual', 'initialisation']]
    """
    edits = [one.edit for one in proposed if not one.edit.where]
    gain, convolutional = present.number("gain"), present.family == "convolutional"

    def drawn(curve: str) -> Edit:
        return Edit("initialisation", weights.rules(curve, present.depth, convolutional=convolutional)[0], before=gain)

    pairs = [in_order((edit, drawn(str(edit.value)))) for edit in edits if edit.kind == "activation"]
    paths = [edit for edit in edits if edit.kind == "residual" and not edit.off and present.depth > DEEP]
    pairs[1:1] = [in_order((edit, drawn(present.word("activation")))) for edit in paths]
    return tuple(pairs)
