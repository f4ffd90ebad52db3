"""The hand-written backward pass against finite differences, and answers known by thought."""

import numpy as np
import pytest

from isograd.frameworks.reference.network import (
    LOSSES,
    Activation,
    Linear,
    Network,
    Sgd,
    cross_entropy,
    squared_error,
)


def network(function="tanh", bias=True):
    return Network(
        (
            Linear.drawn("a", 4, 5, seed=1, bias=bias),
            Activation("b", function),
            Linear.drawn("c", 5, 6, seed=2, bias=bias),
            Activation("d", function),
            Linear.drawn("e", 6, 3, seed=3, bias=bias),
        )
    )


def batch(loss, rows=7):
    draw = np.random.default_rng(0)
    targets = draw.integers(0, 3, rows) if loss == "cross_entropy" else draw.normal(size=(rows, 3))
    return draw.normal(size=(rows, 4)), targets


@pytest.mark.parametrize("function", ["tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("bias", [True, False])
def test_every_gradient_is_the_difference_quotient(function, loss, bias):
    net, (x, targets) = network(function, bias), batch(loss)
    found = net.passed(x, targets, loss).parameters
    for name, value in net.parameters().items():
        for place in np.ndindex(value.shape):
            moved = []
            for step in (1e-6, -1e-6):
                changed = {k: v.copy() for k, v in net.parameters().items()}
                changed[name][place] += step
                moved.append(net.with_parameters(changed).passed(x, targets, loss).loss)
            assert found[name][place] == pytest.approx((moved[0] - moved[1]) / 2e-6, abs=1e-8)


@pytest.mark.parametrize("function", ["tanh", "sigmoid", "relu"])
def test_the_gradient_of_every_output_is_the_difference_quotient(function):
    net, (x, targets) = network(function), batch("squared_error")
    found = net.passed(x, targets, "squared_error")
    for position in range(len(net.layers)):
        rest = Network(net.layers[position + 1 :])
        for place in ((0, 0), (3, 2)):
            moved = []
            for step in (1e-6, -1e-6):
                value = found.values[position + 1].copy()
                value[place] += step
                moved.append(squared_error(rest.forward(value)[-1], targets)[0])
            assert found.gradients[position][place] == pytest.approx((moved[0] - moved[1]) / 2e-6, abs=1e-8)


def test_a_zero_second_layer_gives_the_first_layer_no_gradient():
    net = network()
    zeroed = net.with_parameters(net.parameters() | {"c.weight": np.zeros((6, 5))})
    x, targets = batch("squared_error")
    found = zeroed.passed(x, targets, "squared_error").parameters
    assert not found["a.weight"].any() and not found["a.bias"].any()
    assert found["e.weight"].any()


def test_cross_entropy_neither_overflows_nor_takes_the_logarithm_of_zero():
    loss, gradient = cross_entropy(np.array([[1e4, -1e4]]), np.array([1]))
    assert loss == 2e4
    assert gradient.tolist() == [[1.0, -1.0]]


def test_a_sigmoid_is_right_far_out():
    assert Activation("s", "sigmoid").forward(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0.0, 0.5, 1.0]


def test_the_gradient_of_a_mean_loss_does_not_depend_on_repeating_the_batch():
    net, (x, targets) = network(), batch("cross_entropy")
    once = net.passed(x, targets, "cross_entropy").parameters
    twice = net.passed(np.concatenate([x, x]), np.concatenate([targets, targets]), "cross_entropy").parameters
    for name, gradient in once.items():
        assert twice[name] == pytest.approx(gradient, abs=1e-15)


def test_momentum_adds_up_to_the_geometric_series():
    optimizer, value = Sgd(1.0, momentum=0.5), {"w": np.array([0.0])}
    for _ in range(3):
        value, _ = optimizer.step(value, {"w": np.array([1.0])})
    assert value["w"].item() == -(1 + 1.5 + 1.75)


def test_weight_decay_pulls_towards_zero_and_clipping_bounds_the_norm():
    after, _ = Sgd(0.1, weight_decay=0.5).step({"w": np.array([2.0])}, {"w": np.array([0.0])})
    assert after["w"].item() == pytest.approx(1.9)
    _, used = Sgd(0.1, clip_norm=1.0).step({"w": np.array([0.0, 0.0])}, {"w": np.array([3.0, 4.0])})
    assert np.linalg.norm(used["w"]) == pytest.approx(1.0, rel=1e-6)


def test_a_fresh_optimizer_has_forgotten_and_a_copy_has_not():
    optimizer = Sgd(1.0, momentum=0.5)
    optimizer.step({"w": np.array([0.0])}, {"w": np.array([1.0])})
    assert optimizer.fresh().memory == {}
    copied = optimizer.copy()
    copied.memory["w"][0] = 9.0
    assert optimizer.memory["w"].item() == 1.0
