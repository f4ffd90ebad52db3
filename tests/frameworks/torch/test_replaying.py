"""A loss of one's own computed again with other answers: what is known by thought, and where nothing may be said."""

import gc
import math
import weakref

import pytest
import torch
from torch import nn
from torch.distributions import Categorical

from isograd.frameworks.torch.hooks import Quiet
from isograd.frameworks.torch.recorder import TorchRecorder
from isograd.frameworks.torch.replaying import replayed
from isograd.frameworks.torch.tape import Tape

F = nn.functional


class Outside(torch.overrides.TorchFunctionMode):
    """Tells a tape of what is called, as the walk does."""

    def __init__(self, tape):
        self.tape = tape

    def __torch_function__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        self.tape.called(function, args, kwargs or {}, output)
        return output


def again(loss, *outputs):
    """What is said of a loss of some outputs, which are leaves of nothing: as a model would put them out."""
    tape, made = Tape(), [one.clone().requires_grad_() * 1.0 for one in outputs]
    tape.returned(made)
    with Outside(tape):
        root = loss(*made)
    with Quiet():
        return replayed(tape, root, None)


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def test_a_squared_error_has_its_variance_for_a_constant_no_error_for_the_best_and_the_agreement_of_outputs_with_targets():
    y = normal(64, 2)
    o = 0.5 * y + 0.1
    found = again(lambda made: ((made - y) ** 2).mean(), o)
    assert found.value == pytest.approx(float((o - y).square().mean()))
    assert found.constant == pytest.approx(float((o.mean(0) - y).square().mean()))
    assert found.best == pytest.approx(float((0.5 * y.mean(0) + 0.1 - y.mean(0)).square().mean()), abs=1e-4)
    assert found.agreement.cosine == pytest.approx(1.0) and found.rows == 64


def test_a_cross_entropy_by_hand_can_be_brought_to_nothing_row_by_row():
    y = torch.arange(64) % 4
    found = again(lambda made: -(made.log_softmax(1)[torch.arange(64), y]).mean(), normal(64, 4))
    assert found.constant == pytest.approx(math.log(4), rel=0.05) and found.best < 1e-3 and found.value > found.constant


def test_outputs_of_two_heads_are_replaced_together():
    y = normal(64, 1)
    found = again(lambda mean, log: (0.5 * (log + (y - mean) ** 2 / log.exp())).mean(), torch.zeros(64, 1), torch.zeros(64, 1))
    assert found.value == found.constant == pytest.approx(0.5 * float(y.square().mean()))
    assert math.isfinite(found.best) and found.best < 0.5 * found.constant and found.spread == 0.0


def test_the_objective_of_a_policy_has_no_least_value():
    rewards = normal(64)

    def objective(logits):
        policy = Categorical(logits=logits)
        return -(policy.log_prob(policy.sample()) * rewards).mean() - 0.01 * policy.entropy().mean()

    found = again(objective, normal(64, 3))
    assert found.best == -math.inf and found.potential is None


def test_rows_that_are_all_asked_for_the_same_have_nothing_of_their_own_to_gain():
    found = again(lambda judged: ((judged - 1.0) ** 2).mean(), normal(64, 1))
    assert found.best == found.constant and found.potential is None


def test_what_is_learned_from_the_outputs_themselves_counts_for_them():
    def agree(one, other):  # towards the other view, whose gradient is stopped
        return -F.cosine_similarity(one, other.detach()).mean()

    view = normal(64, 8)
    found = again(agree, view, view + 0.01)
    assert found.value == pytest.approx(-1.0, abs=1e-3) and found.constant > -0.6


def test_steps_of_a_sequence_are_rows_whichever_axis_is_the_batch():
    y = normal(16, 1, 3).expand(16, 12, 3)  # the same at all places of an example
    for turned in (False, True):
        target = y.transpose(0, 1) if turned else y
        found = again(lambda made, target=target: ((made - target) ** 2).mean(), target.clone())
        assert found.value < 1e-9 and found.constant == pytest.approx(float(target.var((0, 1), correction=0).mean()), rel=1e-4)


def test_a_sum_that_grows_in_place_is_gone_again():
    y = normal(64)

    def loss(made):
        total = (made - y).square().mean()
        total += made.square().mean()
        total.mul_(0.5)
        return total

    found = again(loss, normal(64))
    assert found is not None and found.value > 0.0


@pytest.mark.parametrize(
    "loss",
    [
        lambda made: torch.autograd.grad((made**3).sum(), made, create_graph=True)[0].sum() + made.sum(),
        lambda made: torch.utils.checkpoint.checkpoint(lambda one: one.square(), made, use_reentrant=True).mean(),
    ],
    ids=["a derivative", "a function that hides its inside"],
)
def test_what_does_not_come_from_the_outputs_by_functions_that_were_heard_is_not_guessed(loss):
    assert again(loss, normal(64, 2)) is None


def test_a_random_function_and_few_rows_are_left_alone():
    assert again(lambda made: (F.dropout(made, 0.5) - 1.0).square().mean(), normal(64, 2)) is None
    assert again(lambda made: made.square().mean(), normal(4, 2)) is None


def test_running_statistics_outside_of_the_model_are_not_counted_twice():
    norm = nn.BatchNorm1d(2)
    assert again(lambda made: (norm(made) - 1.0).square().mean() + made.exp().mean(), normal(64, 2)) is None
    assert norm.num_batches_tracked == 1 and torch.allclose(norm.running_mean, 0.1 * normal(64, 2).mean(0))


def test_operators_that_may_be_somebody_else_s_are_not_called_again():
    tape, made = Tape(), normal(64, 2).requires_grad_() * 1.0
    tape.returned(made)
    root = made.square().mean()
    tape.called(torch.ops.aten.square, (made,), {}, root)
    assert tape.answers(root) == []


def test_what_was_changed_in_place_behind_our_back_is_noticed():
    tape, made = Tape(), normal(64, 2).requires_grad_() * 1.0
    tape.returned(made)
    with Outside(tape):
        root = (made * 2.0).sum()
    with torch.no_grad():
        made.add_(1.0)
    with Quiet():
        assert replayed(tape, root, None) is None


def test_nothing_is_drawn_and_nothing_is_kept():
    model, kept = nn.Linear(4, 2), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = TorchRecorder([model], [optimizer], budget=None)
    recorder.attach()
    for _ in range(3):
        output = model(torch.ones(16, 4))
        kept.append(weakref.ref(output))
        loss = (output - normal(16, 2)).exp().mean()
        state = torch.get_rng_state()
        loss.backward()
        assert torch.equal(state, torch.get_rng_state())
        optimizer.step()
        optimizer.zero_grad()
    del output, loss
    recorder.detach()
    gc.collect()
    assert recorder.stopped_by is None and all(one() is None for one in kept)
    assert [len(step.replays) for step in recorder.trace().steps] == [1, 1, 1]


def test_a_loss_that_is_known_is_not_computed_again():
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = TorchRecorder([model], [optimizer], budget=None)
    recorder.attach()
    for loss in (F.mse_loss, lambda o, y: F.mse_loss(o, y) / 4.0, lambda o, y: F.mse_loss(o, y) + (o.abs() ** 3).mean()):
        loss(model(normal(16, 4)), normal(16, 2)).backward()
        optimizer.step()
    recorder.detach()
    assert [len(step.replays) for step in recorder.trace().steps] == [0, 0, 1]
