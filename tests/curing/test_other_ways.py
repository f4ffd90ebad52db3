"""Cures of real, tiny programs whose robust preset once failed: another kind of steps, and a table that nobody filled."""

import pytest
import torch
from curing_programs import DATA, LOSS, adam, cured
from torch import nn

from isograd.frameworks.torch.births import TorchBirths
from isograd.health.case import case_of
from isograd.health.present import present_of
from isograd.health.remedies.weights import isometry
from isograd.health.trials import HELPS
from isograd.records.edit import Edit
from isograd.trying import Fits, edited


def test_adagrad_at_the_rate_of_adam_is_cured_and_the_preset_is_a_ceiling_as_it_steps_by_adam():
    proof = cured(optimizer=lambda parameters: torch.optim.Adagrad(parameters, lr=1e-4), budget="24 runs").record
    (preset, *_) = [one for one in proof.candidates if one.stage == "preset"]
    assert any((edit.kind, edit.value, edit.before) == ("optimizer", "adam", "adagrad") for edit in preset.edits)
    assert preset.skill > proof.control.skill.value + HELPS and proof.ceiling == preset
    assert proof.verdict == "proven" and {edit.kind for edit in proof.edits} <= {"learning_rate", "optimizer"}


def words():
    """Sums of four words each, of which the sign of the first number of a word tells the class."""
    draw = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randint(20, (640, 4), generator=draw), (8 * torch.rand(640, 1, generator=draw)).long()], 1)
    y = ((x[:, :4] < 10).sum(1) + (x[:, 4] >= 4) >= 3).long()
    return [(x[i : i + 32], y[i : i + 32]) for i in range(0, 640, 32)]


class Bag(nn.Module):
    """A table of words, which may be frozen at zero, beside a number."""

    def __init__(self, frozen=True):
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.zeros(20, 8), freeze=True) if frozen else nn.Embedding(20, 8)
        self.out = nn.Sequential(nn.Linear(9, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, x):
        return self.out(torch.cat([self.table(x[:, :4]).mean(1), x[:, 4:] / 8.0], 1))


def test_a_table_that_is_frozen_at_zero_is_let_learn():
    proof = cured(Bag, words(), budget="24 runs", steps=100).record
    assert proof.verdict == "proven" and "unfreeze" in {edit.kind for edit in proof.edits}


@pytest.mark.parametrize("curve", [nn.ReLU, nn.Sigmoid])
def test_a_plain_network_of_forty_layers_learns_as_a_shallow_one_from_isometry_alone(curve):
    def deep():
        parts = [part for _ in range(38) for part in (nn.Linear(24, 24), curve())]
        return nn.Sequential(nn.Linear(8, 24), curve(), *parts, nn.Linear(24, 3))

    births = TorchBirths(deep, LOSS, adam(3e-3))
    patient = births.born(0, DATA)
    present = present_of(case_of(patient.observe(DATA[:3], 3)))
    edits = isometry(present)
    assert [edit.value for edit in edits] == ["tanh", "orthogonal", 3e-4]
    plain, made = (edited(patient, some).trained(DATA[:16], 120).judge(DATA[16:]).value for some in ((), edits))
    assert plain < 0.1 and made > 0.7


class Gated(nn.Module):
    """Every word of eight numbers is weighed by a score, which may be made wider and is not met by anything then."""

    def __init__(self):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(2, 1), nn.Sigmoid(), nn.Linear(1, 1))
        self.out = nn.Linear(2, 3)
        self.register_buffer("ones", torch.ones(1))

    def forward(self, x):
        words = x.view(-1, 4, 2)
        inner = self.score[0](words)
        assert inner.shape[-1] == 1, "a score is one number"
        return self.out((words * self.score[2](self.score[1](inner))).sum(1))


def test_what_can_be_made_and_takes_no_step_does_not_fit():
    births = TorchBirths(Gated, LOSS, adam(1e-2))
    patient, wider = births.born(0, DATA), (Edit("width", 4.0),)
    assert Fits(patient)(wider), "it can be made"
    fits = Fits(patient, DATA)
    assert not fits(wider) and "does not take" in fits.why
    assert fits((Edit("learning_rate", 0.1),)) and fits(())


def test_the_loss_that_fits_is_offered_where_another_is_in_use_alone():
    def offered(loss):
        record = cured(loss=loss, optimizer=adam(1e-5)).record
        return any(edit.kind == "loss" for one in record.candidates for edit in one.edits)

    assert not offered(nn.functional.cross_entropy)
    assert offered(lambda outputs, targets: nn.functional.cross_entropy(outputs.softmax(1), targets))


def test_a_run_of_a_few_steps_is_made_longer_and_proven_with_the_usual_budget():
    proof = cured(steps=8, optimizer=adam(3e-3), budget="20 runs").record
    assert proof.verdict == "proven" and [edit.kind for edit in proof.edits] == ["steps"]


def test_what_the_first_steps_say_of_the_length_of_a_run_asks_for_no_other_length():
    record = cured(steps=240, optimizer=adam(1e-6), budget="16 runs").record
    tried = [edit for one in record.candidates for edit in one.edits] + [one.edit for one in record.cause.tried]
    assert tried and not any(edit.kind == "steps" for edit in tried)
