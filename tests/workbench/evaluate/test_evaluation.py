import math

import numpy as np
import pytest
import torch
from torch import nn

from isograd.errors import ModelError, RequestError
from isograd.records import codec
from isograd.records.run import Evaluation
from isograd.workbench.evaluate import evaluate, predict, quick


def judged(outputs: list[list[float]], truths: list[int], **how: object) -> Evaluation:
    told = {"part": "test", "task": "classification", "resamples": 20, **how}
    return evaluate(np.array(outputs, np.float32), torch.tensor(truths), **told)  # type: ignore[arg-type]


def numbers(outputs: list[float], truths: list[float], **how: object) -> Evaluation:
    x, y = np.array(outputs, np.float32)[:, None], torch.tensor(truths, dtype=torch.float32)[:, None]
    return evaluate(x, y, part="test", task="regression", resamples=20, **how)  # type: ignore[arg-type]


def values(found: Evaluation) -> dict[str, float]:
    return {metric.name: metric.value for metric in found.metrics}


def test_three_right_answers_of_three_score_one_and_prove_little() -> None:
    found = judged([[9, 0], [0, 9], [9, 0]], [0, 1, 0], classes=("a", "b"))
    assert values(found)["accuracy"] == values(found)["f1"] == 1 and found.errors == ()
    assert (found.metrics[0].low, found.metrics[0].high) == pytest.approx((0.025 ** (1 / 3), 1))  # 1 in 40 to see 3 of 3 there
    wrong = judged([[9, 0], [0, 9], [9, 0]], [1, 0, 1], classes=("a", "b")).metrics[0]
    assert (wrong.value, wrong.low, wrong.high) == pytest.approx((0, 0, 1 - 0.025 ** (1 / 3)))


def test_equal_scores_for_k_classes_lose_log_k() -> None:
    assert values(judged([[3, 3, 3, 3]] * 5, [0, 1, 2, 3, 0]))["log_loss"] == pytest.approx(math.log(4))


def test_the_most_confident_wrong_answers_come_first_with_their_pictures() -> None:
    found = judged([[0, 1], [0, 5], [9, 0], [0, 3]], [0, 0, 0, 0], classes=("a", "b"), names="wxyz", picture=str, errors=2)
    assert [(e.name, e.truth, e.answer, e.picture) for e in found.errors] == [("x", "a", "b", "1"), ("z", "a", "b", "3")]
    assert found.errors[0].confidence == pytest.approx(1 / (1 + math.exp(-5)))


def test_a_class_that_the_part_lacks_has_an_empty_row_and_no_weight() -> None:
    found = judged([[9, 0, 0], [0, 9, 0]], [0, 1], classes=("a", "b", "c"))
    assert found.confusion == ((1, 0, 0), (0, 1, 0), (0, 0, 0))
    assert values(found)["f1"] == 1 and found.per_class[2] == ("c", 0.0, 0.0, 0.0, 0)


def test_one_row_is_judged_without_complaint() -> None:
    assert values(judged([[9, 0]], [0]))["accuracy"] == 1
    assert values(numbers([1.0], [2.0]))["mae"] == 1


def test_a_regression_is_judged_on_the_scale_of_its_target() -> None:
    found = numbers([0.0, 1.0], [0.0, 0.0], target_mean=50.0, target_std=10.0, names=("a", "b"))
    assert values(found) == pytest.approx({"mae": 5, "rmse": 50**0.5, "r2": 0})
    assert [(e.name, e.truth, e.answer, e.fields) for e in found.errors] == [("b", "50", "60", (("residual", "+10"),))]
    assert found.classes == found.confusion == ()


def test_outputs_that_are_not_finite_give_no_score_and_are_the_errors() -> None:
    found = judged([[9, 0], [math.nan, 0], [0, math.inf]], [0, 0, 1], classes=("a", "b"), names="xyz")
    assert all(math.isnan(m.value) and math.isnan(m.low) and math.isnan(m.high) for m in found.metrics)
    assert [m.name for m in found.metrics] == ["accuracy", "precision", "recall", "f1", "log_loss", "auc", "ece"]
    assert [(e.name, e.answer) for e in found.errors] == [("y", "not a number"), ("z", "not a number")]
    assert all(math.isnan(value) for _, value in quick(np.array([[np.nan]], "f4"), np.array([[1.0]]), task="regression"))
    assert numbers([math.inf, 1], [0, 0]).errors[0].answer == "not a number"


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_outputs_that_do_not_fit_the_labels_are_refused(task: str) -> None:
    with pytest.raises(ModelError, match="output"):
        quick(np.zeros((3, 2), np.float32), np.array([0, 1, 2]), task=task)
    with pytest.raises(ModelError, match="rows"):
        quick(np.zeros((2, 3), np.float32), np.array([0, 1, 2]), task=task)


def test_a_model_with_another_number_of_classes_is_refused() -> None:
    with pytest.raises(ModelError, match="does not fit the labels"):
        judged([[1, 2, 3]], [0], classes=("a", "b"))


def test_an_evaluation_survives_the_codec() -> None:
    for found in (judged([[9, 0], [0, 9]], [0, 0]), judged([[math.nan, 0]], [0]), numbers([1, 2], [3, 3])):
        assert repr(codec.loads(Evaluation, codec.dumps(found))) == repr(found)


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


def test_predicting_changes_neither_the_model_nor_its_modes_nor_the_generator() -> None:
    network = model()
    network[1].eval()  # frozen on purpose: it must stay so
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.random.get_rng_state()
    outputs = predict(network, torch.randn(10, 4, generator=torch.Generator().manual_seed(1)), batch_size=3)
    assert outputs.shape == (10, 3) and outputs.dtype == np.float32
    assert [module.training for module in network] == [True, False, True, True] and network.training
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_predicting_in_batches_gives_the_rows_in_their_order() -> None:
    inputs = torch.arange(40.0).reshape(10, 4)
    assert np.array_equal(predict(nn.Identity(), inputs, batch_size=3), inputs.numpy())


def test_bfloat16_is_near_and_not_equal() -> None:
    inputs = torch.randn(10, 4, generator=torch.Generator().manual_seed(1))
    exact, rough = predict(model(), inputs), predict(model(), inputs, precision="bfloat16")
    assert 0 < np.abs(exact - rough).max() < 0.05
    with pytest.raises(RequestError, match="no precision"):
        predict(model(), inputs, precision="float8")


def test_rows_that_the_model_does_not_take_are_refused_in_one_message() -> None:
    network = model()
    with pytest.raises(ModelError, match=r"(?s)does not take these rows.*\(5,\)"):
        predict(network, torch.zeros(10, 5))
    assert network.training and network[2].training
    with pytest.raises(ModelError, match="does not take"):
        predict(network, torch.zeros(10, 4, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(-1,), (-1, 2, 2)])
def test_outputs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="rows x outputs"):
        predict(nn.Unflatten(1, shape[1:]) if len(shape) > 1 else nn.Flatten(0), torch.zeros(3, 4))
