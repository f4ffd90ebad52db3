"""Decide which numbers are bad, and why: one file a disease, each a pure function from a case to findings."""

from __future__ import annotations

from isograd.health.case import Case
from isograd.health.diagnosis import (
    adversarial,
    attention,
    balance,
    batch_size,
    broadcast_loss,
    carried_state,
    clipping,
    collapse,
    cut_graph,
    dead_units,
    exception,
    exploding,
    frozen_layers,
    gradients_lost,
    gradients_not_cleared,
    hidden_scale,
    initial_loss,
    inputs,
    interrupted,
    labels,
    labels_misfit,
    learning_rate,
    loss_mismatch,
    momentum,
    nonfinite,
    optimizer_misses_parameters,
    optimizer_restarted,
    overfitting,
    plateau,
    precision,
    rank_collapse,
    recurrent,
    recurrent_axes,
    residual,
    same_batch,
    shattered,
    spikes,
    symmetry,
    targets,
    underfitting,
    unreachable_targets,
    vanishing,
    weight_decay,
    weights_reset,
    wrong_mode,
)
from isograd.records.finding import Finding

DISEASES = (
    exception,
    gradients_lost,
    gradients_not_cleared,
    cut_graph,
    optimizer_misses_parameters,
    frozen_layers,
    wrong_mode,
    optimizer_restarted,
    weights_reset,
    same_batch,
    recurrent_axes,
    carried_state,
    broadcast_loss,
    loss_mismatch,
    unreachable_targets,
    labels_misfit,
    nonfinite,
    exploding,
    vanishing,
    recurrent,
    rank_collapse,
    attention,
    dead_units,
    learning_rate,
    clipping,
    momentum,
    weight_decay,
    symmetry,
    precision,
    batch_size,
    balance,
    spikes,
    shattered,
    residual,
    hidden_scale,
    inputs,
    targets,
    labels,
    initial_loss,
    plateau,
    collapse,
    underfitting,
    overfitting,
    interrupted,
    adversarial,
)
"""In the order in which one hides the others: faults of the program first; what is not finite has no size any more."""

_WEIGHT = {"critical": 0, "warning": 1, "note": 2}
_SYMPTOMS = ("plateau", "collapse", "underfitting", "interrupted")
"""That nothing is learned a person sees by themselves: of findings that weigh the same, those that say why come first."""


def diagnose(case: Case) -> tuple[Finding, ...]:
    """Everything that is wrong, the worst first.

    >>> from isograd.records.anatomy import Anatomy
    >>> diagnose(Case(Anatomy("reference", (), ())))
    ()
    """
    found = [finding for disease in DISEASES for finding in disease.diagnose(case)]
    return tuple(sorted(found, key=_rank))


def _rank(finding: Finding) -> tuple[int, bool, float]:
    return _WEIGHT[finding.severity], finding.disease in _SYMPTOMS, -finding.confidence
