"""The search for a cause where a run is too short, and what it says helps where nothing is to blame."""

import pytest

from isograd.health.attempting import Search
from isograd.health.cause import search
from isograd.health.harm import Harm
from isograd.health.hypotheses import Proposal
from isograd.records.edit import Edit
from isograd.records.skill import Skill


def run_of_25(reason, *, alarmed=True):
    """A run of 25 steps that learns a little more with each; that it is short is told by a finding, or by its value."""

    def attempt(edits, steps):
        return Skill(min(0.9, 0.004 * steps), 100)

    work = Search(attempt, lambda edit: Harm(0.3), 2_000, 25, alarmed=alarmed, run=25)
    return search(work, [Proposal(Edit("steps", 80.0, before=25.0), reason, True)], longest=800)


def test_a_run_that_is_too_short_is_to_blame_where_an_alarm_says_so_and_its_length_alone_is_not():
    cause = run_of_25("finding: interrupted").causes[0]
    assert (cause.edit.kind, cause.gain) == ("steps", pytest.approx(0.22))
    assert run_of_25("value").causes == () and run_of_25("finding: interrupted", alarmed=False).causes == ()


def test_more_steps_are_not_held_against_a_control_that_takes_as_many():
    assert [one.steps for one in run_of_25("value").tried if one.reason == "value, for longer"] == [80]


def test_what_helps_a_sick_program_and_harms_no_healthy_one_is_a_remedy_the_best_of_its_kind():
    fast, slow, scale = Edit("learning_rate", 0.01), Edit("learning_rate", 0.003), Edit("input_scale")
    skills = {(fast,): 0.7, (slow,): 0.6, (scale,): 0.2}
    work = Search(lambda edits, steps: Skill(skills.get(edits, 0.0), 100), lambda edit: Harm(0.0), 2_000)
    found = search(work, [Proposal(one, "list") for one in (slow, fast, scale)])
    assert (found.answer, found.causes, found.remedies) == ("unknown", (), (fast,))


def test_what_an_alarm_speaks_for_and_the_budget_does_not_confirm_is_named_and_what_only_gains_is_not():
    scale = Edit("input_scale", "standard", before=40.0)
    skill = {(): 0.2, (scale,): 0.45}
    for reason, alarmed, named in (("finding: inputs", True, 1), ("list", True, 0), ("finding: inputs", False, 0)):
        work = Search(lambda edits, steps: Skill(skill[edits], 100), lambda edit: Harm(0.4), 400, alarmed=alarmed)
        found = search(work, [Proposal(scale, reason, reason != "list")], longest=1_000)
        assert len(found.causes) == named, reason


@pytest.mark.parametrize(("alarmed", "later", "named"), [(True, 0.9, True), (False, 0.9, False), (False, 0.2, True)])
def test_a_large_gain_without_an_alarm_is_a_cause_only_where_the_untouched_copy_does_not_catch_up(alarmed, later, named):
    def attempt(edits, steps):
        return Skill(0.9 if edits and steps else later if steps > 80 else 0.05, 100)

    work = Search(attempt, lambda edit: Harm(0.8), 2_000, alarmed=alarmed)
    found = search(work, [Proposal(Edit("learning_rate", 0.01, before=1.0), "list")], longest=320)
    assert bool(found.causes) is named
    if named and not alarmed:
        assert found.causes[0].gain == pytest.approx(0.7)  # of the longer replay
