"""Loops that step by hand: their steps are seen as an optimizer's are, and nothing is changed by looking."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import isograd  # noqa: E402
from isograd.frameworks.torch.backward import BACKWARD, GRAD  # noqa: E402

STEPS = 40
RATE = 0.5


def in_place(model):
    with torch.no_grad():
        for p in model.parameters():
            p -= RATE * p.grad
            p.grad = None


def through_data(model):
    for p in model.parameters():
        p.data.sub_(RATE * p.grad)
        p.grad.zero_()


def new_data(model):
    for p in model.parameters():
        p.data = p.data - RATE * p.grad
    model.zero_grad()


def rebound(model):
    for p in model.parameters():
        p = p.detach() - RATE * p.grad
    model.zero_grad()


def upwards(model):
    with torch.no_grad():
        for p in model.parameters():
            p += RATE * p.grad
            p.grad = None


def never_cleared(model):
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.01 * p.grad


def trained(update, watched=True, passes=1, budget=None):
    """A model, and the watch over it where there is one."""
    torch.manual_seed(0)
    x = torch.randn(128, 6)
    y = (x[:, :3].sum(1, keepdim=True) > 0).float()
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
    loss = nn.BCEWithLogitsLoss()
    watch = isograd.watch(model, budget=budget) if watched else None
    if watch is not None:
        watch.__enter__()
    for step in range(STEPS):
        for part in range(passes):
            rows = slice(64 * ((step + part) % 2), 64 * ((step + part) % 2) + 64)
            loss(model(x[rows]), y[rows]).backward()
        update(model)
    if watch is not None:
        watch.__exit__(None, None, None)
    return model, watch


def told(watch):
    return {finding.disease: finding for finding in watch.findings if finding.alarm}


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("update", [in_place, through_data, new_data])
@pytest.mark.parametrize("budget", [None, 0.03])
def test_steps_by_hand_are_counted_and_measured_and_a_sound_loop_is_healthy(update, passes, budget):
    plain, _ = trained(update, watched=False, passes=passes)
    model, watch = trained(update, passes=passes, budget=budget)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), model.parameters(), strict=True))
    assert watch.meter.steps == STEPS and watch.report().healthy
    second = watch.trace.steps[1]
    assert second.layers and all(sample.update and sample.gradient for sample in second.parameters)
    assert not BACKWARD._listeners and not BACKWARD._over


def test_the_update_of_a_step_by_hand_is_the_rate_times_its_gradient():
    _, watch = trained(in_place)
    sample = watch.trace.steps[4].parameters[0]
    assert sample.update.rms == pytest.approx(RATE * sample.gradient.rms, rel=1e-4)


def test_an_update_that_only_rebinds_a_name_moves_no_weight():
    finding = told(trained(rebound)[1])["gradients_lost"]
    assert finding.severity == "critical" and "p -= lr * p.grad" in finding.remedy


def test_an_update_that_adds_the_gradient_goes_uphill():
    finding = told(trained(upwards)[1])["loss_mismatch"]
    assert finding.severity == "critical" and "goes up the gradient" in finding.summary and finding.where == "loop"


def test_gradients_that_are_never_cleared_by_hand_are_told():
    assert "gradients_not_cleared" in told(trained(never_cleared)[1])


def test_an_objective_that_is_to_rise_may_be_climbed_by_hand():
    torch.manual_seed(0)
    policy = nn.Linear(4, 3)
    with isograd.watch(policy, budget=None) as watch:
        for _ in range(STEPS):
            p = policy(torch.eye(4)).softmax(-1)[:, 0].mean()
            p.backward()
            upwards(policy)
    assert watch.meter.steps == STEPS and not told(watch)


def test_where_an_optimizer_steps_nothing_is_taken_for_a_hand():
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isograd.watch(model, budget=None) as watch:
        for _ in range(10):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
            with torch.no_grad():
                model.weight.clamp_(-0.2, 0.2)
    assert watch.meter.steps == 10 and watch.trace.anatomy.optimizer.kind == "sgd"


def derived(update, watched=True, create_graph=False):
    """A loop whose gradients come from torch.autograd.grad, and the watch over it where there is one."""
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    y = (x[:, :3].sum(1, keepdim=True) > 0).float()
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
    parameters = list(model.parameters())
    watch = isograd.watch(model, budget=None) if watched else None
    if watch is not None:
        watch.__enter__()
    for _ in range(STEPS):
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
        gradients = torch.autograd.grad(loss, parameters, create_graph=create_graph)
        with torch.no_grad():
            for p, g in zip(parameters, gradients, strict=True):
                update(p, g)
    if watch is not None:
        watch.__exit__(None, None, None)
    return model, watch


def descend(p, g):
    p -= RATE * g


def climb(p, g):
    p += RATE * g


def rebind(p, g):
    p = p - RATE * g


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_of_autograd_grad_step_a_healthy_loop_that_is_measured_and_left_as_it_was(create_graph):
    plain, _ = derived(descend, watched=False, create_graph=create_graph)
    model, watch = derived(descend, create_graph=create_graph)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), model.parameters(), strict=True))
    assert watch.meter.steps == STEPS and watch.report().healthy
    assert all(p.grad is None for p in model.parameters())
    sample = watch.trace.steps[4].parameters[0]
    assert sample.update.rms == pytest.approx(RATE * sample.gradient.rms, rel=1e-4)
    assert not GRAD._listeners and not GRAD._over


def test_gradients_of_autograd_grad_that_are_added_go_uphill():
    finding = told(derived(climb)[1])["loss_mismatch"]
    assert finding.severity == "critical" and "goes up the gradient" in finding.summary


def test_gradients_of_autograd_grad_from_which_new_tensors_are_made_move_nothing():
    finding = told(derived(rebind)[1])["gradients_lost"]
    assert finding.severity == "critical" and "p -= lr * p.grad" in finding.remedy


def test_derivatives_by_the_inputs_are_no_step():
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isograd.watch(model, budget=None) as watch:
        for _ in range(10):
            x = torch.randn(8, 4, requires_grad=True)
            (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
            optimizer.zero_grad()
            (model(x).square().mean() + slope.square().mean()).backward()
            optimizer.step()
    assert watch.meter.steps == 10 and not told(watch)
