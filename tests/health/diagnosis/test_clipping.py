"""Clipping: starving where every gradient is cut to a tiny bound, and harmless where layers move all the same."""

import pytest
from bodies import ADAM, body
from runs import FLAT, alarms, run

import isograd
from isograd.health.case import Case
from isograd.health.diagnosis import clipping, learning_rate
from isograd.records.fact import Fact
from isograd.records.moments import Moments
from isograd.records.trace import ParameterSample, Step

NET = body(4)


def found(**what):
    return list(clipping.diagnose(run(NET, **what)))


def test_a_bound_that_starves_is_found_and_not_called_a_low_rate():
    case = run(NET, losses=FLAT, norm=1e-4, turning=1e-5)
    (finding,) = clipping.diagnose(case)
    assert finding.severity == "critical" and "0.0001" in finding.summary and list(learning_rate.diagnose(case)) == []


def test_a_bound_that_an_adaptive_optimizer_divides_by_again_is_not_why_the_layers_rest():
    case = run(body(4, optimizer=ADAM), losses=FLAT, norm=1e-4, turning=1e-5)
    (remark,), (low,) = clipping.diagnose(case), learning_rate.diagnose(case)
    assert remark.severity == "note" and "divides by its size" in remark.summary and "too low" in low.summary


def test_a_bound_below_an_adaptive_optimizer_s_eps_starves_it():
    case = run(body(4, optimizer=ADAM), losses=FLAT, norm=1e-8, turning=1e-5)  # 128 x 128 entries: 8e-11 each
    (finding,) = clipping.diagnose(case)
    assert finding.severity == "critical" and list(learning_rate.diagnose(case)) == []


def test_clipping_at_every_step_of_a_good_training_is_a_remark():
    (finding,) = found(norm=1.0)
    assert finding.severity == "note"


def test_steps_of_known_length_that_add_up_to_little_starve_a_network_that_was_looked_at_early_alone():
    slow = [2.3 * 0.9995**i for i in range(200)]
    early = lambda step, layer=0: 1e-3 if step < 20 else 1e-2  # noqa: E731
    case = run(NET, losses=slow, norm=1e-3, turning=early, rates=0.01)
    (finding,) = clipping.diagnose(case)
    assert finding.alarm and "the network moved by at most" in finding.summary
    (remark,) = clipping.diagnose(run(NET, losses=slow, norm=1e-3, turning=early, rates=100.0))
    assert remark.severity == "note", "a rate that makes up for the bound"


def test_norms_that_vary_were_not_clipped():
    assert found(losses=FLAT, norm=lambda step: 1.0 + 0.01 * (step % 7), turning=1e-5) == []


def test_a_clip_that_was_seen_at_work_counts_where_norms_were_not_taken():
    seen = (Fact("clipped", settings=(("bound", 1e-3), ("norm", 2.0))),)
    (finding,) = found(losses=FLAT, turning=1e-5, facts=lambda _: seen)
    assert finding.alarm and finding.evidence[0].value == 1e-3


def clips(bound, norm):
    return lambda _: (Fact("clipped", settings=(("bound", bound), ("norm", norm))),)


def test_a_bound_that_no_gradient_came_near_to_gets_a_remark():
    (finding,) = found(norm=lambda step: 0.5 + 0.01 * (step % 7), facts=clips(100.0, 0.5))
    assert finding.severity == "note" and "clipping at 100 never acted" in finding.summary.lower() and "0.56" in finding.summary


def test_a_bound_of_a_few_gradients_one_that_only_measures_and_a_run_that_goes_on_get_none():
    vary = lambda step: 0.5 + 0.01 * (step % 7)  # noqa: E731
    assert found(norm=vary, facts=clips(2.0, 0.5)) == found(norm=vary, facts=clips(float("inf"), 0.5)) == []
    assert found(norm=vary, facts=clips(100.0, 0.5), planned=1000, ended=False) == []
    assert found(norm=lambda step: 20.0 if step == 50 else vary(step), facts=clips(100.0, 0.5)) == [], "one burst came near"


def test_a_full_batch_that_goes_nowhere_has_one_norm_without_clipping():
    assert found(losses=FLAT, norm=1.0, turning=1e-6, agreement=1.0) == []


def test_a_bound_reached_now_and_then_is_healthy():
    assert found(norm=lambda step: min(1.0, 0.5 + step % 4 * 0.2)) == []


def test_a_real_training_clipped_to_nothing(digits, mlp):
    import torch

    import isograd

    x, y = digits
    torch.manual_seed(0)
    model = mlp(3, torch.nn.ReLU)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isograd.watch(model, optimizer, budget=None, steps=30) as watch:
        for _ in range(30):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[:64]), y[:64]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-4)
            optimizer.step()
    named = [finding for finding in watch.findings if finding.disease == "clipping"]
    assert named and named[0].evidence[0].value < 1.1e-4
    assert not alarms(finding for finding in watch.findings if finding.disease == "learning_rate")


def sided(gradients, looks=5):
    """Looks at three weights whose gradients have these entries, one after the other."""
    steps = tuple(
        Step(
            k,
            parameters=tuple(ParameterSample(name, ONES, Moments.of(gradients(k, place))) for place, name in enumerate("abc")),
        )
        for k in range(1, looks + 1)
    )
    return [one.disease for one in clipping.diagnose(Case(NET, steps=steps, taken=looks, ended=True)) if one.alarm]


ONES = Moments.of([1.0] * 64)
BOTH = [sign * (k % 7 + 1.0) for k in range(32) for sign in (1.0, -1.0)]


def test_gradients_that_never_point_the_other_way_are_told_with_their_side():
    assert sided(lambda k, place: [max(one, 0.0) for one in BOTH]) == ["clipping"]
    assert sided(lambda k, place: [min(one, 0.0) for one in BOTH]) == ["clipping"]


def test_gradients_of_one_sign_in_a_layer_or_for_a_while_are_sound():
    assert sided(lambda k, place: BOTH) == []
    assert sided(lambda k, place: [abs(one) for one in BOTH] if place else BOTH) == []
    assert sided(lambda k, place: [(-1.0) ** k * abs(one) for one in BOTH]) == []
    assert sided(lambda k, place: [abs(one) for one in BOTH], looks=2) == []


@pytest.mark.parametrize("hooked", [True, False])
def test_a_hook_that_clamps_from_below_in_a_real_training(hooked):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32), torch.nn.Tanh())
    model.append(torch.nn.Linear(32, 4))
    for weight in model.parameters():
        if hooked:
            weight.register_hook(lambda gradient: gradient.clamp(min=0.0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with isograd.watch(model, optimizer, steps=120) as watch:
        for _ in range(120):
            x = torch.randn(32, 8)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()).backward()
            optimizer.step()
    assert ("clipping" in [one.disease for one in watch.report().findings if one.alarm]) is hooked
