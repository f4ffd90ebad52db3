"""The floor of a loss is the least that a search over all constant answers finds."""

import math

import pytest
import torch
import torch.nn.functional as F

import isograd
from isograd.frameworks.torch.floors import columns, every, floor_of
from isograd.frameworks.torch.losses import given_to, reduction_of


def least(loss, start, steps=400):
    """The smallest ``loss`` that L-BFGS finds from a constant answer ``start``."""
    answer = start.clone().double().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [answer], max_iter=steps, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def evaluate():
        optimizer.zero_grad()
        value = loss(answer)
        value.backward()
        return value

    optimizer.step(evaluate)
    return float(loss(answer.detach()))


def floor(function, output, target, **kwargs):
    given = given_to(function, (output, target), kwargs)
    return floor_of(function, given, reduction_of(given))


torch.manual_seed(0)
LABELS = torch.tensor([0, 0, 1, 2, 2, 2, 2, 1, 0, 2])
WEIGHTS = torch.tensor([1.0, 5.0, 0.5])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, WEIGHTS])
@pytest.mark.parametrize("labels", [LABELS, torch.where(LABELS == 1, -100, LABELS)], ids=["all", "some ignored"])
def test_cross_entropy(labels, weight, smoothing, reduction):
    kwargs = {"weight": weight, "label_smoothing": smoothing, "reduction": reduction}
    double = {**kwargs, "weight": None if weight is None else weight.double()}
    expected = least(lambda a: F.cross_entropy(a.expand(10, 3), labels, **double), torch.zeros(3))
    assert floor("cross_entropy", torch.zeros(10, 3), labels, **kwargs) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_of_class_probabilities_with_weights_and_smoothing():
    targets = torch.rand(10, 3).softmax(1).double()
    for kwargs in ({}, {"weight": WEIGHTS.double()}, {"label_smoothing": 0.3, "reduction": "sum"}):
        expected = least(lambda a, kwargs=kwargs: F.cross_entropy(a.expand(10, 3), targets, **kwargs), torch.zeros(3))
        assert floor("cross_entropy", torch.zeros(10, 3), targets, **kwargs) == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_of_pictures_of_classes_and_of_one_example_without_a_batch():
    labels = torch.randint(0, 3, (2, 4, 5))
    counts = torch.bincount(labels.reshape(-1)).double() / labels.numel()
    expected = -float((counts * counts.log()).sum())
    assert floor("cross_entropy", torch.zeros(2, 3, 4, 5), labels) == pytest.approx(expected)
    assert floor("cross_entropy", torch.zeros(3), torch.tensor(1)) == 0.0


def test_even_classes_have_the_entropy_of_a_die():
    assert floor("nll_loss", torch.zeros(8, 4), torch.arange(8) % 4) == pytest.approx(math.log(4))
    assert floor("cross_entropy", torch.zeros(8, 2000), torch.arange(8)) == pytest.approx(math.log(8))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("function", "kwargs"),
    [
        ("mse_loss", {}),
        ("smooth_l1_loss", {"beta": 0.3}),
        ("smooth_l1_loss", {"beta": 100.0}),
        ("huber_loss", {"delta": 0.2}),
        ("poisson_nll_loss", {}),
    ],
)
@pytest.mark.parametrize("shape", [(21,), (20, 1), (20, 3), (18, 2, 2)])
def test_regression(function, kwargs, reduction, shape):
    target = torch.rand(shape).double().square() * 3
    expected = least(
        lambda a: getattr(F, function)(a.expand(shape), target, reduction=reduction, **kwargs), torch.full(shape[1:], 0.5)
    )
    assert floor(function, target, target, reduction=reduction, **kwargs) == pytest.approx(expected, rel=1e-5)


def test_the_best_constant_under_an_absolute_error_is_the_median():
    target = torch.tensor([[0.0], [1.0], [100.0]])
    assert floor("l1_loss", target, target) == pytest.approx((1 + 0 + 99) / 3)
    assert floor("smooth_l1_loss", target, target, beta=0.0) == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    "kwargs", [{}, {"weight": torch.rand(20, 1).double()}, {"pos_weight": torch.tensor([4.0, 1.0, 0.1]).double()}]
)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_binary_cross_entropy_by_column(kwargs, reduction):
    target = torch.rand(20, 3).double()
    function = "binary_cross_entropy_with_logits"
    expected = least(lambda a: getattr(F, function)(a.expand(20, 3), target, reduction=reduction, **kwargs), torch.zeros(3))
    assert floor(function, target, target, reduction=reduction, **kwargs) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum", "batchmean"])
@pytest.mark.parametrize("log", [True, False])
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_divergence(reduction, log):
    target = torch.randn(12, 4).double().softmax(1)
    given = target.log() if log else target

    def loss(a):
        return F.kl_div(a.log_softmax(0).expand(12, 4), given, reduction=reduction, log_target=log)

    found = floor("kl_div", target.log(), given, reduction=reduction, log_target=log)
    assert found == pytest.approx(least(loss, torch.zeros(4)), rel=1e-6)


def test_a_column_against_a_row_leaves_the_variance():
    target = torch.randn(9)
    assert floor("mse_loss", torch.zeros(9, 1), target) == pytest.approx(float(target.var(correction=0)), rel=1e-5)
    assert floor("mse_loss", torch.zeros(9, 1), target, reduction="sum") == pytest.approx(
        81 * float(target.var(correction=0)), rel=1e-5
    )


@pytest.mark.parametrize(
    ("function", "target", "kwargs"),
    [
        ("gaussian_nll_loss", torch.zeros(3), {}),
        ("binary_cross_entropy", torch.tensor([[-1.0], [1.0]]), {}),
        ("cross_entropy", torch.tensor([-100, -100]), {}),
        ("mse_loss", torch.zeros(2), {"weight": torch.ones(2)}),
    ],
)
def test_where_no_constant_is_best_there_is_no_floor(function, target, kwargs):
    output = torch.zeros(2, 3) if function == "cross_entropy" else torch.zeros_like(target)
    assert floor(function, output, target, **kwargs) is None


def test_a_few_examples_give_each_channel_one_constant_and_many_each_position():
    assert columns(torch.zeros(4, 3, 5, 5)).shape == (100, 3)
    assert columns(torch.zeros(4, 7, 3)).shape == (28, 3)
    assert columns(torch.zeros(16, 3, 5, 5)).shape == (16, 75)
    assert columns(torch.zeros(5)).shape == (5, 1)


def test_large_targets_are_looked_at_in_part():
    target = torch.randn(64, 3, 100, 100)
    assert columns(target).numel() < 100_000
    assert floor("mse_loss", target, target) == pytest.approx(63 / 64, rel=0.02)
    assert every(1_000_000, 1_000) % 2 == 1


def test_equal_scores_pay_the_margin_of_a_ranking_whatever_its_order_and_nothing_without_one():
    target, same = torch.tensor([1.0, -1.0, 1.0]), torch.zeros(3)
    for margin, reduction in ((0.5, "mean"), (0.5, "sum"), (2.0, "mean")):
        given = {"input1": same, "input2": same, "target": target, "margin": margin}
        paid = float(F.margin_ranking_loss(same, same, target, margin=margin, reduction=reduction))
        assert floor_of("margin_ranking_loss", given, reduction) == pytest.approx(paid)
    assert floor_of("margin_ranking_loss", {"input1": same, "input2": same, "target": target, "margin": 0.0}, "mean") is None


@pytest.mark.parametrize(("right", "told"), [(False, True), (True, False)], ids=["always the first", "the better one"])
def test_a_ranking_whose_pairs_are_labelled_without_regard_to_their_order_learns_nothing(right, told):
    torch.manual_seed(0)
    items = torch.randn(200, 6)
    worth = items @ torch.randn(6)
    scores = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimizer, ranking = torch.optim.SGD(scores.parameters(), lr=0.1), torch.nn.MarginRankingLoss(margin=1.0)
    with isograd.watch(scores, optimizer, budget=None) as watch:
        for _ in range(300):
            i, j = torch.randint(0, 200, (2, 32))
            target = (worth[i] > worth[j]).float() * 2 - 1 if right else torch.ones(32)
            optimizer.zero_grad()
            ranking(scores(items[i]).squeeze(1), scores(items[j]).squeeze(1), target).backward()
            optimizer.step()
    assert watch.report().healthy != told


@pytest.mark.parametrize(("kinds", "known"), [(40, True), (4_000, False)])
def test_of_very_many_classes_a_batch_whose_labels_come_once_does_not_say_what_a_constant_answer_pays(kinds, known):
    draw = torch.Generator().manual_seed(0)
    target = torch.randint(0, kinds, (400,), generator=draw)
    found = floor_of("cross_entropy", {"input": torch.zeros(400, 5_000), "target": target}, "mean")
    assert (found is not None) == known
    assert found is None or found == pytest.approx(math.log(kinds), abs=0.1)
