"""Present -> harm: what a program's value would cost a small healthy network of its family, from a table made offline."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from isograd.health.harm_table import DEPTHS, NUMBERS, WIDTHS, WORDS
from isograd.health.present import FLAT, Present
from isograd.records.edit import Edit

NEAREST = "dense"
"""The family that another borrows from what it has not tabulated itself."""
FADES, GONE = math.log(100.0), math.log(1e6)
"""A gradient that theory foretells to fade by so many nats over the layers harms a network that only differs in being healthy:
not below a hundredfold, which normal rates bridge; wholly from a millionfold, the last digit of float32 beside a weight. The
references are too shallow to show it; residual and normalised networks, which do not fade, have no such harm."""
ALIKE = {"hardsigmoid": "sigmoid", "hardtanh": "tanh", "silu": "gelu", "mish": "gelu", "softmin": "softmax"}
ALIKE |= {"softshrink": "hardshrink", "softsign": "tanh", "hardswish": "gelu"}
"""Activations that were not tabulated, and the tabulated one of nearly the same curve."""
USUAL = ("relu", "leaky_relu", "prelu", "rrelu", "relu6", "elu", "celu", "selu")
"""Activations with which any network learns: with a slope of 1 above zero, as ReLU has it."""
LEAST = 0.05
"""Harm below counts as none: what seeds alone do to a reference."""


@dataclass(frozen=True, slots=True)
class Harm:
    """Lost skill of the reference, in [0, 1.2]; ``value`` None: it is not known, and the test is one-sided.

    ``outside``: the network is deeper, shallower or wider than what was tabulated, or does what none of that does, so that the
    number is borrowed.
    """

    value: float | None
    outside: bool = False


def harm_of(edit: Edit, present: Present) -> Harm:
    """What the value that ``edit`` replaces costs a healthy reference."""
    known = _known(edit, present)
    if known is None:
        return Harm(None)
    outside = not DEPTHS[0] <= present.depth <= DEPTHS[1] or present.width > WIDTHS[1] or bool(present.word("foreign"))
    return Harm(max(0.0, known) if known >= LEAST else 0.0, outside)


def _known(edit: Edit, present: Present) -> float | None:
    loop, kind = present.loop, edit.kind
    if kind == "clear_gradients":
        return _word("clears", "early" if loop.clears_early else "never" if not loop.clears else "rarely", present)
    if kind == "shuffle" and present.number("mixing") is None:
        return 0.0  # another order is another draw of luck: nothing says that this one is not mixed
    if kind == "nonlinearity":  # up to the problem: the references' are nearly linear (dense -.03, regression .04 in 80 steps)
        return None
    if kind == "activation":
        before = edit.before if isinstance(edit.before, str) else ""
        curve, faded = _word(kind, "sign" if before in FLAT else ALIKE.get(before, before), present), _faded(present)
        curve = 0.0 if curve is None and before in USUAL else curve
        return _most([curve, faded]) if curve is not None or faded else None  # that no gradient fades acquits no curve
    if kind in ("train_mode", "fresh_batches", "parameters", "unfreeze", "keep_graph", "loss", "last", "shuffle"):
        before = edit.before if isinstance(edit.before, str) else ""
        return _word(kind, before, present)
    if kind == "keep_weights":
        return _number(kind, float(loop.redraws), present)
    if kind == "constant_rate":
        return _number(kind, loop.drift, present)
    if kind == "initialisation" and edit.where:  # of one layer: no more than half of what all layers would do
        odd = present.number("odd_gain")
        return None if odd is None else min(0.5, _number("gain", odd, present) or 0.0)
    if kind == "initialisation":
        gain, bias = present.number("gain"), present.number("bias")
        parts = [
            None if gain is None else _number("gain", gain, present),
            None if bias is None else _number("bias", bias, present),
            _faded(present),
        ]
        return _most(parts)
    if kind in ("input_scale", "target_scale"):
        names = (kind, kind.replace("scale", "shift"), kind.replace("scale", "ratio"), kind.replace("scale", "nonfinite"))
        return _most([None if (x := present.number(name)) is None else _number(name, x, present) for name in names])
    if kind == "width":
        return _number("width", present.width, present)
    value = present.number(kind)
    if value is not None and kind == "learning_rate":
        value *= present.number("shrinks") or 1.0
    return None if value is None else _number(kind, value, present)


def _faded(present: Present) -> float | None:
    """What theory says of the depth at which the present weights and activations stand."""
    fading = present.number("fading")
    return None if fading is None else min(1.0, max(0.0, (fading - FADES) / (GONE - FADES)))


def _number(name: str, value: float, present: Present) -> float | None:
    """A step of plain descent grows with the scale of inputs and targets: above 1 it harms more than an adaptive one.

    Below 1 it is only short, as at a small rate, which is blamed there: what the scale does by itself the adaptive one shows.
    """
    optimizer = present.word("decay") if name == "weight_decay" else present.word("optimizer")
    if name in ("input_scale", "target_scale") and value < 1.0:
        optimizer = "adaptive"
    table = NUMBERS.get(f"{name}/{optimizer}") or NUMBERS.get(name)
    if table is None:
        return None
    row = table.get(present.family) or table.get(NEAREST) or table.get("regression")
    return None if row is None else interpolated(row, value)


def _word(name: str, word: str, present: Present) -> float | None:
    table = WORDS.get(name, {})
    known = table.get(word, table.get("*"))
    return None if known is None else known.get(present.family, known.get(NEAREST, known.get("regression")))


def _most(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return max(known) if known else None


def interpolated(row: Sequence[tuple[float, float]], value: float) -> float:
    """Between two tabulated values along the logarithm (from zero on along the value), at the ends the end's.

    >>> interpolated([(0.1, 0.0), (10.0, 1.0)], 1.0)
    0.5
    """
    places = [place for place, _ in row]
    at = bisect_left(places, value)
    if at == 0:
        return row[0][1]
    if at == len(row):
        return row[-1][1]
    (low, under), (high, over) = row[at - 1], row[at]
    if value == high:
        return over
    if low <= 0.0:
        return under + (over - under) * value / high
    share = math.log(value / low) / math.log(high / low)
    return under + share * (over - under)
