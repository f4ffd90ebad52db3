"""What was seen, where no experiment names a cause: possible, told apart from what was tried, and refuted by harm alone."""

import dataclasses

import pytest

from isograd.health.faithful import in_notes, with_what_was_seen
from isograd.health.hypotheses import Proposal
from isograd.records.cause import Cause, Explanation, Hypothesis
from isograd.records.edit import Edit
from isograd.records.finding import Finding
from isograd.records.skill import Skill

NONE = Explanation("unknown", Skill(0.0, 9), 80, 800, 2_000)
SCALE = Edit("input_scale", "standard", before=40.0)
LARGE = Finding("inputs", "critical", 0.9, "data", "The inputs are large.", source="train.py:9")


def tried(gain, *, control=0.0, steps=80, given=(), failed=None):
    skill = None if failed else control + gain
    return Hypothesis(SCALE, "finding: inputs", skill, gain, steps=steps, given=given, failed=failed)


def standing(*trials, candidates=()):
    (one,) = with_what_was_seen(dataclasses.replace(NONE, tried=trials), (LARGE,), candidates).seen
    return one.standing


def test_an_alarm_that_no_trial_names_is_possible_and_says_why_no_trial_does():
    assert standing() == "no edit"
    assert standing(candidates=(Proposal(SCALE, "finding"),)) == "not tried"
    assert standing(tried(0.0, failed="no such input")) == "failed"
    assert standing(tried(0.03)) == "no help"


def test_a_trial_refutes_an_alarm_by_harm_to_a_copy_that_learns_and_by_nothing_else():
    assert standing(tried(-0.2, control=0.6)) == "refuted"
    assert standing(tried(-0.2, control=0.0)) == "no help"
    assert standing(tried(-0.05, control=0.6)) == "no help"
    assert standing(tried(-0.2, control=0.6), tried(0.0, control=0.6)) == "no help"


def test_the_longest_trials_speak_and_those_beside_other_edits_do_not():
    assert standing(tried(-0.2, control=0.6), tried(0.02, control=0.6, steps=320)) == "no help"
    assert standing(tried(0.3, control=0.6, given=(Edit("last"),)), tried(-0.2, control=0.6)) == "refuted"


def test_what_is_refuted_comes_last_and_what_came_of_a_training_is_no_cause():
    leak = Finding("leak", "warning", 0.8, "data", "The answer is among the inputs.")
    ends = Finding("plateau", "critical", 0.9, "loss", "Nothing was learned.")
    note = Finding("balance", "note", 0.9, "0", "The layers move at different rates.")
    found = with_what_was_seen(dataclasses.replace(NONE, tried=(tried(-0.2, control=0.6),)), (LARGE, leak, ends, note))
    assert [one.finding.disease for one in found.seen] == ["leak", "inputs"]
    assert in_notes((LARGE, ends, note)) == ["seen, not tried: The inputs are large (data, train.py:9)"]


def test_a_symptom_that_was_tried_in_vain_comes_after_others_and_a_fault_of_the_program_does_not():
    narrow = Finding("underfitting", "warning", 0.75, "entry", "Everything has to pass through one unit.")
    leak = Finding("leak", "warning", 0.8, "data", "The answer is among the inputs.")
    square = Finding("broadcast_loss", "critical", 0.9, "loss", "Outputs of shape (32, 1) met targets of shape (32).")
    vain = tuple(Hypothesis(Edit(kind), "finding", 0.0, 0.0, steps=80) for kind in ("input_scale", "loss"))

    def order(*trials):
        found = with_what_was_seen(dataclasses.replace(NONE, tried=trials), (square, LARGE, narrow, leak))
        return [one.finding.disease for one in found.seen]

    assert order(*vain) == ["broadcast_loss", "underfitting", "leak", "inputs"]
    assert order(vain[1], tried(0.2)) == ["broadcast_loss", "inputs", "underfitting", "leak"]


@pytest.mark.parametrize("answer", ["cause", "healthy"])
def test_beside_a_cause_and_without_an_alarm_nothing_is_added(answer):
    cause = Cause(SCALE, "sure", 0.8, 0.7, "The inputs are large.")
    found = dataclasses.replace(NONE, answer=answer, causes=(cause,) if answer == "cause" else ())
    assert with_what_was_seen(found, (LARGE,) if answer == "cause" else ()) == found


def test_where_a_batch_was_learned_by_heart_symptoms_that_were_tried_in_vain_are_answered():
    fast = Finding("learning_rate", "warning", 0.8, "optimizer", "The steps are too large.")
    leak = Finding("leak", "warning", 0.8, "data", "The answer is among the inputs.")
    vain = Hypothesis(Edit("learning_rate", 0.1), "finding: learning rate", 0.0, 0.0, steps=320)
    no_signal = dataclasses.replace(NONE, answer="no signal", tried=(vain, tried(0.0)))
    found = with_what_was_seen(no_signal, (fast, LARGE, leak))
    assert (found.answer, [one.finding.disease for one in found.seen]) == ("no signal", ["leak", "inputs"])


def test_nothing_is_said_of_the_labels_beside_a_critical_fault_of_the_program():
    cut = Finding("cut_graph", "critical", 0.97, "loss", "Nothing reaches the layers.")
    no_signal = dataclasses.replace(
        NONE, answer="no signal", tried=(Hypothesis(Edit("keep_graph"), "fact", 0.0, 0.0, steps=80),)
    )
    for severity, answer in (("critical", "unknown"), ("warning", "no signal")):
        found = with_what_was_seen(no_signal, (dataclasses.replace(cut, severity=severity),))
        assert (found.answer, [one.finding.disease for one in found.seen]) == (answer, ["cut_graph"])
