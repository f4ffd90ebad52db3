"""What a program does by hooks on gradients and steps is done by its copies too, to the copies."""

import torch
from torch import nn

from isograd.frameworks.torch.copying import together


def test_hooks_on_gradients_and_steps_work_on_the_copies_and_leave_the_originals_alone():
    model, seen = nn.Linear(2, 1), []
    held = model.weight
    model.weight.register_hook(lambda gradient: gradient.clamp(max=0.0))
    model.weight.register_hook(lambda gradient: 2.0 * gradient)

    def cleared(parameter):
        parameter.grad.zero_()

    model.bias.register_post_accumulate_grad_hook(cleared)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

    def clamped(stepped, args, kwargs):
        with torch.no_grad():
            held.clamp_(-0.01, 0.01)
        seen.append(stepped)

    optimizer.register_step_post_hook(clamped)
    before = [p.detach().clone() for p in model.parameters()]
    (copy,), _, twin = together((model,), None, optimizer)
    copy(torch.tensor([[1.0, -1.0]])).sum().backward()
    assert copy.weight.grad.tolist() == [[0.0, -2.0]] and copy.bias.grad.tolist() == [0.0]
    twin.step()
    assert seen == [twin] and float(copy.weight.detach().abs().max()) <= 0.01 + 1e-9
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert model.weight.grad is None


def test_a_hook_that_isograd_listens_by_is_not_copied():
    model = nn.Linear(2, 1)

    def ours(gradient):
        raise AssertionError

    ours.__module__ = "isograd.frameworks.torch.layers"
    model.weight.register_hook(ours)
    (copy,), _, _ = together((model,), None, None)
    copy(torch.ones(1, 2)).sum().backward()
    assert copy.weight.grad is not None


def test_a_hook_that_steps_an_optimizer_is_not_copied_as_it_would_step_the_original():
    model = nn.Linear(2, 1)
    optimizers = {parameter: torch.optim.SGD([parameter], lr=1.0) for parameter in model.parameters()}

    def stepped(parameter):
        for optimizer in optimizers.values():
            optimizer.step()

    model.weight.register_post_accumulate_grad_hook(stepped)
    before = [p.detach().clone() for p in model.parameters()]
    (copy,), _, _ = together((model,), None, None)
    copy(torch.ones(1, 2)).sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)) and copy.weight.grad is not None
