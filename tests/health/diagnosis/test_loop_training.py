"""Faults of the loop in real trainings on digits: each is named with its place, and the sound program is not."""

import copy
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import isograd

MINE = {
    "carried_state",
    "cut_graph",
    "frozen_layers",
    "gradients_lost",
    "gradients_not_cleared",
    "optimizer_misses_parameters",
    "optimizer_restarted",
    "recurrent_axes",
    "same_batch",
    "weights_reset",
    "wrong_mode",
}
STEPS = 40


class Digits(nn.Module):
    """Three layers; loses its graph, or hides a layer, where it is told to.

    "Nothing" in the name of a fault: the layers that it keeps from training pass on next to nothing as they are.
    """

    def __init__(self, fault=""):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.norm, self.drop, self.fault = nn.BatchNorm1d(32), nn.Dropout(0.1), fault
        self.listed = [nn.Linear(32, 32)]
        if "nothing" in fault:
            nn.init.normal_(self.first.weight, 0.0, 1.0)
            nn.init.normal_(self.middle.weight, 0.0, 1e-6)

    def forward(self, x):
        h = torch.relu(self.norm(self.first(x)))
        if self.fault == "nothing under no_grad":
            with torch.no_grad():
                h = torch.relu(self.middle(h))
            return self.last(h)
        if self.fault == "listed":
            h = torch.relu(self.listed[0](h))
        if self.fault == "detached":
            h = h.detach()  # the cut
        return self.last(self.drop(torch.relu(self.middle(h))))


def watched(fault, loop=None):
    """Train on digits with a fault; the findings of this part."""
    torch.manual_seed(0)
    data, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(data / 16.0, dtype=torch.float32), torch.tensor(labels)
    net = Digits(fault)
    if fault == "frozen":
        net.first.requires_grad_(False)
    if fault == "nothing frozen":
        net.first.requires_grad_(False)
        net.middle.requires_grad_(False)
    given = [p for name, p in net.named_parameters() if p.requires_grad and not (fault == "missed" and name[:4] == "last")]
    optimizer = torch.optim.Adam(given, 3e-3)
    if fault == "nothing at rate 0":
        vectors = {"params": [p for p in given if p.ndim < 2]}
        optimizer = torch.optim.Adam([{"params": [p for p in given if p.ndim > 1], "lr": 0.0}, vectors], 3e-3)
    average = copy.deepcopy(net)
    if fault == "replaced":
        net.last = nn.Linear(32, 10)
    if fault == "evaluating":
        net.eval()
    with isograd.watch(net, optimizer, steps=STEPS, budget=None) as watch:
        for _ in range(STEPS):
            if fault == "restarted":
                optimizer = torch.optim.Adam(given, 3e-3)
            if fault == "reset":
                net.middle.reset_parameters()
            if fault != "carried":
                optimizer.zero_grad()
            for _ in range(2 if "between" in fault or "sharp" in fault else 0):  # passes before the last one of the step
                picked = torch.randint(len(inputs), (64,))
                F.cross_entropy(net(inputs[picked]), targets[picked]).backward()
                if "sharp" in fault:
                    with torch.no_grad():
                        for p in net.parameters():
                            p.add_(p.grad, alpha=1e-3)
                if "cleared" in fault:
                    optimizer.zero_grad()
            picked = torch.randint(len(inputs), (64,))
            loss = F.cross_entropy(net(inputs[picked]), targets[picked])
            loss.backward()
            if fault == "cleared":
                optimizer.zero_grad()
            if fault != "unstepped":
                optimizer.step()
            if fault == "mean copied in":
                with torch.no_grad():
                    for mean, p in zip(average.parameters(), net.parameters(), strict=True):
                        p.copy_(mean.lerp_(p, 0.01))
            if fault in ("drawn to the start", "looks ahead"):
                with torch.no_grad():
                    for mean, p in zip(average.parameters(), net.parameters(), strict=True):
                        p.lerp_(mean, 0.3)
                        if fault == "looks ahead":
                            mean.copy_(p)
    named = MINE | ({"learning_rate"} if "rate" in fault else set())
    return [finding for finding in watch.report().findings if finding.disease in named]


@pytest.mark.parametrize(
    ("fault", "disease", "where"),
    [
        ("carried", "gradients_not_cleared", "loop"),
        ("cleared", "gradients_lost", "loop"),
        ("unstepped", "gradients_lost", "loop"),
        ("detached", "cut_graph", "first"),
        ("missed", "optimizer_misses_parameters", "last"),
        ("replaced", "optimizer_misses_parameters", "last"),
        ("listed", "optimizer_misses_parameters", "optimizer"),
        ("frozen", "frozen_layers", "first"),
        ("evaluating", "wrong_mode", "loop"),
        ("restarted", "optimizer_restarted", "optimizer"),
        ("reset", "weights_reset", "middle"),
        ("mean copied in", "weights_reset", "middle"),
        ("drawn to the start", "weights_reset", "first"),
        ("nothing under no_grad", "cut_graph", "first"),
        ("nothing frozen", "frozen_layers", "first"),
        ("nothing at rate 0", "learning_rate", "optimizer"),
    ],
)
def test_a_fault_of_the_loop_is_named_with_its_place(fault, disease, where):
    alarms = [finding for finding in watched(fault) if finding.alarm]
    assert [(finding.disease, finding.where) for finding in alarms] == [(disease, where)]
    if fault == "detached":
        line = int(re.search(r"test_loop_training\.py:(\d+)", alarms[0].source)[1])
        assert "# the cut" in Path(__file__).read_text("utf-8").splitlines()[line - 1]


def test_weights_that_give_back_a_third_of_each_step_learn_all_the_same():
    assert not [finding for finding in watched("looks ahead") if finding.alarm]


def test_passes_whose_gradients_are_cleared_before_the_last_one_are_a_remark_where_it_trains_well_all_the_same():
    (finding,) = watched("cleared between")
    assert (finding.disease, finding.severity) == ("gradients_lost", "note") and "only the last one counts" in finding.summary
    assert "test_loop_training.py" in finding.source


@pytest.mark.parametrize("sound", ["", "passes between", "sharp and cleared"])
def test_the_sound_loop_has_no_finding(sound):
    assert watched(sound) == []


def test_random_features_that_suffice_are_a_remark():
    torch.manual_seed(0)
    trunk, head = nn.Sequential(nn.Linear(16, 64), nn.Tanh()), nn.Linear(64, 1)
    trunk.requires_grad_(False)
    net = nn.Sequential(trunk, head)
    x = torch.randn(48, 16)
    y = x[:, :1]
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    with isograd.watch(net, optimizer, steps=300, budget=None) as watch:
        for _ in range(300):
            optimizer.zero_grad()
            F.mse_loss(net(x), y).backward()
            optimizer.step()
    assert [f.severity for f in watch.report().findings if f.disease == "frozen_layers"] == ["note"]
