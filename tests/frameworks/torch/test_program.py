"""The facts of a running program are seen where they are, and not where a sound program only looks alike."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import isograd
from isograd.frameworks.torch.recorder import TorchRecorder


class Watch:
    """A recorder as a context; ``facts()`` are those of its steps."""

    def __init__(self, models, *optimizers, budget=None):
        self.recorder = TorchRecorder(models, optimizers or None, budget=budget)

    def __enter__(self):
        self.recorder.attach()
        return self

    def __exit__(self, *_):
        self.recorder.detach()
        assert self.recorder.stopped_by is None

    def facts(self, kind=None):
        steps = self.recorder.trace().steps
        return [(step.index, fact) for step in steps for fact in step.facts if kind in (None, fact.kind)]

    def kinds(self):
        return {fact.kind for _, fact in self.facts() if fact.kind != "detached"}


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def batch(n=16):
    return torch.randn(n, 4), torch.randint(0, 3, (n,))


def train(net, optimizer, watch, steps=6, forward=None, before=None, cleared=True, after=None):
    with watch:
        for step in range(steps):
            x, y = batch()
            if before is not None:
                before(step)
            if cleared:
                optimizer.zero_grad(set_to_none=step % 2 == 0)
            F.cross_entropy((forward or net)(x), y).backward()
            if after is not None:
                after(step)
            optimizer.step()
    return watch


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def test_a_sound_loop_has_no_fact():
    net = small()
    optimizer = sgd(net.parameters())
    assert train(net, optimizer, Watch(net, optimizer)).facts() == []


def test_gradients_that_are_never_cleared_are_carried_ever_longer():
    net = small()
    optimizer = sgd(net.parameters())
    found = train(net, optimizer, Watch(net, optimizer), cleared=False).facts("carried")
    assert [step for step, _ in found] == [2, 3, 4, 5, 6]
    assert [fact.get("age", -1) for _, fact in found] == [1, 2, 3, 4, 5]
    assert found[0][1].get("parameters", 0) == 4


def test_accumulation_over_several_passes_is_no_carrying():
    net = small()
    optimizer = sgd(net.parameters())
    with Watch(net, optimizer) as watch:
        for _ in range(4):
            for _ in range(3):
                x, y = batch()
                F.cross_entropy(net(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert watch.facts() == []


@pytest.mark.parametrize("end", [False, True])
def test_a_generator_may_dirty_the_gradients_of_its_judge_if_they_are_cleared_before_they_count(end):
    torch.manual_seed(0)
    maker, judge = nn.Linear(2, 3), nn.Linear(3, 1)
    first, second = sgd(maker.parameters()), sgd(judge.parameters())
    with Watch((maker, judge), first, second) as watch:
        for _ in range(5):
            if not end:
                second.zero_grad()
            fake = maker(torch.randn(8, 2))
            (judge(torch.randn(8, 3)).mean() - judge(fake.detach()).mean()).backward()
            second.step()
            if end:
                second.zero_grad()
            first.zero_grad()
            judge(fake).mean().backward()
            first.step()
    assert watch.kinds() == ({"carried"} if end else set())  # at the end: the maker's pass is still in them


def test_gradients_cleared_between_backward_and_step_are_told_from_a_cut_graph():
    net = small()
    optimizer = sgd(net.parameters())
    watch = train(net, optimizer, Watch(net, optimizer), after=lambda _: optimizer.zero_grad())
    assert watch.kinds() == {"cleared_early"}


def test_gradients_that_are_written_over_with_zeros_are_cleared_too():
    net = small()
    optimizer = sgd(net.parameters())
    watch = train(net, optimizer, Watch(net, optimizer), after=lambda _: optimizer.zero_grad(set_to_none=False))
    assert watch.kinds() == {"cleared_early"}


def test_gradients_that_add_up_to_nothing_over_a_batch_were_not_cleared():
    """Exclusive or from zeros: every example pulls, two one way and two the other, so that each sum is exactly 0."""
    net = nn.Sequential(nn.Linear(2, 8), nn.Sigmoid(), nn.Linear(8, 1), nn.Sigmoid())
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    answers = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    optimizer = sgd(net.parameters())
    with Watch(net, optimizer) as watch:
        for _ in range(6):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(corners), answers).backward()
            assert all(not parameter.grad.any() for parameter in net.parameters())
            optimizer.step()
    assert "cleared_early" not in watch.kinds()


def test_a_layer_behind_a_cut_gets_no_gradient_although_it_ran():
    net = small()
    optimizer = sgd(net.parameters())
    watch = train(net, optimizer, Watch(net, optimizer), forward=lambda x: net[2](net[0](x).detach()))
    assert {(fact.kind, fact.where, fact.get("used", False)) for _, fact in watch.facts("cut_off")} == {("cut_off", "0", True)}


def test_a_layer_that_one_of_two_optimizers_feeds_is_not_cut_off():
    """The judge learns in its own step, and then its body once more with the maker: the head has no part in that one."""
    body, head = nn.Linear(4, 4), nn.Linear(4, 3)
    net = nn.Sequential(body, head)
    own, shared = sgd(net.parameters()), sgd(net.parameters())
    with Watch(net, own, shared) as watch:
        for _ in range(4):
            x, y = batch()
            own.zero_grad()
            F.cross_entropy(net(x), y).backward()
            own.step()
            shared.zero_grad()
            body(x).square().mean().backward()
            shared.step()
    assert {fact.kind for step, fact in watch.facts() if step > 1} == set()


def test_a_head_that_never_runs_is_cut_off_and_unused():
    net = nn.ModuleDict({"trunk": small(), "spare": nn.Linear(2, 2)})
    optimizer = sgd(net.parameters())
    watch = train(net, optimizer, Watch(net, optimizer), forward=lambda x: net["trunk"](x))
    assert {(fact.where, fact.get("used", True)) for _, fact in watch.facts("cut_off")} == {("spare", False)}


def test_a_loss_of_something_else_reaches_no_layer():
    net = small()
    optimizer = sgd(net.parameters())
    watch = train(net, optimizer, Watch(net, optimizer), forward=lambda x: (net(x), torch.randn(16, 3, requires_grad=True))[1])
    assert watch.kinds() == {"loss_outside", "cut_off"}


def test_a_layer_replaced_after_the_optimizer_was_made_is_in_none_and_the_old_one_is_stale():
    net = small()
    optimizer = sgd(net.parameters())
    net[2] = nn.Linear(8, 3)
    watch = train(net, optimizer, Watch(net, optimizer))
    assert {(fact.kind, fact.where) for _, fact in watch.facts()} == {
        ("not_in_optimizer", "2"),
        ("stale_parameters", "optimizer"),
    }


def test_an_optimizer_of_two_models_of_which_one_is_watched_holds_nothing_stale():
    net, other = small(), nn.Linear(3, 3)
    optimizer = sgd([*net.parameters(), *other.parameters()])
    assert train(net, optimizer, Watch(net, optimizer), forward=lambda x: other(net(x))).facts() == []


def test_a_frozen_layer_is_missing_nowhere():
    net = small()
    net[0].requires_grad_(False)
    optimizer = sgd(net[2].parameters())
    assert train(net, optimizer, Watch(net, optimizer)).facts() == []


def test_gradients_left_by_an_earlier_training_are_no_gradients_of_this_one():
    net = small()
    net(batch()[0]).sum().backward()
    optimizer = sgd(net[2].parameters())
    watch = train(net, optimizer, Watch(net, optimizer), forward=lambda x: net[2](net[0](x).detach()))
    assert "not_in_optimizer" not in watch.kinds()


class Listed(nn.Module):
    """Keeps its hidden layers in a plain list."""

    def __init__(self):
        super().__init__()
        self.first, self.rest = nn.Linear(4, 4), [nn.Linear(4, 4), nn.Linear(4, 3)]

    def forward(self, x):
        x = torch.relu(self.first(x))
        for layer in self.rest:
            x = layer(x)
        return x


def test_layers_in_a_python_list_run_and_are_in_no_optimizer():
    torch.manual_seed(0)
    net = Listed()
    optimizer = sgd(net.parameters())
    found = train(net, optimizer, Watch(net, optimizer)).facts("hidden_module")
    assert len(found) == 12
    assert found[0][1].get("kind", "") == "Linear"


class Anew(nn.Module):
    """Makes a layer, and a normalisation, in forward; ``tied`` to weights of its own."""

    def __init__(self, tied=False):
        super().__init__()
        self.first, self.last, self.tied = nn.Linear(4, 4), nn.Linear(4, 3), tied

    def forward(self, x):
        layer = nn.Linear(4, 4)
        if self.tied:
            layer.weight = self.first.weight
        return self.last(nn.LayerNorm(4)(torch.relu(layer(self.first(x)))))


def test_a_layer_made_in_forward_is_gone_after_the_step_and_is_told():
    torch.manual_seed(0)
    net = Anew()
    optimizer = sgd(net.parameters())
    found = train(net, optimizer, Watch(net, optimizer)).facts("hidden_module")
    assert {(fact.where, fact.get("kind", ""), fact.get("anew", False)) for _, fact in found} == {("linear", "Linear", True)}
    tied = Anew(tied=True)
    optimizer = sgd(tied.parameters())
    assert train(tied, optimizer, Watch(tied, optimizer)).facts("hidden_module") == []


def test_layers_in_a_python_list_that_an_optimizer_of_their_own_steps_are_no_fact():
    torch.manual_seed(0)
    net = Listed()
    optimizer, other = sgd(net.parameters()), sgd([p for layer in net.rest for p in layer.parameters()])
    watch = train(net, optimizer, Watch(net, optimizer), after=lambda _: (other.step(), other.zero_grad()))
    assert watch.facts("hidden_module") == []


def test_another_optimizer_at_every_step_is_counted():
    net = small()
    with Watch(net) as watch:
        for _ in range(5):
            optimizer = torch.optim.Adam(net.parameters())
            optimizer.zero_grad()
            F.cross_entropy(net(batch()[0]), batch()[1]).backward()
            optimizer.step()
    assert [(step, fact.get("count", 0)) for step, fact in watch.facts()] == [(2, 2), (3, 3), (4, 4), (5, 5)]


@pytest.mark.parametrize("count", [2, 3])
def test_optimizers_that_take_turns_with_the_same_parameters_are_not_made_anew(count):
    net = small()
    with isograd.watch(net) as watch:
        optimizers = [torch.optim.Adam(net.parameters()) for _ in range(count)]
        for _ in range(20):
            for optimizer in optimizers:
                optimizer.zero_grad()
                F.cross_entropy(net(batch()[0]), batch()[1]).backward()
                optimizer.step()
    assert not [finding for finding in watch.report().findings if finding.disease == "optimizer_restarted"]


def test_passes_back_without_any_step_are_told_at_the_end():
    net = small()
    with Watch(net, sgd(net.parameters())) as watch:
        for _ in range(4):
            x, y = batch()
            F.cross_entropy(net(x), y).backward()
    assert [(step, fact.kind, fact.get("passes", 0)) for step, fact in watch.facts()] == [(0, "no_step", 4)]


@pytest.mark.parametrize("evaluates", [False, True])
def test_a_model_that_the_loop_makes_anew_is_told_from_one_that_is_never_stepped(evaluates):
    for anew in (True, False):
        net = small().train(not evaluates)
        with Watch(net, sgd(net.parameters())) as watch:
            other = small() if anew else net
            for _ in range(4):
                x, y = batch()
                F.cross_entropy(other(x), y).backward()
        ((_, fact),) = watch.facts()
        assert fact.kind == "no_step" and fact.get("called", True) is not (anew and not evaluates)


def test_a_training_stepped_by_hand_is_not_without_steps():
    net = small()
    with Watch(net) as watch:
        for _ in range(4):
            x, y = batch()
            F.cross_entropy(net(x), y).backward()
            with torch.no_grad():
                for p in net.parameters():
                    p -= 0.1 * p.grad
                    p.grad = None
    assert watch.facts() == []


def test_a_step_without_a_backward_pass_is_told_unless_gradients_are_set_by_hand():
    for by_hand in (False, True):
        net = small()
        optimizer = sgd(net.parameters())
        with Watch(net, optimizer) as watch:
            for _ in range(4):
                x, y = batch()
                optimizer.zero_grad()
                loss = F.cross_entropy(net(x), y)
                if by_hand:
                    for p, g in zip(net.parameters(), torch.autograd.grad(loss, net.parameters()), strict=True):
                        p.grad = g
                optimizer.step()
        assert watch.kinds() == (set() if by_hand else {"no_backward"})


def adversaries(fakes, every=1, **options):
    """A maker and a judge; the maker's loss sees its fakes as ``fakes`` leaves them, in every so many steps.

    Gives what is told of the graph in the loop, and what is left of it in the end.
    """
    torch.manual_seed(0)
    told = []
    maker, judge = nn.Linear(2, 3), nn.Linear(3, 1)
    first, second = sgd(maker.parameters()), sgd(judge.parameters())
    with isograd.watch((maker, judge), (first, second), steps=30, on_finding=told.append, **options) as watch:
        for step in range(30):
            second.zero_grad()
            fake = maker(torch.randn(8, 2))
            (judge(torch.randn(8, 3)).mean() - judge(fake.detach()).mean()).backward()
            second.step()
            first.zero_grad()
            if step % every == every - 1:
                judge(fakes(fake)).mean().backward()
            first.step()
    both = (told, watch.report().findings)
    return tuple([finding for finding in some if finding.disease == "cut_graph" and finding.alarm] for some in both)


@pytest.mark.parametrize("looks", ["all", "few"])
def test_a_maker_whose_fakes_are_detached_gets_no_gradient_at_all(looks, monkeypatch):
    monkeypatch.setattr("isograd.frameworks.torch.budget.FLOOR", 0.0)
    _, (found,) = adversaries(lambda fake: fake.detach(), budget=None if looks == "all" else 1e-9)
    assert (found.severity, found.where, found.layers) == ("critical", "0", ("0",))


@pytest.mark.parametrize("looks", ["all", "few"])
def test_a_maker_that_learns_in_some_steps_only_is_not_cut_off(looks, monkeypatch):
    monkeypatch.setattr("isograd.frameworks.torch.budget.FLOOR", 0.0)
    assert adversaries(lambda fake: fake, every=7, budget=None if looks == "all" else 1e-9) == ([], [])


def test_nothing_of_the_person_is_kept_alive():
    net = small()
    optimizer = sgd(net.parameters())
    watch = train(net, optimizer, Watch(net, optimizer), cleared=False)
    kept = [weakref.ref(net), weakref.ref(optimizer), *(weakref.ref(p) for p in net.parameters())]
    del net, optimizer
    gc.collect()
    assert [reference() for reference in kept] == [None] * len(kept)
    assert watch.facts()
