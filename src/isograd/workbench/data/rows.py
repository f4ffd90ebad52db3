"""Hold encoded rows, the plan of a split and what was prepared; hand out batches in an order that (seed, epoch) fixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from isograd.errors import RequestError
from isograd.records.schema import DataSummary, Encoding
from isograd.workbench.data.order import permutation

if TYPE_CHECKING:
    import torch

    from isograd.workbench.data.augment.augmenting import Augment
    from isograd.workbench.data.sampling import Sampling

SplitKind = Literal["auto", "random", "stratified", "group", "time", "given"]
TASKS = (
    *("classification", "regression", "text-classification", "image-classification", "sound-classification"),
    *("sequence-classification", "sequence-regression"),
)


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How rows are parted. ``validation`` and ``test`` are shares of all rows; ``column`` names the group, time or part.

    "given" takes the parts that the source has (folders train/ and test/, the t10k files, or a column, "split" where none is
    named) and carves ``validation``, a share of the training rows, from them where the source has no validation part. "auto"
    is given where the source brings its own parts, else stratified where there are classes, else random.
    """

    kind: SplitKind = "stratified"
    validation: float = 0.1
    test: float = 0.2
    column: str | None = None

    def resolved(self, *, parts: bool, classes: bool) -> SplitPlan:
        """The plan with the kind that "auto" means for a source with ``parts`` of its own and ``classes``.

        >>> SplitPlan("auto").resolved(parts=False, classes=True).kind
        'stratified'
        """
        return self if self.kind != "auto" else replace(self, kind="given" if parts else "stratified" if classes else "random")


@dataclass(frozen=True, slots=True)
class EncodingPlan:
    """How columns become numbers; all that is fitted is fitted on the training part.

    ``scaling`` of numbers; ``categories`` as "one_hot" or as "index" (a place among the values, for an embedding); texts cut
    into ``tokens``, of which a ``vocabulary`` is learned, and given as ``text`` "bag" (weighted counts) or "ids" (the first
    or, as ``keep`` says, the last ``length`` tokens; None: as many as 95 % of the training texts have, 512 at most); ``mels``
    bands of a sound's spectrum, each recording measured by its own loudest one with silence ``span`` dB below it (0: as it was
    recorded).
    """

    scaling: Literal["standard", "minmax", "robust"] = "standard"
    categories: Literal["one_hot", "index"] = "one_hot"
    tokens: Literal["words", "subwords"] = "words"
    text: Literal["bag", "ids"] = "bag"
    vocabulary: int = 2000
    length: int | None = None
    keep: Literal["first", "last"] = "first"
    mels: int = 64
    span: float = 50.0


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Encoded rows: ``inputs`` float32 (rows, features), (rows, channels, height, width) or, of sequences, (rows, steps,
    features), int64 (rows, length) token numbers.

    ``targets`` are int64 (rows,) class numbers, or float32 (rows, 1) standardised; ``names`` say where each row came from.
    Where each step has a target they are (rows, steps), -100 after the end, or (rows, steps, 1), NaN after the end.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    names: Sequence[str]
    _lengths: list[torch.Tensor] = field(default_factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def lengths(self) -> torch.Tensor:
        """Tokens of each row (rows,), counted the first time that they are asked for."""
        from isograd.workbench.data.bucketing import lengths_of

        if not self._lengths:
            self._lengths.append(lengths_of(self.inputs))
        return self._lengths[0]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Data ready for a network: what it is, how it was encoded, and its three parts."""

    summary: DataSummary
    encoding: Encoding
    train: Rows
    validation: Rows
    test: Rows


_TOGETHER = 1 << 20
"""Bytes of rows that are gathered and changed by one call: no more than stays in a processor's cache. Of small rows the calls
cost more than the copying; what is done to a row depends on its key alone, so that batches may be made together."""


def batches_per_epoch(rows: int, batch_size: int, least: int = 1) -> int:
    """How many batches one epoch has; the last may be smaller, but one of fewer than ``least`` rows joins the one before.

    >>> batches_per_epoch(10, 4), batches_per_epoch(9, 4), batches_per_epoch(9, 4, least=2)
    (3, 3, 2)
    """
    full, rest = divmod(rows, batch_size)
    return full + (rest >= least or not full) if rest else full


def batches(
    rows: Rows,
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    start: int = 0,
    shuffle: bool = True,
    least: int = 1,
    augment: Augment | None = None,
    sampling: Sampling | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of one epoch from batch ``start`` on; every row once, the last batch smaller where rows do not divide.

    A last batch of fewer than ``least`` rows joins the one before: batch normalisation has no deviation over a single row.
    Shuffled batches of token numbers hold texts of about one length, and are as long as their longest text.

    The order is a function of (seed, epoch) alone, so a run that was cut goes on with exactly the batches it would have had.
    ``sampling`` draws rare classes more often, or common ones less; without it every row is seen once.
    ``augment`` changes each row by (seed, epoch, row), whatever the batch that it is in.
    Shapes: (batch, ...) inputs and (batch,) or (batch, 1) targets, in the row order of the source where ``shuffle`` is off;
    where ``augment`` mixes rows, targets are shares (batch, classes).
    Raises ``RequestError`` for a batch size below one.

    >>> import torch
    >>> rows = Rows(torch.arange(5.0)[:, None], torch.arange(5), tuple("abcde"))
    >>> whole = [targets.tolist() for _, targets in batches(rows, seed=1, epoch=3, batch_size=2)]
    >>> [targets.tolist() for _, targets in batches(rows, seed=1, epoch=3, batch_size=2, start=1)] == whole[1:]
    True
    """
    if batch_size < 1:
        raise RequestError(f"a batch holds at least one row, not {batch_size}", remedy="batch_size = 32")
    import torch  # here and not above: who only predicts needs none

    from isograd.workbench.data.bucketing import are_tokens, bucketed, trimmed

    order = sampling.keys(epoch) if sampling else permutation(seed, epoch, len(rows)) if shuffle else np.arange(len(rows))
    tokens = are_tokens(rows.inputs)
    fixed = sampling is not None and sampling.kind in ("balanced", "bagging")  # whose order says more than chance
    if tokens and shuffle and not fixed:
        lengths = rows.lengths[torch.from_numpy(order % max(1, len(rows)))]
        order = order[bucketed(np.arange(len(order)), lengths, batch_size, seed=seed, epoch=epoch)]
    count = batches_per_epoch(len(order), batch_size, least)
    more = 0 if augment is None else augment.extra
    around = np.concatenate([order, order[:more]])
    each = max(1, rows.inputs.nbytes // max(1, len(rows)) * batch_size)
    many = max(1, _TOGETHER // each)
    for number in range(start, count, many):
        until = min(number + many, count)
        first, end = number * batch_size, len(order) if until == count else until * batch_size
        keys = around[first : end + more]
        index = torch.from_numpy(keys % max(1, len(rows)))  # a copy of a row has a key of its own
        # The same copies as by [index], which goes element by element: 2 to 5 times as fast.
        inputs, targets = rows.inputs.index_select(0, index), rows.targets.index_select(0, index)
        inputs = sampling.made(inputs, rows.inputs, epoch, keys) if sampling else inputs
        inputs, targets = (inputs, targets) if augment is None else augment.batch(inputs, targets, epoch, keys)
        full = until - number - 1
        sizes = [batch_size] * full + [end - first - batch_size * full]
        for some, theirs in zip(torch.split(inputs, sizes), torch.split(targets, sizes), strict=True):
            yield trimmed(some) if tokens else some, theirs
