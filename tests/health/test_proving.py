"""The rule of a proof: how often nothing is called something, when it stops, and what it refuses."""

import math
import random

import pytest
from scipy import stats

from isograd.health.proving import ATTEMPTS, FIRST_SEED, PAIRS, cost_of_proof, effect_of, pairs_needed, prove
from isograd.health.trials import SEARCH_SEED, Work
from isograd.records.edit import Edit
from isograd.records.proof import Training
from isograd.records.skill import Skill

ONE = (Edit("clear_gradients"),)
TWO = (Edit("clear_gradients"), Edit("shuffle"))
LUCKY = (Edit("clip_norm", 1.0),)


def work_of(skill, budget=math.inf, **changes):
    """A program whose skill is ``skill(edits, seed)``."""

    def attempt(edits, seed, part, steps, stop):
        assert part == "proof" and seed != SEARCH_SEED
        return Training(Skill(skill(edits, seed), 100), ((steps, skill(edits, seed)),), steps)

    return Work(attempt, 100, lambda spent: budget - spent, **changes)


def test_six_pairs_that_are_all_better_prove_one_edit_and_three_seeds_of_luck_suffice():
    held = prove(work_of(lambda edits, seed: {ONE: 0.9, LUCKY: 0.3}.get(edits, 0.1)), ONE, LUCKY, 100)
    assert held.verdict == "proven" and len(held.trials) == 6
    assert [trial.seed for trial in held.trials] == list(range(FIRST_SEED, FIRST_SEED + 6))
    assert sum(trial.random is not None for trial in held.trials) == 3
    assert held.effect.mean == pytest.approx(0.8) and held.effect.low == pytest.approx(0.8)
    assert held.against_random.mean == pytest.approx(0.6)


def test_each_further_edit_takes_one_pair_more():
    assert [pairs_needed(ONE), pairs_needed(TWO)] == [6, 7]
    held = prove(work_of(lambda edits, seed: 0.9 if edits == TWO else 0.1), TWO, LUCKY, 100)
    assert held.verdict == "proven" and len(held.trials) == 7


def test_the_first_pair_that_is_not_better_ends_it_and_a_tie_is_not_better():
    def skill(edits, seed):
        return 0.5 if edits and seed != FIRST_SEED + 2 else 0.4

    work = work_of(skill)
    held = prove(work, ONE, LUCKY, 100)
    assert held.verdict == "not proven" and len(held.trials) == 3 and work.spent == 600
    assert "new pair 3 was not better" in held.why


def test_a_random_edit_that_is_better_on_the_same_seeds_refuses_the_proof():
    work = work_of(lambda edits, seed: {ONE: 0.5, LUCKY: 0.8}.get(edits, 0.1))
    held = prove(work, ONE, LUCKY, 100)
    assert held.verdict == "not proven" and "random edit" in held.why
    assert all(trial.random is not None for trial in held.trials) and held.against_random.mean == pytest.approx(-0.3)


def test_a_random_edit_that_is_as_good_does_not_refuse_it():
    held = prove(work_of(lambda edits, seed: 0.5 if edits else 0.1), ONE, LUCKY, 100)
    assert held.verdict == "proven"

    def skill(edits, seed):  # now ahead, now behind
        return {ONE: 0.6, LUCKY: 0.45 if seed % 3 == 0 else 0.75}.get(edits, 0.1)

    held = prove(work_of(skill), ONE, LUCKY, 100)
    assert held.verdict == "proven" and held.against_random.mean < 0.0 and len(held.trials) == 6


def test_an_edit_that_makes_every_pair_worse_is_harmful_and_one_that_does_it_once_is_not():
    held = prove(work_of(lambda edits, seed: 0.1 if edits else 0.6), ONE, LUCKY, 100)
    assert held.verdict == "harmful" and len(held.trials) == PAIRS
    held = prove(work_of(lambda edits, seed: 0.1 if edits and seed == FIRST_SEED else 0.6), ONE, LUCKY, 100)
    assert held.verdict == "not proven" and len(held.trials) == 2


def test_rounding_proves_nothing_and_a_score_of_the_persons_own_may_be_as_fine_as_it_is():
    def skill(edits, seed):
        return 1e-5 if edits else 0.0

    assert prove(work_of(skill), ONE, (), 100).verdict == "not proven"
    assert prove(work_of(skill, resolution=0.0), ONE, (), 100).verdict == "proven"


def test_a_budget_that_ends_before_all_pairs_were_worse_calls_nothing_harmful():
    held = prove(work_of(lambda edits, seed: 0.1 if edits else 0.6, budget=700), ONE, LUCKY, 100)
    assert held.verdict == "not proven" and len(held.trials) == 3


def test_a_budget_that_ends_proves_nothing_and_says_how_far_it_came():
    held = prove(work_of(lambda edits, seed: 0.9 if edits else 0.1, budget=700), ONE, LUCKY, 100)
    assert held.verdict == "not proven" and len(held.trials) == 3 and "better so far: 3" in held.why
    held = prove(work_of(lambda edits, seed: 0.9 if edits else 0.1, budget=1_250), ONE, LUCKY, 100)
    assert held.verdict == "not proven" and "before the random edit" in held.why
    enough = work_of(lambda edits, seed: 0.9 if edits else 0.1, budget=cost_of_proof(ONE, 100))
    assert prove(enough, ONE, LUCKY, 100).verdict == "proven"


def test_an_interruption_keeps_the_pairs_that_were_run():
    def skill(edits, seed):
        if seed == FIRST_SEED + 2:
            raise KeyboardInterrupt
        return 0.9 if edits else 0.1

    held = prove(work_of(skill), ONE, LUCKY, 100)
    assert held.interrupted and held.verdict == "not proven" and len(held.trials) == 2


def test_a_trial_that_fails_counts_against_the_edit_and_is_told():
    def attempt(edits, seed, part, steps, stop):
        if edits and seed == FIRST_SEED + 1:
            return Training(Skill(-0.2, 0), failed="RuntimeError: out of memory")
        return Training(Skill(0.9 if edits else 0.1, 100), (), steps)

    held = prove(Work(attempt, 100, lambda spent: math.inf), ONE, LUCKY, 100)
    assert held.verdict == "not proven" and "out of memory" in held.why


def test_the_interval_is_students_t():
    effect = effect_of([0.1, 0.3])
    assert effect.mean == pytest.approx(0.2)
    assert effect.high - effect.mean == pytest.approx(12.706 * 0.1, rel=1e-4)
    for count in range(2, 32):
        effect = effect_of([0.0] * (count - 1) + [1.0])
        spread = stats.t.ppf(0.975, count - 1) * math.sqrt(1 / count) / math.sqrt(count)
        assert effect.high - effect.mean == pytest.approx(spread, rel=1e-3)
    assert effect_of([]) is None and effect_of([0.5]).low == -math.inf


NOISES = {
    "normal": lambda draw: draw.gauss(0.0, 1.0),
    "tiny": lambda draw: 1e-6 * draw.gauss(0.0, 1.0),
    "heavy tails": lambda draw: math.tan(math.pi * (draw.random() - 0.5)),
    "skewed": lambda draw: draw.expovariate(1.0),
    "rare collapse": lambda draw: -1.0 if draw.random() < 0.1 else 0.01 * draw.gauss(0.0, 1.0),
    "two modes": lambda draw: (0.0 if draw.random() < 0.5 else 0.9) + 0.01 * draw.gauss(0.0, 1.0),
    "bounded below": lambda draw: max(-0.2, draw.gauss(0.0, 0.3)),
}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("edits", [ONE, TWO], ids=["one edit", "two"])
def test_edits_that_do_nothing_are_proven_or_harmful_in_at_most_one_in_64_each_whatever_the_noise(noise, edits):
    draw, proven, harmful, runs = random.Random(f"{noise} {len(edits)}"), 0, 0, 4_000
    for _ in range(runs):
        held = prove(work_of(lambda edits, seed: NOISES[noise](draw)), edits, LUCKY, 100)
        proven += held.verdict == "proven"
        harmful += held.verdict == "harmful"
    rate = 0.5 ** pairs_needed(edits)
    assert max(proven, harmful) / runs <= rate + 3.0 * math.sqrt(rate * (1 - rate) / runs) <= 0.025


def test_three_attempts_together_prove_nothing_in_at_most_one_in_forty():
    odds = [0.5 ** pairs_needed(ONE, attempt) for attempt in range(ATTEMPTS)]
    assert sum(odds) <= 0.025 and 0.5 ** (pairs_needed(ONE, ATTEMPTS - 1) - 1) + sum(odds[:-1]) > 0.025, "no pair too many"
    draw, runs, proven = random.Random("attempts"), 8_000, 0
    for _ in range(runs):
        work = work_of(lambda edits, seed: draw.gauss(0.5, 0.1))
        proven += any(prove(work, (Edit("width", float(one)),), LUCKY, 100, one).verdict == "proven" for one in range(ATTEMPTS))
    assert proven / runs <= 0.025 + 3.0 * math.sqrt(0.025 * 0.975 / runs)
    assert proven / runs >= 0.5 * sum(odds), "and the simulation can prove something"


def test_each_attempt_has_seeds_of_its_own():
    works = [work_of(lambda edits, seed: 0.9 if edits == ONE else 0.1) for _ in range(ATTEMPTS)]
    seeds = [{trial.seed for trial in prove(work, ONE, LUCKY, 100, one).trials} for one, work in enumerate(works)]
    assert [len(one) for one in seeds] == [6, 7, 10] and len(set.union(*seeds)) == 23


def test_noise_that_a_seed_gives_to_both_sides_alike_does_not_hide_a_small_effect():
    def skill(edits, seed):
        return random.Random(seed).gauss(0.5, 1.0) + (0.01 if edits == ONE else 0.0)

    assert prove(work_of(skill), ONE, LUCKY, 100).verdict == "proven"


def test_a_longer_run_is_as_much_longer_in_a_short_pair():
    lengths = []

    def attempt(edits, seed, part, steps, stop):
        lengths.append((bool(edits), steps))
        return Training(Skill(0.9 if edits else 0.1, 100), (), steps)

    longer = (Edit("steps", 400.0),)
    assert prove(Work(attempt, 100, lambda spent: math.inf), longer, (), 50).verdict == "proven"
    assert set(lengths) == {(False, 50), (True, 200)}
