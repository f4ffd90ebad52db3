"""Precision: updates that rounding swallows, steps that the loss scale skips."""

import pytest
from bodies import body
from runs import FLAT, alarms, run

from isograd.health.case import case_of
from isograd.health.diagnosis import precision
from isograd.records.batch import LossSample
from isograd.records.fact import Fact
from isograd.records.moments import Moments
from isograd.records.trace import LayerSample, Step, Trace


def found(dtype="bfloat16", **what):
    return list(precision.diagnose(run(body(4, dtype=dtype), **what)))


def skipped(share):
    return lambda step: (Fact("scale_skipped", settings=(("scale", 2.0),)),) if step % 100 < 100 * share else ()


def test_updates_that_bfloat16_rounds_away():
    (finding,) = found(losses=FLAT, update_zeros=98)
    assert finding.severity == "warning" and finding.evidence[0].value == pytest.approx(0.98) and "2**-9" in finding.summary


def test_in_float32_it_is_a_remark():
    (finding,) = found("float32", losses=FLAT, update_zeros=98)
    assert finding.severity == "note"


def test_a_scaler_that_skips_every_step_stops_the_training():
    (finding,) = found("float32", losses=FLAT, facts=skipped(1.0))
    assert finding.severity == "critical" and "scaler" in finding.summary


def test_a_scale_below_one_is_alarming_where_little_was_learned():
    def tiny(step):
        return (Fact("scale_skipped", settings=(("scale", 0.25),)),) if step in (2, 200) else ()

    assert [finding.severity for finding in found("float32", losses=FLAT, facts=tiny)] == ["warning"]
    assert alarms(found("float32", facts=tiny)) == []


GRAIN = 2.0**-24


def underflown(gradient, losses=FLAT, zeros=0.0):
    """Four layers with ReLUs that do not fire for ``zeros`` of their inputs, and this gradient in each layer."""
    anatomy, steps = body(4), []
    for index, loss in enumerate(losses, 1):
        layers = [LayerSample(f"l{i}", 0, 8, Moments.of([1.0, -1.0]), Moments.of(gradient)) for i in range(4)]
        fired = Moments.of([0.0] * round(10 * zeros) + [1.0] * round(10 - 10 * zeros))
        layers += [LayerSample(f"a{i}", 0, 8, fired, Moments.of([1e-6])) for i in range(3)]
        looked = LossSample("custom", value=loss, floor=2.3, target_shape=(32, 2))
        close = index % 20 == 0
        steps.append(Step(index, loss, 0.1, layers=tuple(layers) if close else (), losses=(looked,) if close else ()))
    return list(precision.diagnose(case_of(Trace(anatomy, (), tuple(steps), len(losses), ended=True))))


def test_gradients_below_what_float16_can_hold_underflow_whatever_type_the_weights_have():
    (finding,) = underflown([3 * GRAIN, GRAIN, 0.0, 0.0])
    assert finding.severity == "warning" and "50 %" in finding.summary and finding.layers == ("l0", "l1", "l2", "l3")


def test_no_underflow_is_seen_where_it_does_no_harm_or_is_none():
    assert alarms(underflown([3 * GRAIN, 0.0], [2.3 * 0.97**i for i in range(200)])) == []
    assert underflown([3e-7, 0.0]) == []  # no multiple of 2**-24: float32
    assert underflown([3.0, 0.0]) == []
    assert underflown([3 * GRAIN, -GRAIN]) == []
    assert alarms(underflown([3 * GRAIN, 0.0], zeros=0.5)) == []  # half of the units do not fire


HEALTHY = {
    "updates that arrive": {"losses": FLAT},
    "weights at rest under a rate of zero": {"update_zeros": 98, "rates": 0.0},
    "a skip in a hundred": {"facts": lambda step: (Fact("scale_skipped"),) if step == 3 else ()},
}


@pytest.mark.parametrize("name", HEALTHY)
def test_silent_on(name):
    assert found(**HEALTHY[name]) == []


def test_a_network_that_answers_well_gets_a_remark():
    assert found(update_zeros=98) and not alarms(found(update_zeros=98))


def test_a_real_bfloat16_network_with_tiny_steps(digits, mlp):
    import torch

    import isograd

    x, y = digits
    torch.manual_seed(0)
    model = mlp(3, torch.nn.Tanh).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with isograd.watch(model, optimizer, budget=None, steps=12) as watch:
        for _ in range(12):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[:64].bfloat16()), y[:64]).backward()
            optimizer.step()
    assert [finding for finding in watch.findings if finding.disease == "precision"]


@pytest.mark.parametrize("scaled", [False, True])
def test_real_gradients_underflow_under_autocast_without_a_scaler(digits, mlp, scaled):
    import torch

    import isograd

    x, y = digits
    torch.manual_seed(0)
    model = mlp(3, torch.nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", enabled=scaled)
    with isograd.watch(model, optimizer, budget=None, steps=12) as watch:
        for _ in range(12):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.float16):
                loss = 1e-4 * torch.nn.functional.cross_entropy(model(x[:256]), y[:256])
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    told = [finding for finding in watch.findings if finding.disease == "precision" and "underflow" in finding.summary]
    assert bool(told) == (not scaled)


def half(gradient, *, dtype="float16", looks=4, facts=()):
    """Looks at a loss on outputs of this type, with this gradient in each of four layers."""
    layers = tuple(LayerSample(f"l{i}", 0, 8, Moments.of([1.0]), Moments.of([gradient, 0.0])) for i in range(4))
    sample = LossSample("cross_entropy", value=2.3, floor=2.3, source="train.py:9", output_dtype=dtype, target_shape=(32,))
    steps = tuple(Step(i, 2.3, 0.1, layers=layers, losses=(sample,), facts=facts) for i in range(1, looks + 1))
    return [
        one for one in precision.diagnose(case_of(Trace(body(4), (), steps, ended=True))) if "every gradient" in one.summary
    ]


def test_gradients_that_are_all_zero_in_float16_from_the_first_look_on_have_underflown():
    (finding,) = half(0.0)
    assert finding.severity == "critical" and finding.source == "train.py:9" and "GradScaler" in finding.remedy


def test_zeros_in_float32_a_single_gradient_few_looks_or_a_scaler_that_skips_are_something_else():
    assert half(0.0, dtype="float32") == [] and half(1e-7) == [] and half(0.0, looks=2) == []
    assert half(0.0, facts=(Fact("scale_skipped", settings=(("scale", 2.0),)),)) == []


@pytest.mark.parametrize("factor", [1e-7, 1.0])
def test_a_real_network_of_half_precision_whose_loss_is_computed_in_float32_underflows_and_no_function_is_blamed(
    digits, mlp, factor
):
    import torch

    import isograd

    torch.manual_seed(0)
    x, y = digits
    model = mlp(3, torch.nn.ReLU).half()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(20):
            rows = torch.randint(0, 1400, (64,))
            optimizer.zero_grad()
            (factor * torch.nn.functional.cross_entropy(model(x[rows].half()).float(), y[rows])).backward()
            optimizer.step()
    said = [one.disease for one in watch.report().findings if one.disease in ("precision", "flat_activation") and one.alarm]
    assert said == (["precision"] if factor < 1.0 else [])


@pytest.mark.parametrize("factor", [1e-7, 1.0])
def test_a_real_loss_with_a_tiny_factor_under_autocast(digits, mlp, factor):
    import torch

    import isograd

    torch.manual_seed(0)
    x, y = digits
    model = mlp(3, torch.nn.ReLU)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(30):
            rows = torch.randint(0, 1400, (64,))
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.float16):
                loss = factor * torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
    said = [one.severity for one in watch.report().findings if one.disease == "precision"]
    assert said == (["critical"] if factor < 1.0 else [])


def sought(*skips):
    """A run of 120 steps that learns nothing: all skips are told, and three other steps were looked at."""
    skip, close = (Fact("scale_skipped", settings=(("scale", 2.0**18),)),), (11, 49, 119)
    told = LossSample("custom", value=2.3, floor=2.3, target_shape=(32, 2))
    layer = (LayerSample("l0", 0, 8, Moments.of([1.0]), Moments.of([1.0])),)
    every = {index: Step(index, 2.3, 0.1, layers=layer, losses=(told,)) for index in close}
    every |= {index: Step(index, 2.3, 0.1, facts=skip) for index in skips}
    rest = {index: Step(index, 2.3) for index in range(1, 121)}
    steps = tuple(step for _, step in sorted((rest | every).items()))
    return alarms(precision.diagnose(case_of(Trace(body(4), (), steps, 120, ended=True))))


def test_skips_while_the_scale_is_found_and_one_more_are_a_remark():
    assert sought(*range(1, 8), 105) == []
    assert sought(*range(1, 8), *range(80, 110))
