"""Dropout that evaluation mode does not end, and the many ways in which programs see to it themselves."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import isograd

X = torch.randn(512, 12, generator=torch.Generator().manual_seed(0))
Y = (X[:, :4] @ torch.randn(4, 5, generator=torch.Generator().manual_seed(1))).argmax(1)


class Net(nn.Module):
    """Two layers; what stands between them is for the kinds below to say."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(12, 32), nn.Linear(32, 5)
        self.drop, self.held = nn.Dropout(0.6), [nn.Dropout(0.6)]

    def forward(self, x):
        return self.two(self.between(self.one(x).relu()))


class Function(Net):
    def between(self, x):
        return F.dropout(x, 0.6)


class Made(Net):
    def between(self, x):
        return nn.Dropout(0.6)(x)


class Held(Net):
    def between(self, x):
        return self.held[0](x)


class Told(Net):
    def between(self, x):
        return F.dropout(x, 0.6, self.training)


class Asked(Net):
    def between(self, x):
        return F.dropout(x, 0.6) if self.training else x


class AskedAbove(Function):
    def forward(self, x):
        x = self.one(x).relu()
        if self.training:
            x = self.between(x)
        return self.two(x)


class Flagged(Net):
    stochastic = True

    def between(self, x):
        if self.stochastic:
            x = F.dropout(x, 0.6)
        return x


class AskedByTheCaller(Net):
    def forward(self, x, drop=True):
        x = self.one(x).relu()
        if drop:
            x = F.dropout(x, 0.6)
        return self.two(x)


class HandedOn(Held):
    def train(self, mode=True):
        self.held[0].train(mode)
        return super().train(mode)


class Configured(Net):
    use_dropout = True

    def between(self, x):
        return F.dropout(x, 0.6) if self.use_dropout else x


class Registered(Net):
    def between(self, x):
        return self.drop(x)


class OnPurpose(Net):
    def between(self, x):
        return F.dropout(x, 0.6, True)  # sampled from


def told(kind, lr=3e-3, steps=60, loss=None, width=5):
    torch.manual_seed(0)
    model = kind()
    model.two = nn.Linear(32, width)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for step in range(steps):
            rows = torch.arange(64) + 64 * (step % 8)
            optimizer.zero_grad()
            made = model(X[rows])
            (F.cross_entropy(made, Y[rows]) if loss is None else loss(made, X[rows], Y[rows])).backward()
            optimizer.step()
    return [one for one in watch.report().findings if one.disease == "wrong_mode"]


FAULTS = [(Function, "F.dropout"), (Configured, "F.dropout"), (Made, "nn.Dropout"), (Held, "nn.Dropout")]


@pytest.mark.parametrize(("kind", "how"), FAULTS)
def test_dropout_that_no_mode_reaches_is_an_alarm_with_its_line(kind, how):
    (finding,) = told(kind)
    assert finding.severity == "warning" and finding.summary.startswith(how) and "test_dropout_that_stays.py" in finding.source
    assert ("self.training" in finding.remedy) == (how == "F.dropout")


@pytest.mark.parametrize("kind", [Told, Asked, AskedAbove, AskedByTheCaller, HandedOn, Flagged, Registered, OnPurpose])
def test_programs_that_see_to_the_mode_in_their_own_way_hear_nothing(kind):
    assert told(kind) == []


def test_where_the_answers_are_good_all_the_same_it_is_a_remark():
    class Mild(Net):
        def between(self, x):
            return F.dropout(x, 0.02)

    (finding,) = told(Mild, lr=1e-2, steps=400)
    assert finding.severity == "note"


@pytest.mark.parametrize("back", [True, False], ids=["given back", "classified"])
def test_noise_of_a_denoising_autoencoder_is_no_dropout_that_stays(back):
    class Noisy(Net):
        def forward(self, x):
            return self.two(self.one(F.dropout(x, 0.5)).relu())

    assert bool(told(Noisy, loss=(lambda made, x, _: F.mse_loss(made, x)) if back else None, width=12 if back else 5)) != back
