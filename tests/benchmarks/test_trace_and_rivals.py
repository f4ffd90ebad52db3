"""The tables of no trace, of many tensors and of the rivals notice what they are there to notice."""

from __future__ import annotations

import contextlib
import random
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import many_tensors
import no_trace
import no_trace_loops
import rivals
import watch_overhead


def test_a_watch_that_leaves_no_trace_is_the_same_in_every_mode():
    assert set(no_trace.compared([no_trace_loops.simple(no_trace_loops.spectral)]).values()) == {"same"}


@pytest.mark.parametrize("trace", [lambda: torch.rand(1), lambda: random.random()], ids=["torch", "random"])
def test_a_watch_that_draws_one_random_number_is_different(monkeypatch, trace):
    honest = no_trace.watching

    def careless(mode, folder, watches):
        if mode == "budget":
            trace()
        return honest(mode, folder, watches)

    monkeypatch.setattr(no_trace, "watching", careless)
    assert no_trace.compared([no_trace_loops.own_schedule]) == {
        "everything": "same",
        "budget": "DIFFERENT",
        "nested": "same",
    }


def test_one_bit_of_a_weight_a_buffer_or_an_optimizer_tells_two_ends_apart():
    model = nn.BatchNorm1d(3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    before = no_trace.numbers([model, optimizer])
    for tensor in (model.weight.data, model.running_var, optimizer.state[model.bias]["exp_avg"], model.bias.grad):
        kept = tensor.clone()
        tensor.view(torch.int32)[0] ^= 1
        assert no_trace.numbers([model, optimizer]) != before
        tensor.copy_(kept)
    assert no_trace.numbers([model, optimizer]) == before


def test_a_collective_is_counted_when_there_is_one():
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        with many_tensors.Counting() as counting:
            dist.all_reduce(torch.ones(3))
            torch.ones(3).sum().item()
    finally:
        dist.destroy_process_group()
    assert counting.calls["collectives"] == 1 and counting.calls["values read"] == 1


def test_a_rival_hears_of_every_step_and_the_loop_stays_as_it_is():
    heard = []

    class Tool:
        def __init__(self, model, optimizer):
            pass

        def before(self, inputs):
            heard.append(tuple(inputs[0].shape))

        def after(self, loss):
            heard.append(loss)
            raise ZeroDivisionError("in the tool")

        def close(self):
            return {"any": ["one"], "critical": []}

    def trained(watch):
        torch.manual_seed(0)
        model = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with watch(model, optimizer):
            for _ in range(2):
                optimizer.zero_grad()
                model(torch.ones(4, 2)).mean().backward()
                optimizer.step()
        return model.weight.detach().clone()

    told, backward = {}, torch.Tensor.backward
    watched = trained(lambda model, optimizer: rivals.held(Tool, model, optimizer, told))
    assert torch.equal(watched, trained(lambda *_: contextlib.nullcontext()))
    assert torch.Tensor.backward is backward
    assert heard[0] == heard[2] == (4, 2) and heard[3] < heard[1]
    assert told["any"] == ["one"] and told["failed"] == "ZeroDivisionError: in the tool"


def test_the_costs_of_two_ranks_are_added_and_their_shares_weighed():
    both = watch_overhead._both(watch_overhead.Block(1.0, 2.0, 0.1, 3, 4), watch_overhead.Block(3.0, 1.0, 0.3, 2, 4))
    assert (both.cpu, both.wall, both.own_share, both.sampled) == (4.0, 2.0, pytest.approx(0.25), 3)


@pytest.mark.parametrize("name", ["deep", "resnet20"])
def test_the_deep_nets_carry_a_gradient_to_their_first_layer(name):
    trainee = watch_overhead.Trainee(watch_overhead.NETS[name])
    trainee.train(1)
    assert all(p.grad is not None and 1e-6 < p.grad.norm() < 1e3 for p in list(trainee.model.parameters())[:1])
