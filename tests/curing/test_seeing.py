"""What is seen before a search: the first steps in full, later looks at the run that is trained anyway."""

import pytest
import torch
from curing_programs import DATA, LOSS, adam, net
from torch import nn

from isograd.curing import cured
from isograd.frameworks.torch.births import TorchBirths
from isograd.health.case import Case
from isograd.health.present import Present
from isograd.records.anatomy import Anatomy
from isograd.records.edit import Edit
from isograd.records.finding import Finding
from isograd.records.loop import Loop
from isograd.seeing import OBSERVED, Seen, later_looks
from isograd.spending import budget_of
from isograd.trying import Attempts, Program


@pytest.mark.parametrize("length", [1, 40, 60, 300, 5_000])
def test_later_looks_come_after_the_first_steps_in_pairs_and_never_beyond_the_run(length):
    looks = later_looks(length)
    assert all(OBSERVED < step <= length for step in looks) and len(looks) <= 30
    assert all(step + 1 in looks or step - 1 in looks for step in looks)


def test_a_rate_that_was_still_rising_in_the_first_steps_is_the_highest_of_the_whole_run():
    case = Case(Anatomy("torch", (), ()))
    first = Seen(case, (), Present("dense", 2, 8.0, numbers=(("learning_rate", 0.004),)))
    schedule = Loop(rates=((1, 0.0), (100, 0.01)))
    risen = Present("dense", 2, 8.0, schedule, (("learning_rate", 0.01),))
    assert first.later(Seen(case, (), risen)).present.number("learning_rate") == 0.01
    steady = Present("dense", 2, 8.0, numbers=(("learning_rate", 0.01),))
    assert first.later(Seen(case, (), steady)).present.number("learning_rate") == 0.004


def test_of_later_looks_only_what_something_speaks_for_is_added():
    first = Seen(Case(Anatomy("torch", (), ())), (), Present("dense", 2, 8.0))
    redrawn = Present("dense", 2, 8.0, Loop(redraws=10))
    sick = Finding("exploding_gradients", "critical", 0.9, "", "the gradient explodes", since=70)
    both = first.later(Seen(first.case, (sick,), redrawn))
    assert first.alarmed is False and both.alarmed
    kinds = [one.edit.kind for one in both.prescribed]
    assert kinds[0] == "keep_weights" and "keep_weights" not in [one.edit.kind for one in first.prescribed]
    assert {one.edit for one in both.prescribed if not one.urgent} <= {one.edit for one in first.prescribed}
    keep, draw = Edit("keep_weights"), Edit("initialisation", "he")
    assert both.harm(keep) != first.harm(keep) and both.harm(draw) == first.harm(draw)


def births(**loop):
    return TorchBirths(net, LOSS, adam(1e-2), loop=Loop(**loop))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_run_that_is_watched_is_to_the_last_bit_the_run_that_is_not(dropout):
    def build():
        return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))

    def attempts():
        return Attempts(Program(TorchBirths(build, LOSS, adam(1e-2)), DATA, None, own_score=False), "", {}, None, 100)

    watched, plain = attempts(), attempts()
    before = torch.get_rng_state()
    trace = watched.followed(later_looks(100))
    assert watched((), 0, "search", 100, None) == plain((), 0, "search", 100, None)
    assert [step.index for step in trace.steps if step.layers] == [1, 2, 60, 61, 90, 91, 99, 100]
    assert torch.equal(before, torch.get_rng_state())


def test_a_run_that_breaks_off_is_seen_until_then_and_counts_as_it_would_have():
    calls = []

    def breaking(outputs, targets):
        calls.append(1)
        if len(calls) == 70:
            raise ValueError("so far and no further")
        return LOSS(outputs, targets)

    program = Program(TorchBirths(net, breaking, adam(1e-2)), DATA, None, own_score=False)
    attempts = Attempts(program, "", {}, None, 100)
    trace = attempts.followed(later_looks(100))
    made = attempts((), 0, "search", 100, None)
    assert trace.steps[-1].index >= 61 and "so far and no further" in made.failed
    assert [step for step, _ in made.curve] == [25, 40, 50] and made.skill.value == -0.2


def test_a_fault_that_shows_late_is_found_and_cured():
    proof = cured(births(redraws=47), DATA, budget=budget_of("14 runs"), steps=100)
    assert proof.verdict == "proven" and [edit.kind for edit in proof.edits] == ["keep_weights"]
    (single,) = [one for one in proof.candidates if one.edits == proof.edits]
    assert "weights reset" in single.reason
