"""Exceptions out of a training step are explained with cause, place and line, and go on as they are."""

import sys
import traceback
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import isograd
from isograd.errors import RequestError

sys.path.insert(0, str(Path(__file__).parent))
from test_program import batch, sgd, small


class Stateful(nn.Module):
    """Keeps the state of the last batch with its graph."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head, self.state = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 3), None

    def forward(self, x):
        _, self.state = self.rnn(x[:, None], self.state)
        return self.head(self.state[0])


class Growing(nn.Module):
    """Adds in place to what the backward pass needs."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = torch.sigmoid(self.a(x))
        out = self.b(h)
        h += 1  # the change
        return out


class Narrow(nn.Module):
    """Its second layer does not fit its first."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Linear(9, 3))

    def forward(self, x):
        return self.body(x)


def embedded():
    return nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(4, 3))


def twice(loss):
    loss.backward()
    loss.backward()


def stepping_first(net, x, y, optimizer):
    loss = F.cross_entropy(net(x), y)
    F.cross_entropy(net(x), y).backward()
    optimizer.step()
    loss.backward()


CASES = {
    "state kept": (Stateful, lambda net, x, y, _: F.cross_entropy(net(x), y).backward(), "second backward pass", "rnn"),
    "backward twice": (small, lambda net, x, y, _: twice(F.cross_entropy(net(x), y)), "second backward pass", "loop"),
    "in place": (Growing, lambda net, x, y, _: F.cross_entropy(net(x), y).backward(), "changed in place", "loop"),
    "weights stepped": (small, stepping_first, "changed in place", "loop"),
    "no graph": (small, lambda net, x, y, _: F.cross_entropy(net(x).detach(), y).backward(), "loss without graph", "loss"),
    "loss number": (small, lambda net, x, y, _: F.cross_entropy(net(x), y).item().backward(), "loss without graph", "loss"),
    "vector": (
        small,
        lambda net, x, y, _: F.cross_entropy(net(x), y, reduction="none").backward(),
        "loss not a scalar",
        "loss",
    ),
    "label": (small, lambda net, x, y, _: F.cross_entropy(net(x), y + 5).backward(), "label out of range", "loss"),
    "token": (embedded, lambda net, x, y, _: net(y[:, None] + 9), "index out of range", "0"),
    "one-hot": (small, lambda net, x, y, _: F.nll_loss(net(x), F.one_hot(y, 3)), "one-hot targets", "loss"),
    "one-hot whole": (small, lambda net, x, y, _: F.cross_entropy(net(x), F.one_hot(y, 3)), "one-hot targets", "loss"),
    "probability": (small, lambda net, x, y, _: F.binary_cross_entropy(net(x) + 9, net(x)), "not probabilities", "loss"),
    "one example": (lambda: nn.BatchNorm1d(4), lambda net, x, y, _: net(x[:1]), "batch norm of one", "loop"),
    "nan": (small, lambda net, x, y, _: torch.distributions.Normal(net(x) / 0 * 0, 1.0, True), "not a number", "loop"),
    "shapes": (Narrow, lambda net, x, y, _: net(x), "shapes", "body.1"),
    "channels": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), lambda net, x, y, _: net(torch.ones(2, 1, 8, 8)), "shapes", "0"),
    "batches": (small, lambda net, x, y, _: F.cross_entropy(net(x), y[:5]), "shapes", "loss"),
    "double": (small, lambda net, x, y, _: net(x.double()), "data types", "0"),
    "float labels": (small, lambda net, x, y, _: F.cross_entropy(net(x), y.float()), "data types", "loop"),
    "numpy": (small, lambda net, x, y, _: net(x).numpy(), "numpy needs no graph", "loop"),
    "tuple": (
        lambda: nn.Sequential(nn.GRU(4, 4), nn.Linear(4, 3)),
        lambda net, x, y, _: net(x),
        "a tuple, not a tensor",
        "1",
    ),
    "arguments": (small, lambda net, x, y, _: net(x, y), "argument missing or too many", "loop"),
    "constructor": (small, lambda net, x, y, _: nn.MSELoss(net(x), net(x)), "loss called wrongly", "loss"),
    "none": (small, lambda net, x, y, _: next(net.parameters()).grad.zero_(), "no gradient yet", "loop"),
}


def raising(case, steps=3):
    """Run a loop that raises under a watch; gives the watch and the exception."""
    make, step, _, _ = CASES[case]
    torch.manual_seed(0)
    net = make()
    optimizer = sgd(net.parameters())
    with pytest.raises(Exception) as caught, isograd.watch(net, optimizer) as watch:  # noqa: PT012
        for _ in range(steps):
            optimizer.zero_grad()
            step(net, *batch(), optimizer)
            optimizer.step()
    return watch, caught.value


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("case", CASES)
def test_the_watch_and_explain_name_the_cause_and_the_line(case):
    watch, error = raising(case)
    _, _, cause, where = CASES[case]
    found = [finding for finding in watch.report().findings if finding.disease == "exception"]
    assert [(one.severity, one.cause, one.where) for one in found] == [("critical", cause, where)]
    assert "test_exceptions.py:" in found[0].source or "test_program.py:" in found[0].source
    assert not any(brace in f"{found[0].summary}{found[0].remedy}" for brace in "{}?")
    assert error.__notes__ == [error.__notes__[0]]
    assert error.__notes__[0].startswith("isograd (step ")
    told = isograd.explain(error).findings[0]
    assert (told.severity, told.cause) == ("critical", cause)


def test_a_state_that_was_kept_is_named():
    watch, _ = raising("state kept")
    found = watch.report().findings[0]
    assert found.since == 2
    assert "rnn began with the state that the last batch left" in found.summary
    assert "state still holds a graph" in found.summary


def test_the_line_of_a_change_in_place_is_named():
    watch, _ = raising("in place")
    line = int(watch.report().findings[0].source.split(":")[1])
    assert "# the change" in Path(__file__).read_text("utf-8").splitlines()[line - 1]


def test_a_weight_that_was_stepped_too_early_is_named():
    watch, _ = raising("weights stepped")
    assert "2.weight has that shape" in watch.report().findings[0].summary


def test_what_a_layer_wants_and_what_came_are_said():
    watch, _ = raising("shapes")
    assert watch.report().findings[0].summary == "body.1 (Linear) takes 9 features and was given 8."


def test_the_exception_goes_on_untouched_and_nothing_stays_attached():
    watch, error = raising("shapes")
    assert [type(error), watch.report().record.steps] == [RuntimeError, 0]
    assert "mat1 and mat2" in "".join(traceback.format_exception(error))
    assert torch._C._len_torch_function_stack() == 0
    assert not nn.modules.module._global_forward_hooks


def test_an_exception_of_the_program_itself_is_a_remark_and_gets_no_note():
    net = small()
    optimizer = sgd(net.parameters())
    stop = ValueError("enough")

    def loop():
        with isograd.watch(net, optimizer) as watch:
            seen.append(watch)
            raise stop

    seen = []
    with pytest.raises(ValueError, match="enough"):
        loop()
    assert not hasattr(stop, "__notes__")
    assert [finding.severity for finding in seen[0].report().findings] == ["note"]


def test_interrupting_is_no_finding():
    net = small()
    with pytest.raises(KeyboardInterrupt), isograd.watch(net, sgd(net.parameters())) as watch:
        raise KeyboardInterrupt
    assert watch.report().findings == ()


def test_only_exceptions_are_explained():
    with pytest.raises(RequestError, match="exception"):
        isograd.explain("out of memory")
    assert isograd.explain(KeyboardInterrupt()).findings == ()


def test_the_explanation_is_printed_and_can_be_saved():
    report = isograd.explain(MemoryError())
    assert "Memory ran out" in str(report)
    assert "out of memory" in report.to_json()
    assert "cause of this exception is not known" in str(isograd.explain(ValueError("enough")))
