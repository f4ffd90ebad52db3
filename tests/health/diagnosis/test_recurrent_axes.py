"""Axes that stand the other way round: reshaped where they were to be swapped, or flattened differently before the loss."""

import pytest

from isograd.health.case import Case
from isograd.health.diagnosis import recurrent_axes
from isograd.records.anatomy import Anatomy
from isograd.records.fact import Fact
from isograd.records.trace import Step

NET = Anatomy("torch", (), ())


def seen(fact, *, every=True):
    """Four looks; the fact in all but the first, or in the last alone."""
    other = Fact("detached")
    steps = [Step(i, facts=(fact if i == 9 or (every and i > 1) else other,)) for i in (1, 2, 3, 9)]
    return Case(NET, steps=tuple(steps), taken=9)


def only(case):
    (finding,) = recurrent_axes.diagnose(case)
    return finding


def test_a_reshape_to_the_same_shape_in_another_order_mixes_the_rows():
    settings = (("left", "8x30x6"), ("right", "8x6x30"), ("operation", "view"))
    fact = Fact("axes_reshaped", "", "net.py:7", settings)
    found = only(seen(fact))
    assert found.severity == "warning" and "(8, 6, 30) of a tensor of shape (8, 30, 6)" in found.summary
    assert found.source == "net.py:7" and "permute" in found.remedy
    assert only(seen(fact, every=False)).severity == "note"


def test_outputs_that_were_laid_out_the_other_way_round_than_their_targets_meet_those_of_other_places():
    fact = Fact("targets_crossed", "", "train.py:9", (("left", "12x8"), ("right", "8x12")))
    found = only(seen(fact))
    assert (found.severity, found.where, found.source) == ("warning", "loss", "train.py:9")
    assert "outputs were (12, 8)" in found.summary and "transpose(0, 1)" in found.remedy
    assert only(seen(fact, every=False)).severity == "note"


@pytest.mark.parametrize(("first", "said"), [("time", True), ("batch", False)])
def test_a_real_network_over_time_whose_outputs_are_flattened_time_first(first, said):
    torch = pytest.importorskip("torch")
    import isograd

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = torch.nn.GRU(6, 8, batch_first=first == "batch"), torch.nn.Linear(8, 6)

        def forward(self, x):
            return self.out(self.rnn(x if first == "batch" else x.transpose(0, 1))[0])

    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    with isograd.watch(net, optimizer, budget=None) as watch:
        for _ in range(5):
            y = torch.randint(0, 6, (8, 12))
            x = torch.nn.functional.one_hot(y, 6).float()
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x).reshape(-1, 6), y.reshape(-1)).backward()
            optimizer.step()
    named = [f for f in watch.report().findings if f.disease == "recurrent_axes" and f.alarm]
    assert bool(named) is said and all("test_recurrent_axes.py" in (f.source or "") for f in named)


@pytest.mark.parametrize(("turn", "said"), [("view", True), ("permute", False)])
def test_a_real_convolution_over_axes_that_were_viewed_into_place(turn, said):
    torch = pytest.importorskip("torch")
    import isograd

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out = torch.nn.Conv1d(3, 8, 5), torch.nn.Linear(8, 2)

        def forward(self, x):
            x = x.view(len(x), 3, -1) if turn == "view" else x.permute(0, 2, 1)
            return self.out(torch.relu(self.conv(x)).reshape(len(x), 8, -1).amax(-1))

    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    with isograd.watch(net, optimizer, budget=None) as watch:
        for _ in range(30):
            y = torch.randint(0, 2, (32,))
            x = torch.randn(32, 20, 3)
            x[:, 8:12, 0] += 3.0 * (2 * y[:, None] - 1) * torch.tensor([1.0, -1.0, 1.0, -1.0])
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    assert any(one.disease == "recurrent_axes" and one.alarm for one in watch.findings) == said
