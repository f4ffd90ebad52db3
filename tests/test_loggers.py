"""Findings in other people's logs."""

import logging

import pytest

import isograd
from isograd import loggers
from isograd.errors import RequestError
from isograd.records.finding import Finding

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

NEW = Finding("vanishing", "warning", 0.9, "0", "The gradient vanishes.", source="net.py:3", remedy="ReLU", noticed=12)
OVER = Finding("vanishing", "critical", 0.9, "0", "The gradient vanishes.", noticed=12, until=1_400)


class Fake:
    """Writes down how it is called."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append((name, *args, *kwargs.values()))


def test_logging_gets_a_level_by_severity_and_the_finding_itself(caplog):
    with caplog.at_level(logging.INFO, logger="mine"):
        tell = loggers.to_logging(logging.getLogger("mine"))
        tell(NEW)
        tell(OVER)
    first, second = caplog.records
    assert (first.levelno, first.getMessage()) == (
        logging.WARNING,
        "step 12: The gradient vanishes. (net.py:3) Try: ReLU",
    )
    assert first.finding is NEW
    assert (second.levelno, second.getMessage()) == (logging.INFO, "over since step 1,400: The gradient vanishes.")


def test_tensorboard_gets_a_text_at_its_step():
    writer = Fake()
    loggers.to_tensorboard(writer)(NEW)
    loggers.to_tensorboard(writer)(OVER)
    assert [(call[0], call[1], call[3]) for call in writer.calls] == [
        ("add_text", "isograd/vanishing", 12),
        ("add_text", "isograd/vanishing", 1_400),
    ]


def test_mlflow_gets_one_where_it_is_noticed_and_zero_where_it_is_over():
    fake = Fake()
    tell = loggers.to_mlflow(fake)
    tell(NEW)
    tell(OVER)
    metrics = [call for call in fake.calls if call[0] == "log_metric"]
    assert metrics == [("log_metric", "isograd/vanishing", 1.0, 12), ("log_metric", "isograd/vanishing", 0.0, 1_400)]
    assert any(call[:2] == ("set_tag", "isograd.vanishing") for call in fake.calls)


def test_mlflow_that_is_not_installed_is_told_before_the_loop(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(RequestError, match="pip install mlflow"):
        loggers.to_mlflow()


def watched(on_finding):
    torch.manual_seed(0)
    net = nn.Sequential(*[layer for _ in range(12) for layer in (nn.Linear(8, 8), nn.ReLU())], nn.Linear(8, 3))
    nn.init.zeros_(net[0].weight)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with isograd.watch(net, optimizer, budget=None, on_finding=on_finding) as watch:
        for _ in range(12):
            optimizer.zero_grad()
            F.cross_entropy(net(torch.randn(16, 8)), torch.randint(0, 3, (16,))).backward()
            optimizer.step()
    return watch


def test_the_vital_numbers_of_a_watch_can_be_logged_by_name():
    found = loggers.vitals(watched(None))
    assert {"isograd/loss", "isograd/gradient_norm", "isograd/first_over_last", "isograd/update_ratio"} <= set(found)
    assert all(isinstance(value, float) for value in found.values())


def test_a_real_tensorboard_writer_takes_them(tmp_path):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        watch = watched(loggers.to_tensorboard(writer))
        loggers.to_tensorboard(writer)(NEW)
        for name, value in loggers.vitals(watch).items():
            writer.add_scalar(name, value, 12)
    assert b"isograd/vanishing" in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_real_mlflow_takes_them(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(tmp_path.as_uri())
    with mlflow.start_run() as run:
        loggers.to_mlflow()(NEW)
    assert mlflow.get_run(run.info.run_id).data.metrics["isograd/vanishing"] == 1.0
