"""What a value costs a healthy reference: the usual ones nothing, the absurd ones nearly all, and what is not known is said."""

import pytest

from isograd.health.harm import Harm, harm_of
from isograd.health.harm_table import NUMBERS, WORDS
from isograd.health.present import Present
from isograd.records.edit import Edit
from isograd.records.loop import Loop

FAMILIES = ("dense", "convolutional", "recurrent", "attention", "regression")
USUAL = {
    "learning_rate": {"sgd": 0.5, "adaptive": 3e-3},
    "weight_decay": {"sgd": 1e-4, "adaptive": 1e-4},
    "momentum": {"sgd": 0.9},
    "beta1": {"adaptive": 0.9},
    "batch_size": {"adaptive": 32.0},
    "dropout": {"adaptive": 0.1},
    "gain": {"adaptive": 0.577},
    "input_scale": {"adaptive": 1.0, "sgd": 1.0},
    "target_scale": {"adaptive": 1.0, "sgd": 1.0},
}


def present(family="dense", optimizer="adaptive", loop=Loop(), **numbers):  # noqa: B008 - a frozen record
    return Present(family, 3, 32.0, loop, tuple(numbers.items()), (("optimizer", optimizer), ("decay", optimizer)))


@pytest.mark.parametrize("family", FAMILIES)
def test_usual_values_cost_nothing(family):
    for kind, values in USUAL.items():
        for optimizer, value in values.items():
            edit = Edit("initialisation" if kind == "gain" else kind, "he" if kind == "gain" else 1.0)
            assert (harm_of(edit, present(family, optimizer, **{kind: value})).value or 0.0) < 0.08, (kind, optimizer)


@pytest.mark.parametrize(
    ("kind", "optimizer", "value"),
    [
        ("learning_rate", "sgd", 100.0),
        ("learning_rate", "sgd", 1e-5),
        ("learning_rate", "adaptive", 1.0),
        ("learning_rate", "adaptive", 1e-7),
        ("eps", "adaptive", 100.0),
        ("weight_decay", "sgd", 3.0),
        ("clip_norm", "sgd", 1e-5),
        ("dropout", "adaptive", 0.99),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_absurd_values_cost_most_of_the_skill(family, kind, optimizer, value):
    assert harm_of(Edit(kind, 1.0), present(family, optimizer, **{kind: value})).value > 0.3


def test_plain_sgd_harms_nobody_so_that_adam_is_a_remedy():
    assert Edit("optimizer", "adam").remedy and harm_of(Edit("optimizer", "adam"), present(optimizer="sgd")) == Harm(None)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_that_are_lost_cost_more_than_a_warm_up(family):
    assert harm_of(Edit("clear_gradients"), present(family, loop=Loop(clears_early=True))).value > 0.5
    warm = Loop(rates=((1, 1e-3), (10, 1e-2), (100, 1e-4)), steps=100)
    assert harm_of(Edit("constant_rate"), present(family, loop=warm)).value == 0.0


def test_a_network_outside_of_the_grid_is_said_to_be_so():
    assert not harm_of(Edit("learning_rate", 0.1), present(learning_rate=1.0)).outside
    deep = Present("dense", 50, 32.0, numbers=(("learning_rate", 1.0),), words=(("optimizer", "sgd"),))
    assert harm_of(Edit("learning_rate", 0.1), deep).outside


def test_every_row_of_the_table_is_in_order_and_every_family_is_there():
    for name, rows in NUMBERS.items():
        for row in rows.values():
            assert [value for value, _ in row] == sorted({value for value, _ in row}), name
    for name in ("learning_rate/sgd", "learning_rate/adaptive", "gain", "batch_size"):
        assert set(NUMBERS[name]) == set(FAMILIES)
    assert set(WORDS["clears"]["never"]) == set(FAMILIES)


def test_weights_and_activations_through_which_a_gradient_fades_a_millionfold_do_harm_whatever_shallow_references_say():
    for edit in (Edit("initialisation", "he"), Edit("activation", "relu", before="tanh")):
        costs = [harm_of(edit, present(gain=0.577, fading=nats)).value or 0.0 for nats in (0.0, 4.0, 9.0, 14.0, 40.0)]
        assert costs[0] < 0.08 and costs[1] == costs[0] and 0.4 < costs[2] < 0.6 and costs[3:] == [1.0, 1.0], edit


@pytest.mark.parametrize("family", ["dense", "convolutional", "regression"])
def test_pixels_up_to_255_cost_plain_descent_nearly_everything_and_an_adaptive_step_little(family):
    edit = Edit("input_scale", "standard")
    plain, adaptive = (harm_of(edit, present(family, name, input_scale=80.0)).value for name in ("sgd", "adaptive"))
    assert plain > 0.7 and plain > adaptive


@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_that_are_too_small_are_no_worse_under_plain_descent_which_lacks_rate_there(family):
    edit = Edit("input_scale", "standard")
    plain, adaptive = (harm_of(edit, present(family, name, input_scale=0.3)).value for name in ("sgd", "adaptive"))
    assert plain == adaptive
