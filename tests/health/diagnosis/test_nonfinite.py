"""Non-finite numbers: the first step, the first place, and the two cases that are none of our business."""

import dataclasses
import math

import pytest
from bodies import body, case, recording

from isograd.health import signals
from isograd.health.case import case_of
from isograd.health.diagnosis import nonfinite
from isograd.records.anatomy import Anatomy, Node
from isograd.records.batch import LossSample
from isograd.records.moments import Moments
from isograd.records.trace import LayerSample, ParameterSample, Step, Trace

NAN, INF = Moments.of([math.nan, 1.0]), Moments.of([math.inf, 1.0])
GOOD = Moments.of([1.0])


def found(*steps, names=("l0.weight",)):
    anatomy = body(3)
    return list(nonfinite.diagnose(case(signals.measure(Trace(anatomy, names, steps)), anatomy)))


def layers(**samples):
    return tuple(LayerSample(where, 0, 1, *pair) for where, pair in samples.items())


def test_a_finite_training_is_silent():
    anatomy = body(3)
    assert list(nonfinite.diagnose(case(recording(anatomy, [1.0] * 3, [0.01] * 3, losses=[1.0, 1e30]), anatomy))) == []


def test_the_first_step_whose_loss_is_nan_is_named():
    (finding,) = found(Step(1, loss=1.0), Step(2, loss=math.nan), Step(3, loss=math.nan))
    assert finding.severity == "critical" and finding.confidence == 1.0 and finding.since == 2
    assert finding.where == "loss"


def test_a_loss_that_ran_away_broke_because_the_steps_are_too_long():
    losses = [*(Step(index, loss=10.0**index) for index in range(1, 7)), Step(7, loss=math.inf)]
    (finding,) = found(*losses)
    assert "run away" in finding.summary and "rate" in finding.remedy and "NaN" not in finding.remedy
    summed = LossSample("mse_loss", reduction="sum", output_shape=(64, 1))
    steps = (dataclasses.replace(losses[0], losses=(summed,)), *losses[1:])
    (finding,) = nonfinite.diagnose(case_of(Trace(body(3), ("l0.weight",), steps)))
    assert finding.remedy.startswith("reduction='mean'") and "64" in finding.remedy


def test_a_loss_that_breaks_out_of_the_blue_is_looked_for_in_the_batch():
    (finding,) = found(*(Step(index, loss=1.0 / index) for index in range(1, 7)), Step(7, loss=math.nan))
    assert "run away" not in finding.summary and "NaN" in finding.remedy


def test_the_first_layer_whose_output_broke_is_where():
    (finding,) = found(Step(4, loss=math.nan, layers=layers(l0=(GOOD, GOOD), l1=(NAN, NAN), l2=(NAN, NAN))))
    assert finding.where == "l1" and finding.since == 4 and finding.source == "net.py:7"


def test_minus_infinity_of_a_mask_is_on_purpose_and_what_a_softmax_makes_of_a_hidden_row_is_not():
    chain = (
        Node("scores.masked_fill", "other", "masked_fill"),
        Node("scores.softmax", "softmax", "softmax", (0,), source="net.py:9"),
    )
    samples = (LayerSample("scores.masked_fill", 0, 1, INF, GOOD), LayerSample("scores.softmax", 0, 1, NAN, NAN))
    anatomy = Anatomy("torch", chain, ())
    (finding,) = nonfinite.diagnose(case(signals.measure(Trace(anatomy, (), (Step(1, math.nan, layers=samples),))), anatomy))
    assert (finding.where, finding.source) == ("scores.softmax", "net.py:9") and "masked from end to end" in finding.summary


def test_where_all_outputs_are_finite_it_is_the_gradient_nearest_to_the_loss():
    (finding,) = found(Step(1, loss=math.inf, layers=layers(l0=(GOOD, NAN), l1=(GOOD, INF), l2=(GOOD, GOOD))))
    assert finding.where == "l1"


def test_a_weight_that_holds_nan_is_named():
    (finding,) = found(Step(1, loss=1.0, parameters=(ParameterSample("l2.weight", NAN),)))
    assert finding.where == "l2" and "l2.weight" in finding.summary


def test_masked_attention_may_hold_minus_infinity():
    assert found(Step(1, loss=1.0, gradient_norms=(1.0,), layers=layers(l0=(INF, GOOD)))) == []


def test_an_overflow_that_mixed_precision_skips_is_a_remark():
    steps = [Step(i, loss=1.0, gradient_norms=(math.inf if i == 5 else 1.0,)) for i in range(1, 21)]
    (finding,) = found(*steps)
    assert finding.severity == "note" and finding.since == 5 and "once" in finding.summary


@pytest.mark.parametrize("broken", [range(5, 21), range(1, 20)])
def test_overflows_that_do_not_pass_or_are_most_of_the_steps_are_no_remark(broken):
    steps = [Step(i, loss=1.0, gradient_norms=(math.inf if i in broken else 1.0,)) for i in range(1, 21)]
    (finding,) = found(*steps)
    assert finding.severity == "critical" and finding.since == min(broken)


def test_a_real_training_on_a_nan_is_found_at_the_step_it_came(digits, mlp):
    import torch

    import isograd

    x, y = digits
    model = mlp(3, torch.nn.ReLU)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for step in range(1, 6):
            batch = x[:32].clone()
            if step == 3:
                batch[7, 3] = math.nan
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(batch), y[:32]).backward()
            optimizer.step()
    finding = watch.findings[0]
    assert (finding.disease, finding.severity, finding.since, finding.where) == ("nonfinite", "critical", 3, "data")


def test_weights_that_are_not_finite_are_found_before_the_first_step():
    torch = pytest.importorskip("torch")
    import isograd

    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    model[2].weight.data[0, 0] = float("nan")
    (finding,) = isograd.check(model).findings
    assert (finding.disease, finding.severity, finding.where) == ("nonfinite", "critical", "2")


def test_a_loss_that_breaks_after_the_last_look_is_heard_at_its_step():
    torch = pytest.importorskip("torch")
    import isograd

    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with isograd.watch(model, optimizer, budget=1e-9) as watch:
        for step in range(8):
            optimizer.zero_grad()
            loss = model(torch.ones(4, 4)).square().mean()
            (loss * float("nan") if step == 5 else loss).backward()
            optimizer.step()
    (finding,) = [one for one in watch.report().findings if one.disease == "nonfinite"]
    assert finding.since == 6
