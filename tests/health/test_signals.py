"""Signals on recordings whose numbers are known by thought."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.health import signals
from isograd.records.anatomy import Anatomy, Node
from isograd.records.moments import Moments, Pairs, Units
from isograd.records.trace import LayerSample, ParameterSample, Step, Trace


def anatomy(*paths, operation="linear"):
    return Anatomy("reference", tuple(Node(path, operation, "Linear") for path in paths), ())


def layer(where, gradient=1.0, *, examples=1, call=0, units=None, value=1.0):
    return LayerSample(where, call, examples, Moments.of([value, -value]), Moments.of([gradient]), units)


def layer_of(examples, units):
    return layer("a", examples=examples, units=units)


def values(readings, signal, where=""):
    return [reading.value for reading in readings.of(signal, where)]


def test_doubling_the_batch_does_not_change_the_gradient_of_an_example():
    once = LayerSample("a", examples=2, gradient=Moments.of([0.5, 0.5]))
    twice = LayerSample("a", examples=4, gradient=Moments.of([0.25] * 4))
    assert signals.gradient_rms(once) == signals.gradient_rms(twice) == 1.0


def test_what_was_not_seen_has_no_reading():
    nothing = LayerSample("a")
    assert all(math.isnan(f(nothing)) for f in (signals.activation_rms, signals.gradient_rms, signals.zero_fraction))
    found = signals.measure(Trace(anatomy("a"), steps=(Step(1, layers=(nothing,)),)))
    assert found.values == () and found.order == ("a",)


@given(st.floats(-3, 3), st.integers(2, 40), st.floats(1e-30, 1e30))
def test_the_slope_of_a_geometric_gradient_is_its_rate_whatever_its_size(rate, depth, size):
    gradients = [size * math.exp(rate * level) for level in range(depth)]
    assert signals.backward_slope(gradients) == pytest.approx(rate, abs=1e-9)


def test_a_layer_without_gradient_does_not_bend_the_slope():
    assert signals.backward_slope([0.25, 0.0, 1.0]) == pytest.approx(math.log(2))
    assert math.isnan(signals.backward_slope([1.0])) and math.isnan(signals.backward_slope([0.0, math.nan]))


def test_the_total_norm_of_huge_and_tiny_gradients_neither_overflows_nor_underflows():
    assert signals.total_gradient_norm([3e200, 4e200]) == pytest.approx(5e200)
    assert signals.total_gradient_norm([3e-200, 4e-200]) == pytest.approx(5e-200)
    assert math.isnan(signals.total_gradient_norm([None])) and math.isinf(signals.total_gradient_norm([math.inf, 1.0]))


def test_weight_decay_alone_moves_a_weight_and_does_not_turn_it():
    decay = ParameterSample("w", Moments.of([3.0, 4.0]), motion=Pairs.of([-0.03, -0.04], [3.0, 4.0]))
    assert signals.update_ratio(decay) == pytest.approx(0.01)
    assert signals.turning_ratio(decay) == pytest.approx(0.0, abs=1e-9)


def test_the_first_step_of_a_weight_that_is_zero_is_infinitely_large():
    zero = Moments.of([0.0, 0.0])
    assert signals.update_ratio(ParameterSample("w", zero, update=Moments.of([1.0, 0.0]))) == math.inf
    assert math.isnan(signals.update_ratio(ParameterSample("w", zero, update=zero)))
    assert signals.turning_ratio(ParameterSample("w", zero, motion=Pairs.of([1.0], [0.0]))) == math.inf


def test_calls_of_a_shared_layer_are_one_reading():
    step = Step(1, layers=(layer("a", value=3.0), layer("a", call=1, value=4.0)))
    assert values(signals.measure(Trace(anatomy("a"), steps=(step,))), "activation_rms", "a") == [math.sqrt(12.5)]


def test_readings_come_in_the_order_of_the_network_and_unknown_places_are_left_out():
    step = Step(1, layers=(layer("b"), layer("a"), layer("elsewhere")))
    found = signals.measure(Trace(anatomy("a", "b"), steps=(step,)))
    assert [r.where for r in found.of("gradient_rms")] == ["a", "b"] == list(found.order)


def test_a_unit_is_dead_only_if_it_fired_at_none_of_the_recent_looks():
    steps = [Step(i, layers=(layer("a", units=Units(10, (i % 2, 0), (0, 10))),)) for i in (1, 2)]
    found = signals.measure(Trace(anatomy("a"), steps=tuple(steps)))
    assert values(found, "dead_fraction", "a") == [0.5, 0.5]
    assert values(found, "unit_looks", "a") == [8, 16]  # of one example's looks, 8 count
    assert values(found, "stuck_fraction", "a") == [0.5, 0.5]
    assert values(found, "saturated_fraction", "a") == [0.5, 0.5]


def test_a_unit_that_dies_is_noticed_as_soon_as_the_newest_looks_suffice():
    steps = [Step(i, layers=(layer_of(64, Units(64, (5 if i < 3 else 0,), (0,))),)) for i in range(1, 6)]
    found = signals.measure(Trace(anatomy("a"), steps=tuple(steps)))
    assert values(found, "dead_fraction", "a") == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert values(found, "unit_looks", "a") == [64, 128, 128, 128, 128]


def test_the_looks_of_single_examples_add_up_over_many_steps():
    steps = [Step(i, layers=(layer_of(1, Units(1, (0,), (0,))),)) for i in range(1, 100)]
    assert max(values(signals.measure(Trace(anatomy("a"), steps=tuple(steps))), "unit_looks", "a")) == signals.WINDOW


def test_the_positions_of_one_picture_are_alike_and_count_for_few_looks():
    step = Step(1, layers=(layer_of(4, Units(4 * 28 * 28, (0,), (0,))),))
    assert values(signals.measure(Trace(anatomy("a"), steps=(step,))), "unit_looks", "a") == [32]


def test_a_layer_that_changes_its_width_starts_its_count_anew():
    steps = (
        Step(1, layers=(layer("a", units=Units(9, (1,), (0,))),)),
        Step(2, layers=(layer("a", units=Units(5, (0, 1), (0, 0))),)),
    )
    assert values(signals.measure(Trace(anatomy("a"), steps=steps)), "unit_looks", "a") == [8, 5]


def test_the_slope_of_a_step_counts_layers_with_weights_only():
    nodes = tuple(Node(p, "linear" if p != "act" else "activation", "") for p in ("a", "act", "b"))
    step = Step(1, layers=(layer("a", 0.5), layer("act", 1e-9), layer("b", 1.0)))
    found = signals.measure(Trace(Anatomy("reference", nodes, ()), steps=(step,)))
    assert values(found, "backward_slope") == [pytest.approx(math.log(2))]


def test_what_is_not_finite_is_counted_and_the_planned_length_is_told():
    broken = LayerSample("a", 0, 1, Moments.of([math.nan, math.inf, 1.0]), Moments.of([math.inf]))
    sample = ParameterSample("w", Moments.of([math.nan, 1.0]))
    step = Step(3, loss=math.nan, layers=(broken,), parameters=(sample,), gradient_norms=(math.inf,))
    found = signals.measure(Trace(anatomy("a"), ("w",), (step,), planned_steps=50))
    assert values(found, "activation_nans", "a") == [1] and values(found, "activation_infs", "a") == [1]
    assert values(found, "gradient_nonfinite", "a") == [1] and values(found, "parameter_nonfinite", "w") == [1]
    assert values(found, "gradient_norm", "w") == [math.inf] and values(found, "planned_steps") == [50]
    assert math.isnan(values(found, "loss")[0])


def test_parameter_norms_of_steps_that_were_not_sampled_are_joined_to_one_number():
    step = Step(1, gradient_norms=(3.0, 4.0))
    found = signals.measure(Trace(anatomy("a"), ("w", "b"), (step,)))
    assert values(found, "total_gradient_norm") == [5.0] and found.of("gradient_norm") == ()


def test_units_of_a_layer_that_is_not_finite_are_not_counted_as_silent():
    broken = LayerSample("a", 0, 64, Moments.of([math.nan]), units=Units(64, (0,), (0,)))
    assert values(signals.measure(Trace(anatomy("a"), steps=(Step(1, layers=(broken,)),))), "dead_fraction", "a") == []
