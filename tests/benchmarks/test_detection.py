"""Detection on the faulty programs: what counts as the right disease, the right place, and as shown by the loss alone."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import torch
from torch import nn

import detection
from faults import expected, headings
from faults.grounds import OPERATORS, PROGRAMS, candidates
from faults.settings import LOTS
from isograd.health.diagnosis import DISEASES

pytestmark = pytest.mark.filterwarnings("default")


def _eyes(*models: nn.Module, optimizers: tuple[Any, ...] = ()) -> detection.Eyes:
    eyes = detection.Eyes(lambda *_, **__: None)
    eyes.models, eyes.optimizers = models, optimizers
    return eyes


def _alarm(where: str, *layers: str) -> dict[str, Any]:
    return {"where": where, "layers": layers}


def test_every_fault_has_an_expectation_whose_diseases_stand_under_a_heading() -> None:
    known = set().union(*headings.HEADINGS.values())
    for one in OPERATORS.values():
        wanted = expected.of(one.name, one.family)
        assert wanted.diseases <= known
        assert wanted.diseases and wanted.places and wanted.why
    assert set(expected.OPERATORS) <= set(OPERATORS)
    assert set(expected.FAMILIES) == {one.family for one in OPERATORS.values()}


def test_every_disease_that_isograd_knows_stands_under_a_heading() -> None:
    known = set().union(*headings.HEADINGS.values())
    assert {disease.__name__.rpartition(".")[2] for disease in DISEASES} <= known


def test_a_place_is_right_for_the_module_and_for_what_holds_it_but_not_for_its_neighbour() -> None:
    eyes = _eyes(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 1)), nn.Sigmoid()))
    assert detection.place_is_right({"last"}, _alarm("1.1"), eyes)
    assert detection.place_is_right({"last"}, _alarm("2"), eyes)  # what stands behind the last layer belongs to its end
    assert detection.place_is_right({"last"}, _alarm("1"), eyes)
    assert not detection.place_is_right({"last"}, _alarm("0"), eyes)
    assert detection.place_is_right({"first"}, _alarm("0"), eyes)
    assert not detection.place_is_right({"first", "loss"}, _alarm("optimizer"), eyes)
    assert detection.place_is_right({"optimizer"}, _alarm("optimizer"), eyes)


def test_layers_that_no_optimizer_holds_are_starved() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
    model(torch.ones(4, 2)).sum().backward()
    eyes = _eyes(model, optimizers=(optimizer,))
    assert detection.place_is_right({"starved"}, _alarm("0"), eyes)
    assert not detection.place_is_right({"starved"}, _alarm("1"), eyes)


def test_a_loss_that_rises_or_stands_still_shows_the_fault_and_one_that_falls_does_not() -> None:
    assert detection.shown_by_loss([(step, 1.0 + step) for step in range(1, 50)], 1000) is not None
    assert detection.shown_by_loss([(1, 1.0), (2, float("nan"))], 10) == 2
    assert detection.shown_by_loss([(step, 2.0) for step in range(1, 200)], 200) == 100
    assert detection.shown_by_loss([(step, 1.0 / step) for step in range(1, 200)], 200) is None
    assert detection.shown_by_loss([], 10) is None


def test_an_exception_by_any_name_is_the_disease_exception() -> None:
    raises = expected.FAMILIES["raises"]
    assert all(expected.disease_is_right(raises, name) for name in ("exception", "raises_shapes", "raises_twice"))
    assert not expected.disease_is_right(raises, "vanishing")


def test_a_watched_case_is_judged_and_written_down() -> None:
    case = next(case for case in candidates("calibration") if case.operator.name == "NaN in a column")
    kept = {"key": case.key, "program": case.program.name, "operator": case.operator.name, "strength": case.strength}
    found = detection.detect({**kept, "kind": "fails", "harm": "strong", "twin": 0.9})
    assert found.alarm
    assert found.right
    assert found.diseases
    assert detection.summary([found], [])["alarm"] == 1.0
    assert case.operator.name in detection.tables([found])


def test_a_watch_that_will_not_begin_because_the_optimizer_holds_other_parameters_counts_as_an_alarm() -> None:
    program = PROGRAMS["friedman"]
    said, eyes = detection.seen(program, replace(program.settings, replaced="all", steps=5), 0)
    assert detection.refused(said, eyes) or said.alarms
    said, eyes = detection.seen(program, replace(program.settings, steps=5), 0)
    assert not detection.refused(said, eyes)


def test_the_twins_of_a_side_are_its_programs() -> None:
    assert {case.program.name for side in LOTS for case in candidates(side)} == set(PROGRAMS)
