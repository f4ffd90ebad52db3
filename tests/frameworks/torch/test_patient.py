"""A patient is a copy: it is observed, edited and born again, and the person's objects never change."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isograd.errors import ModelError
from isograd.frameworks.torch.patient import TorchPatient
from isograd.records.edit import Edit


def small():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))
    return net, (torch.randn(8, 4), torch.randint(0, 3, (8,)))


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, momentum=0.5),
    "adagrad": torch.optim.Adagrad,
    "lbfgs": lambda p: torch.optim.LBFGS(p, max_iter=3),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_observing_a_copy_is_the_training_that_the_person_would_see(kind):
    net, (x, y) = small()
    optimizer = OPTIMIZERS[kind](net.parameters())

    def step():
        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            return loss

        optimizer.step(closure) if kind == "lbfgs" else (closure(), optimizer.step())

    step()  # the optimizer remembers something
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)  # wraps the optimizer's step
    patient = TorchPatient.copy_of(net, (x, y), F.cross_entropy, optimizer)
    state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    trace = patient.observe([(x, y)] * 3, 3)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), state[0].values(), strict=True))
    assert torch.equal(torch.get_rng_state(), state[1])
    losses = []
    hook = lambda module, args, output: losses.append(float(F.cross_entropy(output.detach(), y)))  # noqa: E731
    net.register_forward_hook(hook)
    for _ in range(3):
        before = len(losses)
        step()
        losses[before:] = [losses[before]]
    assert [s.loss for s in trace.steps] == pytest.approx(losses, rel=1e-6)
    assert scheduler.get_last_lr()[0] == trace.steps[0].learning_rate
    torch.set_rng_state(state[1])
    assert patient.observe([(x, y)] * 3, 3).steps == trace.steps


def test_a_patient_without_an_optimizer_is_measured_and_not_updated():
    net, batch = small()
    trace = TorchPatient.copy_of(net, batch, F.cross_entropy, None).observe([batch] * 2, 2)
    assert trace.anatomy.optimizer is None and len(trace.steps) == 2
    for step in trace.steps:
        assert step.learning_rate is None and step.layers[0].gradient.norm > 0
        assert all(
            sample.update is None and sample.motion is None and sample.gradient is not None for sample in step.parameters
        )
    assert trace.steps[0].parameters[0].weight == trace.steps[1].parameters[0].weight


def test_a_model_that_gives_its_own_loss():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 3)

        def forward(self, x, labels):
            return {"loss": F.cross_entropy(self.linear(x), labels)}

    _, (x, y) = small()
    net = Own()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    batch = {"x": x, "labels": y}
    trace = TorchPatient.copy_of(net, batch, None, optimizer).observe([batch], 1)
    assert trace.steps[0].loss == pytest.approx(float(net(x, y)["loss"].detach()))


def test_several_models_are_called_one_after_the_other():
    _, (x, y) = small()
    encoder, head = nn.Linear(4, 5), nn.Sequential(nn.Tanh(), nn.Linear(5, 3))
    optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.1)
    trace = TorchPatient.copy_of((encoder, head), (x, y), F.cross_entropy, optimizer).observe([(x, y)], 1)
    assert [layer.where for layer in trace.steps[0].layers] == ["0", "1.0", "1.1"]
    assert trace.parameters == ("0.weight", "0.bias", "1.1.weight", "1.1.bias")


def test_a_model_in_evaluation_mode_is_trained_in_training_mode_and_stays_in_evaluation():
    net, batch = small()
    net.eval()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    trace = TorchPatient.copy_of(net, batch, F.cross_entropy, optimizer).observe([batch], 1)
    assert trace.steps[0].layers and not net.training


def test_a_compiled_model_is_observed_as_the_plain_one():
    net, batch = small()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    plain = TorchPatient.copy_of(net, batch, F.cross_entropy, optimizer).observe([batch], 1)
    try:
        compiled = torch.compile(net, backend="eager")
        found = TorchPatient.copy_of(compiled, batch, F.cross_entropy, optimizer).observe([batch], 1)
    finally:
        torch._dynamo.reset()
    assert [(layer.where, layer.examples) for layer in found.steps[0].layers] == [
        (layer.where, layer.examples) for layer in plain.steps[0].layers
    ]


def test_an_edit_of_the_activation_keeps_what_is_shared():
    act = nn.ReLU()
    net = nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act)
    batch = (torch.randn(5, 4), torch.randn(5, 4))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    patient = TorchPatient.copy_of(net, batch, F.mse_loss, optimizer).apply(Edit("activation", "gelu"))
    assert isinstance(patient.models[0][1], nn.GELU) and patient.models[0][1] is patient.models[0][3]
    assert isinstance(net[1], nn.ReLU)
    with pytest.raises(ModelError, match="no activation module"):
        TorchPatient.copy_of(nn.Linear(4, 4), batch, F.mse_loss, None).apply(Edit("activation", "gelu"))


def test_a_rebirth_says_what_it_could_not_draw_again_and_keeps_the_settings():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.scale = nn.Linear(4, 4), nn.Parameter(torch.ones(4))

        def forward(self, x):
            return self.linear(x) * self.scale

    net, batch = Odd(), (torch.randn(5, 4), torch.randn(5, 4))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    F.mse_loss(net(batch[0]), batch[1]).backward()
    optimizer.step()
    stream = torch.get_rng_state()
    born = TorchPatient.copy_of(net, batch, F.mse_loss, optimizer).reborn(7)
    assert torch.equal(torch.get_rng_state(), stream)
    assert born.kept == ("scale",) and not born.optimizer.state and born.optimizer.param_groups[0]["lr"] == 0.03
    assert not torch.equal(born.models[0].linear.weight, net.linear.weight)
    assert born.optimizer.param_groups[0]["params"][0] is next(born.models[0].parameters())


X, LABELS = torch.ones(8, 4), torch.zeros(8, dtype=torch.int64)


@pytest.mark.parametrize(
    ("batch", "loss", "says"),
    [
        ((torch.ones(8, 5), LABELS), F.cross_entropy, r"does not take this batch[\s\S]*\(8, 5\) float32"),
        ((X, LABELS + 5), F.cross_entropy, "labels run from 5 to 5: the last layer needs 6 outputs"),
        ((X, torch.ones(8, 2, 2)), F.cross_entropy, r"does not fit the loss[\s\S]*\(8, 3\) float32[\s\S]*\(8, 2, 2\)"),
        ((X.double(), LABELS), F.cross_entropy, r"another dtype[\s\S]*float64, model is float32"),
        ((X, LABELS), lambda a, b: a, "not one number"),
        ((X, LABELS), lambda a, b: a.detach().sum(), "no graph"),
        ((X.to("meta"), None), F.cross_entropy, "another device"),
    ],
)
def test_what_does_not_fit_is_named(batch, loss, says):
    net = nn.Linear(4, 3)
    patient = TorchPatient.copy_of(net, batch, loss, torch.optim.SGD(net.parameters(), lr=0.1))
    with pytest.raises(ModelError, match=says):
        patient.observe([batch], 1)


def test_what_cannot_be_a_patient_is_refused():
    net, batch = small()
    with pytest.raises(ModelError, match="not a torch optimizer"):
        TorchPatient.copy_of(net, batch, F.cross_entropy, "adam")
    with pytest.raises(ModelError, match="none of the model's parameters"):
        TorchPatient.copy_of(net, batch, F.cross_entropy, torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1))
    net.remembered = net(batch[0])  # a tensor with a graph
    with pytest.raises(ModelError, match="cannot be copied"):
        TorchPatient.copy_of(net, batch, F.cross_entropy, None)
