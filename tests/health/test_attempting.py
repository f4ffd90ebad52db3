"""Faults that hide one another, in programs whose skill by the set of edits is known by thought."""

import pytest

from isograd.health.attempting import Search, suspects, together
from isograd.health.cause import search
from isograd.health.harm import Harm
from isograd.health.hypotheses import Proposal
from isograd.records.cause import Hypothesis
from isograd.records.edit import Edit
from isograd.records.skill import Skill

RATE, INPUTS, CURVE = Edit("learning_rate", 0.05), Edit("input_scale", "standard"), Edit("activation", "relu", before="sigmoid")
DRAWN, CLIP, LOSS, LAST = Edit("initialisation", "he"), Edit("clip_norm", before=1e-4), Edit("loss"), Edit("last")
THREE = (INPUTS, CURVE, RATE)


def program(needs=THREE, reached=0.9, rate=0.05):
    """A program that learns once all of ``needs`` are there, at one learning rate alone."""

    def attempt(edits, steps):
        kinds = {edit.kind for edit in edits}
        right = all(edit.kind != "learning_rate" or abs(edit.value - rate) < 1e-9 for edit in edits)
        learned = steps and right and {edit.kind for edit in needs} <= kinds
        return Skill(reached if learned else 0.0, 100)

    return attempt


def of(edit, harm=0.7):
    return Hypothesis(edit, "value", 0.0, 0.0, harm)


def sick(attempt, harm=0.7, **more):
    return Search(attempt, lambda edit: Harm(harm), 2_000, alarmed=True, **more)


def proposed(*edits, reason="value"):
    return [Proposal(edit, reason, True) for edit in edits]


def test_three_faults_of_which_each_hides_the_others_are_all_named_and_nothing_else_is():
    found = search(sick(program()), proposed(*THREE, DRAWN, CLIP))
    assert {cause.edit for cause in found.causes} == set(THREE)
    assert all(cause.gain == pytest.approx(0.9) and not cause.rivals for cause in found.causes)
    assert found.spent <= 2_000


def test_a_healthy_or_an_unsuspected_program_is_not_mended_all_at_once():
    quiet = Search(program(), lambda edit: Harm(0.7), 2_000, alarmed=False)
    assert not any(one.reason == "all at once" for one in search(quiet, proposed(*THREE)).tried)
    harmless = search(sick(program(), harm=0.1), proposed(*THREE))
    assert harmless.causes == () and not any(one.reason == "all at once" for one in harmless.tried)


def test_a_rate_that_suits_the_mended_program_is_looked_for_on_both_sides():
    for rate in (0.005, 0.5):
        found = search(sick(program(rate=rate)), proposed(*THREE))
        assert {cause.edit.value for cause in found.causes if cause.edit.kind == "learning_rate"} == {rate}


def test_where_all_together_reach_nothing_none_is_blamed():
    found = search(sick(program(reached=0.1)), proposed(*THREE))
    assert found.causes == () and any(one.reason == "all at once" for one in found.tried)


def test_of_two_edits_that_do_the_same_one_is_left():
    def attempt(edits, steps):
        kinds = {edit.kind for edit in edits}
        return Skill(0.9 if steps and kinds & {"input_scale", "initialisation"} and "activation" in kinds else 0.0, 100)

    found = search(sick(attempt), proposed(INPUTS, DRAWN, CURVE))
    assert {cause.edit.kind for cause in found.causes} in ({"input_scale", "activation"}, {"initialisation", "activation"})


def test_faults_that_are_left_behind_a_cause_are_found_together_too():
    def attempt(edits, steps):
        kinds = {edit.kind for edit in edits}
        whole = {"activation", "input_scale", "learning_rate"} <= kinds and RATE in edits
        return Skill(0.95 if steps and whole else 0.3 if steps and kinds & {"activation"} else 0.0, 100)

    found = search(sick(attempt), proposed(*THREE))
    assert {cause.edit for cause in found.causes} == set(THREE)


def test_a_budget_that_cannot_put_each_back_mends_nothing_at_once():
    work = sick(program())
    work.spent = 1_800
    known = [Hypothesis(edit, "value", harm=0.7) for edit in THREE]
    assert together(work, Skill(0.0, 100), known) == [] and work.tried == []


def test_suspect_is_one_edit_of_each_kind_that_something_speaks_for_and_that_harms():
    rows = [(LOSS, "finding", 0.9), (LAST, "finding", 0.6), (RATE, "list", 0.8), (CLIP, "list", 0.3), (DRAWN, "value", 0.1)]
    work = sick(program())
    work.tried = [Hypothesis(edit, reason, 0.0, harm=harm) for edit, reason, harm in rows]
    assert [one.edit for one in suspects(work)] == [LOSS, RATE]
    assert suspects(work, (RATE, LOSS)) == []


def test_what_stayed_beside_something_that_went_later_is_put_back_once_more():
    """Inputs as they are cost something only as long as the weights are drawn for standardised ones."""

    def attempt(edits, steps):
        kinds = {edit.kind for edit in edits}
        if not steps or "activation" not in kinds:
            return Skill(0.0, 100)
        return Skill(0.5 if "initialisation" in kinds and "input_scale" not in kinds else 0.9, 100)

    harms = {"input_scale": 0.3, "initialisation": 0.4, "activation": 0.9}
    work = Search(attempt, lambda edit: Harm(harms[edit.kind]), 2_000, alarmed=True)
    known = [Hypothesis(edit, "value", 0.0, 0.0, harms[edit.kind]) for edit in (INPUTS, DRAWN, CURVE)]
    (cause,) = together(work, Skill(0.0, 100), known)
    assert cause.edit == CURVE and cause.given == ()


def test_larger_batches_that_a_finding_asks_for_are_not_asked_to_last_on_examples_that_they_know_by_heart():
    larger, rate = Edit("batch_size", 32.0, before=1.0), Edit("learning_rate", 0.1, before=1.0)
    for edit, named in ((larger, True), (rate, False)):
        skills = {(): {80: 0.2, 320: 0.3, 0: 0.0}, (edit,): {80: 0.4, 320: 0.25, 0: 0.0}}
        work = Search(lambda edits, steps, skills=skills: Skill(skills[edits][steps], 100), lambda edit: Harm(0.4), 2_000)
        found = search(work, [Proposal(edit, "finding: batch size", True)], longest=800)
        assert bool(found.causes) is named


TARGETS = Edit("target_scale", "standard")
HARMS = {"learning_rate": 0.2, "input_scale": 0.9, "target_scale": 0.65, "loss": 0.7}


def raw(workaround, alone=()):
    """Raw inputs and raw targets hide one another; a larger rate gets round both, and reaches ``workaround``."""

    def attempt(edits, steps):
        kinds = {edit.kind for edit in edits}
        mended = {"input_scale", "target_scale", *alone} <= kinds
        return Skill(0.9 if steps and mended else workaround if steps and "learning_rate" in kinds else 0.0, 100)

    return Search(attempt, lambda edit: Harm(HARMS[edit.kind]), 3_000, alarmed=True)


def test_a_rate_that_a_healthy_network_hardly_minds_is_not_blamed_for_raw_data_that_gain_nothing_alone():
    found = search(raw(0.8), proposed(RATE, INPUTS, TARGETS))
    assert {cause.edit.kind for cause in found.causes} == {"input_scale", "target_scale"}
    assert all(cause.gain == pytest.approx(0.9, abs=0.11) for cause in found.causes)


def test_a_rate_that_reaches_more_than_all_the_others_is_to_blame_itself():
    found = search(raw(0.97), proposed(RATE, INPUTS, TARGETS))
    assert [cause.edit.kind for cause in found.causes] == ["learning_rate"]


def test_a_loss_that_is_wrong_for_certain_is_named_with_what_hid_it():
    certain = [Proposal(LOSS, "fact: broadcast_loss", True), *proposed(RATE, INPUTS, TARGETS)]
    found = search(raw(0.5, alone=("loss",)), certain)
    assert {cause.edit.kind for cause in found.causes} == {"loss", "input_scale", "target_scale"}


def test_what_gains_alone_and_harms_a_healthy_network_is_named_without_a_second_look():
    harmful = Search(raw(0.8).attempt, lambda edit: Harm(0.9), 3_000, alarmed=True)
    found = search(harmful, proposed(RATE, INPUTS, TARGETS))
    assert found.causes[0].edit.kind == "learning_rate" and not any(one.reason == "all at once" for one in found.tried)


@pytest.mark.parametrize(("reason", "named"), [("finding: loss_mismatch", True), ("value", False)])
def test_beside_a_first_cause_a_finding_of_what_does_harm_stands_where_a_longer_run_leaves_it_little(reason, named):
    def attempt(edits, steps):
        kinds, long = {edit.kind for edit in edits}, steps > 80
        value = 0.0 if "input_scale" not in kinds else 0.75 if long else 0.54
        return Skill(value + (0.12 if long else 0.29) * ("loss" in kinds and value > 0.0), 100)

    work = Search(attempt, lambda edit: Harm(HARMS[edit.kind]), 4_000, alarmed=True)
    found = search(work, [Proposal(INPUTS, "finding: inputs", True), Proposal(LOSS, reason, True)], longest=400)
    assert [cause.edit.kind for cause in found.causes] == ["input_scale", *(["loss"] if named else [])]


@pytest.mark.parametrize(("born", "named"), [(0.0, True), (0.8, False)])
def test_other_weights_that_answer_better_before_the_first_step_are_to_blame_for_no_more_than_what_is_learned(born, named):
    def attempt(edits, steps):
        drawn, scaled = (any(edit.kind == kind for edit in edits) for kind in ("initialisation", "input_scale"))
        return Skill(0.0 if not drawn else 0.9 if steps and scaled else born, 100)

    found = together(sick(attempt), Skill(0.0, 100), [of(one) for one in (DRAWN, INPUTS)])
    assert bool(found) is named
