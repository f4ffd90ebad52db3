"""What an activation does to Gaussian values, checked against sampling and against known integrals."""

import math

import numpy as np
import pytest

from isograd.health import activations
from isograd.records.anatomy import Node

EVERY = [
    ("identity", ()),
    ("relu", ()),
    ("relu6", ()),
    ("leaky_relu", (("negative_slope", 0.2),)),
    ("prelu", ()),
    ("tanh", ()),
    ("sigmoid", ()),
    ("silu", ()),
    ("mish", ()),
    ("gelu", (("approximate", "none"),)),
    ("gelu", (("approximate", "tanh"),)),
    ("elu", (("alpha", 0.7),)),
    ("celu", (("alpha", 0.7),)),
    ("selu", ()),
    ("softplus", (("beta", 2.0),)),
    ("softsign", ()),
    ("logsigmoid", ()),
    ("tanhshrink", ()),
    ("hardtanh", (("min_val", -0.5), ("max_val", 1.5))),
    ("hardsigmoid", ()),
    ("hardswish", ()),
]


def name(function):
    return Node("a", "activation", "", settings=(("function", function),)).activation


@pytest.mark.parametrize(("function", "settings"), EVERY)
@pytest.mark.parametrize("second_moment", [0.01, 1.0, 9.0])
def test_quadrature_agrees_with_sampling(function, settings, second_moment):
    phi, slope = activations._curves(name(function), settings)
    x = math.sqrt(second_moment) * np.random.default_rng(0).standard_normal(400_000)
    sampled = [phi(x), phi(x) ** 2, slope(x) ** 2, slope(x) ** 4]
    found = activations.gauss(name(function), settings, second_moment)
    for value, draws in zip((found.mean, found.square, found.slope2, found.slope4), sampled, strict=True):
        assert value == pytest.approx(draws.mean(), abs=5 * draws.std() / math.sqrt(len(x)) + 1e-6)


@pytest.mark.parametrize(("function", "settings"), EVERY)
def test_the_derivative_is_the_difference_quotient(function, settings):
    phi, slope = activations._curves(name(function), settings)
    x = np.linspace(-4.0321, 4.0123, 400)
    h = 1e-5
    assert slope(x) == pytest.approx((phi(x + h) - phi(x - h)) / (2 * h), abs=1e-6)


@pytest.mark.parametrize(("function", "settings"), EVERY)
def test_two_examples_overlap_as_sampling_says(function, settings):
    phi, _ = activations._curves(name(function), settings)
    a, b = np.random.default_rng(0).standard_normal((2, 400_000))
    products = phi(1.5 * a) * phi(1.5 * (0.6 * a + 0.8 * b))
    found = activations.of_pair(activations.series(name(function), settings, 2.25).value, 0.6)
    assert found == pytest.approx(products.mean(), abs=5 * products.std() / math.sqrt(len(a)) + 1e-6)


def test_values_that_are_not_centred_pass_a_relu_more_often():
    # N(1, 1): above zero with probability Phi(1) = 0.8413
    assert activations.gauss("relu", (), 2.0, 1.0).slope2 == pytest.approx(0.8413, abs=1e-4)
    assert activations.of_pair(activations.series("identity", (), 2.0, 1.0).value, 0.5) == pytest.approx(1.5, rel=1e-6)


def test_relu_halves_the_second_moment_and_lets_half_of_the_gradient_through():
    found = activations.gauss("relu", (), 3.0)
    assert found.square == pytest.approx(1.5, rel=1e-9)
    assert found.slope2 == pytest.approx(0.5, rel=1e-9)
    assert found.mean == pytest.approx(math.sqrt(3.0 / (2 * math.pi)), rel=1e-5)


def test_the_largest_of_four_values_is_above_zero_fifteen_times_of_sixteen():
    assert activations.peak("relu", (), 1.0, 0.0, 4.0, 0.0).slope2 == pytest.approx(15 / 16, rel=1e-3)


def test_an_unheard_of_activation_has_no_map():
    assert not activations.known(Node("a", "activation", "Snake"))
    with pytest.raises(ValueError, match="no map"):
        activations.gauss("snake", (), 1.0)
    with pytest.raises(ValueError, match="no map"):
        activations.series("snake", (), 1.0)
