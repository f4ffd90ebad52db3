"""The parts that theory is made of, each against sampling or against a case that is known by thought."""

import math

import numpy as np
import pytest

from isograd.health import activations, theory
from isograd.health.theory import borders, norms, recognise, recurrent, softmax, units
from isograd.health.theory.state import Alike, Back, Flow, World, joined, variance
from isograd.records.anatomy import Anatomy, Node, Optimizer, Parameter
from isograd.records.batch import InputSample
from isograd.records.moments import Moments

STRANGERS = Alike(0.0, 0.0, 0.0, 0.0)


def draws(*shape):
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize(("v", "keys"), [(0.3, 5), (1.0, 12), (4.0, 6), (16.0, 30)])
def test_a_softmax_over_random_logits_spreads_as_sampling_says(v, keys):
    logits = math.sqrt(v) * draws(40_000, keys)
    a = np.exp(logits - logits.max(1, keepdims=True))
    a /= a.sum(1, keepdims=True)
    one = (a**2).sum(1)
    found = softmax.spread(v, keys)
    assert found.one == pytest.approx(one.mean(), rel=0.02)
    assert found.moves == pytest.approx((one - 2 * (a**3).sum(1) + one**2).mean(), rel=0.04)
    assert found.free == pytest.approx(((1 - one) ** 2).mean(), rel=0.04)


@pytest.mark.parametrize("modes", [8, 20, 60])
def test_the_mean_of_one_over_a_variance_is_that_of_chi_square_for_many_modes(modes):
    mean, _ = norms.inverse(2.0 / modes)
    assert mean == pytest.approx(modes / (modes - 2), rel=0.06)


@pytest.mark.parametrize("function", ["relu", "tanh", "gelu", "sigmoid"])
def test_a_gradient_that_is_the_output_itself_comes_back_as_sampling_says(function):
    phi, slope = activations._curves(function, ())
    u = 1.3 * draws(400_000)
    value, steep = phi(u), slope(u)
    kept, through = activations.along(function, (), 1.69)
    back = value * steep
    assert kept == pytest.approx((back**2).mean() / (value**2).mean() / (steep**2).mean(), rel=0.02)
    assert through == pytest.approx((back * u).mean() ** 2 / (u**2).mean() / (back**2).mean(), abs=0.01)
    assert activations.tilt(function, (), 1.69) == pytest.approx((steep * u).mean() ** 2 / 1.69 / (steep**2).mean(), abs=0.01)
    centred = value - value.mean()
    assert activations.kurtosis(function, (), 1.69) == pytest.approx((centred**4).mean() / value.var() ** 2, rel=0.03)


def test_units_whose_offset_differs_vary_differently_behind_a_relu():
    offsets, within = draws(2_000, 1), np.random.default_rng(1).standard_normal((2_000, 4_000))
    variances = np.maximum(math.sqrt(0.5) * offsets + math.sqrt(0.5) * within, 0).var(1)
    assert activations.ragged("relu", (), 1.0, 0.0, 0.5) == pytest.approx(variances.var() / variances.mean() ** 2, rel=0.1)


def test_the_largest_of_correlated_values_is_as_sampling_says():
    common, own = draws(200_000, 1), np.random.default_rng(1).standard_normal((200_000, 4))
    values = np.tanh((math.sqrt(0.6) * common + math.sqrt(0.4) * own).max(1))
    found = activations.peak("tanh", (), 1.0, 0.0, 4.0, 0.6)
    assert found.mean == pytest.approx(values.mean(), abs=0.01)
    assert found.square == pytest.approx((values**2).mean(), abs=0.01)


def test_a_unit_that_is_pushed_below_zero_is_dead_as_often_as_sampling_says():
    common, own = draws(4_000, 1), np.random.default_rng(1).standard_normal((4_000, 32))
    silent = (-1.5 + math.sqrt(0.8) * common + math.sqrt(0.2) * own < 0).all(1).mean()
    x = Flow(2.25 + 1.0, -1.5, Alike(*(4 * (2.25 + 0.8,))), 100.0, 1.0)
    assert units.dead(x, World({}, 32.0)) == pytest.approx(silent, abs=0.02)


def convolution(size, kernel, stride, padding):
    out = (size + 2 * padding - kernel) // stride + 1
    settings = (("kernel", kernel), ("stride", stride), ("padding", padding))
    return Node("c", "conv", "Conv1d", (0,), (4, out), settings), Node("x", "input", "input", shape=(4, size))


@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), [(8, 3, 1, 1), (9, 5, 2, 2), (4, 5, 1, 2), (7, 3, 1, 0)])
def test_taps_at_the_border_are_those_of_a_convolution_of_ones(size, kernel, stride, padding):
    (matrix,) = borders.taps(*convolution(size, kernel, stride, padding))
    padded = np.pad(np.arange(1.0, size + 1), padding)
    expected = [padded[i : i + kernel].sum() for i in range(0, len(padded) - kernel + 1, stride)]
    assert (matrix @ np.arange(1.0, size + 1)).tolist() == expected


def test_a_stack_of_padded_convolutions_keeps_the_largest_eigenvalue_of_its_taps():
    (matrix,) = borders.taps(*convolution(4, 3, 1, 1))
    profile: borders.Profile = ()
    for _ in range(60):
        gain, profile = borders.carried([matrix], profile)
    assert gain == pytest.approx(max(np.linalg.eigvalsh(matrix)))
    assert gain > matrix.sum() / 4


def test_branches_share_the_noise_of_what_lies_behind_them():
    world = World({}, 1.0)
    common = world.noisy({}, 0.04)
    both = joined([Back(0.0, noise=common), Back(0.0, noise=common)], world, 1e9, 1.0)
    apart = joined([Back(0.0, noise=common), Back(0.0, noise=world.noisy({}, 0.04))], world, 1e9, 1.0)
    assert variance(both.noise) == pytest.approx(0.04)
    assert variance(apart.noise) == pytest.approx(0.02)


def test_noise_of_many_causes_is_bundled_and_none_of_it_is_lost():
    world = World({}, 1.0)
    noise = {}
    for _ in range(200):
        noise = world.noisy(noise, 0.01)
    assert variance(world.mixed([(1.0, noise)])) == pytest.approx(2.0)


def handwritten(*between):
    nodes = [Node(name, "linear", "Linear", (), (6, 8)) for name in "qkv"]
    nodes.append(Node("scores", "unknown", "matmul", (0, 1), (6, 6)))
    for operation in between:
        nodes.append(Node(operation, operation, operation, (len(nodes) - 1,), (6, 6)))
    nodes.append(Node("out", "unknown", "matmul", (len(nodes) - 1, 2), (6, 8)))
    return recognise.attention(nodes)


def test_a_softmax_between_two_products_is_attention_and_products_without_one_are_not():
    found = handwritten("multiply", "softmax", "dropout")
    assert found[-1].operation == "attention"
    assert found[-1].inputs == (0, 1, 2)
    assert {node.operation for node in found[3:-1]} == {recognise.INSIDE}
    assert handwritten("multiply")[-1].operation == "unknown"
    assert handwritten("softmax", "activation")[-1].operation == "unknown"


def single(optimizer):
    weight = Parameter("w", "a", (3, 24), True, True, Moments.from_sums(72, 0.0, 3.0, 1.0))
    facts = (("fan_in", 24), ("fan_out", 3), ("bias", False))
    nodes = (Node("x", "input", "input", shape=(24,)), Node("a", "linear", "Linear", (0,), (3,), facts, ("w",)))
    return theory.foretell(Anatomy("torch", nodes, (weight,), optimizer)).drift


def test_one_linear_layer_of_24_inputs_moves_by_25_times_its_rate_and_momentum_multiplies():
    assert single(Optimizer("sgd", (("learning_rate", 0.1),))) == pytest.approx(math.log10(2.5))
    assert single(Optimizer("sgd", (("learning_rate", 0.1), ("momentum", 0.9)))) == pytest.approx(math.log10(25.0))
    assert single(None) is None


def test_adam_moves_every_weight_by_its_rate():
    # |df/dw|_1 = 24 inputs of mean magnitude sqrt(2 / pi), and as many signs as there are gradients of that size
    found = single(Optimizer("adam", (("learning_rate", 1e-3),)))
    assert found == pytest.approx(math.log10(1e-3 * 2 / math.pi * 72 / math.sqrt(3)))


def test_the_measured_batch_tells_how_alike_its_examples_are():
    sample = InputSample("", 0, (16, 4), "float32", Moments.of([1.0, 1.0]), 1.0, 1.0, None, (0.0, 0.0, 0.9, 0.0, 1.0, 0.5, 0.0))
    nodes = (Node("input", "input", "input", shape=(4,)),)
    assert theory.foretell(Anatomy("torch", nodes, ()), inputs=[sample]).at("input").correlation == pytest.approx(1.0)


def test_two_positions_share_the_taps_that_both_have():
    node, before = convolution(6, 3, 1, 1)
    # of six outputs five have the left tap and five the right one
    assert borders.together(node, before) == pytest.approx((2 * (5 / 6) ** 2 + 1) / (2 * 5 / 6 + 1))
    assert borders.together(*convolution(6, 3, 1, 0)) == 1.0


def test_what_a_norm_took_out_is_not_a_gradient_along_the_signal():
    width, depth = 32, 6
    nodes, parameters = [Node("x", "input", "input", shape=(width,))], []
    for i in range(depth):
        name = f"l{i}.weight"
        parameters.append(
            Parameter(name, f"l{i}", (width, width), True, True, Moments.from_sums(width**2, 0.0, width * 2.0, 1.0))
        )
        facts = (("fan_in", width), ("fan_out", width), ("bias", False))
        nodes.append(Node(f"l{i}", "linear", "Linear", (2 * i,), (width,), facts, (name,)))
        kind = ("activation", (("function", "mish"),)) if i < depth - 1 else ("norm", (("kind", "layer"), ("size", width)))
        nodes.append(Node(f"a{i}", kind[0], kind[0], (2 * i + 1,), (width,), kind[1]))
    found = theory.foretell(Anatomy("torch", tuple(nodes), tuple(parameters), loss="cross_entropy"))
    for i in range(1, depth):  # every matrix multiplies the energy by fan_out * 2 / fan_in, whatever lies behind it
        assert found.at(f"a{i - 1}").log_gradient - found.at(f"l{i}").log_gradient == pytest.approx(0.5 * math.log(2), abs=0.02)


def test_an_instance_norm_takes_out_a_gradient_that_is_the_same_everywhere():
    x = Flow(2.0, 0.0, STRANGERS, 16.0, 64.0)
    node = Node("n", "norm", "InstanceNorm2d", (0,), (16, 8, 8), (("kind", "instance"), ("eps", 0.0)))
    same, apart = (norms.back(node, x, Back(0.0, far=far), World({}, 8.0)) for far in (1.0, 0.0))
    assert same.log_square < -10
    assert apart.log_square == pytest.approx(math.log(0.5), abs=0.1)


def test_energies_of_two_steps_back_through_a_cell_are_those_of_hand_arithmetic():
    layer = recurrent.Layer("lstm", 1.0, 1.0, 1.0, 0.0, 0.0, 8.0)
    step = recurrent.Step(h_h=0.1, h_c=0.5, c_c=0.6, c_h=0.2, h_x=0.3, c_x=0.4)
    found, _ = recurrent._through(layer, [step], [0.0, 1.0], 0.0, 1.0)
    # last step: h 1, cell 0.5; before it: h 0.1 + 0.5 * 0.2, cell 0.5 * 0.6 + 0.2 * 0.5
    assert found == pytest.approx([0.2 * 0.3 + 0.4 * 0.4, 1.0 * 0.3 + 0.5 * 0.4])


def test_equal_gradients_at_every_step_add_as_amplitudes_along_what_a_state_keeps():
    layer = recurrent.Layer("gru", 1.0, 1.0, 1.0, 0.0, 0.0, 8.0)
    step = recurrent.Step(h_h=0.25, h_c=0.0, c_c=0.0, c_h=0.0, h_x=1.0, c_x=0.0, keep=0.5)
    found, _ = recurrent._through(layer, [step], [1.0, 1.0, 1.0], 1.0, 1.0)
    assert found == pytest.approx([(1 + 0.5 + 0.25) ** 2, (1 + 0.5) ** 2, 1.0])
