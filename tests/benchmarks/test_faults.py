"""The grounds of harmful faults: every program trains, every operator applies, and the rule of harm is the stated one."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import torch

from faults import harm, losses, skill
from faults.grounds import OPERATORS, PROGRAMS, Case, candidates
from faults.settings import COMMON, LOTS, Settings, Side, unwatched

pytestmark = pytest.mark.filterwarnings("default")

SIDES: tuple[Side, ...] = ("calibration", "held-out", "fresh")
CASES = {side: candidates(side) for side in SIDES}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_program_trains_enters_its_watch_once_and_gives_a_skill(name: str) -> None:
    entered = []

    def watch(models: object, optimizers: object, *, steps: int) -> object:
        entered.append(steps)
        return unwatched(models, optimizers, steps=steps)

    program = PROGRAMS[name]
    assert -1.0 <= program.train(program.settings.shortened(), 0, watch) <= 1.0
    assert entered == [2] or (program.lot in ("third", "fourth") and len(entered) == 1)


@pytest.mark.parametrize("name", ["wine", "moons", "topic_bag", "ring_gan"])
def test_the_same_seed_gives_the_same_training(name: str) -> None:
    program = PROGRAMS[name]
    short = replace(program.settings, steps=10)
    assert program.train(short, 3, unwatched) == program.train(short, 3, unwatched)


def test_a_program_honours_only_settings_that_there_are() -> None:
    assert {field.name for field in fields(Settings)} >= COMMON
    assert all(program.honours <= {field.name for field in fields(program.settings)} for program in PROGRAMS.values())


@pytest.mark.parametrize("side", SIDES)
def test_every_operator_of_a_side_applies_somewhere_and_no_case_comes_twice(side: Side) -> None:
    applied = {case.operator.name for case in CASES[side]}
    assert applied == {one.name for one in OPERATORS.values() if one.lot in LOTS[side]}
    assert len({case.key for case in CASES[side]}) == len(CASES[side])


def test_no_program_and_no_operator_is_in_two_lots_and_each_lot_has_enough_of_both() -> None:
    found = [case for side in SIDES for case in CASES[side]]
    assert all(case.operator.lot == case.program.lot for case in found)
    for lot in {case.program.lot for case in found}:
        assert len({case.program.name for case in found if case.program.lot == lot}) >= (6 if lot == "fourth" else 8)
        assert len({case.operator.name for case in found if case.program.lot == lot}) >= 24


def test_families_of_faults_are_in_the_first_two_lots() -> None:
    families = [{one.family for one in OPERATORS.values() if one.lot == lot} for lot in LOTS["calibration"]]
    assert families[0] ^ families[1] <= {"order", "length"}


def _lasts(case: Case) -> str | None:
    """The exception of two steps of a case; a mistake of the grounds themselves comes through."""
    try:
        case.program.train(case.settings.shortened(), 0, unwatched)
    except (losses.UnknownLossError, KeyError, AttributeError, NameError):
        raise
    except Exception as error:  # noqa: BLE001 - what a fault raises is its effect
        return type(error).__name__
    return None


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_a_program_with_a_fault_runs_or_raises_what_a_fault_raises(name: str) -> None:
    cases = [case for side in SIDES for case in CASES[side] if case.operator.name == name]
    raised = _lasts(min(cases, key=lambda case: case.program.name))
    assert raised in (None, "RuntimeError", "ValueError", "IndexError", "OutOfMemoryError")


@pytest.mark.proof
@pytest.mark.parametrize("side", SIDES)
def test_every_case_runs_or_raises_what_a_fault_raises(side: str) -> None:
    assert {_lasts(case) for case in CASES[side]} <= {None, "RuntimeError", "ValueError", "IndexError"}


def test_a_loss_of_skill_within_two_deviations_of_seeds_is_no_harm() -> None:
    assert harm.severity(0.04, 0.0) == "none"
    assert harm.severity(0.20, 0.11) == "none"
    assert harm.severity(0.20, 0.09) == "moderate"
    assert harm.severity(0.31, 0.01) == "strong"


def test_the_judge_compares_a_case_with_its_own_twin() -> None:
    case = next(case for case in CASES["calibration"] if case.program.name == "wine")
    runs = {("wine:healthy", seed): harm.Run("wine:healthy", seed, "", 0.9, 0.1) for seed in range(harm.SEEDS)}
    runs |= {(case.key, seed): harm.Run(case.key, seed, "", 0.1, 0.1) for seed in range(harm.SEEDS)}
    verdict = harm.judge(case, runs, harm.SEEDS)
    assert (verdict.harm, verdict.kind, verdict.drop) == ("strong", "fails", 0.8)
    assert harm.judge(case, runs, harm.FIRST).harm == "none"  # given up early: never kept on two seeds
    runs[case.key, 0] = harm.Run(case.key, 0, "", 0.0, 0.1, "ValueError: no such layer", entered=False)
    assert harm.judge(case, runs, harm.SEEDS).harm == "none"  # no watch could have seen it


def test_a_run_that_raises_has_no_skill_and_says_what_it_raised() -> None:
    settings = replace(PROGRAMS["wine"].settings, raises="twice")
    run = harm.train("wine", settings, 0, "wine:twice")
    assert run.skill == 0.0
    assert run.raised
    assert run.raised.startswith("RuntimeError")


def test_skill_is_zero_for_the_ignorant_and_for_what_is_not_finite() -> None:
    classes = torch.tensor([0, 0, 1])
    assert skill.of_classes(torch.zeros(3, 2), classes) == 0.0
    assert skill.of_classes(torch.full((3, 2), float("nan")), classes) == 0.0
    assert skill.of_numbers(torch.full((3,), float("nan")), torch.tensor([0.0, 1.0, 2.0])) == 0.0
    assert skill.of_numbers(torch.ones(3), torch.tensor([0.0, 1.0, 2.0])) == 0.0
    assert skill.of_ranking(torch.zeros(3), classes) == 0.0
    points = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    assert skill.of_samples(points.mean(0, keepdim=True).expand(50, 2), points) == pytest.approx(0.0, abs=1e-9)
    assert skill.of_samples(points, points) == pytest.approx(1.0)
