"""Programs whose models are stepped by an optimizer each, as adversarial ones are: checked, explained and cured as others."""

import pytest
import torch
from torch import nn

import isograd
from isograd.errors import ModelError, RequestError
from isograd.frameworks.torch.births import TorchBirths
from isograd.frameworks.torch.edits import another_optimizer
from isograd.records.edit import Edit

POINTS = [torch.randn(32, 2, generator=torch.Generator().manual_seed(place)) + 3.0 for place in range(8)]


def networks():
    return nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))


def step(models, optimizers, real):
    (generator, critic), (first, second) = models, optimizers
    judge, ones = nn.functional.binary_cross_entropy_with_logits, torch.ones(len(real), 1)
    made = generator(torch.randn(len(real), 2))
    second.zero_grad()
    (judge(critic(real), ones) + judge(critic(made.detach()), 0.0 * ones)).backward()
    second.step()
    first.zero_grad()
    judge(critic(made), ones).backward()
    first.step()


def score(models):
    with torch.no_grad():
        made = models[0](torch.randn(200, 2, generator=torch.Generator().manual_seed(0)))
    return -float((made.mean(0) - 3.0).abs().mean())


def adams(of_generator, of_critic, rate=1e-5):
    return torch.optim.Adam(of_generator, lr=rate), torch.optim.RMSprop(of_critic, lr=rate)


def farthest(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((p - q).detach().abs().max()) for p, q in pairs)


def born(optimizer=adams):
    return TorchBirths(networks, None, optimizer, step, score).born(0, POINTS)


def test_an_adversarial_program_at_a_tiny_rate_is_given_another_and_it_is_proven():
    proof = isograd.cure(
        networks, POINTS, optimizer=adams, step=step, score=score, budget="16 runs", steps=60, edits=Edit("learning_rate", 3e-2)
    )
    assert proof.verdict == "proven" and proof.record.effect.low > 0.5


def state_of(models, optimizers):
    kept = [tensor.clone() for model in models for tensor in model.state_dict().values()]
    return kept, [one.state_dict()["state"] for one in optimizers], torch.get_rng_state()


def test_a_check_goes_a_step_with_both_and_leaves_them_as_they_are():
    torch.manual_seed(3)
    models = networks()
    optimizers = adams(models[0].parameters(), models[1].parameters(), rate=1e-3)
    before = state_of(models, optimizers)
    report = isograd.check(models, POINTS[0], step=step, optimizer=optimizers, steps=400, deep=True)
    after = state_of(models, optimizers)
    assert all(torch.equal(*pair) for pair in zip(before[0], after[0], strict=True))
    assert before[1] == after[1] == [{}, {}] and torch.equal(before[2], after[2])
    assert report.record.anatomy.optimizer is not None and report.record.forecast is not None
    assert "two training steps" in str(report)


def test_a_network_that_one_of_two_optimizers_steps_at_an_absurd_rate_is_told_by_a_check():
    torch.manual_seed(3)
    body, head = nn.Sequential(nn.Linear(8, 32), nn.ReLU()), nn.Linear(32, 1)
    inputs = torch.randn(64, 8)
    batch = (inputs, inputs[:, :1])
    for rate, healthy in ((1e-3, True), (1e3, False)):
        both = [torch.optim.Adam(body.parameters(), lr=1e-3), torch.optim.SGD(head.parameters(), lr=rate)]
        assert isograd.check((body, head), batch, nn.functional.mse_loss, both, steps=400).healthy == healthy


def test_the_cause_is_looked_for_in_a_watched_program_with_two_optimizers():
    torch.manual_seed(3)
    models = networks()
    optimizers = adams(models[0].parameters(), models[1].parameters())
    with isograd.watch(models, optimizers) as watch:
        for real in POINTS * 5:
            step(models, optimizers, real)
    with pytest.raises(RequestError, match="several models and optimizers") as caught:
        watch.explain(POINTS, nn.functional.mse_loss)
    assert "step=" in str(caught.value)
    cause = watch.explain(POINTS, step=step, score=score, budget=2_000).record.cause
    assert cause.causes[0].edit.kind == "learning_rate"


def test_a_factory_with_an_argument_for_each_model_is_given_the_parameters_of_each():
    made = born()
    held = [{id(p) for group in one.param_groups for p in group["params"]} for one in made.optimizer.members]
    assert held == [{id(p) for p in model.parameters()} for model in made.models]


def test_both_optimizers_move_their_model_and_the_start_stays():
    made = born()
    before, after = born(), made.trained(POINTS, 4)
    assert [farthest(*pair) for pair in zip(made.models, before.models, strict=True)] == [0.0, 0.0]
    assert all(farthest(*pair) > 0.0 for pair in zip(made.models, after.models, strict=True))


def test_clipping_and_another_optimizer_reach_each_of_them():
    stepped = born().apply(Edit("optimizer", "sgd"))
    assert [type(one).__name__ for one in stepped.optimizer.members] == ["SGD", "SGD"]
    assert isinstance(another_optimizer(stepped.models, "adam"), torch.optim.Adam)
    clipped = stepped.apply(Edit("clip_norm", 1e-9))
    for start, freely, held in zip(
        stepped.models, stepped.trained(POINTS, 2).models, clipped.trained(POINTS, 2).models, strict=True
    ):
        assert farthest(start, held) < 1e-7 < 1e-4 < farthest(start, freely)


def test_layers_that_grow_are_refused_where_nothing_says_which_optimizer_takes_them():
    with pytest.raises(ModelError, match="several optimizers step this program"):
        born().apply(Edit("width", 32.0))


@pytest.mark.parametrize("odd", [[], [1], ()])
def test_a_factory_that_gives_no_optimizers_is_told(odd):
    with pytest.raises(RequestError, match="gives no optimizer"):
        born(lambda of_generator, of_critic: odd)


def test_an_optimizer_that_computes_the_loss_again_is_no_member_where_the_loss_is_given():
    body, head = nn.Linear(2, 4), nn.Linear(4, 1)
    both = [torch.optim.SGD(body.parameters(), lr=0.1), torch.optim.LBFGS(head.parameters())]
    with pytest.raises(ModelError, match="LBFGS computes the loss again") as caught:
        isograd.check((body, head), (torch.ones(4, 2), torch.ones(4, 1)), nn.functional.mse_loss, both)
    assert "step=" in str(caught.value)


def test_the_one_of_several_that_steps_no_model_of_the_program_is_told():
    other = nn.Linear(2, 2)
    with pytest.raises(ModelError, match="none of the model's parameters"):
        born(lambda of_generator, of_critic: [torch.optim.SGD(of_critic, lr=0.1), torch.optim.SGD(other.parameters(), lr=0.1)])
