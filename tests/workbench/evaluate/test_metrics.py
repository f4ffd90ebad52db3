import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    precision_recall_fscore_support,
    r2_score,
    roc_auc_score,
)

from isograd.workbench.evaluate import evaluate, quick
from isograd.workbench.evaluate.metrics import classification_sums, draws, intervals, point, regression_sums
from isograd.workbench.evaluate.probabilities import _components


def scored(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truths = random.integers(0, classes, rows)
    outputs = random.normal(size=(rows, classes))
    outputs[np.arange(rows), truths] += 1
    return outputs, truths


def plain_classification(outputs: np.ndarray, truths: np.ndarray) -> dict[str, float]:
    """The same metrics by scikit-learn."""
    answers = outputs.argmax(axis=1)
    odds = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    precision, recall, f1, _ = precision_recall_fscore_support(truths, answers, average="macro", zero_division=0)
    return {
        "accuracy": accuracy_score(truths, answers),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "log_loss": log_loss(truths, odds / odds.sum(axis=1, keepdims=True), labels=range(outputs.shape[1])),
        "auc": plain_auc(odds / odds.sum(axis=1, keepdims=True), truths),
        "ece": plain_ece(odds / odds.sum(axis=1, keepdims=True), truths),
    }


def plain_auc(likely: np.ndarray, truths: np.ndarray) -> float:
    """Each class that occurs, but is not alone, against the rest."""
    there = [k for k in range(likely.shape[1]) if 0 < (truths == k).sum() < len(truths)]
    return float(np.mean([roc_auc_score(truths == k, likely[:, k]) for k in there])) if there else float("nan")


def plain_ece(likely: np.ndarray, truths: np.ndarray) -> float:
    sure, hits = likely.max(axis=1), likely.argmax(axis=1) == truths
    found = 0.0
    for part in range(15):
        inside = (sure >= part / 15) & ((sure < (part + 1) / 15) | (part == 14))
        if inside.any():
            found += inside.mean() * abs(hits[inside].mean() - sure[inside].mean())
    return found


def plain_regression(outputs: np.ndarray, truths: np.ndarray) -> dict[str, float]:
    return {
        "mae": mean_absolute_error(truths, outputs),
        "rmse": mean_squared_error(truths, outputs) ** 0.5,
        "r2": r2_score(truths, outputs),
    }


@given(st.integers(2, 60), st.integers(2, 7), st.integers(0, 99))
def test_metrics_of_classes_are_those_of_scikit_learn_even_where_classes_are_absent(rows: int, classes: int, seed: int) -> None:
    outputs, truths = scored(rows, classes, seed)
    assert point(*classification_sums(outputs, truths)) == pytest.approx(
        plain_classification(outputs, truths), abs=1e-12, nan_ok=True
    )


@given(st.integers(2, 60), st.integers(0, 99), st.floats(-1e3, 1e3))
def test_metrics_of_numbers_are_those_of_scikit_learn(rows: int, seed: int, shift: float) -> None:
    random = np.random.default_rng(seed)
    truths = random.normal(size=rows) + shift
    outputs = truths + random.normal(size=rows)
    assert point(*regression_sums(outputs, truths)) == pytest.approx(plain_regression(outputs, truths), rel=1e-9)


def test_r2_of_targets_that_do_not_vary_is_one_or_zero_as_in_scikit_learn() -> None:
    same = np.full(5, 3.0)
    assert point(*regression_sums(same, same))["r2"] == r2_score(same, same) == 1.0
    assert point(*regression_sums(same + 1, same))["r2"] == r2_score(same, same + 1) == 0.0


def test_intervals_are_those_of_a_plain_loop_over_resamples() -> None:
    rows, resamples = 80, 60
    counts = np.concatenate(list(draws(rows, resamples, seed=5)), axis=1).astype(int)
    assert counts.shape == (rows, resamples) and (counts.sum(axis=0) == rows).all()
    outputs, truths = scored(rows, 4)
    number, guess = scored(rows, 2)[0].T
    for terms, x, y, plain in (
        (classification_sums(outputs, truths), outputs, truths, plain_classification),
        (regression_sums(guess, number), guess, number, plain_regression),
    ):
        found = intervals(*terms, resamples=resamples, seed=5)
        loop = []
        for column in counts.T:
            drawn = np.repeat(np.arange(rows), column)
            loop.append(plain(x[drawn], y[drawn]))
        for name, interval in found.items():
            exact = {"abs": 0.02} if name == "auc" else {"rel": 1e-9}  # an area is no sum, but nearly one
            assert interval == pytest.approx(np.percentile([one[name] for one in loop], [2.5, 97.5]), **exact), name


def test_blocks_of_resamples_draw_as_many_as_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isograd.workbench.evaluate.metrics.CELLS", 1000)
    blocks = list(draws(300, 10, seed=0))
    assert [block.shape for block in blocks] == [(300, 3), (300, 3), (300, 3), (300, 1)]


def test_the_interval_of_a_share_has_the_width_that_the_binomial_says() -> None:
    outputs = np.zeros((2000, 2))
    outputs[:, 0] = 1
    truths = (np.arange(2000) % 5 == 0).astype(np.int64)  # 80 % right
    low, high = intervals(*classification_sums(outputs, truths), resamples=2000, seed=0)["accuracy"]
    half = 1.96 * (0.8 * 0.2 / 2000) ** 0.5
    assert low == pytest.approx(0.8 - half, abs=0.002) and high == pytest.approx(0.8 + half, abs=0.002)


def test_about_95_percent_of_intervals_hold_the_true_accuracy() -> None:
    random = np.random.default_rng(0)
    held = 0
    for trial in range(300):
        truths = (random.random(200) > 0.7).astype(np.int64)
        low, high = intervals(*classification_sums(np.tile([1.0, 0.0], (200, 1)), truths), resamples=200, seed=trial)[
            "accuracy"
        ]
        held += low <= 0.7 <= high
    assert 0.90 <= held / 300 <= 0.98


def test_the_seed_alone_fixes_the_intervals() -> None:
    terms = classification_sums(*scored(50, 3))
    one, same, other = (intervals(*terms, resamples=50, seed=seed) for seed in (1, 1, 2))
    assert one == same != other


def test_ten_thousand_rows_take_their_thousand_resamples_in_blocks_that_fit_memory() -> None:
    first = next(draws(10_000, 1000, seed=0))
    assert first.nbytes <= 32_000_000


def test_confusion_and_each_class_are_those_of_scikit_learn() -> None:
    outputs, truths = scored(200, 5)
    found = evaluate(outputs.astype(np.float32), truths, part="test", task="classification", classes=tuple("abcde"))
    answers = outputs.argmax(axis=1)
    assert np.array_equal(found.confusion, confusion_matrix(truths, answers))
    each = np.array(precision_recall_fscore_support(truths, answers)).T
    assert np.allclose([row[1:] for row in found.per_class], each) and [row[0] for row in found.per_class] == list("abcde")


def test_quick_is_evaluate_without_intervals() -> None:
    outputs, truths = scored(100, 3)
    full = {m.name: m.value for m in evaluate(outputs.astype("f4"), truths, part="test", task="classification").metrics}
    found = quick(outputs.astype("f4"), truths, task="image-classification")
    assert [name for name, _ in found] == ["accuracy", "f1", "log_loss"]
    assert all(full[name] == value for name, value in found)


def test_the_area_of_scores_that_say_nothing_is_a_half_and_of_perfect_ones_one() -> None:
    truths = np.array([0, 1, 0, 1, 1])
    for score, area in ((np.zeros(5), 0.5), (truths.astype(float), 1.0), (-truths.astype(float), 0.0)):
        found = point(*classification_sums(np.stack([np.zeros(5), score], axis=1), truths))
        assert found["auc"] == pytest.approx(area)


def test_probabilities_that_are_as_likely_as_they_say_have_no_calibration_error() -> None:
    truths = np.array([1, 1, 1, 0])
    sure = np.log(3.0)  # a probability of three quarters, and three of four are right
    outputs = np.stack([np.zeros(4), np.full(4, sure)], axis=1)
    assert point(*classification_sums(outputs, truths))["ece"] == pytest.approx(0.0, abs=1e-12)
    assert point(*classification_sums(outputs * 100, truths))["ece"] == pytest.approx(0.25)


def test_the_interval_of_an_area_is_that_of_resampling_the_rows_themselves() -> None:
    outputs, truths = scored(200, 2, seed=3)
    low, high = intervals(*classification_sums(outputs, truths), resamples=1000, seed=0)["auc"]
    random = np.random.default_rng(1)
    drawn = [random.integers(0, 200, 200) for _ in range(1000)]
    areas = [roc_auc_score(truths[rows], outputs[rows, 1] - outputs[rows, 0]) for rows in drawn]
    assert (low, high) == pytest.approx(tuple(np.percentile(areas, [2.5, 97.5])), abs=0.012)


def test_a_part_of_one_class_has_no_area() -> None:
    found = point(*classification_sums(np.zeros((3, 2)), np.ones(3, dtype=np.int64)))
    assert np.isnan(found["auc"]) and found["accuracy"] == 0.0


@given(st.integers(2, 60), st.integers(0, 99))
def test_both_components_of_an_area_are_the_area_where_many_scores_are_equal(rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    positive = np.arange(rows) % 2 == 1
    score = random.integers(0, 4, rows).astype(np.float64)
    above, below = _components(score, positive)
    area = roc_auc_score(positive, score)
    assert above[positive].mean() == pytest.approx(area) and below[~positive].mean() == pytest.approx(area)
