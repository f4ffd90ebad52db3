"""A loss scale that the steps do not know of, or divide by once too often; and the ways to handle it that are sound."""

import pytest
from bodies import ADAM, SGD

from isograd.health.case import case_of
from isograd.health.diagnosis import in_order, precision
from isograd.records.anatomy import Anatomy, Parameter
from isograd.records.fact import Fact
from isograd.records.finding import Finding
from isograd.records.moments import Moments
from isograd.records.trace import LayerSample, ParameterSample, Step, Trace

SCALE = 1024.0
EVEN = (1.0,) * 8
"""What arrives at a layer of two units from four examples: all alike, so that a bias gets as much as it can."""


def found(gradient, *, optimizer=SGD, looks=4, arrived=EVEN, facts=(), scalers=1):
    """A layer whose bias got this gradient, at each look, under a loss scale."""
    drawn = Moments.of([0.1, 0.2])
    anatomy = Anatomy("torch", (), (Parameter("l.bias", "l", (2,), True, True, drawn),), optimizer)
    steps = []
    for index in range(1, looks + 1):
        scaled = Fact("loss_scaled", settings=(("scale", SCALE), ("plain", 0), ("scalers", index if scalers > 1 else 1)))
        layer = LayerSample("l", 0, 4, Moments.of([1.0]), Moments.of(arrived))
        parameter = ParameterSample("l.bias", drawn, Moments.of(gradient))
        steps.append(Step(index, 1.0, 0.1, layers=(layer,), parameters=(parameter,), facts=(scaled, *facts)))
    return list(precision.diagnose(case_of(Trace(anatomy, (), tuple(steps), looks, ended=True))))


def test_a_bias_that_gets_the_sum_of_what_arrives_is_as_it_should_be():
    assert found([4.0, 4.0]) == []


def test_a_bias_cannot_get_more_than_arrives_at_its_layer():
    (finding,) = found([4.0 * SCALE, 4.0 * SCALE])
    assert (finding.severity, finding.where) == ("critical", "l") and "past the scaler" in finding.cause
    assert finding.evidence[0].value == pytest.approx(SCALE)


def test_a_gradient_that_is_divided_by_the_scale_once_too_often():
    (finding,) = found([4.0 / SCALE, 4.0 / SCALE])
    assert (finding.severity, finding.where) == ("critical", "optimizer") and "by hand" in finding.cause
    assert found([4.0 / SCALE] * 2, looks=2) == []


@pytest.mark.parametrize("share", [1e-7, 0.3 / SCALE, 0.0])
def test_less_than_the_scale_takes_away_is_no_lost_scale(share):
    assert found([4.0 * share, 4.0 * share]) == []


def test_parts_that_cancel_leave_only_rounding_which_says_nothing():
    assert found([1e-4 / SCALE] * 2, arrived=(1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -0.9998)) == []


def clip(norm, bound, by="norm"):
    """A clipping, as it is told."""
    return Fact("clipped", settings=(("bound", bound), ("norm", norm), ("by", by)))


def test_a_tight_clip_after_the_unscaling_takes_away_what_it_says():
    long = 32.0**0.5  # of the gradient as it was: (4, 4)
    assert found([4.0 / SCALE] * 2, facts=(clip(long, long / SCALE),)) == []
    assert found([4.0 / SCALE] * 2, facts=(clip(-1.0, 1.0, "value"),)) == []
    (finding,) = found([4.0 / SCALE] * 2, facts=(clip(long * SCALE, long),))
    assert "while they carry the scale" in finding.cause


def test_a_layer_whose_weights_are_used_outside_of_it_gets_more_than_arrives_there():
    assert found([400.0, 400.0]) == []


def test_examples_that_cancel_in_part_are_no_lost_scale():
    assert found([4.0 / 100, 4.0 / 100]) == []


def test_what_divides_by_the_size_of_its_gradients_undoes_it():
    assert [one.severity for one in found([4.0 * SCALE] * 2, optimizer=ADAM)] == ["note"]


def test_gradients_that_were_never_cleared_may_be_as_large_as_they_like():
    assert found([4.0 * SCALE] * 2, facts=(Fact("carried"),)) == []


def test_it_stands_before_what_follows_from_it():
    (finding,) = found([4.0 * SCALE, 4.0 * SCALE])
    late = Finding("nonfinite", "critical", 1.0, "loss", "The loss is not finite.")
    assert in_order([late, finding])[0] is finding


def test_a_scaler_that_is_made_anew_at_every_look_is_the_cause_of_skipped_steps():
    skip = (Fact("scale_skipped", settings=(("scale", SCALE),)),)
    (finding,) = found([4.0, 4.0], facts=skip, scalers=9)
    assert "inside the loop" in finding.cause
    (finding,) = found([4.0, 4.0], facts=skip)
    assert finding.cause is None


def trained(digits, mlp, kind):
    """Plain SGD under float16 and a gradient scaler."""
    import torch

    import isograd

    x, y = digits
    torch.manual_seed(0)
    model = mlp(3, torch.nn.ReLU)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4096.0)
    draw = torch.Generator().manual_seed(0)
    with isograd.watch(model, optimizer, budget=None, steps=60) as watch:
        for _ in range(60):
            if kind == "anew":
                scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30)
            optimizer.zero_grad()
            for part in range(2 if kind == "accumulates" else 1):
                rows = torch.randint(0, 1400, (64,), generator=draw)
                with torch.autocast("cpu", torch.float16):
                    loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows]) / (part + 1)
                scaled = scaler.scale(loss)
                (loss if kind == "plain" else scaled).backward()
            if kind in ("twice", "by hand"):
                for parameter in model.parameters():
                    parameter.grad.data.div_(scaler.get_scale())
            bound = 2.0 * scaler.get_scale() if kind == "a bound that is scaled" else 2.0
            if kind == "unscaled first":
                scaler.unscale_(optimizer)
            if kind in ("clipped", "a bound that is scaled", "unscaled first"):
                torch.nn.utils.clip_grad_norm_(model.parameters(), bound)
            if kind in ("past", "by hand"):
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
    return [one for one in watch.report().findings if one.alarm]


def two(kind):
    """Two models in one loop, on answers that are mostly noise; ``kind``: how their losses are scaled."""
    import torch

    import isograd

    torch.manual_seed(0)
    x = torch.randn(64, 4)
    y = x[:, :1] + 4.0 * torch.randn(64, 1)
    models = [torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)) for _ in range(2)]
    a, b = (torch.optim.SGD(model.parameters(), lr=0.01) for model in models)
    s, t = torch.amp.GradScaler("cpu", init_scale=2.0**16), torch.amp.GradScaler("cpu", init_scale=64.0)
    with isograd.watch(models, [a, b], budget=None) as watch:
        for _ in range(12):
            a.zero_grad()
            b.zero_grad()
            first, second = (torch.nn.functional.mse_loss(model(x), y) for model in models)
            if kind == "one plain":
                s.scale(first).backward()
                s.step(a)
                s.update()
                second.backward()
                b.step()
            elif kind == "one plain between":
                s.scale(first).backward()
                second.backward()
                s.step(a)
                s.update()
                b.step()
            else:
                one, other = s.scale(first), t.scale(second)
                for scaled in (other, one):
                    scaled.backward()
                s.step(a)
                t.step(b)
                s.update()
                t.update()
    return watch


@pytest.mark.parametrize("kind", ["one plain", "one plain between", "two scalers"])
def test_two_models_whose_losses_are_scaled_differently_are_left_in_peace(kind):
    watch = two(kind)
    assert not [one for one in watch.report().findings if one.disease == "precision"]
    assert not any(fact.kind == "scale_skipped" for step in watch.trace.steps for fact in step.facts)


@pytest.mark.parametrize("kind", ["one plain", "two scalers"])
def test_what_arrives_is_measured_by_the_scale_of_its_own_backward_pass(kind):
    norms = {one.where: one.gradient.norm for one in two(kind).trace.steps[0].layers if one.gradient is not None}
    assert max(norms.values()) < 64.0 * min(norms.values())


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("plain", "the loss itself"),
        ("twice", "by hand, and once more"),
        ("past", "past the scaler"),
        ("clipped", "while they carry the scale"),
        ("anew", "inside the loop"),
    ],
)
def test_a_real_training_that_handles_its_scale_wrongly_is_told_so_first(digits, mlp, kind, cause):
    first = trained(digits, mlp, kind)[0]
    assert (first.disease, first.severity) == ("precision", "critical") and cause in first.cause
    assert kind != "plain" or "test_loss_scale.py:" in first.source


@pytest.mark.parametrize("kind", ["plainly", "accumulates", "by hand", "a bound that is scaled", "unscaled first"])
def test_sound_ways_to_handle_it_are_left_in_peace(digits, mlp, kind):
    assert [one for one in trained(digits, mlp, kind) if one.disease in ("precision", "clipping", "exploding")] == []
