"""What a watch or a check says about what it did not see, and about what it cannot take."""

import threading

import pytest

import isograd

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


def test_a_compiled_model_says_that_its_layers_were_not_measured():
    model = torch.compile(torch_model(), backend="eager")
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
