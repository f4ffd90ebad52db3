"""A head that the loss does not take is named with its line; what only looks like it is left alone."""

import dataclasses
import math

import pytest
from lessons import training
from loss_cases import case, fact, named, sample, trained

from isograd.health.case import case_of
from isograd.health.diagnosis import loss_mismatch
from isograd.records.anatomy import Anatomy, Node
from isograd.records.moments import Moments
from isograd.records.trace import Step, Trace


def found(*samples, facts=()):
    return list(loss_mismatch.diagnose(case(*samples, facts=facts)))


HEADED = {"head_where": "net.3", "head_source": "net.py:4"}


@pytest.mark.parametrize(("head", "least"), [("softmax", 0.5514), ("sigmoid", 0.5514), ("tanh", 0.2395)])
def test_squeezed_outputs_before_cross_entropy_are_a_warning_with_the_loss_they_cannot_pass(head, least):
    (finding,) = found(sample("cross_entropy", head=(head,), rows=(1.0, 1.0), output_range=(0.0, 1.0), **HEADED))
    assert finding.severity == "warning" and finding.where == "net.3" and finding.source == "net.py:4" and finding.since == 1
    assert finding.evidence[0].bound == pytest.approx(least, abs=1e-4)
    assert head in finding.summary and finding.remedy


def test_a_relu_before_cross_entropy_is_a_warning():
    (finding,) = found(sample("cross_entropy", head=("relu",), source="train.py:9"))
    assert finding.severity == "warning" and finding.where == "loss" and finding.source == "train.py:9"


@pytest.mark.parametrize("head", [(), ("log_softmax",), ("log", "softmax"), ("mul", "tanh"), ("leaky_relu",)])
def test_what_cross_entropy_takes_or_does_not_mind_is_silent(head):
    assert found(sample("cross_entropy", head=head, rows=(-20.0, -3.0))) == []


def test_probabilities_that_came_another_way_are_known_by_their_sums():
    (finding,) = found(sample("cross_entropy", head=("div",), rows=(0.9999, 1.0001), output_range=(0.1, 0.8)))
    assert finding.severity == "warning" and "probabilities" in finding.summary
    mixture = sample("cross_entropy", head=("add",), base="", rows=(1.0, 1.0), output_range=(0.1, 0.8))
    assert [finding.severity for finding in found(mixture)] == ["note"]
    assert found(sample("cross_entropy", rows=(0.9999, 1.0001), output_range=(-1.0, 2.0))) == []


def test_a_weighted_loss_of_each_example_is_a_note():
    (finding,) = found(sample("cross_entropy", head=("softmax",), reduction="none"))
    assert finding.severity == "note"


def test_a_softmax_for_a_metric_is_silent():
    assert found(sample("cross_entropy", head=("softmax",), training=False), sample("cross_entropy")) == []


def test_one_output_is_critical():
    (finding,) = found(sample("cross_entropy", output_shape=(8, 1)))
    assert finding.severity == "critical" and "0 whatever" in finding.summary


def test_what_comes_before_the_part_of_the_loss_counts():
    (finding,) = found(sample("nll_loss", head=("log_softmax", "softmax"), rows=(1.0, 1.0)))
    assert finding.severity == "warning" and "softmax" in finding.summary
    assert "ReLU" in found(sample("cross_entropy", head=("log_softmax", "relu")))[0].summary
    (finding,) = found(sample("binary_cross_entropy", head=("sigmoid", "sigmoid"), output_shape=(8, 1)))
    assert "0.73" in finding.summary
    assert found(sample("nll_loss", head=("log_softmax", "log_softmax"), rows=(1.0, 1.0))) == []


def test_a_softmax_over_one_output_below_a_sigmoid_is_critical_too():
    axis = fact("softmax_axis", axis=1, size=1)
    (finding,) = found(sample("binary_cross_entropy", head=("sigmoid", "softmax"), output_shape=(8,)), facts=[axis])
    assert finding.severity == "critical" and "single output" in finding.summary


@pytest.mark.parametrize("head", ["softmax", "log_softmax"])
def test_a_softmax_over_one_output_is_critical_and_told_once(head):
    axis = fact("softmax_axis", "net.3", axis=1, size=1)
    (finding,) = found(sample("mse_loss", head=(head,), output_shape=(8, 1), **HEADED), facts=[axis])
    assert finding.severity == "critical" and finding.where == "net.3"
    (finding,) = found(sample("binary_cross_entropy", head=(head,), output_shape=(8, 1), **HEADED), facts=[axis])
    assert finding.severity == "critical"


def test_a_softmax_over_the_batch_is_told_instead_of_a_softmax_twice():
    axis = fact("softmax_axis", "net.3", axis=0, size=8)
    (finding,) = found(sample("cross_entropy", head=("softmax",), **HEADED), facts=[axis])
    assert "8 examples" in finding.summary and "dim=1" in finding.remedy
    assert found(sample("nll_loss", head=("log_softmax",), rows=(1.0, 1.0), head_where="other"), facts=[axis]) == []


@pytest.mark.parametrize(("target", "alarm"), [([1.0, *[0.0] * 7] * 3, False), ([1.0, 0.0, 0.0] * 8, True)])
def test_a_softmax_over_a_batch_that_is_a_list_to_be_ranked_is_meant(target, alarm):
    given = {"target": Moments.of(target), "target_shape": (8, 3), "target_range": (0.0, 1.0), "target_dtype": "float32"}
    told = found(sample("kl_div", head=("log_softmax",), **given), facts=[fact("softmax_axis", axis=0, size=8)])
    assert any("examples of the batch" in finding.summary for finding in told) is alarm


def test_likelihood_of_probabilities_misses_the_log():
    (finding,) = found(sample("nll_loss", head=("softmax",), rows=(3.2, 3.9), value=-0.3))
    assert finding.severity == "warning" and "log is missing" in finding.summary
    (finding,) = found(sample("kl_div", head=("softmax",), rows=(3.2, 3.9)))
    assert "kl_div" in finding.summary


def test_likelihood_of_logits_has_no_least_value_and_is_critical_once_it_is_negative():
    (finding,) = found(sample("nll_loss", rows=(0.5, 9.0)))
    assert finding.severity == "warning" and "logits" in finding.summary
    (finding,) = found(sample("nll_loss", rows=(0.5, 9.0), value=-3.0))
    assert finding.severity == "critical"


@pytest.mark.parametrize(("head", "base"), [(("log_softmax",), "linear"), (("log", "add"), ""), (("log", "softmax"), "linear")])
def test_logarithms_of_probabilities_are_what_likelihood_takes(head, base):
    assert found(sample("nll_loss", head=head, base=base, rows=(0.999, 1.001))) == []


def test_likelihood_of_an_unknown_head_is_left_alone():
    assert found(sample("nll_loss", head=("add",), base="", rows=(0.5, 9.0))) == []


@pytest.mark.parametrize(
    ("head", "least"), [("sigmoid", math.log(2)), ("softmax", math.log(2)), ("tanh", math.log1p(math.exp(-1)))]
)
def test_a_sigmoid_twice_is_a_warning(head, least):
    (finding,) = found(sample("binary_cross_entropy_with_logits", head=(head,), output_shape=(8, 1)))
    assert finding.severity == "warning" and finding.evidence[0].bound == pytest.approx(least)


@pytest.mark.parametrize(
    ("head", "bounds", "words"),
    [
        ("clamp", (0.0, 1.0), "between 0.5 and 0.73, and a negative example costs at least 0.69"),
        ("clamp_max", (-math.inf, 1.0), "no answer is above 0.73, and a positive example costs at least 0.31"),
        ("softplus", (-math.inf, math.inf), "no answer is below 0.5, and a negative"),
        ("log_sigmoid", (-math.inf, math.inf), "no answer is above 0.5, and a positive"),
    ],
)
def test_what_a_head_cannot_put_out_costs_every_example_of_one_kind(head, bounds, words):
    (finding,) = found(sample("binary_cross_entropy_with_logits", head=(head,), bounds=bounds, output_shape=(8, 1)))
    assert finding.severity == "warning" and words in finding.summary


def test_a_narrow_clamp_before_cross_entropy_is_told_and_a_wide_one_for_safety_is_not():
    (finding,) = found(sample("cross_entropy", head=("clamp",), bounds=(0.0, 1.0)))
    assert finding.severity == "warning" and "into [0, 1]" in finding.summary
    for loss in ("cross_entropy", "binary_cross_entropy_with_logits"):
        assert found(sample(loss, head=("clamp",), bounds=(-10.0, 10.0))) == []


@pytest.mark.parametrize("cut", ["clamp(0, 1)", "clamp(min=0.5)", "clamp_min(0)", "hardtanh"])
def test_the_bounds_of_a_clamp_are_read_off_the_graph(cut):
    torch = pytest.importorskip("torch")
    from isograd.frameworks.torch.heads import head_of

    logits = torch.nn.Linear(3, 2)(torch.ones(4, 3))
    ways = {
        "clamp(0, 1)": (logits.clamp(0, 1), (0.0, 1.0)),
        "clamp(min=0.5)": (logits.clamp(min=0.5), (0.5, math.inf)),
        "clamp_min(0)": (logits.clamp_min(0), (0.0, math.inf)),
        "hardtanh": (torch.nn.functional.hardtanh(logits), (-1.0, 1.0)),
    }
    output, bounds = ways[cut]
    assert head_of(output).bounds == bounds
    assert head_of(logits.sigmoid().mul(2.0)).bounds == (-math.inf, math.inf)


def test_logits_where_probabilities_are_due():
    (finding,) = found(sample("binary_cross_entropy", output_shape=(8, 1)))
    assert finding.severity == "warning" and "logits" in finding.summary
    assert len(found(sample("binary_cross_entropy", head=("clamp",), output_shape=(8, 1)))) == 1
    assert found(sample("binary_cross_entropy", head=("sigmoid",), output_shape=(8, 1))) == []
    assert found(sample("binary_cross_entropy", head=("clamp", "sigmoid"), base="", output_shape=(8, 1))) == []
    assert found(sample("binary_cross_entropy_with_logits", output_shape=(8, 1))) == []


def test_yes_or_no_questions_about_classes_that_exclude_one_another_are_a_note():
    exclusive = sample("binary_cross_entropy_with_logits", classes=(3, 3, 2), target_shape=(8, 3))
    assert [finding.severity for finding in found(exclusive)] == ["note"]
    assert found(sample("binary_cross_entropy_with_logits", classes=(20, 4), target_shape=(8, 3))) == []


@pytest.mark.parametrize("head", ["softmax", "sigmoid", "relu", "tanh"])
def test_a_squared_error_takes_any_head(head):
    assert found(sample("mse_loss", head=(head,))) == []


def test_training_on_minus_a_loss_is_critical_unless_another_loss_or_the_optimizer_means_it():
    (finding,) = found(sample("mse_loss", negated=True))
    assert finding.severity == "critical" and "minus the squared error" in finding.summary
    assert found(sample("mse_loss", negated=True), sample("cross_entropy")) == []
    assert found(sample("", negated=True)) == []


def test_a_plain_difference_is_a_warning():
    (finding,) = found(sample("difference"))
    assert finding.severity == "warning" and "whatever the targets" in finding.summary


def test_class_indices_as_numbers_are_a_note_and_counts_of_two_kinds_are_silent():
    (finding,) = found(sample("mse_loss", classes=(9, 9, 9), hits=-1))
    assert finding.severity == "note"
    assert found(sample("mse_loss", classes=(9, 9), hits=-1)) == [] == found(sample("mse_loss", classes=(1, 1, 1), hits=-1))
    assert found(sample("mse_loss", classes=(9, 9, 9), hits=5)) == []  # one-hot: the Brier score
    assert [finding.severity for finding in found(sample("l1_loss", classes=(9, 9, 9), hits=5))] == ["note"]


@pytest.mark.parametrize(("late", "severity"), [(0.3333, "warning"), (0.1, "note")])
def test_absolute_errors_that_end_at_zero_everywhere_are_a_warning(late, severity):
    one_hot = {"classes": (9, 9, 9), "hits": 9, "answers": (9, 9, 9), "floor": 1 / 3, "output_shape": (27, 3)}

    def errors(t):
        return sample("l1_loss", value=late if t > 20 else 0.5, target_shape=(27, 3), **one_hot)

    (finding,) = loss_mismatch.diagnose(training(errors))
    assert finding.severity == severity


@pytest.fixture(scope="module")
def classes():
    torch = pytest.importorskip("torch")
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 3
    return 3 * torch.randn(3, 6, generator=draw)[y] + torch.randn(300, 6, generator=draw), y


def test_real_trainings_with_a_wrong_and_with_a_right_head(classes):
    import torch.nn.functional as F
    from torch import nn

    x, y = classes
    wrong = trained(nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)), nn.CrossEntropyLoss(), x, y)
    (finding,) = named(wrong, "loss_mismatch")
    assert (finding.severity, finding.where) == ("warning", "1") and "loss_cases.py" in finding.source
    over = trained(nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(0)), F.nll_loss, x, y)
    assert "64 examples" in named(over, "loss_mismatch")[0].summary
    constant = trained(
        nn.Sequential(nn.Linear(6, 1), nn.Softmax(1)), lambda o, t: F.binary_cross_entropy(o, (t[:, None] > 0).float()), x, y
    )
    assert [finding.severity for finding in named(constant, "loss_mismatch")] == ["critical"]
    logits = trained(nn.Linear(6, 3), F.nll_loss, x, y)
    assert [finding.severity for finding in named(logits, "loss_mismatch")] == ["critical"]
    for net, loss in (
        (nn.Linear(6, 3), F.cross_entropy),
        (nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(1)), F.nll_loss),
        (nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(1)), F.cross_entropy),
        (nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)), lambda o, t: F.nll_loss(torch_log(o), t)),
    ):
        assert named(trained(net, loss, x, y), "loss_mismatch") == []


def test_real_signs_that_are_wrong_and_right(classes):
    import torch
    import torch.nn.functional as F
    from torch import nn

    x, y = classes
    (finding,) = named(trained(nn.Linear(6, 3), lambda o, t: -F.cross_entropy(o, t), x, y), "loss_mismatch")
    assert finding.severity == "critical" and "minus" in finding.summary

    def likelihood(o, t):
        p = torch.sigmoid(o[:, 0])
        return -((t > 0).float() * torch.log(p) + (1 - (t > 0).float()) * torch.log(1 - p)).mean()

    plain = trained(nn.Linear(6, 3), lambda o, t: (o[:, 0] - t.float()).mean(), x, y)
    assert [finding.severity for finding in named(plain, "loss_mismatch")] == ["warning"]
    for sound in (
        likelihood,
        lambda o, t: torch.neg(-F.cross_entropy(o, t)),
        lambda o, t: F.cross_entropy(o, t) - 0.01 * torch.distributions.Categorical(logits=o).entropy().mean(),
        lambda o, t: -torch.distributions.Categorical(logits=o).log_prob(t).mean(),
        lambda o, t: 1 - F.cosine_similarity(o, F.one_hot(t, 3).float()).mean(),
    ):
        assert named(trained(nn.Linear(6, 3), sound, x, y), "loss_mismatch") == []


def torch_log(tensor):
    return tensor.log()


def test_a_real_mixture_of_experts_and_clipped_logits_are_sound(classes):
    import torch.nn.functional as F
    from torch import nn

    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.a, self.b = nn.Linear(6, 2), nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x):
            gate = self.gate(x).softmax(1)
            return (gate[:, :1] * self.a(x).softmax(1) + gate[:, 1:] * self.b(x).softmax(1)).log()

    class Clipped(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 3)

        def forward(self, x):
            return 10.0 * self.a(x).tanh()

    x, y = classes
    assert named(trained(Mixture(), F.nll_loss, x, y), "loss_mismatch") == []
    assert named(trained(Clipped(), F.cross_entropy, x, y), "loss_mismatch") == []


def averaged(units, **more):
    """Squared error of one number an example, after a last layer of ``units``."""
    last = Node("head", "linear", "Linear", settings=(("fan_out", units),))
    known = {"classes": (9, 9, 9), "hits": -1, "output_shape": (8,)} | more
    steps = tuple(Step(index, loss=1.0, losses=(sample("mse_loss", **known),)) for index in (1, 2))
    return list(loss_mismatch.diagnose(case_of(Trace(Anatomy("reference", (last,), ()), steps=steps))))


def test_class_indices_as_numbers_are_a_warning_where_every_class_has_a_unit():
    (finding,) = averaged(3)
    assert finding.severity == "warning" and "3 units" in finding.summary
    (two,) = averaged(2, classes=(9, 9))
    assert two.severity == "warning"


def test_a_grade_from_one_unit_and_targets_of_several_columns_are_not():
    assert [finding.severity for finding in averaged(1)] == ["note"]
    assert averaged(2, classes=(9, 9), target_shape=(8, 2)) == [] == averaged(2, classes=(9, 2))


def test_a_real_mean_of_ten_units_is_told_and_a_real_grade_is_not(classes):
    import torch

    x, y = classes
    kinds = int(y.max()) + 1

    class Mean(torch.nn.Module):
        def __init__(self, units):
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 16), torch.nn.ReLU(), torch.nn.Linear(16, units))

        def forward(self, x):
            return self.net(x).mean(1)

    for units, told in ((kinds, True), (1, False)):
        report = trained(Mean(units), torch.nn.functional.mse_loss, x, y.float())
        assert any(finding.alarm for finding in named(report, "loss_mismatch")) == told


@pytest.mark.parametrize(
    ("counts", "skill", "severity"),
    [
        ((31, 30, 29, 30, 31, 29), 0.6, "warning"),  # six classes, fitted as amounts to little avail
        ((31, 30, 29, 30, 31, 29), 0.95, "note"),  # it goes well all the same
        ((5, 40, 60, 50, 20, 5), 0.6, "note"),  # counts crowd in the middle
        ((5, 40, 60, 50, 20, 5), 0.1, "note"),  # and are no classes where they are not learned
        ((60, 5, 50, 20, 40, 5), 0.1, "warning"),
    ],
)
def test_whole_numbers_in_equal_shares_that_are_badly_fitted_look_like_classes(counts, skill, severity):
    one = sample("mse_loss", classes=counts, hits=-1, target_shape=(180, 1), output_shape=(180, 1), floor=3.0)
    steps = tuple(Step(t, 3.0 - 3.0 * skill * min(1.0, t / 20), losses=(later(one, t, skill),)) for t in range(1, 101))
    (finding,) = loss_mismatch.diagnose(case_of(Trace(Anatomy("torch", (), ()), steps=steps, ended=True)))
    assert finding.severity == severity and "class 2 is not the middle" in finding.summary


def later(one, t, skill):
    return dataclasses.replace(one, value=3.0 - 3.0 * skill * min(1.0, t / 20))
