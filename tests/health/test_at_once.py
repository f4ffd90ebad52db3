"""What is tried before a preset is paid for: cases whose answer is known by thought."""

import pytest

from isograd.health.found import Plan
from isograd.health.hypotheses import Proposal
from isograd.health.repair import cure
from isograd.health.trials import Work
from isograd.records.cause import Cause, Explanation
from isograd.records.edit import Edit
from isograd.records.proof import Training
from isograd.records.skill import Skill

CLEAR, RATE, HE, CLIP = (
    Edit("clear_gradients"),
    Edit("learning_rate", 3e-3),
    Edit("initialisation", "he"),
    Edit("clip_norm", 1.0),
)
SINGLES = tuple(Proposal(edit, "finding", True) for edit in (CLEAR, RATE, HE))


def cured(skill, likely, gain=0.7, **plan):
    """The proof, and the runs of the search, of a program with the skill ``skill(set of edits)``; replays find ``likely``."""
    asked = []

    def attempt(edits, seed, part, steps, stop):
        if part == "search":
            asked.append((edits, steps))
        value = skill(frozenset(edits))
        curve = tuple((at, value * at / 100) for at in (25, 50, 75, 100) if at <= steps)
        return Training(Skill(curve[-1][1], 10), curve, steps)

    def told(edits, answer="cause"):
        causes = tuple(Cause(edit, "sure", gain, 0.5, "too low") for edit in edits)
        return Explanation(answer, Skill(0.1, 10), 25, 50, 100, causes)

    work = Work(attempt, 100, lambda spent: 4_000 - spent)
    full = plan.pop("explain", lambda allowed, way: told((), "unknown"))
    singles = SINGLES if CLEAR in likely else SINGLES[1:]  # a certain fact is sick whatever else
    given = Plan((HE, RATE, CLIP), singles, full, first=lambda allowed: told(likely), **plan)
    return cure(work, given, lambda: 0.5), asked


def test_what_leaves_nothing_to_gain_goes_to_proof_after_two_runs_and_no_preset_is_paid_for():
    proof, asked = cured(lambda edits: 0.95 if RATE in edits else 0.1, (RATE,))
    assert (proof.verdict, proof.kind, proof.edits, proof.cost_search) == ("proven", "repair", (RATE,), 2.0)
    assert proof.ceiling is None and proof.cause.causes[0].edit == RATE
    assert not [edits for edits, _ in asked[:2] if len(edits) > 1]


def test_what_leaves_something_to_gain_is_held_against_the_preset_and_needs_no_other_search_where_it_is_as_good():
    asked_again = []
    explain = lambda allowed, way: asked_again.append(allowed)  # noqa: E731
    proof, _ = cured(lambda edits: 0.7 if HE in edits else 0.1, (HE,), explain=explain)
    assert (proof.edits, proof.cost_search, asked_again) == ((HE,), 4.0, []), (
        "the fourth run is of the weights that layers draw themselves"
    )
    assert proof.ceiling.skill == 0.7
    better, _ = cured(lambda edits: 0.9 if {RATE, HE} <= edits else 0.7 if HE in edits else 0.1, (HE,), explain=explain)
    assert set(better.edits) == {RATE, HE} and asked_again, "a second fault is looked for"


def test_of_two_causes_or_a_small_gain_nothing_is_tried_before_the_preset_but_what_a_certain_fact_asks_for():
    for likely, gain, first in (((RATE, HE), 0.7, 3), ((RATE,), 0.2, 3), ((CLEAR,), 0.2, 1)):
        _, asked = cured(lambda edits: 0.8 if edits else 0.1, likely, gain)
        assert len(asked[1][0]) == first, (likely, gain)


def test_a_program_that_does_well_and_gives_no_alarm_is_left_to_the_preset():
    _, asked = cured(lambda edits: 0.95 if RATE in edits else 0.7, (RATE,))
    assert len(asked[1][0]) == 3, "the preset comes first"
    sick, asked = cured(lambda edits: 0.95 if RATE in edits else 0.7, (RATE,), alarmed=True)
    assert asked[1][0] == (RATE,) and sick.cost_search == 2.0


def test_a_certain_fact_that_does_what_a_low_preset_does_needs_no_other_presets():
    ways = ((HE, CLIP), (RATE, CLIP))
    fact, asked = cured(lambda edits: 0.36 if CLEAR in edits or len(edits) == 3 else 0.0, (CLEAR,), 0.1, ways=ways)
    assert fact.edits == (CLEAR,) and fact.cost_search == pytest.approx(4.0), "it is within noise of enough: a second seed"
    assert not [edits for edits, _ in asked if edits in ways]


def test_where_its_proof_fails_the_search_goes_on_with_a_preset_and_another_cause():
    calls = []

    def attempt(edits, seed, part, steps, stop):
        good = {RATE: part == "search", HE: True}
        value = 0.95 if any(good.get(edit, False) for edit in edits) else 0.1
        return Training(Skill(value, 10), ((50, value / 2), (100, value))[: steps // 50], steps)

    def explain(allowed, way):
        calls.append("full")
        return Explanation("cause", Skill(0.1, 10), 25, 50, 100, (Cause(HE, "sure", 0.7, 0.5, ""),))

    def first(allowed):
        calls.append("first")
        return Explanation("cause", Skill(0.1, 10), 25, 50, 100, (Cause(RATE, "sure", 0.7, 0.5, ""),))

    plan = Plan((HE, CLIP), SINGLES, explain, first=first)
    proof = cure(Work(attempt, 100, lambda spent: 6_000 - spent), plan, lambda: 0.5)
    assert (proof.verdict, proof.edits, calls) == ("proven", (HE,), ["first", "full"])
