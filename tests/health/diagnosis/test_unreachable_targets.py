"""What lies beyond the reach of the head is weighed by the variance that it costs."""

import pytest
from loss_cases import case, named, sample, trained

from isograd.health.case import case_of
from isograd.health.diagnosis import unreachable_targets
from isograd.records.anatomy import Anatomy, Node
from isograd.records.batch import InputSample
from isograd.records.moments import Moments
from isograd.records.trace import LayerSample, Step, Trace


def found(*looks):
    return list(unreachable_targets.diagnose(case(*looks, looks=1)))


def regression(head, beyond, shortfall, function="mse_loss"):
    return sample(
        function,
        head=(head,),
        head_where="out",
        output_shape=(8, 1),
        target_range=(-3.0, 3.0),
        beyond=beyond,
        shortfall=shortfall,
    )


@pytest.mark.parametrize(
    ("shortfall", "severity"),
    [(0.001, "note"), (0.049, "note"), (0.05, "warning"), (0.5, "warning"), (0.9, "critical"), (50.0, "critical")],
)
def test_the_lost_share_of_the_variance_decides(shortfall, severity):
    (finding,) = found(regression("relu", 0.5, shortfall))
    assert finding.severity == severity and finding.where == "out" and "50 %" in finding.summary


@pytest.mark.parametrize("head", ["relu", "sigmoid", "tanh", "softmax", "softplus"])
def test_targets_within_reach_are_silent(head):
    assert found(regression(head, 0.0, 0.0)) == []


def test_a_few_outliers_are_silent_and_classification_is_not_asked():
    assert found(regression("tanh", 0.005, 0.01)) == []
    assert found(regression("relu", 0.5, 0.5, "cross_entropy")) == []


def test_one_batch_in_three_is_not_the_rule():
    assert found(regression("relu", 0.5, 0.5), regression("relu", 0.0, 0.0), regression("relu", 0.0, 0.0)) == []


def test_real_regressions_on_targets_in_and_out_of_reach():
    torch = pytest.importorskip("torch")
    F, nn = torch.nn.functional, torch.nn
    x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
    y = x.sum(1, keepdim=True)
    (finding,) = named(trained(nn.Sequential(nn.Linear(4, 1), nn.ReLU()), F.mse_loss, x, y), "unreachable_targets")
    assert finding.severity == "warning" and finding.where == "1" and 0.3 < finding.evidence[1].value < 0.6
    (cut,) = named(trained(nn.Sequential(nn.Linear(4, 1), nn.Hardtanh()), F.mse_loss, x, 3 * y), "unreachable_targets")
    assert cut.alarm and "between -1 and 1" in cut.summary
    far = trained(nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), F.l1_loss, x, 100 + y)
    assert [finding.severity for finding in named(far, "unreachable_targets")] == ["critical"]
    for head, target in ((nn.ReLU(), y.exp()), (nn.Sigmoid(), y.sigmoid()), (nn.Tanh(), y.tanh()), (nn.Identity(), y)):
        assert named(trained(nn.Sequential(nn.Linear(4, 1), head), F.mse_loss, x, target), "unreachable_targets") == []


def game(last, real, *, asked=((1.0, 1.0), (0.0, 0.0)), made=()):
    """A generator "0" that ends in ``last``, and a judge "1" that is given these real examples."""
    nodes = [
        Node("input", "input", "input", shape=(2,)),
        Node("0.0", "linear", "Linear", (0,), (2,)),
        Node("0.1", "activation", last, (1,), (2,), (("function", last),)),
        Node("1.0", "linear", "Linear", (0,), (1,)),
    ]
    seen = InputSample("1", 0, (32, 2), "float32", Moments.of([*real, *made]), min(real), max(real))
    noise = InputSample("0", 0, (32, 2), "float32", Moments.of([2.0, -2.0]), -2.0, 2.0)
    sides = tuple(
        sample("binary_cross_entropy_with_logits", source=f"gan.py:{at}", floor=0.0, target_range=one)
        for at, one in enumerate(asked)
    )
    layers = (LayerSample("0.1", activation=Moments.of(made)),) if made else ()
    steps = tuple(Step(index, losses=sides, inputs=(noise, seen), layers=layers) for index in range(1, 5))
    return list(unreachable_targets.diagnose(case_of(Trace(Anatomy("torch", tuple(nodes), ()), (), steps))))


def test_real_examples_that_a_generator_cannot_make_are_a_warning_with_the_share_that_is_certain():
    (finding,) = game("tanh", [-2.0, 2.0, 0.5, -0.5])
    assert finding.severity == "warning" and finding.where == "0.1" and "-2 to 2" in finding.summary
    assert finding.evidence[0].value == pytest.approx((2.125 - 1.0) / 3.0)  # two of four are, and 3/8 must be
    (finding,) = game("tanh", [-2.0, 2.0, 0.5, -0.5], made=[0.1, -0.1, 0.0, 0.2, 0.1, 0.3, 0.1, 0.0])
    assert finding.evidence[0].value == pytest.approx((2.125 - 1.0) / 3.0)


@pytest.mark.parametrize(
    ("last", "real", "asked"),
    [
        ("tanh", [-1.0, 1.0, 0.9, -0.9], ((1.0, 1.0), (0.0, 0.0))),  # pictures
        ("relu", [-2.0, 2.0, 0.5, -0.5], ((1.0, 1.0), (0.0, 0.0))),  # no bound above
        ("tanh", [-2.0, 2.0, 0.5, -0.5], ((-1.0, 3.0), (-2.0, 1.0))),  # an actor and a critic: numbers are asked for
    ],
)
def test_a_generator_that_can_make_them_and_other_pairs_of_networks_are_silent(last, real, asked):
    assert game(last, real, asked=asked) == []
