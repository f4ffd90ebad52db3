"""Which decays, bounds and lengths of memory are proposed, and where they are not."""

import dataclasses

import pytest

from isograd.health.case import Case
from isograd.health.diagnosis import spikes
from isograd.health.hypotheses import DEEP
from isograd.health.present import Present
from isograd.health.remedies import prescribe, rates, signal
from isograd.records.anatomy import Anatomy, Parameter
from isograd.records.batch import InputSample
from isograd.records.finding import Finding
from isograd.records.moments import Moments
from isograd.records.reading import Reading
from isograd.records.trace import Step

LEARNED = {"own": 1.0, "held": 0.1, "epoch": 5.0, "batch_size": 32.0, "learning_rate": 3e-3}


def present(optimizer="adaptive", depth=2, **numbers):
    words = (("activation", "relu"), ("optimizer", optimizer), ("algorithm", "adam" if optimizer == "adaptive" else "sgd"))
    return Present("dense", depth, 32.0, numbers=tuple(numbers.items()), words=words)


def case(features=400, **series):
    values = Moments.of([0.1, -0.1])
    anatomy = Anatomy("torch", (), (Parameter("a.weight", "a", (8, 8), True, True, values=values),))
    rows = {
        name: {where: [Reading(name, where, at, value) for at, value in enumerate(seen, 1)]}
        for name, (where, seen) in series.items()
    }
    sample = InputSample("", 0, (32, features), "float32", values, -0.1, 0.1)
    return Case(anatomy, rows=rows, steps=(Step(1, inputs=(sample,)),))


def proposed(of, known):
    return {edit.kind: edit.value for edit, _ in reversed([*rates.candidates(of, known)]) if "decay" in edit.kind}


def test_what_was_learned_by_heart_from_a_wide_table_may_decay_by_sign_and_beside_the_gradient():
    made = [(edit.kind, edit.value) for edit, _ in rates.candidates(case(), present(**LEARNED))]
    assert [value for kind, value in made if kind == "decay_l1"] == [0.01, 0.03, 0.003]
    assert [value for kind, value in made if kind == "decay_decoupled"] == [30.0, 20.0], "10 steps at least, and 4 passes"


def test_a_table_with_ten_rows_a_feature_is_not_wide_and_a_larger_target_asks_for_a_larger_decay_by_sign():
    assert "decay_l1" not in proposed(case(16), present(**LEARNED)) and "decay_l1" in proposed(case(17), present(**LEARNED))
    assert proposed(case(), present(**LEARNED, target_scale=50.0))["decay_l1"] == 0.5


@pytest.mark.parametrize("change", [{"held": 0.6}, {"own": 0.4}, {"own": None}, {"epoch": None}])
def test_nothing_decays_where_what_was_learned_serves_others_or_that_is_not_known(change):
    known = {name: value for name, value in (LEARNED | change).items() if value is not None}
    assert proposed(case(), present(**known)) == {}
    assert rates.finding(present(**known)) == () or "epoch" in change


def test_learned_by_heart_is_a_remark_that_speaks_for_decays_and_no_alarm():
    (told,) = rates.finding(present(**LEARNED))
    assert not told.alarm and "1.00" in told.summary and "0.10" in told.summary
    urgent = {one.edit.kind for one in prescribe(case(), (told,), present(**LEARNED)) if one.urgent}
    assert {"decay_l1", "decay_decoupled"} <= urgent


CALM, BURST = (1.0, 1.2, 0.9, 1.1) * 3, (1.0, 1.2, 0.9, 40.0) * 3


def bounds(norms, known, **rms):
    seen = case(total_gradient_norm=("", norms), parameter_gradient_rms=("a.weight", rms.get("rms", (0.2, 0.2, 9.0, 9.0))))
    return {edit.kind: edit.value for edit, _ in signal.candidates(seen, known) if edit.kind in ("clip_unit", "clip_value")}


def test_where_the_gradient_bursts_a_unit_moves_a_hundredth_at_most_and_an_entry_is_bound_at_four_times_the_quiet_rms():
    assert max(BURST) > spikes.FACTOR * sorted(BURST)[len(BURST) // 2]
    assert bounds(BURST, present("sgd", learning_rate=0.5)) == {"clip_unit": 0.02, "clip_value": 1.0}


def test_no_bound_for_calm_gradients_nor_for_steps_that_do_not_grow_with_them_nor_beside_another_bound():
    assert bounds(CALM, present("sgd", learning_rate=0.5)) == {}
    assert bounds(BURST, present("adaptive", learning_rate=0.5)) == {}
    clipped = present("sgd", learning_rate=0.5)
    assert bounds(BURST, dataclasses.replace(clipped, loop=dataclasses.replace(clipped.loop, clip_norm=1.0))) == {}


@pytest.mark.parametrize(("moved", "stale"), [(1e-5, True), (5e-4, False)])
def test_steps_far_below_what_noise_alone_would_make_are_those_of_moments_of_larger_gradients(moved, stale):
    seen = case(update_rms=("a.weight", (1e-3,) * 5 + (moved,) * 5))
    kinds = {edit.kind for edit, _ in rates.candidates(seen, present(learning_rate=1e-3))}
    assert ("reset_state" in kinds) is stale
    assert "reset_state" not in {edit.kind for edit, _ in rates.candidates(seen, present("sgd", learning_rate=1e-3))}


def test_fewer_layers_are_as_many_as_the_first_gradient_reaches_through_and_come_last():
    def depth(slope, layers):
        seen = case(backward_slope=("", (slope, 0.0)))
        return [edit.value for edit, _ in signal.candidates(seen, present("sgd", layers)) if edit.kind == "depth"]

    assert depth(0.9, 31) == [0.11] and depth(3.0, 31) == [0.033], "3 nats, or one layer"
    assert depth(0.05, 31) == [] and depth(-0.9, 31) == [] and depth(0.9, DEEP + 1) == []
    seen, finding = case(backward_slope=("", (0.9, 0.9))), Finding("vanishing", "critical", 0.9, "a", "it vanishes")
    urgent = [one.edit.kind for one in prescribe(seen, (finding,), present("sgd", 31, learning_rate=0.1)) if one.urgent]
    assert urgent[-1] == "depth"
