"""What a simple learner reaches on the raw inputs, held against an answer: signal that is there, and a run that leaves much.

"The labels carry no signal" is refuted where it finds some, and "nothing is to blame" is not said of a program that it beats:
the network, its inputs or its training then leave what anybody could have. Bounds:
  SIGNAL  .2 of the way from a constant answer to perfect ones on FEWEST held-out rows, more than three standard errors of the
          chance that a share of right answers shows there
  FAINT   a likelihood ratio 2 n H J of 9, three standard errors (n examples, H nats that a constant answer pays, 1/2 for
          numbers): what chance shows once in 370. From there on a weak signal is not denied, and above it nothing is proven
  MARGIN  .15: what it is better by than the run, and than the untouched copy after as many steps as the run had. On healthy
          twins it was by .08 at most (a vision transformer of 600 steps), but for frozen bodies, which are left out
"""

from __future__ import annotations

import math
from dataclasses import replace

from isograd.health.case import Case
from isograd.health.signals.learning import entropy
from isograd.records.cause import Explanation
from isograd.records.skill import Skill

SIGNAL = 0.2
FAINT = 9.0
MARGIN = 0.15
_WHO = "a simple learner on the raw inputs (ridge regression, straight or over a kernel)"


def with_signal(found: Explanation, simple: Skill | None, nats: float = 0.5) -> Explanation:
    """The answer that the labels carry no signal, as a simple learner bears it out or refutes it, or that it cannot be said.

    >>> none = Explanation("no signal", Skill(0.0, 90), 80, 160, 2000)
    >>> [with_signal(none, one).answer for one in (None, Skill(0.05, 90), Skill(0.05, 300), Skill(0.6, 90))]
    ['no signal', 'no signal', 'unknown', 'unknown']
    """
    if found.answer != "no signal":
        return found
    faint = with_a_faint_one(found, simple, nats)
    if simple is None or faint is not found:
        return faint
    if simple.value < SIGNAL:
        said = f"{_WHO} finds nothing in them either: skill {simple.value:.2f} on held-out examples"
        return replace(found, remarks=(*found.remarks, said))
    said = (
        f"{_WHO} has a skill of {simple.value:.2f} on the held-out examples: the labels do follow from the inputs, and this "
        "network, or what is made of the inputs before it learns, does not let it see that"
    )
    return replace(found, answer="unknown", remarks=(*found.remarks, said))


def with_a_faint_one(found: Explanation, simple: Skill | None, nats: float) -> Explanation:
    """No answer, where what is there may be a weak signal: how many more examples would tell, and what would use it.

    >>> none = Explanation("unknown", Skill(0.0, 90), 80, 160, 2000)
    >>> [len(with_a_faint_one(none, Skill(value, 300), 0.5).remarks) for value in (0.02, 0.05, 0.4)]
    [0, 1, 0]
    """
    best = max((one for one in (found.control, simple) if one is not None), key=lambda one: one.value)
    if not (best.value < SIGNAL and 2.0 * best.examples * nats * best.value >= FAINT):
        return found
    enough = math.ceil(FAINT / (nats * best.value) / 100.0) * 100
    said = (
        f"it may be a weak signal: chance alone shows a skill of {best.value:.2f} on {best.examples:,} held-out examples less "
        f"than once in 300 times; {enough:,} others would decide, and more to train on, or a simpler model, would use it"
    )
    return replace(found, answer="unknown", remarks=(*found.remarks, said))


def nats_of(case: Case) -> float:
    """What a constant answer pays of an example: the entropy of its classes; a half of numbers, whose squared error counts.

    >>> from isograd.records.anatomy import Anatomy
    >>> nats_of(Case(Anatomy("torch", (), ())))
    0.5
    """
    seen = [sample.classes for _, sample in case.losses if sample.training and any(sample.classes)]
    pooled: list[int] = [sum(column) for column in zip(*seen, strict=False)]
    return (entropy(pooled) or 0.5) if pooled else 0.5


def beaten(simple: Skill | None, reached: float) -> bool:
    """Whether a simple learner is better by MARGIN than a skill.

    >>> beaten(None, 0.2), beaten(Skill(0.9, 90), 0.8), beaten(Skill(0.9, 90), 0.7)
    (False, False, True)
    """
    return simple is not None and simple.value > reached + MARGIN


def with_its_limit(found: Explanation, simple: Skill, reached: float, steps: int) -> Explanation:
    """The answer that nothing is to blame, of a program that a simple learner beats."""
    said = (
        f"{_WHO} has a skill of {simple.value:.2f} on the held-out examples, and the untouched program {reached:.2f} after "
        f"{steps:,} steps: nothing that was tried is to blame for that, and yet it leaves what anybody could have"
    )
    return replace(found, answer="unknown", remarks=(*found.remarks, said))
