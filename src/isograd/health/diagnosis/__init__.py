"""Decide which numbers are bad, and why: one file a disease, each a pure function from a case to findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import ModuleType

from isograd.health.case import Case
from isograd.health.diagnosis import (
    adversarial,
    attention,
    balance,
    batch_size,
    bottomless,
    broadcast_loss,
    carried_state,
    clipping,
    collapse,
    cut_graph,
    dead_units,
    exception,
    exploding,
    first_aid,
    flat_activation,
    forgetting,
    frozen_layers,
    gradients_lost,
    gradients_not_cleared,
    hidden_scale,
    hidden_softmax,
    initial_loss,
    inputs,
    interrupted,
    inverted_mask,
    labels,
    labels_misfit,
    leak,
    learning_rate,
    loss_mismatch,
    momentum,
    nonfinite,
    optimizer_misses_parameters,
    optimizer_restarted,
    overfitting,
    plateau,
    posterior_collapse,
    precision,
    rank_collapse,
    ranks_apart,
    recurrent,
    recurrent_axes,
    residual,
    same_batch,
    shattered,
    skew,
    spikes,
    structure,
    surprise,
    symmetry,
    targets,
    underfitting,
    unreachable_targets,
    vanishing,
    warm_up,
    weight_decay,
    weights_reset,
    wrong_mode,
)
from isograd.health.outcome import decided
from isograd.records.finding import Finding

PROGRAM = (
    exception,
    gradients_lost,
    gradients_not_cleared,
    cut_graph,
    flat_activation,
    optimizer_misses_parameters,
    frozen_layers,
    wrong_mode,
    optimizer_restarted,
    ranks_apart,
    weights_reset,
    same_batch,
    recurrent_axes,
    inverted_mask,
    leak,
    carried_state,
    broadcast_loss,
    loss_mismatch,
    bottomless,
    unreachable_targets,
    labels_misfit,
    structure,
)
"""Faults of the program itself, read off it: certain, and what everything else may follow from."""

DATA = (inputs, targets, labels)
"""What the batches bring."""

STEPS = (learning_rate, warm_up, clipping, momentum, weight_decay, batch_size)
"""Settings of the optimizer, by what its steps do."""

FLOW = (
    initial_loss,
    nonfinite,
    exploding,
    vanishing,
    recurrent,
    rank_collapse,
    attention,
    dead_units,
    symmetry,
    precision,
    balance,
    spikes,
    shattered,
    residual,
    hidden_scale,
    hidden_softmax,
    adversarial,
    posterior_collapse,
    surprise,
)
"""What happens to signals and gradients on their way, whatever the reason."""

OUTCOME = (plateau, collapse, underfitting, skew, overfitting, forgetting, interrupted, first_aid)
"""What has come of it: true of every failed training, and the last word where nothing says more."""

DISEASES = (*PROGRAM, *DATA, *STEPS, *FLOW, *OUTCOME)

SURE = 0.75
"""Confidence from which a finding about the labels stands beside other causes; below, it was concluded from failure alone."""

CONSTANTS = ("learning_rate", "momentum", "weight_decay")
"""Diseases whose place, the optimizer, is a line with the constants that are to be changed."""

_WEIGHT = {"critical": 0, "warning": 1, "note": 2}
_TIER = {
    disease.__name__.rpartition(".")[2]: tier
    for tier, group in enumerate((PROGRAM, DATA, STEPS, FLOW, OUTCOME))
    for disease in group
}


def diagnose(case: Case) -> tuple[Finding, ...]:
    """Everything that is wrong: alarms before notes, and among alarms what may be the cause before what follows from it.

    Faults of the program and critical findings are told at once, other symptoms are remarks until the run is ``decided``. A
    rule that fails is a remark too, and silences no other: what was found is worth more than what was not. What several losses
    say of one place in the same words is told once.

    >>> from isograd.records.anatomy import Anatomy
    >>> diagnose(Case(Anatomy("reference", (), ())))
    ()
    """
    asked = (_placed(finding, case) for disease in DISEASES for finding in _asked(disease, case))
    found = {(one.disease, one.where, one.source, one.summary): one for one in asked}.values()
    return in_order(explained([finding if decided(case) else _held_back(finding) for finding in found]))


def _placed(finding: Finding, case: Case) -> Finding:
    """A finding of the optimizer's constants with the line that makes it, one of clipping with the line that clips.

    What a schedule makes of the rate stands elsewhere.
    """
    if finding.where != "optimizer" or finding.source is not None:
        return finding
    if finding.disease == "clipping":
        return replace(finding, source=next((fact.source for _, fact in reversed(case.facts("clipped"))), None))
    rates = {reading.value for reading in case.series("learning_rate")}
    optimizer = case.anatomy.optimizer
    if finding.disease not in CONSTANTS or optimizer is None or len(rates) > 1:
        return finding
    return replace(finding, source=optimizer.source)


def _asked(disease: ModuleType, case: Case) -> tuple[Finding, ...]:
    """What one rule finds, or a remark that it failed."""
    try:
        return tuple(disease.diagnose(case))
    except Exception as error:  # noqa: BLE001  whatever it is, it must not take the other findings along
        name = disease.__name__.rpartition(".")[2]
        told = f"The rule for {name} failed ({type(error).__name__}: {error}); the other rules were asked. Please report it."
        return (Finding(name, "note", 1.0, "isograd", told),)


def explained(found: Sequence[Finding]) -> Iterator[Finding]:
    """The suspicion that targets follow from nothing is a remark where something else is known to stop the training.

    That a run ended too early is one where its targets are known to be wrong: more of them would be learned by heart. And so
    is a rate that moves nothing where the gradient is lost on its way: no rate brings it to the layers that it does not reach,
    nor out of a last function that is pinned. Steps along gradients that carry a loss scale, or have lost one, are too long or
    too short by that, not by their rate. Weights that are born as zeros fire no unit: these are not dead.
    """
    faded = any(one.alarm and one.disease == "vanishing" for one in found)
    pinned = any(one.alarm and one.disease in ("loss_mismatch", "unreachable_targets") for one in found)
    copies = any(one.alarm and one.disease == "symmetry" for one in found)
    rescaled = any(one.alarm and precision.is_of_the_program(one) for one in found)
    targets = any(one.alarm and one.disease == "labels" and _sure(one) for one in found)
    known = any(one.alarm and one.disease != "labels" and _TIER.get(one.disease, 0) < _TIER["plateau"] for one in found)
    for finding in found:
        follows = (
            (known and finding.disease == "labels" and not _sure(finding))
            or (targets and finding.disease == "interrupted")
            or (faded and finding.cause == learning_rate.SHORT)
            or (pinned and learning_rate.is_still(finding))
            or (copies and finding.disease == "dead_units")
            or (rescaled and finding.disease in ("learning_rate", "clipping", "exploding"))
        )
        yield replace(finding, severity="note") if follows else finding


def _sure(finding: Finding) -> bool:
    return finding.confidence >= SURE


def _held_back(finding: Finding) -> Finding:
    """A warning of data, steps or flow as a remark: whether a symptom does harm shows when most of the run is over."""
    warns = finding.severity == "warning" and _TIER.get(finding.disease, 0) in (1, 2, 3)
    return replace(finding, severity="note") if warns else finding


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings as a person should read them: faults of the program, data, settings, flow, then what came of it.

    Of the last those come first that name a place in the network: they say what it comes from.
    """

    def rank(finding: Finding) -> tuple[bool, int, bool, int, float]:
        tier = 0 if precision.is_of_the_program(finding) else _TIER.get(finding.disease, 0)
        names_no_place = tier == _TIER["plateau"] and finding.where in ("loss", "loop", "data")
        if finding.disease == "nonfinite" and finding.where == "data":  # what comes in broken breaks everything behind it
            tier = -1
        return not finding.alarm, tier, names_no_place, _WEIGHT[finding.severity], -finding.confidence

    return tuple(sorted(findings, key=rank))
