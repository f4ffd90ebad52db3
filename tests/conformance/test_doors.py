"""Every door shows the same network in the same way as the NumPy network whose backward pass is written by hand."""

import contextlib
import dataclasses
import math

import pytest
from conformance_doors import Case, reference

from isograd.errors import IsogradError
from isograd.health import signals
from isograd.records.edit import EDITS, VALUES, Edit

STEPS = 3  # every one of them a deep look
TOLERANCE = 1e-12
"""Of the tensor's largest magnitude."""


def observed(patient, batch, steps=STEPS):
    return patient.observe([batch] * steps, steps)


def agree(found, expected):
    """Two Moments of what should be the same tensor."""
    assert (found is None) == (expected is None)
    if found is None:
        return
    assert (found.count, found.nans, found.infs) == (expected.count, expected.nans, expected.infs)
    assert found.zeros == expected.zeros
    largest = max(expected.largest, 1e-300)
    assert abs(found.largest - expected.largest) <= TOLERANCE * largest
    assert abs(found.rms - expected.rms) <= TOLERANCE * largest
    assert abs(found.mean - expected.mean) <= TOLERANCE * largest


def test_nodes_are_the_same(door, case):
    mine, theirs = (d(case)[0].describe() for d in (door, reference))
    assert [(n.path, n.operation, n.inputs, n.shape, n.parameters) for n in mine.nodes] == [
        (n.path, n.operation, n.inputs, n.shape, n.parameters) for n in theirs.nodes
    ]
    assert [dict(n.settings) for n in mine.nodes] == [dict(n.settings) for n in theirs.nodes]
    assert mine.dtype == theirs.dtype == "float64"


def test_parameters_and_optimizer_are_the_same(door, case):
    mine, theirs = (d(case)[0].describe() for d in (door, reference))
    for found, expected in zip(mine.parameters, theirs.parameters, strict=True):
        assert (found.name, found.layer, found.shape, found.trainable, found.in_optimizer) == (
            expected.name,
            expected.layer,
            expected.shape,
            expected.trainable,
            expected.in_optimizer,
        )
        agree(found.values, expected.values)
    assert mine.optimizer.kind == theirs.optimizer.kind
    known = dict(theirs.optimizer.settings)
    assert {key: value for key, value in mine.optimizer.settings if key in known} == known


def test_losses_outputs_gradients_and_units_are_the_same_at_every_step(door, case):
    mine, theirs = (observed(*d(case)) for d in (door, reference))
    assert len(mine.steps) == STEPS and mine.parameters == theirs.parameters
    for found, expected in zip(mine.steps, theirs.steps, strict=True):
        assert found.index == expected.index
        assert found.loss == pytest.approx(expected.loss, rel=1e-12)
        assert found.learning_rate == expected.learning_rate
        assert found.gradient_norms == pytest.approx(expected.gradient_norms, rel=1e-11)
        agree(found.inputs[0].values, expected.inputs[0].values)
        assert found.inputs[0].shape == expected.inputs[0].shape
        ours, theirs = found.inputs[0].features, expected.inputs[0].features
        assert dataclasses.asdict(ours) == pytest.approx(dataclasses.asdict(theirs), rel=1e-6)
        assert [layer.where for layer in found.layers] == [layer.where for layer in expected.layers]
        for layer, wanted in zip(found.layers, expected.layers, strict=True):
            assert layer.examples == wanted.examples
            agree(layer.activation, wanted.activation)
            agree(layer.gradient, wanted.gradient)
            largest = max(wanted.gram.products)
            assert layer.gram.products == pytest.approx(wanted.gram.products, rel=TOLERANCE, abs=TOLERANCE * largest)
            if layer.where.startswith("act"):
                assert layer.units == wanted.units


def test_what_the_loss_was_given_is_the_same(door, case):
    mine, theirs = (observed(*d(case)) for d in (door, reference))
    for found, expected in zip(mine.steps, theirs.steps, strict=True):
        ((ours,), (wanted,)) = found.losses, expected.losses
        exact = ("function", "training", "reduction", "written", "head", "head_where", "base", "classes", "answers", "hits")
        for name in (*exact, "output_shape", "target_shape", "output_dtype", "target_dtype", "target_range", "weights"):
            assert getattr(ours, name) == getattr(wanted, name), name
        assert ours.value == pytest.approx(wanted.value, rel=1e-12)
        assert ours.floor == pytest.approx(wanted.floor, rel=1e-12, abs=1e-15)
        assert ours.output_range == pytest.approx(wanted.output_range, rel=1e-12)
        assert (ours.beyond, ours.shortfall) == pytest.approx((wanted.beyond, wanted.shortfall), rel=1e-12)
        assert ours.rows == (wanted.rows and pytest.approx(wanted.rows, rel=1e-9, abs=1e-9))
        agree(ours.output, wanted.output)
        agree(ours.target, wanted.target)
        assert (ours.agreement is None) == (wanted.agreement is None)
        if ours.agreement is not None:
            assert ours.agreement.ratio == pytest.approx(wanted.agreement.ratio, rel=1e-9)
            assert ours.agreement.cosine == pytest.approx(wanted.agreement.cosine, abs=1e-9)


def test_real_updates_are_the_same(door, case):
    mine, theirs = (observed(*d(case)) for d in (door, reference))
    for found, expected in zip(mine.steps, theirs.steps, strict=True):
        for sample, wanted in zip(found.parameters, expected.parameters, strict=True):
            assert sample.name == wanted.name
            agree(sample.weight, wanted.weight)
            agree(sample.gradient, wanted.gradient)
            # an update is the difference of two weights: it is known to the rounding of the weight
            slack = 1e-12 * (wanted.update.largest + wanted.weight.largest)
            assert abs(sample.update.rms - wanted.update.rms) <= slack
            assert abs(sample.update.largest - wanted.update.largest) <= slack
            if wanted.update.largest > 1e-6 * wanted.weight.largest:
                assert sample.motion.ratio == pytest.approx(wanted.motion.ratio, rel=1e-8)
                assert sample.motion.cosine == pytest.approx(wanted.motion.cosine, abs=1e-8)


def test_every_signal_is_the_same(door, case):
    mine, theirs = (signals.measure(observed(*d(case))) for d in (door, reference))
    assert mine.order == theirs.order
    for signal in (
        "activation_rms",
        "gradient_rms",
        "backward_slope",
        "weight_rms",
        "loss",
        "skill",
        "hit_rate",
        "output_spread",
    ):
        a, b = mine.of(signal), theirs.of(signal)
        assert [(r.where, r.step) for r in a] == [(r.where, r.step) for r in b]
        assert [r.value for r in a] == pytest.approx([r.value for r in b], rel=1e-9, abs=1e-300)


def test_observing_leaves_the_patient_as_it_was(door, case):
    patient, batch = door(case)
    before = patient.describe()
    first = observed(patient, batch)
    assert patient.describe() == before
    assert observed(patient, batch).steps == first.steps


@pytest.mark.parametrize(
    "edit",
    [
        Edit("learning_rate", 0.01),
        Edit("momentum", 0.5),
        Edit("weight_decay", 0.1),
        Edit("clip_norm", 1e-3),
        Edit("clip_norm", None),
        Edit("clip_value", 1e-3),
        Edit("clip_unit", 0.01),
        Edit("decay_l1", 0.03),
        Edit("decay_decoupled", 0.5),
        Edit("activation", "relu"),
    ],
    ids=lambda edit: f"{edit.kind}-{edit.value}",
)
def test_an_edit_changes_the_same_everywhere(door, case, edit):
    mine, theirs = (observed(d(case)[0].apply(edit), d(case)[1]) for d in (door, reference))
    for found, expected in zip(mine.steps, theirs.steps, strict=True):
        assert found.loss == pytest.approx(expected.loss, rel=1e-11)
        for sample, wanted in zip(found.parameters, expected.parameters, strict=True):
            slack = 1e-11 * (wanted.update.largest + wanted.weight.largest)
            assert abs(sample.update.rms - wanted.update.rms) <= slack


def test_activations_between_layers_that_have_none_are_put_in_the_same_everywhere_and_taken_out(door):
    case = Case((4, 6, 6, 3), "identity", "cross_entropy")
    (mine, batch), (theirs, arrays) = door(case), reference(case)
    edit = Edit("nonlinearity", "tanh")
    bent, wanted = mine.apply(edit), theirs.apply(edit)
    for found, expected in zip(observed(bent, batch).steps, observed(wanted, arrays).steps, strict=True):
        assert found.loss == pytest.approx(expected.loss, rel=1e-11)
    plain, back = (observed(p, batch).steps for p in (mine, bent.apply(edit.inverse)))
    assert [step.loss for step in back] == [step.loss for step in plain]
    assert [step.loss for step in plain] != [step.loss for step in observed(bent, batch).steps]
    first, _ = (
        observed(p.apply(Edit("nonlinearity", "tanh", where="layer0")), b) for p, b in ((mine, batch), (theirs, arrays))
    )
    assert first.steps[0].loss not in (plain[0].loss, observed(bent, batch).steps[0].loss)


def test_activations_are_not_put_in_beside_those_that_are_there(door, case):
    with pytest.raises(IsogradError):
        door(case)[0].apply(Edit("nonlinearity", "relu"))


def test_what_an_optimizer_remembers_is_forgotten_the_same_everywhere(door, case):
    (mine, batch), (theirs, arrays) = door(case), reference(case)
    if not case.momentum:
        return
    found, expected = (
        p.trained([b], 3).apply(Edit("reset_state")).trained([b], 2) for p, b in ((mine, batch), (theirs, arrays))
    )
    for one, wanted in zip(found.describe().parameters, expected.describe().parameters, strict=True):
        agree(one.values, wanted.values)


@pytest.mark.parametrize("kind", sorted(EDITS))
def test_an_edit_leaves_the_patient_it_came_from_as_it_was(door, case, kind):
    patient, batch = door(case)
    before, first = patient.describe(), observed(patient, batch)
    value = VALUES[kind][0] if kind in VALUES else 2.0 if "`value`" in EDITS[kind].text else None
    with contextlib.suppress(IsogradError):  # what a door or this program has not is refused in words
        observed(patient.apply(Edit(kind, value)), batch)
    assert patient.describe() == before
    assert observed(patient, batch).steps == first.steps


@pytest.mark.parametrize(
    ("rule", "square"), [("he", lambda i, o: 2 / i), ("lecun", lambda i, o: 1 / i), ("glorot", lambda i, o: 2 / (i + o))]
)
def test_an_initialisation_has_the_second_moment_it_is_named_for(door, rule, square):
    patient, _ = door(Case((200, 300, 100), "tanh", "squared_error"))
    for parameter in patient.apply(Edit("initialisation", rule)).describe().parameters:
        if len(parameter.shape) == 2:
            fan_out, fan_in = parameter.shape
            # 20,000 draws and more: three standard deviations of a mean square are below 4 %
            assert parameter.values.rms**2 == pytest.approx(square(fan_in, fan_out), rel=0.04)
        else:
            assert parameter.values.largest == 0.0


def test_an_orthogonal_initialisation_keeps_the_norm(door):
    patient, _ = door(Case((8, 8, 8), "tanh", "squared_error"))
    for parameter in patient.apply(Edit("initialisation", "orthogonal")).describe().parameters:
        if len(parameter.shape) == 2:
            assert parameter.values.norm == pytest.approx(math.sqrt(8), rel=1e-10)


def test_an_edit_of_one_place_leaves_the_others(door):
    patient, _ = door(Case((4, 5, 6, 3), "tanh", "squared_error"))
    after = patient.apply(Edit("activation", "relu", where="act1")).describe()
    assert [n.get("function", "") for n in after.nodes if n.operation == "activation"] == ["tanh", "relu"]
    drawn = patient.apply(Edit("initialisation", "he", where="layer1")).describe()
    same = [a.values == b.values for a, b in zip(drawn.parameters, patient.describe().parameters, strict=True)]
    assert same == [True, True, False, False, True, True]


@pytest.mark.parametrize("edit", [Edit("activation", "snake"), Edit("initialisation", "prayer"), Edit("learning_rate", "fast")])
def test_an_edit_that_makes_no_sense_is_refused(door, edit):
    with pytest.raises(IsogradError):
        door(Case((4, 5, 3), "tanh", "squared_error"))[0].apply(edit)


def test_training_and_judging_are_the_same(door, case):
    (mine, batch), (theirs, arrays) = door(case), reference(case)
    found, expected = mine.trained([batch], 5), theirs.trained([arrays], 5)
    for one, wanted in zip(found.describe().parameters, expected.describe().parameters, strict=True):
        agree(one.values, wanted.values)
    for steps in (0, 5):
        one, wanted = mine.trained([batch], steps).judge([batch]), theirs.trained([arrays], steps).judge([arrays])
        assert one.examples == wanted.examples
        assert one.value == pytest.approx(wanted.value, abs=2e-3)  # two minimisers, each with its own patience


def test_training_leaves_the_patient_as_it_was(door, case):
    patient, batch = door(case)
    before = patient.describe()
    patient.trained([batch], 2).judge([batch])
    assert patient.describe() == before


def test_a_look_in_the_middle_changes_nothing_and_may_end_it(door, case):
    patient, batch = door(case)
    shown = []

    def seen(step, now):
        shown.append((step, now.judge([batch]).value))
        return step == 4

    whole, looked = patient.trained([batch], 4), patient.trained([batch], 9, (2, 4, 6), seen)
    assert [step for step, _ in shown] == [2, 4]
    assert shown[0][1] == patient.trained([batch], 2).judge([batch]).value
    for one, wanted in zip(looked.describe().parameters, whole.describe().parameters, strict=True):
        assert one.values == wanted.values


def test_a_network_that_learns_gains_skill(door):
    patient, batch = door(Case((6, 8, 8, 8, 3), "relu", "cross_entropy"))
    learned = patient.apply(Edit("momentum", 0.9)).trained([batch], 200)
    assert learned.judge([batch]).value > 0.8 > 0.2 > patient.judge([batch]).value


def test_to_be_born_again_is_decided_by_the_seed(door, case):
    patient, batch = door(case)
    first, again, other = (patient.reborn(seed) for seed in (1, 1, 2))
    assert first.describe() == again.describe()
    assert observed(first, batch).steps == observed(again, batch).steps
    weights = [[p.values for p in one.describe().parameters if len(p.shape) == 2] for one in (patient, first, other)]
    for a, b, c in zip(*weights, strict=True):
        assert a != b and b != c
