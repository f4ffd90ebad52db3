"""What is put beside the best change: a higher rate, a part of the preset; and when a second seed speaks for less."""

import pytest

from isograd.health.choosing import choose
from isograd.health.combining import beside, combine
from isograd.health.found import Found, Plan
from isograd.health.hypotheses import Proposal
from isograd.health.present import Present
from isograd.health.remedies.order import in_order
from isograd.health.remedies.preset import other_ways, preset
from isograd.health.repair import cure
from isograd.health.trials import SEARCH_SEED, SECOND_SEED, Work
from isograd.records.edit import Edit
from isograd.records.proof import Training
from isograd.records.skill import Skill

RATE, HE, ADAM = Edit("learning_rate", 0.01), Edit("initialisation", "he"), Edit("optimizer", "adam")
CLIP, LOSS, NORM = Edit("clip_norm", 1.0), Edit("loss"), Edit("normalisation", "batch")
PRESET = in_order((HE, ADAM, CLIP, LOSS, NORM))


def searched(skill, best, *, other_seed=None, ceiling=PRESET):
    """Work and findings after the program, a preset and the ``best`` single change ran; a run gains evenly over its steps."""

    def attempt(edits, seed, part, steps, stop):
        value = (skill if seed == SEARCH_SEED or other_seed is None else other_seed)(frozenset(edits))
        curve = [(point, value * point / 100) for point in (25, 50, 75, 100) if point <= steps]
        for step, now in curve[:-1]:
            if stop is not None and stop(step, now):
                return Training(Skill(now, 10), ((step, now),), step)
        return Training(Skill(curve[-1][1], 10), tuple(curve), steps)

    work = Work(attempt, 100, lambda spent: 6_000 - spent)
    control = work.candidate((), "control", "")
    top = work.candidate(ceiling, "preset", "")
    found = Found(control=control, ceiling=work.candidates[-1], top=(top, top.skill.value))
    work.candidate(best, "single", "")
    return work, found


def tried(work):
    return [one.edits for one in work.candidates[3:]]


def test_a_part_of_the_preset_that_nothing_speaks_for_is_put_beside_what_gains_alone():
    work, found = searched(lambda edits: 0.9 if {LOSS, NORM} <= edits else 0.6 if LOSS in edits else 0.1, (LOSS,))
    beside(work, Plan(PRESET), found, found.top[0], 0.9)
    assert tried(work) == [in_order((LOSS, NORM))], "the three others were not ahead in a short replay"
    short = [edits for edits, _, _, steps in work.known if steps == 25]
    assert len(short) == len(PRESET) - 1 and all(LOSS in edits and len(edits) == 2 for edits in short)


@pytest.mark.parametrize("alone", [0.85, 0.88])
def test_the_preset_is_not_taken_apart_where_it_is_hardly_better(alone):
    work, found = searched(lambda edits: 0.9 if {LOSS, NORM} <= edits else alone if LOSS in edits else 0.1, (LOSS,))
    beside(work, Plan(PRESET), found, found.top[0], 0.9)
    assert tried(work) == []


def test_a_rate_that_is_still_gaining_is_raised_before_anything_is_put_beside_it():
    def skill(edits):
        rate = max((float(one.value) for one in edits if one.kind == "learning_rate"), default=0.0)
        return 0.9 if len(edits) > 3 else min(0.9, 30.0 * rate)

    work, found = searched(skill, (RATE,))
    beside(work, Plan(PRESET), found, found.top[0], 0.9)
    assert [one[0].value for one in tried(work)] == [0.02, 0.04]


def chosen(skill, other_seed):
    work, found = searched(skill, (LOSS,), other_seed=other_seed)
    work.candidate(in_order((LOSS, HE)), "combination", "")
    choose(work, Plan(PRESET), found, 0.9)
    return work, set(found.edits)


def test_a_larger_change_that_another_seed_sees_no_better_gives_way_to_the_smaller():
    def skill(edits):
        return 0.9 if NORM in edits else 0.82 if HE in edits else 0.76 if LOSS in edits else 0.1

    _, kept = chosen(skill, lambda edits: skill(edits) if HE in edits else 0.9)
    assert kept == {LOSS}
    work, kept = chosen(skill, skill)
    assert kept == {LOSS, HE} and sum(seed == SECOND_SEED for _, seed, _, _ in work.known) == 2


def test_no_second_seed_is_paid_where_the_smaller_change_is_far_behind():
    def skill(edits):
        return 0.9 if NORM in edits else 0.82 if HE in edits else 0.7 if LOSS in edits else 0.1

    work, kept = chosen(skill, lambda edits: 0.9)
    assert kept == {LOSS, HE} and all((edits, seed) != ((LOSS,), SECOND_SEED) for edits, seed, _, _ in work.known)


def test_what_has_half_the_gain_alone_stays_while_the_rest_is_shrunk_and_goes_where_the_rest_needs_it_not():
    def skill(edits):
        return 0.9 if {HE, NORM} <= edits else 0.5 if LOSS in edits else 0.1

    work, found = searched(skill, (LOSS,), ceiling=in_order((LOSS, HE, NORM)))
    combine(work, Plan(PRESET), found, 0.1, 0.9, lambda step, value: False)
    shrunk = [one.edits for one in work.candidates if one.stage == "shrunk"]
    assert len(shrunk) == 3 and all(LOSS in edits for edits in shrunk[:-1]) and set(shrunk[-1]) == {HE, NORM}


def test_recurrent_layers_are_turned_where_the_preset_does_not_help_and_others_are_not():
    programs = [Present(family, 2, 16.0) for family in ("recurrent", "dense")]
    edits = [{edit for way in other_ways(preset((), one), (), one) for edit in way} for one in programs]
    turned = [{edit.value for edit in found if edit.kind == "axes"} for found in edits]
    assert turned == [{"batch", "time"}, set()]


def test_what_rises_and_falls_again_is_tried_with_steady_steps():
    steady = Edit("constant_rate")

    def attempt(edits, seed, part, steps, stop):
        late = 0.9 if steady in edits and LOSS in edits else -0.2
        curve = [(point, value) for point, value in ((50, 0.5 if LOSS in edits else 0.0), (100, late)) if point <= steps]
        return Training(Skill(curve[-1][1] if curve else 0.0, 10), tuple(curve), steps)

    work = Work(attempt, 100, lambda spent: 6_000 - spent)
    singles = tuple(Proposal(edit, "list") for edit in (LOSS, HE, CLIP, steady))
    proof = cure(work, Plan((HE, CLIP), singles), lambda: 0.5)
    assert proof.verdict == "proven" and set(proof.edits) == {LOSS, steady}
    assert "it rose and fell again" in {one.reason for one in proof.candidates} and proof.cost_search < 10.0


@pytest.mark.parametrize(("he", "usual", "kept"), [(0.6, 0.8, "usual"), (0.6, 0.61, "he"), (0.95, 0.99, "he")])
def test_weights_as_the_layers_draw_them_go_instead_of_a_rule_where_they_are_clearly_better(he, usual, kept):
    worth = {"he": he, "usual": usual}
    work, found = searched(lambda edits: max((worth.get(str(one.value), 0.0) for one in edits), default=0.0), (HE,))
    choose(work, Plan(PRESET), found, he)
    assert [edit.value for edit in found.edits] == [kept]
