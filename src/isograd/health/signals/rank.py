"""How alike the examples have become in a layer: what part of the signal tells them apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from isograd.records.moments import Gram
from isograd.records.reading import Reading
from isograd.records.trace import LayerSample

Array = NDArray[np.float64]


def difference(gram: Gram) -> float:
    r"""How large the part of the output is in which examples differ, beside the whole output.

    .. math:: d = \sqrt{\sum_i \lVert x_i - \bar x \rVert^2 / \sum_i \lVert x_i \rVert^2}

    Unit: none. Range: [0, 1]; 0 where all examples get the same output, sqrt(1 - 1/n) for n orthogonal ones of one length;
    NaN where all are zero. Float32 cannot hold what is below 6e-8.
    Source: Dong et al. 2021, Attention is not all you need, arXiv:2103.03404, section 2 (the residual of a layer, relative).

    >>> difference(Gram(2, (1.0, 0.0, 0.0, 1.0))) ** 2, difference(Gram(2, (1.0, 1.0, 1.0, 1.0)))
    (0.5000000000000001, 0.0)
    """
    return _differing(_square(gram))


def spread(gram: Gram) -> float:
    r"""How far examples lie from their mean, on the scale of the layer's output.

    .. math:: s = \sqrt{\tfrac1n \sum_i \lVert x_i - \bar x \rVert^2}

    Unit: that of the output. Range: [0, inf); 0 where all examples get the same output, NaN where nothing was compared.
    Source: Salimans et al. 2016, arXiv:1606.03498, section 3.2 (how far the examples of a batch differ, for a GAN's judge).

    >>> spread(Gram(2, (4.0, -4.0, -4.0, 4.0))), spread(Gram(2, (1.0, 1.0, 1.0, 1.0)))
    (2.0, 0.0)
    """
    products = _square(gram)
    return math.sqrt(max(0.0, float(np.trace(_centred(products)))) / gram.examples) if gram.examples else math.nan


def position_difference(gram: Gram) -> float:
    """``difference`` of the positions within one sequence, or of the sequences at one position: whichever is smaller.

    The root of the mean share over the groups. Small where all positions of a sequence have become alike although
    sequences differ (over-smoothing). The smaller of both, because a door cannot tell which of two axes is time.
    Unit: none. Range: [0, 1]; NaN where no positions were compared.
    Source: Oono & Suzuki 2020, Graph neural networks exponentially lose expressive power, arXiv:1905.10947; Dong et al. 2021.

    >>> alike = (1.0, 1.0, 0.0, 0.0)
    >>> other = (0.0, 0.0, 1.0, 1.0)
    >>> position_difference(Gram(4, (*alike, *alike, *other, *other), positions=2))
    0.0
    """
    if gram.positions < 2 or gram.examples == gram.positions:
        return math.nan
    products = _square(gram)
    places = np.arange(gram.examples).reshape(-1, gram.positions)
    sides = [_over_groups(products, groups) for groups in (places, places.T)]
    return min(sides)


def effective_rank(gram: Gram) -> float:
    r"""Over how many directions the examples spread.

    .. math:: r = \exp\Big(-\sum_k p_k \log p_k\Big), \qquad p_k = \lambda_k / \textstyle\sum_j \lambda_j

    with the eigenvalues of the centred inner products. Unit: directions. Range: [1, n - 1] for n examples; NaN where all are
    the same. Source: Roy & Vetterli 2007, The effective rank, EUSIPCO, eq. 3 (of the covariance instead of its root).

    >>> round(effective_rank(Gram(3, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))), 6)
    2.0
    """
    centred = _centred(_square(gram))
    total = float(np.trace(centred)) if gram.examples else 0.0
    if not total > 0.0:
        return math.nan
    shares = np.clip(np.linalg.eigvalsh(centred / total), 0.0, None)
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def alignment(one: Gram, other: Gram) -> float:
    r"""How far two layers (or a layer and the targets) find the same examples alike: centred kernel alignment.

    .. math:: A = \frac{\langle K_c, L_c \rangle}{\lVert K_c \rVert \lVert L_c \rVert}

    of the centred inner products. Against the targets it says how well a linear layer could separate them. Unit: none. Range:
    [0, 1]; 1 for the same geometry up to rotation and scale; NaN where either side is the same for all examples.
    Source: Cortes et al. 2012, JMLR 13, eq. 9; Kornblith et al. 2019, arXiv:1905.00414, eq. 3 (linear).

    >>> round(alignment(Gram(2, (1.0, -1.0, -1.0, 1.0)), Gram(2, (4.0, 0.0, 0.0, 4.0))), 6)
    1.0
    """
    if one.examples != other.examples or not one.examples:
        return math.nan
    left, right = _centred(_scaled(one)), _centred(_scaled(other))
    sizes = float(np.linalg.norm(left)) * float(np.linalg.norm(right))
    return float((left * right).sum()) / sizes if sizes > 0.0 else math.nan


def read(samples: Sequence[LayerSample], step: int) -> Iterator[Reading]:
    """The readings of one layer in one step; of several passes the one in which the examples differ most.

    >>> alike = LayerSample("a", gram=Gram(2, (1.0, 1.0, 1.0, 1.0)))
    >>> [(reading.signal, reading.value) for reading in read([alike], 3)]
    [('difference_of_examples', 0.0)]
    """
    grams = [sample.gram for sample in samples if sample.gram is not None]
    known = [(found, gram) for gram in grams if not math.isnan(found := difference(gram))]
    if not known:
        return
    apart, gram = max(known, key=lambda row: row[0])
    yield Reading("difference_of_examples", samples[0].where, step, apart)
    places = position_difference(gram)
    if not math.isnan(places):
        yield Reading("difference_of_positions", samples[0].where, step, places)


def _square(gram: Gram) -> Array:
    return np.asarray(gram.products, dtype=np.float64).reshape(gram.examples, gram.examples)


def _scaled(gram: Gram) -> Array:
    """Products in units of the largest, so that squares neither over- nor underflow."""
    products = _square(gram)
    largest = float(np.abs(products).max(initial=0.0))
    return products / largest if largest > 0.0 else products


def _centred(products: Array) -> Array:
    mean = products.mean(axis=0)
    centred: Array = products - mean[:, None] - mean[None, :] + mean.mean()
    return centred


def _differing(products: Array) -> float:
    total = float(np.trace(products))
    if not total > 0.0:
        return math.nan
    return math.sqrt(min(1.0, max(0.0, float(np.trace(_centred(products / total))))))


def _over_groups(products: Array, groups: NDArray[np.intp]) -> float:
    blocks = [products[np.ix_(group, group)] for group in groups]
    total = sum(float(np.trace(block)) for block in blocks)
    apart = sum(max(0.0, float(np.trace(_centred(block)))) for block in blocks)
    return math.sqrt(min(1.0, apart / total)) if total > 0.0 else math.nan
