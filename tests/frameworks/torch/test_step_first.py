"""An optimizer that steps between the forward and the backward pass: told as what it is, and put right by the order."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import isograd

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(640, 6, generator=DRAW)
Y = X[:, :3].argmax(1)
BATCHES = [(X[i : i + 32], Y[i : i + 32]) for i in range(0, 640, 32)]


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3))


def step_first(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    optimizer.step()
    loss.backward()


def cleared_after_the_pass(model, optimizer, x, y):
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    optimizer.step()
    loss.backward()


def in_order(model, optimizer, x, y):
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def one_step_late(model, optimizer, x, y):
    """Sound: it steps along the gradient of the batch before, and clears after the step."""
    optimizer.step()
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()


def cut(model, optimizer, x, y):
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).detach().requires_grad_().backward()
    optimizer.step()


CRITIC = nn.Linear(6, 1)


def cut_behind_another(model, optimizer, x, y):
    """The pass of a network that nobody watches comes first, and the loss of this one is cut off."""
    optimizer.zero_grad()
    CRITIC(x).mean().backward()
    F.cross_entropy(model(x), y).detach().requires_grad_().backward()
    optimizer.step()


def watched(loop, steps=60):
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with isograd.watch(model, optimizer, steps=steps) as watch:
        for step in range(steps):
            loop(model, optimizer, *BATCHES[step % len(BATCHES)])
    return model, watch


@pytest.mark.parametrize("loop", [step_first, cleared_after_the_pass])
def test_a_step_before_the_backward_pass_is_told_as_that_and_not_as_a_cut_graph(loop):
    findings = watched(loop)[1].report().findings
    told = {one.disease: one for one in findings if one.alarm}
    assert "cut_graph" not in told
    assert told["gradients_lost"].severity == "critical" and "steps before the backward pass" in told["gradients_lost"].summary


@pytest.mark.parametrize("loop", [in_order, one_step_late, cut, cut_behind_another])
def test_no_other_order_is_told_as_that(loop):
    findings = watched(loop)[1].report().findings
    assert not any(one.disease == "gradients_lost" and "before the backward pass" in one.summary for one in findings)


def test_the_order_is_named_as_the_cause_with_the_sentence_of_what_was_seen():
    model, watch = watched(step_first)
    (cause,) = watch.explain(BATCHES, F.cross_entropy, budget=400).cause.causes
    assert cause.edit.kind == "clear_gradients" and "steps before the backward pass" in cause.summary
    assert next(model.parameters()).grad is not None, "the person's model stays as it was"
