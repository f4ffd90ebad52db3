"""``watch.explain`` without a loss: the one that the watch heard is taken, and three faults at once are told apart by it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import isograd
from isograd.errors import ModelError
from isograd.frameworks.torch.heard import loss_as_heard
from isograd.records.batch import LossSample


def watched(model, batches, loss, epochs=8, rate=1e-3):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    with isograd.watch(model, optimizer, steps=epochs * len(batches)) as watch:
        for _ in range(epochs):
            for x, y in batches:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
    return watch, optimizer


def houses():
    draw = torch.Generator().manual_seed(0)
    area, rooms, year = (torch.rand(600, generator=draw) for _ in range(3))
    x = torch.stack([area * 3_000 + 400, rooms * 6, year * 60 + 1950], 1)
    y = 180 * x[:, 0] + 9_000 * x[:, 1] - 700 * (2010 - x[:, 2])
    return [(x[i : i + 50], y[i : i + 50]) for i in range(0, 600, 50)]


def mlp(inputs, outputs):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, outputs))


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_raw_inputs_raw_targets_and_a_loss_that_broadcasts_are_named_and_not_the_rate_that_gets_round_them():
    batches, model = houses(), mlp(3, 1)
    watch, optimizer = watched(model, batches, nn.functional.mse_loss, epochs=30)
    report = watch.explain(batches, optimizer=optimizer)
    assert {cause.edit.kind for cause in report.cause.causes} == {"input_scale", "target_scale", "loss"}
    assert any("loss= was left out: mse_loss (mean)" in remark for remark in report.cause.remarks)


def test_the_loss_is_taken_with_the_shape_the_sign_and_the_type_it_was_called_with():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(640, 4, generator=draw)
    batches = [(x[i : i + 32], (x[i : i + 32, 0] > 0).long()) for i in range(0, 640, 32)]

    def turned(out, y):
        return -nn.functional.binary_cross_entropy_with_logits(out.squeeze(1), y.float())

    model = mlp(4, 1)
    watch, optimizer = watched(model, batches, turned)
    found = watch.explain(batches, optimizer=optimizer).cause
    assert found.causes and found.causes[0].edit.kind == "loss"
    assert not any("not what the loop steps" in remark for remark in found.remarks)


def test_what_is_not_known_whole_is_asked_for():
    plain = LossSample("cross_entropy", plain=True)
    assert loss_as_heard(plain) is not None and loss_as_heard(LossSample("")) is None
    for more in ({"plain": False}, {"written": True}, {"reduction": "none"}, {"head": ("log_softmax",)}):
        assert loss_as_heard(replace(plain, **more)) is None, "options, or a function in the loop"
    batches = [(x, y[:, None]) for x, y in houses()]
    model = mlp(3, 1)
    watch, optimizer = watched(model, batches, lambda out, y: (out - y).abs().pow(1.5).mean())
    with pytest.raises(ModelError, match="there is no loss: none was given"):
        watch.explain(batches, optimizer=optimizer)


def test_a_model_that_gives_its_loss_itself_is_believed():
    heard = loss_as_heard(LossSample("mse_loss", output_shape=(4, 1), target_shape=(4, 1), plain=True))
    assert float(heard({"loss": torch.tensor(7.0)}, None)) == 7.0


def test_outputs_that_the_loop_brings_into_another_order_are_not_guessed():
    heard = loss_as_heard(LossSample("cross_entropy", output_shape=(8, 5, 12), target_shape=(8, 12), plain=True))
    with pytest.raises(ModelError, match="another form"):
        heard(torch.randn(8, 12, 5), torch.zeros(8, 12, dtype=torch.int64))


@pytest.mark.parametrize("terms", ["a term that is added", "two heads", "smoothing"])
def test_a_loss_of_several_terms_or_with_options_is_asked_for(terms):
    draw = torch.Generator().manual_seed(0)
    batches = [(torch.randn(32, 4, generator=draw), torch.randint(0, 3, (32,), generator=draw)) for _ in range(8)]
    cross = nn.functional.cross_entropy

    def loss(out, y):
        if terms == "two heads":
            return cross(out, y) + cross(out.flip(1), y)
        return cross(out, y, label_smoothing=0.1) if terms == "smoothing" else cross(out, y) + 0.1 * out.square().mean()

    model = mlp(4, 3)
    watch, optimizer = watched(model, batches, loss)
    with pytest.raises(ModelError, match="there is no loss: none was given"):
        watch.explain(batches, optimizer=optimizer)


def test_an_optimizer_that_the_loop_makes_itself_is_replayed_as_it_was_at_its_first_step():
    """As a trainer of somebody else's does: ``watch(model)`` around its ``fit``."""
    from torch.optim import optimizer as hooks

    def fit(model, batches):
        other = torch.optim.SGD(mlp(3, 1).parameters(), lr=1.0)  # of nobody's here
        optimizer = torch.optim.SGD(model.parameters(), lr=30.0)
        for step, (x, y) in enumerate(batches * 4):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            other.step()
            optimizer.step()
            optimizer.param_groups[0]["lr"] = 30.0 * 0.9 ** (step + 1)

    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1_200, 8, generator=draw)
    y = x[:, :4].argmax(1)
    batches, model = [(x[i : i + 40], y[i : i + 40]) for i in range(0, 1_200, 40)], mlp(8, 4)
    before = len(hooks._global_optimizer_pre_hooks)
    with isograd.watch(model) as watch:
        fit(model, batches)
    assert len(hooks._global_optimizer_pre_hooks) == before
    report = watch.explain(batches)
    (cause,) = report.cause.causes
    assert (cause.edit.kind, cause.edit.before) == ("learning_rate", 30.0)
