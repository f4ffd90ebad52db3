"""Made-up trainings of a made-up network, step by step: what a step did to each layer, and what the loss said."""

from isograd.health.case import case_of
from isograd.records.batch import LossSample
from isograd.records.moments import Moments, Pairs
from isograd.records.trace import LayerSample, Meter, ParameterSample, Step, Trace

LEARNING = [2.3 * 0.97**i for i in range(200)]
FLAT = [2.3 + 0.02 * (i % 5 - 2) for i in range(200)]


def looks(steps):
    """The steps that a short run is looked at closely."""
    found = {1, 2, 3, 4, 5, steps}
    while max(found - {steps}) * 1.25 < steps:
        found.add(max(max(found - {steps}) + 1, int(max(found - {steps}) * 1.25)))
    return found


def value(of, *arguments):
    return of(*arguments) if callable(of) else of


def run(
    anatomy,
    *,
    losses=LEARNING,
    rates=0.1,
    turning=1e-2,
    shrinking=0.0,
    gradient=1e-3,
    weight=0.1,
    agreement=0.3,
    norm=lambda step: 1.0 + 0.1 * (step % 7),
    floor=2.3,
    examples=32,
    update_zeros=0,
    facts=lambda step: (),
    planned=None,
    ended=True,
):
    """A case; ``turning``, ``gradient``, ``weight`` may be functions of (step, layer), ``rates``, ``norm`` of the step."""
    names = [parameter.name for parameter in anatomy.parameters]
    close, steps = looks(len(losses)), []
    for index, loss in enumerate(losses, 1):
        step = Step(index, loss, value(rates, index), tuple(value(norm, index) / len(names) ** 0.5 for _ in names))
        if index in close:
            targets = Moments.of([1.0, -1.0] * 16)
            sample = LossSample("custom", value=loss, floor=floor, target=targets, target_shape=(32, 2))
            step = Step(
                index,
                loss,
                step.learning_rate,
                step.gradient_norms,
                (LayerSample("l0", 0, examples, Moments.of([1.0, -1.0])),),
                tuple(
                    parameter(name, index, layer, turning, shrinking, gradient, weight, agreement, update_zeros)
                    for layer, name in enumerate(names)
                ),
                losses=(sample,) if floor is not None else (),
                facts=facts(index),
            )
        steps.append(step)
    return case_of(Trace(anatomy, tuple(names), tuple(steps), planned or len(losses), Meter(steps=len(losses)), ended))


def parameter(name, index, layer, turning, shrinking, gradient, weight, agreement, update_zeros):
    size, slope = value(weight, index, layer), value(gradient, index, layer)
    moved = size * value(turning, index, layer)
    pulled = size * shrinking
    side = (1.0 - agreement * agreement) ** 0.5
    updates = [moved - pulled, -moved - pulled] + [0.0] * update_zeros
    return ParameterSample(
        name,
        Moments.of([size, size]),
        Moments.of([slope, -slope]),
        Moments.of(updates),
        Pairs.of(updates[:2], [size, size]),
        None if index == 1 else Pairs.of([slope * agreement, slope * side], [slope, 0.0]),
    )


def alarms(findings):
    return [finding for finding in findings if finding.alarm]


__all__ = ["FLAT", "LEARNING", "alarms", "run"]
