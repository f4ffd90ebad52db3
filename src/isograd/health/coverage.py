"""Say what was not seen of a training, so that nobody takes silence for health."""

from __future__ import annotations

from isograd.health import curve
from isograd.health.signals.learning import unseen
from isograd.records.batch import UNSEEN
from isograd.records.trace import Trace

WORTH_TELLING = 50
"""Steps from which on it is said how much was learned, or that nobody knows."""


def remarks(trace: Trace, *, judged: bool = False) -> tuple[str, ...]:
    """What a person must know of a recording before trusting what it does not say.

    ``judged``: how good the answers are is known.

    >>> from isograd.records.anatomy import Anatomy
    >>> remarks(Trace(Anatomy("torch", (), ())))[0][:16]
    'no step was seen'
    """
    if not trace.steps and not trace.meter.steps:
        return (
            "no step was seen: no optimizer of this model made a step inside the watch, in the thread and process "
            "that entered it; nothing can be said about the training",
        )
    found: list[str] = []
    sampled = [step for step in trace.steps if step.sampled]
    if not any(step.layers for step in sampled):
        facts = (fact for step in trace.steps for fact in step.facts if fact.kind == "unseen" and not fact.where)
        told = dict.fromkeys(f"layers were not measured: {fact.get('reason', '')}" for fact in facts)
        found.extend(told or ["layers were not measured: no step was looked at closely"])
    places = (fact for step in trace.steps for fact in step.facts if fact.kind == "unseen" and fact.where)
    found.extend(dict.fromkeys(str(fact.get("reason", "")) for fact in places))
    norms = [step.gradient_norms for step in trace.steps if step.gradient_norms]
    if norms and all(norm is None for row in norms for norm in row):
        found.append("no gradient was there when the optimizer stepped: the backward pass did not reach this model")
    if trace.meter.steps >= WORTH_TELLING and _of_ones_own(trace) and not judged:
        found.append(
            "how good the answers are is not known, for the loss is not one of torch's: where the loop calls one on outputs "
            "and targets now and then, with gradients off (torch.nn.functional.mse_loss, cross_entropy), the watch hears it"
        )
    if trace.meter.steps >= WORTH_TELLING and _of_rare_classes(trace):
        found.append(
            "how good the answers are is not known, for many classes came only once in what was looked at: what a constant "
            "answer pays cannot be told from so few labels"
        )
    return tuple(found)


def _of_rare_classes(trace: Trace) -> bool:
    """Whether the labels that were looked at are too few for their classes."""
    heard = [sample for step in trace.steps for sample in step.losses if sample.training and sample.function in curve.ENTROPIES]
    counts = curve.added([sample.classes for sample in heard])
    rare = unseen(counts) > UNSEEN if counts else all(sample.floor is None for sample in heard)
    return bool(heard) and rare and not any(step.evaluations for step in trace.steps)


def _of_ones_own(trace: Trace) -> bool:
    """Whether all losses that were heard are of an unknown kind, and no evaluation says more."""
    heard = [sample for step in trace.steps for sample in step.losses]
    return bool(heard) and not any(sample.function for sample in heard) and not any(step.evaluations for step in trace.steps)
