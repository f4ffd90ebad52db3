"""The robust preset: every correctness fix and every safe setting at once; what it reaches is the ceiling of a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isograd.health.hypotheses import DEEP, Proposal, usual_norms
from isograd.health.present import Present
from isograd.health.remedies.order import CORRECTNESS, in_order
from isograd.health.remedies.rates import standing_rate
from isograd.records.edit import Edit

RATE, CLIP = 3e-3, 1.0
"""Adam's rate at which the references of harm learn best in a few hundred steps, and the bound on the gradient."""


def preset(prescribed: Sequence[Proposal], present: Present) -> tuple[Edit, ...]:
    """Every edit of the preset that would change something, in the order in which they are made.

    Correctness: all that a fact speaks for, and the loss that fits. Data: standardised. Steps: Adam at a usual rate, clipped,
    without weight decay, dropout or schedule. Signal: relu with He's weights, a normalisation behind every hidden layer,
    and residual paths where the network is deep.

    >>> [edit.kind for edit in preset((), Present("dense", 3, 16.0, words=(("activation", "sigmoid"),)))]
    ['activation', 'normalisation', 'initialisation', 'optimizer', 'learning_rate', 'clip_norm']
    """
    right = [one.edit for one in prescribed if one.edit.kind in CORRECTNESS]
    return in_order([*right, *_settings(prescribed), *_signal(present), *_steps(present)])


def _settings(prescribed: Sequence[Proposal]) -> Iterator[Edit]:
    known = {one.edit.kind: one.edit for one in reversed(prescribed)}
    for kind in ("input_scale", "target_scale", "shuffle", "batch_size", "dropout", "weight_decay", "constant_rate", "width"):
        if kind in known:
            yield known[kind]


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
    if present.word("optimizer") != "adaptive":
        yield Edit("optimizer", "adam", before=present.word("optimizer") or None)
    yield Edit("learning_rate", RATE, before=standing_rate(present))
    for kind, usual in (("beta1", 0.9), ("beta2", 0.999), ("eps", 1e-8)):
        value = present.number(kind)
        if value is not None and value != usual and present.word("optimizer") == "adaptive":
            yield Edit(kind, usual, before=value)
    if present.loop.clip_norm != CLIP:
        yield Edit("clip_norm", CLIP, before=present.loop.clip_norm)
