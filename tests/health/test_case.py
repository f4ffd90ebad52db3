"""A case: what a diagnosis may look at, gathered from a recording."""

from isograd.health.case import case_of, late, middle
from isograd.health.signals import Measuring, measure
from isograd.records.anatomy import Anatomy
from isograd.records.batch import InputSample, LossSample
from isograd.records.fact import Fact
from isograd.records.moments import Moments
from isograd.records.reading import Reading
from isograd.records.trace import Meter, Step, Trace

NOWHERE = Anatomy("torch", (), ())


def test_facts_losses_and_inputs_come_with_the_step_that_saw_them():
    sample = InputSample("", 0, (2, 1), "float32", Moments.of([3.0, 4.0]), 3.0, 4.0)
    steps = (Step(1), Step(2, facts=(Fact("no_step"), Fact("clipped")), losses=(LossSample("mse_loss"),), inputs=(sample,)))
    case = case_of(Trace(NOWHERE, steps=steps, meter=Meter(steps=9), planned_steps=20, ended=True))
    assert case.facts("clipped") == ((2, Fact("clipped")),)
    assert case.losses == ((2, LossSample("mse_loss")),) and case.inputs == ((2, sample),)
    assert (case.taken, case.planned, case.ended) == (9, 20, True)


def test_measuring_step_by_step_gives_what_measuring_at_once_gives():
    steps = tuple(Step(i, loss=1.0 / i, learning_rate=0.1, gradient_norms=(0.5,)) for i in range(1, 6))
    trace = Trace(NOWHERE, ("w",), steps)
    measuring = Measuring(NOWHERE, ("w",))
    for step in steps:
        measuring.add(step)
    assert measuring.readings() == measure(trace) and measure(trace).values


def test_the_late_half_speaks_for_now():
    series = [Reading("loss", "", step, value) for step, value in enumerate((9.0, 9.0, 1.0, 2.0, 3.0))]
    assert late(series) == [1.0, 2.0, 3.0] and middle(series) == 2.0 and middle([]) is None
