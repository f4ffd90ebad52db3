"""A leak: the targets stand in the inputs, where the network may read them off, so that it need not learn to foretell them.

Certain facts, seen at every look (LEAST of them): every target is a token that the network was given,
  ahead   the one of the next place, and no attention hides the later places: the causal mask is missing, or the wrong way round
  given   the one of its own place, in a network whose attention hides the later places, as only one that foretells does: the
          targets were not shifted
Either way the loss falls, even to nothing, and the network can do nothing of it where the next token is not there yet. So it is
an alarm whatever the loss does.

Look-alikes that are healthy: a causal mask and shifted targets; a network that is to restore tokens that were hidden (targets
differ from inputs there), or whose targets are labels of the tokens; translation (two tables of tokens), a sequence that is put
into one code and taken out again (no causal mask).
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import holds, lasting
from isograd.records.anatomy import spoken
from isograd.records.finding import Evidence, Finding

LEAST = 2


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding of each kind."""
    for kind in ("targets_ahead", "targets_given"):
        found = {where: seen for where, seen in lasting(case, kind).items() if holds(seen, case, least=LEAST)}
        if not found:
            continue
        where, first = next(iter(found.items()))
        node, ahead = case.anatomy.node(where), kind == "targets_ahead"
        agreed = int(first.fact.get("tokens", 0))
        text = f"all {agreed:,} targets of the batch are the tokens of the {'next' if ahead else 'same'} places"
        yield Finding(
            "leak",
            "warning",
            0.97,
            where if ahead else "loss",
            f"The answer stands in the input: every target is the token of the next place, and {spoken(where)} may look there."
            if ahead
            else "The answer stands in the input: every target is the token of its own place, which a causal network may see; "
            "it learns to copy, not to foretell.",
            (Evidence(text, kind, 1.0, "of the targets", 0.0),),
            (where,),
            first.fact.source or (node.source if node else None),
            first.first,
            cause="the causal mask is missing or hides the wrong side" if ahead else "inputs and targets were not shifted",
            remedy="attn_mask=nn.Transformer.generate_square_subsequent_mask(length), or is_causal=True in "
            "scaled_dot_product_attention; True in a boolean mask of a module hides, in the function it shows"
            if ahead
            else "logits = model(tokens[:, :-1]) and targets = tokens[:, 1:]",
        )
