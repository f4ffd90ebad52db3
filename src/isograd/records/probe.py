"""What trying shows before a run: one batch looked at from outside, before and after the thin probe."""

from __future__ import annotations

from dataclasses import dataclass

from isograd.records.moments import Gram


@dataclass(frozen=True, slots=True)
class Glance:
    """What a model makes of one batch without stepping, dropout off and batch statistics on.

    ``loss`` is the person's loss. ``right`` is the share of right answers, ``common`` the share of the most frequent class
    (classification); ``explained`` is R2 over all columns, each against its own mean (regression). ``hidden`` holds what the
    last layer with weights reads, of at most 64 examples, ``targets`` their targets (classes one-hot). None: cannot be told.
    """

    loss: float | None = None
    right: float | None = None
    common: float | None = None
    explained: float | None = None
    hidden: Gram | None = None
    targets: Gram | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """One batch before anything (``before``) and after the thin probe (``thin``), on copies.

    The thin probe makes ``steps`` real steps on ``size`` examples each (0: none was made), ``stretch`` times as long as the
    optimizer's own; ``losses`` are theirs. ``share`` is what it cost in examples, of the announced run.
    """

    before: Glance | None = None
    thin: Glance | None = None
    steps: int = 0
    size: int = 0
    stretch: float = 1.0
    losses: tuple[float, ...] = ()
    share: float = 0.0
