"""What a loss of the program's own makes of answers that ignore the input, and of answers that do what it asks of each row.

A loss that nobody knows has no constant answer to be held against; but the way from the outputs to it can be gone again
(``tape``). Index letters: N rows, o_n the outputs of row n, m their mean over the rows.

    constant   L(m, ..., m): what answers get that are the same for every row, and so need no input. The best constant gets no
               more, and where the loss is convex in the outputs (Jensen) outputs that vary for nothing get no less
    best       the least L(m - t (d_n - mean d)) over step lengths t > 0, where d_n is the gradient of row n at m: rows that
               follow what is asked of them, and of nobody else. Minus infinity where no end is in sight (the objective of a
               policy, a critic: no answer is right there). Where the loss asks the same of all rows (a discriminator's half
               batch, a density) d_n is the same for all, and it is ``constant``: nothing can be learned row by row
    agreement  the deviations o_n - m with what is asked of them, -(d_n - mean d): for a squared error outputs and targets

For a squared error and a cross-entropy ``best`` is 0 or near it, and (constant - value) / (constant - best) the usual skill. A
line search that stops short makes ``best`` too high, and so the skill too good: an error on the side of silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import grad

from isograd.frameworks.torch.sums import pairs_of_all
from isograd.frameworks.torch.tape import Tape
from isograd.records.batch import Replay
from isograd.records.moments import Pairs

ROWS = 8
"""Rows below which their mean still knows too much of each."""
FIRST, GROWTH, LENGTHS = 3e-2, 5.0, 11
"""The search begins at three hundredths of the outputs' own size, and grows by this factor so often."""
ENDS = 0.02
"""Part of what was gained in all below which two further lengths gained nothing, and the end is in sight."""
SAME = 1e-6
"""Deviation of gradients, relative to their size, below which rows are asked for the same: rounding of float32."""
TRUE = 1e-3
"""Relative difference up to which a loss computed again is the one that was: half precision."""

Loss = Callable[[Sequence[Tensor]], Tensor]
"""What answers in the place of the outputs get."""


def replayed(tape: Tape, root: Tensor, source: str | None) -> Replay | None:
    """What another answer would have got in place of the outputs on ``tape``; nothing where this cannot be said.

    Costs up to twenty times the loss itself, without the model. Draws nothing, and leaves no graph.
    """
    places = tape.answers(root)
    outputs = [tape.outputs[place].detach() for place in places]
    if not outputs or any(not one.ndim or rows_of(one) < ROWS for one in outputs):
        return None
    state = torch.get_rng_state()
    try:
        return _measured(lambda answers: tape.again(root, dict(zip(places, answers, strict=True))), outputs, root, source)
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError):
        return None  # a function that does not take what it took before: the loss keeps something from call to call
    finally:
        torch.set_rng_state(state)


def rows_of(output: Tensor) -> int:
    """How many rows an output has: examples, or places of a sequence, whichever of its first two axes is which."""
    return output.shape[0] * output.shape[1] if output.ndim == 3 else output.shape[0]


def mean_of(output: Tensor) -> Tensor:
    """The mean over the rows, in the shape of the output."""
    return output.mean((0, 1) if output.ndim == 3 else 0, keepdim=True).expand_as(output)


def _measured(loss_of: Loss, outputs: Sequence[Tensor], root: Tensor, source: str | None) -> Replay | None:
    value = float(root.detach())
    again = float(loss_of(outputs))
    if not math.isfinite(value) or abs(again - value) > TRUE * abs(value) + 1e-9:
        return None
    means = [mean_of(one).clone().requires_grad_() for one in outputs]
    with torch.enable_grad():
        loss = loss_of(means)
        asked: tuple[Tensor | None, ...] = grad(loss, means, allow_unused=True)
    constant = float(loss.detach())
    given = [torch.zeros_like(one) if found is None else found for one, found in zip(means, asked, strict=True)]
    wanted = [mean_of(found) - found for found in given]
    if not math.isfinite(constant) or not all(bool(one.isfinite().all()) for one in wanted):
        return None
    centres = [one.detach() for one in means]
    away = [one - centre for one, centre in zip(outputs, centres, strict=True)]
    if _norm(wanted) <= SAME * _norm(given):
        best = constant
    else:
        lengths = max(_norm(away), 0.1 * _norm(centres), 1e-3) / _norm(wanted)
        best = _least(lambda t: _reached(loss_of, centres, wanted, t * lengths), constant)
    agreement = sum((pair for pair in pairs_of_all(away, wanted) if pair is not None), Pairs())
    rows = min(rows_of(one) for one in outputs)
    size = _norm(outputs)
    spread = _norm(away) / size if size > 0.0 else 0.0
    return Replay(value, constant, best, rows, agreement, spread, source)


def _reached(loss_of: Loss, centres: Sequence[Tensor], wanted: Sequence[Tensor], t: float) -> float:
    return float(loss_of([centre + t * way for centre, way in zip(centres, wanted, strict=True)]))


def _least(at: Callable[[float], float], start: float) -> float:
    """The least value along a way that begins at ``start``; minus infinity where it falls for ever.

    >>> round(_least(lambda t: (1.0 - t) ** 2, 1.0), 6), _least(lambda t: -t, 0.0)
    (0.0, -inf)
    """
    found = [(0.0, start)]
    for power in range(LENGTHS):
        length = FIRST * GROWTH**power
        found.append((length, at(length)))
        least = min((value for _, value in found if math.isfinite(value)), default=start)
        before = min((value for _, value in found[:-2] if math.isfinite(value)), default=start)
        if least < start and before - least <= ENDS * (start - least):
            break
    else:
        if least < start and found[-1][1] == least:
            return -math.inf
    place = min(range(len(found)), key=lambda number: found[number][1] if math.isfinite(found[number][1]) else math.inf)
    if 0 < place < len(found) - 1:
        vertex = _vertex(*found[place - 1 : place + 2])
        least = min(least, at(vertex)) if vertex is not None else least
    return least


def _vertex(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> float | None:
    """Where the parabola through three points has its least value."""
    (a, x), (b, y), (c, z) = left, middle, right
    up, down = (b - a) * (y - z), (b - c) * (y - x)
    if up == down or not math.isfinite(z):
        return None
    return b - 0.5 * ((b - a) * up - (b - c) * down) / (up - down)


def _norm(parts: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(one.double().square().sum()) for one in parts))
