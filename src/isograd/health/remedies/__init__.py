"""Case, findings -> edits worth a full trial: correctness first, each disease's ranked by theory, the smallest change first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from isograd.health.case import Case
from isograd.health.hypotheses import DEEP, PASSING, SUSPECTS, Proposal, proposals
from isograd.health.present import Present
from isograd.health.remedies import memory, rates, signal, weights
from isograd.health.remedies.order import CORRECTNESS, in_order, tier
from isograd.records.edit import Edit
from isograd.records.finding import Finding

REMEDIES: dict[str, tuple[str, ...]] = {
    "vanishing": ("normalisation", "residual", "depth"),
    "exploding": ("normalisation", "clip_norm"),
    "rank_collapse": ("normalisation", "residual"),
    "symmetry": ("normalisation",),
    "dead_units": ("normalisation",),
    "recurrent": ("cell", "forget_bias", "clip_norm"),
    "spikes": ("clip_unit", "clip_value", "clip_norm"),
    "overfitting": ("decay_l1", "decay_decoupled"),
}
"""What helps against a disease beside the values that it makes suspect: it is no cause, but it may be the smallest cure."""

LONG = 300.0
"""Steps in which the references of ``harm`` learn what they are to."""

FAMILIES = (rates, memory, weights, signal)
"""What theory adds to the values that a search for the cause tries: each file has ``candidates(case, present)``.

Two edits are performed where they are asked for (``edits=``) and never proposed. A deeper network: on two spirals, with 2 and 3
hidden layers of 8 units, twice as wide was .99 and 1.00, twice as deep .65 and .49 (as they are .58 and .37). Separable
convolutions: of three networks that learn by heart they made none better (.87 of .89, .71 of .87, .00 of .01); what they save
is time, which a search does not judge.
"""


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
    for one in (*_from_theory(case, present, spoken), *_for_long(proposals(case, findings, present))):
        if one.edit.value is None or one.edit.value != one.edit.before:
            found.setdefault((one.edit.kind, one.edit.value, one.edit.where), one)
    order = list(found.values())

    def rank(one: Proposal) -> tuple[bool, bool, bool, int, int]:
        finding = spoken.get(one.edit.kind)
        told = finding is not None and finding.alarm
        place = _answers(finding).index(one.edit.kind) if finding is not None and told else 0
        return not one.urgent, one.edit.kind not in CORRECTNESS, not told, place, tier(one.edit)

    return tuple(sorted(order, key=rank))


def _for_long(proposed: Sequence[Proposal]) -> Iterator[Proposal]:
    """The same, and of a run that is to be longer one as long as those in which the harm of every value was measured."""
    for one in proposed:
        yield one
        if one.edit.kind == "steps":
            yield replace(one, edit=replace(one.edit, value=LONG))


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
    r"""Edits that help together where neither does alone, the likeliest first.

    First a memory that lasts, where a gradient was seen to fade over the time steps (``memory.lasting``). An activation with
    the initial weights that suit it. Adam with a rate of its own, where steps were adaptive in another way:
    the rates of the two are not of one kind. In a deep network residual paths whose branches begin at nothing, with
    an activation that has a slope of 1: the network begins as its first and last layer, so that neither depth nor the weights
    that were there matter. Rules that keep a variance over plain layers double it over each path, :math:`2^L` over L of them.
    Beyond 2 DEEP layers these come first, as plain ones of finite width n fluctuate by :math:`\exp(L / n)` at best, and before
    them what keeps every singular value (``weights.isometry``). Source: Zhang et al. 2019, arXiv:1901.09321, sections 2 and 3.

    >>> from isograd.records.edit import Edit
    >>> present = Present("dense", 20, 16.0, numbers=(("gain", 0.01),), words=(("activation", "sigmoid"),))
    >>> proposed = [Proposal(Edit("activation", "relu"), ""), Proposal(Edit("residual"), "")]
    >>> [[edit.value or edit.kind for edit in made] for made in companions(proposed, present)]
    [['relu', 'residual', 'fixup'], ['relu', 'he']]
    """
    edits = [one.edit for one in proposed if not one.edit.where]
    gain, convolutional = present.number("gain"), present.family == "convolutional"

    def drawn(curve: str) -> Edit:
        return Edit("initialisation", weights.rules(curve, present.depth, convolutional=convolutional)[0], before=gain)

    curves = [edit for edit in edits if edit.kind in ("activation", "nonlinearity")]
    pairs = [in_order((edit, drawn(str(edit.value)))) for edit in curves]
    passing = (
        ()
        if present.word("activation") in ("", *PASSING)
        else tuple(edit for edit in curves if edit.kind == "activation" and edit.value == "relu")[:1]
    )
    nothing = Edit("initialisation", "fixup", before=gain)
    paths = [edit for edit in edits if edit.kind == "residual" and not edit.off and present.depth > DEEP]
    at = 0 if present.depth > 2 * DEEP else 1
    through = [in_order((*passing, edit, nothing)) for edit in paths]
    pairs[at:at] = [made for made in (in_order(weights.isometry(present)), *through) if made]
    adam = rates.to_adam(present) if present.word("optimizer") == "adaptive" else None
    if adam is not None:
        rate = Edit("learning_rate", rates.RATE, before=rates.standing_rate(present))
        pairs.insert(len(paths) if at == 0 else 0, (adam, rate))
    lasting = memory.lasting(edits, present)
    if lasting and present.word("optimizer") == "sgd":  # what little comes back over many steps is nothing beside the rest
        pairs.insert(0, in_order((*lasting, Edit("optimizer", "adam", before="sgd"))))
    return tuple(made for made in (lasting, *pairs) if made)
