"""A mask the wrong way round: attention sees the padding alone, or what comes later alone.

That it sees the padding and nothing of what the examples say is certain: the mask is compared, token by token, with where the
padding is (the embedding's padding index, or zeros at the end alone), and hides all the rest in every example.
``key_padding_mask`` hides where it is True, the opposite of the masks that tokenizers hand out. Two looks
are enough. What passes around the attention may be learned all the same, so that the loss hides it: it is an alarm whatever
the loss does.

A causal mask that is turned hides every earlier place and shows all later ones. That, too, is read off; a network that reads
from the end may mean it, so that it is a remark where the run goes well (WELL). Modules hide where a mask is True, the
function ``scaled_dot_product_attention`` shows there, which is how it comes about. The last place then sees itself or,
where the diagonal is hidden too, nothing at all, which gives NaN.

Look-alikes that are healthy: a mask that hides the padding; one that hides nothing; batches without padding; a causal mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import holds, lasting, listed, opening
from isograd.health.outcome import outcome
from isograd.records.anatomy import spoken
from isograd.records.finding import Evidence, Finding

LEAST = 2
WELL = 0.9


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for all attentions that see the padding alone, and one for those that see later places alone."""
    yield from _padding(case)
    yield from _turned(case)


def _padding(case: Case) -> Iterator[Finding]:
    found = {where: seen for where, seen in lasting(case, "mask_inverted").items() if holds(seen, case, least=LEAST)}
    if not found:
        return
    where, first = next(iter(found.items()))
    node = case.anatomy.node(where)
    text = f"in {first.seen} of {first.looks} looks the mask hid every token and left the padding"
    yield Finding(
        "inverted_mask",
        "warning",
        0.97,
        where,
        f"{opening(listed([spoken(path) for path in found]))} can only look at the padding: the mask is the wrong way round.",
        (Evidence(text, "mask_inverted", 1.0, "of the tokens", 0.0),),
        tuple(found),
        node.source if node else None,
        first.first,
        cause="a padding mask hides where it is True",
        remedy="key_padding_mask=(tokens == padding), or ~mask where a mask of 1 and 0 says what is to be seen; by hand "
        "scores.masked_fill(tokens == padding, -inf)",
    )


def _turned(case: Case) -> Iterator[Finding]:
    seen = lasting(case, "mask_turned")
    broken = any(step.loss is not None and not math.isfinite(step.loss) for step in case.steps)
    found = {where: one for where, one in seen.items() if holds(one, case, least=1 if broken else LEAST)}
    if not found:
        return
    where, first = next(iter(found.items()))
    node = case.anatomy.node(where)
    text = f"in {first.seen} of {first.looks} looks the mask hid every earlier place and no later one"
    yield Finding(
        "inverted_mask",
        "note" if outcome(case).well(WELL) else "warning",
        0.95,
        where,
        f"{opening(listed([spoken(path) for path in found]))} can only look ahead: the mask hides every earlier place and "
        "shows the later ones.",
        (Evidence(text, "mask_turned", 1.0, "of the earlier places", 0.0),),
        tuple(found),
        first.fact.source or (node.source if node else None),
        first.first,
        cause="a boolean mask hides where it is True in nn.MultiheadAttention and nn.Transformer, and shows there in "
        "scaled_dot_product_attention",
        remedy="later = torch.triu(torch.ones(T, T, dtype=torch.bool), 1): attn_mask=later for a module, ~later or "
        "is_causal=True for the function",
    )
