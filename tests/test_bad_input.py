"""What cannot be watched gets one clear message with the way out, and a bad batch is a finding and no crash."""

import math

import pytest

import isograd
from isograd.errors import DamagedError, ModelError, RequestError

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def sgd(net):
    return torch.optim.SGD(net.parameters(), lr=0.1)


@pytest.mark.parametrize(
    "optimizer",
    [
        3,
        torch.optim.SGD,
        nn.Linear(2, 2).parameters(),
        torch.optim.lr_scheduler.StepLR(torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1), 1),
        torch.amp.GradScaler("cpu"),
    ],
    ids=["a number", "a class", "parameters", "a scheduler", "a scaler"],
)
def test_what_is_no_optimizer_is_refused_with_the_way_out(optimizer):
    with pytest.raises(ModelError, match="not a torch optimizer") as caught:
        isograd.watch(model(), optimizer)
    assert "pass the torch.optim.Optimizer" in str(caught.value)


@pytest.mark.parametrize("others", [[], [3], ["adam"], [None]])
def test_a_list_that_holds_no_optimizers_is_refused_by_a_check(others):
    net = model()
    with pytest.raises(ModelError, match="not a torch optimizer"):
        isograd.check(net, torch.ones(4, 2), lambda out, _: out.mean(), [*others, *([sgd(net)] if others else [])])


def test_the_one_of_several_optimizers_that_steps_other_parameters_is_refused_by_a_check():
    net = model()
    with pytest.raises(ModelError, match="none of the model's parameters"):
        isograd.check(net, torch.ones(4, 2), lambda out, _: out.mean(), [sgd(net), sgd(nn.Linear(2, 2))])


def test_an_optimizer_of_other_parameters_is_refused_with_the_way_out():
    with pytest.raises(ModelError, match="none of the model's parameters") as caught:
        isograd.watch(model(), sgd(nn.Linear(2, 2)))
    assert "model.parameters()" in str(caught.value)


def test_a_model_on_several_devices_is_refused_and_both_are_named():
    split = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))  # no second device is at hand
    with pytest.raises(ModelError, match="several devices: cpu, meta") as caught:
        isograd.watch(split)
    assert "0.weight, 0.bias are on cpu" in str(caught.value)
    assert "its values" in str(caught.value) and "model.to('meta')" not in str(caught.value)


def test_the_odd_one_of_several_models_is_named():
    with pytest.raises(ModelError, match=r"not builtins\.int"):
        isograd.watch([model(), 3])


def test_a_trace_that_is_no_file_name_is_refused():
    with pytest.raises(RequestError, match="name of a file"):
        isograd.watch(model(), trace=3)


def test_a_batch_with_a_number_that_is_none_is_a_finding_and_the_training_goes_on():
    net = model()
    optimizer, told = sgd(net), []
    with isograd.watch(net, optimizer, on_finding=told.append) as watch:
        for step in range(1, 41):
            x = torch.randn(16, 4)
            if step == 2:
                x[3, 1] = math.nan
            optimizer.zero_grad()
            F.mse_loss(net(x), torch.zeros(16, 2)).backward()
            optimizer.step()
    finding = next(finding for finding in watch.findings if finding.disease == "nonfinite")
    assert finding.where == "data" and finding.severity == "critical" and watch.meter.steps == 40
    assert any(one.disease == "nonfinite" and one.noticed < 40 for one in told)


def test_a_loader_or_arrays_in_place_of_a_batch_are_refused_with_what_to_give():
    net, x, y = model(), torch.randn(6, 4), torch.zeros(6, dtype=torch.long)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y))
    with pytest.raises(ModelError) as caught:
        isograd.check(net, loader, F.cross_entropy)
    assert "next(iter(loader))" in str(caught.value)
    with pytest.raises(ModelError) as caught:
        isograd.check(net, (x.numpy(), y.numpy()), F.cross_entropy)
    assert "torch.from_numpy" in str(caught.value)


def test_a_trace_with_a_damaged_line_or_none_at_all_is_refused_with_the_way_out(tmp_path):
    trace = tmp_path / "trace.jsonl"
    net = model()
    optimizer = sgd(net)
    with isograd.watch(net, optimizer, trace=trace):
        for _ in range(6):
            optimizer.zero_grad()
            F.cross_entropy(net(torch.randn(6, 4)), torch.zeros(6, dtype=torch.long)).backward()
            optimizer.step()
    lines = trace.read_text().split("\n")
    trace.write_text("\n".join([lines[0], lines[1][:40], *lines[2:]]))
    with pytest.raises(DamagedError, match="line 2") as caught:
        isograd.diagnose(trace)
    assert "take that line out" in str(caught.value)
    trace.write_text("\n".join([lines[0], *lines[2:]]))
    assert isograd.diagnose(trace) is not None
    trace.write_text("")
    with pytest.raises(DamagedError, match="is empty") as caught:
        isograd.diagnose(trace)
    assert "wrote" in str(caught.value)
