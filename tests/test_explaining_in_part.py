"""``watch.explain`` where it cannot do all of its work: little time, a person who stops it, answers that are drawn."""

import pytest
import torch
from torch import nn

import isograd
from isograd import api
from isograd.errors import RequestError


def problem():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1_600, 8, generator=draw)
    y = (x[:, :4] @ torch.randn(4, 3, generator=draw)).argmax(1)
    return [(x[i : i + 32], y[i : i + 32]) for i in range(0, 1_600, 32)]


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))


def run(model, optimizer, batches, steps=60):
    with isograd.watch(model, optimizer, steps=steps) as watch:
        for step in range(steps):
            x, y = batches[step % len(batches)]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return watch


LOSS = nn.functional.cross_entropy


def test_a_budget_in_seconds_that_is_too_small_says_what_it_needs_and_one_that_is_not_counts_no_steps():
    model, batches = net(), problem()
    watch = run(model, torch.optim.Adam(model.parameters(), lr=1e-6), batches)
    with pytest.raises(
        RequestError, match=r"the budget of 0.0001 s is too small(?s:.*)the untouched copy alone took"
    ) as caught:
        watch.explain(batches, LOSS, budget="0.0001s")
    assert any("seen, not tried" in note for note in caught.value.__notes__)
    assert "1,000,000,000" not in str(watch.explain(batches, LOSS, budget="2s"))


def test_of_a_search_that_is_stopped_what_gained_is_named_and_told_to_be_a_part():
    model, batches = net(), problem()
    watch = run(model, torch.optim.Adam(model.parameters(), lr=1e-6), batches)

    def progress(spent, allowed, what):
        if spent >= 120:
            raise KeyboardInterrupt

    found = watch.explain(batches, LOSS, on_progress=progress).cause
    assert found.interrupted and [one.edit.kind for one in found.causes] == ["learning_rate"]
    assert any("had gained most until then" in remark for remark in found.remarks)


def test_a_short_look_of_ours_is_not_called_a_run_that_ended():
    model, batches = net(), problem()
    report = api.name_cause(model, batches, LOSS, torch.optim.Adam(model.parameters(), lr=1e-6), budget=400)
    assert not any(one.disease == "interrupted" for one in report.findings) and report.cause.causes


def test_a_network_that_draws_its_answers_in_evaluation_mode_too_is_told():
    class Noisy(nn.Module):
        def forward(self, x):
            return x + 0.5 * torch.randn_like(x)

    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), Noisy(), nn.Linear(32, 3))
    found = api.name_cause(model, problem(), LOSS, torch.optim.Adam(model.parameters(), lr=3e-3), budget=200).cause
    assert any("answers an example in two ways" in remark for remark in found.remarks)
