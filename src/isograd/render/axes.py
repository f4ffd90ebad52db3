"""Axes and points of a chart: range, round ticks, a logarithm where the range is large, thinning that keeps the spikes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isograd.render.wording import number

Point = tuple[float, float]
_MOST = 1e300
_LARGE = 50.0
"""A ratio of largest to smallest value from which a linear axis would hide the small ones."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A range with its ticks; ``log`` axes are in the logarithm to base 10 of the value."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where ``value`` lies between ``low`` (0) and ``high`` (1).

        >>> Axis(1.0, 100.0, (), log=True).place(10.0)
        0.5
        """
        if self.log:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def label(self, tick: float) -> str:
        """A tick as text, all ticks of the axis with the same number of decimals.

        >>> [Axis(0.0, 1.0, (0.5, 0.75)).label(tick) for tick in (0.5, 0.75)]
        ['0.50', '0.75']
        """
        sizes = [abs(each) for each in self.ticks if each]
        if self.log:
            short = min(sizes, default=1.0) >= 1e-3 and max(sizes, default=1.0) < 1e6
            return f"{tick:,.10g}" if short or tick == 1 else "{}e{:d}".format(*_power(tick))
        if sizes and (min(sizes) < 1e-4 or max(sizes) >= 1e7):
            return number(tick)
        decimals = max((len(f"{each:.6f}".rstrip("0").split(".")[1]) for each in self.ticks), default=0)
        return f"{tick:,.{decimals}f}".replace("-", "−")

    def holds(self, value: float) -> bool:
        """Whether ``value`` can be drawn: finite, above 0 on a logarithmic axis, and with room around it in a float."""
        return abs(value) <= _MOST and (value >= 1 / _MOST or not self.log)


def _power(tick: float) -> tuple[str, int]:
    mantissa, exponent = f"{tick:.0e}".split("e")
    return mantissa, int(exponent)


def fit(values: Iterable[float], *, log: bool | None = None, whole: bool = False) -> Axis:
    """An axis around all finite values; ``log=None`` decides by their range, ``whole`` allows integer ticks only.

    >>> fit([0.1, 0.9]).ticks
    (0.2, 0.4, 0.6, 0.8)
    >>> fit([1e-6, 1.0]).log
    True
    """
    finite = sorted(value for value in values if abs(value) <= _MOST)
    if log is None:
        log = bool(finite) and finite[0] > 0 and finite[-1] / finite[0] >= _LARGE
    if log:
        finite = [value for value in finite if value >= 1 / _MOST]
    if not finite:
        return Axis(0.0, 1.0, (0.0, 1.0))
    low, high = finite[0], finite[-1]
    if log:
        return _logarithmic(low, high)
    size = max(abs(high), abs(low))
    if high - low <= max(1e-9 * size, 1e-280):
        pad = 0.5 if whole else size / 10 if size > 1e-270 else 1.0
        low, high = low - pad, high + pad
    else:
        pad = 0.0 if whole else (high - low) * 0.05
        low, high = (max(0.0, low - pad) if low >= 0 else low - pad), high + pad
    return Axis(low, high, _round_ticks(low, high, whole))


def _round_ticks(low: float, high: float, whole: bool) -> tuple[float, ...]:
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    if whole:
        step = max(1.0, round(step))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    ticks = tuple(round(i * step, digits) for i in range(first, last + 1))
    if whole:  # layers, epochs and steps count from 1, which is no multiple of anything
        early = low == int(low) and (not ticks or ticks[0] - low >= 0.6 * step)
        ticks = ((low,) if early else ()) + tuple(tick for tick in ticks if tick == int(tick))
    return ticks


def _logarithmic(low: float, high: float) -> Axis:
    first, last = math.log10(low), math.log10(high)
    pad = max((last - first) * 0.05, 0.05)
    first, last = max(first - pad, -307.0), min(last + pad, 307.0)  # what a float can hold
    decades = range(math.ceil(first), math.floor(last) + 1)
    if len(decades) >= 2:
        every = math.ceil(len(decades) / 6)
        ticks = tuple(10.0**power for power in decades if power % every == 0)
    else:
        powers = range(math.floor(first), math.ceil(last) + 1)
        ticks = tuple(m * 10.0**p for p in powers for m in (1, 2, 5) if first <= math.log10(m) + p <= last)
    return Axis(10.0**first, 10.0**last, ticks, log=True)


def thin(points: Sequence[Point], limit: int = 400) -> tuple[Point, ...]:
    """At most ``limit`` points: the lowest and highest of every stretch, so that no spike is lost; first and last stay.

    >>> len(thin([(float(i), 0.0) for i in range(10_000)])) <= 400
    True
    """
    if len(points) <= limit:
        return tuple(points)
    inner = points[1:-1]
    buckets = max(1, (limit - 2) // 2)
    kept: list[Point] = [points[0]]
    for i in range(buckets):
        stretch = inner[i * len(inner) // buckets : (i + 1) * len(inner) // buckets]
        odd = next((point for point in stretch if not math.isfinite(point[1])), None)
        low, high = min(stretch, key=_height), max(stretch, key=_height)
        kept.extend(sorted({low, high} if odd is None else {odd, high}, key=lambda point: point[0]))
    return (*kept, points[-1])


def _height(point: Point) -> float:
    return point[1] if math.isfinite(point[1]) else 0.0


def evenly(amount: int, limit: int) -> tuple[int, ...]:
    """At most ``limit`` of the positions 0 .. amount - 1, evenly spread, with the first and the last.

    >>> evenly(10, 4)
    (0, 3, 6, 9)
    """
    if amount <= limit:
        return tuple(range(amount))
    return tuple(round(i * (amount - 1) / (limit - 1)) for i in range(limit))
