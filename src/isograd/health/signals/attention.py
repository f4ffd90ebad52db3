"""How an attention spreads over its keys, and how large its logits are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isograd.records.reading import Reading
from isograd.records.trace import Attention, LayerSample


def attention_entropy(found: Attention) -> float:
    r"""Mean entropy of the rows of an attention, in units of that of looking everywhere alike.

    .. math:: \frac1R \sum_r \frac{-\sum_k p_{rk} \log p_{rk}}{\log n_r}

    where ``n_r`` counts the keys that a mask leaves row ``r``; rows with one key are left out. Unit: none. Range: [0, 1]; 1 is
    uniform, 0 looks at one key.
    Source: Zhai et al. 2023, Preventing attention entropy collapse, arXiv:2303.06296, section 3.1.

    >>> attention_entropy(Attention(rows=4, entropy=2.0, lowest=0.25, logit=3.0))
    0.5
    """
    return found.mean


def attention_logit(found: Attention) -> float:
    """The largest magnitude of a logit, scaled and unmasked.

    Unit: nats. Range: [0, inf); the gap of two logits is the log of the ratio of their weights.
    Source: Dehghani et al. 2023, Scaling vision transformers to 22 billion parameters, arXiv:2302.05442, section 2.

    >>> attention_logit(Attention(rows=4, entropy=2.0, lowest=0.25, logit=3.0))
    3.0
    """
    return found.logit


def read(samples: Sequence[LayerSample], step: int) -> Iterator[Reading]:
    """The readings of one attention in one step, over all its passes.

    >>> sample = LayerSample("attend", attention=Attention(2, 1.0, 0.25, 3.0))
    >>> [(reading.signal, reading.value) for reading in read([sample], 1)]
    [('attention_entropy', 0.5), ('attention_lowest', 0.25), ('attention_logit', 3.0)]
    """
    several = [sample.attention for sample in samples if sample.attention is not None]
    if several:
        found = sum(several[1:], several[0])
        yield Reading("attention_entropy", samples[0].where, step, attention_entropy(found))
        yield Reading("attention_lowest", samples[0].where, step, found.lowest)
        yield Reading("attention_logit", samples[0].where, step, attention_logit(found))
