r"""Initial weights at the edge of chaos of the activation in use: the variance that neither dies nor grows over the layers.

With chi = sigma_w^2 E[phi'(sqrt(q) z)^2] = 1: relu and its kin sigma_w^2 = 2 (He et al. 2015, arXiv:1502.01852); tanh sigma_w^2
= 1 at q -> 0 (Glorot & Bengio 2010; Schoenholz et al. 2017, arXiv:1611.01232), orthogonal where the network is deep, so that
every singular value is 1 and not only their mean (Pennington et al. 2017, arXiv:1711.04735; for convolutions delta-orthogonal,
Xiao et al. 2018, arXiv:1806.05393); selu sigma_w^2 = 1 (Klambauer et al. 2017, arXiv:1706.02515). Sigmoid has an edge only with
weights so large that no rule of the field gives them: there the activation is to be changed. A recurrent relu layer starts at
the identity (Le et al. 2015, arXiv:1504.00941), a tanh one orthogonal, an LSTM with a forget bias of 1 (Jozefowicz 2015).
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.hypotheses import DEEP
from isograd.health.present import Present
from isograd.records.edit import Edit

RELU_LIKE = frozenset(["relu", "leaky_relu", "elu", "gelu", "silu", "mish"])


def rules(activation: str, depth: int, *, convolutional: bool = False) -> tuple[str, ...]:
    """The initialisations that suit an activation at a depth, the best first.

    >>> rules("relu", 3), rules("tanh", 30), rules("tanh", 30, convolutional=True)
    (('he',), ('orthogonal', 'glorot'), ('delta_orthogonal', 'orthogonal', 'glorot'))
    """
    if activation in RELU_LIKE:
        return ("he",)
    if activation == "selu":
        return ("lecun",)
    deep = ("orthogonal", "glorot") if depth > DEEP else ("glorot", "orthogonal")
    return ("delta_orthogonal", *deep) if convolutional and depth > DEEP else deep


def candidates(case: Case, present: Present) -> Iterator[tuple[Edit, str]]:
    """The rules that suit the network, the best first."""
    gain = present.number("gain")
    if gain is None:
        return
    kinds = {node.operation for node in case.anatomy.nodes}
    activation = present.word("activation")
    if "recurrent" in kinds:
        plain = any(node.operation == "recurrent" and "relu" in str(node.get("function", "")) for node in case.anatomy.nodes)
        rule = "identity" if plain else "orthogonal"
        yield Edit("initialisation", rule, before=gain), "every step back keeps the gradient"
        yield Edit("forget_bias", 1.0), "a cell that remembers at first"
    for rule in rules(activation, present.depth, convolutional="conv" in kinds):
        yield Edit("initialisation", rule, before=gain), f"the edge of chaos of {activation or 'a linear network'}"
    if present.depth > 2 * DEEP:
        yield Edit("initialisation", "zero_residual", before=gain), "residual branches begin at nothing"
    yield Edit("rescale", "unit_variance"), "every layer passes on a variance of 1"
    yield Edit("revive"), "units that never fire"
