"""Whether models compute their loss themselves, so that whoever listens from outside hears its value alone."""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.records.batch import LossSample
from isograd.records.trace import Step

ALIKE = 0.05
"""Relative difference up to which a loss that was seen is the one that is stepped."""


def trained(case: Case) -> Iterator[tuple[Step, list[LossSample]]]:
    """The losses that each step was trained by; a value alone is none where looks say of what it is the value."""
    own = inside(case)
    for step in case.steps:
        yield step, [sample for sample in step.losses if sample.training and (sample.function or not own)]


def inside(case: Case) -> bool:
    """Whether the models compute their loss themselves: looked into they show which, and listened to from outside its value."""
    looked = {step.index: [sample for sample in step.losses if sample.training] for step in case.sampled}
    heard = [one for step in case.steps if step.index not in looked for one in step.losses if one.training and one.function]
    values = {step.index: step.loss for step in case.sampled}
    return (
        not heard
        and any(looked.values())
        and all(
            len(samples) == 1 and samples[0].floor is not None and _same(samples[0].value, values[index])
            for index, samples in looked.items()
            if samples
        )
    )


def _same(value: float | None, loss: float | None) -> bool:
    return value is not None and loss is not None and abs(value - loss) <= ALIKE * abs(loss)
