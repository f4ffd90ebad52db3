"""A loss without a least value runs away; one that has a least value below zero slows down."""

import pytest
from lessons import training

from isograd.health.diagnosis import bottomless
from isograd.records.batch import LossSample


def found(loss, steps=300, ended=True):
    return list(bottomless.diagnose(training(lambda t: LossSample("", value=loss(t)), steps, ended=ended)))


def test_a_loss_that_falls_faster_and_faster_below_zero_has_no_bottom():
    (finding,) = found(lambda t: 0.5 - (t / 10.0) ** 2)
    assert finding.severity == "critical" and finding.where == "loss" and "no least value" in finding.summary
    assert finding.since is not None and 10 <= finding.since <= 20
    assert found(lambda t: 0.5 - (t / 10.0) ** 2, ended=False) == []
    (wild,) = found(lambda t: 40.0 if t < 50 else -1e15 * (2 + t % 3))
    assert "falling" not in wild.summary


@pytest.mark.parametrize(
    "loss",
    [
        lambda t: 2.0 - 8.0 * (1.0 - 0.98**t),  # a density of some numbers
        lambda t: 4000.0 - 12_000.0 * (1.0 - 0.98**t),  # one of many
        lambda t: -500.0 * (1.0 - 0.99**t),  # a value that rewards bound
        lambda t: 5.0 / t,
        lambda t: float(t) ** 2,
    ],
)
def test_what_slows_down_or_stays_above_zero_has_one(loss):
    assert found(loss) == []


def trained(loss):
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    x = torch.randn(256, 4)
    y = x[:, :1] + 0.3 * torch.randn(256, 1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with isograd.watch(model, optimizer, steps=400) as watch:
        for _ in range(400):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
    return {finding.disease: finding for finding in watch.report().findings if finding.alarm}


def test_a_quantile_loss_without_its_maximum_runs_away_and_with_it_does_not():
    torch = pytest.importorskip("torch")
    quantiles = torch.tensor([0.2, 0.8])

    def away(output, target):
        return (quantiles * (target - output)).mean()

    def sound(output, target):
        error = target - output
        return torch.maximum(quantiles * error, (quantiles - 1.0) * error).mean()

    assert trained(away)["bottomless"].severity == "critical"
    assert "bottomless" not in trained(sound)


def test_a_likelihood_below_zero_is_sound():
    def likelihood(output, target):
        return (output[:, 1:] + 0.5 * ((target - output[:, :1]) / output[:, 1:].exp()) ** 2).mean()

    assert "bottomless" not in trained(likelihood)
