"""Whether the targets of a step stand in its inputs, where the network may look at them: tokens that are to be foretold.

And whether the mask of an attention of a sequence to itself hides what came before and shows what comes later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isograd.frameworks.torch.losses import is_plain
from isograd.frameworks.torch.places import persons_line
from isograd.records.fact import Fact

ATTENDS = "scaled_dot_product_attention"
LEAST = 32
"""Tokens that must agree: of two words chosen by chance so many do once in 4e9 times."""
KINDS = 2
"""Different tokens there must be more than, for agreement to say something."""
TABLES = 4
EACH = 4
"""Examples of either class from which a column that tells them apart is the label: 4 of 32 agree by chance once in 36,000."""
PLACES = 3
"""Places of a sequence from which two triangles of a mask are told apart."""
ROWS, CELLS = 16, 1_000_000
"""Examples from which a column that holds the targets says something, and entries of a table that are compared at most."""
LARGE = -9e3
"""A logit below this is hidden: programs fill with -1e4 and lower, or add as much."""


@dataclass
class Leaks:
    """Tokens, targets and attentions of one step.

    Told is only what admits no other reading: one table of tokens was looked up (positions apart) before a loss was called, and
    its targets are these very tokens, in their places or one place later. In a step of several passes (accumulation) tokens
    that come after a target are those of the next pass.
    """

    _tokens: list[Tensor] = field(default_factory=list)
    _targets: list[Tensor] = field(default_factory=list)
    _pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Tokens and targets of the passes before this one."""
    _hides: dict[str, bool] = field(default_factory=dict)
    """Attentions of a sequence to itself, and whether they hide what comes later."""
    _lines: dict[str, str | None] = field(default_factory=dict)
    """Lines of the attentions, and of the loss (under no name)."""
    _turned: dict[str, str | None] = field(default_factory=dict)
    """Attentions that see later places alone, and their lines."""
    _recurs: dict[str, bool] = field(default_factory=dict)
    """Recurrent layers, and whether they read in one direction alone."""
    _table: Tensor | None = None
    """What the model is given, between its call and that of the loss."""
    _column: Fact | None = None

    def begin(self) -> None:
        """A new step."""
        for kept in (self._tokens, self._targets, self._pairs, self._hides, self._lines, self._turned, self._recurs):
            kept.clear()
        self._table = self._column = None

    def given(self, inputs: Any) -> None:
        """The one model of a program is called with this."""
        self._table = inputs.detach() if isinstance(inputs, Tensor) and is_plain(inputs) else None

    def looked_up(self, tokens: Tensor | None) -> None:
        """An embedding is given tokens; positions are the same for all examples."""
        if tokens is None or tokens.ndim != 2 or tokens.is_floating_point() or not is_plain(tokens):
            return
        self._pass()
        counted = torch.arange(tokens.shape[1], device=tokens.device) if len(tokens) == 1 else tokens[0]
        same = bool((tokens == counted).all())
        known = any(one.shape == tokens.shape and torch.equal(one, tokens) for one in self._tokens)
        if not same and not known and len(self._tokens) < TABLES:
            self._tokens.append(tokens.detach().clone())

    def attends(self, path: str, module: nn.MultiheadAttention, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """An attention module is called."""
        given = dict(zip(_NAMES, args, strict=False)) | dict(kwargs)
        query, key = given.get("query"), given.get("key")
        if query is not None and query is key:
            mask, causal = given.get("attn_mask"), bool(given.get("is_causal"))
            self._hides[path] = causal or hides(mask)
            self._attention(path, turned=not causal and looks_ahead(mask))

    def recurs(self, path: str, *, onward: bool) -> None:
        """A recurrent layer has read a sequence."""
        self._recurs[path] = onward and path not in self._recurs

    def attends_by_function(self, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """The function for attention is called."""
        given = dict(zip(_ARGUMENTS, args, strict=False)) | dict(kwargs)
        query, key = given.get("query"), given.get("key")
        if isinstance(query, Tensor) and isinstance(key, Tensor) and query.shape[-2] == key.shape[-2]:
            mask, causal = given.get("attn_mask"), bool(given.get("is_causal"))
            self._hides[path] = causal or hides(mask, shows=True) or self._hides.get(path, False)
            self._attention(path, turned=not causal and looks_ahead(mask, shows=True))

    def attends_by_hand(self, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """A softmax is called that may be an attention of a sequence to itself: over the last axis of squares."""
        given = dict(zip(("input", "dim"), args, strict=False)) | dict(kwargs)
        logits, axis = given.get("input"), given.get("dim")
        if not isinstance(logits, Tensor) or logits.ndim < 3 or logits.shape[-1] != logits.shape[-2] or not is_plain(logits):
            return
        turned = axis in (-1, logits.ndim - 1) and looks_ahead(logits)
        if turned:
            self._attention(path, turned=True)
        if axis in (-1, logits.ndim - 1) and any(one.shape[1] == logits.shape[-1] for one in self._tokens):
            self._hides[path] = hides(logits) or self._hides.get(path, False)
            self._lines.setdefault(path, persons_line())

    def _attention(self, path: str, *, turned: bool) -> None:
        self._lines.setdefault(path, persons_line())
        if turned:
            self._turned.setdefault(path, self._lines[path])

    def target(self, target: Any) -> None:
        """A loss is called."""
        if isinstance(target, Tensor) and self._table is not None and (column := column_of(self._table, target)) is not None:
            settings = (
                ("column", column),
                ("steps", self._table.shape[1] if self._table.ndim == 3 else 0),
                ("rows", len(target)),
            )
            self._column = Fact("targets_column", "", persons_line(), settings)
        self._table = None
        if isinstance(target, Tensor) and not target.is_floating_point() and is_plain(target) and len(self._targets) < TABLES:
            self._targets.append(target.detach())
            self._lines.setdefault("", persons_line())

    def _pass(self) -> None:
        """A pass is over where its targets have come."""
        if self._targets:
            if len(self._tokens) == 1 and len(self._pairs) < TABLES:
                self._pairs += [(self._tokens[0], target) for target in self._targets]
            self._tokens, self._targets = [], []

    def close(self) -> Iterator[Fact]:
        """What is to be told of this step."""
        if self._column is not None:
            yield self._column
        if not any(self._hides.values()):  # one that looks back beside it: both ways are meant
            yield from (Fact("mask_turned", path, line) for path, line in self._turned.items())
        self._pass()
        if self._pairs and not self._hides and list(self._recurs.values()) == [True]:
            agreed = max(_agree(tokens, target, ahead=False) for tokens, target in self._pairs)
            if agreed >= LEAST:
                settings = (("attentions", 0), ("tokens", agreed))
                yield Fact("targets_given", next(iter(self._recurs)), self._lines.get(""), settings)
        if self._pairs and self._hides:
            for kind, hidden in (("targets_ahead", False), ("targets_given", True)):
                places = [path for path, hides_it in self._hides.items() if hides_it]
                if bool(places) is not hidden:
                    continue
                agreed = max(_agree(tokens, target, ahead=not hidden) for tokens, target in self._pairs)
                if agreed >= LEAST:
                    where = next(iter(self._hides))
                    settings = (("attentions", len(self._hides)), ("tokens", agreed))
                    yield Fact(kind, where, self._lines.get("" if hidden else where), settings)
        self.begin()


_NAMES = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal")
_ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


def column_of(table: Tensor, target: Tensor) -> int | None:
    """The column of a table, or of the last step of sequences, that holds the one target of each example.

    Numbers by being the same; two classes by being told apart alike by a column of two numbers (a label that was standardised
    with the rest), of each EACH examples and more. A table of one column is none, and a sequence of one step.

    >>> table = torch.randn(20, 3)
    >>> column_of(table, table[:, 1:2]), column_of(table, table[:, 1] + 1), column_of(table, (table[:, 1] > 0).long())
    (1, None, None)
    """
    rows = len(table) if table.ndim in (2, 3) else 0
    if rows < ROWS or target.numel() != rows or table.numel() > CELLS or table.shape[1] < 2 or not table.is_floating_point():
        return None
    last, wanted = table if table.ndim == 2 else table[:, -1], target.detach().reshape(rows, 1)
    kinds = len(torch.unique(wanted))
    if kinds > KINDS:
        held = (last == wanted).all(0)
    else:
        first = wanted == wanted[:1]
        other = last[int(first.int().argmin())]
        fewest = min(int(first.sum()), rows - int(first.sum()))
        held = torch.where(first, last == last[:1], last == other).all(0) & (last[0] != other) & (fewest >= EACH)
    return int(held.int().argmax()) if bool(held.any()) else None


def hides(mask: Any, *, shows: bool = False) -> bool:
    """Whether a mask keeps every place from seeing the next one: True hides (``shows``: True shows), or a very negative number.

    >>> later = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
    >>> hides(later), hides(~later), hides(~later, shows=True), hides(torch.zeros(3, 3)), hides(None)
    (True, False, True, False, False)
    """
    if not isinstance(mask, Tensor) or mask.ndim < 2 or mask.shape[-1] != mask.shape[-2] or not is_plain(mask):
        return False
    later = torch.diagonal(mask.detach().reshape(-1, *mask.shape[-2:])[-1], 1)
    return bool((later != shows).all() if later.dtype == torch.bool else (later <= LARGE).all())


def looks_ahead(mask: Any, *, shows: bool = False) -> bool:
    """Whether a mask hides all earlier places from every place, and none of the later ones; of three places and more.

    >>> later = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
    >>> looks_ahead(later), looks_ahead(later, shows=True), looks_ahead(later.mT), looks_ahead(torch.ones(3, 3).bool())
    (False, True, True, False)
    """
    if not isinstance(mask, Tensor) or mask.ndim < 2 or mask.shape[-1] != mask.shape[-2] or not is_plain(mask):
        return False
    last = mask.detach().reshape(-1, *mask.shape[-2:])[-1]
    hidden = last != shows if mask.dtype == torch.bool else last <= LARGE
    earlier = torch.ones_like(hidden).tril(-1)
    return len(last) >= PLACES and bool(hidden[earlier].all()) and not bool(hidden[earlier.mT].any())


def _agree(tokens: Tensor, target: Tensor, *, ahead: bool) -> int:
    """How many targets are tokens (of the next place: ``ahead``), where all are; 0 otherwise. Targets below 0 do not count."""
    for laid in (tokens, tokens.t()):
        rows, width = laid.shape
        axis = 1 if laid is tokens else 0
        length = laid.shape[axis]
        if ahead:
            wanted = laid.narrow(axis, 1, length - 1)
            if target.numel() == laid.numel():
                given = target.reshape(rows, width).narrow(axis, 0, length - 1)
            elif target.numel() == wanted.numel():
                given = target.reshape(wanted.shape)
            else:
                return 0
            stays = bool((laid.narrow(axis, 0, length - 1) == wanted).all())
        elif target.numel() == laid.numel():
            wanted, given, stays = laid, target.reshape(rows, width), False
        else:
            return 0
        counts = given >= 0
        alike = bool(((given == wanted) | ~counts).all())
        if alike and not stays and len(torch.unique(wanted[counts])) > KINDS:
            return int(counts.sum())
    return 0
