"""Labels that torch takes silently and that make the loss mean something else."""

from dataclasses import replace

import pytest
from loss_cases import case, named, sample, trained

import isograd
from isograd.health.diagnosis import labels_misfit
from isograd.records.batch import Evaluation
from isograd.records.moments import Moments
from isograd.records.trace import Step


def found(*samples, looks=2):
    return list(labels_misfit.diagnose(case(*samples, looks=looks)))


def binary(low, high):
    return sample("binary_cross_entropy_with_logits", output_shape=(8, 1), target_shape=(8, 1), target_range=(low, high))


@pytest.mark.parametrize(
    ("low", "high", "remedy"), [(-1.0, 1.0, "(target + 1) / 2"), (0.0, 255.0, "threshold"), (-3.0, 0.5, "threshold")]
)
def test_binary_targets_outside_of_the_unit_interval_are_a_warning(low, high, remedy):
    (finding,) = found(binary(low, high))
    assert finding.severity == "warning" and remedy in finding.remedy and finding.source == "train.py:9"


def test_binary_targets_that_never_say_no_are_critical():
    (finding,) = found(binary(1.0, 2.0))
    assert finding.severity == "critical" and finding.remedy == "target = target - 1"


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.1, 0.9), (1.0, 1.0), (0.0, 0.0)])
def test_probabilities_soft_labels_and_a_discriminator_s_constants_are_sound(low, high):
    assert found(binary(low, high)) == []


def test_a_label_without_an_output_and_labels_that_are_all_ignored():
    (finding,) = found(sample("cross_entropy", target_range=(0.0, 3.0)))
    assert finding.severity == "critical" and "0 to 2" in finding.summary
    (finding,) = found(sample("cross_entropy", target_range=(-100.0, -100.0)))
    assert finding.severity == "critical" and "ignored" in finding.summary
    assert found(sample("cross_entropy", target_range=(-100.0, 2.0))) == []


def test_a_class_that_never_comes_in_many_labels_is_a_note():
    often = sample("cross_entropy", classes=(0, 20, 20))
    (finding,) = found(often)
    assert finding.severity == "note" and "(0)" in finding.summary
    assert found(sample("cross_entropy", classes=(0, 10, 10)), looks=1) == []
    assert found(sample("cross_entropy", classes=(1, 20, 20))) == []
    assert found(sample("cross_entropy", classes=(0, 0, 80))) == []  # one class only: that is another disease


@pytest.mark.parametrize("function", ["soft_margin_loss", "hinge_embedding_loss"])
def test_a_margin_loss_of_zeros_and_ones_asks_for_one_answer_and_of_signs_it_is_sound(function):
    (finding,) = found(sample(function, target_range=(0.0, 1.0)))
    assert finding.severity == "critical" and "2 * target - 1" in finding.remedy
    assert found(sample(function, target_range=(-1.0, 1.0))) == []
    assert found(sample(function, target_range=(1.0, 1.0))) == []  # a batch of one side


def test_counts_below_zero_have_no_least_value_and_counts_from_zero_are_sound():
    (finding,) = found(sample("poisson_nll_loss", target_range=(-1.4, 3.0)))
    assert finding.severity == "warning" and "-1.4" in finding.summary
    assert found(sample("poisson_nll_loss", target_range=(0.0, 3.0))) == []


def asked(*classes):
    tried = Step(9, evaluations=(Evaluation(9, classes=classes, answers=sum(classes), hits=0),))
    trained = sample("cross_entropy", classes=(60, 60, 0))
    return list(
        labels_misfit.diagnose(replace(case(trained, looks=2), steps=(*case(trained, looks=2).steps, tried), ended=True))
    )


def test_a_class_that_only_the_evaluation_has_was_lost_on_the_way_to_training():
    (finding,) = asked(40, 40, 40)
    assert finding.severity == "warning" and "asks for class 2" in finding.summary


def test_a_class_that_is_rare_in_the_evaluation_or_a_small_evaluation_says_nothing():
    assert all(finding.severity == "note" for finding in asked(60, 60, 5) + asked(10, 10, 10))


def soft(*row):
    low, high = min(row), max(row)
    return sample(
        "cross_entropy", target=Moments.of(row), target_shape=(8, 3), target_dtype="float32", target_range=(low, high)
    )


def test_class_probabilities_must_sum_to_one():
    assert found(soft(0.2, 0.3, 0.5)) == [] and found(soft(0.0, 0.0, 1.0)) == []
    assert [finding.severity for finding in found(soft(1.0, 0.5, 0.5))] == ["note"]
    assert [finding.severity for finding in found(soft(-1.0, 1.0, 1.0))] == ["warning"]


def test_real_trainings_on_signs_and_on_zeros_and_ones():
    torch = pytest.importorskip("torch")
    F, nn = torch.nn.functional, torch.nn
    x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
    y = x.sum(1, keepdim=True).sign()
    (finding,) = named(trained(nn.Linear(4, 1), F.binary_cross_entropy_with_logits, x, y), "labels_misfit")
    assert finding.severity == "warning" and "loss_cases.py" in finding.source
    assert named(trained(nn.Linear(4, 1), F.binary_cross_entropy_with_logits, x, (y + 1) / 2), "labels_misfit") == []
    zeros = named(trained(nn.Linear(4, 1), F.soft_margin_loss, x, (y + 1) / 2), "labels_misfit")
    assert [one.severity for one in zeros] == ["critical"]
    assert named(trained(nn.Linear(4, 1), F.soft_margin_loss, x, y), "labels_misfit") == []
    counts = trained(nn.Linear(4, 1), F.poisson_nll_loss, x, y * 2.0)
    assert [one.severity for one in named(counts, "labels_misfit")] == ["warning"]
    assert named(trained(nn.Linear(4, 1), F.poisson_nll_loss, x, 2.0 * (y + 1)), "labels_misfit") == []
    smooth = 0.9 * F.one_hot((y[:, 0] > 0).long(), 2) + 0.05
    assert named(trained(nn.Linear(4, 2), F.cross_entropy, x, smooth), "labels_misfit") == []


@pytest.mark.parametrize(("smoothing", "told"), [(0.9, "warning"), (0.1, None)])
def test_label_smoothing_that_leaves_nothing_of_the_labels_is_told(smoothing, told):
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    model = torch.nn.Linear(8, 4)
    optimizer, loss = torch.optim.SGD(model.parameters(), lr=1e-3), torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
    with isograd.watch(model, optimizer, budget=None, steps=60) as watch:
        for _ in range(60):
            x = torch.randn(64, 8)
            optimizer.zero_grad()
            loss(model(x), x[:, :4].argmax(1)).backward()
            optimizer.step()
    found = [one.severity for one in watch.report().findings if one.disease == "labels_misfit"]
    assert found == ([] if told is None else [told])


@pytest.mark.parametrize("cast", [True, False])
def test_a_real_training_whose_labels_were_cast_to_bool_and_its_evaluation(cast):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    x = torch.randn(600, 6)
    y = x[:, :4].argmax(1)
    with isograd.watch(model, optimizer, steps=100) as watch:
        for step in range(100):
            rows = torch.randint(0, 400, (32,))
            labels = y[rows].bool().long() if cast else y[rows]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), labels).backward()
            optimizer.step()
            if step % 25 == 24:
                with torch.no_grad():
                    torch.nn.functional.cross_entropy(model(x[400:]), y[400:])
    alarms = [one.summary for one in watch.report().findings if one.alarm and one.disease == "labels_misfit"]
    assert bool(alarms) is cast and (not cast or "class 2, 3" in alarms[0])


@pytest.mark.parametrize(("ones", "labels", "severity"), [(2, 6, "warning"), (1, 6, None), (2, 200, "note")])
def test_several_labels_at_once_are_an_alarm_under_a_softmax_and_a_basket_of_many_goods_is_none(ones, labels, severity):
    target = Moments.of([1.0] * (8 * ones) + [0.0] * (8 * (labels - ones)))
    shape = (8, labels)
    given = {"target": target, "target_range": (0.0, 1.0), "target_dtype": "float32", "target_shape": shape}
    told = found(sample("cross_entropy", output_shape=shape, **given))
    assert [finding.severity for finding in told] == [severity] * (severity is not None)


@pytest.mark.parametrize(("rows", "base"), [(6, "linear"), (8, "")])
def test_several_positives_of_a_table_of_pairs_and_of_products_are_ranked_and_no_alarm(rows, base):
    target, shape = Moments.of([1.0] * 2 * rows + [0.0] * 4 * rows), (rows, 6)
    given = {"target": target, "target_range": (0.0, 1.0), "target_dtype": "float32", "target_shape": shape}
    assert [one.severity for one in found(sample("cross_entropy", output_shape=shape, base=base, **given))] == ["note"]


@pytest.mark.parametrize("back", [True, False])
def test_a_basket_that_is_given_back_is_no_alarm(back):
    torch = pytest.importorskip("torch")
    draw = torch.Generator().manual_seed(0)
    basket = torch.bernoulli(torch.full((400, 10), 0.4), generator=draw)
    net = torch.nn.Sequential(torch.nn.Linear(10, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))
    given = basket if back else basket + 0.1 * torch.randn(400, 10, generator=draw)
    report = trained(net, torch.nn.functional.cross_entropy, given, basket)
    assert [finding.alarm for finding in named(report, "labels_misfit")] == [not back]
