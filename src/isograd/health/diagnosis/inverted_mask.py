"""A padding mask the wrong way round: attention sees the padding and nothing of what the examples say.

The fact is certain: the mask is compared, token by token, with where the padding is (the embedding's padding index, or zeros at
the end alone), and hides all the rest in every example. ``key_padding_mask`` hides where it is True, the opposite of the masks
that tokenizers hand out. Two looks are enough. What passes around the attention may be learned all the same, so that the loss
hides it: it is an alarm whatever the loss does.

Look-alikes that are healthy: a mask that hides the padding; one that hides nothing; batches without padding.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import holds, lasting, listed, opening
from isograd.records.anatomy import spoken
from isograd.records.finding import Evidence, Finding

LEAST = 2


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for all attentions that see the padding alone."""
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
        cause="key_padding_mask hides where it is True",
        remedy="key_padding_mask=(tokens == padding), or ~mask where a mask of 1 and 0 says what is to be seen",
    )
