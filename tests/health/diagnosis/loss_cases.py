"""Made-up calls of a loss, and real tiny trainings whose loss is at fault or only looks so."""

from isograd.health.case import Case, case_of
from isograd.records.anatomy import Anatomy
from isograd.records.batch import LossSample
from isograd.records.fact import Fact
from isograd.records.moments import Moments
from isograd.records.trace import Step, Trace

BARE = Anatomy("reference", (), ())


def sample(function, **kwargs):
    """A call over 8 examples and 3 outputs that stand on a linear layer."""
    known = {
        "base": "linear",
        "value": 1.0,
        "source": "train.py:9",
        "output": Moments.of([0.0, 1.0]),
        "output_shape": (8, 3),
        "output_dtype": "float32",
        "output_range": (-2.0, 2.0),
        "target_shape": (8,),
        "target_dtype": "int64",
        "target_range": (0.0, 2.0),
        "rows": (-3.0, 3.0),
    }
    return LossSample(function, **known | kwargs)


def case(*samples, facts=(), looks=2) -> Case:
    """The same calls at every look."""
    steps = tuple(Step(index, loss=1.0, losses=tuple(samples), facts=tuple(facts)) for index in range(1, looks + 1))
    return case_of(Trace(BARE, steps=steps))


def fact(kind, where="", **settings):
    return Fact(kind, where, "train.py:7", tuple(settings.items()))


def trained(net, loss, x, y, steps=30, lr=0.05):
    """Watch a real training; gives the report."""
    import torch

    import isograd

    torch.manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    with isograd.watch(net, optimizer, budget=None, steps=steps) as watch:
        for _ in range(steps):
            rows = torch.randint(0, len(x), (64,))
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return watch.report()


def named(report, disease):
    return [finding for finding in report.findings if finding.disease == disease]
