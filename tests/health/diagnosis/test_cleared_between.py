"""Gradients that are cleared between the passes of one step: an alarm where the answers are poor."""

import pytest

from isograd.health.case import Case
from isograd.health.diagnosis import gradients_lost
from isograd.health.outcome import Outcome
from isograd.records.anatomy import Anatomy
from isograd.records.fact import Fact
from isograd.records.trace import Step

CLEARED = (Fact("cleared_between", settings=(("passes", 4),)),)


@pytest.mark.parametrize(("judged", "severity"), [(Outcome(), "note"), (Outcome(decided=True, beat=(0.3, 0.01)), "warning")])
def test_passes_whose_gradients_are_cleared_before_the_last_one(judged, severity, monkeypatch):
    monkeypatch.setattr(gradients_lost, "outcome", lambda case: judged)
    looks = tuple(Step(index, facts=CLEARED) for index in (1, 2, 9))
    (finding,) = gradients_lost.diagnose(Case(Anatomy("torch", (), ()), steps=looks, taken=9, ended=True))
    assert finding.severity == severity and "Of 4 backward passes" in finding.summary


def test_one_look_says_nothing():
    assert not list(gradients_lost.diagnose(Case(Anatomy("torch", (), ()), steps=(Step(1, facts=CLEARED),), taken=9)))
