"""A loss that nobody knows a floor of: what can be said all the same, and what would say more."""

import pytest
import torch
from torch import nn

import isograd

F = nn.functional
REMARK = "how good the answers are is not known"


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
        self.mean, self.spread = nn.Linear(32, 1), nn.Linear(32, 1)

    def forward(self, x):
        hidden = self.body(x)
        return self.mean(hidden), self.spread(hidden)


def likelihood(mean, spread, y):
    return (0.5 * ((y - mean) ** 2 * torch.exp(-spread) + spread)).mean()


def train(rate, *, shuffled=False, tried=False, loss=likelihood):
    torch.manual_seed(0)
    x = torch.randn(840, 8)
    y = 2.0 * x[:, :1] + 0.1 * torch.randn(840, 1)
    y = y[torch.randperm(840)] if shuffled else y
    model = TwoHeads()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    with isograd.watch(model, optimizer) as watch:
        for _ in range(8):
            for start in range(0, 640, 32):
                optimizer.zero_grad()
                loss(*model(x[start : start + 32]), y[start : start + 32]).backward()
                optimizer.step()
            if tried:
                with torch.no_grad():
                    F.mse_loss(model(x[640:])[0], y[640:])
    return watch.report()


def alarms(report):
    return [finding.disease for finding in report.findings if finding.alarm]


def test_a_network_that_stays_where_it_is_has_too_low_a_rate_whatever_its_loss_is():
    report = train(1e-7)
    assert alarms(report) == ["learning_rate"] and "stays what it was" in report.findings[0].summary


def test_a_network_that_learns_by_its_own_loss_is_left_alone_and_what_would_say_more_is_told():
    report = train(3e-3)
    assert not alarms(report) and REMARK in " ".join(str(report).split()) and "mse_loss" in str(report)


@pytest.mark.parametrize(("shuffled", "told"), [(True, ["plateau"]), (False, [])])
def test_a_known_loss_with_gradients_off_tells_whether_anything_was_learned(shuffled, told):
    report = train(3e-3, shuffled=shuffled, tried=True)
    assert alarms(report) == told and REMARK not in " ".join(str(report).split())


def test_of_a_loss_of_torch_nothing_is_remarked():
    report = train(3e-3, loss=lambda mean, _, y: F.mse_loss(mean, y))
    assert REMARK not in " ".join(str(report).split())


def small(loss, *, outputs=4, rate=3e-3, steps=160, dropout=0.0, labels=True, scale=1.0):
    """A training of a small network by a loss of its outputs and 0 or 1 an example, which follow from the inputs or not."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, outputs))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    with isograd.watch(model, optimizer, steps=steps) as watch:
        for _ in range(steps):
            x = torch.randn(64, 8)
            y = (x[:, 0] > 0.0) if labels else torch.rand(64) > 0.5
            optimizer.zero_grad()
            loss(model, scale * x, y.float()).backward()
            optimizer.step()
    return watch.report()


def focal(model, x, y):
    p = torch.sigmoid(model(x)[:, 0])
    right = torch.where(y > 0.0, p, 1.0 - p)
    return (-((1.0 - right) ** 2) * torch.log(right + 1e-8)).mean()


def agree(model, x, y):
    one, other = (model(x + 0.1 * torch.randn_like(x)) for _ in range(2))
    return -F.cosine_similarity(one, other.detach()).mean()


def contrast(model, x, y):
    one, other = (F.normalize(model(x + 0.1 * torch.randn_like(x)), dim=1) for _ in range(2))
    alike = one @ other.T / 0.2
    return (alike.logsumexp(1) - alike.diagonal()).mean()


def policy(model, x, y):
    chances = torch.distributions.Categorical(logits=model(x))
    action = chances.sample()
    reward = (action == y).float() + 0.1 * torch.randn(len(x))
    return -(chances.log_prob(action) * (reward - reward.mean())).mean()


def test_targets_that_do_not_follow_from_the_inputs_are_not_learned_whatever_the_loss_is():
    found = [one for one in small(focal, labels=False).findings if one.alarm]
    assert "plateau" in [one.disease for one in found]
    assert any("worth no more than one and the same for all" in one.summary for one in found)


@pytest.mark.parametrize("loss", [focal, agree, contrast, policy])
def test_losses_of_ones_own_that_are_learned_are_left_alone(loss):
    assert not alarms(small(loss))


def test_much_dropout_makes_outputs_loud_and_no_plateau():
    assert "plateau" not in alarms(small(focal, dropout=0.8, rate=1e-2))


def test_a_policy_that_acts_alike_whatever_it_sees_is_told():
    assert "collapse" in alarms(small(policy, scale=1e-6))
