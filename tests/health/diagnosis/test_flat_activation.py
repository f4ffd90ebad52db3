"""A function without slope: no gradient passes, and what lies before it cannot learn."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import isograd  # noqa: E402


class Through(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.a, self.b, self.function = nn.Linear(8, 16), nn.Linear(16, 2), function

    def forward(self, x):
        return self.b(self.function(self.a(x)))


def told(function, change=lambda model: None, steps=40):
    torch.manual_seed(0)
    model = Through(function)
    change(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(64, 8)
    y = (x[:, 0] > 0).long()
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return [finding for finding in watch.report().findings if finding.disease == "flat_activation"]


@pytest.mark.parametrize("function", [torch.sign, torch.round])
def test_a_function_without_slope_is_named_with_the_layer_that_starves(function):
    (finding,) = told(function)
    assert finding.severity == "critical" and "a" in finding.layers and "slope is zero" in finding.summary


class Answer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.a, self.b, self.function = nn.Linear(8, 16), nn.Linear(16, 1), function

    def forward(self, x):
        return self.function(self.b(torch.relu(self.a(x))))[:, 0]


@pytest.mark.parametrize(
    ("function", "flat"),
    [
        (lambda x: nn.functional.layer_norm(x, (1,)), True),
        (lambda x: torch.softmax(x, 1), True),
        (nn.BatchNorm1d(1), False),
        (lambda x: x / 2, False),
    ],
)
def test_a_norm_and_a_softmax_over_one_value_have_no_slope(function, flat):
    torch.manual_seed(0)
    model, x = Answer(function), torch.randn(64, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(40):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), x[:, 0]).backward()
            optimizer.step()
    told = [finding for finding in watch.report().findings if finding.disease == "flat_activation"]
    assert bool(told) == flat
    for finding in told:
        assert finding.severity == "critical" and {"a", "b"} <= set(finding.layers) and "one value" in finding.remedy


def straight_through(x):
    return x + (torch.sign(x) - x).detach()


def test_functions_with_a_slope_and_a_straight_through_estimator_are_silent():
    for function in (torch.relu, torch.tanh, straight_through):
        assert told(function) == []


def test_a_head_that_starts_at_zero_lets_gradients_through_after_the_first_step():
    assert told(torch.relu, lambda model: nn.init.zeros_(model.b.weight)) == []


def test_a_dead_relu_is_no_function_without_slope():
    assert told(torch.relu, lambda model: nn.init.constant_(model.a.bias, -100.0)) == []


class Around(Through):
    def __init__(self, function):
        super().__init__(function)
        self.norm, self.c = nn.LayerNorm(16), nn.Linear(16, 16)

    def forward(self, x):
        wide = self.a(x)
        return self.b(wide + self.c(self.function(self.norm(wide))))


@pytest.mark.parametrize(
    ("function", "hard", "said"), [(torch.sign, True, True), (torch.sign, False, False), (torch.tanh, True, False)]
)
def test_a_branch_without_slope_beside_a_skip_is_told_where_the_answers_are_poor(function, hard, said):
    torch.manual_seed(0)
    model = Around(function)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(256, 8)
    y = ((x[:, 0] * x[:, 1] * x[:, 2] > 0) if hard else (x[:, 0] > 0)).long()
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    found = [finding for finding in watch.report().findings if finding.disease == "flat_activation" and finding.alarm]
    assert bool(found) == said


@pytest.mark.parametrize(
    ("loss", "named", "told"),
    [
        (lambda out, y: nn.functional.mse_loss(out.round(), y), "round", True),
        (lambda out, y: nn.functional.mse_loss(out, y) * 0 + 1, "without slope", True),
        (lambda out, y: nn.functional.mse_loss(out, y), "", False),
        (lambda out, y: torch.relu(-1e3 - out).mean(), "", False),  # a margin that is kept from the start
    ],
)
def test_a_function_without_slope_between_outputs_and_loss_leaves_no_gradient_at_all(loss, named, told):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)), torch.randn(64, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(20):
            optimizer.zero_grad()
            loss(model(x), x[:, :1]).backward()
            optimizer.step()
    found = [finding for finding in watch.report().findings if finding.disease == "flat_activation"]
    assert bool(found) == told
    for finding in found:
        assert finding.where == "loss" and finding.severity == "critical" and named in finding.summary
