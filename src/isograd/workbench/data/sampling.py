"""Choose which training rows an epoch sees: more of rare classes, fewer of common ones, or the same number in each batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from isograd.errors import RequestError
from isograd.workbench.data.features import width_of_column
from isograd.workbench.data.order import permutation, uniforms

if TYPE_CHECKING:
    import torch

    from isograd.workbench.data.rows import Prepared

SamplingKind = Literal["none", "over", "under", "balanced", "smote", "bagging"]
Keys = NDArray[np.int64]
NEIGHBOURS = 5
"""Nearest rows of its class between which and a row another one is made; the paper's."""
_DRAW, _DEAL, _BETWEEN, _BAG = 41, 42, 43, 44
_STREAM = 1 << 33  # the order of a bag is drawn apart from that of rows and of batches


@dataclass(frozen=True, slots=True, eq=False)
class Sampling:
    """Which rows each epoch sees, as keys: row + rows x copy, so that the copies of a row can be changed in their own ways.

    ``members`` are the rows of each class that has any. ``nearest`` (rows, neighbours) and ``movable`` (features,) are for
    "smote": copies lie between a row and one of its neighbours. ``bags`` are for "bagging".
    """

    kind: SamplingKind
    seed: int
    rows: int
    members: tuple[Keys, ...]
    nearest: Keys | None = None
    movable: NDArray[np.bool_] | None = None
    gaps: tuple[tuple[int, int], ...] = ()
    bags: int = 1

    @property
    def length(self) -> int:
        """Rows that an epoch sees, the same in each."""
        counts = [len(rows) for rows in self.members]
        match self.kind:
            case "over" | "smote":
                return len(counts) * max(counts)
            case "under" | "bagging":
                return len(counts) * min(counts) * self.bags
            case "balanced":
                return len(counts) * -(-self.rows // len(counts))
            case _:
                return self.rows

    def keys(self, epoch: int) -> Keys:
        """The keys of one epoch in their order, a function of (seed, epoch) alone.

        Over and "smote": every row, and those of rarer classes again until each class has as many as the largest. Under: as
        many of each class as the rarest has, others in each epoch. Balanced: classes take turns, so that the counts in a batch
        differ by at most one; an epoch is as long as the training part. Bagging: key i is of bag i mod ``bags``; a bag holds
        as many of each class as the rarest has, drawn with replacement, the same in every epoch.
        """
        if self.kind == "none":
            return permutation(self.seed, epoch, self.rows)
        if self.kind == "bagging":
            return np.stack([self._bag(number, epoch) for number in range(self.bags)], axis=1).reshape(-1)
        each = self.length // len(self.members)
        dealt = [self._some(members, each, epoch) for members in self.members]
        if self.kind != "balanced":
            together = np.concatenate(dealt)
            return together[permutation(self.seed, epoch, len(together))]
        turns = np.argsort(uniforms(self.seed, epoch, np.arange(each), _DEAL, len(dealt)), axis=1, kind="stable")
        taken: Keys = np.take_along_axis(np.stack(dealt, axis=1), turns, axis=1).reshape(-1)
        return taken

    def _bag(self, number: int, epoch: int) -> Keys:
        """The keys of one bag in the order of an epoch. Source: Breiman 1996 (bagging); imbalanced-learn (balanced bags)."""
        least = min(map(len, self.members))
        drawn = []
        for place, members in enumerate(self.members):
            u = uniforms(self.seed, place, np.arange(least) + least * number, _BAG)[:, 0]
            drawn.append(members[np.floor(u * len(members)).astype(np.int64)] + self.rows * number)
        together = np.concatenate(drawn)
        return together[permutation(self.seed, epoch + _STREAM * (1 + number), len(together))]

    def _some(self, members: Keys, count: int, epoch: int) -> Keys:
        """So many keys of one class: all of its rows round after round, the last round a part of them."""
        rounds = -(-count // len(members))
        every = (members[None, :] + self.rows * np.arange(rounds)[:, None]).reshape(-1)
        drawn = uniforms(self.seed, epoch, every, _DRAW)[:, 0].reshape(rounds, -1)
        order = np.argsort(drawn, axis=1, kind="stable") + len(members) * np.arange(rounds)[:, None]
        chosen: Keys = every[order.reshape(-1)[:count]]
        return chosen

    def made(self, inputs: torch.Tensor, every: torch.Tensor, epoch: int, keys: Keys) -> torch.Tensor:
        r"""Copies put between their row and one of its neighbours; first copies, and all but "smote", stay as they are.

        .. math:: x' = x + u (x_{nn} - x), \quad u \sim U(0, 1)

        for numbers that are there in both; categories, truths and texts are those of the row.
        Source: Chawla et al. 2002, SMOTE, arXiv:1106.1813; here drawn anew in each epoch.
        """
        if self.nearest is None or self.movable is None:
            return inputs
        import torch  # here and not above: who only predicts needs none

        u = uniforms(self.seed, epoch, keys, _BETWEEN, 2)
        near = self.nearest[keys % self.rows, np.floor(u[:, 0] * self.nearest.shape[1]).astype(np.int64)]
        other = every[torch.from_numpy(near)]
        share = np.where(keys[:, None] >= self.rows, u[:, 1:], 0.0) * self.movable
        for number, gap in self.gaps:
            share[((inputs[:, gap] > 0) | (other[:, gap] > 0)).numpy(), number] = 0.0
        return inputs + torch.from_numpy(share.astype(np.float32)) * (other - inputs)


def sampling_of(kind: SamplingKind, prepared: Prepared, seed: int, bags: int = 1) -> Sampling:
    """How prepared training rows are drawn; raises ``RequestError`` where there are no classes, or no numbers for "smote"."""
    count, encoding = len(prepared.train), prepared.encoding
    if kind == "none":
        return Sampling(kind, seed, count, ())
    if not encoding.classes:
        raise RequestError(f'sampling = "{kind}" needs classes, and this is a regression', where="data.sampling")
    labels = prepared.train.targets.numpy()
    members = tuple(rows for number in range(len(encoding.classes)) if len(rows := np.flatnonzero(labels == number)))
    bare = Sampling(kind, seed, count, members)
    if kind != "smote":
        return replace(bare, bags=bags) if kind == "bagging" else bare
    inputs = prepared.train.inputs
    movable, gaps, first = np.zeros(inputs.shape[1], dtype=bool), [], 0
    for column in encoding.columns if encoding.kind == "table" else ():
        movable[first] = column.kind in ("number", "date")
        gaps += [(first, first + 1)] if column.indicator else []
        first += width_of_column(column)
    if not movable.any():
        met = {"images": "pictures", "sound": "recordings", "sequence": "sequences"}.get(encoding.kind, "no column of numbers")
        remedy = 'sampling = "over", which repeats rows, with [augment] policy = "auto"'
        raise RequestError("smote makes rows between numbers of a table", where="data.sampling", met=met, remedy=remedy)
    return Sampling(kind, seed, count, members, _nearest(inputs.numpy(), members), movable, tuple(gaps))


def _nearest(inputs: NDArray[np.float32], members: tuple[Keys, ...]) -> Keys:
    """The nearest rows of its class to each row that may be copied; the row itself where it is alone, or never copied."""
    from sklearn.neighbors import NearestNeighbors  # a second to import, and only this needs it

    most = max(len(rows) for rows in members)
    found = np.repeat(np.arange(len(inputs))[:, None], NEIGHBOURS, axis=1)
    for rows in members:
        count = min(NEIGHBOURS, len(rows) - 1)
        if count and len(rows) < most:
            near = NearestNeighbors(n_neighbors=count).fit(inputs[rows]).kneighbors(return_distance=False)
            found[rows] = rows[near[:, np.arange(NEIGHBOURS) % count]]
    return found
