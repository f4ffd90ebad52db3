"""A batch that comes again is seen by its sums, and the look for a loader leaves no trace."""

import gc
import sys
import weakref
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from test_loss_calls import watched


def test_a_batch_that_comes_again_is_a_fact_with_the_loader_that_has_more():
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(320, 6)), batch_size=32)
    step = watched(nn.Linear(6, 1), F.mse_loss)
    assert len(loader) == 10
    (fact,) = [fact for fact in step.facts if fact.kind == "same_batch"]
    assert fact.get("dataset", 0) == 320
    fresh = watched(nn.Linear(6, 1), F.mse_loss, forward=nn.Linear(6, 1))
    assert not [fact for fact in fresh.facts if fact.kind == "same_batch"]


def test_other_targets_make_it_another_batch():
    def loss(output, target):
        return F.mse_loss(output, target + torch.rand(1))

    assert not [fact for fact in watched(nn.Linear(6, 1), loss).facts if fact.kind == "same_batch"]


def test_looking_for_a_loader_keeps_nothing_alive_and_leaves_locals_alone():
    from isograd.frameworks.torch.sameness import examples_for

    def function(kept):
        big = torch.zeros(3)
        mine = locals() if kept else None
        examples_for(32)
        gone = weakref.ref(big)
        if kept:
            assert mine["big"] is big
            return True
        del big
        return gone() is None

    gc.disable()
    try:
        assert function(False) and function(True)
    finally:
        gc.enable()


def test_a_check_gives_one_batch_several_times_and_nobody_is_blamed():
    from isograd.frameworks.torch.patient import TorchPatient

    net, batch = nn.Linear(6, 1), (torch.randn(8, 6), torch.randn(8, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    trace = TorchPatient.copy_of(net, batch, F.mse_loss, optimizer).observe([batch] * 3, 3)
    assert not [fact for step in trace.steps for fact in step.facts if fact.kind == "same_batch"]


def test_a_table_of_examples_that_holds_the_batch_is_found_and_no_other():
    from isograd.frameworks.torch.sameness import examples_for

    table, others = torch.randn(400, 3), torch.randn(500, 3)
    batch = table[torch.tensor([5, 77, 3])]
    assert examples_for(3, batch) == 400
    assert examples_for(3, torch.randn(3, 3)) == 0
    assert examples_for(200, table[:200]) == 0  # a part for training of all data
    assert len(others) == 500
