"""The robust preset: every correctness fix and every safe setting at once; what it reaches is the ceiling of a search."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from isograd.health.hypotheses import DEEP, Proposal, usual_norms
from isograd.health.present import Present
from isograd.health.remedies.memory import lasting
from isograd.health.remedies.order import CORRECTNESS, in_order
from isograd.health.remedies.rates import RATE, rounded, standing_rate, to_adam
from isograd.health.remedies.weights import isometry
from isograd.records.edit import EDITS, Edit

CLIP = 1.0
"""The bound on the gradient."""
FEW = 40.0
"""Steps below which a run is longer in the preset: less than the shortest replay in which anything can be told apart."""


def preset(prescribed: Sequence[Proposal], present: Present) -> tuple[Edit, ...]:
    """Every edit of the preset that would change something, in the order in which they are made.

    Correctness: all that a fact speaks for, and the loss that fits. Data: standardised. Steps: Adam (or its like) at a usual
    rate, clipped, without weight decay, dropout or schedule, and as many as show anything where a run has few. Signal: relu
    with He's weights, a normalisation behind every hidden layer, and residual paths where the network is deep; gates that keep
    where a gradient was seen to fade over the steps of a sequence (``memory.lasting``).

    >>> [edit.kind for edit in preset((), Present("dense", 3, 16.0, words=(("activation", "sigmoid"),)))]
    ['activation', 'normalisation', 'initialisation', 'optimizer', 'learning_rate', 'clip_norm']
    """
    right = [one.edit for one in prescribed if one.edit.kind in CORRECTNESS and (one.urgent or one.edit.kind != "axes")]
    right += [one.edit for one in prescribed if one.edit.kind == "nonlinearity" and one.urgent]
    kept = lasting([one.edit for one in prescribed], present)
    return in_order([*right, *_settings(prescribed), *kept, *_signal(present), *_steps(present)])


def _settings(prescribed: Sequence[Proposal]) -> Iterator[Edit]:
    known = {one.edit.kind: one.edit for one in reversed(prescribed)}
    for kind in ("input_scale", "target_scale", "shuffle", "batch_size", "dropout", "weight_decay", "constant_rate", "width"):
        if kind in known:
            yield known[kind]
    longer = [edit for edit in prescribed_steps(prescribed) if isinstance(edit.before, float) and edit.before < FEW]
    yield from longer[:1]


def prescribed_steps(prescribed: Sequence[Proposal]) -> list[Edit]:
    """The longer runs that are proposed, the longest first."""
    return sorted((one.edit for one in prescribed if one.edit.kind == "steps"), key=lambda one: -float(one.value or 0.0))


def _signal(present: Present) -> Iterator[Edit]:
    activation = present.word("activation")
    if activation and activation != "relu":
        yield Edit("activation", "relu", before=activation)
    if activation:
        yield Edit("initialisation", "he", before=present.number("gain"))
    if present.depth > 2:
        yield Edit("normalisation", usual_norms(present)[0])
    if present.depth > DEEP:
        yield Edit("residual")


def _steps(present: Present) -> Iterator[Edit]:
    if adam := to_adam(present):
        yield adam
    yield Edit("learning_rate", RATE, before=standing_rate(present))
    for kind, usual in (("beta1", 0.9), ("beta2", 0.999), ("eps", 1e-8)):
        value = present.number(kind)
        if value is not None and value != usual and adam is None:
            yield Edit(kind, usual, before=value)
    if present.loop.clip_norm != CLIP:
        yield Edit("clip_norm", CLIP, before=present.loop.clip_norm)


def other_ways(chosen: Sequence[Edit], spoken: Collection[Edit], present: Present) -> tuple[tuple[Edit, ...], ...]:
    """What the preset may be instead, where it does not help: another rate, isometry, paths from nothing, its own cells,
    turned axes, steps alone.

    Rates: a tenth and ten times the usual. Isometry: of a deep network, see ``weights.isometry``. From nothing: in a deep
    network residual paths whose branches and last layer begin at zero, without normalisation, so that neither depth nor the
    first outputs, which paths make large, are in the way. Its own cells: what is learned may lie near the end of a sequence,
    where gates that keep everything are in the way. Turned axes: where every step has a target, a recurrent layer or attention
    that goes along the examples instead of the time learns something all the same, and no certain fact tells. Steps alone: of
    the preset what the optimizer does, and what a fact or a finding speaks for (``spoken``); data, loss and network stay the
    person's own, which a loss of their own may ask for.
    ``chosen`` is the preset as it can be made.

    >>> chosen = preset((), Present("dense", 12, 16.0, words=(("activation", "sigmoid"),)))
    >>> [[str(edit.value or edit.kind) for edit in way][1:] for way in other_ways(chosen, (), Present("dense", 12, 16.0))[2:]]
    [['residual', 'fixup', 'adam', '0.003', '1.0'], ['0.003', '1.0']]
    """
    rates = [
        tuple(
            Edit(one.kind, rounded(RATE * factor), before=one.before) if one.kind == "learning_rate" else one for one in chosen
        )
        for factor in (0.1, 10.0)
    ]
    ways = rates if any(one.kind == "learning_rate" for one in chosen) else []
    if isometric := isometry(present):
        kinds = {one.kind for one in isometric} | {"normalisation", "residual"}
        ways.append(in_order((*(one for one in chosen if one.kind not in kinds), *isometric)))
    if any(one.kind == "residual" for one in chosen):
        network = [one for one in chosen if one.kind not in ("normalisation", "initialisation")]
        ways.append(in_order((*network, Edit("initialisation", "fixup", before=present.number("gain")))))
    ways.append(tuple(one for one in chosen if one.kind not in ("cell", "forget_bias")))
    if present.family in ("recurrent", "attention") and all(one.kind != "axes" for one in chosen):
        turned = (Edit("axes", "batch", before="time"), Edit("axes", "time", before="batch"))  # one of the two fits
        ways += [in_order((*chosen, one)) for one in turned]
    ways.append(tuple(one for one in chosen if EDITS[one.kind].part in ("optimizer", "loop") or one in spoken))
    return tuple(way for way in dict.fromkeys(ways) if way and way != tuple(chosen))
