"""What the loop does besides, where the run is one side of an experiment and the replay, which leaves it out, the other."""

from dataclasses import replace

import pytest

from isograd.health import faithful
from isograd.health.case import case_of
from isograd.health.outcome import Outcome
from isograd.records.anatomy import Anatomy
from isograd.records.cause import Cause, Explanation, Hypothesis
from isograd.records.edit import Edit
from isograd.records.fact import Fact
from isograd.records.finding import Finding
from isograd.records.moments import Moments
from isograd.records.skill import Skill
from isograd.records.trace import ParameterSample, Step, Trace


def run(*facts, ended=True):
    looked = (ParameterSample("0.weight", Moments.of([1.0])),)
    steps = tuple(Step(at, loss=1.0, parameters=looked, facts=facts) for at in range(1, 30))
    return case_of(Trace(Anatomy("torch", (), ()), steps=steps, ended=ended))


def told(disease, severity="critical"):
    return Finding(disease, severity, 0.9, "0", f"told of {disease}", source="train.py:9")


@pytest.fixture
def reached(monkeypatch):
    def set_to(skill, error=0.01):
        monkeypatch.setattr(faithful, "outcome", lambda case: Outcome(beat=None if skill is None else (skill, error)))

    return set_to


def test_what_an_alarm_tells_of_the_loop_is_blamed_where_a_replay_without_it_learns_more(reached):
    reached(0.1)
    found = faithful.by_hand(run(), 0.9, [told("plateau"), told("weights_reset")])
    assert found is not None and (found.edit.kind, found.certainty, found.source) == ("keep_weights", "likely", "train.py:9")
    assert found.gain == pytest.approx(0.8) and found.harm is None
    some = faithful.by_hand(run(), 0.3, [told("gradients_not_cleared", "warning")])
    assert some is not None and (some.edit.kind, some.certainty) == ("clear_gradients", "possible")


def test_gradients_clamped_by_hand_are_blamed_in_the_words_of_the_alarm_whatever_clip_the_replay_has(reached):
    reached(0.1)
    clipped = Fact("clipped", "", settings=(("bound", 0.5), ("norm", 2.0), ("by", "norm")))
    for one in (run(), run(clipped)):
        found = faithful.by_hand(one, 0.9, [told("clipping")])
        assert found is not None and (found.edit, found.summary) == (Edit("clip_norm"), "told of clipping")
    assert faithful.by_hand(run(clipped), 0.12, [told("clipping")]) is None


def test_a_replay_that_learns_no_more_than_the_run_blames_nothing(reached):
    for skill in (0.85, None):
        reached(skill)
        assert faithful.by_hand(run(), 0.9, [told("weights_reset")]) is None
    reached(0.1, error=0.5)
    assert faithful.by_hand(run(), 0.9, [told("weights_reset")]) is None


def test_a_remark_a_run_that_goes_on_and_what_the_replay_does_too_blame_nothing(reached):
    reached(0.1)
    assert faithful.by_hand(run(), 0.9, [told("weights_reset", "note")]) is None
    assert faithful.by_hand(run(ended=False), 0.9, [told("weights_reset")]) is None
    again = Fact("weights_changed", "0", settings=(("times", 3),))
    assert faithful.by_hand(run(again), 0.9, [told("weights_reset")]) is None


def explained(*tried, causes=(), answer="unknown"):
    return Explanation(answer, Skill(0.0, 90), 80, 800, 2000, causes, tuple(tried))


SLOWER = Edit("learning_rate", 0.001, before=0.1)


def rate(gain, reason="finding: learning rate", harm=0.0, **more):
    return Hypothesis(SLOWER, reason, gain, gain, harm, steps=80, **more)


def test_a_critical_alarm_of_the_steps_that_its_edit_bears_out_is_named_though_a_healthy_network_stands_the_value():
    found = faithful.spoken_for(explained(rate(0.8)), [told("learning_rate")])
    assert (
        found is not None and (found.edit, found.certainty) == (SLOWER, "likely") and "others like it stand it" in found.summary
    )
    some = faithful.spoken_for(explained(rate(0.4, "finding: learning rate, for longer")), [told("learning_rate")])
    assert some is not None and some.certainty == "possible"


def test_a_small_gain_a_mild_alarm_a_symptom_or_a_cause_that_is_known_names_no_setting():
    critical = [told("learning_rate")]
    assert faithful.spoken_for(explained(rate(0.2)), critical) is None
    assert faithful.spoken_for(explained(rate(0.8)), [told("learning_rate", "warning")]) is None
    assert faithful.spoken_for(explained(rate(0.8, "finding: plateau")), [told("plateau")]) is None
    assert faithful.spoken_for(explained(rate(0.8, "list")), critical) is None
    assert faithful.spoken_for(explained(rate(0.8), answer="healthy"), critical) is None


def cause_of(edit):
    return Cause(edit, "likely", 0.5, 0.7, "The rate is wrong.", "optimizer")


def test_a_fault_that_is_read_off_and_that_no_trial_takes_away_stands_before_what_gains_by_another_edit():
    found = explained(rate(0.5), causes=(cause_of(SLOWER),), answer="cause")
    shown = faithful.with_what_was_seen(found, [told("broadcast_loss"), told("learning_rate"), told("vanishing")])
    assert [one.finding.disease for one in shown.seen] == ["broadcast_loss"] and shown.causes == found.causes


@pytest.mark.parametrize(
    ("edit", "finding"),
    [
        (Edit("loss"), Finding("broadcast_loss", "critical", 0.9, "0", "its own edit is named")),
        (Edit("clear_gradients"), Finding("broadcast_loss", "critical", 0.9, "0", "the cause is as certain")),
        (SLOWER, Finding("structure", "warning", 0.8, "0", "it is not certain")),
        (SLOWER, Finding("inputs", "warning", 0.99, "data", "it is of the data, and tried")),
        (SLOWER, Finding("broadcast_loss", "note", 0.99, "loss", "it is a remark")),
    ],
)
def test_nothing_stands_before_a_cause_that_is_its_own_or_as_certain_nor_does_what_is_not_certain(edit, finding):
    assert faithful.with_what_was_seen(explained(causes=(cause_of(edit),), answer="cause"), [finding]).seen == ()


def test_a_layer_too_narrow_that_nothing_here_can_widen_stands_before_a_rate_that_helps():
    narrow = Finding("underfitting", "warning", 0.75, "enc.mid", "all passes through one unit")
    wider = Hypothesis(Edit("width", 16.0, before=1.0), "finding: underfitting", harm=0.85, failed="no chain of layers")
    for tried, placed, first in ((wider, "enc.mid", 1), (replace(wider, harm=0.1), "enc.mid", 0), (wider, "loss", 0)):
        found = explained(rate(0.5), tried, causes=(cause_of(SLOWER),), answer="cause")
        assert len(faithful.with_what_was_seen(found, [replace(narrow, where=placed)]).seen) == first


def around(value, noise):
    steps = tuple(Step(at, loss=value if at == 1 else (-1) ** at * noise) for at in range(1, 30))
    return case_of(Trace(Anatomy("torch", (), ()), steps=steps))


def test_a_loss_around_zero_may_be_twice_as_large_on_another_batch_and_one_far_from_it_not():
    assert faithful.another_loss(around(0.01, 0.02), around(0.05, 0.02)) is None
    assert faithful.another_loss(around(0.01, 1e-4), around(0.05, 1e-4)) == (0.01, 0.05)
