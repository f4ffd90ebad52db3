r"""Initial weights at the edge of chaos of the activation in use: the variance that neither dies nor grows over the layers.

With chi = sigma_w^2 E[phi'(sqrt(q) z)^2] = 1: relu and its kin sigma_w^2 = 2 (He et al. 2015, arXiv:1502.01852); tanh sigma_w^2
= 1 at q -> 0 (Glorot & Bengio 2010; Schoenholz et al. 2017, arXiv:1611.01232), orthogonal where the network is deep, so that
every singular value is 1 and not only their mean (Pennington et al. 2017, arXiv:1711.04735; for convolutions delta-orthogonal,
Xiao et al. 2018, arXiv:1806.05393); selu sigma_w^2 = 1 (Klambauer et al. 2017, arXiv:1706.02515). Sigmoid has an edge only with
weights so large that no rule of the field gives them: there the activation is to be changed. A recurrent relu layer starts at
the identity (Le et al. 2015, arXiv:1504.00941), a tanh one orthogonal; for gates see ``memory``.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.hypotheses import DEEP, usual_rate
from isograd.health.present import Present
from isograd.health.remedies.rates import rounded, standing_rate
from isograd.records.edit import Edit

RELU_LIKE = frozenset(["relu", "leaky_relu", "elu", "gelu", "silu", "mish"])

ORTHOGONAL = frozenset(["orthogonal", "delta_orthogonal"])


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


def isometry(present: Present) -> tuple[Edit, ...]:
    r"""What lets a plain network of L layers begin and learn as a shallow one does: tanh, orthogonal weights, a rate over L.

    At the origin tanh has slope 1, so that with orthogonal weights every singular value of the whole network is near 1, not
    their mean square alone; no weights do that for relu. A step that moves each of L layers moves the answers L times as much,
    so that the rate that suits DEEP layers is divided by L / DEEP. Nothing where the network is not deep, or the rate unknown.
    Sources: Saxe et al. 2014, arXiv:1312.6120, section 3 and appendix (the best rate falls as 1 / L); Pennington et al. 2017,
    arXiv:1711.04735, section 2.

    >>> words = (("activation", "relu"), ("optimizer", "adaptive"), ("algorithm", "adam"))
    >>> present = Present("dense", 100, 24.0, numbers=(("gain", 0.01), ("learning_rate", 3e-3)), words=words)
    >>> [edit.value for edit in isometry(present)]
    ['tanh', 'orthogonal', 0.0002]
    """
    activation, rate, gain = present.word("activation"), standing_rate(present), present.number("gain")
    plain = present.family not in ("attention", "recurrent") and gain is not None
    if present.depth <= 2 * DEEP or not rate or not plain:
        return ()
    rule = rules("tanh", present.depth, convolutional=present.family == "convolutional")[0]
    curve = (Edit("activation", "tanh", before=activation),) if activation != "tanh" else ()
    slower = Edit("learning_rate", rounded(usual_rate(present) * DEEP / present.depth), before=rate)
    return (*curve, Edit("initialisation", rule, before=gain), slower)


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
    for rule in rules(activation, present.depth, convolutional="conv" in kinds):
        yield Edit("initialisation", rule, before=gain), f"the edge of chaos of {activation or 'a linear network'}"
    if present.depth > 2 * DEEP:
        yield Edit("initialisation", "zero_residual", before=gain), "residual branches begin at nothing"
    yield Edit("rescale", "unit_variance"), "every layer passes on a variance of 1"
    yield Edit("revive"), "units that never fire"
