r"""The probability that a training fails, from a handful of signs, and one of three answers.

.. math:: \log\frac{p}{1-p} = \log\frac{\pi}{1-\pi} + c + \sum_s f_s(x_s)

with the assumed base rate :math:`\pi` and, for each sign, a function of straight pieces whose mean over the grounds is zero. A
sign that cannot be told takes nothing and gives nothing. "Fails" means: ends below 0.75 of the skill that a good setting of the
same length reaches on these data. The pieces were fitted by ``benchmarks/fit_risk.py`` on random configurations of dense,
convolutional, recurrent and attention networks; ``risk_fitted.py`` holds them.

Sources: hinge functions: Friedman 1991, Multivariate adaptive regression splines, Ann. Statist. 19; shift of the base rate:
King & Zeng 2001, Logistic regression in rare events data, eq. 7 (prior correction).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from isograd.errors import RequestError
from isograd.health.risk_fitted import FITTED
from isograd.health.risk_words import said
from isograd.records.forecast import Answer, Basis, Forecast, Reason

BASE_RATE = 0.5
"""Share of trainings that is taken to fail where nobody says otherwise: even odds."""
FAILS, TRAINS = 0.98, 0.05
"""Above the first the answer is "will fail", at or below the second "will train"."""
TAILS: Mapping[str, tuple[float, float]] = {
    "step": (0.03, 0.99),
    "probe": (0.04, 0.985),
    "look 2 %": (0.02, 0.99),
    "look 12 %": (0.02, 0.99),
    "look 25 %": (0.01, 0.99),
}
"""The least and the most that is ever told at even odds. Of 810 runs left out of the fit, those given 0.01 or less with the
thin probe fail in 0.044 all the same (late collapses, answers by heart), and those given 0.99 or more in 0.984; at 12 % of the
run 0.021 and 0.990 (dev/LOG.md, 2026-11-23). Further out the sum of the pieces says nothing more."""
LOOKS = (0.02, 0.125, 0.25)
"""Shares of an announced run at which a watch looks again."""
TOLD = 4
"""Reasons that are told."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """A function of straight pieces: its values at some knots, the same beyond the outermost.

    >>> Pieces((0.0, 1.0), (2.0, 4.0))(0.5), Pieces((0.0, 1.0), (2.0, 4.0))(9.0)
    (3.0, 4.0)
    """

    knots: tuple[float, ...]
    values: tuple[float, ...]

    def __call__(self, x: float) -> float:
        """The value at ``x``."""
        if x <= self.knots[0]:
            return self.values[0]
        for (a, b), (low, high) in zip(
            zip(self.knots, self.knots[1:], strict=False), zip(self.values, self.values[1:], strict=False), strict=True
        ):
            if x <= b:
                return low + (high - low) * (x - a) / (b - a)
        return self.values[-1]


def contributions(signs: Mapping[str, float], basis: Basis) -> dict[str, float]:
    """How far each sign that is known moves the log odds of failure."""
    _, pieces = FITTED[_fitted(signs, basis)]
    return {name: Pieces(*pieces[name])(signs[name]) for name in pieces if not math.isnan(signs.get(name, math.nan))}


def probability(signs: Mapping[str, float], basis: Basis, base_rate: float = BASE_RATE) -> float:
    """The calibrated probability of failure.

    Range: (0, 1); ``base_rate`` where no sign is known. Raises ``RequestError`` for a base rate outside (0, 1).

    >>> probability({}, "step", 0.3)
    0.3
    """
    if not 0.0 < base_rate < 1.0:
        raise RequestError(f"base_rate is a share between 0 and 1, not {base_rate!r}", remedy="base_rate=0.5: even odds")
    found = contributions(signs, basis)
    if not found:
        return base_rate
    intercept, _ = FITTED[_fitted(signs, basis)]
    least, most = (math.log(end / (1.0 - end)) for end in TAILS[basis])
    odds = max(least, min(most, intercept + sum(found.values()))) + math.log(base_rate / (1.0 - base_rate))
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, odds))))


def _fitted(signs: Mapping[str, float], basis: Basis) -> str:
    """The pieces for what is known: a run whose loss cannot be compared with a constant answer has pieces of its own."""
    blind = f"{basis}, blind"
    return blind if blind in FITTED and "skill" not in signs else basis


def forecast(
    signs: Mapping[str, float], basis: Basis, *, base_rate: float = BASE_RATE, look_again: int | None = None
) -> Forecast | None:
    """Probability, answer and the weightiest reasons; nothing where no sign is known.

    >>> forecast({}, "step") is None
    True
    """
    chance = probability(signs, basis, base_rate)
    found = contributions(signs, basis)
    if not found:
        return None
    weightiest = sorted(found, key=lambda name: -abs(found[name]))[:TOLD]
    reasons = tuple(Reason(name, signs[name], found[name], said(name, signs[name])) for name in weightiest)
    return Forecast(chance, base_rate, answer_of(chance), basis, look_again, reasons)


def answer_of(chance: float) -> Answer:
    """One of three answers; never a hard verdict in between.

    >>> answer_of(0.99), answer_of(0.5), answer_of(0.01)
    ('will fail', 'uncertain', 'will train')
    """
    return "will fail" if chance >= FAILS else "will train" if chance <= TRAINS else "uncertain"


def next_look(planned: int | None, taken: int = 0) -> int | None:
    """The step at which a watch looks again; None where the run's length is not known, or nothing more will be said.

    >>> next_look(1000), next_look(1000, 20), next_look(1000, 400), next_look(None)
    (20, 125, None, None)
    """
    if planned is None:
        return None
    return next((step for share in LOOKS if (step := look_at(share, planned)) > taken), None)


def look_at(share: float, planned: int) -> int:
    """The step of a look: that share of the run, the third step at least.

    >>> look_at(0.02, 1000), look_at(0.02, 50)
    (20, 3)
    """
    return max(3, round(share * planned))
