"""Between two looks the loss is listened to: what it was given and what it made of it, and nothing else."""

import pytest
import torch
from torch import nn

import isograd

pytestmark = pytest.mark.usefixtures("ticking")


def loop(steps, watched):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.BatchNorm1d(16), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x = torch.randn(64, 6)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()

    def train():
        for step in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[step % 2 :: 2]), y[step % 2 :: 2]).backward()
            optimizer.step()

    if not watched:
        train()
        return model, optimizer, None
    with isograd.watch(model, optimizer) as watch:
        train()
    return model, optimizer, watch


def test_steps_between_looks_tell_what_the_loss_was_given():
    _, _, watch = loop(150, watched=True)
    heard = [step for step in watch.trace.steps if step.losses and not step.sampled]
    assert heard and not any(step.parameters or step.inputs or step.facts for step in heard)
    for step in heard:
        (sample,) = step.losses
        assert sample.function == "cross_entropy" and sum(sample.classes) == 32 and 0 <= sample.hits <= 32
        assert sample.training and sample.floor > 0.0 and abs(sample.value - step.loss) < 1e-6


def test_listening_changes_no_bit():
    plain, plain_optimizer, _ = loop(150, watched=False)
    stream = torch.get_rng_state()
    watched, optimizer, _ = loop(150, watched=True)
    assert torch.equal(stream, torch.get_rng_state())
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name
    for mine, theirs in zip(plain_optimizer.state.values(), optimizer.state.values(), strict=True):
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_an_evaluation_that_falls_between_is_told_apart():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.3), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(32, 6), torch.randint(0, 3, (32,))
    with isograd.watch(model, optimizer) as watch:
        for _ in range(40):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            model.eval()
            with torch.no_grad():
                nn.functional.cross_entropy(model(x), y)
            model.train()
    heard = [step for step in watch.trace.steps if step.losses and not step.sampled]
    assert heard and all([sample.training for sample in step.losses].count(True) == 1 for step in heard)


def test_the_weights_are_seen_at_the_end_though_the_last_step_was_only_listened_to():
    _, _, watch = loop(150, watched=True)
    assert watch.trace.steps[-1].index == 150 and watch.trace.steps[-1].parameters


def test_a_head_inside_the_model_keeps_its_place_where_only_the_loss_was_listened_to():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(dim=1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(32, 6), torch.randint(0, 3, (32,))
    with isograd.watch(model, optimizer) as watch:
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    samples = [sample for step in watch.trace.steps for sample in step.losses]
    assert any(step.losses and not step.sampled for step in watch.trace.steps)
    assert {(sample.head, sample.head_where) for sample in samples} == {(("softmax",), "3")}
    assert len([one for one in watch.report().findings if one.disease == "loss_mismatch"]) == 1
