"""What is remarked before training keeps a check from calling the program healthy, or saying that it will train."""

import pytest
import torch
from torch import nn

import isograd
from isograd.records.forecast import DOUBTS

LOSS = nn.functional.cross_entropy
OPEN = "No fault is certain, but this may not train well: see below."


def batch(scale=None, label=None):
    """Thirty-two examples of ten columns and three classes; ``scale`` is that of the last column."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(32, 10, generator=draw)
    y = x[:, :3].argmax(1)
    if scale is not None:
        x[:, -1] *= scale
    return x, y if label is None else torch.full_like(y, label)


def checked(data, *, gain=1.0, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 3))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight *= gain
    return isograd.check(model, data, LOSS, torch.optim.SGD(model.parameters(), **{"lr": 0.1, **options}), steps=300)


@pytest.mark.parametrize(
    ("disease", "data", "options"),
    [
        ("inputs", batch(scale=150.0), {}),
        ("labels", batch(label=1), {}),
        ("initial_loss", batch(), {"gain": 14.0}),
        ("momentum", batch(), {"momentum": 0.999}),
        ("weight_decay", batch(), {"weight_decay": 0.9, "lr": 0.01}),
    ],
)
def test_a_remark_before_training_is_enough_to_leave_the_answer_open(disease, data, options):
    report = checked(data, **options)
    assert disease in DOUBTS and disease in [one.disease for one in report.findings] and report.healthy
    assert report.forecast.answer != "will train" and str(report).startswith(OPEN)
    remark = next(one.summary for one in report.findings if one.disease == disease)
    assert remark in report.to_html().partition("</header>")[0], "what it is stands under the headline, unfolded"


def transformer(optimizer):
    """A check of two layers under an optimizer of their parameters."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 3))
    return isograd.check(model, batch(), LOSS, optimizer(model), steps=300)


def warming(peak):
    """Adam whose rate rises to ``peak`` over twenty steps."""

    def made(model):
        optimizer = torch.optim.Adam(model.parameters(), lr=peak)
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 20))
        return optimizer

    return made


@pytest.mark.parametrize(
    ("disease", "optimizer", "words"),
    [
        ("exploding", warming(0.5), "rises from 0.025 to 0.5"),
        ("weight_decay", lambda m: torch.optim.AdamW(m.parameters(), lr=1e-3, weight_decay=50.0), "below 1 / 50"),
        (
            "learning_rate",
            lambda m: torch.optim.Adam([{"params": m[0].parameters(), "lr": 0.0}, {"params": m[2].parameters()}]),
            "whose learning rate is 0",
        ),
    ],
)
def test_settings_of_the_optimizer_that_the_first_steps_do_not_show_yet_are_remarked(disease, optimizer, words):
    report = transformer(optimizer)
    assert words in next(one.summary for one in report.findings if one.disease == disease) and str(report).startswith(OPEN)


@pytest.mark.parametrize("optimizer", [warming(1e-3), lambda m: torch.optim.AdamW(m.parameters(), lr=1e-3, weight_decay=0.1)])
def test_an_ordinary_warm_up_and_an_ordinary_decay_get_no_remark(optimizer):
    assert not [one for one in transformer(optimizer).findings if one.disease in DOUBTS]


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"weight_decay": 1e-3}, {"momentum": 0.99}, {"gain": 2.0}])
def test_the_same_with_ordinary_settings_is_called_healthy(options):
    report = checked(batch(), **options)
    assert not [one for one in report.findings if one.disease in DOUBTS] and str(report).startswith("Healthy: nothing stands")


def test_no_report_says_that_it_will_train_beside_an_alarm():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 3))
    report = isograd.check(model, batch(), LOSS, torch.optim.SGD(model[0].parameters(), lr=0.1), steps=300)
    assert not report.healthy and report.forecast.answer != "will train"


def test_a_small_batch_of_one_class_says_nothing():
    x, y = batch(label=1)
    assert "labels" not in [one.disease for one in checked((x[:4], y[:4])).findings]
