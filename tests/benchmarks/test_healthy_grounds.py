"""The healthy grounds: what is drawn is drawn again, the sides never meet, outcome alone decides, looking changes nothing."""

from __future__ import annotations

import doctest
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import false_alarms
import looking
from healthy import build, catalogue, draws, skills


@pytest.mark.parametrize("module", [looking, draws, build, false_alarms], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


def test_no_program_and_no_seed_is_in_two_lots_and_every_lot_is_on_one_side():
    names = [name for families in catalogue.LOTS.values() for name in families]
    assert len(names) == len(set(names)) == len({id(one) for families in catalogue.LOTS.values() for one in families.values()})
    assert sorted(names) == sorted(name for side in catalogue.SIDES for name in catalogue.FAMILIES[side])
    every = [run for side in catalogue.SIDES for run in catalogue.runs(side)]
    seeds = {lot: {run.draw().seed for run in every if run.lot == lot} for lot in catalogue.LOTS}
    assert sum(len(found) for found in seeds.values()) == len(set().union(*seeds.values()))


def test_the_same_run_drawn_twice_ends_with_the_same_skill_watched_or_not():
    run = catalogue.Run("calibration", "messages", 0)
    skill, raised = looking.plain(run.program(run.draw()))
    seen = looking.look(run.program(run.draw()))
    assert raised is None and seen.raised is None and seen.stopped is None
    assert seen.skill == skill and seen.steps == 200


def test_a_program_that_raises_is_a_result_and_not_an_end():
    def program(watch):
        model = nn.Linear(2, 1)
        with watch(model, torch.optim.SGD(model.parameters(), lr=0.1), steps=3):
            model(torch.ones(1, 3))
        return 1.0

    assert looking.plain(program)[1].startswith("RuntimeError: ")
    seen = looking.look(program)
    assert seen.skill is None and seen.raised.startswith("RuntimeError: ")


def test_an_alarm_is_written_down_with_its_disease_and_place():
    def program(watch):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e6)
        with watch(model, optimizer, steps=30):
            for _ in range(30):
                optimizer.zero_grad()
                (model(torch.randn(16, 4)) - 1).square().mean().backward()
                optimizer.step()
        return float("nan")

    seen = looking.look(program, budget=None)
    assert seen.skill is None and seen.alarms
    assert {"disease", "severity", "where", "summary", "given", "resolved"} <= set(seen.alarms[0])


def test_a_journal_that_was_cut_off_keeps_its_whole_lines_and_forgets_other_versions(tmp_path):
    path = tmp_path / "folder" / "runs.jsonl"
    looking.Journal(path).add({"key": "a", "fingerprint": "1", "skill": 0.5})
    with path.open("a") as file:
        file.write('{"key": "b", "finge')
    again = looking.Journal(path)
    assert again.get("a", "1")["skill"] == 0.5
    assert again.get("a", "2") is None and again.get("b", "1") is None


def test_skill_is_zero_for_a_constant_answer_and_one_for_a_perfect_one():
    y = torch.tensor([0, 0, 0, 1])
    assert skills.accuracy(torch.zeros(4, dtype=torch.long), y) == 0.0 and skills.accuracy(y, y) == 1.0
    assert skills.balanced(torch.ones(4, dtype=torch.long), y) == 0.0 and skills.balanced(y, y) == 1.0
    z = torch.tensor([[1.0], [2.0], [3.0]])
    assert skills.r2(z.mean().expand(3, 1), z) == 0.0 and skills.r2(z, z) == 1.0
    with pytest.raises(ValueError):
        skills.r2(z, z[:, 0])
    points = torch.randn(100, 2)
    assert abs(skills.likeness(points, points) - 1) < 1e-6
    assert abs(skills.likeness(points.mean(0).expand(100, 2), points)) < 1e-6


@pytest.mark.parametrize("family", ["faint_classes", "linear_probe", "pendulum", "citations", "clipped_policy"])
def test_a_program_of_the_new_lot_runs_under_a_watch_to_its_end(family):
    run = catalogue.Run("held-out", family, 0)
    seen = looking.look(run.program(run.draw()))
    raised, stopped = seen.raised, seen.stopped  # nothing else of what was said is for these eyes
    del seen
    assert raised is None and stopped is None


@pytest.mark.proof
@pytest.mark.parametrize("side", catalogue.SIDES)
def test_every_program_trains_to_the_end(side):
    for run in catalogue.runs(side, 1):
        skill, raised = looking.plain(run.program(run.draw()))
        assert raised is None and skill is not None, run.key
