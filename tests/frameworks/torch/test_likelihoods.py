"""Likelihoods of classes written by hand are the losses that they amount to; weighted ones are left alone."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import isograd  # noqa: E402

Y = torch.arange(32) % 3


def heard(loss, *head):
    """The loss of the second step, as a watch heard it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 3), *head)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with isograd.watch(net, optimizer, budget=None) as watch:
        for _ in range(2):
            optimizer.zero_grad()
            loss(net(torch.randn(32, 6)), Y).backward()
            optimizer.step()
    (sample,) = watch.trace.steps[-1].losses
    return sample


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, y: -torch.log(p)[torch.arange(len(y)), y].mean(),
        lambda p, y: -torch.log(p[range(len(y)), y] + 1e-9).mean(),
        lambda p, y: -p.log().gather(1, y[:, None]).mean(),
        lambda p, y: -(nn.functional.one_hot(y, 3) * torch.log(p + 1e-9)).sum(1).mean(),
        lambda p, y: -torch.log(p)[torch.arange(len(y)), y].sum(),
    ],
)
def test_a_likelihood_of_classes_written_by_hand(loss):
    sample, plain = heard(loss, nn.Softmax(1)), heard(nn.functional.cross_entropy)
    assert sample.written and sample.function == "nll_loss" and not sample.negated and sample.value > 0.0
    times = 1.0 if sample.reduction == "mean" else 32.0
    assert sample.floor == pytest.approx(times * plain.floor, rel=1e-3) and sample.classes == plain.classes


def test_log_probabilities_that_are_weighted_one_by_one_are_no_likelihood():
    def loss(p, y):
        return -(torch.log(p)[torch.arange(len(y)), y] * torch.linspace(-1, 1, len(y))).mean()

    assert heard(loss, nn.Softmax(1)).function == ""
