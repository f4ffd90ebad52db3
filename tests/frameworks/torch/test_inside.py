"""Edits of what is hidden in a program: losses inside a model or a step, layers made in forward, several optimizers."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import isograd
from isograd.errors import ModelError
from isograd.frameworks.torch.copying import Several, together, without_memory
from isograd.frameworks.torch.patient import TorchPatient
from isograd.health.case import case_of
from isograd.health.diagnosis.optimizer_misses_parameters import diagnose
from isograd.records.edit import Edit


def data(count=320):
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(0))
    return x, x[:, :3].argmax(1)


class Own(nn.Module):
    def __init__(self, loss):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.loss = nn.Linear(6, 3), loss

    def forward(self, x, y):
        return self.loss(self.inner(x), y)


def own(loss):
    model, (x, y) = Own(loss), data()
    return TorchPatient.copy_of(model, {"x": x, "y": y}, None, torch.optim.Adam(model.parameters(), lr=0.05)), {"x": x, "y": y}


def test_a_wrong_loss_inside_a_model_gives_way_to_the_one_that_fits_what_it_is_called_with():
    made, batch = own(lambda out, y: F.nll_loss(out, y))  # of scores that are no logarithms
    edited = made.apply(Edit("loss"))
    skill = [one.trained([batch], 60).judge([batch]).value for one in (made, edited)]
    assert skill[0] < 0.5 < skill[1] and made.loss is None
    right, batch = own(F.cross_entropy)
    same = [one.trained([batch], 20).judge([batch]).value for one in (right, right.apply(Edit("loss")))]
    assert same[0] == same[1]  # a sound program stays what it is


def test_a_wrong_loss_inside_a_step_of_the_persons_own_does_too():
    def step(model, optimizer, batch):
        optimizer.zero_grad()
        F.nll_loss(model(batch[0]), batch[1]).backward()
        optimizer.step()

    torch.manual_seed(0)
    model, batch = nn.Linear(6, 3), data()
    made = TorchPatient.copy_of(model, batch, None, torch.optim.SGD(model.parameters(), lr=0.5))
    made = dataclasses.replace(made, step=step)
    skill = [one.trained([batch], 40).judge([batch]).value for one in (made, made.apply(Edit("loss")))]
    assert skill[1] > skill[0] + 0.03


def test_a_loss_written_by_hand_inside_a_model_is_refused_in_words():
    made, _ = own(lambda out, y: (out.argmax(1) - y).float().mean() + out.sum())
    with pytest.raises(ModelError, match=r"inside the model(?s:.*)give batches and loss apart"):
        made.apply(Edit("loss"))


class Anew(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(16, 3)

    def forward(self, x):
        return self.last(torch.relu(nn.Linear(6, 16)(x)))


def test_layers_made_in_forward_are_kept_and_given_to_the_optimizer():
    torch.manual_seed(0)
    model, batch = Anew(), data()
    made = TorchPatient.copy_of(model, batch, F.cross_entropy, torch.optim.Adam(model.parameters(), lr=0.02))
    edited = made.apply(Edit("parameters"))
    held = sum(p.numel() for group in edited.optimizer.param_groups for p in group["params"])
    assert held == 16 * 7 + 3 * 17 and [*dict(model.named_modules())] == ["", "last"]
    skill = [one.trained([batch], 80).judge([batch]).value for one in (made, edited, edited.copy())]
    assert skill[0] < 0.5 < skill[1] == skill[2]


def test_layers_made_in_forward_are_found_where_they_do_harm():
    torch.manual_seed(0)
    model, (x, y) = Anew(), data()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    batches = list(zip(x.split(32), y.split(32), strict=True))
    with isograd.watch(model, optimizer, steps=100) as watch:
        for step in range(100):
            optimizer.zero_grad()
            F.cross_entropy(model(batches[step % 10][0]), batches[step % 10][1]).backward()
            optimizer.step()
    (found,) = diagnose(case_of(watch.trace))
    assert found.severity == "warning" and "made anew in each pass" in found.summary and "__init__" in found.remedy
    assert watch.explain(batches, F.cross_entropy, budget=1_000).cause.causes[0].edit.kind == "parameters"


def two(rate, other=0.2):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    return model, torch.optim.Adam(model[0].parameters(), lr=rate), torch.optim.SGD(model[2].parameters(), lr=other)


def test_several_optimizers_step_as_one_and_are_copied_with_the_model():
    model, first, second = two(0.01)
    (copy,), _, optimizer = together((model,), None, without_memory(Several([first, second])))
    x, y = data()
    for one, steppers in ((model, (first, second)), (copy, (optimizer,))):
        for _ in range(5):
            F.cross_entropy(one(x), y).backward()
            for stepper in steppers:
                stepper.step()
                stepper.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), copy.parameters(), strict=True))
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    assert len(optimizer.param_groups) == 3 and optimizer.param_groups[-1]["lr"] == 0.01


def test_a_program_with_two_optimizers_is_explained():
    model, first, second = two(1e-8, 1e-8)
    x, y = data()
    batches = list(zip(x.split(32), y.split(32), strict=True))
    with isograd.watch(model, (first, second), steps=100) as watch:
        for step in range(60):
            first.zero_grad()
            second.zero_grad()
            F.cross_entropy(model(batches[step % 10][0]), batches[step % 10][1]).backward()
            first.step()
            second.step()
    found = watch.explain(batches, F.cross_entropy, budget=900).cause
    assert found.causes[0].edit.kind == "learning_rate" and first.param_groups[0]["lr"] == 1e-8


def test_a_function_without_a_slope_gives_way_where_forward_calls_it():
    class Rounding(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 3)

        def forward(self, x):
            return self.last(torch.round(self.first(x)))

    model, batch = Rounding(), data()
    made = TorchPatient.copy_of(model, batch, F.cross_entropy, torch.optim.Adam(model.parameters(), lr=0.02))
    edited = made.apply(Edit("activation", "relu", before="round"))
    skill = [one.trained([batch], 60).judge([batch]).value for one in (made, edited)]
    assert skill[1] > skill[0] + 0.05
