"""What theory carries along a network: the moments of a signal, those of its gradient, and how much width makes them differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, NamedTuple

from isograd.health.theory.borders import Profile, mean_of
from isograd.records.anatomy import Anatomy, Node, Parameter

Noise = Mapping[int, float]
"""Standard deviations of a log mean square, one for every independent cause of it; the total variance is the sum of squares."""

SPOTS = ("last", "first")
CAUSES = 48
"""Causes that are told apart; the smallest beyond are one."""


class Alike(NamedTuple):
    """E[x y] of one unit at two places: neighbouring positions and any two positions of one example, two examples at the same
    position and at different ones.
    """

    near: float
    far: float
    same: float
    cross: float


@dataclass(frozen=True, slots=True)
class Flow:
    """Moments of one unit's value over fresh draws of the weights: E[x^2], E[x], and E[x y] of two places (``alike``).

    ``units`` is how many units there are, ``positions`` at how many places (pixels, time steps) each of them has a value.
    ``far2`` and ``cross2`` are mean squared cosines of what differs between positions, and between examples: one over the
    number of directions it differs in. ``uneven`` is the variance of the log mean square of an example about that of the batch.
    ``ragged`` is the relative variance of a unit's variance over the batch, from unit to unit: what a batch norm divides by.
    ``peak`` is what stands in front of the activation that made it: a max pool needs it.
    """

    square: float
    mean: float
    alike: Alike
    units: float
    positions: float
    noise: Noise = field(default_factory=dict)
    peak: tuple[Node, Flow] | None = None
    far2: float = 0.0
    cross2: float = 0.0
    uneven: float = 0.0
    ragged: float = 0.0
    profile: Profile = ()

    @property
    def entries(self) -> float:
        """How many numbers an example has."""
        return self.units * self.positions

    def correlation(self, product: float) -> float:
        """The correlation that belongs to E[x y] = ``product``, in [-1, 1]."""
        variance = self.square - self.mean**2
        return max(-1.0, min(1.0, (product - self.mean**2) / variance)) if variance > 1e-12 * self.square else 1.0


@dataclass(frozen=True, slots=True)
class Back:
    """The gradient at a node's output: log of its mean square over units and positions, and how alike it is at two places.

    ``far`` and ``cross`` are correlations of the gradient of a unit at two positions, and for two examples; ``far2`` and
    ``cross2`` are the mean squared cosines of the gradients of a whole layer there, which say over how many independent
    directions the sum over positions and examples averages. ``own`` is the share of the gradient that is the signal itself
    times a number: what a squared error makes of an output; below zero what a norm
    has taken out of it already. ``spot``: the share ``alone`` of it stands at the
    "last" or the "first" position. ``tilt`` is the share of what positions have in common that an activation, right behind,
    turned along the signal, ``lumpy`` the relative variance of its energy from unit to unit, what a norm in front of it left.
    ``radial`` is its squared product with the signal beside that of an independent gradient: not 1 where an activation is
    steeper for large inputs. ``shunned``: its energy along the directions in which the examples differ most, beside an even
    spread; below 1 where batch norms divided what lies there by more.
    """

    log_square: float
    far: float = 0.0
    cross: float = 0.0
    far2: float = 0.0
    cross2: float = 0.0
    noise: Noise = field(default_factory=dict)
    spot: str = ""
    alone: float = 0.0
    own: float = 0.0
    tilt: float = 0.0
    lumpy: float = 0.0
    radial: float = 1.0
    shunned: float = 1.0
    profile: Profile = ()

    def places(self, positions: float) -> float:
        """At how many positions it stands."""
        return 1.0 + max(0.0, positions - 1.0) * (1.0 - self.alone)

    def times(self, gain: float, **changes: Any) -> Back:
        """The same gradient, its mean square ``gain`` times as large."""
        log = self.log_square + math.log(gain) if gain > 0.0 else -math.inf
        return replace(self, log_square=log, **{"tilt": 0.0, **changes})


@dataclass(slots=True)
class World:
    """What all maps read: parameters by name, how many examples the batch had, and names for causes of noise."""

    held: dict[str, Parameter]
    examples: float = 1.0
    _names: count[int] = field(default_factory=count)
    _readers: dict[int, list[Node]] = field(default_factory=dict)

    @classmethod
    def of(cls, anatomy: Anatomy, examples: float) -> World:
        """The world of an anatomy."""
        return cls({parameter.name: parameter for parameter in anatomy.parameters}, max(1.0, examples))

    def readers(self, nodes: Sequence[Node], position: int) -> list[Node]:
        """The nodes that read the one at ``position``; looked up once for all."""
        if not self._readers:
            for node in nodes:
                for source in dict.fromkeys(node.inputs):
                    self._readers.setdefault(source, []).append(node)
        return self._readers.get(position, [])

    def noisy(self, noise: Noise, variance: float) -> Noise:
        """``noise`` and one more cause of its own."""
        return {**noise, next(self._names): math.sqrt(variance)} if variance > 0.0 else noise

    def mixed(self, parts: Sequence[tuple[float, Noise]]) -> Noise:
        """The noise of a weighted sum of logs; causes that two parts have in common stay in common."""
        total: dict[int, float] = {}
        for weight, noise in parts:
            for cause, deviation in noise.items() if weight else ():
                total[cause] = total.get(cause, 0.0) + weight * deviation
        if len(total) <= CAUSES:
            return total
        ordered = sorted(total, key=lambda cause: -abs(total[cause]))
        kept = {cause: total[cause] for cause in ordered[:CAUSES]}
        kept[next(self._names)] = math.sqrt(sum(total[cause] ** 2 for cause in ordered[CAUSES:]))
        return kept

    def averaged(self, positions: float, far2: float, cross2: float, own: float = 1.0) -> float:
        r"""By what the variance of a mean over examples and positions is smaller than that of one.

        .. math:: \frac{1}{BP} + \frac{P - 1}{BP} \rho_P + \frac{B - 1}{B} \rho_B

        with ``far2``, ``cross2`` = rho the correlation of what is averaged between two places: the squared cosine of two
        vectors for the squared length that a random matrix gives them.
        """
        b, p = self.examples, max(1.0, positions)
        return (own + (p - 1.0) * far2 + (b - 1.0) * p * cross2) / (b * p)


def variance(noise: Noise) -> float:
    """Total variance of a log mean square."""
    return sum(deviation * deviation for deviation in noise.values())


def joined(parts: Sequence[Back], world: World, units: float, positions: float) -> Back:
    """The gradient where several branches meet: energies add, and what is random in one direction is not in the other.

    The product of two branches' gradients is zero on average and makes the log of their sum differ with variance
    ``4 w_1 w_2 / n``, w their shares, averaged over examples and positions.
    """
    if len(parts) == 1:
        return parts[0]
    top = max(part.log_square for part in parts)
    if top == -math.inf:
        return parts[0]
    sizes = [math.exp(part.log_square - top) for part in parts]
    total = sum(sizes)
    shares = [size / total for size in sizes]

    def mean(name: str) -> float:
        return float(sum(share * getattr(part, name) for share, part in zip(shares, parts, strict=True)))

    noise = world.mixed([(share, part.noise) for share, part in zip(shares, parts, strict=True)])
    apart = 1.0 - sum(share * share for share in shares)  # sum over pairs of 2 w_i w_j
    far2, cross2 = mean("far2"), mean("cross2")
    noise = world.noisy(noise, 2.0 * apart / max(1.0, units) * world.averaged(parts[0].places(positions), far2, cross2))
    alone = {spot: sum(w * part.alone for w, part in zip(shares, parts, strict=True) if part.spot == spot) for spot in SPOTS}
    spot = max(SPOTS, key=lambda name: alone[name])
    return Back(
        top + math.log(total),
        mean("far"),
        mean("cross"),
        far2,
        cross2,
        noise,
        spot if alone[spot] else "",
        1.0 if alone[spot] > 1.0 - 1e-9 else alone[spot],
        mean("own"),
        shunned=mean("shunned"),
        profile=mean_of([(share, part.profile) for share, part in zip(shares, parts, strict=True)]),
    )
