"""Each edit does what it says to a copy, and refuses in words where a program has nothing that it could change."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isograd.errors import ModelError, RequestError
from isograd.frameworks.torch.edits import draw_again
from isograd.frameworks.torch.fitting import fitting_loss, matched
from isograd.frameworks.torch.judging import WORST, skill_of
from isograd.frameworks.torch.patient import TorchPatient
from isograd.frameworks.torch.stepping import check_step
from isograd.records.edit import Edit
from isograd.records.loop import Loop


def patient_of(model=None, loss=F.cross_entropy, batch=None, optimizer=None, **changes):
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    batch = batch or (torch.randn(16, 4), torch.randint(0, 3, (16,)))
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    return dataclasses.replace(TorchPatient.copy_of(model, batch, loss, optimizer), **changes), batch


def weights(patient):
    return [p.detach().clone() for p in patient.models[0].parameters()]


def moved(patient, batch, steps=1):
    after = weights(patient.trained([batch], steps))
    return [not torch.equal(a, b) for a, b in zip(weights(patient), after, strict=True)]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_gradients_that_are_never_cleared_add_up_until_the_edit_clears_them():
    sick, batch = patient_of(loop=Loop(clears=0))
    sound, _ = patient_of()
    assert not same(sick.trained([batch], 3), sound.trained([batch], 3))
    assert same(sick.apply(Edit("clear_gradients")).trained([batch], 3), sound.trained([batch], 3))


def test_gradients_that_are_cleared_too_early_move_nothing():
    sick, batch = patient_of(loop=Loop(clears_early=True))
    assert not any(moved(sick, batch))
    assert all(moved(sick.apply(Edit("clear_gradients")), batch))


def test_what_an_edit_draws_and_what_dropout_drops_follow_the_seed_of_the_patient():
    dropping = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))
    one, batch = patient_of(dropping)
    other = dataclasses.replace(one, seed=1)
    assert same(one.trained([batch], 2), one.trained([batch], 2)) and not same(
        one.trained([batch], 2), other.trained([batch], 2)
    )
    edit = Edit("initialisation", "he")
    assert same(one.apply(edit), one.apply(edit)) and not same(one.apply(edit), other.apply(edit))


def test_weights_that_are_drawn_again_begin_behind_norms_that_begin_as_usual_too_but_for_a_branch_from_nothing():
    net = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 3))
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 1:
                parameter.fill_(-10.0)
        net[4].weight.zero_()
    patient, _ = patient_of(net)
    drawn = patient.apply(Edit("initialisation", "he")).models[0]
    assert bool((drawn[1].bias == 0.0).all()) and bool((drawn[1].weight == 1.0).all())
    assert not drawn[4].weight.any() and not drawn[4].bias.any()
    elsewhere = patient.apply(Edit("initialisation", "he", "0")).models[0]
    assert bool((elsewhere[1].bias == -10.0).all()) and bool((elsewhere[0].bias == 0.0).all())


@pytest.mark.parametrize("edit", [Edit("activation", "relu", before="sigmoid"), Edit("last")])
def test_an_exchanged_function_stays_exchanged_after_a_look_in_the_middle(edit):
    class Calls(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return torch.softmax(self.two(torch.sigmoid(self.one(x))), 1)

    patient, batch = patient_of(Calls())
    edited, shown = patient.apply(edit), []
    looked = edited.trained([batch], 6, (3,), lambda step, now: bool(shown.append(now.judge([batch]).value)))
    assert same(looked, edited.trained([batch], 6)) and shown == [edited.trained([batch], 3).judge([batch]).value]


@pytest.mark.parametrize(
    ("habit", "edit"),
    [
        (Loop(same_batch=True), Edit("fresh_batches")),
        (Loop(rates=((1, 0.1), (2, 0.001))), Edit("constant_rate")),
        (Loop(redraws=2), Edit("keep_weights")),
        (Loop(idle=True), Edit("take_steps")),
        (Loop(cut=True), Edit("keep_graph")),
        (Loop(clip_norm=1e-3), Edit("clip_norm", None)),
        (Loop(clip_value=1e-4), Edit("clip_norm", None)),
    ],
)
def test_a_bad_habit_of_the_loop_is_replayed_and_taken_back(habit, edit):
    sick, batch = patient_of(loop=habit)
    sound, _ = patient_of()
    batches = [batch, (batch[0] + 1.0, batch[1])]
    assert not same(sick.trained(batches, 4), sound.trained(batches, 4))
    assert same(sick.apply(edit).trained(batches, 4), sound.trained(batches, 4))


def test_evaluation_mode_keeps_dropout_off_until_the_edit():
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3))
    sick, batch = patient_of(model, loop=Loop(evaluating=True))
    sound, _ = patient_of(model)
    assert not same(sick.trained([batch], 2), sound.trained([batch], 2))
    assert same(sick.apply(Edit("train_mode")).trained([batch], 2), sound.trained([batch], 2))


def test_parameters_that_the_optimizer_does_not_hold_are_given_to_it():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    sick, batch = patient_of(model, optimizer=torch.optim.SGD(model[2].parameters(), lr=0.1))
    assert moved(sick, batch) == [False, False, True, True]
    assert all(moved(sick.apply(Edit("parameters")), batch))
    with pytest.raises(ModelError, match="holds every parameter"):
        patient_of()[0].apply(Edit("parameters"))


def test_layers_in_a_plain_list_are_found_and_given_to_the_optimizer():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.rest = nn.Linear(4, 6), [nn.Linear(6, 3)]

        def forward(self, x):
            return self.rest[0](self.first(x))

    sick, batch = patient_of(Hidden())
    learned = sick.apply(Edit("parameters")).trained([batch], 1)
    assert not torch.equal(learned.models[0].rest[0].weight, sick.models[0].rest[0].weight)


def test_frozen_layers_learn_after_the_edit():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    optimizer = torch.optim.SGD(list(model.parameters())[2:], lr=0.1)
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    sick, batch = patient_of(model, optimizer=optimizer)
    assert moved(sick, batch)[:2] == [False, False]
    assert all(moved(sick.apply(Edit("unfreeze")), batch))


@pytest.mark.parametrize(("kind", "value", "read"), [("momentum", 0.7, "momentum"), ("weight_decay", 0.3, "weight_decay")])
def test_a_constant_is_set_in_every_group(kind, value, read):
    edited = patient_of()[0].apply(Edit(kind, value))
    assert edited.optimizer.param_groups[0][read] == value
    with pytest.raises(ModelError, match="has no beta1"):
        edited.apply(Edit("beta1", 0.9))


def test_a_learning_rate_keeps_the_form_of_the_schedule():
    edited = patient_of(loop=Loop(rates=((1, 0.1), (5, 0.05))))[0].apply(Edit("learning_rate", 0.01))
    assert edited.loop.rates == ((1, pytest.approx(0.01)), (5, pytest.approx(0.005)))


def test_a_longer_run_stretches_its_schedule():
    edited = patient_of(loop=Loop(rates=((1, 0.1), (11, 0.01)), steps=20))[0].apply(Edit("steps", 80.0))
    assert edited.loop.rates == ((1, 0.1), (41, 0.01)) and edited.loop.steps == 80


def test_inputs_and_targets_are_standardised_for_training_and_judging():
    x = torch.randn(64, 3) * torch.tensor([1.0, 1e4, 0.0]) + 500.0
    x[3, 0] = torch.nan
    y = 7_000.0 + 100.0 * torch.randn(64, 1)
    made, batch = patient_of(nn.Linear(3, 1), F.mse_loss, (x, y))
    inputs, targets = made.apply(Edit("input_scale")).apply(Edit("target_scale")).data.scaled(batch)
    assert torch.isfinite(inputs).all() and inputs[:, 1].std() == pytest.approx(1.0, abs=0.02) and not inputs[:, 2].any()
    assert targets.mean() == pytest.approx(0.0, abs=1e-3) and targets.std() == pytest.approx(1.0, abs=0.02)
    with pytest.raises(ModelError, match="no numbers that could be scaled"):
        patient_of()[0].apply(Edit("target_scale"))


def test_examples_are_mixed_and_cut_to_another_size_without_losing_any():
    batches = [(torch.full((4, 2), float(i)), torch.full((4,), i)) for i in range(4)]
    made = patient_of()[0].apply(Edit("shuffle")).apply(Edit("batch_size", 8.0)).data.prepared(batches)
    assert [len(x) for x, _ in made] == [8, 8]
    assert sorted(int(i) for _, y in made for i in y) == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert len(set(made[0][1].tolist())) > 2 and all(torch.equal(x[:, 0].long(), y) for x, y in made)


def test_examples_that_are_padded_by_the_batch_are_not_mixed_and_that_is_said():
    batches = [(torch.zeros(4, length, 2), torch.zeros(4).long()) for length in (5, 7)]
    made = patient_of()[0].apply(Edit("shuffle"))
    with pytest.raises(ModelError, match=r"do not fit into another.*padded(?s:.*)\(5, 2\) and \(7, 2\) an example"):
        made.data.prepared(batches)
    assert len(made.data.prepared(batches[:1])) == 1


def test_a_last_function_is_left_out_and_the_loss_made_to_fit():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3), nn.Softmax(dim=-1))
    sick, batch = patient_of(model, lambda out, y: -F.cross_entropy(out, y))
    plain = nn.Sequential(*list(model)[:3])
    sound, _ = patient_of(plain, optimizer=torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.5))
    assert same(sick.apply(Edit("loss")).trained([batch], 2), sound.trained([batch], 2))
    with pytest.raises(ModelError, match="no function comes after"):
        patient_of()[0].apply(Edit("last"))


class Written(nn.Module):
    """Everything between the layers is written as functions; the first layer is cut off by ``detach`` where asked for."""

    def __init__(self, curve, cut=""):
        super().__init__()
        self.a, self.b, self.curve, self.cut = nn.Linear(4, 6), nn.Linear(6, 3), curve, cut

    def forward(self, x):
        if self.cut == "no_grad":
            with torch.no_grad():
                x = self.a(x)
        else:
            x = self.a(x)
        return self.b(self.curve(x.detach() if self.cut == "detach" else x))


@pytest.mark.parametrize("cut", ["detach", "no_grad"])
def test_what_was_detached_stays_in_the_graph(cut):
    sick, batch = patient_of(Written(F.relu, cut))
    assert moved(sick, batch) == [False, False, True, True]
    assert all(moved(sick.apply(Edit("keep_graph")), batch))
    assert moved(sick, batch) == [False, False, True, True]


@pytest.mark.parametrize("called", [torch.sigmoid, F.softshrink, F.tanhshrink, F.softsign, F.hardswish])
def test_an_activation_that_is_a_function_call_is_exchanged_by_name(called):
    sick, batch = patient_of(Written(called))
    torch.manual_seed(0)
    sound, _ = patient_of(Written(F.relu))
    sound = dataclasses.replace(sound, models=sick.copy().models)
    sound.models[0].curve = F.relu
    sound = dataclasses.replace(sound, optimizer=torch.optim.SGD(sound.models[0].parameters(), lr=0.1, momentum=0.5))
    edited = sick.apply(Edit("activation", "relu", before=called.__name__))
    assert same(edited.trained([batch], 2), sound.trained([batch], 2))


def test_dropout_is_set_in_modules_and_functions():
    edited = patient_of(nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.9)))[0].apply(Edit("dropout", 0.0))
    assert edited.models[0][1].p == 0.0 and edited.manner.dropout == 0.0


def test_half_precision_becomes_float32_in_model_and_data():
    model = nn.Sequential(nn.Linear(4, 3)).half()
    edited, batch = patient_of(model, batch=(torch.randn(8, 4).half(), torch.randint(0, 3, (8,))))
    trained = edited.apply(Edit("precision")).trained([batch], 1)
    assert next(trained.models[0].parameters()).dtype == torch.float32


def test_hidden_layers_are_widened_normalised_and_given_paths_around_them():
    torch.manual_seed(0)
    deep = nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 3))
    made, batch = patient_of(deep)
    wide = made.apply(Edit("width", 8.0))
    assert [p.shape for p in wide.models[0].parameters() if p.ndim == 2] == [(16, 4), (16, 16), (3, 16)]
    for edit in (Edit("width", 8.0), Edit("normalisation", "layer"), Edit("residual")):
        assert all(moved(made.apply(edit), batch))
    images = nn.Sequential(nn.Conv1d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(8, 3))
    with pytest.raises(ModelError, match="only a chain of linear"):
        patient_of(images, batch=(torch.randn(8, 4, 4), batch[1][:8]))[0].apply(Edit("width", 2.0))


def test_convolutions_are_widened_with_their_norms_and_what_reads_all_their_places():
    images = nn.Sequential(
        *(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1), nn.Tanh(), nn.Conv2d(1, 2, 3, padding=1), nn.GroupNorm(2, 2), nn.Tanh()),
        *(nn.Flatten(), nn.Linear(2 * 6 * 6, 4), nn.LayerNorm(4), nn.Linear(4, 3)),
    )
    made, batch = patient_of(images, batch=(torch.randn(8, 1, 8, 8), torch.randint(0, 3, (8,))))
    wide = made.apply(Edit("width", 4.0))
    shapes = [tuple(p.shape) for p in wide.models[0].parameters() if p.ndim > 1]
    assert shapes == [(4, 1, 3, 3), (8, 4, 3, 3), (16, 8 * 36), (3, 16)]
    assert all(there for there, old in zip(moved(wide, batch), weights(wide), strict=True) if old.ndim > 1)
    assert tuple(images[0].weight.shape) == (1, 1, 3, 3)


class Reader(nn.Module):
    """Words through an embedding and a GRU to a head."""

    def __init__(self):
        super().__init__()
        self.words, self.rnn, self.head = nn.Embedding(9, 2), nn.GRU(2, 2, batch_first=True), nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.rnn(self.words(x))[0][:, -1])


def test_a_chain_with_an_embedding_and_a_recurrent_layer_is_widened_too():
    made, batch = patient_of(Reader(), batch=(torch.randint(0, 9, (16, 5)), torch.randint(0, 3, (16,))))
    wide = made.apply(Edit("width", 4.0))
    assert [tuple(p.shape) for p in wide.models[0].parameters() if p.ndim == 2] == [(9, 8), (24, 8), (24, 8), (3, 8)]
    assert all(moved(wide, batch))


def test_inputs_that_are_the_targets_are_standardised_with_them():
    x = 1e3 * torch.randn(16, 3)
    made, batch = patient_of(nn.Linear(3, 3), F.mse_loss, (x, x.clone()))
    inputs, targets = made.apply(Edit("input_scale")).data.scaled(batch)
    assert torch.equal(inputs, targets) and inputs.std() < 2.0


def test_skill_does_not_depend_on_scale_or_a_second_softmax():
    torch.manual_seed(0)
    y = torch.randint(0, 4, (400,))
    logits = 2.0 * F.one_hot(y, 4) + torch.randn(400, 4)
    values = [skill_of(matched(out, y)).value for out in (logits, 1e3 * logits, torch.softmax(logits, 1))]
    assert values[0] == pytest.approx(values[1], abs=1e-3) and values[2] == pytest.approx(values[0], abs=0.08)
    assert 0.3 < values[0] < 0.9


def test_the_skill_of_chance_is_nil_and_of_the_wrong_sign_no_better():
    torch.manual_seed(0)
    y = torch.randint(0, 3, (600,))
    assert abs(skill_of(matched(torch.randn(600, 3), y)).value) < 0.03
    assert skill_of(matched(-5.0 * F.one_hot(y, 3).float(), y)).value < 0.05
    assert skill_of(matched(torch.full((600, 3), torch.nan), y)).value == WORST


def test_numbers_are_judged_by_r2_which_sees_the_scale():
    y = torch.randn(200, 1)
    assert skill_of(matched(y, y)).value == 1.0
    assert skill_of(matched(torch.zeros_like(y) + y.mean(), y)).value == pytest.approx(0.0, abs=1e-6)
    assert skill_of(matched(100.0 * y, y)).value == WORST


def test_the_fitting_loss_is_the_usual_one_for_classes_yes_or_no_and_numbers():
    y = torch.tensor([0, 1, 2])
    out = torch.randn(3, 3)
    assert torch.equal(fitting_loss(out, y), F.cross_entropy(out, y))
    assert torch.equal(fitting_loss(out, F.one_hot(y, 3).float()), F.cross_entropy(out, y))
    assert torch.equal(fitting_loss(out[:, :1], y[:, None] % 2), F.binary_cross_entropy_with_logits(out[:, 0], (y % 2).float()))
    assert torch.equal(fitting_loss(out, out + 1.0), torch.tensor(1.0))
    steps = torch.randn(2, 5, 7), torch.randint(0, 5, (2, 7))
    assert torch.allclose(fitting_loss(*steps), F.cross_entropy(*steps))
    with pytest.raises(ModelError, match=r"no yardstick(?s:.*)score="):
        matched(torch.randn(4, 3), torch.randn(5))


def test_a_step_function_of_another_form_is_refused_with_the_way_to_write_it():
    model = nn.Linear(4, 3)

    def on_the_outside(m, optimizer, batch):
        return model(batch[0])

    for own, text in ((on_the_outside, "your own model"), (lambda model: None, "takes"), (7, "is a function")):
        with pytest.raises(RequestError, match=rf"{text}(?s:.*)def step\(model, optimizer, batch\)"):
            check_step(own, (model,))


def test_labels_that_are_not_counted_do_not_count():
    y = torch.tensor([0, -100, 1, 0])
    assert len(matched(torch.randn(4, 2), y).targets) == 3


def test_running_statistics_follow_from_the_edit_on_and_a_model_without_them_refuses():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, momentum=1e-6), nn.Linear(6, 3))
    patient, batch = patient_of(model)
    edited = patient.apply(Edit("statistics", 0.5, before=1e-6))
    slow, soon = (one.trained([batch], 8).models[0][1].running_var for one in (patient, edited))
    assert torch.allclose(slow, torch.ones(6), atol=1e-4) and not torch.allclose(soon, torch.ones(6), atol=0.1)
    with pytest.raises(ModelError, match="running statistics"):
        patient_of()[0].apply(Edit("statistics", 0.1))
    with pytest.raises(ModelError, match="above 0"):
        patient.apply(Edit("statistics", 2.0))


def test_no_clip_takes_hooks_off_the_gradients_too_and_leaves_the_program_its_own():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: torch.zeros_like(gradient))
    patient, batch = patient_of(model)
    assert not any(moved(patient, batch)) and all(moved(patient.apply(Edit("clip_norm")), batch))
    assert all(parameter._backward_hooks for parameter in model.parameters())


def test_usual_weights_are_those_that_every_layer_draws_by_itself_and_the_stream_stays():
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    state = torch.get_rng_state()
    draw_again((model,), Edit("initialisation", "usual"), torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    fresh = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), fresh.parameters(), strict=True))
    with pytest.raises(ModelError, match="no layer whose weights"):
        draw_again((torch.nn.ReLU(),), Edit("initialisation", "usual"), torch.Generator())
