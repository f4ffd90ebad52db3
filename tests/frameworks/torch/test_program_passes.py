"""What a program does in its passes: modes, cuts with their lines, clipping, sequences, weights that change by another hand."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from test_program import Watch, batch, sgd, small, train


def dropping():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def trained(net, **how):
    optimizer = sgd([p for p in net.parameters() if p.requires_grad])
    return train(net, optimizer, Watch(net, optimizer), **how)


def test_training_in_evaluation_mode_names_the_layers_that_behave_differently():
    _, fact = trained(dropping().eval()).facts("evaluation_mode")[0]
    assert (fact.get("kinds", ""), fact.get("fresh", False)) == ("BatchNorm1d, Dropout", True)


def test_evaluation_between_the_steps_with_gradients_on_is_no_training_in_evaluation_mode():
    net = dropping()

    def evaluate(step):
        net.eval()
        net(batch()[0])
        net.train()

    assert trained(net, after=evaluate).facts() == []


def test_frozen_batch_norm_alone_is_on_purpose_where_it_has_statistics():
    net = dropping()
    net(batch()[0])
    net[1].eval()
    assert trained(net).facts() == []


def test_frozen_batch_norm_that_never_had_any_is_told():
    net = dropping()
    net[1].eval()
    _, fact = trained(net).facts("evaluation_mode")[0]
    assert (fact.where, fact.get("kinds", ""), fact.get("alone", False)) == ("1", "BatchNorm1d", True)


class Idle(nn.Module):
    """Has a batch norm that does not run, and one that runs without gradients, both in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.body, self.later, self.yardstick = nn.Linear(4, 3), nn.BatchNorm1d(4), nn.BatchNorm1d(4)
        self.later.eval()
        self.yardstick.eval()

    def forward(self, x):
        with torch.no_grad():
            self.yardstick(x)
        return self.body(x)


def test_frozen_batch_norm_that_no_pass_runs_or_none_learns_through_is_not_told():
    assert not trained(Idle()).facts("evaluation_mode")


def loaded(write, often=1, once=False):
    """How often each look tells that weights were loaded from themselves; ``write`` changes the state before that."""
    net, kept = small(), []

    def load(step):
        if not (once and kept):
            kept[:] = [net.state_dict()]
        if step % often == often - 1:
            for value in kept[0].values():
                write(value)
            net.load_state_dict(kept[0])
            net.load_state_dict(kept[0])

    optimizer = sgd(net.parameters())
    with Watch(net, optimizer) as watch:
        for step in range(12):
            optimizer.zero_grad()
            F.cross_entropy(net(batch()[0]), batch()[1]).backward()
            optimizer.step()
            load(step)
    return [index for index, _ in watch.facts("loaded_itself")]


def test_weights_loaded_from_themselves_are_told_once_a_look_and_only_after_steps():
    assert loaded(lambda value: None, often=4, once=True) == [5, 9, 12]
    assert loaded(lambda value: None) == []
    assert loaded(lambda value: value.clamp_(-0.1, 0.1)) == []
    assert loaded(lambda value: value.clamp_(-0.1, 0.1), often=4, once=True) == []


def test_a_yardstick_that_no_optimizer_moves_may_be_loaded_from_its_own_state():
    net, follower = small(), small().requires_grad_(False)
    optimizer, kept = sgd(net.parameters()), follower.state_dict()

    def follow(step):
        for name, value in net.state_dict().items():
            kept[name].lerp_(value, 0.1)
        follower.load_state_dict(kept)

    assert not train(net, optimizer, Watch([net, follower], optimizer), after=follow).facts("loaded_itself")


def test_a_model_without_such_layers_may_train_in_evaluation_mode():
    assert trained(small().eval()).kinds() == {"unseen"}


def test_passes_without_gradients_in_training_mode_are_told():
    net = dropping()

    def evaluate(step):
        with torch.no_grad():
            net(batch()[0])

    assert {fact.kind for _, fact in trained(net, after=evaluate).facts()} == {"training_mode"}


class Cut(nn.Module):
    """Loses the graph in the middle, in the way it is told."""

    def __init__(self, way):
        super().__init__()
        self.first, self.second, self.way = nn.Linear(4, 8), nn.Linear(8, 3), way

    def forward(self, x):
        if self.way == "no_grad":
            with torch.no_grad():
                h = self.first(x)
        else:
            h = self.first(x)
        if self.way == "detach":
            h = h.detach()
        if self.way == "data":
            h = h.data
        if self.way == "numpy":
            h = torch.from_numpy(h.detach().numpy())
        if self.way == "tolist":
            h = torch.tensor(h.tolist())
        if self.way == "rewrap":
            h = torch.tensor(h)
        return self.second(torch.relu(h))


@pytest.mark.filterwarnings("ignore:To copy construct")
@pytest.mark.parametrize("way", ["detach", "data", "numpy", "rewrap", "tolist", "no_grad"])
def test_a_cut_is_told_with_its_line_and_the_layer_before_it(way):
    torch.manual_seed(0)
    found = trained(Cut(way)).facts()
    assert {fact.where for _, fact in found if fact.kind == "cut_off"} == {"first"}
    cuts = [fact for _, fact in found if fact.kind == "detached"]
    assert {fact.get("operation", "") for fact in cuts} == ({"detach", "numpy"} if way == "numpy" else {way})
    line = int(cuts[0].source.split("test_program_passes.py:")[1])
    assert way in Path(__file__).read_text("utf-8").splitlines()[line - 2]
    assert cuts[0].get("after", "") == ("" if way == "no_grad" else "first")


def test_numbers_read_off_the_loss_for_a_log_are_no_cut():
    net = small()
    optimizer = sgd(net.parameters())
    with Watch(net, optimizer) as watch:
        for _ in range(4):
            x, y = batch()
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            loss.item()
            loss.detach()
            optimizer.step()
    assert watch.facts() == []


def test_clipping_is_told_with_its_bound_and_the_norm_before():
    net = small()
    _, fact = trained(net, after=lambda _: nn.utils.clip_grad_norm_(net.parameters(), 1e-3)).facts("clipped")[0]
    assert fact.get("bound", 0.0) == 1e-3
    assert fact.get("norm", 0.0) > 1e-3
    assert "test_program_passes.py" in fact.source
    _, fact = trained(net, after=lambda _: nn.utils.clip_grad_value_(net.parameters(), 0.5)).facts("clipped")[0]
    assert (fact.get("bound", 0.0), fact.get("by", "")) == (0.5, "value")


def test_weights_drawn_again_inside_the_loop_are_told():
    net = small()
    found = trained(net, before=lambda _: net[2].reset_parameters()).facts("weights_changed")
    assert {fact.where for _, fact in found} == {"2"}
    assert abs(found[0][1].get("cosine", 1.0)) < 0.5


def test_weights_put_back_to_the_start_are_told_although_they_are_nearly_the_same():
    net = small()
    start = {name: value.clone() for name, value in net.state_dict().items()}
    found = trained(net, before=lambda _: net.load_state_dict(start)).facts("weights_changed")
    assert {fact.get("restored", False) for _, fact in found} == {True}
    assert {step for step, _ in found} == {2, 3, 4, 5, 6}


def test_clipping_weights_and_averaging_them_moves_them_a_little_and_is_no_other_network():
    net = small()

    def clip(step):
        with torch.no_grad():
            for p in net.parameters():
                p.clamp_(-0.3, 0.3)
                p.lerp_(p * 0.9, 0.5)

    told = [fact for _, fact in trained(net, before=clip).facts()]
    assert {fact.kind for fact in told} == {"weights_moved"} and all(0.0 < fact.get("rms", 0.0) < 0.1 for fact in told)


def test_a_reset_on_a_step_that_is_not_looked_at_is_told_later():
    net = small()
    optimizer = sgd(net.parameters())
    with Watch(net, optimizer, budget=1e-9) as watch:
        for step in range(12):
            if step == 8:
                net[2].reset_parameters()
            optimizer.zero_grad()
            F.cross_entropy(net(batch()[0]), batch()[1]).backward()
            optimizer.step()
    assert {fact.where for _, fact in watch.facts("weights_changed")} == {"2"}


class Reader(nn.Module):
    """Reads a sequence and answers from its last state, which it may keep for the next batch."""

    def __init__(self, batch_first, keep=False):
        super().__init__()
        self.rnn, self.head = nn.GRU(4, 6, batch_first=batch_first), nn.Linear(6, 3)
        self.keep, self.state = keep, None

    def forward(self, x):
        _, state = self.rnn(x, self.state)
        self.state = state.detach() if self.keep else None
        return self.head(state[0])


def reading(net, x, y, **backward):
    torch.manual_seed(0)
    optimizer = sgd(net.parameters())
    with Watch(net, optimizer) as watch:
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward(**backward)
            optimizer.step()
    return watch


def test_a_batch_taken_for_time_is_told():
    x, y = torch.randn(5, 9, 4), torch.randint(0, 3, (5,))
    assert reading(Reader(True), x, y).kinds() == {"same_batch"}
    _, fact = reading(Swapped(), x, y).facts("axes_swapped")[0]
    assert (fact.where, fact.get("batch", 0), fact.get("time", 0)) == ("rnn", 5, 9)


class Swapped(nn.Module):
    """Believes that a recurrent layer takes the batch first."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


def test_time_first_on_purpose_is_no_swap():
    assert reading(Reader(False), torch.randn(9, 5, 4), torch.randint(0, 3, (5,))).kinds() == {"same_batch"}


def test_a_state_carried_over_batches_is_told_and_whether_its_graph_came_too():
    x, y = torch.randn(5, 9, 4), torch.randint(0, 3, (5,))
    found = reading(Reader(True, keep=True), x, y).facts("state_carried")
    assert [(step, fact.where, fact.get("graph", True)) for step, fact in found] == [(step, "rnn", False) for step in (2, 3, 4)]
    found = reading(Dragging(), x, y, retain_graph=True).facts("state_carried")
    assert {fact.get("graph", False) for _, fact in found} == {True}


class Dragging(nn.Module):
    """Carries the state with its graph; its cell is frozen, so that going back through the last step is possible."""

    def __init__(self):
        super().__init__()
        self.cell, self.head, self.state = nn.RNNCell(4, 6), nn.Linear(6, 3), None
        self.cell.requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        for t in range(x.shape[1]):
            self.state = self.cell(x[:, t] * self.scale, self.state)
        return self.head(self.state)
