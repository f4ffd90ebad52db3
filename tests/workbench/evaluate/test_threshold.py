"""A threshold on the second of two classes: the best of all cuts, and nothing moved by rows that say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.metrics import accuracy_score, f1_score, recall_score

from isograd.errors import RequestError
from isograd.workbench.evaluate import evaluate, threshold_for
from isograd.workbench.evaluate.threshold import called, probability_of

SCORE = {
    "accuracy": accuracy_score,
    "f1": lambda truths, answers: f1_score(truths, answers, average="macro", zero_division=0),
    "recall": lambda truths, answers: recall_score(truths, answers, average="macro", zero_division=0),
}


def scores(probabilities: list[float]) -> np.ndarray:
    return np.stack([np.zeros(len(probabilities)), logit(np.array(probabilities))], axis=1)


@pytest.mark.parametrize("metric", SCORE)
@given(rows=st.lists(st.tuples(st.integers(1, 19), st.booleans()), min_size=2, max_size=25))
def test_no_other_threshold_is_better(metric: str, rows: list[tuple[int, bool]]) -> None:
    outputs = scores([twentieth / 20 for twentieth, _ in rows])
    truths = np.array([int(truth) for _, truth in rows])
    if len(set(truths.tolist())) < 2:
        return
    found = threshold_for(metric, outputs, truths)
    best = SCORE[metric](truths, called(outputs, found))
    for other in np.linspace(0.025, 0.975, 20):
        assert SCORE[metric](truths, called(outputs, float(other))) <= best + 1e-12


def test_a_threshold_in_the_wide_gap_between_classes_stays_at_a_half_where_a_half_is_as_good() -> None:
    assert threshold_for("f1", scores([0.1, 0.2, 0.7, 0.9]), np.array([0, 0, 1, 1])) == 0.5
    assert threshold_for("recall", scores([0.3, 0.3, 0.3, 0.3]), np.array([0, 1, 0, 1])) == 0.5


def test_without_a_threshold_the_likelier_class_is_called_and_with_a_half_too() -> None:
    outputs = np.random.default_rng(0).normal(size=(100, 2))
    assert (called(outputs, None) == called(outputs, 0.5)).all()
    assert (called(outputs, 0.9) == (probability_of(outputs) > 0.9)).all()


def test_an_evaluation_judges_the_answers_of_its_threshold_and_leaves_log_loss_as_it_is() -> None:
    outputs = scores([0.1, 0.3, 0.4, 0.9]).astype(np.float32)
    truths = np.array([0, 1, 1, 1])
    plain = evaluate(outputs, truths, part="test", task="classification", classes=("no", "yes"))
    lower = evaluate(outputs, truths, part="test", task="classification", classes=("no", "yes"), threshold=0.2)
    assert {m.name: m.value for m in plain.metrics}["accuracy"] == 0.5
    assert {m.name: m.value for m in lower.metrics}["accuracy"] == 1.0
    assert lower.confusion == ((1, 0), (0, 3)) and not lower.errors and lower.threshold == 0.2
    for one, other in zip(plain.metrics[-3:], lower.metrics[-3:], strict=True):
        assert one.name == other.name and one.value == pytest.approx(other.value)


@pytest.mark.parametrize(
    ("outputs", "truths", "said"),
    [
        (np.zeros((3, 3)), np.array([0, 1, 2]), "a threshold is for two classes"),
        (np.zeros((3, 1)), np.array([0, 1, 2]), "a regression"),
        (np.zeros((3, 2)), np.array([1, 1, 1]), "validation rows of both classes"),
    ],
)
def test_what_has_not_two_classes_is_refused(outputs: np.ndarray, truths: np.ndarray, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        threshold_for("f1", outputs, truths)
    assert said in str(caught.value)
