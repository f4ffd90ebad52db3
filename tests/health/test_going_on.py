"""After a proof that failed: the next candidate, on other seeds and by a stricter rule, and only where something is wrong."""

import math
import random

from isograd.health.found import Plan
from isograd.health.hypotheses import Proposal
from isograd.health.proving import APART, ATTEMPTS, FIRST_SEED
from isograd.health.remedies.order import in_order
from isograd.health.repair import cure
from isograd.health.trials import SEARCH_SEED, SECOND_SEED, Work
from isograd.records.edit import Edit
from isograd.records.proof import Training
from isograd.records.skill import Skill

CLEAR, LOSS, RATE, HE = Edit("clear_gradients"), Edit("loss"), Edit("learning_rate", 0.01), Edit("initialisation", "he")
RELU, CLIP, RESIDUAL, WIDTH = Edit("activation", "relu"), Edit("clip_norm", 1.0), Edit("residual"), Edit("width", 4.0)
PRESET = in_order((CLEAR, LOSS, RATE, HE, RELU, CLIP))
SINGLES = tuple(Proposal(edit, "list") for edit in (CLEAR, LOSS, RATE, HE, RELU, CLIP, RESIDUAL, WIDTH))


def program(skill, runs=60):
    """A program whose skill after a whole run is ``skill(set of edits, seed)``; half of it shows half-way."""

    def attempt(edits, seed, part, steps, stop):
        value = skill(frozenset(edits), seed)
        curve = tuple((point, value * point / 100) for point in (50, 100) if point <= steps)
        return Training(Skill(curve[-1][1] if curve else 0.0, 10), curve, steps)

    return Work(attempt, 100, lambda spent: runs * 100 - spent)


def lucky_clear(edits, seed):
    """One edit is good by its seed in the search alone; two others are good always."""
    return 0.9 if edits & {HE, CLIP} or (CLEAR in edits and seed in (SEARCH_SEED, SECOND_SEED)) else 0.1


def test_after_a_proof_that_fails_the_next_best_is_put_to_proof_with_a_pair_more():
    proof = cure(program(lucky_clear), Plan(PRESET, SINGLES), lambda: 0.5)
    assert (proof.verdict, proof.kind, proof.edits) == ("proven", "repair", (HE,))
    assert proof.pairs_needed == len(proof.trials) == 7 and proof.earlier == (6,)
    assert proof.trials[0].seed == FIRST_SEED + APART
    assert proof.false_proof_rate == 1 / 64 + 1 / 128 <= 0.025
    assert any("put to proof as well: clear the gradients" in told for told in proof.remarks)
    (lost,) = [one for one in proof.candidates if one.edits == (CLEAR,)]
    assert lost.skill == 0.9 and "its proof failed" in lost.reason, "what the search saw of it stays on record"


def test_what_was_tried_costs_nothing_again_when_the_search_goes_on():
    once = cure(program(lambda edits, seed: 0.9 if edits & {CLEAR} else 0.1), Plan(PRESET, SINGLES), lambda: 0.5)
    twice = cure(program(lucky_clear), Plan(PRESET, SINGLES), lambda: 0.5)
    further = [one for one in twice.candidates if one.edits not in {first.edits for first in once.candidates}]
    assert twice.cost_search == once.cost_search + sum(one.cost for one in further)
    assert twice.cost_proof < once.cost_proof + 1.0 + 2.0


def test_at_most_so_many_are_put_to_proof_and_the_first_one_stands_where_none_holds():
    asked = []

    def skill(edits, seed):
        if seed >= FIRST_SEED and edits:
            asked.append((edits, seed))
        return 0.9 if edits and seed < FIRST_SEED else 0.1

    proof = cure(program(skill, 300), Plan(PRESET, SINGLES), lambda: 0.5)
    assert proof.verdict == "not proven" and proof.edits == (CLEAR,) and proof.earlier == ()
    assert len({edits for edits, _ in asked}) == ATTEMPTS
    assert [seed for _, seed in asked] == [FIRST_SEED + APART * place for place in range(ATTEMPTS)]
    assert sum("put to proof as well" in told for told in proof.remarks) == ATTEMPTS - 1


def test_a_healthy_program_gets_one_proof_and_edits_that_were_asked_for_too():
    def skill(edits, seed):
        return 0.9 if edits and seed < FIRST_SEED else 0.7

    proof = cure(program(skill), Plan(PRESET, SINGLES), lambda: 0.5)
    assert proof.healthy and proof.verdict == "not proven" and not any("as well" in told for told in proof.remarks)
    alarmed = cure(program(skill), Plan(PRESET, SINGLES, alarmed=True), lambda: 0.5)
    assert any("as well" in told for told in alarmed.remarks), "an alarm leaves room for a second proof"
    sick = cure(program(lucky_clear), Plan(PRESET, SINGLES, asked=(CLEAR,)), lambda: 0.5)
    assert sick.edits == (CLEAR,) and sick.verdict == "not proven"


def test_a_budget_that_holds_no_second_proof_ends_with_the_first():
    proof = cure(program(lucky_clear, 12), Plan(PRESET, SINGLES), lambda: 0.5)
    assert proof.edits == (CLEAR,) and proof.verdict == "not proven" and proof.steps <= 1_200


def test_an_interruption_while_it_goes_on_keeps_the_first_proof():
    def skill(edits, seed):
        if edits == {HE}:
            raise KeyboardInterrupt
        return lucky_clear(edits, seed)

    proof = cure(program(skill), Plan(PRESET, SINGLES), lambda: 0.5)
    assert proof.interrupted and proof.edits == (CLEAR,) and proof.trials


def test_of_many_changes_that_do_nothing_one_is_proven_in_at_most_one_in_forty():
    runs, proven, attempts = 600, 0, 0
    for number in range(runs):
        draw = random.Random(f"nothing {number}")
        proof = cure(program(lambda edits, seed, draw=draw: 0.45 * draw.random() ** 4), Plan(PRESET, SINGLES), lambda: 0.5)
        proven += proof.verdict == "proven"
        attempts += 1 + max(len(proof.earlier), sum("as well" in told for told in proof.remarks)) if proof.edits else 0
    assert attempts > 1.2 * runs, "many go on"
    assert proven / runs <= 0.025 + 3.0 * math.sqrt(0.025 * 0.975 / runs)


def test_one_edit_that_is_enough_by_a_hair_is_seen_with_a_second_seed():
    def skill(edits, seed):
        if edits == {CLEAR}:
            return 0.865 if seed == SEARCH_SEED else 0.6
        return 0.9 if edits & {HE, RELU} else 0.1

    proof = cure(program(skill), Plan(PRESET, SINGLES), lambda: 0.5)
    assert proof.edits == (HE,) and proof.verdict == "proven" and proof.earlier == ()
    clear = cure(program(lambda edits, seed: 0.9 if CLEAR in edits else 0.1), Plan(PRESET, SINGLES), lambda: 0.5)
    assert clear.edits == (CLEAR,) and clear.cost_search == 3.0, "where nothing is in doubt it costs nothing"


def test_where_one_edit_is_near_and_not_enough_what_theory_puts_together_is_tried():
    def skill(edits, seed):
        return 0.9 if edits == set(PRESET) or {RATE, RESIDUAL} <= edits else 0.82 if CLEAR in edits else 0.1

    together = ((RATE, RESIDUAL),)
    assert set(cure(program(skill), Plan(PRESET, SINGLES, together=together), lambda: 0.5).edits) == {RATE, RESIDUAL}
    assert cure(program(skill), Plan(PRESET, SINGLES), lambda: 0.5).edits == (CLEAR,), "near the ceiling is better than nothing"
