"""The order in which a search for a repair spends its budget, on programs whose answer is known by thought."""

import pytest

from isograd.health.found import Plan
from isograd.health.hypotheses import Proposal
from isograd.health.repair import cure
from isograd.health.trials import Work
from isograd.records.edit import Edit
from isograd.records.proof import Training
from isograd.records.skill import Skill

CLEAR, LOSS, RATE, HE = Edit("clear_gradients"), Edit("loss"), Edit("learning_rate", 0.01), Edit("initialisation", "he")
RELU, CLIP, RESIDUAL = Edit("activation", "relu"), Edit("clip_norm", 1.0), Edit("residual")
EVERY = (CLEAR, LOSS, RATE, HE, RELU, CLIP, RESIDUAL)
SINGLES = tuple(Proposal(edit, "list") for edit in EVERY)


def program(skill, runs=60.0):
    """A program whose skill after a whole run is ``skill(set of edits)``; half of it shows half-way."""

    def attempt(edits, seed, part, steps, stop):
        value = skill(frozenset(edits))
        if steps == 100 and stop is not None and stop(50, value / 2):
            return Training(Skill(value / 2, 10), ((50, value / 2),), 50)
        curve = tuple((point, value * point / 100) for point in (50, 100) if point <= steps)
        return Training(Skill(curve[-1][1], 10), curve, steps)

    return Work(attempt, 100, lambda spent: runs * 100 - spent)


def test_paths_come_after_three_singles_where_a_network_is_too_deep_and_something_speaks_for_them():
    fixup = Edit("initialisation", "fixup")

    def place(urgent):
        singles = [Proposal(edit, "finding", urgent) for edit in (CLEAR, LOSS, RATE, CLIP, HE, RELU, RESIDUAL)]
        work = program(lambda edits: 0.9 if {RESIDUAL, fixup} <= edits or edits >= set(EVERY) else 0.1)
        proof = cure(work, Plan(EVERY, tuple(singles), together=((RESIDUAL, fixup),)), lambda: 0.5)
        assert proof.verdict == "proven" and proof.edits == (RESIDUAL, fixup)
        return [one.edits for one in proof.candidates if one.edits].index((RESIDUAL, fixup))

    assert place(urgent=True) == 4 < place(urgent=False), "behind the preset and three singles"


def test_where_no_proof_can_be_paid_the_likeliest_edits_are_tried_before_the_preset_is_told():
    work = program(lambda edits: 0.9 if RATE in edits else 0.1, 9.6)
    proof = cure(work, Plan(EVERY, SINGLES), lambda: 0.5)
    assert (proof.verdict, proof.edits, proof.trials) == ("not proven", (RATE,), ()), "and not ten edits at once"
    assert "that takes 6 pairs" in proof.why and work.spent <= 500
    many = program(lambda edits: 0.9 if RESIDUAL in edits else 0.1, 9.6)
    assert cure(many, Plan(EVERY, SINGLES), lambda: 0.5).cost_search == 3.5, "three of them, and no more"


def test_without_a_ceiling_a_first_gain_does_not_end_what_is_proposed_and_doing_well_does():
    asked = []

    def propose(candidates):
        asked.append(len(candidates))
        return (HE, CLIP)

    def cured(first):
        asked.clear()
        plan = Plan((), SINGLES, propose=propose)
        return cure(program(lambda edits: 0.9 if edits == {HE, CLIP} else first if RATE in edits else 0.0), plan, lambda: 0.5)

    assert set(cured(0.35).edits) == {HE, CLIP} and asked
    assert cured(0.8).edits == (RATE,) and not asked


def test_a_program_that_does_well_without_a_ceiling_is_not_left_at_its_first_gain():
    def skill(edits):
        return 0.85 if edits == {LOSS} else 0.64 if edits == {CLEAR} else 0.3 if len(edits) > 1 else 0.55

    proof = cure(program(skill), Plan(EVERY, SINGLES, alarmed=True), lambda: 0.5)
    assert proof.edits == (LOSS,) and [one.edits for one in proof.candidates if one.stage == "single"][:2] == [
        (CLEAR,),
        (LOSS,),
    ]
    found = cure(program(lambda edits: 0.95 if edits == {CLEAR} else 0.55), Plan(EVERY, SINGLES, alarmed=True), lambda: 0.5)
    assert len([one for one in found.candidates if one.stage == "single"]) == 1, "better than this is not worth a run"


def test_five_rates_do_not_crowd_out_the_one_edit_that_helps():
    rates = [Edit("learning_rate", 10.0**-power) for power in range(1, 9)]
    singles = [Proposal(edit, "finding", True) for edit in (*rates, HE)]
    proof = cure(program(lambda edits: 0.9 if HE in edits else 0.1), Plan(EVERY, tuple(singles)), lambda: 0.5)
    assert proof.edits == (HE,)
    assert [one.edits for one in proof.candidates if one.stage == "single"] == [(rates[0],), (rates[1],), (HE,)]


def test_two_faults_that_hide_each_others_repair_are_found_in_short_pairs_where_the_preset_does_not_do_well():
    def skill(edits):
        return 0.45 if {HE, CLIP} <= edits else 0.0

    def attempt(edits, seed, part, steps, stop):
        asked.append((edits, steps))
        curve = tuple((at, skill(frozenset(edits)) * at / 100) for at in (25, 50, 75, 100) if at <= steps)
        return Training(Skill(curve[-1][1], 10), curve, steps)

    asked = []
    singles = [Proposal(edit, "finding", True) for edit in (LOSS, RATE, RELU, CLIP, HE)]
    proof = cure(Work(attempt, 100, lambda spent: 6_000 - spent), Plan(EVERY, tuple(singles)), lambda: 0.5)
    assert set(proof.edits) == {HE, CLIP} and proof.verdict == "proven"
    full = [set(edits) for edits, steps in asked if steps == 100 and len(edits) == 2]
    assert full[0] == {HE, CLIP}, "the first pair that is run in full, of ten"
    assert [steps for edits, steps in asked if set(edits) == {LOSS, CLIP}] == [25]


def test_two_edits_that_are_good_by_one_seed_alone_are_worth_the_mean_of_two():
    def cured(other):
        def attempt(edits, seed, part, steps, stop):
            lucky = 0.88 if seed == 0 else other
            value = 0.9 if {RELU, HE, CLIP} <= set(edits) else lucky if {RELU, HE} <= set(edits) else 0.0
            return Training(
                Skill(value * steps / 100, 10), tuple((at, value * at / 100) for at in (50, 100) if at <= steps), steps
            )

        return cure(Work(attempt, 100, lambda spent: 9_000 - spent), Plan((CLIP, HE, RELU), SINGLES), lambda: 0.5)

    assert set(cured(0.86).edits) == {RELU, HE} and set(cured(0.4).edits) == {RELU, HE, CLIP}
    (fragile,) = [one for one in cured(0.4).candidates if set(one.edits) == {RELU, HE}]
    assert fragile.skill == pytest.approx(0.64) and fragile.cost == 2.0


def test_several_edits_that_are_not_enough_are_not_seen_again_where_one_is_near_as_well():
    def attempt(edits, seed, part, steps, stop):
        asked.append((edits, seed))
        value = 0.9 if len(edits) > 3 else 0.83 if RELU in edits else 0.0
        return Training(Skill(value * steps / 100, 10), tuple((at, value * at / 100) for at in (50, 100) if at <= steps), steps)

    asked = []
    singles = tuple(Proposal(edit, "finding", True) for edit in (RELU, HE, CLIP))
    proof = cure(Work(attempt, 100, lambda spent: 9_000 - spent), Plan((CLIP, HE, RATE, RELU), singles), lambda: 0.5)
    assert proof.edits == (RELU,) and any(len(edits) == 2 for edits, _ in asked)
    assert not [edits for edits, seed in asked if seed == 1 and len(edits) > 1]


@pytest.mark.parametrize("runs", [24.0, 25.0, 40.0])
def test_what_is_taken_away_and_a_second_seed_leave_the_proof_of_a_few_edits(runs):
    work = program(lambda edits: 0.9 if {LOSS, RATE, RELU} <= edits else 0.0, runs)
    proof = cure(work, Plan(EVERY, SINGLES), lambda: 0.5)
    assert (set(proof.edits), proof.verdict) == ({LOSS, RATE, RELU}, "proven"), proof.why
    assert proof.cost_search <= runs - 9.5, "eight pairs of half length, and the random edit on three"


def test_a_longer_run_shows_its_gap_at_its_own_half():
    longer = Edit("steps", 200.0, before=100.0)

    def attempt(edits, seed, part, steps, stop):
        value = 0.9 if longer in edits else 0.2
        curve = tuple((at, value) for at in sorted({steps // 4, steps // 2, steps}))
        return Training(Skill(value, 10), curve, steps)

    proof = cure(Work(attempt, 100, lambda spent: 4_000 - spent), Plan((), (), asked=(longer,)), lambda: 0.5)
    assert (proof.verdict, proof.pair_length) == ("proven", 50)
    assert {trial.treated.steps for trial in proof.trials} == {100}


def rated(skill_at, gains_late, most=0.0):
    """What is chosen where the skill after a run hangs on the rate, and the last quarter gains so much of it."""

    def attempt(edits, seed, part, steps, stop):
        rate = next((edit.value for edit in edits if edit.kind == "learning_rate"), 0.0)
        asked.append(rate)
        value = skill_at(rate) if rate else most
        looks = [(quarter * steps) // 4 for quarter in (1, 2, 3, 4)]
        curve = tuple((at, value - (gains_late if at < steps else 0.0)) for at in looks)
        return Training(Skill(value, 10), curve, steps)

    asked = []
    singles = (Proposal(Edit("learning_rate", 0.003, before=3e-5), "finding", True),)
    proof = cure(Work(attempt, 100, lambda spent: 9_000 - spent), Plan((singles[0].edit,), singles), lambda: 0.5)
    return proof.edits[0].value, asked


def test_a_rate_is_doubled_while_the_run_still_gains_at_its_end_and_does_better():
    assert rated(lambda rate: {0.003: 0.5, 0.006: 0.6, 0.012: 0.7, 0.024: 0.8}.get(rate, 0.0), 0.1)[0] == 0.012
    assert rated(lambda rate: {0.003: 0.5, 0.006: 0.6}.get(rate, 0.1), 0.1)[0] == 0.006
    assert rated(lambda rate: {0.003: 0.5, 0.006: 0.51}.get(rate, 0.1), 0.1)[0] == 0.003, "no difference is none"


def test_a_rate_stays_where_the_run_has_come_to_rest_or_nothing_is_left_to_gain():
    for skill, late in ((0.5, 0.01), (0.95, 0.1)):
        rate, asked = rated(lambda rate, skill=skill: skill + (0.2 if rate > 0.004 else 0.0), late)
        assert rate == 0.003 and 0.006 not in asked
