"""Networks come out of their options as theory asks, the same for the same seed, and bad options are refused at once."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isograd.errors import ModelError
from isograd.workbench.models import OPTIONS, TOKENS, Known, build, checked, size_of_weights
from isograd.workbench.models.building import ACTIVATION
from isograd.workbench.models.initialise import HE_GAIN
from isograd.workbench.models.options import ACTIVATIONS, INITIALISATIONS, NORMS


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return list(states[0]) == list(states[1]) and all(torch.equal(a, states[1][name]) for name, a in states[0].items())


def linears(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


SHARED = [kind for kind, known in OPTIONS.items() if {"activation", "norm", "initialisation"} <= set(known)]
"""Families that leave activation, normalisation and first weights to the person."""


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("rule", INITIALISATIONS)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(kind: str, rule: str) -> None:
    def born(seed: int) -> nn.Module:
        return build(kind, inputs=(1, 8, 8), outputs=3, options={"initialisation": rule}, seed=seed)

    assert same(born(1), born(1))
    assert not same(born(1), born(2))


def test_building_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    expected = torch.rand(1).item(), random.random(), np.random.rand()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    build("resnet", inputs=(3, 16, 16), outputs=3, options={"initialisation": "torch"}, seed=9)
    assert (torch.rand(1).item(), random.random(), np.random.rand()) == expected


@pytest.mark.parametrize("kind", ["cnn", "resnet"])
@pytest.mark.parametrize("image", [(1, 8, 8), (3, 9, 13), (1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_image_networks_fit_every_size_from_8_to_64(kind: str, image: tuple[int, int, int]) -> None:
    model = build(kind, inputs=image, outputs=7, seed=0)
    assert model(torch.zeros(2, *image)).shape == (2, 7)


def test_every_option_of_every_kind_runs_forward_and_backward() -> None:
    for kind, activation, norm in itertools.product(SHARED, ACTIVATIONS, NORMS):
        model = build(
            kind, inputs=(1, 8, 8), outputs=3, options={"activation": activation, "norm": norm, "dropout": 0.2}, seed=0
        )
        model(torch.randn(4, 1, 8, 8)).sum().backward()
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
        assert any(isinstance(module, type(ACTIVATION[activation]())) for module in model.modules())
        norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
        assert any(isinstance(module, norms) for module in model.modules()) == (norm != "none")


@pytest.mark.parametrize("activation", HE_GAIN)
def test_the_gain_of_an_activation_keeps_the_mean_square(activation: str) -> None:
    z = torch.linspace(-12, 12, 400_001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    mean_square = torch.trapezoid(ACTIVATION[activation]()(z) ** 2 * density, z).item()
    assert HE_GAIN[activation] ** 2 * mean_square == pytest.approx(1, rel=2e-4)


@pytest.mark.parametrize("activation", HE_GAIN)
def test_a_network_of_the_default_neither_loses_nor_blows_up_its_signal(activation: str) -> None:
    depth = 8 if activation in ("gelu", "silu") else 20  # their fixed point is unstable: see HE_GAIN
    model = build("mlp", inputs=(256,), outputs=256, options={"depth": depth, "width": 256, "activation": activation}, seed=0)
    outputs = model(torch.randn(64, 256, generator=torch.Generator().manual_seed(0)))
    # The last layer has gain 1 and reads activations of mean square 1 / gain^2.
    assert 0.2 < outputs.square().mean().sqrt().item() * HE_GAIN[activation] < 5


@pytest.mark.parametrize(
    ("activation", "rule", "variance"),
    [
        ("relu", "auto", 2 / 300),
        ("gelu", "auto", 1 / 300),  # the first layer reads inputs, not activations
        ("tanh", "auto", 2 / 500),
        ("sigmoid", "auto", 2 / 500),
        ("selu", "auto", 1 / 300),
        ("tanh", "he", 2 / 300),
        ("relu", "glorot", 2 / 500),
        ("relu", "lecun", 1 / 300),
        ("relu", "torch", 1 / 900),  # uniform within 1 / sqrt(fan_in)
    ],
)
def test_weights_have_the_variance_that_theory_asks(activation: str, rule: str, variance: float) -> None:
    options = {"hidden": [200], "activation": activation, "initialisation": rule}
    hidden = linears(build("mlp", inputs=(300,), outputs=10, options=options, seed=0))[0]
    assert hidden.weight.var().item() == pytest.approx(variance, rel=0.03)
    if rule != "torch":
        assert not hidden.bias.any()


def test_the_last_layer_has_gain_one_because_no_activation_follows() -> None:
    head = linears(build("mlp", inputs=(10,), outputs=400, options={"hidden": [400]}, seed=0))[-1]
    assert head.weight.var().item() == pytest.approx(1 / 400, rel=0.03)


def test_orthogonal_weights_keep_every_angle() -> None:
    options = {"hidden": [64], "activation": "tanh", "initialisation": "orthogonal"}
    weight = linears(build("mlp", inputs=(64,), outputs=3, options=options, seed=0))[0].weight
    assert torch.allclose(weight @ weight.T, 2 * torch.eye(64), atol=1e-5)


def test_depth_times_width_and_hidden_say_the_same() -> None:
    one = build("mlp", inputs=(5,), outputs=2, options={"depth": 3, "width": 7}, seed=4)
    assert same(one, build("mlp", inputs=(5,), outputs=2, options={"hidden": [7, 7, 7]}, seed=4))
    assert len(linears(build("mlp", inputs=(5,), outputs=2, options={"depth": 0}, seed=4))) == 1


def test_a_network_with_batch_norm_has_no_bias_that_the_norm_would_undo() -> None:
    assert all(layer.bias is None for layer in linears(build("cnn", inputs=(1, 8, 8), outputs=2, seed=0))[:-1])


BAD = [
    ("mpl", {}, 'did you mean "mlp"'),
    ("mlp", {"hiden": [3]}, 'did you mean "hidden"'),
    ("mlp", {"hidden": 3}, "a list of whole numbers"),
    ("mlp", {"hidden": []}, "a list of whole numbers"),
    ("mlp", {"hidden": [True]}, "a list of whole numbers"),
    ("mlp", {"hidden": [0]}, "each at least 1"),
    ("mlp", {"hidden": [3], "depth": 2}, "two ways"),
    ("mlp", {"depth": 2.0}, "a whole number"),
    ("mlp", {"dropout": 1}, "below 1"),
    ("mlp", {"dropout": True}, "a number"),
    ("mlp", {"dropout": float("nan")}, "a number"),
    ("mlp", {"activation": "rellu"}, 'did you mean "relu"'),
    ("mlp", {"activation": 3}, "one of relu"),
    ("cnn", {"norm": "batchnorm"}, 'did you mean "batch"'),
    ("resnet", {"convolutions": 2}, 'has no option "convolutions"'),
]


@pytest.mark.parametrize(("kind", "options", "said"), BAD)
def test_bad_options_are_refused_with_the_way_out(kind: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError) as error:
        checked(kind, options)
    assert said in str(error.value)


def test_all_faults_are_said_at_once() -> None:
    with pytest.raises(ModelError) as error:
        checked("mlp", {"hiden": [3], "dropout": 2, "norm": 1})
    assert len(error.value.faults) == 3


def test_every_default_is_a_value_its_own_option_accepts() -> None:
    for options in OPTIONS.values():
        for option in options.values():
            assert option.accepts(option.default)


@pytest.mark.parametrize(
    ("kind", "image", "fits"), [("cnn", (1, 7, 8), False), ("cnn", (1, 8, 8), True), ("resnet", (1, 3, 8), False)]
)
def test_images_smaller_than_the_stride_are_refused_by_size(kind: str, image: tuple[int, int, int], fits: bool) -> None:
    if fits:
        build(kind, inputs=image, outputs=2, seed=0)
        return
    with pytest.raises(ModelError, match="too small"):
        build(kind, inputs=image, outputs=2, seed=0)


def test_a_table_is_no_image() -> None:
    with pytest.raises(ModelError, match="takes images"):
        build("cnn", inputs=(12,), outputs=2, seed=0)
    with pytest.raises(ModelError, match="cannot go from"):
        build("mlp", inputs=(), outputs=2, seed=0)


@settings(max_examples=30, deadline=None)
@given(
    hidden=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    features=st.integers(1, 9),
    outputs=st.integers(1, 5),
    rows=st.integers(1, 4),
)
def test_any_sizes_make_a_network_of_as_many_parameters_as_they_say(
    hidden: list[int], features: int, outputs: int, rows: int
) -> None:
    model = build("mlp", inputs=(features,), outputs=outputs, options={"hidden": hidden}, seed=0)
    widths = [features, *hidden, outputs]
    expected = sum((before + 1) * after for before, after in itertools.pairwise(widths))
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert model(torch.zeros(rows, features)).shape == (rows, outputs)


@pytest.mark.parametrize("kind", ["cnn", "resnet", "mobilenet"])
def test_a_mirrored_network_answers_a_picture_and_its_mirror_image_alike_and_trains_as_before(kind: str) -> None:
    plain, mirrored = (
        build(kind, inputs=(3, 16, 16), outputs=4, options={"mirror": mirror}, seed=0) for mirror in ("no", "yes")
    )
    x = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain(x), mirrored(x))
    plain.eval(), mirrored.eval()
    assert torch.allclose(mirrored(x), (plain(x) + plain(x.flip(3))) / 2, atol=1e-6)
    assert torch.allclose(mirrored(x), mirrored(x.flip(3)), atol=1e-6)
    assert not torch.allclose(plain(x), plain(x.flip(3)), atol=1e-3)


def test_the_size_of_weights_is_told_without_making_them() -> None:
    rows = torch.randn(50, 4)
    cases: dict[str, tuple[tuple[int, ...], Known]] = {
        "tabular": ((4,), Known(numbers=(0, 1), categories=((2, 5),), rows=rows)),
        **{kind: ((30,), Known(vocabulary=100)) for kind in TOKENS},
        "tcn": ((30, 2), Known(ragged=True)),
    }
    for kind in OPTIONS:
        shape, known = cases.get(kind, ((3, 32, 32), Known()))
        shape = (1, 32, 32) if kind == "crnn" else shape
        model = build(kind, inputs=shape, outputs=3, seed=0, known=known)
        told = size_of_weights(kind, inputs=shape, outputs=3, known=known)
        assert told == sum(parameter.nbytes for parameter in model.parameters()), kind
