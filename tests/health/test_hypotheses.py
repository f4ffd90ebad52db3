"""What a recording says of a program's loop and values, and which edits it makes worth a trial."""

import dataclasses

import pytest

from isograd.health.case import Case, case_of
from isograd.health.habits import loop_of
from isograd.health.harm import Harm, harm_of, interpolated
from isograd.health.hypotheses import proposals
from isograd.health.present import present_of
from isograd.records.anatomy import Anatomy, Node, Optimizer, Parameter
from isograd.records.batch import Features, InputSample, LossSample
from isograd.records.edit import Edit
from isograd.records.fact import Fact
from isograd.records.finding import Finding
from isograd.records.moments import Moments
from isograd.records.trace import LayerSample, ParameterSample, Step, Trace


def anatomy(rate=0.1, momentum=0.9, gain=1.0, activation="tanh", kind="sgd"):
    nodes = [Node("input", "input", "input", (), (4,))]
    parameters = []
    for place in range(3):
        name = f"{place}.weight"
        sizes = (("fan_in", 4), ("fan_out", 16), ("bias", True))
        nodes.append(Node(str(place), "linear", "Linear", (len(nodes) - 1,), (16,), sizes, (name,)))
        nodes.append(Node(f"{place}.act", "activation", activation, (len(nodes) - 1,), (16,), (("function", activation),)))
        parameters.append(Parameter(name, str(place), (16, 4), True, True, Moments.of([gain / 2, -gain / 2] * 32)))
    return Anatomy(
        "torch", tuple(nodes[:-1]), tuple(parameters), Optimizer(kind, (("learning_rate", rate), ("momentum", momentum)))
    )


def seen(*facts, looks=(1, 2, 10, 20), rates=None, **parts):
    """A recording that saw the facts at every look but the first."""
    steps = []
    for place, step in enumerate(looks):
        kept = tuple(fact(step) if callable(fact) else fact for fact in facts) if place else ()
        rate = 0.1 if rates is None else rates[place]
        sample = (ParameterSample("0.weight", Moments.of([1.0])),)
        steps.append(Step(step, 1.0, rate, (1.0,), parameters=sample, facts=kept, **(parts if not place else {})))
    return case_of(Trace(anatomy(), ("0.weight",), tuple(steps), ended=True))


def test_gradients_that_were_never_cleared_are_a_habit_of_the_loop():
    carried = lambda step: Fact("carried", settings=(("parameters", 3), ("share", 1.0), ("age", step - 1)))  # noqa: E731
    assert loop_of(seen(carried)).clears == 0
    assert loop_of(seen()).clears == 1


def test_gradients_that_are_cleared_every_ten_steps_are_another():
    carried = lambda step: Fact("carried", settings=(("parameters", 3), ("share", 1.0), ("age", step % 10)))  # noqa: E731
    assert 2 <= loop_of(seen(carried, looks=(1, 15, 28, 39, 45))).clears <= 10


def test_clipping_modes_batches_and_rates_are_read_off():
    clip = Fact("clipped", settings=(("bound", 1e-4), ("norm", 3.0), ("by", "norm")))
    loop = loop_of(seen(clip, Fact("evaluation_mode"), Fact("same_batch"), rates=(0.1, 0.1, 0.05, 0.01)))
    assert (loop.clip_norm, loop.evaluating, loop.same_batch) == (1e-4, True, True)
    assert loop.rates == ((1, 0.1), (10, 0.05), (20, 0.01)) and loop.rate(12) == 0.05
    assert loop_of(seen()).rates == ()


def test_weights_drawn_again_every_ten_steps_are_counted():
    times = lambda step: Fact("weights_changed", "0", settings=(("times", 1),))  # noqa: E731
    assert loop_of(seen(times, looks=(1, 11, 21, 31))).redraws == 10
    assert loop_of(seen()).redraws == 0


def test_the_present_values_are_read_off_the_anatomy_and_the_samples():
    features = Features(4, 0, 200.0, 100.0, 50.0, 0, 3.0)
    inputs = (InputSample("", 0, (16, 4), "float32", Moments.of([100.0, -100.0]), -100.0, 100.0, features),)
    losses = (LossSample("mse_loss", target=Moments.of([500.0, 700.0]), target_dtype="float32", target_range=(500.0, 700.0)),)
    present = present_of(seen(inputs=inputs, losses=losses))
    assert present.family == "regression" and present.depth == 3 and present.width == 16
    assert round(present.number("learning_rate"), 9) == 1.0  # over 1 - momentum
    assert round(present.number("gain"), 9) == 1.0
    assert present.number("batch_size") == 16 and present.number("input_scale") == 100.0
    assert present.number("target_shift") == 6.0
    assert present.word("activation") == "tanh" and present.word("optimizer") == "sgd"


def test_a_fact_proposes_its_edit_first_and_a_finding_brings_its_kind_forward():
    case = seen(Fact("evaluation_mode", source="train.py:3"))
    finding = Finding("exploding", "critical", 0.9, "0", "it explodes", source="train.py:9")
    found = proposals(case, [finding], present_of(case))
    assert found[0].edit == Edit("train_mode") and found[0].source == "train.py:3"
    reasons = {one.edit.kind: one.reason for one in found if one.urgent}
    assert reasons["learning_rate"] == "finding: exploding"
    assert len({one.edit for one in found}) == len(found)


def test_a_value_far_from_the_usual_speaks_for_itself():
    case = Case(anatomy(rate=10.0, gain=30.0, activation="sigmoid"))
    urgent = {one.edit.kind for one in proposals(case, [], present_of(case)) if one.urgent}
    assert {"learning_rate", "initialisation", "activation"} <= urgent


def test_nothing_is_urgent_in_a_usual_program():
    case = Case(anatomy(rate=0.05))
    assert not [one for one in proposals(case, [], present_of(case)) if one.urgent]


def test_a_judge_that_is_asked_for_ones_and_zeros_in_turn_has_mixed_labels():
    ones, zeros = (LossSample("binary_cross_entropy_with_logits", classes=one) for one in ((0, 8), (8, 0)))
    steps = tuple(Step(at, 1.0, losses=(ones, zeros)) for at in range(1, 6))
    assert present_of(case_of(Trace(anatomy(), (), steps))).number("mixing") > 0.95
    apart = tuple(Step(at, 1.0, losses=(one,)) for at, one in enumerate((ones, ones, zeros, zeros), 1))
    assert present_of(case_of(Trace(anatomy(), (), apart))).number("mixing") < 0.1


def ratings(*operations):
    """Rows of two embeddings, of deviation 1 and 16 wide, that meet in an operation."""
    nodes = [Node("input", "input", "input")]
    nodes += [Node(name, "embedding", "Embedding", (0,), (16,), (), (f"{name}.weight",)) for name in ("user", "item")]
    nodes += [Node(f"to {name}", operation, operation, inputs) for name, operation, inputs in operations]
    rows = [Parameter(f"{one}.weight", one, (90, 16), True, True, Moments.of([1.0, -1.0])) for one in ("user", "item")]
    return present_of(Case(Anatomy("torch", tuple(nodes), tuple(rows))))


def test_embeddings_that_are_multiplied_with_each_other_are_the_weights_of_each_other():
    assert ratings(("it", "multiply", (1, 2))).number("gain") == pytest.approx(4.0)  # the square root of 16
    assert ratings(("flat", "reshape", (1,)), ("it", "multiply", (3, 2))).number("gain") == pytest.approx(4.0)


@pytest.mark.parametrize("operation", [("it", "add", (1, 2)), ("it", "multiply", (1,))])
def test_embeddings_that_are_added_or_made_so_many_times_as_large_are_outputs_of_size_one(operation):
    assert ratings(operation).number("gain") == pytest.approx(1.0)


def test_what_makes_outputs_larger_is_named_as_last_only_where_no_other_function_is():
    def last(*head):
        sample = LossSample("cross_entropy", classes=(4, 4), head=head)
        case = case_of(Trace(anatomy(), (), (Step(1, 1.0, losses=(sample,)),)))
        return next(one.edit.before for one in proposals(case, [], present_of(case)) if one.edit.kind == "last")

    assert (last("mul"), last("softmax", "div")) == ("mul", "softmax")


def test_between_two_tabulated_values_the_logarithm_counts():
    assert round(interpolated([(0.0, 0.0), (1.0, 0.2), (100.0, 1.0)], 10.0), 9) == 0.6
    assert interpolated([(0.1, 0.3), (1.0, 0.2)], 1e-9) == 0.3
    assert interpolated([(0.1, 0.3), (1.0, 0.2)], 1e9) == 0.2


def of_labels(*counts):
    steps = [Step(at, 1.0, losses=(LossSample("cross_entropy", classes=one),)) for at, one in enumerate(counts, 1)]
    return present_of(case_of(Trace(anatomy(), (), tuple(steps))))


def test_an_order_that_teaches_one_kind_after_the_other_is_seen_and_a_mixed_one_is_left_alone():
    in_order = of_labels((8, 0), (8, 0), (0, 8), (0, 8))
    assert in_order.number("mixing") < 0.1
    mixed, small = of_labels(*[(4, 4), (3, 5)] * 2), of_labels(*[(2, 1, 0, 1), (1, 0, 2, 1)] * 2)
    assert mixed.number("mixing") > 0.95 and small.number("mixing") > 0.85
    kinds = [[one.edit.kind for one in proposals(Case(anatomy()), [], present)] for present in (in_order, mixed)]
    assert "shuffle" in kinds[0] and "shuffle" not in kinds[1]
    assert harm_of(Edit("shuffle"), in_order).value > 0.3


def test_what_is_not_tabulated_is_not_known():
    assert harm_of(Edit("precision"), present_of(Case(anatomy()))) == Harm(None)


def one_layer(**changes):
    """Three layers of which the last has other weights or biases."""
    usual = anatomy(activation="relu")
    last = usual.parameters[-1]
    weights = Parameter(last.name, last.layer, last.shape, True, True, Moments.of([changes.get("gain", 1.0) / 2] * 64))
    bias = Parameter("2.bias", "2", (16,), True, True, Moments.of([changes.get("bias", 0.0)] * 16))
    return Case(Anatomy("torch", usual.nodes, (*usual.parameters[:-1], weights, bias), usual.optimizer))


def test_the_weights_or_biases_of_one_layer_that_are_far_too_large_are_a_suspect_with_its_place():
    for changes in ({"gain": 40.0}, {"bias": 300.0}):
        present = present_of(one_layer(**changes))
        (first,) = [one for one in proposals(one_layer(**changes), [], present) if one.edit.where]
        assert first.urgent and first.edit.kind == "initialisation" and first.edit.where == first.where == "2"
        assert 0.2 < (harm_of(first.edit, present).value or 0.3) <= 0.5
        assert harm_of(Edit("initialisation", "he"), present).value == 0.0  # the other layers are as usual
    for changes in ({}, {"gain": 0.0}, {"gain": 4.0}, {"bias": -2.0}):  # a last layer may well begin with nothing
        assert not any(one.edit.where for one in proposals(one_layer(**changes), [], present_of(one_layer(**changes))))


def test_every_activation_between_the_layers_is_a_suspect_of_its_own_and_so_is_a_function_without_a_slope():
    nodes = list(anatomy(activation="relu").nodes)
    nodes[2] = Node("0.act", "unknown", "sign", (1,), (16,))
    nodes[4] = Node("1.act", "softmax", "softmax", (3,), (16,))
    case = Case(Anatomy("torch", tuple(nodes), anatomy().parameters, anatomy().optimizer))
    found = [one.edit for one in proposals(case, [], present_of(case)) if one.edit.kind == "activation"]
    assert {edit.before for edit in found} == {"sign", "softmax"}
    assert all((harm_of(edit, present_of(case)).value or 0.0) > 0.4 for edit in found)
    alike = [harm_of(Edit("activation", "relu", before=name), present_of(case)) for name in ("round", "sign")]
    assert alike[0] == alike[1]


def test_a_loss_that_reaches_no_parameter_at_any_look_is_a_cut_that_is_replayed():
    outside = seen(*[Fact("loss_outside")])
    without = dataclasses.replace(outside, rows={**outside.rows, "gradient_norm": {}})
    assert loop_of(without).cut
    assert not loop_of(outside).cut, "a gradient came at a step in between"
    assert Edit("keep_graph") in [one.edit for one in proposals(without, (), present_of(without)) if one.urgent]


def test_a_rate_far_below_the_usual_is_raised_in_steps_of_ten_and_one_near_it_is_tried_on_both_sides():
    def rates(rate):
        case = Case(anatomy(rate, momentum=0.0))
        return [one.edit.value for one in proposals(case, (), present_of(case)) if one.edit.kind == "learning_rate"]

    assert rates(0.001) == [0.5, 0.01, 0.1, 0.0001]
    assert rates(0.1) == [0.5, 0.01, 1.0, 0.001]


def test_a_loss_that_is_critical_is_a_fact_and_one_that_is_suspect_a_finding():
    case = Case(anatomy())
    for severity, word in (("critical", "fact"), ("warning", "finding")):
        told = Finding("loss_mismatch", severity, 0.97, "loss", "")
        (one,) = [one for one in proposals(case, (told,), present_of(case)) if one.edit.kind == "loss"]
        assert one.urgent and one.reason == f"{word}: loss mismatch"


def test_a_softmax_of_an_attention_is_no_activation_to_be_replaced():
    layer = [Node(name, "linear", "Linear", (place,), (8, 16)) for name, place in (("query", 0), ("key", 0), ("out", 5))]
    scores = Node("scores", "unknown", "matmul", (1, 2), (8, 8)), Node("softmax", "softmax", "softmax", (3,), (8, 8))
    mixed = Node("mixed", "unknown", "matmul", (4, 2), (8, 16))
    nodes = (Node("input", "input", "input", shape=(8, 16)), *layer[:2], *scores, mixed, layer[2])
    assert present_of(Case(Anatomy("torch", nodes, ()))).word("activation") == ""


def passes(calls, inputs, *, source="train.py:9"):
    """Looks at a loop that calls its loss so often in a step, on inputs of (16, 4) that came so often."""
    loss = LossSample("cross_entropy", source=source, output_shape=(16, 3), target_shape=(16,))
    given = InputSample("", 0, (16, 4), "float32", Moments.of([0.0] * (64 * inputs)), 0.0, 0.0)
    steps = [Step(i, 1.0, 0.1, losses=(loss,) * calls, inputs=(given,), layers=(LayerSample("0"),)) for i in (1, 2, 9)]
    return loop_of(case_of(Trace(anatomy(), (), tuple(steps), ended=True))).accumulate


def test_batches_whose_gradients_make_a_step_are_a_habit_of_the_loop_and_several_losses_of_a_batch_are_not():
    assert [passes(4, 4), passes(1, 1), passes(3, 1), passes(1, 2)] == [4, 1, 1, 1]


def told(disease, where="loop", source="train.py:5"):
    return Finding(disease, "warning", 0.9, where, "", source=source)


def test_a_run_that_was_cut_short_is_as_long_as_it_was_and_not_as_was_announced():
    def steps(taken, *facts, planned=200, ended=True):
        made = tuple(Step(at, 1.0, 0.1, facts=facts) for at in range(1, taken + 1))
        return present_of(case_of(Trace(anatomy(), (), made, planned_steps=planned, ended=ended))).number("steps")

    assert (steps(12), steps(12, ended=False), steps(150), steps(12, Fact("raised"))) == (12.0, 200.0, 200.0, 200.0)
    case = case_of(Trace(anatomy(), (), tuple(Step(at, 1.0, 0.1) for at in range(1, 13)), planned_steps=200, ended=True))
    (longer,) = [one.edit for one in proposals(case, (), present_of(case)) if one.edit.kind == "steps"]
    assert (longer.value, longer.before) == (80.0, 12.0)


def test_what_only_an_alarm_tells_is_proposed_with_its_line_and_without_the_alarm_it_is_not():
    slow = Fact("statistics_lag", "bn1", settings=(("momentum", 0.001), ("ratio", 9.0), ("shift", 0.0)))
    case = seen(slow)
    alarms = [told("wrong_mode", "bn1"), told("posterior_collapse", "mean"), told("clipping", "optimizer")]
    present = present_of(case)
    found = {one.edit.kind: one for one in proposals(case, alarms, present) if one.reason.startswith("finding")}
    assert {"statistics", "other_terms", "clip_norm"} <= set(found)
    assert (found["statistics"].edit.value, found["statistics"].edit.before, found["statistics"].where) == (0.1, 0.001, "bn1")
    assert found["other_terms"].source == "train.py:5" and found["clip_norm"].urgent
    quiet = {one.edit.kind for one in proposals(case, (), present)}
    assert not quiet & {"statistics", "other_terms"} and Edit("clip_norm") not in [e.edit for e in proposals(case, (), present)]


def test_an_attention_by_hand_has_attention_for_a_reference_and_a_product_with_neighbours_has_none():
    def net(*between):
        layer = [Node(name, "linear", "Linear", (place,), (8, 16)) for name, place in (("one", 0), ("two", 0))]
        return Anatomy("torch", (Node("input", "input", "input", shape=(8, 16)), *layer, *between), ())

    scores, soft = Node("scores", "unknown", "matmul", (1, 2), (8, 8)), Node("soft", "softmax", "softmax", (3,), (8, 8))
    mixed = Node("mixed", "unknown", "matmul", (4, 2), (8, 16))
    attends, spreads, plain = (present_of(Case(net(*some))) for some in ((scores, soft, mixed), (scores, soft), ()))
    assert (attends.family, attends.word("foreign")) == ("attention", "")
    assert (spreads.family, spreads.word("foreign")) == ("dense", "matmul")
    edit = Edit("activation", "relu", before="sigmoid")
    assert harm_of(edit, spreads).outside and not harm_of(edit, plain).outside


def test_an_activation_of_nearly_the_same_curve_lends_its_harm():
    present = present_of(Case(anatomy()))
    hard, soft = (harm_of(Edit("activation", "relu", before=name), present) for name in ("hardsigmoid", "sigmoid"))
    assert hard == soft and (soft.value or 0.0) > 0.0


def test_the_steps_of_adagrad_shrink_so_that_its_rate_is_high_where_that_of_adam_would_be_usual():
    """Over 400 steps they are a tenth of Adam's in the mean: 2 / sqrt(400)."""

    def present(kind, rate=0.003, steps=400):
        made = dataclasses.replace(anatomy(kind=kind), optimizer=Optimizer(kind, (("learning_rate", rate),)))
        return present_of(Case(made, planned=steps))

    def rates(of):
        return [one.edit.value for one in proposals(Case(anatomy(kind="adam")), (), of) if one.edit.kind == "learning_rate"]

    assert rates(present("adam"))[0] == 0.003 and rates(present("adagrad", 0.002))[0] == 0.03
    edit = Edit("learning_rate", 0.03)
    slow, same, usual = (harm_of(edit, one).value for one in (present("adagrad"), present("adam", 0.0003), present("adam")))
    assert slow == pytest.approx(same) and slow > usual


def test_an_activation_of_an_unknown_curve_is_not_acquitted_by_a_gradient_that_does_not_fade():
    present = present_of(Case(anatomy()))
    still = dataclasses.replace(present, numbers=(*present.numbers, ("fading", 0.1)))
    harms = {name: harm_of(Edit("activation", "relu", before=name), still).value for name in ("wavelet", "elu", "softshrink")}
    assert harms["wavelet"] is None and harms["elu"] == 0.0 and (harms["softshrink"] or 0.0) > 0.2


def test_of_two_losses_the_one_of_numbers_says_how_large_the_targets_are() -> None:
    numbers = Moments.of([1_700.0, 2_300.0] * 2)
    classes = LossSample("cross_entropy", training=True, target_dtype="int64")
    amounts = LossSample("mse_loss", training=True, target=numbers, target_dtype="float32", target_range=(1_700.0, 2_300.0))
    for losses in ((classes, amounts), (amounts, classes)):
        case = Case(Anatomy("torch", (), ()), steps=(Step(1, losses=losses),))
        assert present_of(case).number("target_scale") == pytest.approx(300.0)
