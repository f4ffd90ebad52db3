"""Faults that pass a review, in real programs, each beside the sound program that looks like it."""

import dataclasses
import math

import pytest
from lessons import classes, numbers, training

import isograd
from isograd.health import curve
from isograd.health.diagnosis import interrupted, labels_misfit, plateau, targets

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


def alarms(watch, disease):
    return [finding for finding in watch.report().findings if finding.disease == disease and finding.alarm]


def fitted(model, step, steps=60, optimizer=None):
    """A training of which ``step(model, number)`` gives the losses."""
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=1e-2)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for number in range(steps):
            optimizer.zero_grad()
            step(model, number).backward()
            optimizer.step()
    return watch


class Heads(nn.Module):
    """One trunk and two heads."""

    def __init__(self):
        super().__init__()
        self.trunk, self.kind, self.size = nn.Linear(6, 32), nn.Linear(32, 4), nn.Linear(32, 3)

    def forward(self, x):
        h = torch.relu(self.trunk(x))
        return self.kind(h), self.size(h)


@pytest.mark.parametrize(("added", "said"), [("number", True), ("tensor", False), ("looked at", False)])
def test_a_loss_that_is_added_as_a_number_leaves_its_head_untrained(added, said):
    torch.manual_seed(0)

    def step(model, number):
        x = torch.randn(32, 6)
        kind, size = model(x)
        first = F.cross_entropy(kind, x[:, :4].argmax(1))
        if added == "looked at":  # of the head that learns: how far off it is in another measure
            F.mse_loss(kind.softmax(1), F.one_hot(x[:, :4].argmax(1), 4).float())
            return first + F.mse_loss(size, x[:, 3:])
        second = F.mse_loss(size, x[:, 3:])
        return first + (second.item() if added == "number" else second)

    found = alarms(fitted(Heads(), step), "cut_graph")
    assert bool(found) is said
    assert all(one.where == "size" and "no backward pass begins with it" in one.summary for one in found)
    assert all("test_clean_code.py" in (one.source or "") for one in found)


class Pair(nn.Module):
    """What one part reads is handed to the other, or is not."""

    def __init__(self, handed):
        super().__init__()
        self.reader, self.answer, self.handed = nn.GRU(5, 16, batch_first=True), nn.GRU(3, 16, batch_first=True), handed
        self.out = nn.Linear(16, 5)

    def forward(self, x, begin):
        _, state = self.reader(x)
        return self.out(self.answer(begin, state if self.handed else None)[0][:, -1])


@pytest.mark.parametrize(("handed", "hard", "said"), [(False, True, True), (True, True, False), (False, False, False)])
def test_a_reader_whose_state_nobody_takes_is_told_where_the_answers_are_poor(handed, hard, said):
    """``hard``: the answer stands in what the reader reads, and nowhere else."""
    torch.manual_seed(0)

    def step(model, number):
        y = torch.randint(0, 3, (32,))
        x, begin = torch.randn(32, 6, 5), torch.zeros(32, 2, 3)
        if hard:
            x[:, 2, :3] += 3.0 * F.one_hot(y, 3)
        else:
            begin[:, 1] = 3.0 * F.one_hot(y, 3).float()
        return F.cross_entropy(model(x, begin), y)

    found = alarms(fitted(Pair(handed), step, 60), "cut_graph")
    assert bool(found) is said and all("computed from what the model reads" in one.summary for one in found)


class Both(nn.Module):
    """A recurrent layer in both directions, whose final states are joined."""

    def __init__(self, join):
        super().__init__()
        self.rnn, self.out, self.join = nn.LSTM(3, 12, bidirectional=True, batch_first=True), nn.Linear(24, 2), join

    def forward(self, x):
        _, (h, _) = self.rnn(x)
        if self.join == "view":
            return self.out(h.view(len(x), -1))
        if self.join == "one":
            return self.out(torch.cat((h, h), 2).view(2, len(x), 24)[0].view(len(x), -1))
        return self.out(h.transpose(0, 1).reshape(len(x), -1) if self.join == "turned" else torch.cat((h[0], h[1]), 1))


@pytest.mark.parametrize(("join", "said"), [("view", True), ("turned", False), ("cat", False), ("one", False)])
def test_final_states_that_are_viewed_into_rows_mix_the_examples(join, said):
    torch.manual_seed(0)

    def step(model, number):
        y = torch.randint(0, 2, (16,))
        x = torch.randn(16, 8, 3)
        x[:, 4, 0] += 4.0 * (2 * y - 1)
        return F.cross_entropy(model(x), y)

    found = alarms(fitted(Both(join), step, 30), "recurrent_axes")
    assert bool(found) is said and all("(16, 24) of a tensor of shape (2, 16, 12)" in one.summary for one in found)


@pytest.mark.parametrize(("weights", "said"), [(4, True), (400, False), (300, False)])
def test_a_sampler_with_one_weight_a_class_draws_from_the_first_rows_alone(weights, said):
    """With a weight for three quarters of the examples the rest may be kept for a test."""
    torch.manual_seed(0)
    x = torch.randn(400, 6)
    data = torch.utils.data.TensorDataset(x, x[:, :4].argmax(1))
    sampler = torch.utils.data.WeightedRandomSampler(torch.ones(weights), 400)
    loader = torch.utils.data.DataLoader(data, 20, sampler=sampler)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for inputs, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
    found = alarms(watch, "same_batch")
    assert bool(found) is said and all("4 weights for 400 examples" in one.summary for one in found)


@pytest.mark.parametrize(("slices", "said"), [("by the batch", True), ("by the row", False), ("a window", False)])
def test_slices_that_move_by_one_row_leave_most_of_the_table_unused(slices, said):
    """A window that slides over a series goes to its end."""
    torch.manual_seed(0)
    x = torch.randn(600, 6)
    y = x[:, :4].argmax(1)

    def step(model, number):
        begin = number % 30 if slices == "by the batch" else 20 * (number % 30) if slices == "by the row" else number
        return F.cross_entropy(model(x[begin : begin + 20]), y[begin : begin + 20])

    found = alarms(fitted(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)), step, 90), "same_batch")
    assert bool(found) is said and all("moved by 1: at most about" in one.summary for one in found)


class Slow(nn.Module):
    """A network and a slow copy of it, or a random first layer of its own, with a loss in the model."""

    def __init__(self, copied):
        super().__init__()
        self.online = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 4))
        self.slow = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 4 if copied else 5)).requires_grad_(False)
        self.after = nn.Linear(4, 4)

    def forward(self, x):
        return (self.after(self.online(x))[:, :4] - self.slow(x)[:, :4]).square().mean()


@pytest.mark.parametrize(("copied", "said"), [(True, False), (False, True)])
def test_a_frozen_copy_that_meets_its_original_in_the_loss_alone_is_meant_to_be_frozen(copied, said):
    torch.manual_seed(0)
    watch = fitted(Slow(copied), lambda model, number: model(torch.randn(32, 6)))
    assert bool(alarms(watch, "frozen_layers")) is said


def test_two_losses_in_one_line_are_judged_each_by_its_own_outputs():
    ten = dataclasses.replace(classes(1, kinds=10), target_range=(0.0, 9.0))
    two = dataclasses.replace(classes(1, kinds=2), target_range=(0.0, 1.0))
    both = training(lambda t: (ten, two))
    assert ten.source == two.source and len(curve.curves(both)) == 2
    assert not [finding for finding in labels_misfit.diagnose(both) if finding.alarm]
    wrong = dataclasses.replace(two, target_range=(0.0, 9.0))
    assert [finding for finding in labels_misfit.diagnose(training(lambda t: (ten, wrong))) if finding.alarm]


@pytest.mark.parametrize("places", [True, False])
def test_a_loss_over_places_in_the_batch_that_still_falls_is_a_remark(places):
    def at(t):
        found = classes(t, kinds=32, rows=32, right=0.2, value=3.46 - 0.002 * t)
        return dataclasses.replace(found, classes=(1,) * 32, floor=math.log(32)) if places else found

    (finding,) = interrupted.diagnose(training(at))
    assert (finding.severity == "note") is places


@pytest.mark.parametrize(("moves", "alone"), [(True, False), (True, True), (False, False)])
def test_returns_that_grow_with_the_policy_have_no_constant_answer_to_be_held_against(moves, alone):
    """A value that trails behind what a policy reaches has not learned nothing."""

    def at(t):
        sample = numbers(t, mean=12.0 + (0.1 * t if moves else 0.0), explained=0.0, stray=1.5)
        return dataclasses.replace(sample, output=numbers(1).output)

    # a part of a sum with what moves the policy, or so large that it is all that shows of it
    case = training(at, total=None if alone else lambda t: 3.0 - at(t).value ** 0.5)
    assert bool([*plateau.diagnose(case)]) is not moves
    assert bool([finding for finding in targets.diagnose(case) if finding.alarm]) is not moves


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize(("how", "said"), [("columns", True), ("gather", False), ("pairs", False)])
def test_the_columns_of_all_examples_for_each_of_them_are_a_square(how, said, written):
    """A table of distances of all pairs is a square on purpose."""
    torch.manual_seed(0)

    def step(model, number):
        s, a = torch.randn(16, 4), torch.randint(0, 3, (16,))
        q, y = model(s), s[:, 0] * (a - 1)
        if how == "pairs":
            q, y = torch.cdist(q, q), torch.cdist(s, s)
        else:
            q = q[:, a] if how == "columns" else q.gather(1, a[:, None]).squeeze(1)
        return ((q - y) ** 2).mean() if written else F.mse_loss(q, y)

    found = alarms(fitted(nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)), step, 30), "broadcast_loss")
    assert bool(found) is said and all("gather" in one.remedy for one in found)


def test_tiny_networks_as_torch_draws_them_are_not_one_sided():
    import isograd

    for seed in range(12):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
        x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
        report = isograd.check(model, (x, y), torch.nn.functional.mse_loss, torch.optim.Adam(model.parameters(), lr=0.05))
        assert all(finding.disease != "symmetry" for finding in report.findings)


def test_a_metric_after_the_backward_pass_is_heard_behind_a_clamp_with_tensors_for_bounds():
    import isograd

    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with isograd.watch(model, optimizer) as watch:
        for _ in range(5):
            x = torch.randn(16, 3)
            out = torch.clamp(model(x), torch.tensor(-2.0), torch.tensor(2.0))
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(out, x[:, :2]).backward()
            torch.nn.functional.l1_loss(out, x[:, :2])
            optimizer.step()
    assert watch.report().record.steps == 5


def test_the_only_example_of_its_class_tells_nothing_of_columns():
    from isograd.frameworks.torch.leaks import column_of

    table = torch.randn(32, 6)
    lone = (torch.arange(32) == 0).long()
    assert column_of(table, lone) is None
    table[:, 2] = -1.0  # a border that is the same for all but what was made
    table[16:, 2] = torch.randn(16)
    assert column_of(table, (torch.arange(32) < 16).long()) is None
    table[:, 2] = torch.where(torch.arange(32) < 16, 0.7, -0.7)
    assert column_of(table, (torch.arange(32) < 16).long()) == 2


def test_scores_of_as_many_candidates_as_a_batch_has_are_one_loss():
    from lessons import EMPTY

    from isograd.health import curve
    from isograd.health.case import Case
    from isograd.health.losses import uses
    from isograd.records.batch import LossSample
    from isograd.records.trace import Step

    def step(at, *widths):
        calls = (LossSample("cross_entropy", source="rank.py:3", value=1.0, output_shape=(8, width)) for width in widths)
        return Step(at, 1.0, losses=tuple(calls))

    ranked = Case(EMPTY, steps=tuple(step(at, 4 + at) for at in range(1, 9)), taken=8)
    assert len(curve.curves(ranked)) == 1 == len(list(uses(ranked)))
    several = Case(EMPTY, steps=tuple(step(at, 4, 10) for at in range(1, 9)), taken=8)
    assert len(curve.curves(several)) == 2 == len(list(uses(several)))


@pytest.mark.parametrize("loaded", [False, True])
def test_biases_alone_are_trained_in_vain_on_weights_that_nobody_trained_and_of_loaded_ones_that_is_not_said(loaded):
    torch.manual_seed(0)
    x = torch.randn(320, 8)
    y = (x[:, :1] * x[:, 1:2] > 0).float()
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.dim() == 1)
        if loaded:
            parameter.data *= 1.5

    def step(model, number):
        rows = slice(32 * (number % 10), 32 * (number % 10) + 32)
        return F.binary_cross_entropy_with_logits(model(x[rows]), y[rows])

    watch = fitted(model, step, optimizer=torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05))
    (found,) = alarms(watch, "frozen_layers")  # nothing is learned either way
    assert ("with the weights of a new layer" in found.summary) is not loaded
