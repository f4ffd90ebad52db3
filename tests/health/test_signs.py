"""Signs of how a training will go: each on a case whose value is known by thought; what cannot be told is left out."""

import math

import pytest

from isograd.health import signs
from isograd.health.case import case_of
from isograd.health.signals import alignment, effective_rank, overshoot
from isograd.records.anatomy import Anatomy, Node, Optimizer, Parameter
from isograd.records.batch import LossSample
from isograd.records.expectation import Expectation, Expectations
from isograd.records.fact import Fact
from isograd.records.moments import Gram, Moments, Pairs
from isograd.records.probe import Glance, Probe
from isograd.records.trace import LayerSample, Meter, ParameterSample, Step, Trace

NODES = (
    Node("a", "linear", "Linear", parameters=("a.weight",)),
    Node("b", "activation", "ReLU", (0,)),
    Node("c", "linear", "Linear", (1,), parameters=("c.weight",)),
)
PARAMETERS = tuple(Parameter(f"{n}.weight", n, (4, 4), True, True, Moments.of([1.0])) for n in "ac")


def anatomy(**settings):
    return Anatomy("torch", NODES, PARAMETERS, Optimizer("sgd", tuple(settings.items())))


def look(index, loss, *, floor=1.0, hits=-1, classes=(), value=None, ratios=(0.01, 0.1), gradients=(0.01, 1.0), facts=()):
    layers = tuple(
        LayerSample(where, examples=8, activation=Moments.of([2.0]), gradient=Moments.of([g / 8]))
        for where, g in zip("ac", gradients, strict=True)
    )
    moved = tuple(
        ParameterSample(f"{n}.weight", Moments.of([1.0]), motion=Pairs.of([r], [1.0]))
        for n, r in zip("ac", ratios, strict=True)
    )
    sample = LossSample("cross_entropy", value=loss if value is None else value, floor=floor, hits=hits, classes=classes)
    return Step(index, loss=loss, layers=layers, parameters=moved, losses=(sample,), facts=tuple(facts))


def checked(*steps, planned=100):
    return case_of(Trace(anatomy(learning_rate=0.1), steps=steps, planned_steps=planned))


def test_theory_tells_gap_signal_and_run():
    nodes = (Expectation("a", 1.0, -2.0 * math.log(10.0), 0.5), Expectation("c", 100.0, 0.0))
    found = signs.of_theory(anatomy(learning_rate=0.1, momentum=0.9), Expectations(nodes), 1000)
    assert found["gap_foretold"] == pytest.approx(-2.0) and found["signal_foretold"] == pytest.approx(2.0)
    assert found["run"] == pytest.approx(3.0) and found["width_noise"] == 0.5 and found["depth"] == math.log2(3)


def test_a_schedule_that_begins_at_nothing_says_nothing_of_the_run():
    assert "run" not in signs.of_theory(anatomy(learning_rate=0.0), Expectations(), 1000)


def test_the_first_step_tells_gap_movement_path_and_start():
    found = signs.of_step(checked(look(1, 2.0), look(2, 1.5)))
    assert found["gap"] == pytest.approx(-2.0) and found["signal"] == pytest.approx(math.log10(2.0))
    assert found["moved_least"] == pytest.approx(-2.0) and found["moved_most"] == pytest.approx(-1.0)
    assert found["path"] == pytest.approx(math.log10(0.055 * 100))
    assert found["start"] == pytest.approx(math.log10(2.0)) and math.sinh(found["first_gain"]) == pytest.approx(50.0)
    assert found["log_batch"] == 3.0 and "overshoot" not in found and "separable" not in found


def test_what_the_first_step_promised_counts_over_the_whole_run():
    fact = Fact("first_step", settings=(("promised", -0.02), ("met", 0.02)))
    found = signs.of_step(checked(look(1, 2.0, facts=(fact,))))
    assert found["promised"] == pytest.approx(math.log10(2.0)) and math.sinh(found["overshoot"]) == pytest.approx(20.0)
    assert overshoot(-0.02, 0.02) == pytest.approx(2.0) and overshoot(0.02, 0.0) == math.inf


def test_a_stepped_loss_that_holds_more_than_the_heard_one_is_not_measured_by_its_floor():
    assert signs.floor_of(checked(look(1, 2.0))) == 1.0
    assert signs.floor_of(checked(look(1, 5.0, value=2.0))) is None
    assert "start" not in signs.of_step(checked(look(1, 5.0, value=2.0)))
    looks = signs.of_looks(checked(look(1, 5.0, value=0.5), look(2, 5.0, value=0.5)))
    assert looks["skill"] == pytest.approx(0.5)


def glance(loss, right, hidden=None):
    return Glance(loss, right, 0.5, None, hidden, Gram(4, square([1, 1, -1, -1])) if hidden else None)


def square(values):
    return tuple(float(a * b) for a in values for b in values)


def test_the_thin_probe_tells_skill_gain_pace_and_separability():
    good, bad = Gram(4, square([2, 2, -2, -2])), Gram(4, square([2, -2, 2, -2]))
    found = signs.of_probe(Probe(glance(1.0, 0.5, bad), glance(0.1, 1.0, good), 40, 8, 1.0, (1.0,) * 40, 0.01), 1.0, 400)
    assert found["thin_skill"] == 1.0 and found["thin_gain"] == 1.0 and found["thin_loss"] == pytest.approx(-1.0)
    assert found["thin_separable"] == pytest.approx(1.0) and found["thin_rank"] == pytest.approx(0.0)
    assert found["thin_done"] == pytest.approx(-1.0) and found["thin_pace"] == pytest.approx(1.0)
    assert signs.of_probe(Probe(glance(1.0, 0.5)), 1.0) == {}


def test_a_probe_that_breaks_is_the_worst_there_is():
    found = signs.of_probe(Probe(glance(1.0, 0.5), glance(math.nan, 0.5), 40, 8, 1.0, (1.0, math.nan)), 1.0, 400)
    assert found["thin_skill"] == -1.0 and found["thin_loss"] == found["thin_trend"] == found["thin_burst"] == 6.0


def test_the_looks_of_a_watch_tell_skill_trend_and_right_answers():
    steps = [look(i, 1.0 if i <= 5 else 0.25, hits=4 if i <= 5 else 7, classes=(4, 4)) for i in range(1, 11)]
    found = signs.of_looks(checked(*steps))
    assert found["skill"] == pytest.approx(0.75) and found["trend"] == pytest.approx(0.75) and found["noise"] == 0.0
    assert found["hits_now"] == pytest.approx(0.75) and found["pace"] == pytest.approx(math.log10(0.75 * 10))
    assert found["path"] == pytest.approx(math.log10(0.055 * 100))
    broken = signs.of_looks(checked(look(1, 1.0), look(2, math.nan)))
    assert broken["skill"] == -1.0 and broken["loss_now"] == 6.0


def test_a_recording_is_cut_at_a_step():
    trace = Trace(anatomy(), steps=(look(1, 1.0), look(5, 1.0)), meter=Meter(steps=9), ended=True)
    cut = signs.until(trace, 3)
    assert [step.index for step in cut.steps] == [1] and cut.meter.steps == 3 and not cut.ended
    assert [step.index for step in signs.until(trace, 5).steps] == [1, 5]


def test_nothing_seen_gives_no_sign():
    assert signs.of_looks(case_of(Trace(Anatomy("torch", (), ())))) == {}


def test_alignment_does_not_care_for_scale_nor_for_what_examples_share():
    one, targets = [3.0, 3.0, 1.0, 1.0], Gram(4, square([1, 1, -1, -1]))
    assert alignment(Gram(4, square(one)), targets) == pytest.approx(1.0)
    assert alignment(Gram(4, square([1e-150 * v for v in one])), targets) == pytest.approx(1.0)
    assert alignment(Gram(4, square([1, -1, 1, -1])), targets) == pytest.approx(0.0)
    assert math.isnan(alignment(Gram(4, square([1, 1, 1, 1])), targets)) and math.isnan(alignment(Gram(0), Gram(0)))


def test_the_effective_rank_counts_directions():
    apart = Gram(4, tuple(float(i == j) for i in range(4) for j in range(4)))
    assert effective_rank(apart) == pytest.approx(3.0)  # the mean takes one away
    assert effective_rank(Gram(4, square([1, 2, 3, 4]))) == pytest.approx(1.0)
    assert math.isnan(effective_rank(Gram(4, square([1, 1, 1, 1]))))
