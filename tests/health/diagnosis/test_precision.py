"""Precision: updates that rounding swallows, steps that the loss scale skips."""

import pytest
from bodies import body
from runs import FLAT, alarms, run

from isograd.health.diagnosis import precision
from isograd.records.fact import Fact


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
