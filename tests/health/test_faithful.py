"""What the loop does besides, where the run is one side of an experiment and the replay, which leaves it out, the other."""

import pytest

from isograd.health import faithful
from isograd.health.case import case_of
from isograd.health.outcome import Outcome
from isograd.records.anatomy import Anatomy
from isograd.records.edit import Edit
from isograd.records.fact import Fact
from isograd.records.finding import Finding
from isograd.records.moments import Moments
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
