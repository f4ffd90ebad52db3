"""What ``watch.explain`` says beside a simple learner, of a run that ended early, and of one batch for ever."""

import torch
from torch import nn

import isograd
from isograd.explaining import examples

LOSS = nn.functional.cross_entropy
DRAW = torch.Generator().manual_seed(0)
X = torch.randn(1_600, 6, generator=DRAW)
Y = ((X[:, 0] * X[:, 1] > 0).long() + 2 * (X[:, 2] > 0).long()) % 3
BATCHES = [(X[i : i + 32], Y[i : i + 32]) for i in range(0, 1_600, 32)]


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 3))


def watched(model, batches, steps, planned=None, rate=3e-3):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    with isograd.watch(model, optimizer, steps=planned or steps) as watch:
        for step in range(steps):
            x, y = batches[step % len(batches)]
            optimizer.zero_grad()
            LOSS(model(x), y).backward()
            optimizer.step()
    return watch


def test_a_run_that_ended_long_before_its_announced_length_is_told_as_that():
    model = net()
    found = watched(model, BATCHES, 25, 500, 1e-2).explain(BATCHES, LOSS).cause
    assert found.answer == "cause" and found.causes[0].edit.kind == "steps"
    assert "25 of the 500 steps" in found.causes[0].summary or found.causes[0].edit.before == 25.0


def test_a_run_that_ended_early_because_it_had_arrived_is_not():
    easy = [(x, (x[:, 0] > 0).long()) for x, _ in BATCHES]
    model = net()
    found = watched(model, easy, 120, 600, 1e-2).explain(easy, LOSS).cause
    assert not found.causes


def test_a_length_that_was_announced_in_batches_is_not_called_an_early_end_where_four_make_a_step():
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with isograd.watch(model, optimizer, steps=160) as watch:
        for place in range(160):
            x, y = BATCHES[place % len(BATCHES)]
            (LOSS(model(x), y) / 4).backward()
            if place % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
    found = watch.explain(BATCHES, LOSS).cause
    assert not any("that it had announced" in one.summary for one in found.causes)


class Hashing(nn.Module):
    """A network that can tell examples from one another and sees nothing of what they have in common."""

    def __init__(self):
        super().__init__()
        self.inner = net()

    def forward(self, x):
        return self.inner(3.0 * torch.sin(300.0 * x))


def test_labels_that_a_simple_learner_can_tell_are_not_called_without_signal():
    linear = [(x, (x[:, 0] > 0).long()) for x, _ in BATCHES]
    model = Hashing()
    found = watched(model, linear, 300).explain(linear, LOSS).cause
    assert found.answer == "unknown" and any("the labels do follow from the inputs" in one for one in found.remarks)


def test_labels_that_are_random_are_without_signal_for_a_simple_learner_too():
    random = [(x, torch.randint(0, 3, (32,), generator=DRAW)) for x, _ in BATCHES]
    model = net()
    found = watched(model, random, 100).explain(random, LOSS).cause
    assert found.answer == "no signal" and any("finds nothing in them either" in one for one in found.remarks)


def test_one_batch_for_ever_names_no_width_and_says_that_the_loader_is_wanted():
    model = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 3))
    watch = watched(model, BATCHES[:1], 200)
    given = [BATCHES[0]] * 20
    found = watch.explain(given, LOSS, held_out=BATCHES[1:9]).cause
    assert len(examples(given).training) == 16
    tried = [one for one in found.tried if one.edit.kind == "fresh_batches"]
    assert all("no other batch" in one.failed for one in tried)
