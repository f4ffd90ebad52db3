"""A column of outputs against a row of targets is certain; pairs on purpose are not it."""

import pytest
from loss_cases import case, fact, named, sample, trained

from isograd.health.case import case_of
from isograd.health.diagnosis import broadcast_loss
from isograd.records.anatomy import Anatomy, Node
from isograd.records.trace import Step, Trace


def found(left, right, **kwargs):
    return list(broadcast_loss.diagnose(case(sample("mse_loss", **kwargs), facts=[fact("broadcast", left=left, right=right)])))


@pytest.mark.parametrize(("left", "right"), [("32x1", "32"), ("32", "32x1"), ("1x7x1", "1x7")])
def test_a_column_against_a_row_is_critical_with_its_line(left, right):
    (finding,) = found(left, right)
    assert (finding.severity, finding.where, finding.source) == ("critical", "loss", "train.py:7")
    side = "output" if len(left) < len(right) else "target"
    assert finding.remedy.startswith(f"{side} = {side}.unsqueeze")


@pytest.mark.parametrize(("left", "right"), [("32x3", "32x1"), ("32x1", "1"), ("1x1", "1"), ("32x1x4", "1x32x4"), ("", "32")])
def test_other_shapes_that_spread_are_no_such_fault(left, right):
    assert found(left, right) == []


def test_a_table_of_pairs_that_is_kept_is_a_note():
    (finding,) = found("32x1", "32", reduction="none", source="train.py:7")
    assert finding.severity == "note"


def test_a_real_regression_learns_the_mean_only_and_its_twin_is_silent():
    torch = pytest.importorskip("torch")
    x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
    y = x.sum(1)

    def loss(output, target):
        return ((output - target) ** 2).mean()

    (finding,) = named(trained(torch.nn.Linear(4, 1), loss, x, y), "broadcast_loss")
    assert finding.severity == "critical" and "test_broadcast_loss.py" in finding.source
    assert named(trained(torch.nn.Linear(4, 1), loss, x, y[:, None]), "broadcast_loss") == []


def log_cosh(output, target):
    return (output - target).cosh().log().mean()


def test_a_loss_of_ones_own_that_spreads_a_column_over_a_row_is_told_too():
    torch = pytest.importorskip("torch")
    x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
    y = x.sum(1)
    (finding,) = named(trained(torch.nn.Linear(4, 1), log_cosh, x, y), "broadcast_loss")
    assert finding.severity == "critical" and "test_broadcast_loss.py" in finding.source
    assert named(trained(torch.nn.Linear(4, 1), log_cosh, x, y[:, None]), "broadcast_loss") == []


def test_pairs_that_are_made_on_purpose_are_none():
    torch = pytest.importorskip("torch")
    x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))

    def kernel(output, target):  # how far two sets of numbers are apart, by a kernel over all pairs
        return -(-((output.squeeze(1).unsqueeze(1) - target) ** 2)).exp().mean()

    assert named(trained(torch.nn.Linear(4, 1), kernel, x, x.sum(1)), "broadcast_loss") == []


def through(units, output, target, looks=2):
    last = Node("head", "linear", "Linear", settings=(("fan_out", units),))
    calls = (sample("mse_loss", output_shape=output, target_shape=target),)
    steps = tuple(Step(index, losses=calls) for index in range(1, looks + 1))
    return list(broadcast_loss.diagnose(case_of(Trace(Anatomy("torch", (last,), ()), (), steps))))


@pytest.mark.parametrize(("output", "target"), [((32, 32), (32, 1)), ((32, 1), (32, 32)), ((32, 32), (32,))])
def test_a_square_of_the_batch_that_was_made_before_the_loss_is_critical(output, target):
    (finding,) = through(1, output, target)
    assert finding.severity == "critical" and "32 outputs is compared with all 32 targets" in finding.summary


def test_as_many_units_as_examples_are_no_square_of_the_batch():
    assert through(32, (32, 32), (32, 32)) == [] == through(32, (32, 32), (32, 1)) == through(1, (32, 1), (32, 1))
