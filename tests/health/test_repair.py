"""The search for the smallest repair, on programs whose answer is known by thought: what is tried, chosen, proved and paid."""

import math
import random

import pytest

from isograd.errors import ModelError
from isograd.health import repair
from isograd.health.found import Plan
from isograd.health.hypotheses import Proposal
from isograd.health.remedies.order import in_order
from isograd.health.repair import cure
from isograd.health.trials import PARTS, SEARCH_SEED, SECOND_SEED, Work
from isograd.records.cause import Cause, Explanation, Hypothesis
from isograd.records.edit import Edit
from isograd.records.proof import Training
from isograd.records.skill import Skill

CLEAR, LOSS, RATE, HE = Edit("clear_gradients"), Edit("loss"), Edit("learning_rate", 0.01), Edit("initialisation", "he")
RELU, CLIP, RESIDUAL, WIDTH = Edit("activation", "relu"), Edit("clip_norm", 1.0), Edit("residual"), Edit("width", 4.0)
PRESET = in_order((CLEAR, LOSS, RATE, HE, RELU, CLIP, RESIDUAL))
SINGLES = tuple(Proposal(edit, "list") for edit in (CLEAR, LOSS, RATE, HE, RELU, CLIP, RESIDUAL, WIDTH))


def program(skill, budget_runs=60, **changes):
    """A program whose skill after a whole run is ``skill(set of edits)``; half of it shows half-way."""
    asked = []

    def attempt(edits, seed, part, steps, stop):
        assert (seed in (SEARCH_SEED, SECOND_SEED)) == (part == "search")
        asked.append((edits, seed, steps))
        value = skill(frozenset(edits))
        curve = [(point, value * point / 100) for point in (50, 100) if point <= steps]
        for step, now in curve[:-1]:
            if stop is not None and stop(step, now):
                return Training(Skill(now, 10), ((step, now),), step)
        return Training(Skill(curve[-1][1] if curve else 0.0, 10), tuple(curve), steps)

    work = Work(attempt, 100, lambda spent: budget_runs * 100 - spent, **changes)
    work.asked = asked
    return work


def halves(number=0.5):
    return lambda: number


def test_one_right_edit_is_found_alone_and_proven_at_half_length():
    work = program(lambda edits: 0.9 if RATE in edits else 0.1)
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert (proof.verdict, proof.kind, proof.edits) == ("proven", "repair", (RATE,))
    assert proof.pair_length == 50 and proof.pairs_needed == 6 and proof.cost_proof == 7.5
    assert [one.stage for one in proof.candidates] == ["control", "preset", "single", "single", "single"]
    assert proof.cost_search == 4.0  # two hopeless ones were given up half-way
    assert proof.ceiling.skill == pytest.approx(0.9) and not proof.healthy


def test_what_theory_puts_together_is_tried_before_the_preset_is_shrunk():
    work = program(lambda edits: 0.9 if {RELU, HE} <= edits else 0.1)
    proof = cure(work, Plan(PRESET, SINGLES, together=((HE, RELU),)), halves())
    assert proof.verdict == "proven" and set(proof.edits) == {HE, RELU} and proof.pairs_needed == 7
    without = cure(program(lambda edits: 0.9 if {RELU, HE} <= edits else 0.1), Plan(PRESET, SINGLES), halves())
    assert set(without.edits) == {HE, RELU} and proof.cost_search < without.cost_search


def test_of_several_that_come_near_the_ceiling_the_first_and_smallest_wins():
    work = program(lambda edits: 0.9 if edits & {RESIDUAL, WIDTH, RELU} else 0.1)
    assert cure(work, Plan(PRESET, SINGLES), halves()).edits == (RELU,)


def test_the_cause_is_tried_first_and_names_a_repair():
    cause = Explanation("cause", Skill(0.1, 10), 40, 200, 400, (Cause(HE, "sure", 0.7, 0.5, "too small"),))
    work = program(lambda edits: 0.9 if HE in edits else 0.1)
    proof = cure(work, Plan(PRESET, SINGLES, lambda allowed, way: cause), halves())
    assert proof.edits == (HE,) and proof.cause is cause and proof.cost_search == 3.0


def test_two_causes_are_tried_together_and_what_is_not_needed_goes():
    causes = (Cause(CLEAR, "likely", 0.4, 0.5, ""), Cause(HE, "likely", 0.4, 0.5, ""))
    said = Explanation("cause", Skill(0.1, 10), 40, 200, 400, causes)
    double = program(lambda edits: 0.9 if {CLEAR, HE} <= edits else 0.1)
    proof = cure(double, Plan(PRESET, SINGLES, lambda allowed, way: said), halves())
    assert set(proof.edits) == {CLEAR, HE} and proof.pairs_needed == 7 and proof.verdict == "proven"
    assert [one.stage for one in proof.candidates][:3] == ["control", "preset", "combination"] and proof.cost_search <= 5
    single = program(lambda edits: 0.9 if HE in edits else 0.1)
    assert cure(single, Plan(PRESET, SINGLES, lambda allowed, way: said), halves()).edits == (HE,)


def test_two_faults_without_a_known_cause_are_shrunk_out_of_the_preset():
    work = program(lambda edits: 0.9 if {LOSS, RELU} <= edits else 0.1)
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert set(proof.edits) == {LOSS, RELU} and proof.verdict == "proven"
    assert any(one.stage == "shrunk" for one in proof.candidates)
    assert proof.cost_search <= 17


def test_two_that_each_help_a_little_are_tried_together_before_the_preset_is_shrunk():
    work = program(lambda edits: 0.1 + 0.4 * (RATE in edits) + 0.4 * (CLIP in edits))
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert set(proof.edits) == {RATE, CLIP}
    assert len([one for one in proof.candidates if one.stage in ("combination", "shrunk")]) <= 3


def test_a_healthy_program_that_the_preset_does_not_help_is_left_alone():
    work = program(lambda edits: 0.8)
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert (proof.kind, proof.healthy, proof.edits, proof.cost_search) == ("nothing", True, (), 2.0)
    assert "nothing to cure" in proof.why


def test_a_program_that_cannot_be_better_costs_one_run():
    proof = cure(program(lambda edits: 0.97), Plan(PRESET, SINGLES), halves())
    assert proof.kind == "nothing" and proof.healthy and proof.cost_search == 1.0


def test_what_makes_a_healthy_program_better_is_an_improvement_and_no_repair():
    work = program(lambda edits: 0.95 if HE in edits else 0.7)
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert (proof.verdict, proof.kind, proof.healthy, proof.edits) == ("proven", "improvement", True, (HE,))


def test_where_the_preset_does_not_help_a_race_finds_what_does():
    def skill(edits):
        return 0.9 if edits == {WIDTH} else 0.05

    proof = cure(program(skill), Plan(PRESET, SINGLES), halves())
    assert proof.edits == (WIDTH,) and proof.verdict == "proven"
    assert {one.stage for one in proof.candidates} == {"control", "preset", "race"}


def test_where_no_single_edit_helps_proposals_are_tried():
    both = in_order((WIDTH, RELU))
    proof = cure(
        program(lambda edits: 0.9 if edits == {WIDTH, RELU} else 0.0),
        Plan((), SINGLES, propose=lambda candidates: both if len(candidates) > 6 else (CLIP, HE)),
        halves(),
    )
    assert proof.edits in ((), both)
    proof = cure(
        program(lambda edits: 0.9 if edits == {WIDTH, RELU} else 0.0), Plan((), SINGLES, propose=lambda _: both), halves()
    )
    assert proof.edits == both and proof.verdict == "proven"


def test_a_sick_program_that_nothing_helps_is_not_called_healthy():
    proof = cure(program(lambda edits: 0.0), Plan(PRESET, SINGLES), halves())
    assert proof.kind == "nothing" and not proof.healthy and proof.verdict == "not proven"
    no_signal = Explanation("no signal", Skill(0.0, 10), 40, 200, 400)
    proof = cure(program(lambda edits: 0.0), Plan(PRESET, SINGLES, lambda allowed, way: no_signal), halves())
    assert "labels do not follow" in proof.why


def test_what_gains_but_cannot_be_paid_is_named_and_not_called_useless():
    work = program(lambda edits: 0.6 if len(edits) >= 6 else 0.0, budget_runs=14)
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert (proof.verdict, proof.trials, proof.healthy) == ("not proven", (), False)
    assert proof.edits and "does not hold its proof" in proof.why
    needed = float(proof.why.partition("search ")[2].partition(" runs")[0])
    assert needed > 14
    assert cure(program(lambda edits: 0.6 if len(edits) >= 6 else 0.0), Plan(PRESET, SINGLES), halves()).verdict == "proven"


def test_what_does_better_by_far_and_cannot_be_paid_is_told_beside_what_is_proven():
    """Six edits reach .9, and their proof takes 11 pairs; one of them alone reaches .3, and is put to proof."""
    work = program(lambda edits: 0.9 if len(edits) >= 6 else 0.3 if RATE in edits else 0.0, budget_runs=15)
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert proof.verdict == "proven" and proof.edits == (RATE,)
    assert any("0.90 in the search" in told and "takes" in told for told in proof.remarks)


def test_where_no_run_was_left_for_luck_it_is_said():
    work = program(lambda edits: 0.9 if RATE in edits else 0.1, budget_runs=12)
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert proof.verdict == "proven" and proof.luck is None and any("luck" in remark for remark in proof.remarks)


def test_what_gains_too_little_to_be_spoken_of_is_not_put_to_proof():
    assert cure(program(lambda edits: 0.32 if edits else 0.3), Plan(PRESET, SINGLES), halves()).edits == ()


def test_the_gain_of_the_search_alone_proves_nothing():
    """Better on the search's own seed and examples, and no better on new ones."""
    work = program(lambda edits: 0.9 if RATE in edits else 0.1)
    lucky = work.attempt

    def attempt(edits, seed, part, steps, stop):
        return lucky(edits if part == "search" else (), seed, part, steps, stop)

    work.attempt = attempt
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert proof.edits == (RATE,) and proof.verdict == "not proven" and len(proof.trials) == 1


def test_the_gap_that_shows_late_takes_pairs_of_full_length():
    def attempt(edits, seed, part, steps, stop):
        value = 0.9 if RATE in edits else 0.1
        return Training(Skill(value, 10), ((50, 0.1), (100, value)), steps)

    proof = cure(Work(attempt, 100, lambda spent: 6_000 - spent), Plan((RATE,), SINGLES[2:3]), halves())
    assert proof.pair_length == 100 and proof.verdict == "proven" and proof.cost_proof == 15.0 - 3.0 * (not proof.random_edits)


def test_a_gap_that_shows_a_little_takes_full_pairs_unless_only_half_ones_can_be_paid():
    def attempt(edits, seed, part, steps, stop):
        half, whole = (0.3, 0.9) if RATE in edits else (0.1, 0.1)
        curve = tuple(point for point in ((50, half), (100, whole)) if point[0] <= steps)
        return Training(Skill(curve[-1][1], 10), curve, steps)

    def proof(runs):
        return cure(Work(attempt, 100, lambda spent: runs * 100 - spent), Plan((RATE,), SINGLES[2:3]), halves())

    assert (proof(40).pair_length, proof(12).pair_length) == (100, 50)
    assert proof(40).verdict == proof(12).verdict == "proven"


def test_an_edit_that_cannot_be_made_costs_nothing_and_is_shown():
    work = program(lambda edits: 0.9 if RATE in edits else 0.1)
    able = work.attempt

    def attempt(edits, *rest):
        if edits and edits[0] in (CLEAR, LOSS) and len(edits) == 1:
            raise ModelError("the loss is inside the step function")
        return able(edits, *rest)

    work.attempt = attempt
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert proof.edits == (RATE,) and proof.cost_search == 3.0
    assert [one.failed for one in proof.candidates if one.failed] == ["the loss is inside the step function"] * 2


def test_the_random_edit_is_of_the_same_size_and_of_another_kind():
    work = program(lambda edits: 0.9 if edits & {RESIDUAL} else 0.1)
    proof = cure(work, Plan((RESIDUAL,), (Proposal(RESIDUAL, "list"), *SINGLES[:6], SINGLES[7])), halves(0.3))
    assert proof.edits == (RESIDUAL,) and sum(edit.size for edit in proof.random_edits) == 3
    assert RESIDUAL not in proof.random_edits


def test_luck_gets_what_the_search_cost_or_what_is_left():
    work = program(lambda edits: 0.9 if RATE in edits else 0.1)
    proof = cure(work, Plan(PRESET, SINGLES), halves(0.3))
    assert proof.luck.runs == 4 and proof.luck.whole and proof.luck.chosen == pytest.approx(0.9)
    poor = cure(program(lambda edits: 0.9 if RATE in edits else 0.1, budget_runs=13), Plan(PRESET, SINGLES), halves(0.3))
    assert poor.verdict == "proven" and poor.luck is not None and poor.luck.runs == 1 and not poor.luck.whole


def test_a_small_budget_keeps_enough_for_the_proof():
    work = program(lambda edits: 0.9 if RESIDUAL in edits else 0.1, budget_runs=12)
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert proof.cost_search <= 4.5 and work.spent <= 1_200
    assert proof.verdict == "proven" or (proof.trials == () and "does not hold its proof" in proof.why)


@pytest.mark.parametrize("at", [0, 1, 3, 6])
def test_an_interruption_at_any_moment_keeps_what_was_tried(at):
    work = program(lambda edits: 0.9 if RATE in edits else 0.1)
    able, count = work.attempt, [0]

    def attempt(*given):
        count[0] += 1
        if count[0] > at:
            raise KeyboardInterrupt
        return able(*given)

    work.attempt = attempt
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert proof.interrupted and proof.verdict == "not proven"
    assert len(proof.candidates) + 2 * len(proof.trials) <= at <= len(proof.candidates) + 2 * len(proof.trials) + 1


def test_edits_that_are_asked_for_are_put_to_proof_without_a_search():
    work = program(lambda edits: 0.9 if CLEAR in edits else 0.4)
    proof = cure(work, Plan(PRESET, SINGLES, asked=(CLEAR,)), halves())
    assert proof.verdict == "proven" and proof.edits == (CLEAR,) and proof.cost_search == 2.0
    worse = cure(program(lambda edits: 0.1 if CLEAR in edits else 0.4), Plan(PRESET, SINGLES, asked=(CLEAR,)), halves())
    assert worse.verdict == "harmful" and worse.kind == "improvement"


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-4, 0.0), (1e3, -5e3), (1.0, -1.0)])
def test_a_persons_own_score_may_have_any_scale(scale, shift):
    work = program(lambda edits: 0.0)

    def attempt(edits, seed, part, steps, stop):
        value = shift + scale * (0.9 if RATE in edits else 0.1)
        return Training(Skill(value, 0), ((50, value), (100, value)), steps)

    work.attempt = attempt
    proof = cure(work, Plan(PRESET, SINGLES, natural=False), halves())
    assert proof.edits == (RATE,) and proof.verdict == "proven" and proof.measure == "score"


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_a_whole_cure_of_a_program_that_no_edit_changes_ends_proven_in_at_most_one_in_64(noise):
    """The search picks the luckiest of all candidates; what it proves is on seeds that it never saw."""
    draw, proven, proposed, runs = random.Random(1), 0, 0, 1_500

    def attempt(edits, seed, part, steps, stop):
        value = 0.3 + noise * draw.gauss(0.0, 1.0)
        return Training(Skill(value, 10), ((50, value), (100, value)), steps)

    for _ in range(runs):
        proof = cure(Work(attempt, 100, lambda spent: 6_000 - spent), Plan(PRESET, SINGLES), draw.random)
        proven, proposed = proven + (proof.verdict == "proven"), proposed + bool(proof.edits)
    assert proven / runs <= 1 / 64 + 3 * math.sqrt(1 / 64 / runs)
    assert noise < 0.1 or proposed > runs / 2  # the search itself is fooled: it is the proof that is not


def test_what_gained_in_short_replays_is_tried_before_the_rest_of_the_list():
    gained = Hypothesis(WIDTH, "list", 0.5, 0.4, None, score=0.0, steps=40)
    said = Explanation("unknown", Skill(0.1, 10), 40, 200, 400, tried=(gained,))
    work = program(lambda edits: 0.9 if edits & {WIDTH, RESIDUAL} else 0.1)
    proof = cure(work, Plan(PRESET, SINGLES, lambda allowed, way: said), halves())
    assert proof.edits == (WIDTH,) and proof.cost_search == 3.0


def test_what_gained_nothing_in_short_replays_is_tried_last():
    useless = tuple(Hypothesis(edit, "list", 0.1, 0.0, None, steps=40) for edit in (CLEAR, LOSS, RATE, HE, RELU))
    said = Explanation("unknown", Skill(0.1, 10), 40, 200, 400, tried=useless)
    proof = cure(
        program(lambda edits: 0.9 if CLIP in edits else 0.1), Plan(PRESET, SINGLES, lambda allowed, way: said), halves()
    )
    assert proof.edits == (CLIP,) and proof.cost_search == 3.0


def test_what_gained_nothing_before_even_the_ceiling_gains_keeps_its_place():
    useless = tuple(Hypothesis(edit, "list", 0.0, 0.0, None, steps=40) for edit in (RATE, HE))
    said = Explanation("unknown", Skill(0.0, 10), 40, 200, 400, tried=useless)
    late = program(lambda edits: 0.9 if edits & {RATE, CLIP} else 0.0)
    late.work = late.attempt

    def slow(edits, seed, part, steps, stop):
        made = late.work(edits, seed, part, steps, stop)
        return Training(made.skill, ((40, 0.0), *made.curve), made.steps)

    late.attempt = slow
    assert cure(late, Plan(PRESET, SINGLES, lambda allowed, way: said), halves()).edits == (RATE,)


def test_the_same_numbers_give_the_same_proof():
    proofs = [cure(program(lambda edits: 0.9 if {LOSS, RELU} <= edits else 0.1), Plan(PRESET, SINGLES), halves()) for _ in "ab"]
    assert proofs[0] == proofs[1]
    assert repair.SINGLES >= 4 and math.isfinite(repair.NEAR)


URGENT = tuple(Proposal(edit, "finding: x", True) for edit in (CLEAR, LOSS, RATE, HE))


def test_a_second_fault_is_looked_for_beside_the_edit_that_gains_alone():
    def skill(edits):
        return 0.9 if {CLEAR, HE} <= edits else 0.5 if CLEAR in edits else 0.1

    work = program(skill)
    proof = cure(work, Plan(PRESET, URGENT + SINGLES[4:]), halves())
    assert proof.verdict == "proven" and set(proof.edits) == {CLEAR, HE}
    assert proof.cost_search < cure(program(skill), Plan(PRESET, SINGLES), halves()).cost_search


def test_two_faults_of_which_neither_repair_gains_alone_are_tried_as_a_pair():
    work = program(lambda edits: 0.9 if {CLEAR, LOSS} <= edits else 0.0)
    proof = cure(work, Plan(PRESET, URGENT + SINGLES[4:]), halves())
    assert set(proof.edits) == {CLEAR, LOSS} and proof.cost_search <= 6.0


def test_where_one_edit_stands_far_above_the_ceiling_a_second_fault_is_looked_for_all_the_same():
    def skill(edits):
        worth = 0.9 if {LOSS, RATE} <= edits else 0.6 if LOSS in edits else 0.1
        return min(worth, 0.3) if RESIDUAL in edits else worth  # the preset spoils it

    proof = cure(program(skill), Plan(PRESET, URGENT + SINGLES[4:]), halves())
    assert set(proof.edits) == {LOSS, RATE}


def test_a_preset_of_seven_parts_is_not_chosen_for_a_little_more():
    def skill(edits):
        return 0.93 if len(edits) > PARTS else 0.85 if edits == {RATE} else 0.1

    assert cure(program(skill), Plan(PRESET, SINGLES), halves()).edits == (RATE,)


def test_one_edit_that_is_enough_costs_no_second_look():
    work = program(lambda edits: 0.9 if CLEAR in edits else 0.1)
    proof = cure(work, Plan(PRESET, URGENT + SINGLES[4:]), halves())
    assert proof.edits == (CLEAR,) and proof.cost_search == 3.0


def test_a_batch_like_no_other_is_left_out_though_the_program_learns_and_the_preset_is_no_better():
    skip = Edit("skip_batch", "8")
    work = program(lambda edits: 0.9 if skip in edits else 0.6)
    proof = cure(work, Plan((), (Proposal(skip, "fact: batch 8 is not finite", True, "data"), *SINGLES)), halves())
    assert (proof.verdict, proof.kind, proof.edits) == ("proven", "repair", (skip,))


def test_an_edit_that_only_silences_what_fails_is_no_repair():
    work = program(lambda edits: 0.01 if CLIP in edits else -0.2)
    proof = cure(work, Plan(PRESET, SINGLES), halves())
    assert proof.verdict == "not proven" and proof.edits == () and not proof.healthy
    better = cure(program(lambda edits: 0.6 if RATE in edits else 0.01 if CLIP in edits else -0.2), Plan((), SINGLES), halves())
    assert better.edits == (RATE,)
