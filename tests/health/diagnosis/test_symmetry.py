"""Symmetry: units that are born as copies, and weights without spread that do no harm."""

from dataclasses import replace

import pytest
from bodies import body
from runs import FLAT, run

from isograd.health.case import Case
from isograd.health.diagnosis import learning_rate, symmetry
from isograd.records.moments import Moments


def born(constants):
    """A chain whose layers start at the given constants; None: at random."""
    anatomy = body(len(constants))
    parameters = tuple(
        p if c is None else replace(p, values=Moments.from_sums(4096, 4096 * c, 4096 * c * c, abs(c), zeros=4096 * (c == 0)))
        for p, c in zip(anatomy.parameters, constants, strict=True)
    )
    return replace(anatomy, parameters=parameters)


@pytest.mark.parametrize("constant", [0.0, 0.1])
def test_two_layers_of_one_number_are_copies_for_ever(constant):
    (finding,) = symmetry.diagnose(run(born([constant] * 3), losses=FLAT))
    assert finding.severity == "critical" and finding.layers == ("l0", "l1") and "copies" in finding.summary


def test_it_is_foretold_before_the_first_step():
    (finding,) = symmetry.diagnose(Case(born([None, 0.5, 0.5])))
    assert finding.severity == "warning" and finding.where == "l1" and finding.since is None


def test_where_it_trains_well_all_the_same_it_is_a_remark():
    (finding,) = symmetry.diagnose(run(born([0.0] * 3)))
    assert finding.severity == "note"


def test_weights_next_to_nothing_are_not_called_a_rate_too_high_because_every_step_turns_them():
    tiny = born([None] * 3)
    tiny = replace(tiny, parameters=tuple(replace(p, values=Moments.of([1e-6, -1e-6] * 8)) for p in tiny.parameters))
    assert [finding.disease for finding in symmetry.diagnose(run(tiny, losses=FLAT))] == ["symmetry"]
    assert list(learning_rate.diagnose(run(tiny, losses=FLAT, turning=0.5, weight=1e-6))) == []
    assert [f.alarm for f in learning_rate.diagnose(run(body(3), losses=FLAT, turning=0.5, weight=1e-6))] == [True]


@pytest.mark.parametrize("constants", [[None] * 3, [None, None, 0.0], [None, 0.0, None, 0.0, None], [0.0]])
def test_silent_on_random_layers_and_on_single_ones_that_start_at_zero(constants):
    assert list(symmetry.diagnose(run(born(constants), losses=FLAT))) == []


def test_tables_of_zeros_that_are_multiplied_learn_nothing():
    anatomy = born([0.0, 0.0])
    tables = tuple(replace(node, operation="embedding") for node in anatomy.nodes)
    (finding,) = symmetry.diagnose(run(replace(anatomy, nodes=tables), losses=FLAT))
    assert finding.severity == "critical" and finding.layers == ("l0", "l1")


def test_a_real_network_of_constants(train, mlp):
    import torch

    def constant():
        model = mlp(3, torch.nn.ReLU)
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, 0.02)
        return model

    report, accuracy = train(constant, lambda p: torch.optim.Adam(p, lr=1e-3), 60)
    assert accuracy < 0.5 and any(finding.disease == "symmetry" for finding in report.findings)


def tiny(size, **what):
    """Four layers whose weights are drawn, with a deviation of ``size``."""
    anatomy = body(4, mean_square=size**2)
    return list(symmetry.diagnose(run(anatomy, **what)))


def test_weights_near_zero_in_most_layers_are_a_saddle():
    half_way = [2.3 * (0.5 + 0.5 * 0.97**i) for i in range(200)]
    (finding,) = tiny(1e-4, losses=half_way)
    assert finding.severity == "warning" and finding.layers == ("l0", "l1", "l2", "l3") and "saddle" in finding.summary


def test_a_deviation_of_002_and_a_run_that_arrived_are_healthy():
    assert tiny(0.02, losses=FLAT) == [] == tiny(1e-4)
    assert tiny(1e-4, losses=FLAT, planned=1000, ended=False) == [], "before it is decided"


def sided(means, deviation=0.29, **what):
    """Layers whose weights have these means, and the deviation of torch.rand around them."""
    anatomy = body(len(means))
    count = anatomy.parameters[0].values.count
    drawn = [Moments.from_sums(count, count * m, count * (m * m + deviation**2), 1.0) for m in means]
    parameters = tuple(replace(p, values=values) for p, values in zip(anatomy.parameters, drawn, strict=True))
    return list(symmetry.diagnose(run(replace(anatomy, parameters=parameters), **what)))


@pytest.mark.parametrize("mean", [0.5, -0.5])
def test_weights_on_one_side_of_zero_are_told_by_their_share_in_one_sum(mean):
    (finding,) = sided([mean] * 3, losses=FLAT)
    assert finding.alarm and finding.layers == ("l0", "l1", "l2") and "75 % of what they do" in finding.summary


def test_one_sided_weights_of_a_training_that_goes_well_are_a_remark():
    (finding,) = sided([0.5] * 3)
    assert finding.severity == "note"


@pytest.mark.parametrize("means", [[0.5, 0.0, 0.0], [0.1] * 3, [0.0] * 3])
def test_a_single_layer_of_one_sign_and_a_small_mean_are_meant(means):
    assert sided(means, losses=FLAT) == []


def test_a_real_network_drawn_by_rand_is_told_and_torchs_own_layers_are_not(train, mlp):
    import torch

    def positive():
        model = mlp(3, torch.nn.ReLU)
        for parameter in model.parameters():
            torch.nn.init.uniform_(parameter)
        return model

    report, accuracy = train(positive, lambda p: torch.optim.SGD(p, lr=1e-2), 60)
    assert accuracy < 0.5 and any(finding.disease == "symmetry" and finding.alarm for finding in report.findings)
    sound, _ = train(lambda: mlp(3, torch.nn.ReLU), lambda p: torch.optim.SGD(p, lr=1e-2), 60)
    assert all(finding.disease != "symmetry" for finding in sound.findings)
