"""What a watch or a check says about what it did not see, and about what it cannot take."""

import threading

import pytest

import isograd
from isograd.errors import ModelError

torch = pytest.importorskip("torch")
nn = torch.nn


def torch_model():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def torch_batch():
    draw = torch.Generator().manual_seed(0)
    return torch.randn(32, 8, generator=draw), torch.randint(0, 3, (32,), generator=draw)


def watched(model, forward=None, *, thread=False, backward=True):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch_batch()

    def steps():
        for _ in range(3):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy((forward or model)(x), y)
            if backward:
                loss.backward()
            optimizer.step()

    with isograd.watch(model, optimizer) as watch:
        if thread:
            worker = threading.Thread(target=steps)
            worker.start()
            worker.join()
        else:
            steps()
    return watch.report()


def test_a_loop_in_another_thread_is_not_called_healthy():
    report = watched(torch_model(), thread=True)
    assert str(report).startswith("Nothing can be said") and "no step was seen" in report.record.remarks[0]


def test_training_in_evaluation_mode_says_that_no_layer_was_measured():
    report = watched(torch_model().eval())
    assert "Healthy" not in str(report) and "evaluation mode" in str(report)


def test_a_forward_that_goes_around_the_hooks_is_told():
    model = torch_model()
    report = watched(model, lambda x: nn.functional.linear(x, model[0].weight))
    assert "Healthy" not in str(report) and "not called as model(inputs)" in str(report)


def test_a_compiled_model_is_measured_beside_the_program():
    try:
        report = watched(torch.compile(torch_model(), backend="eager"))
    finally:
        torch.compiler.reset()
    assert report.record.remarks == ()


def test_a_model_with_a_compiled_part_says_that_its_layers_were_not_measured():
    model = nn.Sequential(torch.compile(torch_model(), backend="eager"))
    try:
        report = watched(model)
    finally:
        torch.compiler.reset()
    assert "Healthy" not in str(report) and "torch.compile" in str(report)


def test_a_loop_without_a_backward_pass_is_told():
    report = watched(torch_model(), backward=False)
    assert "Healthy" not in str(report) and "backward pass did not reach" in str(report)


def test_an_ordinary_watch_has_nothing_to_remark():
    assert watched(torch_model()).record.remarks == ()


def test_the_last_planned_step_is_always_looked_at(monkeypatch):
    monkeypatch.setattr("isograd.frameworks.torch.budget.FLOOR", 0.0)  # what a short run may cost however quick the machine is
    model = torch_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch_batch()
    with isograd.watch(model, optimizer, budget=1e-9, steps=7) as watch:
        for _ in range(7):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert [step.index for step in watch.trace.steps if step.layers] == [1, 2, 7]


# a check without an optimizer, and what it refuses


def test_a_check_without_an_optimizer_measures_the_batch():
    x, y = torch_batch()
    model = nn.Sequential(*[layer for _ in range(20) for layer in (nn.Linear(8, 8), nn.Sigmoid())], nn.Linear(8, 3))
    report = isograd.check(model, (x, y), nn.CrossEntropyLoss())
    assert report.record.steps == 1 and report.record.readings.of("gradient_rms")
    assert not report.record.readings.of("update_ratio")
    assert report.findings[0].disease == "vanishing" and "(theory:" in str(report)
    assert "no optimizer was given" in report.record.remarks[0]


def test_a_batch_with_nan_is_found_without_an_optimizer():
    x, y = torch_batch()
    x[3, 2] = float("nan")
    report = isograd.check(torch_model(), (x, y), nn.CrossEntropyLoss())
    assert [(finding.disease, finding.where) for finding in report.findings] == [("nonfinite", "data")]
    assert "the batch itself" in report.findings[0].summary


def test_a_plain_network_is_healthy_without_an_optimizer():
    report = isograd.check(torch_model(), torch_batch(), nn.CrossEntropyLoss())
    assert report.healthy and "one forward and backward pass" in str(report)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda out, y: {}["margin"], "it raised KeyError"),
        (lambda out, y: nn.functional.cross_entropy(out, y, reduction="none"), "not one number"),
        (lambda out, y: nn.functional.cross_entropy(out.detach(), y), "no graph"),
        (nn.CrossEntropyLoss, r"CrossEntropyLoss\(\)"),
        ("cross_entropy", "not a function"),
    ],
)
def test_a_loss_that_cannot_be_used_gets_one_message(loss, words):
    with pytest.raises(ModelError, match=words):
        isograd.check(torch_model(), torch_batch(), loss)


def test_an_empty_batch_is_refused():
    with pytest.raises(ModelError, match="the batch is empty"):
        isograd.check(torch_model(), (torch.zeros(0, 8), torch.zeros(0, dtype=torch.long)), nn.CrossEntropyLoss())
