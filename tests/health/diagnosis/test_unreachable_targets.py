"""What lies beyond the reach of the head is weighed by the variance that it costs."""

import pytest
from loss_cases import case, named, sample, trained

from isograd.health.diagnosis import unreachable_targets


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
    far = trained(nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), F.l1_loss, x, 100 + y)
    assert [finding.severity for finding in named(far, "unreachable_targets")] == ["critical"]
    for head, target in ((nn.ReLU(), y.exp()), (nn.Sigmoid(), y.sigmoid()), (nn.Tanh(), y.tanh()), (nn.Identity(), y)):
        assert named(trained(nn.Sequential(nn.Linear(4, 1), head), F.mse_loss, x, target), "unreachable_targets") == []
