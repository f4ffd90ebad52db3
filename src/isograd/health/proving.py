r"""Put edits to proof: paired trials on seeds and examples that the search never used, against nothing and against luck.

The rule: PAIRS new pairs, every one of them better with the edits, by more than rounding, and one pair more for each further
edit. Where the edits do nothing, swapping the two sides of a pair changes nothing, so that each pair is better with a
probability of at most one half, whatever the noise and whatever was thought before; pairs are independent, so

.. math:: P(\text{"proven"} \mid \text{no effect}) \le 2^{-n}, \qquad n = 6 + (k - 1) \text{ pairs for } k \text{ edits}

which is 1/64 = 1.6 % at most. One pair more for each further edit halves it again, as the number of edits to choose from
grows. The first pair that is not better ends the trial, since no further one could change the answer.

Where a trial ends so, other edits may be put to proof, on seeds of their own: at most ATTEMPTS times, the a-th time with
FURTHER pairs more. However the next edits are chosen, and whatever the earlier pairs have shown, the seeds are new, so that

.. math:: P(\text{"proven"} \mid \text{no effect}) \le \sum_a 2^{-(6 + f_a)} = \tfrac{1}{64} + \tfrac{1}{128} + \tfrac{1}{1024}

which is 2.44 %, below the 2.5 % that are allowed. With one pair more each time (6, 7, 8, ...) it would be 1/32 = 3.1 %.

A random edit of the same size, drawn beforehand, then runs on the same seeds: after AHEAD seeds with the edits ahead each
time, or after all seeds that the budget holds (AHEAD at least) with an interval that is not wholly below zero, the edits are
not worse than luck (what is drawn may be a cure as well). "Harmful" is the same rule turned round: where all n pairs are
worse, each by more than what counts as equal. Of edits that do nothing it is said in :math:`2^{-n}` at most too, whatever the
noise: at first worse or better, a run of n of one sign has the same odds. Whatever is neither is not proven.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from isograd.health.trials import EQUAL, Ask, Work, steps_of
from isograd.records.edit import Edit
from isograd.records.proof import Effect, Training, Trial, Verdict

PAIRS, AHEAD = 6, 3
FURTHER = (0, 1, 4)
"""Pairs that each attempt at a proof takes more than the first: the fewest whose odds add up to less than 1 in 40."""
ATTEMPTS = len(FURTHER)
FIRST_SEED = 1_000
"""Of the proof; the search uses another one."""
APART = 100
"""Between the first seeds of two attempts: more than any attempt has pairs."""

_T: tuple[float, ...] = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
)
_T += (2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)
"""The 97.5 % point of Student's t with 1, 2, ... 30 degrees of freedom; 1.96 beyond."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the trials say."""

    verdict: Verdict
    why: str
    trials: tuple[Trial, ...]
    effect: Effect | None
    against_random: Effect | None
    interrupted: bool = False


def pairs_needed(edits: Sequence[Edit], attempt: int = 0) -> int:
    """How many pairs a proof of these edits takes, after so many attempts with others.

    >>> pairs_needed([Edit("clear_gradients")]), pairs_needed([Edit("clear_gradients"), Edit("residual")])
    (6, 7)
    >>> [pairs_needed([Edit("loss")], attempt) for attempt in range(ATTEMPTS)]
    [6, 7, 10]
    """
    return PAIRS + FURTHER[attempt] + max(0, len(edits) - 1)


def cost_of_proof(edits: Sequence[Edit], length: int, attempt: int = 0) -> int:
    """Steps that the proof takes at least: each pair twice, and the random edit on the first seeds.

    The edited side of a pair is longer where an edit asks for more steps.

    >>> cost_of_proof([Edit("loss")], 100), cost_of_proof([Edit("steps", 80.0, before=40.0)], 100)
    (1500, 2100)
    """
    stretched = (float(one.value) / float(one.before) for one in edits if one.kind == "steps" and one.value and one.before)
    longer = next(stretched, 1.0)
    return math.ceil(length * ((1.0 + longer) * pairs_needed(edits, attempt) + AHEAD))


def effect_of(differences: Sequence[float]) -> Effect | None:
    r"""Mean of paired differences with its 95 % interval: mean :math:`\pm\; t_{n-1} s / \sqrt n`; None without any.

    >>> effect = effect_of([0.1, 0.2, 0.3])
    >>> round(effect.mean, 3), round(effect.low, 3), round(effect.high, 3)
    (0.2, -0.048, 0.448)
    """
    if not differences:
        return None
    mean = statistics.fmean(differences)
    if len(differences) < 2:
        return Effect(mean, -math.inf, math.inf)
    t = _T[len(differences) - 2] if len(differences) - 2 < len(_T) else 1.96
    half = t * statistics.stdev(differences) / math.sqrt(len(differences))
    return Effect(mean, mean - half, mean + half)


def prove(work: Work, edits: tuple[Edit, ...], drawn: tuple[Edit, ...], length: int, attempt: int = 0) -> Held:
    """Run the pairs, then the random edits; an interruption (Ctrl-C) keeps what is there.

    ``attempt``: how many other edits were put to proof before these.

    >>> from isograd.records.proof import Training
    >>> from isograd.records.skill import Skill
    >>> work = Work(lambda e, seed, part, steps, stop: Training(Skill(0.9 if e else 0.1, 50), steps=steps), 300, lambda s: 9e9)
    >>> prove(work, (Edit("clear_gradients"),), (), 150).verdict
    'proven'
    """
    needed, trials, first_seed = pairs_needed(edits, attempt), list[Trial](), FIRST_SEED + APART * attempt
    work.foresee(_asks(work, edits, drawn, length, range(first_seed, first_seed + needed)))
    try:
        for place in range(needed):
            if not work.affords(length + _shortened(work, edits, length), reserved=True):
                return _ended(trials, "not proven", _short(trials, needed))
            trials.append(_pair(work, edits, first_seed + place, length, f"pair {place + 1} of {needed}"))
            if not trials[-1].difference > work.resolution:
                return _lost(work, edits, trials, (length, needed))
        return _against_luck(work, trials, drawn, length)
    except KeyboardInterrupt:
        return replace(_ended(trials, "not proven", "it was stopped before it could say"), interrupted=True)


def _asks(work: Work, edits: tuple[Edit, ...], drawn: tuple[Edit, ...], length: int, seeds: Sequence[int]) -> Iterator[Ask]:
    """All that a proof asks for, if nothing ends it early."""
    for seed in seeds:
        yield Ask((), seed, "proof", length)
        yield Ask(edits, seed, "proof", _shortened(work, edits, length))
    for seed in seeds[:AHEAD] if drawn else ():
        yield Ask(drawn, seed, "proof", _shortened(work, drawn, length))


def _pair(work: Work, edits: tuple[Edit, ...], seed: int, length: int, told: str) -> Trial:
    control = work.train((), seed, "proof", length, f"{told}: no change")
    treated = work.train(edits, seed, "proof", _shortened(work, edits, length), f"{told}: the edits")
    return Trial(seed, control, treated)


def _shortened(work: Work, edits: tuple[Edit, ...], length: int) -> int:
    """The edited side is as much longer in a short pair as in a full run."""
    return max(1, round(steps_of(edits, work.length) * length / work.length))


def _lost(work: Work, edits: tuple[Edit, ...], trials: list[Trial], asked: tuple[int, int]) -> Held:
    """A pair was not better: no proof; where the first was clearly worse, the others tell whether the edits do harm.

    ``asked``: the steps of a pair, and how many pairs there are to be.
    """
    least, (length, needed) = EQUAL * work.scale, asked
    while (
        all(trial.difference < -least for trial in trials) and len(trials) < needed and work.affords(2 * length, reserved=True)
    ):
        place = len(trials)
        trials.append(_pair(work, edits, trials[0].seed + place, length, f"harm? {place + 1} of {needed}"))
    if len(trials) == needed and all(trial.difference < -least for trial in trials):
        rule = f"1 in {2**needed} for one that does nothing"
        return _ended(trials, "harmful", f"{needed} new pairs, every one clearly worse with the change ({rule})")
    number = next(place for place, trial in enumerate(trials, 1) if not trial.difference > work.resolution)
    return _ended(trials, "not proven", f"new pair {number} was not better with the change{_failures(trials)}")


def _against_luck(work: Work, trials: list[Trial], drawn: tuple[Edit, ...], length: int) -> Held:
    """All pairs are better: is a random edit of the same size as good?"""
    count = len(trials)
    rule = f"{count} new pairs, every one better with the change (1 in {2**count} for one that does nothing)"
    if not drawn:
        return _ended(trials, "proven", f"{rule}; there was no other edit to compare with")
    for place, trial in enumerate(trials):
        if not work.affords(length, reserved=True) and place >= AHEAD:
            break
        if not work.affords(length, reserved=True):
            why = f"{count} new pairs were better, but the budget ended before the random edit could be compared"
            return _ended(trials, "not proven", why)
        told = f"luck on seed {place + 1} of {count}"
        steps = _shortened(work, drawn, length)
        trials[place] = replace(trial, random=work.train(drawn, trial.seed, "proof", steps, told))
        if place + 1 >= AHEAD and all(difference > 0.0 for difference in _ahead(trials)):
            break
    found = effect_of(_ahead(trials))
    assert found is not None
    if found.mean < -EQUAL * work.scale and found.high < 0.0:
        why = f"{count} new pairs were better, but a random edit of the same size is better still"
        return _ended(trials, "not proven", why)
    return _ended(trials, "proven", rule)


def _ahead(trials: Sequence[Trial]) -> list[float]:
    return [one.treated.skill.value - one.random.skill.value for one in trials if one.random is not None]


def _ended(trials: Sequence[Trial], verdict: Verdict, why: str) -> Held:
    differences = [trial.difference for trial in trials]
    return Held(verdict, why, tuple(trials), effect_of(differences), effect_of(_ahead(trials)))


def _short(trials: Sequence[Trial], needed: int) -> str:
    so_far = f", all of them better so far: {len(trials)}" if trials else ""
    return f"the budget ended before {needed} pairs were run{so_far}"


def _failures(trials: Sequence[Trial]) -> str:
    failed: list[Training] = [trial.treated for trial in trials if trial.treated.failed is not None]
    return f" (it failed: {failed[0].failed})" if failed else ""
