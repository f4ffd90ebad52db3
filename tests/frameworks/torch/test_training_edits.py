"""Edits of the loop and the optimizer: each is what torch itself does, and is taken back by its inverse."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from torch_patients import near, other_batches, patient_of, same, weights

from isograd.errors import ModelError
from isograd.frameworks.torch.edits import ACTIVATIONS, USUAL
from isograd.records.edit import EDITS, VALUES, Edit
from isograd.records.loop import Loop

BATCHES = other_batches(3)


def trained(edit, steps=6, **changes):
    return patient_of(**changes)[0].apply(edit).trained(BATCHES, steps)


def by_hand(step, steps=6, scheduler=None, optimizer=torch.optim.SGD, **settings):
    """A loop as a person would write it, on the same program."""
    patient, _ = patient_of()
    model = patient.models[0].train()
    optimizer = optimizer(model.parameters(), **(settings or {"lr": 0.1, "momentum": 0.5}))
    scheduler = scheduler and scheduler(optimizer)
    for index in range(steps):
        optimizer.zero_grad()
        step(model, optimizer, index)
        if scheduler:
            scheduler.step()
    return patient


def plain(model, optimizer, index, *, change=lambda model, optimizer: None):
    x, y = BATCHES[index % 3]
    F.cross_entropy(model(x), y).backward()
    change(model, optimizer)
    optimizer.step()


def test_the_names_that_edits_know_are_those_that_the_door_knows():
    assert set(VALUES["optimizer"]) == set(USUAL) and set(VALUES["activation"]) == set(ACTIVATIONS)
    assert set(VALUES) <= set(EDITS)


def test_a_cosine_is_that_of_torch():
    wanted = by_hand(plain, scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 6))
    assert near(trained(Edit("schedule", "cosine")), wanted)


def test_a_linear_decay_is_that_of_torch():
    wanted = by_hand(plain, scheduler=lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 6))
    assert near(trained(Edit("schedule", "linear")), wanted)


def test_a_warm_up_begins_with_a_part_of_the_rate():
    wanted = by_hand(plain, scheduler=lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda t: min(1.0, (t + 1) / 4)))
    assert near(trained(Edit("warm_up", 4.0)), wanted)


def test_a_schedule_keeps_the_proportion_of_the_groups_and_its_length_is_that_of_the_announced_run():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    groups = [{"params": model[0].parameters(), "lr": 0.2}, {"params": model[2].parameters(), "lr": 0.02}]
    patient, _ = patient_of(model, optimizer=torch.optim.SGD(groups), loop=Loop(steps=12))
    rates = [group["lr"] for group in patient.apply(Edit("schedule", "linear")).trained(BATCHES, 7).optimizer.param_groups]
    assert rates == pytest.approx([0.1, 0.01])


def test_a_program_that_warms_up_from_nothing_is_replayed_and_its_warm_up_taken_away():
    recorded = Loop(rates=((1, 0.0), (2, 0.05), (3, 0.1), (5, 0.01)))
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    optimizer.param_groups[0].update(lr=0.0, initial_lr=0.1)
    patient, _ = patient_of(model, optimizer=optimizer, loop=recorded)
    assert same(patient.trained(BATCHES, 1), patient) and not same(patient.trained(BATCHES, 2), patient)
    steady, _ = patient_of(nn.Sequential(*model), optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5))
    assert near(patient.apply(Edit("warm_up")).trained(BATCHES, 4), steady.trained(BATCHES, 4))
    assert patient.apply(Edit("learning_rate", 0.2)).loop.rates[2] == (3, pytest.approx(0.2))


def test_a_rate_that_a_program_warms_up_to_is_the_one_that_an_edit_changes():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.025)
    patient, _ = patient_of(model, optimizer=optimizer, loop=Loop(rates=((1, 0.025), (2, 0.25), (3, 0.5), (5, 0.1))))
    slower = patient.apply(Edit("learning_rate", 0.1))
    rates = [slower.trained(BATCHES, steps).optimizer.param_groups[0]["lr"] for steps in (1, 2, 3, 5)]
    assert rates == pytest.approx([0.005, 0.05, 0.1, 0.02])


@pytest.mark.parametrize(
    ("edit", "change"),
    [
        (Edit("clip_norm", 0.1), lambda m, o: nn.utils.clip_grad_norm_(m.parameters(), 0.1)),
        (Edit("clip_value", 0.01), lambda m, o: nn.utils.clip_grad_value_(m.parameters(), 0.01)),
        (Edit("decay_l1", 0.03), lambda m, o: [p.grad.add_(0.03 * p.detach().sign()) for p in m.parameters()]),
    ],
    ids=lambda one: getattr(one, "kind", ""),
)
def test_gradients_are_changed_between_the_backward_pass_and_the_step(edit, change):
    wanted = by_hand(lambda m, o, i: plain(m, o, i, change=change))
    assert near(trained(edit), wanted) and not near(trained(edit), patient_of()[0].trained(BATCHES, 6), 1e-4)

    def own(model, optimizer, batch):  # a step function of the person's own gets the same
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    assert near(trained(edit, step=own), wanted)


def test_clipping_by_unit_bounds_each_row_by_its_own_weights():
    edited = trained(Edit("clip_unit", 0.01), 1, optimizer=None)
    before, after = weights(patient_of()[0]), weights(edited)
    for old, new in zip(before, after, strict=True):
        rows = (0.1 * 0.01 * old.flatten(1).norm(dim=1)) if old.ndim > 1 else 0.1 * 0.01 * old.norm()[None]
        moved = (new - old).flatten(1).norm(dim=1) if old.ndim > 1 else (new - old).norm()[None]
        assert (moved <= rows * 1.001 + 1e-8).all()
    assert near(trained(Edit("clip_unit", 1e9)), patient_of()[0].trained(BATCHES, 6))


def test_one_clipping_takes_the_place_of_another():
    loop = patient_of(loop=Loop(clip_norm=1.0))[0].apply(Edit("clip_unit", 0.02)).loop
    assert (loop.clip_norm, loop.clip_value, loop.clip_unit) == (None, None, 0.02)


def test_decoupled_decay_is_what_makes_adam_adamw():
    wanted = by_hand(plain, optimizer=torch.optim.AdamW, lr=0.01, weight_decay=0.3)
    patient, _ = patient_of()
    adam = dataclasses.replace(patient, optimizer=torch.optim.Adam(patient.models[0].parameters(), lr=0.01))
    assert same(adam.apply(Edit("decay_decoupled", 0.3)).trained(BATCHES, 6), wanted)


def test_two_batches_a_step_are_one_batch_of_both():
    joined = [tuple(torch.cat([BATCHES[a][at], BATCHES[b][at]]) for at in (0, 1)) for a, b in ((0, 1), (2, 0), (1, 2))]
    assert near(trained(Edit("accumulate", 2.0), 3), patient_of()[0].trained(joined, 3))


def test_a_power_of_two_as_loss_scale_changes_no_digit_and_one_too_large_costs_the_step_alone():
    assert same(trained(Edit("loss_scale", 2.0**12)), patient_of()[0].trained(BATCHES, 6))
    assert same(trained(Edit("loss_scale", 3e38), 1, loss=lambda out, y: 10.0 * F.cross_entropy(out, y)), patient_of()[0])
    with pytest.raises(ModelError, match="half precision themselves"):
        patient_of(nn.Linear(4, 3).half())[0].apply(Edit("loss_scale", 8.0))


@pytest.mark.parametrize("name", USUAL)
def test_every_optimizer_moves_every_parameter(name):
    before, after = weights(patient_of()[0]), weights(trained(Edit("optimizer", name), 1))
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_batch_is_left_out_each_time_round():
    assert same(trained(Edit("skip_batch", 2.0)), patient_of()[0].trained([BATCHES[0], BATCHES[2]], 6))
    assert same(trained(Edit("skip_batch", "1, 3"), 2), patient_of()[0].trained([BATCHES[1]], 2))
    with pytest.raises(ModelError, match="every batch is left out"):
        trained(Edit("skip_batch", "1,2,3"))


def test_an_optimizer_forgets_what_it_remembers_of_one_layer_or_all():
    running = patient_of()[0].trained(BATCHES, 4)
    assert not running.apply(Edit("reset_state")).optimizer.state and running.optimizer.state
    one = running.apply(Edit("reset_state", where="0"))
    assert len(one.optimizer.state) == 2 and one.models[0][2].weight in one.optimizer.state
    with pytest.raises(ModelError, match="remembers nothing"):
        patient_of()[0].apply(Edit("reset_state"))


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (Edit("schedule", "sawtooth"), "no schedule is called"),
        (Edit("warm_up", 2.5), "whole number"),
        (Edit("accumulate", 0.0), "whole number from 1"),
        (Edit("clip_value", -1.0), "above 0"),
        (Edit("skip_batch", "the third"), "places counted from 1"),
        (Edit("skip_batch", 0.0), "counted from 1"),
        (Edit("precision", "float8"), "no precision"),
        (Edit("reset_state", where="nowhere"), "of this name"),
    ],
    ids=lambda one: getattr(one, "kind", ""),
)
def test_what_makes_no_sense_is_refused_in_words(edit, text):
    with pytest.raises(ModelError, match=text):
        patient_of()[0].apply(edit)


def test_what_is_inside_a_step_function_is_not_reached():
    mine, _ = patient_of(step=lambda model, optimizer, batch: None, loop=Loop(clip_norm=1.0))
    for edit in (Edit("clip_norm"), Edit("accumulate", 2.0), Edit("loss_scale", 8.0), Edit("loss")):
        with pytest.raises(ModelError, match="step function"):
            mine.apply(edit)


BACK = [
    Edit("clip_norm", 0.1),
    Edit("clip_value", 0.01),
    Edit("clip_unit", 0.01),
    Edit("schedule", "cosine"),
    Edit("warm_up", 3.0),
    Edit("accumulate", 2.0),
    Edit("loss_scale", 1000.0),
    Edit("decay_l1", 0.1),
    Edit("decay_decoupled", 0.1),
    Edit("learning_rate", 0.3, before=0.1),
    Edit("momentum", 0.9, before=0.5),
    Edit("weight_decay", 0.2, before=0.0),
    Edit("skip_batch", 1.0),
    Edit("batch_size", 4.0),
    Edit("shuffle"),
    Edit("input_scale", "standard"),
    Edit("clear_gradients", "off"),
    Edit("train_mode", "off"),
    Edit("fresh_batches", "off"),
    Edit("keep_graph"),
    Edit("dropout", 0.4, before=0.2),
    Edit("precision", "float64", before="float32"),
    Edit("activation", "tanh", before="relu"),
]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(BACK), min_size=1, max_size=3, unique_by=lambda edit: edit.kind.partition("_")[0]))
def test_edits_taken_back_in_reverse_leave_the_training_as_it_was(edits):
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 3))
    patient, _ = patient_of(model)
    edited = patient
    for edit in edits:
        edited = edited.apply(edit)
    for edit in reversed(edits):
        edited = edited.apply(edit.inverse)
    assert same(edited.trained(BATCHES, 4), patient.trained(BATCHES, 4))


@pytest.mark.parametrize("edit", BACK, ids=lambda edit: edit.kind)
def test_an_edit_changes_the_training_of_a_copy_and_nothing_of_the_original(edit):
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 3))
    patient, _ = patient_of(model)
    before, expected = weights(patient), weights(patient.trained(BATCHES, 4))
    torch.manual_seed(5)
    drawn = torch.random.get_rng_state()
    changed = patient.apply(edit).trained([(x, y) for x, y in BATCHES], 4)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    if edit.kind != "keep_graph":  # nothing is detached here
        assert any(a.dtype != b.dtype or not torch.equal(a, b) for a, b in zip(weights(changed), expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(weights(patient), before, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(weights(patient.trained(BATCHES, 4)), expected, strict=True))


class Bent(nn.Module):
    """Two kinds of activation, as modules and as calls."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.leaky, self.tanh = nn.LeakyReLU(0.3), nn.Tanh()

    def forward(self, x):
        return self.c(F.leaky_relu(torch.tanh(self.tanh(self.b(self.leaky(self.a(x))))), 0.2))


def test_only_what_an_activation_replaced_gives_way_again():
    patient, _ = patient_of(Bent())
    edit = Edit("activation", "tanh", before="leaky_relu")
    edited = patient.apply(edit)
    assert not same(edited.trained(BATCHES, 2), patient.trained(BATCHES, 2))
    assert same(edited.apply(edit.inverse).trained(BATCHES, 2), patient.trained(BATCHES, 2))


def test_an_optimizer_that_evaluates_several_times_a_step_shrinks_weights_once():
    model = nn.Linear(4, 3)
    patient, _ = patient_of(model, optimizer=torch.optim.LBFGS(model.parameters(), lr=0.0, max_iter=3))
    after = patient.apply(Edit("decay_decoupled", 0.5))
    assert same(after.trained(BATCHES, 1), patient)  # nothing times a rate of zero
    patient.optimizer.param_groups[0]["lr"] = 0.2
    patient.optimizer.param_groups[0]["max_iter"] = 0
    small = patient.apply(Edit("decay_decoupled", 0.5)).trained(BATCHES, 1)
    assert all(torch.allclose(a, 0.9 * b) for a, b in zip(weights(small), weights(patient), strict=True))


class Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(9, 4, sparse=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.words(x).mean(1))


@pytest.mark.parametrize(
    "edit", [Edit("clip_norm", 1.0), Edit("decay_l1", 0.1), Edit("optimizer", "adam")], ids=lambda e: e.kind
)
def test_what_sparse_gradients_do_not_allow_is_told_as_such(edit):
    batch = (torch.randint(0, 9, (8, 5)), torch.randint(0, 3, (8,)))
    patient, _ = patient_of(Sparse(), batch=batch, optimizer=None)
    with pytest.raises(ModelError, match=r"torch says"):
        patient.apply(edit).trained([batch], 1)
    assert not same(patient.apply(Edit("loss_scale", 4.0)).trained([batch], 1), patient)
    assert not same(patient.apply(Edit("clip_unit", 0.1)).trained([batch], 1), patient)


def test_the_loss_of_a_model_that_gives_its_own_is_not_exchanged():
    with pytest.raises(ModelError, match="inside the model"):
        dataclasses.replace(patient_of()[0], loss=None).apply(Edit("loss"))
