"""What the recorder says is what happened: gradients, updates, units, losses, steps, costs, checked by another way."""

import math
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import torch_loops as loops
from recording import Watch

import isograd
from isograd.errors import ModelError, RequestError
from isograd.frameworks.torch import history, parameters
from isograd.frameworks.torch.recorder import TorchRecorder
from isograd.records.trace import LayerSample, Step


def watched(kind, budget=None):
    watch = Watch(budget)
    loops.LOOPS[kind](watch)
    return watch.trace


def layers_of(step):
    return {(layer.where, layer.call): layer for layer in step.layers}


def one_step(net, x, loss, optimizer=None):
    """Watch one step of ``net``; gives the step."""
    optimizer = optimizer or torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    watch = Watch()
    with watch(net, optimizer):
        loss(net(x)).backward()
        optimizer.step()
    return watch.trace.steps[0]


def test_outputs_and_gradients_are_those_of_retained_tensors():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = torch.randn(5, 4).double(), torch.tensor([0, 1, 2, 0, 1])
    values = [x]
    for module in net:
        values.append(module(values[-1]))
        values[-1].retain_grad()
    F.cross_entropy(values[-1], y).backward()
    net.zero_grad()
    step = one_step(net, x, lambda out: F.cross_entropy(out, y))
    assert step.loss == pytest.approx(float(F.cross_entropy(values[-1], y).detach()), rel=1e-12)
    assert [layer.where for layer in step.layers] == ["0", "1", "2"]
    for layer, value in zip(step.layers, values[1:], strict=True):
        assert layer.activation.norm == pytest.approx(float(value.detach().norm()), rel=1e-12)
        assert layer.gradient.norm == pytest.approx(float(value.grad.norm()), rel=1e-12)
        assert layer.examples == 5


def test_an_in_place_function_after_a_layer_leaves_the_layer_s_own_output_and_gradient():
    def twin(inplace):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=inplace), nn.Linear(6, 3)).double()

    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1)).double()
    inside, outside = (one_step(twin(inplace), x, lambda out: out.square().mean()) for inplace in (True, False))
    assert inside.layers == outside.layers


def test_a_zero_second_layer_gives_the_first_layer_no_gradient():
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    nn.init.zeros_(net[2].weight)
    step = one_step(net, torch.randn(5, 4), lambda out: (out - 1).square().mean())
    seen = layers_of(step)
    assert seen["0", 0].gradient.largest == 0.0 and seen["2", 0].gradient.largest > 0.0
    assert dict(zip(["0.weight", "0.bias", "2.weight", "2.bias"], step.gradient_norms, strict=True))["0.weight"] == 0.0


def test_a_gradient_too_small_for_float32_squares_is_not_called_zero():
    net = nn.Sequential(*[layer for _ in range(2) for layer in (nn.Linear(4, 4), nn.Sigmoid())])
    for kept in (None, 0.03):
        watch = Watch(kept)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
        with watch(net, optimizer):
            for _ in range(5):
                optimizer.zero_grad()
                (net(torch.ones(3, 4)).sum() * 1e-30).backward()
                optimizer.step()
        assert None not in watch.trace.steps[0].gradient_norms
        for step in watch.trace.steps:
            assert all(1e-36 < norm < 1e-28 for norm in step.gradient_norms if norm is not None)
        exact = float(net[2].weight.grad.double().norm())
        norms = parameters.norms_of([0], [net[2].weight]).values()
        assert norms[0] == pytest.approx(exact, rel=1e-6)


def test_norms_that_are_not_finite_say_so():
    weights = [nn.Parameter(torch.ones(3)) for _ in range(4)]
    for weight, gradient in zip(weights, ([1.0, math.nan, 0.0], [math.inf, 1.0, 0.0], [1e30, 1e30, 0.0]), strict=False):
        weight.grad = torch.tensor(gradient)
    norms = parameters.norms_of([0, 1, 2, 3], weights, factor=0.5).values()
    assert (
        math.isnan(norms[0])
        and norms[1] == math.inf
        and norms[2] == pytest.approx(0.5 * math.sqrt(2) * 1e30)
        and 3 not in norms
    )


def test_the_update_is_what_the_weights_really_did_under_any_optimizer():
    torch.manual_seed(0)
    net = nn.Linear(300, 200)  # large: only every eighth row is kept
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
    x = torch.randn(8, 300)
    before = net.weight.detach().clone()
    watch = Watch(0.03)
    with watch(net, optimizer):
        net(x).square().mean().backward()
        optimizer.step()
    sample = watch.trace.steps[0].parameters[0]
    update = (net.weight.detach() - before)[3::8]
    assert sample.update.count == update.numel() == 25 * 300
    assert sample.update.rms == pytest.approx(float(update.square().mean().sqrt()), rel=1e-5)
    assert sample.motion.ratio == pytest.approx(float(update.norm() / before[3::8].norm()), rel=1e-5)
    assert sample.weight.rms == pytest.approx(float(before.square().mean().sqrt()), rel=1e-5)
    assert watch.trace.steps[0].learning_rate == 0.01


def test_turn_compares_this_gradient_with_the_last_sampled_one():
    net = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    watch = Watch()
    with watch(net, optimizer):
        for sign in (1.0, 1.0, -1.0):
            optimizer.zero_grad()
            (sign * net(torch.ones(1, 2))).sum().backward()
            optimizer.step()
    turns = [step.parameters[0].turn for step in watch.trace.steps]
    assert turns[0] is None and turns[1].cosine == pytest.approx(1.0) and turns[2].cosine == pytest.approx(-1.0)


def test_units_of_modules_and_of_functions_are_counted_along_the_channels():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.lift = nn.Conv2d(1, 3, 1), nn.Linear(3, 2)

        def forward(self, x):
            x = F.relu(self.conv(x))
            return torch.sigmoid(self.lift(x.mean((2, 3))))

    net = Net()
    with torch.no_grad():
        net.conv.weight.copy_(torch.tensor([1.0, -1.0, 1.0]).reshape(3, 1, 1, 1))
        net.conv.bias.zero_()
        net.lift.weight.zero_()
        net.lift.bias.copy_(torch.tensor([20.0, 0.0]))
    seen = layers_of(one_step(net, torch.ones(4, 1, 5, 5), lambda out: out.sum()))
    relu, sigmoid = seen["relu", 0].units, seen["sigmoid", 0].units
    assert (relu.seen, relu.fired, relu.pinned) == (100, (100, 0, 100), (0, 0, 0))
    assert (sigmoid.seen, sigmoid.fired, sigmoid.pinned) == (4, (4, 4), (4, 0))
    assert seen["conv", 0].units is None


def test_calls_in_one_pass_have_names_and_passes_of_one_step_have_numbers():
    assert {where for where, _ in layers_of(watched("shared and tied modules").steps[0])} >= {
        "body",
        "body@2",
        "body@3",
        "tanh_2",
    }
    first = watched("gradient accumulation").steps[0]
    assert [call for where, call in layers_of(first) if where == "0"] == [0, 1, 2]
    assert first.loss == pytest.approx(math.log(3), abs=0.5)  # the sum of three thirds


@pytest.mark.parametrize("kind", ["checkpoint, not reentrant", "checkpoint, reentrant"])
def test_a_checkpointed_part_is_counted_once_with_its_gradient(kind):
    for step in watched(kind).steps:
        assert len(step.layers) == len({layer.where for layer in step.layers})
        assert {layer.where for layer in step.layers} >= {"a.0", "a.1", "b", "head"}
        assert all(layer.gradient is not None for layer in step.layers if layer.where in ("a.0", "a.1", "b", "head"))


def test_checkpointing_changes_nothing_that_is_seen():
    def seen(kind):
        torch.manual_seed(0)
        net = loops.Checkpointed(kind == "reentrant")
        x = torch.randn(5, 6, requires_grad=True)
        if kind == "none":
            net.forward = lambda v: net.head(F.relu(net.b(net.a(v))))
        net.a[2].p = 0.0
        return {
            layer.where: (layer.activation, layer.gradient)
            for layer in one_step(net, x, lambda out: out.square().mean()).layers
        }

    plain = seen("none")
    for kind in ("reentrant", "non-reentrant"):
        found = seen(kind)
        assert {where: found[where] for where in ("a.0", "a.1", "b", "head")} == {
            where: plain[where] for where in ("a.0", "a.1", "b", "head")
        }


@pytest.mark.parametrize("kind", ["gradient scaler", "gradient scaler, fused"])
def test_scaled_losses_are_unscaled(kind):
    first = watched(kind).steps[0]
    assert first.loss == pytest.approx(math.log(3), abs=0.5)
    assert first.layers[-1].gradient.norm < 0.5  # softmax minus one-hot over 12 examples; 1,000 times as much if scaled
    assert max(first.gradient_norms) < 2.0
    assert all(
        sample.gradient.norm == pytest.approx(norm) for sample, norm in zip(first.parameters, first.gradient_norms, strict=True)
    )


def test_a_gan_makes_one_step_of_both_optimizers():
    trace = watched("GAN with two optimizers")
    assert trace.meter.steps == 5
    assert {name.partition(".")[0] for name in trace.parameters} == {"0", "1"}
    for step in trace.steps:
        assert all(norm is not None for norm in step.gradient_norms) and len(step.parameters) == len(trace.parameters)
    assert [call for where, call in layers_of(trace.steps[1]) if where == "1.0"] == [0, 1, 2]
    assert trace.anatomy.loss == "binary_cross_entropy_with_logits"


def test_lbfgs_counts_one_step_for_several_passes():
    trace = watched("LBFGS")
    assert trace.meter.steps == 4
    assert max(layer.call for layer in trace.steps[0].layers) >= 3
    assert trace.steps[0].parameters[0].update.norm > 0 and None not in trace.steps[0].gradient_norms


def test_a_parameter_that_joins_later_has_no_gradient_before():
    trace = watched("parameter groups and layers added")
    last = trace.parameters.index("4.weight")
    assert [step.gradient_norms[last] is None for step in trace.steps] == [True, True, False, False, False, False]
    assert all(len(step.gradient_norms) == len(trace.parameters) for step in trace.steps)


def test_a_replaced_optimizer_is_seen():
    trace = watched("optimizer replaced")
    assert trace.meter.steps == 6 and [step.learning_rate for step in trace.steps] == [0.001] * 3 + [0.1] * 3


def test_parameters_without_a_gradient_are_none_and_not_zero():
    trace = watched("idle and frozen parameters")
    norms = dict(zip(trace.parameters, trace.steps[0].gradient_norms, strict=True))
    assert norms["idle.weight"] is None and norms["frozen.weight"] is None and norms["used.0.weight"] > 0
    held = {parameter.name: parameter.in_optimizer for parameter in trace.anatomy.parameters}
    assert held["used.0.weight"] and not held["frozen.weight"]
    assert not any(layer.where == "idle" for step in trace.steps for layer in step.layers)


def test_evaluation_in_between_is_not_counted():
    for step in watched("evaluation in between").steps:
        assert all(layer.call == 0 for layer in step.layers)


def test_a_loss_that_is_not_finite_is_an_event():
    net = nn.Linear(2, 1)
    step = one_step(net, torch.full((3, 2), math.inf), lambda out: out.mean())
    assert step.inputs[0].values.infs == 6 and step.inputs[0].features is None


def test_the_flow_is_seen_in_the_loop_itself():
    anatomy = watched("convolutions, batch norm, dropout, in-place ReLU").anatomy
    assert anatomy.traced and anatomy.loss == "cross_entropy" and anatomy.optimizer.kind == "sgd"
    assert [node.path for node in anatomy.nodes] == [
        "input", "features.0", "features.1", "features.2", "features.3", "max_pool2d", "flatten", "head",
    ]  # fmt: skip
    assert anatomy.node("head").source.rpartition(":")[0].endswith("torch_models.py")


def test_initial_weights_are_kept_as_they_were_before_training():
    torch.manual_seed(0)
    net = nn.Linear(3, 3)
    before = float(net.weight.detach().norm())
    watch = Watch()
    optimizer = torch.optim.SGD(net.parameters(), lr=10.0)
    with watch(net, optimizer):
        net(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
    assert watch.trace.anatomy.parameters[0].values.norm == pytest.approx(before)


def test_take_gives_each_step_once():
    net = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    watch, taken = Watch(), []
    with watch(net, optimizer):
        for _ in range(4):
            net(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            taken.append([step.index for step in watch.recorder.take()])
    assert taken == [[1], [2], [3], [4]] and watch.recorder.take() == ()


def test_the_budget_is_kept_by_our_own_clock_and_the_first_two_steps_are_always_seen():
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    watch = Watch(0.1)
    with watch(net, optimizer):
        for _ in range(600):
            optimizer.zero_grad()
            begun = time.thread_time()
            while time.thread_time() < begun + 0.002:  # a step that takes long enough to have a share of
                pass
            net(torch.randn(16, 64)).square().mean().backward()
            optimizer.step()
    trace = watch.trace
    assert [step.index for step in trace.steps if step.sampled][:2] == [1, 2]
    assert 2 < trace.meter.sampled < 300 and trace.meter.normed >= trace.meter.sampled and trace.meter.steps == 600
    assert 0.02 < trace.meter.share < 0.1


def test_old_steps_are_thinned_and_the_extreme_ones_stay(monkeypatch):
    monkeypatch.setattr(history, "STEPS", 100)
    monkeypatch.setattr(history, "SAMPLED", 20)
    monkeypatch.setattr(history, "GLANCES", 100)
    kept = history.History()
    layer = LayerSample("a")
    for index in range(1, 2001):
        norm = math.nan if index == 37 else 1.0
        kept.add(Step(index, gradient_norms=(norm,), layers=(layer,) if index <= 2 or index % 10 == 0 else ()))
    indices = [step.index for step in kept.steps]
    assert len(indices) <= 201 and indices == sorted(indices)
    assert {37, 1, 2, 2000, 1999} <= set(indices)
    assert sum(step.sampled for step in kept.steps) <= 21 and kept.steps[0].sampled and kept.steps[1].sampled


@pytest.mark.parametrize(
    ("models", "optimizers", "says"),
    [
        ([3], None, "not a torch module"),
        ([nn.ReLU()], None, "no trainable parameter"),
        ([nn.Linear(2, 2).requires_grad_(False)], None, "no trainable parameter"),
        ([nn.LazyLinear(3)], None, "lazy"),
        ([nn.Linear(2, 2, device="meta")], None, "meta device"),
        ([nn.Linear(2, 2)], [torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)], "none of the model's parameters"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_cannot_be_watched_gets_one_clear_message(models, optimizers, says):
    with pytest.raises(ModelError, match=says):
        TorchRecorder(models, optimizers)


def test_one_of_several_optimizers_may_hold_a_number_that_belongs_to_no_model():
    """The temperature of a soft actor-critic."""
    net, number = nn.Linear(2, 2), torch.zeros(1, requires_grad=True)
    optimizers = [torch.optim.SGD([number], lr=0.1), torch.optim.SGD(net.parameters(), lr=0.1)]
    recorder = TorchRecorder([net], optimizers)
    recorder.attach()
    for _ in range(3):
        (net(torch.randn(4, 2)).square().mean() + number.square().sum()).backward()
        for optimizer in optimizers:
            optimizer.step()
    recorder.detach()
    assert recorder.stopped_by is None and len(recorder.trace().steps) == 3


def test_a_watch_is_used_once():
    recorder = TorchRecorder([nn.Linear(2, 2)])
    recorder.attach()
    with pytest.raises(RequestError, match="used already"):
        recorder.attach()
    recorder.detach()
    with pytest.raises(RequestError, match="used already"):
        recorder.attach()


def test_an_optimizer_that_never_steps_is_a_fact_and_one_that_does_is_none():
    models = [nn.Linear(4, 2), nn.Linear(4, 2)]
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    for stepping in (optimizers[:1], optimizers):
        with isograd.watch(models, optimizers) as watch:
            for _ in range(4):
                sum(model(torch.ones(3, 4)).square().mean() for model in models).backward()
                for optimizer in stepping:
                    optimizer.step()
                    optimizer.zero_grad()
        found = [fact for step in watch.trace.steps for fact in step.facts if fact.kind == "optimizer_idle"]
        assert [(fact.get("kind", ""), fact.get("parameters", 0)) for fact in found] == [("SGD", 10)] * (2 - len(stepping))


def test_the_end_of_an_announced_run_is_looked_at_closely():
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with isograd.watch(net, optimizer, steps=1_000) as watch:
        for _ in range(1_000):
            optimizer.zero_grad()
            F.mse_loss(net(torch.randn(8, 4)), torch.zeros(8, 1)).backward()
            optimizer.step()
    last = watch.trace.steps[-1]
    assert last.index == 1_000 and last.layers and last.parameters and last.losses
