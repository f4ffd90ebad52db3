"""Put all changes in their order, for any kind of rows: what a training batch goes through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from isograd.records.schema import Encoding
from isograd.workbench.data.augment import columns, images, sounds, steps
from isograd.workbench.data.augment.mixing import mixed
from isograd.workbench.data.augment.plan import AugmentPlan, Settled, remarks_of
from isograd.workbench.data.rows import Prepared

Keys = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Augment:
    """Changes of training rows that are a function of (seed, epoch, key of the row) alone; ``extra`` rows are mixed in."""

    plan: Settled
    encoding: Encoding
    seed: int
    spread: NDArray[np.float32]

    @property
    def extra(self) -> int:
        """How many rows of the next batch are needed: the last row is mixed with the one after it."""
        return int(self.plan.mixes)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of it."""
        return remarks_of(self.plan, self.encoding)

    def changed(self, inputs: torch.Tensor, epoch: int, keys: Keys) -> torch.Tensor:
        """Each row by itself, before any mixing; the rows that came in stay as they are."""
        plan, seed = self.plan, self.seed
        if self.encoding.kind == "images":
            moved = images.moved(inputs, plan, seed, epoch, keys)
            coloured = images.coloured(moved, plan, self.encoding, seed, epoch, keys)
            return images.erased(coloured, plan, seed, epoch, keys)
        if self.encoding.kind == "sound":
            voiced = sounds.voiced(inputs, plan, self.encoding, seed, epoch, keys)
            delayed = sounds.delayed(voiced, plan, self.encoding, seed, epoch, keys)
            noisy = sounds.noisy(delayed, plan, self.encoding, seed, epoch, keys)
            return sounds.masked(noisy, plan, seed, epoch, keys)
        if self.encoding.kind == "sequence":
            cropped = steps.cropped(inputs, plan, self.encoding, seed, epoch, keys)
            resized = steps.resized(cropped, plan, self.encoding, seed, epoch, keys)
            return steps.jittered(resized, plan, self.encoding, self.spread, seed, epoch, keys)
        jittered = columns.jittered(inputs, plan, self.encoding, self.spread, seed, epoch, keys)
        return columns.thinned(jittered, plan, self.encoding, seed, epoch, keys)

    def batch(self, inputs: torch.Tensor, targets: torch.Tensor, epoch: int, keys: Keys) -> tuple[torch.Tensor, torch.Tensor]:
        """What training sees of N rows; with mixing N + 1 come in, and class numbers go out as shares (N, classes)."""
        made = self.changed(inputs, epoch, keys)
        if not self.plan.mixes:
            return made, targets
        classes = len(self.encoding.classes)
        shares = F.one_hot(targets, classes).float() if classes else targets
        return mixed(made, shares, self.plan, self.seed, epoch, keys[:-1])


def augment_of(plan: AugmentPlan, prepared: Prepared, seed: int) -> Augment | None:
    """The plan for prepared data; nothing where nothing is to be done. Raises ``RequestError`` for what cannot be done."""
    settled = plan.settled(prepared.encoding)
    if not settled.said:
        return None
    inputs = prepared.train.inputs
    if prepared.encoding.kind == "sequence":
        spread = steps.spread_of(inputs, prepared.encoding)
    else:
        spread = columns.spread_of(inputs, prepared.encoding) if inputs.ndim == 2 else np.zeros(0, dtype=np.float32)
    return Augment(settled, prepared.encoding, seed, spread)
