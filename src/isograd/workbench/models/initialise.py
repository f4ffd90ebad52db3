"""Draw first weights so that signals keep their size through depth: He, Glorot, LeCun, orthogonal, or torch's own."""

from __future__ import annotations

import math

import torch
from torch import nn

HE_GAIN = {
    "relu": math.sqrt(2.0),
    "leaky_relu": math.sqrt(2.0 / (1.0 + 0.01**2)),
    "elu": 1.2452,
    "gelu": 1.5335,
    "silu": 1.6765,
}
"""1 / sqrt(E[phi(z)^2]) for z ~ N(0, 1): the gain with which a layer of this activation keeps the mean square of its input.

He et al. 2015 (arXiv:1502.01852) derive it for ReLU and leaky ReLU (eqs. 10 and 15); the same condition gives the others.
For GELU and SiLU the mean square that it keeps is an unstable one: over 50 layers of 256 units it drifted 3-fold and 160-fold
upwards, where sqrt(2) shrank it a million-fold.
"""

_SCALED = ("elu", "gelu", "silu")  # ReLU's family maps c x to c phi(x): one layer's factor stays one factor

AUTO = {"tanh": "glorot", "sigmoid": "glorot", "selu": "lecun"}
"""The rule each activation was analysed with; all others take "he"."""


def initialise(model: nn.Module, rule: str, activation: str, generator: torch.Generator) -> None:
    """Draw the weights of every linear and convolutional layer by ``rule``, zero the biases; "torch" leaves all as it is.

    ``he``: Var = gain^2 / fan_in with the gain of the activation (``HE_GAIN``, sqrt(2) for others); ``glorot``:
    2 / (fan_in + fan_out) (Glorot & Bengio 2010, eq. 16); ``lecun``: 1 / fan_in (Klambauer et al. 2017 ask it for SELU);
    ``orthogonal``: an orthogonal matrix times He's gain (Saxe et al. 2014). All but Glorot's uniform are normal. The last
    layer, which no activation follows, takes gain 1, and so does the first where the scale matters (ELU, GELU, SiLU): it reads
    inputs of mean square 1 and not activations.
    """
    rule = AUTO.get(activation, "he") if rule == "auto" else rule
    if rule == "torch":
        return
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    for layer in layers:
        outer = layer is layers[-1] or (layer is layers[0] and activation in _SCALED)
        gain = 1.0 if outer else HE_GAIN.get(activation, math.sqrt(2.0))
        if rule == "he":
            nn.init.normal_(layer.weight, std=gain / math.sqrt(_fan_in(layer.weight)), generator=generator)
        elif rule == "glorot":
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        elif rule == "lecun":
            nn.init.normal_(layer.weight, std=1.0 / math.sqrt(_fan_in(layer.weight)), generator=generator)
        else:
            nn.init.orthogonal_(layer.weight, gain=gain, generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _fan_in(weight: torch.Tensor) -> int:
    return weight[0].numel()
