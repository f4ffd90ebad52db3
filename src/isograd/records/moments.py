"""Leave a tensor behind as a few sums: ``Moments``, ``Pairs``, ``Units``, ``Gram``, merged with ``+``.

All four are commutative monoids. Counts and extremes merge exactly; sums merge to within a few units in the last place of
the sum of magnitudes. Sums are kept in units of a power of two taken from the largest magnitude, so that the squares of
1e-200 do not underflow and those of 1e200 do not overflow: scaling by a power of two is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


def exponent_of(largest: float) -> int:
    """The power of two just above ``largest``: ``2**(e-1) <= largest < 2**e``; 0 for 0.

    >>> exponent_of(1.0), exponent_of(0.75), exponent_of(0.0)
    (1, 0, 0)
    """
    return math.frexp(largest)[1] if largest else 0


def _natural(scaled: float, exponent: int) -> float:
    try:
        return math.ldexp(scaled, exponent)
    except OverflowError:
        return math.copysign(math.inf, scaled)


@dataclass(frozen=True, slots=True)
class Moments:
    """What is kept of a tensor: count, sum, sum of squares, zeros, largest magnitude and non-finite entries.

    ``count``, ``scaled_total``, ``scaled_squares``, ``largest`` and ``zeros`` speak of the finite entries only; NaN and
    infinite entries are counted and never spread. With ``e = exponent_of(largest)``, ``scaled_total`` is the sum in units of
    ``2**e`` and ``scaled_squares`` the sum of squares in units of ``4**e``.

    >>> m = Moments.of([3.0, 4.0]) + Moments.of([0.0, float("nan")])
    >>> m.count, m.total, m.squares, m.zeros, m.nans, m.largest
    (3, 7.0, 25.0, 1, 1, 4.0)
    """

    count: int = 0
    scaled_total: float = 0.0
    scaled_squares: float = 0.0
    largest: float = 0.0
    zeros: int = 0
    nans: int = 0
    infs: int = 0

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The obvious way, with exactly rounded sums; every door has a fast one that must agree."""
        everything = [float(value) for value in values]
        finite = [value for value in everything if math.isfinite(value)]
        largest = max(map(abs, finite), default=0.0)
        e = exponent_of(largest)
        scaled = [math.ldexp(value, -e) for value in finite]
        return cls(
            count=len(finite),
            scaled_total=math.fsum(scaled),
            scaled_squares=math.fsum(value * value for value in scaled),
            largest=largest,
            zeros=sum(value == 0.0 for value in finite),
            nans=sum(math.isnan(value) for value in everything),
            infs=sum(math.isinf(value) for value in everything),
        )

    @classmethod
    def from_sums(
        cls,
        count: int,
        total: float,
        squares: float,
        largest: float,
        *,
        zeros: int = 0,
        nans: int = 0,
        infs: int = 0,
        exponent: int = 0,
    ) -> Self:
        """From sums that a door took of entries divided by ``2**exponent``; ``largest`` is in natural units."""
        shift = exponent - exponent_of(largest)
        return cls(count, math.ldexp(total, shift), math.ldexp(squares, 2 * shift), largest, zeros, nans, infs)

    def __add__(self, other: Moments) -> Moments:
        largest = max(self.largest, other.largest)
        e = exponent_of(largest)
        a, b = exponent_of(self.largest) - e, exponent_of(other.largest) - e
        return Moments(
            count=self.count + other.count,
            scaled_total=math.ldexp(self.scaled_total, a) + math.ldexp(other.scaled_total, b),
            scaled_squares=math.ldexp(self.scaled_squares, 2 * a) + math.ldexp(other.scaled_squares, 2 * b),
            largest=largest,
            zeros=self.zeros + other.zeros,
            nans=self.nans + other.nans,
            infs=self.infs + other.infs,
        )

    @property
    def entries(self) -> int:
        """All entries, the non-finite included."""
        return self.count + self.nans + self.infs

    @property
    def nonfinite(self) -> int:
        """NaN and infinite entries."""
        return self.nans + self.infs

    @property
    def total(self) -> float:
        """Sum of the finite entries."""
        return _natural(self.scaled_total, exponent_of(self.largest))

    @property
    def squares(self) -> float:
        """Sum of squares of the finite entries; may under- or overflow where ``rms`` and ``norm`` do not."""
        return _natural(self.scaled_squares, 2 * exponent_of(self.largest))

    @property
    def mean(self) -> float:
        """Mean of the finite entries; NaN where there is none."""
        return _natural(self.scaled_total / self.count, exponent_of(self.largest)) if self.count else math.nan

    @property
    def rms(self) -> float:
        """Root mean square of the finite entries; NaN where there is none."""
        if not self.count:
            return math.nan
        return _natural(math.sqrt(self.scaled_squares / self.count), exponent_of(self.largest))

    @property
    def norm(self) -> float:
        """Euclidean norm of the finite entries; 0 where there is none."""
        return _natural(math.sqrt(self.scaled_squares), exponent_of(self.largest))

    @property
    def std(self) -> float:
        """Population standard deviation (divided by N) of the finite entries; NaN where there is none."""
        if not self.count:
            return math.nan
        mean = self.scaled_total / self.count
        variance = max(0.0, self.scaled_squares / self.count - mean * mean)
        return _natural(math.sqrt(variance), exponent_of(self.largest))

    @property
    def zero_fraction(self) -> float:
        """Share of the finite entries that are exactly zero; NaN where there is none."""
        return self.zeros / self.count if self.count else math.nan


@dataclass(frozen=True, slots=True)
class Pairs:
    """What is kept of two tensors of one shape: their dot product and both sums of squares, over the same entries.

    Entries where either side is not finite are left out and counted in ``skipped``. Scaled like ``Moments``: ``scaled_left``
    in units of ``4**e(left_largest)``, ``scaled_dot`` in units of ``2**(e(left_largest) + e(right_largest))``.

    >>> p = Pairs.of([1.0, 0.0], [2.0, 2.0])
    >>> p.dot, round(p.cosine, 4), round(p.ratio, 4)
    (2.0, 0.7071, 0.3536)
    """

    count: int = 0
    scaled_dot: float = 0.0
    scaled_left: float = 0.0
    scaled_right: float = 0.0
    left_largest: float = 0.0
    right_largest: float = 0.0
    skipped: int = 0

    @classmethod
    def of(cls, left: Iterable[float], right: Iterable[float]) -> Self:
        """The obvious way, with exactly rounded sums."""
        pairs = [(float(a), float(b)) for a, b in zip(left, right, strict=True)]
        finite = [(a, b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
        left_largest = max((abs(a) for a, _ in finite), default=0.0)
        right_largest = max((abs(b) for _, b in finite), default=0.0)
        i, j = exponent_of(left_largest), exponent_of(right_largest)
        scaled = [(math.ldexp(a, -i), math.ldexp(b, -j)) for a, b in finite]
        return cls(
            count=len(finite),
            scaled_dot=math.fsum(a * b for a, b in scaled),
            scaled_left=math.fsum(a * a for a, _ in scaled),
            scaled_right=math.fsum(b * b for _, b in scaled),
            left_largest=left_largest,
            right_largest=right_largest,
            skipped=len(pairs) - len(finite),
        )

    @classmethod
    def from_sums(
        cls,
        count: int,
        dot: float,
        left: float,
        right: float,
        left_largest: float,
        right_largest: float,
        *,
        skipped: int = 0,
    ) -> Self:
        """From plain sums that neither under- nor overflowed: dot product and both sums of squares."""
        i, j = -exponent_of(left_largest), -exponent_of(right_largest)
        return cls(
            count,
            math.ldexp(dot, i + j),
            math.ldexp(left, 2 * i),
            math.ldexp(right, 2 * j),
            left_largest,
            right_largest,
            skipped,
        )

    def __add__(self, other: Pairs) -> Pairs:
        left_largest = max(self.left_largest, other.left_largest)
        right_largest = max(self.right_largest, other.right_largest)
        i, j = exponent_of(left_largest), exponent_of(right_largest)
        ai, bi = exponent_of(self.left_largest) - i, exponent_of(other.left_largest) - i
        aj, bj = exponent_of(self.right_largest) - j, exponent_of(other.right_largest) - j
        return Pairs(
            count=self.count + other.count,
            scaled_dot=math.ldexp(self.scaled_dot, ai + aj) + math.ldexp(other.scaled_dot, bi + bj),
            scaled_left=math.ldexp(self.scaled_left, 2 * ai) + math.ldexp(other.scaled_left, 2 * bi),
            scaled_right=math.ldexp(self.scaled_right, 2 * aj) + math.ldexp(other.scaled_right, 2 * bj),
            left_largest=left_largest,
            right_largest=right_largest,
            skipped=self.skipped + other.skipped,
        )

    @property
    def dot(self) -> float:
        """Sum of products."""
        return _natural(self.scaled_dot, exponent_of(self.left_largest) + exponent_of(self.right_largest))

    @property
    def cosine(self) -> float:
        """Cosine of the angle between both, in [-1, 1]; NaN where either is zero."""
        if not (self.scaled_left and self.scaled_right):
            return math.nan
        return max(-1.0, min(1.0, self.scaled_dot / math.sqrt(self.scaled_left) / math.sqrt(self.scaled_right)))

    @property
    def ratio(self) -> float:
        """Norm of the left over norm of the right; infinite where only the right is zero, NaN where both are."""
        if not self.scaled_right:
            return math.inf if self.scaled_left else math.nan
        shift = exponent_of(self.left_largest) - exponent_of(self.right_largest)
        return _natural(math.sqrt(self.scaled_left / self.scaled_right), shift)


@dataclass(frozen=True, slots=True)
class Units:
    """How often each unit of a layer fired (was above zero) and was pinned (sat on a flat part), out of ``seen`` looks.

    A look is one example, or one example at one position for a channel of a convolution.

    >>> u = Units(4, (4, 0), (0, 1)) + Units(4, (3, 0), (0, 0))
    >>> u.dead, u.seen, u.pinned
    ((1,), 8, (0, 1))
    """

    seen: int = 0
    fired: tuple[int, ...] = ()
    pinned: tuple[int, ...] = ()

    def __add__(self, other: Units) -> Units:
        if not self.fired or not other.fired:
            kept = self if self.fired else other
            return Units(self.seen + other.seen, kept.fired, kept.pinned)
        return Units(
            self.seen + other.seen,
            tuple(a + b for a, b in zip(self.fired, other.fired, strict=True)),
            tuple(a + b for a, b in zip(self.pinned, other.pinned, strict=True)),
        )

    @property
    def dead(self) -> tuple[int, ...]:
        """The units that never fired."""
        return tuple(unit for unit, fired in enumerate(self.fired) if fired == 0) if self.seen else ()

    @property
    def stuck(self) -> tuple[int, ...]:
        """The units that were pinned at every look."""
        return tuple(unit for unit, pinned in enumerate(self.pinned) if pinned == self.seen) if self.seen else ()


@dataclass(frozen=True, slots=True)
class Gram:
    """Inner products of the outputs of at most 64 examples in one layer, row by row; shards of the units merge with ``+``.

    Where a layer puts out a sequence of positions an "example" is one position, and ``positions`` of each sequence stand side
    by side: example ``i * positions + j`` is position ``j`` of sequence ``i``.

    >>> (Gram(2, (1.0, 0.5, 0.5, 1.0)) + Gram(2, (1.0, 0.0, 0.0, 1.0))).products
    (2.0, 0.5, 0.5, 2.0)
    """

    examples: int = 0
    products: tuple[float, ...] = ()
    positions: int = 1

    def __post_init__(self) -> None:
        if self.examples > 64 or len(self.products) != self.examples**2:
            raise ValueError(f"a Gram holds n*n products of n <= 64 examples, not {len(self.products)}")
        if self.positions < 1 or self.examples % self.positions:
            raise ValueError(f"{self.examples} examples do not come in groups of {self.positions}")

    def __add__(self, other: Gram) -> Gram:
        if not self.examples or not other.examples:
            return self if self.examples else other
        return Gram(self.examples, tuple(a + b for a, b in zip(self.products, other.products, strict=True)), self.positions)
