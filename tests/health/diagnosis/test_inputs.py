"""Inputs of unsuitable size: an alarm where the answers are poor, a remark where they are not."""

import dataclasses

import pytest
from lessons import classes, final, numbers, table, training

from isograd.health.diagnosis import inputs
from isograd.records.anatomy import Anatomy, Node
from isograd.records.moments import Moments


def found(case):
    return list(inputs.diagnose(case))


def poor(t):
    return classes(t, right=0.2, value=1.3)


def good(t):
    return classes(t, right=0.9, value=0.3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (table(largest=1000.0), "olumn 3"),
        (table(offset=50.0), "away from zero"),
        (table(rms=140.0, low=0.0, high=255.0), "from 0 to 255"),
    ],
)
def test_unscaled_inputs_are_an_alarm_only_where_the_answers_are_poor(given, words):
    (finding,) = found(training(poor, inputs=(given,)))
    assert finding.severity == "warning" and words in finding.summary and finding.where == "data"
    (remark,) = found(training(good, inputs=(given,)))
    assert remark.severity == "note"


def test_unscaled_inputs_of_a_loss_that_broke_are_an_alarm_however_good_it_was_before():
    broken = training(lambda t: classes(t, right=0.9, value=0.3 if t < 0.9 else float("inf")), inputs=(table(offset=50.0),))
    (finding,) = found(broken)
    assert finding.severity == "warning" and "the loss broke" in finding.summary
    assert found(training(lambda t: classes(t, right=0.9, value=0.3 if t < 0.9 else float("inf")), inputs=(table(),))) == []


def test_scaled_inputs_and_rare_columns_are_fine():
    assert found(training(poor, inputs=(table(),))) == []
    assert found(training(poor, inputs=(table(largest=0.5, median=0.02),))) == []


@pytest.mark.parametrize(("answers", "alarm"), [(poor, True), (good, False)])
def test_a_batch_of_a_hundred_times_the_usual_size_is_told_and_an_alarm_where_the_answers_are_poor(answers, alarm):
    case = training(answers, inputs=(table(),))
    values = Moments.of([4e3, *[1.0] * 63])
    wild = dataclasses.replace(case.steps[40], inputs=(dataclasses.replace(table(high=4e3), values=values),))
    steps = tuple(wild if step.index == wild.index else step for step in case.steps)
    (finding,) = found(dataclasses.replace(case, steps=steps))
    assert (
        finding.alarm == alarm
        and "500 times the usual size" in finding.summary
        and "largest rows" in finding.remedy
        and finding.since == wild.index
    )
    assert found(training(answers, inputs=(table(rms=2.0),))) == []


@pytest.mark.parametrize("rows", [64, 1])
def test_a_second_task_in_units_of_its_own_is_no_batch_of_wild_rows(rows):
    case = training(poor, inputs=(table(),))
    seen = [step.index for step in case.steps if step.inputs][::5]
    numbers = Moments.of([5e3, -5e3] * (4 * rows) + [1.0, -1.0] * (4 * (64 - rows)))
    other = dataclasses.replace(case.steps[0], inputs=(dataclasses.replace(table(), values=numbers),))
    steps = tuple(dataclasses.replace(other, index=one.index) if one.index in seen else one for one in case.steps)
    assert bool(found(dataclasses.replace(case, steps=steps))) is (rows == 1)


def test_indices_have_no_size():
    assert found(training(poor, inputs=(table(rms=500.0, dtype="int64"),))) == []


def test_a_network_that_opens_with_a_normalisation_scales_for_itself():
    nodes = (Node("input", "input", "input"), Node("norm", "norm", "BatchNorm1d", (0,)), Node("l", "linear", "Linear", (1,)))
    assert found(training(poor, inputs=(table(rms=140.0),), anatomy=Anatomy("torch", nodes, ()))) == []


def test_batches_of_nothing_but_zeros_are_said_whatever_the_outcome():
    empty = dataclasses.replace(table(low=0.0, high=0.0), values=Moments.of([0.0, 0.0]))
    (finding,) = found(training(good, inputs=(empty,)))
    assert finding.alarm and "nothing to learn from" in finding.summary


@pytest.mark.parametrize("largest", [1.0, 12.0, 50.0])
def test_a_column_far_from_zero_is_told_beside_one_that_spreads_as_far(largest):
    """The others still have next to no direction of their own beside it."""
    case = training(lambda t: classes(t, value=1.4), inputs=(table(offset=13.0, largest=largest),))
    (finding,) = [finding for finding in inputs.diagnose(case) if finding.alarm]
    assert "away from zero" in finding.summary


@pytest.mark.parametrize(("where", "said"), [("", True), ("1", True), ("decoder", False), ("0.decoder", False)])
def test_what_a_part_of_the_model_is_given_behind_another_is_not_the_data(where, said):
    sound, far = (dataclasses.replace(table(offset=away), where=place) for away, place in ((0.0, "encoder"), (50.0, where)))
    case = training(lambda t: classes(t, value=1.4), inputs=(sound, far))
    assert bool([finding for finding in inputs.diagnose(case) if finding.alarm]) == said


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_real_training_on_inputs_far_from_zero(digits, mlp, offset):
    import torch

    import isograd

    x, y = digits
    torch.manual_seed(0)
    model = mlp(3, torch.nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isograd.watch(model, optimizer, budget=None, steps=120) as watch:
        for step in range(120):
            rows = torch.arange(64) + 11 * step
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows] + offset), y[rows]).backward()
            optimizer.step()
    said = {finding.disease for finding in final(watch).findings if finding.alarm}
    assert ("inputs" in said) == (offset > 0.0)


def test_idle_columns_are_no_alarm_before_the_outcome_is_known():
    given = table(constant=5)
    assert found(training(poor, inputs=(given,), steps=5, planned=300, ended=False)) == []
    assert found(training(good, inputs=(given,))) == []
    assert found(training(poor, inputs=(given,)))


def test_words_that_a_batch_does_not_use_are_no_idle_columns():
    words = dataclasses.replace(table(constant=900, shape=(64, 1000)), values=Moments.of([1.0, 0.0, 0.0, 0.0]))
    assert found(training(poor, inputs=(words,))) == []
    assert found(training(poor, inputs=(dataclasses.replace(words, shape=(2000, 1000)),))), "more rows than words"


def indices(low, high):
    return dataclasses.replace(table(dtype="int64", low=low, high=high, shape=(64, 8)), features=None)


def test_a_text_of_one_unknown_word_says_nothing_and_one_of_two_words_may():
    (finding,) = found(training(classes, inputs=(indices(1.0, 1.0),)))
    assert finding.severity == "critical" and "Every index that the model was given is 1" in finding.summary
    assert found(training(classes, inputs=(indices(1.0, 2.0),))) == []
    assert found(training(good, inputs=(indices(1.0, 1.0),))) == [], "a start token that a decoder needs"
    beside = dataclasses.replace(indices(1.0, 1.0), position=1)
    assert found(training(classes, inputs=(indices(0.0, 40.0), beside))) == [], "a mask beside the text"


@pytest.mark.parametrize("known", [True, False])
def test_a_real_network_that_reads_nothing_but_unknown_words(known):
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    x, y = torch.randint(2, 12, (256, 6)), torch.randint(0, 2, (256,))
    x[:, 3] = torch.where(y == 1, 12, 13)
    net = torch.nn.Sequential(torch.nn.Embedding(14, 8), torch.nn.Flatten(), torch.nn.Linear(48, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    with isograd.watch(net, optimizer, budget=None) as watch:
        for step in range(80):
            rows = slice(32 * (step % 8), 32 * (step % 8) + 32)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows] if known else torch.ones_like(x[rows])), y[rows]).backward()
            optimizer.step()
    said = [finding for finding in watch.findings if finding.alarm]
    assert said == [] if known else said[0].disease == "inputs"


def test_what_a_loss_inside_of_the_model_takes_as_targets_is_no_input_of_it_but_an_autoencoder_s_is():
    far = dataclasses.replace(table(offset=50.0), position=1, values=Moments.of([49.0, 51.0]))

    def taken(t):
        return dataclasses.replace(numbers(t, explained=0.1), target=far.values)

    assert found(training(taken, inputs=(table(), far))) == []
    assert len(found(training(taken, inputs=(table(), dataclasses.replace(far, values=Moments.of([50.0])))))) == 1
    assert len(found(training(taken, inputs=(dataclasses.replace(far, position=0),)))) == 1
