"""What a simple learner reaches on the raw inputs, held against an answer: signal that is there, and a run that leaves much.

"The labels carry no signal" is refuted where it finds some, and "nothing is to blame" is not said of a program that it beats:
the network, its inputs or its training then leave what anybody could have. Bounds:
  SIGNAL  .2 of the way from a constant answer to perfect ones on FEWEST held-out rows, more than three standard errors of the
          chance that a share of right answers shows there
  MARGIN  .15: what it is better by than the run, and than the untouched copy after as many steps as the run had. On healthy
          twins it was by .08 at most (a vision transformer of 600 steps), but for frozen bodies, which are left out
"""

from __future__ import annotations

from dataclasses import replace

from isograd.records.cause import Explanation
from isograd.records.skill import Skill

SIGNAL = 0.2
MARGIN = 0.15
_WHO = "a simple learner on the raw inputs (ridge regression, straight or over a kernel)"


def with_signal(found: Explanation, simple: Skill | None) -> Explanation:
    """The answer that the labels carry no signal, as a simple learner bears it out or refutes it.

    >>> none = Explanation("no signal", Skill(0.0, 90), 80, 160, 2000)
    >>> [with_signal(none, one).answer for one in (None, Skill(0.05, 90), Skill(0.6, 90))]
    ['no signal', 'no signal', 'unknown']
    """
    if found.answer != "no signal" or simple is None:
        return found
    if simple.value < SIGNAL:
        said = f"{_WHO} finds nothing in them either: skill {simple.value:.2f} on held-out examples"
        return replace(found, remarks=(*found.remarks, said))
    said = (
        f"{_WHO} has a skill of {simple.value:.2f} on the held-out examples: the labels do follow from the inputs, and this "
        "network, or what is made of the inputs before it learns, does not let it see that"
    )
    return replace(found, answer="unknown", remarks=(*found.remarks, said))


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
