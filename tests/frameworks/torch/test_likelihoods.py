"""Likelihoods of classes written by hand are the losses that they amount to; weighted ones are left alone."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import isograd  # noqa: E402

Y = torch.arange(32) % 3


def second_step(loss, *head, outputs=3):
    """The second of two steps, as a watch saw it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, outputs), *head)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with isograd.watch(net, optimizer, budget=None) as watch:
        for _ in range(2):
            optimizer.zero_grad()
            loss(net(torch.randn(32, 6)), Y).backward()
            optimizer.step()
    return watch.trace.steps[-1]


def heard(loss, *head):
    """Its loss."""
    (sample,) = second_step(loss, *head).losses
    return sample


def over_the_batch(*given, **more):
    """Where its softmax runs over the examples."""
    return [fact.where for fact in second_step(*given, **more).facts if fact.kind == "softmax_axis"]


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


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, y: nn.functional.nll_loss((p + 1e-9).log(), y),
        lambda p, y: nn.functional.nll_loss(p.clamp_min(1e-9).log(), y),
        lambda p, y: -(p[torch.arange(len(y)), y] + 1e-9).log().mean(),
        lambda p, y: -(nn.functional.one_hot(y, 3) * p.log()).sum(1).mean(),
    ],
)
def test_a_softmax_over_the_batch_is_a_fact_below_a_logarithm_and_in_a_likelihood_by_hand_too(loss):
    assert over_the_batch(loss, nn.Softmax(0)) == ["1"] and over_the_batch(loss, nn.Softmax(1)) == []


def test_a_contrast_of_all_pairs_may_take_its_softmax_over_either_axis():
    pairs = torch.arange(32)
    assert over_the_batch(lambda p, _: nn.functional.nll_loss(p.log(), pairs), nn.Softmax(0), outputs=32) == []
