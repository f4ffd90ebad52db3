"""Labels that teach nothing: one class, sorted, weighted the wrong way round, unrelated to the inputs."""

import dataclasses

import pytest
from bodies import body
from lessons import EMPTY, classes, final, looked_at, numbers, training

from isograd.health.case import case_of
from isograd.health.diagnosis import labels
from isograd.records.anatomy import Node
from isograd.records.batch import InputSample
from isograd.records.moments import Moments, Pairs
from isograd.records.trace import LayerSample, ParameterSample, Trace


def found(case):
    return list(labels.diagnose(case))


def only(kind, t, value):
    return classes(t, shares=[float(k == kind) for k in range(4)], answer=kind, value=value)


def test_one_class_only_is_said_once_the_network_has_found_out():
    (finding,) = found(training(lambda t: only(2, t, 2.0 / t)))
    assert finding.severity == "warning" and "are class 2" in finding.summary


def test_a_contrastive_loss_whose_target_is_always_the_first_stays_high_and_is_fine():
    assert found(training(lambda t: only(0, t, 2.0))) == []


def test_batches_of_one_class_each_are_sorted_data():
    (finding,) = found(training(lambda t: only(t // 10 % 4, t, 0.2)))
    assert finding.severity == "warning" and "sorted by label" in finding.summary and "shuffle" in finding.remedy


def beside_another_loss(case):
    """The same training, whose steps end in a squared error first."""
    other = numbers(1, explained=0.5, rows=16)
    steps = tuple(dataclasses.replace(step, losses=(other, *step.losses)) if step.losses else step for step in case.steps)
    return dataclasses.replace(case, steps=steps)


def test_sorted_data_show_in_one_of_several_losses_too():
    (finding,) = found(beside_another_loss(training(lambda t: only(t // 10 % 4, t, 0.2))))
    assert "sorted by label" in finding.summary
    assert found(beside_another_loss(training(lambda t: classes(t, right=0.9, value=0.3)))) == []
    assert found(beside_another_loss(training(lambda t: only(1, t, 0.2)))) == [], "a judge is asked for one answer at each line"


def two_of_eight(t, value, right=None):
    kind = t // 10 % 7
    shares = [0.5 if k in (kind, kind + 1) else 0.0 for k in range(8)]
    return classes(t, kinds=8, shares=shares, right=right, value=value, answer=None if right else kind)


def test_batches_of_a_few_classes_each_are_sorted_data_where_the_answers_stay_poor():
    (finding,) = found(training(lambda t: two_of_eight(t, 1.9)))
    assert finding.severity == "warning" and "A batch holds 2.0 classes" in finding.summary
    assert found(training(lambda t: two_of_eight(t, 0.05, right=0.98))) == [], "batches of a few classes on purpose"
    assert found(training(lambda t: classes(t, kinds=8, value=1.9, answer=3))) == [], "shuffled data that are hard"


def test_examples_with_several_labels_have_no_class_to_be_sorted_by():
    def several(t):
        target = Moments.of([1.0] * 2 + [0.0] * 6)
        return dataclasses.replace(two_of_eight(t, 1.9), target=target, target_shape=(64, 8))

    assert found(training(several)) == []
    assert found(training(lambda t: dataclasses.replace(several(t), classes=(64, *[0] * 7)))) == []


def test_rare_classes_and_small_batches_may_miss_a_class():
    assert found(training(lambda t: classes(t, kinds=2, rows=8, shares=[0.96, 0.04], value=0.1))) == []
    assert found(training(lambda t: classes(t, kinds=2, rows=2, value=0.1, right=0.9))) == []


@pytest.mark.parametrize("weights", [(10.0, 1.0), (1.0, 10.0), (1.0, 1.0)])
def test_weights_are_inverted_where_the_frequent_class_has_the_larger(weights):
    case = training(lambda t: classes(t, kinds=2, shares=[0.8, 0.2], answer=0, value=0.3, weights=weights))
    assert [finding.alarm for finding in found(case)] == ([True] if weights[0] > weights[1] else [])


def test_inverted_weights_that_do_no_harm_are_a_remark():
    case = training(lambda t: classes(t, kinds=2, shares=[0.8, 0.2], right=0.95, value=0.1, weights=(10.0, 1.0)))
    (finding,) = found(case)
    assert finding.severity == "note"


@pytest.mark.parametrize(("late", "severity"), [(8, "warning"), (3, "note")])
def test_a_rare_class_that_came_a_few_times_and_was_never_answered_is_harmed(late, severity):
    """An example of the rare class at every so many looks, and no answer that is so."""

    def one(t):
        few = classes(t, kinds=2, rows=16, shares=[0.9, 0.1], answer=0, value=0.1, weights=(10.0, 1.0))
        came = t in RARE[-late:] or t in RARE[:20]
        return dataclasses.replace(few, classes=(15, 1) if came else (16, 0), hits=15 if came else 16)

    (finding,) = found(training(one))
    assert finding.severity == severity


RARE = looked_at(300)
GRADED = (1.0, 0.1, 0.01, 0.001)


@pytest.mark.parametrize("weights", [GRADED, (1.0, 1.0, 1.0, 0.05)])
def test_a_class_of_the_same_size_that_hardly_weighs_and_is_never_answered_is_ignored(weights):
    (finding,) = found(training(lambda t: classes(t, right=0.4, answer=0, value=0.05, weights=weights)))
    assert finding.severity == "warning" and "Class 3 weighs" in finding.summary and "answered 0 times" in finding.summary
    (finding,) = found(training(lambda t: classes(t, right=0.97, value=0.05, weights=weights)))
    assert finding.severity == "note"


def test_weights_that_even_out_frequencies_are_right_however_far_they_go():
    shares = [0.9, 0.07, 0.03]
    even = tuple(1.0 / share for share in shares)
    assert found(training(lambda t: classes(t, kinds=3, shares=shares, answer=2, value=1.0, weights=even))) == []


def hour(t, *, value, base="linear"):
    """A batch of one class: at every look the first, for the looks are few."""
    return dataclasses.replace(only(0, t, value), base=base)


def test_looks_that_all_fell_on_one_class_are_sorted_data_if_the_loss_says_that_others_came_between():
    (finding,) = found(training(lambda t: hour(t, value=1.4 + 0.1 * (t % 3))))
    assert finding.severity == "warning" and "sorted by label" in finding.summary
    assert found(training(lambda t: hour(t, value=1.4, base=""))) == []  # contrastive: the first is always the right one
    assert found(training(lambda t: hour(t, value=0.3 + 1.0 / t))) == []  # rare classes: one answer is nearly enough


def test_the_parts_of_one_large_batch_are_no_two_networks():
    (finding,) = found(training(lambda t: (only(2, t, 2.0 / t), only(2, t + 1, 2.0 / t))))
    assert "are class 2" in finding.summary


def moving(case, turn):
    """The same run with a network whose layers turn by ``turn`` of their size at each look."""
    anatomy = body(3)
    sample = [
        ParameterSample(
            p.name, Moments.of([1.0, 0.0]), Moments.of([1.0]), Moments.of([turn, 0.0]), Pairs.of([0.0, turn], [1.0, 0.0])
        )
        for p in anatomy.parameters
    ]
    steps = [dataclasses.replace(s, parameters=tuple(sample) if s.losses else ()) for s in case.steps]
    return case_of(Trace(anatomy, (), tuple(steps), ended=True))


def forgetful(case):
    """The same with a recurrent layer whose gradient reaches three steps back."""
    recurrent = Node("rnn", "recurrent", "RNN", settings=(("kind", "rnn_tanh"), ("hidden", 8)))
    layer = LayerSample("rnn", through_time=tuple(Moments.of([0.1 ** (39 - t)]) for t in range(40)))
    steps = tuple(dataclasses.replace(step, layers=(*step.layers, layer)) for step in case.steps)
    anatomy = dataclasses.replace(case.anatomy, nodes=(*case.anatomy.nodes, recurrent))
    return case_of(Trace(anatomy, (), steps, ended=True))


def test_labels_are_unrelated_where_the_network_moved_and_answers_vary_and_nothing_came_of_it():
    (finding,) = found(moving(training(classes), 0.01))
    assert finding.severity == "warning" and "unrelated" in finding.summary
    assert found(moving(training(classes), 1e-6)) == []
    assert found(forgetful(moving(training(classes), 0.01))) == [], "the answer may lie beyond what the layer remembers"
    assert found(moving(training(lambda t: classes(t, right=0.5, value=0.9)), 0.01)) == []


def test_targets_that_are_the_inputs_themselves_are_never_unrelated_to_them():
    """An autoencoder that has not begun to learn."""

    def aimless(t):
        return dataclasses.replace(numbers(t, explained=0.0, stray=0.2), value=1.02)

    case = moving(training(aimless), 0.01)
    (finding,) = found(case)
    assert "unrelated" in finding.summary

    def copied(step):
        return tuple(InputSample("", 0, (64, 1), "float32", sample.target, -3.0, 3.0) for sample in step.losses)

    steps = tuple(dataclasses.replace(step, inputs=copied(step)) for step in case.steps)
    assert found(dataclasses.replace(case, steps=steps)) == []


def test_numbers_have_no_classes():
    assert found(training(lambda t: numbers(t, explained=0.5), anatomy=EMPTY)) == []


@pytest.mark.parametrize("shuffled", [True, False])
def test_real_training_on_digits_sorted_by_label(digits, mlp, shuffled):
    import torch

    import isograd

    x, y = digits
    torch.manual_seed(0)
    order = torch.randperm(len(y)) if shuffled else torch.argsort(y, stable=True)
    model = mlp(3, torch.nn.ReLU)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with isograd.watch(model, optimizer, budget=None, steps=110) as watch:
        for step in range(110):
            rows = order[step * 16 : step * 16 + 16]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    said = {finding.disease for finding in final(watch).findings if finding.alarm}
    assert ("labels" in said) == (not shuffled)


def test_where_the_network_itself_bars_the_way_the_labels_are_not_suspected():
    drop = Node("drop", "dropout", "Dropout", (), (64,), (("p", 0.95),))
    case = moving(training(classes), 0.01)
    anatomy = dataclasses.replace(case.anatomy, nodes=(*case.anatomy.nodes, drop), traced=True)
    assert found(dataclasses.replace(case, anatomy=anatomy)) == []


def test_a_constant_of_3_is_one_number_and_no_set_of_several_labels():
    def three(t):
        return dataclasses.replace(
            numbers(t, mean=3.0, scale=0.0),
            target_range=(3.0, 3.0),
            classes=(0, 0, 0, 64),
            output_shape=(64, 1),
            target_shape=(64, 1),
        )

    (finding,) = labels.diagnose(training(three))
    assert "there is nothing to learn but this number" in finding.summary
