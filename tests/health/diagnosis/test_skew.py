"""Skew: evaluations of something else than what is trained, told from the first pass, in which nothing can be remembered."""

import dataclasses
import random

import pytest
import torch
import torch.nn.functional as F
from lessons import classes, evaluation
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import isograd
from isograd.health.case import case_of
from isograd.health.diagnosis import skew
from isograd.records.anatomy import Anatomy
from isograd.records.fact import Fact
from isograd.records.trace import Step, Trace

PASS, PASSES = 60, 4


def loader(step):
    epoch = (step - 1) // PASS + 1
    known = {"number": 0, "batches": PASS, "dataset": 64 * PASS, "epoch": epoch, "position": step - (epoch - 1) * PASS}
    return Fact("loader", "data", settings=tuple(known.items()))


def run(tried, *, right=0.6, answers=0.2):
    """A training of four even classes that falls from 1.4 to 0.3; ``tried`` are the evaluations' losses, pass by pass."""
    draw, steps = random.Random(0), []
    for index in range(1, PASS * PASSES + 2):
        value = max(0.3, 1.4 - 0.01 * index) + draw.gauss(0.0, 0.01)
        look = index % 5 == 1
        told = ()
        if index > PASS and index % PASS == 1 and index // PASS <= len(tried):
            sample = classes(-index, rows=400, value=tried[index // PASS - 1], right=answers)
            told = (evaluation(index, dataclasses.replace(sample, training=False, source="test.py:3")),)
        samples = (dataclasses.replace(classes(index, right=right), value=value),) if look else ()
        steps.append(Step(index, value, losses=samples, evaluations=told, facts=(loader(index),) if look else ()))
    return list(skew.diagnose(case_of(Trace(Anatomy("torch", (), ()), (), tuple(steps), ended=True))))


def test_an_evaluation_that_never_comes_up_to_the_first_pass_sees_something_else():
    (finding,) = run([1.6, 1.5, 1.5, 1.6])
    assert (finding.severity, finding.source, finding.since) == ("warning", "test.py:3", PASS)
    assert "whose examples were all new" in finding.summary and "% of the answers" in finding.summary


@pytest.mark.parametrize("tried", [[0.9, 0.6, 0.5, 0.4], [1.6, 0.8, 0.5, 0.4], [1.1, 1.2, 1.4, 1.6]])
def test_one_that_is_as_good_that_catches_up_or_that_overfits_later_is_none(tried):
    assert run(tried) == []


def test_answers_as_right_as_those_of_the_first_pass_are_confidence():
    assert run([1.6, 1.5, 1.5, 1.6], right=0.4, answers=0.9) == []


def test_without_a_second_evaluation_nothing_is_said():
    assert run([1.6]) == []


def trained(prepare):
    """The diseases named of a network on digits whose evaluation gets ``prepare(inputs)``."""
    torch.manual_seed(0)
    data, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(data / 16.0, dtype=torch.float32), torch.tensor(labels)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    batches = DataLoader(TensorDataset(inputs[:1400], targets[:1400]), 32, shuffle=True)
    with isograd.watch(model, optimizer, steps=3 * len(batches), budget=None) as watch:
        for _ in range(3):
            for x, y in batches:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                F.cross_entropy(model(prepare(inputs[1400:])), targets[1400:])
    return {finding.disease for finding in watch.report().findings if finding.alarm}


def test_a_real_evaluation_whose_pixels_are_in_another_order_is_told_and_a_sound_one_is_not():
    other = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert "skew" in trained(lambda x: x[:, other]) and trained(lambda x: x) == set()
