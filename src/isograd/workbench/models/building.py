"""From a family's name and its options to a network with weights drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from isograd.errors import ModelError
from isograd.workbench.models.cnn import CNN
from isograd.workbench.models.initialise import initialise
from isograd.workbench.models.mlp import MLP
from isograd.workbench.models.options import checked
from isograd.workbench.models.resnet import ResNet

ACTIVATION: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
_FLAT_NORM: dict[str, Callable[[int], nn.Module] | None] = {"none": None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
_IMAGE_NORM: dict[str, Callable[[int], nn.Module] | None] = {
    "none": None,
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),  # over channels and pixels of one example
}


def build(
    kind: str,
    *,
    inputs: tuple[int, ...],
    outputs: int,
    options: Mapping[str, object] | None = None,
    seed: int,
) -> nn.Module:
    """A network of the family ``kind`` ("mlp", "cnn", "resnet") on the CPU, in training mode.

    ``inputs`` is the shape of one example ((features,) or (channels, height, width)), ``outputs`` the number of classes or
    values. The weights depend on ``seed`` alone; the global generators stay as they are.

    Raises ``ModelError``: unknown family or option, wrong type, images too small for the network, inputs without an image.

    >>> build("mlp", inputs=(64,), outputs=10, options={"hidden": [32]}, seed=0)(torch.zeros(2, 64)).shape
    torch.Size([2, 10])
    """
    settings = checked(kind, options or {})
    _fits(kind, inputs, outputs, settings)
    activation, rule = settings.pop("activation"), settings.pop("initialisation")
    settings["activation"] = ACTIVATION[activation]
    settings["norm"] = (_FLAT_NORM if kind == "mlp" else _IMAGE_NORM)[settings["norm"]]
    state = torch.get_rng_state()
    try:
        # Constructors draw from the global generator of the CPU: lend it our seed, then give it back as it was.
        torch.default_generator.manual_seed(seed)
        with torch.device("cpu"):
            model = _FAMILY[kind](inputs, outputs, settings)
            initialise(model, rule, activation, torch.Generator().manual_seed(seed))
    finally:
        torch.set_rng_state(state)
    return model


def least_rows(model: nn.Module) -> int:
    """The fewest rows that a training batch may have: two where a batch is normalised by its own statistics, else one.

    >>> least_rows(build("mlp", inputs=(3,), outputs=1, options={"norm": "batch"}, seed=0))
    2
    """
    return 2 if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()) else 1


def _mlp(inputs: tuple[int, ...], outputs: int, settings: dict[str, Any]) -> nn.Module:
    hidden, depth, width = (settings.pop(name) for name in ("hidden", "depth", "width"))
    if depth is not None:
        hidden = (width or 128,) * depth
    elif hidden is None:
        hidden = (width,) * 2 if width else (256, 128)
    return MLP(int(torch.Size(inputs).numel()), outputs, hidden, **settings)


def _cnn(inputs: tuple[int, ...], outputs: int, settings: dict[str, Any]) -> nn.Module:
    return CNN((inputs[0], inputs[1], inputs[2]), outputs, **settings)


def _resnet(inputs: tuple[int, ...], outputs: int, settings: dict[str, Any]) -> nn.Module:
    return ResNet((inputs[0], inputs[1], inputs[2]), outputs, **settings)


_FAMILY: dict[str, Callable[[tuple[int, ...], int, dict[str, Any]], nn.Module]] = {"mlp": _mlp, "cnn": _cnn, "resnet": _resnet}


def _fits(kind: str, inputs: tuple[int, ...], outputs: int, settings: Mapping[str, Any]) -> None:
    if outputs < 1 or not inputs or min(inputs) < 1:
        raise ModelError(f"a {kind} cannot go from inputs of shape {inputs} to {outputs} outputs", where="model")
    if kind == "mlp":
        return
    if len(inputs) != 3:
        raise ModelError(
            f"a {kind} takes images (channels, height, width), and an example here has the shape {inputs}",
            where="model.kind",
            remedy='kind = "mlp"',
        )
    halvings = len(settings["channels"]) - (kind == "resnet")
    if min(inputs[1:]) < 2**halvings:
        raise ModelError(
            f"images of {inputs[1]} x {inputs[2]} pixels are too small: this {kind} halves them {halvings} times",
            where="model.channels",
            met=f"channels = {list(settings['channels'])}",
            remedy=f"images of at least {2**halvings} x {2**halvings} pixels, or fewer entries in channels",
        )
