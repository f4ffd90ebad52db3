"""What is prescribed, in which order, and what theory makes of the numbers that were seen."""

import dataclasses
import random

import pytest

from isograd.health.case import Case
from isograd.health.hypotheses import Proposal
from isograd.health.present import Present, present_of
from isograd.health.remedies import companions, memory, prescribe, rates, signal, weights
from isograd.health.remedies.luck import combinations, drawn
from isograd.health.remedies.order import in_order, tier
from isograd.health.remedies.preset import other_ways, preset
from isograd.records.anatomy import Anatomy, Node, Optimizer, Parameter
from isograd.records.edit import EDITS, Edit
from isograd.records.finding import Finding
from isograd.records.loop import Loop
from isograd.records.moments import Moments
from isograd.records.reading import Reading


def case_of(ratio=None, optimizer=None, nodes=()):
    values = Moments.of([0.1, -0.1])
    matrices = tuple(Parameter(f"{name}.weight", name, (8, 8), True, True, values=values) for name in "ab")
    rows = {} if ratio is None else {"update_ratio": {m.name: [Reading("update_ratio", m.name, 1, ratio)] for m in matrices}}
    anatomy = Anatomy("torch", tuple(nodes), matrices, optimizer or Optimizer("adam", (("learning_rate", 1e-3),)))
    return Case(anatomy, rows=rows)


def dense(depth, activation="relu", **numbers):
    words = (("activation", activation), ("optimizer", "adaptive"))
    return Present("dense", depth, 32.0, numbers=tuple({"gain": 1.0, **numbers}.items()), words=words)


@pytest.mark.parametrize(("ratio", "rate"), [(2.0, 1e-6), (2e-5, 0.1)])
def test_the_rate_that_real_steps_ask_for_moves_the_weights_by_a_usual_share(ratio, rate):
    case = case_of(ratio)
    (edit, reason), *_ = rates.candidates(case, present_of(case))
    assert edit.kind == "learning_rate" and edit.value == pytest.approx(rate) and edit.before == 1e-3
    assert "of their size" in reason


def test_steps_of_a_usual_size_ask_for_no_other_rate():
    case = case_of(1e-3)
    assert [edit for edit, _ in rates.candidates(case, present_of(case)) if edit.kind == "learning_rate"] == []


def test_first_steps_that_tore_the_weights_up_speak_and_not_the_small_ones_after_them():
    def asked(first):
        case = case_of(1.0)
        for name, series in case.rows["update_ratio"].items():
            series[:] = [Reading("update_ratio", name, step, first if step <= 2 else 1e-6) for step in range(1, 21)]
        (edit, _), *_ = rates.candidates(case, present_of(case))
        return edit.value

    assert asked(first=20.0) < 1e-3 < asked(first=0.1)


def test_a_gentle_end_is_offered_behind_what_is_wrong_and_only_where_no_schedule_is():
    def offered(**loop):
        present = dataclasses.replace(dense(3, learning_rate=1e-3), loop=Loop(steps=300, **loop))
        return {edit.kind: edit for edit, _ in rates.candidates(case_of(), present)}

    assert offered()["schedule"].value == "cosine" and tier(offered()["schedule"]) == 4
    assert "schedule" not in offered(rates=((1, 0.1), (100, 0.01)))


def test_steps_on_few_examples_may_take_the_mean_of_more_and_half_precision_a_scaled_loss():
    def offered(dtype="float32", **numbers):
        anatomy = dataclasses.replace(case_of().anatomy, dtype=dtype)
        found = rates.candidates(dataclasses.replace(case_of(), anatomy=anatomy), dense(3, learning_rate=1e-3, **numbers))
        return {edit.kind: edit.value for edit, _ in found}

    assert offered(batch_size=3.0)["accumulate"] == 11.0 and "accumulate" not in offered(batch_size=8.0)
    assert offered(dtype="float16")["loss_scale"] == 1024.0 and "loss_scale" not in offered(dtype="bfloat16")


def test_the_rate_of_plain_sgd_is_the_one_that_stands_in_the_optimizer():
    optimizer = Optimizer("sgd", (("learning_rate", 0.1), ("momentum", 0.9)))
    case = case_of(2.0, optimizer)
    (edit, _), *_ = rates.candidates(case, present_of(case))
    assert edit.before == pytest.approx(0.1) and edit.value == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("activation", "depth", "convolutional", "first"),
    [
        ("relu", 30, False, "he"),
        ("gelu", 2, False, "he"),
        ("tanh", 3, False, "glorot"),
        ("tanh", 30, False, "orthogonal"),
        ("tanh", 30, True, "delta_orthogonal"),
        ("selu", 30, False, "lecun"),
        ("", 30, False, "orthogonal"),
    ],
)
def test_the_first_initialisation_is_the_one_at_the_edge_of_chaos(activation, depth, convolutional, first):
    assert weights.rules(activation, depth, convolutional=convolutional)[0] == first


def test_a_plain_recurrent_cell_is_offered_gates_and_an_lstm_is_not():
    plain = case_of(nodes=(Node("rnn", "recurrent", "RNN"),))
    gated = case_of(nodes=(Node("rnn", "recurrent", "LSTM"),))
    assert [edit.kind for edit, _ in memory.candidates(plain, dense(2))][:-2] == ["forget_bias", "truncate", "cell", "cell"]
    assert [edit.kind for edit, _ in memory.candidates(gated, dense(2))][:-2] == ["forget_bias"]


@pytest.mark.parametrize("operation", ["recurrent", "attention", "linear"])
def test_what_reads_sequences_may_take_the_other_axis_first_and_no_preset_turns_it_unasked(operation):
    offered = [edit for edit, _ in memory.candidates(case_of(nodes=(Node("reader", operation, "GRU"),)), dense(2))]
    turned = [edit.value for edit in offered if edit.kind == "axes"]
    assert turned == ([] if operation == "linear" else ["batch", "time"])
    proposed = [[Proposal(edit, "x", urgent) for edit in offered] for urgent in (True, False)]
    kinds = [{edit.kind for edit in preset(singles, dense(2))} for singles in proposed]
    assert ["axes" in one for one in kinds] == [bool(turned), False]


def test_gates_keep_for_as_long_as_a_sequence_is_whose_gradient_was_seen_to_fade():
    plain = case_of(nodes=(Node("rnn", "recurrent", "RNN"),))
    fading = dense(2, fading_steps=100.0)
    offered = [edit for edit, _ in memory.candidates(plain, fading)]
    assert offered[0] == Edit("forget_bias", 4.6) and memory.lasting(offered, dense(2)) == ()
    assert memory.lasting(offered, fading) == (Edit("cell", "lstm"), Edit("forget_bias", 4.6))
    assert memory.lasting(offered[:1], fading) == (Edit("forget_bias", 4.6),), "gates are there already"
    assert memory.lasting((), fading) == ()
    singles = [Proposal(edit, "") for edit in offered]
    assert companions(singles, fading)[0] == memory.lasting(offered, fading)
    slow = dataclasses.replace(fading, words=(("optimizer", "sgd"), ("algorithm", "sgd")))
    assert [edit.kind for edit in companions(singles, slow)[1]] == ["cell", "forget_bias", "optimizer"]
    every = [edit.kind for edit in preset(singles, fading)]
    assert {"cell", "forget_bias"} <= set(every) and not {"cell", "forget_bias"} & {
        one.kind for one in preset(singles, dense(2))
    }
    assert any(
        not {"cell", "forget_bias"} & {one.kind for one in way} for way in other_ways(preset(singles, fading), (), fading)
    )


def test_what_was_seen_over_time_speaks_for_gates_before_what_nothing_speaks_for():
    case = case_of(2.0, nodes=(Node("rnn", "recurrent", "RNN"),))
    finding = Finding("recurrent", "note", 0.85, "rnn", "a short memory")
    kinds = [one.edit.kind for one in prescribe(case, (finding,), present_of(case)) if one.urgent]
    assert "cell" in kinds and "cell" not in [one.edit.kind for one in prescribe(case, (), present_of(case)) if one.urgent]


def test_an_activation_that_lets_the_signal_die_is_exchanged_before_anything_bigger():
    offered = [edit for edit, _ in signal.candidates(case_of(), dense(8, "sigmoid"))]
    assert offered[0] == Edit("activation", "relu", before="sigmoid")
    assert [edit.size for edit in offered] == sorted(edit.size for edit in offered)


def test_what_a_finding_speaks_for_comes_first_and_correctness_before_settings():
    case = case_of(2.0)
    finding = Finding("learning_rate", "critical", 0.9, "optimizer", "the rate is too high")
    plain = prescribe(case, (), present_of(case))
    spoken = prescribe(case, (finding,), present_of(case))
    assert spoken[0].edit.kind == "learning_rate" and spoken[0].urgent and spoken[0].reason.startswith("finding")
    assert plain[0].edit.kind == "loss"
    tiers = [(not one.urgent, tier(one.edit)) for one in spoken]
    assert tiers == sorted(tiers)
    assert len({(one.edit.kind, one.edit.value) for one in spoken}) == len(spoken)


def test_against_a_gradient_that_vanishes_weights_come_first_then_what_keeps_the_signal_and_rates_after_it():
    case, found = case_of(2e-5), Finding("vanishing", "critical", 0.97, "a", "")
    case = dataclasses.replace(
        case, anatomy=dataclasses.replace(case.anatomy, optimizer=Optimizer("sgd", (("learning_rate", 0.1),)))
    )
    present = dataclasses.replace(
        dense(20, learning_rate=0.1), words=(("activation", "relu"), ("optimizer", "sgd")), loop=Loop(steps=300)
    )
    order = [one.edit.kind for one in prescribe(case, (found,), present) if one.urgent]
    assert order.index("initialisation") < order.index("activation") < order.index("learning_rate")
    assert {"normalisation", "residual"} <= set(order)
    remark = dataclasses.replace(found, severity="note")
    told = [one.edit.kind for one in prescribe(case, (remark,), present) if one.urgent]
    assert told.index("learning_rate") < told.index("initialisation"), "settings first, where it is a remark"


def test_paths_go_with_branches_that_begin_at_nothing_and_come_first_where_a_plain_network_is_too_deep():
    def put(depth, activation, *curves):
        offered = [*(Edit("activation", curve, before=activation) for curve in curves), Edit("residual")]
        made = companions([Proposal(edit, "list") for edit in offered], dense(depth, activation))
        return [tuple((edit.kind, edit.value) for edit in edits) for edits in made]

    paths, leaky = (("residual", None), ("initialisation", "fixup")), (("activation", "leaky_relu"), ("initialisation", "he"))
    assert put(30, "relu", "leaky_relu") == [paths, leaky]
    assert put(8, "relu", "leaky_relu") == [leaky, paths]
    assert put(3, "relu", "leaky_relu") == [leaky]
    assert put(30, "sigmoid", "relu")[0] == (("activation", "relu"), *paths), "a sigmoid lets no path of slope 1 through"
    assert put(30, "tanh", "relu")[0] == paths


def test_pictures_are_normalised_over_the_batch_where_it_is_large_enough():
    def norms(family, size):
        present = dataclasses.replace(dense(9, batch_size=size), family=family)
        offered = [edit.value for edit, _ in signal.candidates(case_of(), present) if edit.kind == "normalisation"]
        (chosen,) = (edit.value for edit in preset((), present) if edit.kind == "normalisation")
        assert chosen == offered[0]
        return offered

    assert norms("convolutional", 64.0) == ["batch", "layer"]
    assert norms("convolutional", 4.0) == norms("dense", 64.0) == ["layer"]


def test_the_preset_has_every_correctness_fix_and_only_what_changes_something():
    case = case_of(2.0)
    present = dense(12, "tanh")
    made = preset(prescribe(case, (), present_of(case)), present)
    kinds = [edit.kind for edit in made]
    assert {"loss", "activation", "initialisation", "normalisation", "residual", "learning_rate", "clip_norm"} <= set(kinds)
    assert "optimizer" not in kinds and len(kinds) == len(set(kinds))
    assert "activation" not in [edit.kind for edit in preset((), dense(3))]


def test_edits_are_made_in_an_order_in_which_none_undoes_another():
    made = in_order([Edit(kind) for kind in EDITS])
    place = {edit.kind: at for at, edit in enumerate(made)}
    for first, then in (
        ("width", "initialisation"),
        ("cell", "initialisation"),
        ("activation", "initialisation"),
        ("normalisation", "optimizer"),
        ("unfreeze", "optimizer"),
        ("optimizer", "learning_rate"),
        ("optimizer", "momentum"),
        ("input_scale", "rescale"),
    ):
        assert place[first] < place[then], (first, then)


def test_every_kind_of_edit_has_a_place_in_the_order_of_trials():
    assert {tier(Edit(kind, 1.0)) for kind in EDITS} == {0, 1, 2, 3, 4, 5}


def test_a_random_edit_has_the_size_that_was_asked_for_and_none_of_the_kinds_that_were_not():
    pool = [
        Edit("clip_norm", 1.0),
        Edit("learning_rate", 0.1),
        Edit("learning_rate", 0.2),
        Edit("residual"),
        Edit("width", 2.0),
    ]
    draw = random.Random(0)
    seen = set()
    for size in (1, 2, 3, 4) * 20:
        edits = drawn(pool, size, draw.random, [Edit("learning_rate", 0.5)])
        seen |= {edit.kind for edit in edits}
        assert sum(edit.size for edit in edits) == size and len({edit.kind for edit in edits}) == len(edits)
    assert seen == {"clip_norm", "residual", "width"}
    assert drawn([], 1, draw.random) == ()
    assert drawn([Edit("residual")], 1, draw.random) == (Edit("residual"),)  # the nearest there is


def test_random_combinations_hold_each_kind_once():
    pool = [Edit("clip_norm", 1.0), Edit("learning_rate", 0.1), Edit("learning_rate", 0.2), Edit("residual")]
    endless = combinations(pool, random.Random(0).random)
    for edits, _ in zip(endless, range(50), strict=False):
        assert 1 <= len(edits) <= 3 and len({edit.kind for edit in edits}) == len(edits)


def test_a_network_of_any_depth_is_given_isometry_first_at_a_rate_over_its_depth_where_it_is_plain():
    proposed = [Proposal(Edit("activation", "relu"), ""), Proposal(Edit("residual"), "")]
    pairs = companions(proposed, dense(100, "sigmoid", learning_rate=3e-3))
    assert [edit.value for edit in pairs[0]] == ["tanh", "orthogonal", 2e-4]
    assert [edit.value for edit in pairs[1]] == ["relu", None, "fixup"], "paths from nothing come next"
    rates_of = {depth: weights.isometry(dense(depth, "tanh", learning_rate=3e-3))[-1].value for depth in (20, 50, 200)}
    assert rates_of == {20: 1e-3, 50: 3e-4, 200: 1e-4}
    assert [edit.kind for edit in weights.isometry(dense(30, "tanh", learning_rate=0.1))] == ["initialisation", "learning_rate"]
    pictures = dataclasses.replace(dense(100, learning_rate=3e-3), family="convolutional")
    assert "delta_orthogonal" in [edit.value for edit in weights.isometry(pictures)]


@pytest.mark.parametrize("family", ["attention", "recurrent"])
def test_isometry_is_not_for_networks_that_are_shallow_or_of_another_kind(family):
    deep = dense(100, learning_rate=3e-3)
    assert weights.isometry(dense(10, learning_rate=3e-3)) == () == weights.isometry(dataclasses.replace(deep, family=family))
    assert weights.isometry(dense(100)) == (), "the rate is not known"


def test_a_run_of_few_steps_is_longer_in_the_preset():
    longer, twice = (Proposal(Edit("steps", to, before=steps), "value", True) for steps, to in ((25.0, 80.0), (60.0, 120.0)))
    assert longer.edit in preset((longer,), dense(3)) and twice.edit not in preset((twice,), dense(3))
