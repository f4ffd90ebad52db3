"""Yardsticks of every kind of output: what is right has skill 1, what a constant answers has none, whatever the shapes."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from isograd.errors import ModelError
from isograd.frameworks.torch.fitting import Fitting, fitting_loss
from isograd.frameworks.torch.patient import TorchPatient
from isograd.frameworks.torch.yardsticks import judged, part_of, parts_of, seen
from isograd.records.edit import Edit


def skill(outputs, targets=None, inputs=None, ignored=None):
    return judged([parts_of(outputs, targets, inputs, ignored)]).value


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(6, 8, 8), (6, 1, 8, 8)])
def test_pixels_of_several_classes_are_judged_place_by_place(shape):
    classes = draw(6, 8, 8).sign().long() + 1 + (draw(6, 8, 8, seed=1) > 1.0).long()
    right = 4.0 * F.one_hot(classes, 4).movedim(-1, 1).float() + 0.1 * draw(6, 4, 8, 8)
    assert skill(right, classes.reshape(shape)) > 0.95
    assert abs(skill(draw(6, 4, 8, 8), classes.reshape(shape))) < 0.1
    assert skill(right, F.one_hot(classes, 4).movedim(-1, 1).float()) > 0.95  # the same as one map a class


def test_a_rare_foreground_counts_by_what_a_constant_answer_pays_for_it():
    mask = (draw(20, 1, 16, 16) > 2.0).float()
    assert mask.mean() < 0.05
    assert abs(skill(torch.full_like(mask, -9.0), mask)) < 0.05 and abs(skill(draw(20, 1, 16, 16, seed=3), mask)) < 0.05
    assert skill(4.0 * mask + draw(20, 1, 16, 16, seed=4), mask) > 0.5


def test_many_pixels_are_judged_by_some_and_the_answer_does_not_move():
    classes = (draw(40, 48, 48) > 0.0).long()
    made = torch.stack([-classes.float(), classes.float()], 1) + draw(40, 2, 48, 48, seed=1)
    few = skill(made[:8], classes[:8])
    assert skill(made, classes) == pytest.approx(few, abs=0.03) and skill(made, classes) == skill(made, classes)


def test_each_question_of_several_labels_has_its_own_constant_answer():
    rates = torch.tensor([0.05, 0.9, 0.5])
    labels = (torch.rand(600, 3, generator=torch.Generator().manual_seed(0)) < rates).float()
    constant = (rates / (1.0 - rates)).log().expand(600, 3)
    assert abs(skill(constant, labels)) < 0.05  # one frequency for all of them would call this skill
    assert skill(constant + 3.0 * (labels - rates), labels) > 0.4


def test_quantities_in_units_of_their_own_count_alike():
    wanted = draw(200, 2) * torch.tensor([1_000.0, 0.01])
    blind = torch.stack([wanted[:, 0], torch.zeros(200)], 1)
    assert skill(wanted, wanted.clone()) == 1.0 and skill(blind, wanted) == pytest.approx(0.5, abs=0.02)


def test_several_outputs_are_judged_apart_and_the_rest_of_them_is_left_out():
    x, classes, value = draw(90, 5), torch.arange(90) % 3, draw(90, 1)
    scores = 5.0 * F.one_hot(classes, 3).float()
    whole = {"kind": scores, "size": value, "hidden": x}, {"size": value.clone(), "kind": classes}
    assert skill(*whole) > 0.95
    assert skill((scores, torch.zeros(90, 1) + value.mean()), (classes, value)) == pytest.approx(0.5, abs=0.04)
    assert skill((draw(2, 90, 3), scores), classes) > 0.9  # a hidden state comes first
    assert skill(scores, (classes, torch.full((90,), 7.5))) > 0.9  # a weight an example comes second


def test_of_several_outputs_that_could_answer_the_loss_says_which_does():
    class Two(nn.Module):
        def forward(self, x):
            return x.flip(1), x

    classes = torch.arange(90) % 5
    ((part,),) = seen((Two(),), [(5.0 * F.one_hot(classes, 5).float(), classes)], lambda out, y: F.cross_entropy(out[1], y))
    assert judged([[part]]).value > 0.9


def test_logarithms_of_rates_are_judged_by_the_rates_that_they_stand_for():
    x = draw(400, 2)
    counts = torch.poisson(torch.exp(1.0 + x[:, :1]), generator=torch.Generator().manual_seed(1))
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 0.0]]))
        net.bias.fill_(1.0)
    assert judged(seen([net], [(x, counts)], nn.PoissonNLLLoss())).value > 0.7
    assert judged(seen([net], [(x, counts)], F.mse_loss)).value < 0.3, "as counts they are no answer"


def test_padding_and_masked_places_do_not_count():
    words = 1 + torch.arange(60).reshape(6, 10) % 4
    words[:, 7:] = 0
    made = 6.0 * F.one_hot(words, 5).float()
    made[:, 7:] = 6.0 * F.one_hot(torch.tensor(1), 5).float()  # nonsense where nothing is asked
    assert skill(made, words, ignored=0) > 0.85 > skill(made, words)
    numbers, mask = draw(6, 10), torch.arange(10).expand(6, 10) < 7
    assert skill(torch.where(mask, numbers, 9.0), (numbers, mask)) == 1.0


def test_the_loss_says_which_label_is_padding():
    words = 1 + torch.arange(60).reshape(6, 10) % 4
    words[:, 7:] = 0
    model = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 5))
    for loss in (nn.CrossEntropyLoss(ignore_index=0), lambda out, y: F.cross_entropy(out.movedim(2, 1), y, ignore_index=0)):
        if isinstance(loss, nn.Module):
            model = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 5), _ClassesFirst())
        ((part,),) = seen((model,), [(words, words)], loss)
        assert int((part.wanted == -100).sum()) == 18


class _ClassesFirst(nn.Module):
    def forward(self, x):
        return x.movedim(2, 1)


def test_without_targets_the_next_token_or_the_input_is_what_is_wanted():
    words = (torch.arange(80).reshape(8, 10) * 3) % 7
    follows = 6.0 * F.one_hot((words + 3) % 7, 7).float()
    assert skill(follows, None, words) > 0.95 and skill(follows, None, {"input_ids": words, "labels": words}) > 0.95
    x = draw(50, 30)
    assert skill((x, x[:, :4]), None, x) == 1.0 and skill(torch.zeros(50, 30), None, x) == pytest.approx(0.0, abs=0.01)
    assert skill(x + 3.0 * draw(50, 30, seed=1), None, x) > 0.0  # a random copy tells more than no copy


def test_two_views_find_each_other_or_do_not():
    one = draw(40, 8)
    assert skill((one, one + 0.01 * draw(40, 8, seed=1))) > 0.99 and abs(skill((one, draw(40, 8, seed=2)))) < 0.15
    assert skill(10.0 * torch.eye(40) + draw(40, 40), torch.arange(40)) > 0.99  # similarities, each its own class
    assert skill((one, one + 0.1, draw(40, 8, seed=3))) > 0.95  # anchor, near, far
    assert skill((draw(40).abs(), -draw(40).abs())) == 1.0  # the score of the liked one, then of another


def test_pairs_that_are_alike_or_not_are_told_apart_by_their_distance_either_way_round():
    one, alike = draw(300, 8), (torch.arange(300) % 2).float()
    other = torch.where(alike[:, None] == 1.0, one + 0.1, draw(300, 8, seed=1))
    assert skill((one, other), alike) > 0.8 and skill((one, other), 1.0 - alike) > 0.8
    assert abs(skill((one, draw(300, 8, seed=2)), alike)) < 0.1


def test_probabilities_as_targets_cost_their_own_entropy():
    wanted = draw(400, 4).mul(2.0).softmax(1)
    assert skill(wanted.log(), wanted) > 0.98 and abs(skill(draw(400, 4, seed=1), wanted)) < 0.05


def test_a_margin_is_judged_as_yes_or_no():
    sides = draw(200).sign()
    assert skill(7.0 * sides + draw(200, seed=1), sides) > 0.8


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("margin_ranking_loss", {"input1": [3.0, 1.0], "input2": [2.0, 2.0], "target": [1.0, -1.0]}, 1.0),
        ("triplet_margin_loss", {"anchor": [[0.0, 0.0]], "positive": [[2.0, 0.0]], "negative": [[1.0, 0.0]]}, -0.2),
        ("poisson_nll_loss", {"input": [0.0, 1.0], "target": [1.0, 2.718281828]}, 1.0),
        ("poisson_nll_loss", {"input": [0.0, 1.0, -1.0], "target": [0.0, 1.0, -1.0]}, 1.0),  # no counts
        ("multi_margin_loss", {"input": [[2.0, 0.0]] * 20 + [[0.0, 2.0]] * 20, "target": [0] * 20 + [1] * 20}, 0.95),
        ("hinge_embedding_loss", {"input": [0.1] * 20 + [3.0] * 20, "target": [1] * 20 + [-1] * 20}, 0.95),
    ],
)
def test_what_a_loss_is_called_with_says_what_is_compared(name, given, value):
    part = part_of(name, {key: torch.tensor(one) for key, one in given.items()})
    assert judged([[part]]).value == pytest.approx(value, abs=0.05)


def test_a_model_that_gives_its_own_loss_is_judged_by_what_that_is_called_with():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 3)

        def forward(self, x, y):
            return F.cross_entropy(self.inner(x), y)

    x = draw(200, 4)
    y = x[:, :3].argmax(1)
    model = Own()
    patient = TorchPatient.copy_of(model, {"x": x, "y": y}, None, torch.optim.Adam(model.parameters(), lr=0.1))
    batches = [{"x": x[:100], "y": y[:100]}]
    after = patient.trained(batches, 60)
    assert patient.judge(batches).value < 0.3 < after.judge([{"x": x[100:], "y": y[100:]}]).value


def test_a_step_of_the_persons_own_on_batches_that_it_alone_can_read_is_listened_to():
    x = draw(200, 4)
    data = {"features": x, "label": x[:, :3].argmax(1)}

    def step(model, optimizer, batch):
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(batch["features"]), batch["label"]).backward()
        optimizer.step()

    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    made = TorchPatient.copy_of(model, data, None, torch.optim.Adam(model.parameters(), lr=0.1))
    patient = dataclasses.replace(made, step=step)
    before = [p.clone() for p in patient.models[0].parameters()]
    first, again = patient.judge([data]), patient.judge([data])
    assert first == again and patient.trained([data], 60).judge([data]).value > first.value + 0.3  # without dropout
    assert all(torch.equal(one, p) for one, p in zip(before, patient.models[0].parameters(), strict=True))


def test_what_nothing_fits_gets_one_message():
    with pytest.raises(ModelError, match=r"no yardstick for this output(?s:.*)score="):
        seen((nn.Linear(4, 3),), [(draw(5, 4), draw(7))], lambda out, y: out.mean())


def variational():
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Linear(20, 8), nn.Linear(4, 20)

        def forward(self, x):
            mean, log_variance = self.down(x).chunk(2, 1)
            return self.up(mean + torch.randn_like(mean) * (0.5 * log_variance).exp()), mean, log_variance

    return Net()


def summed(outputs, x):
    copy, mean, log_variance = outputs
    return F.mse_loss(copy, x, reduction="sum") - 0.5 * (1.0 + log_variance - mean**2 - log_variance.exp()).sum()


def test_the_fitting_loss_of_a_variational_autoencoder_keeps_its_divergence_in_proportion():
    model, x = variational(), draw(32, 20)
    outputs = model(x)
    wanted = torch.autograd.grad(summed(outputs, x), list(model.parameters()), retain_graph=True)
    made = torch.autograd.grad(Fitting(summed)(outputs, x), list(model.parameters()))
    assert all(torch.allclose(one, other, rtol=1e-3, atol=1e-4) for one, other in zip(wanted, made, strict=True))
    patient = TorchPatient.copy_of(model, (x, x), summed, torch.optim.Adam(model.parameters(), lr=1e-2))
    edited = patient.apply(Edit("loss"))
    value = edited.trained([(x, x)], 40).judge([(x, x)]).value
    assert value == pytest.approx(patient.trained([(x, x)], 40).judge([(x, x)]).value, abs=0.02)


def test_the_fitting_loss_of_several_outputs_is_the_sum_of_theirs():
    scores, value, classes = draw(9, 3), draw(9, 1, seed=1), torch.arange(9) % 3
    made = fitting_loss((scores, value), (classes, value + 2.0))
    assert torch.allclose(made, F.cross_entropy(scores, classes) + 4.0)
