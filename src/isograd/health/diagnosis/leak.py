"""A leak: the targets stand in the inputs, where the network may read them off, so that it need not learn to foretell them.

Certain facts, seen at every look (LEAST of them): every target is a token that the network was given,
  ahead   the one of the next place, and no attention hides the later places: the causal mask is missing, or the wrong way round
  given   the one of its own place, in a network whose attention hides the later places, as only one that foretells does, or in
          which one recurrent layer reads the tokens and what answers reads each of its places: the targets were not shifted
  column  of tables and sequences: the one target of each example is a column of the table, or of the last time step, at every
          look (COLUMNS of them): what is to be foretold was left among what it is foretold from
Either way the loss falls, even to nothing, and the network can do nothing of it where the next token is not there yet. So it is
an alarm whatever the loss does.

Look-alikes that are healthy: a causal mask and shifted targets; a network that is to restore tokens that were hidden (targets
differ from inputs there), or whose targets are labels of the tokens; translation (two tables of tokens), a sequence that is put
into one code and taken out again (no causal mask; a recurrent layer for each way, or an answer that reads the last state).
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import Lasting, holds, lasting
from isograd.records.anatomy import WEIGHTED, Anatomy, spoken
from isograd.records.finding import Evidence, Finding

LEAST = 2
COLUMNS = 3
BY_PLACE = ("linear", "dropout", "norm", "activation")


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding of each kind."""
    for seen in lasting(case, "targets_column").values():
        if holds(seen, case, least=COLUMNS):
            yield _column(seen)
    for kind in ("targets_ahead", "targets_given"):
        found = {where: seen for where, seen in lasting(case, kind).items() if holds(seen, case, least=LEAST)}
        if not found:
            continue
        where, first = next(iter(found.items()))
        if not first.fact.get("attentions", 0) and not _place_by_place(case.anatomy, where):
            continue
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
            else "The answer stands in the input: every target is the token of its own place, which the network is shown; "
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


def _column(seen: Lasting) -> Finding:
    column, steps, rows = (int(seen.fact.get(name, 0)) for name in ("column", "steps", "rows"))
    where = f"column {column}" + (f" of the last of {steps} time steps" if steps else "")
    return Finding(
        "leak",
        "warning",
        0.95,
        "data",
        f"The answer stands in the input: the target of every example is {where} of what the model is given; "
        "it learns to copy, not to foretell.",
        (Evidence(f"all {rows:,} targets of the batch in {seen.seen} of {seen.looks} looks", "targets_column", 1.0),),
        source=seen.fact.source,
        since=seen.first,
        cause="the window ends at the target, or begins to count one too early"
        if steps
        else "the target is among the features",
        remedy="x = series[i : i + window], y = series[i + window + ahead - 1] with ahead of 1 and more"
        if steps
        else "take the column of the target out of the inputs",
    )


def _place_by_place(anatomy: Anatomy, where: str) -> bool:
    """Whether one recurrent layer alone reads embedded tokens, and the last layer answers at each of its time steps."""
    nodes = anatomy.nodes
    layers = [place for place, node in enumerate(nodes) if node.operation == "recurrent"]
    last = max((place for place, node in enumerate(nodes) if node.operation in WEIGHTED), default=0)
    if not anatomy.traced or len(layers) != 1 or nodes[layers[0]].path != where or nodes[last].operation != "linear":
        return False
    steps = int(nodes[layers[0]].get("steps", 0))
    return nodes[last].shape[:1] == (steps,) and _leads(anatomy, last, layers[0]) and _tells(anatomy, layers[0])


def _leads(anatomy: Anatomy, place: int, goal: int) -> bool:
    """Whether nothing but what acts at each place by itself stands between two nodes."""
    while place != goal:
        inputs = anatomy.nodes[place].inputs
        if len(inputs) != 1 or anatomy.nodes[place].operation not in BY_PLACE:
            return False
        place = inputs[0]
    return True


def _tells(anatomy: Anatomy, place: int) -> bool:
    """Whether a node reads an embedding, with nothing but dropout or a norm between."""
    inputs = anatomy.nodes[place].inputs
    while len(inputs) == 1 and anatomy.nodes[inputs[0]].operation in ("dropout", "norm"):
        inputs = anatomy.nodes[inputs[0]].inputs
    return len(inputs) == 1 and anatomy.nodes[inputs[0]].operation == "embedding"
