"""How sequences reach recurrent and attention layers in a looked-at step: which axis is time, what state they begin from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isograd.frameworks.torch.leaks import Leaks
from isograd.frameworks.torch.losses import is_plain
from isograd.frameworks.torch.places import tensors_in
from isograd.records.fact import Fact

_READERS = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
TABLES = 4
"""Embeddings whose padding is remembered in a step at most."""
HIDDEN = 0.8
"""Share of the tokens that a mask hides, beyond which it is the wrong way round; with one of five left the rest still is."""
ENDS = 0.5
"""Share of the steps that is padding at the end of the median sequence, from which on the end says little of what was read."""
OUT = -1e4
"""A score that leaves nothing in a softmax: what masks are filled with, -1e9 or minus infinity, and -1e4 in half precision."""
HEAD = 64
"""Entries of a state that are kept to know it again."""


@dataclass
class Sequences:
    """What is seen of the sequences of one step, and the states that the last one left."""

    axes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Length of the time axis and of the batch axis as the layer takes them."""
    targets: set[tuple[int, ...]] = field(default_factory=set)
    carried: dict[str, bool] = field(default_factory=dict)
    inverted: set[str] = field(default_factory=set)
    """Attentions that were kept from all but the padding."""
    padded: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Steps of padding at the end of the median sequence that a recurrent layer read, and all steps."""
    leaks: Leaks = field(default_factory=Leaks)
    _padding: list[Tensor] = field(default_factory=list)
    _left: dict[str, Tensor] = field(default_factory=dict)
    _ends: dict[str, Tensor] = field(default_factory=dict)
    _begun: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """A new step."""
        self._left, self._ends = self._ends, {}
        for kept in (self.axes, self.targets, self.carried, self._begun, self.inverted, self.padded, self._padding):
            kept.clear()
        self.leaks.begin()

    def forget(self) -> None:
        """Let go of the states."""
        self._left, self._ends = {}, {}
        self.leaks.begin()
        self._padding.clear()

    def leaves(self, module: nn.Module, path: str, arguments: Any, output: Any) -> None:
        """A leaf module has run; ``arguments`` are its positional and keyword arguments."""
        if isinstance(module, nn.Embedding):
            tokens = next(tensors_in(arguments), None)
            self._tokens(module, tokens)
            self.leaks.looked_up(tokens)
        elif isinstance(module, nn.Softmax):
            self.softened(path, tuple(tensors_in(arguments))[:1], {"dim": module.dim})
        if not isinstance(module, _READERS):
            return
        recurrent = not isinstance(module, nn.MultiheadAttention)
        args, kwargs = arguments
        first = args[0] if args else kwargs.get("input", kwargs.get("query"))
        if isinstance(first, Tensor) and first.ndim == 3 and not isinstance(module, nn.RNNCellBase):
            a, b = first.shape[:2]
            self.axes[path] = (b, a) if module.batch_first else (a, b)
        if isinstance(module, nn.MultiheadAttention):
            self.leaks.attends(path, module, args, kwargs)
            masked = args[3] if len(args) > 3 else kwargs.get("key_padding_mask")
            if isinstance(masked, Tensor) and is_plain(masked) and inverted(masked, self._padding):
                self.inverted.add(path)
        if isinstance(module, nn.RNNBase):
            ended = padded_end(first, self._padding, batch_first=module.batch_first) if isinstance(first, Tensor) else 0
            if ended:
                self.padded[path] = ended, self.axes[path][0]
            self.leaks.recurs(path, onward=not module.bidirectional)
        if recurrent:
            self._state(path, args[1] if len(args) > 1 else kwargs.get("hx"), output, isinstance(module, nn.RNNBase))

    def softened(self, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """A softmax is called, which may be an attention by hand over the tokens."""
        self.leaks.attends_by_hand(path, args, kwargs)
        given = dict(zip(("input", "dim"), args, strict=False)) | dict(kwargs)
        scores, axis = given.get("input"), given.get("dim")
        if not isinstance(scores, Tensor) or scores.ndim < 2 or axis not in (-1, scores.ndim - 1) or not is_plain(scores):
            return
        if any(one.shape == (len(scores), scores.shape[-1]) for one in self._padding):
            masked = (scores.detach() <= OUT).reshape(len(scores), -1, scores.shape[-1]).all(1)
            if inverted(masked, self._padding):
                self.inverted.add(path)

    def target(self, args: Any, kwargs: dict[str, Any]) -> None:
        """A loss is called."""
        target = args[1] if len(args) > 1 else kwargs.get("target")
        if isinstance(target, Tensor):
            self.targets.add(tuple(target.shape))
            self.leaks.target(target)

    def close(self) -> Iterator[Fact]:
        """What is to be told of this step."""
        self._padding.clear()
        yield from self.leaks.close()
        for path in sorted(self.inverted):
            yield Fact("mask_inverted", path)
        for path, (steps, of) in self.padded.items():
            yield Fact("padded_ends", path, settings=(("steps", steps), ("of", of)))
        for path, graph in self.carried.items():
            yield Fact("state_carried", path, settings=(("graph", graph),))
        for path, (time, batch) in self.axes.items():
            for shape in self.targets:
                # One target an example, as many as the layer takes for time steps, and not a target for each of both.
                lengths = shape[:1] == (time,) and (len(shape) == 1 or shape[1] != batch)
                if lengths and time != batch and batch > 1:
                    yield Fact("axes_swapped", path, settings=(("batch", time), ("time", batch)))
                    break

    def _tokens(self, module: nn.Embedding, tokens: Tensor | None) -> None:
        """Where a batch of token numbers is padding: the embedding's padding index, or zeros that only stand at the end."""
        if (
            tokens is None
            or tokens.ndim != 2
            or tokens.is_floating_point()
            or len(self._padding) >= TABLES
            or not is_plain(tokens)
        ):
            return
        padding = tokens == (0 if module.padding_idx is None else module.padding_idx)
        if module.padding_idx is not None or bool((padding[:, 1:] | ~padding[:, :-1]).all()):
            self._padding.append(padding.detach())

    def _state(self, path: str, given: Any, output: Any, whole: bool) -> None:
        if path not in self._begun:
            self._begun.add(path)
            state, left = next(tensors_in(given), None), self._left.get(path)
            if state is not None and left is not None:
                head = _head(state)
                if head.shape == left.shape and bool(torch.equal(head, left)) and bool((head != 0).any()):
                    self.carried[path] = state.requires_grad and state.grad_fn is not None
        end = next(tensors_in(output[1] if whole else output), None)
        if end is not None:
            self._ends[path] = _head(end).clone()


def inverted(masked: Tensor, paddings: Sequence[Tensor]) -> bool:
    """Whether a mask of keys hides none of the padding, and ``HIDDEN`` of all the rest; True or minus infinity hides.

    A token that is left over in every example (the first, the last) keeps a softmax over nothing from giving NaN.

    >>> padding = torch.tensor([[False, False, True], [False, True, True]])
    >>> inverted(~padding, [padding]), inverted(padding, [padding]), inverted(torch.zeros(2, 3), [padding])
    (True, False, False)
    """
    hidden = masked.detach() if masked.dtype == torch.bool else torch.isneginf(masked.detach())
    there = [padding for padding in paddings if padding.shape == hidden.shape and bool(padding.any())]
    return any(
        not bool((hidden & padding).any()) and int(hidden.sum()) >= HIDDEN * int((~padding).sum())
        for padding in there
        if not bool(padding.all())
    )


def padded_end(given: Tensor, paddings: Sequence[Tensor], *, batch_first: bool) -> int:
    """Steps of padding at the end of the median sequence that a recurrent layer reads, where they are ENDS of all; else 0.

    >>> padding = torch.tensor([[False, True, True, True], [False, False, False, True], [False, False, True, True]])
    >>> [padded_end(torch.ones(3, steps, 8), [padding], batch_first=True) for steps in (4, 5)]
    [2, 0]
    """
    if given.ndim != 3:
        return 0
    shape = given.shape[:2] if batch_first else given.shape[1::-1]
    for padding in paddings:
        if padding.shape == shape:
            steps = int(padding.flip(1).cumprod(1).sum(1).median())
            return steps if steps >= ENDS * shape[1] else 0
    return 0


def _head(state: Tensor) -> Tensor:
    return state.detach().reshape(-1)[:HEAD]
