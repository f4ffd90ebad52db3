"""Functions that reach a model from outside reach the copy in a copied program, and leave the original alone."""

import functools

import pytest

import isograd
from isograd.frameworks.torch.copying import together
from isograd.frameworks.torch.rebinding import rebound

torch = pytest.importorskip("torch")
nn = torch.nn

outside = nn.Linear(2, 2)


def penalised(outputs, targets):
    return 0.0 * outputs.sum() + helped()


def helped():
    return sum(p.square().sum() for p in outside.parameters()) / 2.0


class Trainer:
    def __init__(self, model):
        self.model, self.weights = model, list(model.parameters())

    def loss(self, outputs, targets):
        return 0.0 * outputs.sum() + sum(p.square().sum() for p in self.weights) / 2.0

    def __call__(self, outputs, targets):
        return self.loss(outputs, targets)


def closing(model):
    return lambda outputs, targets: 0.0 * outputs.sum() + sum(p.square().sum() for p in model.parameters()) / 2.0


def with_default(outputs, targets, model=outside):
    return 0.0 * outputs.sum() + sum(p.square().sum() for p in model.parameters()) / 2.0


def in_parts(outputs, targets, *, model):
    return with_default(outputs, targets, model)


LOSSES = {
    "a global of a function that it calls": penalised,
    "a closure": closing(outside),
    "a default": with_default,
    "a partial": functools.partial(in_parts, model=outside),
    "a method": Trainer(outside).loss,
    "an object": Trainer(outside),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_gradient_of_a_penalty_is_the_weights_of_the_copy_and_the_original_gets_none(loss):
    (twin,), own, _ = together((outside,), loss, None)
    (later,), own, _ = together((twin,), own, None)
    own(later(torch.ones(1, 2)), None).backward()
    assert all(torch.equal(p.grad, p) for p in later.parameters())
    assert all(p.grad is None for p in (*outside.parameters(), *twin.parameters()))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_check_leaves_no_gradient_behind(loss):
    optimizer = torch.optim.SGD(outside.parameters(), lr=0.1)
    before = [p.clone() for p in outside.parameters()]
    isograd.check(outside, (torch.ones(4, 2), torch.ones(4, 2)), loss, optimizer)
    assert all(p.grad is None and torch.equal(p, old) for p, old in zip(outside.parameters(), before, strict=True))


def test_what_holds_no_original_stays_the_same_object():
    for one in (penalised, closing(nn.Linear(1, 1)), Trainer(nn.Linear(1, 1)), nn.functional.mse_loss, len, 3):
        assert rebound(one, {id(outside): nn.Linear(2, 2)}) is one or one is penalised


def test_a_forward_that_was_put_onto_a_module_runs_the_copys_layers():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    net.forward = lambda x: net[1](net[0](x).relu())
    (twin,), _, _ = together((net,), None, None)
    twin(torch.ones(1, 2)).sum().backward()
    assert all(p.grad is not None for p in twin.parameters()) and all(p.grad is None for p in net.parameters())


def test_a_hook_that_names_the_model_names_the_copy():
    net = nn.Linear(2, 2)
    net.register_forward_hook(lambda module, args, output: output + net.bias)
    (twin,), _, _ = together((net,), None, None)
    twin(torch.ones(1, 2)).sum().backward()
    assert net.bias.grad is None and twin.bias.grad.tolist() == [2.0, 2.0]


def test_a_counter_that_a_function_writes_to_is_shared_and_one_that_refers_to_itself_ends():
    seen, count, net = [], 0, outside

    def loss(outputs, targets):
        nonlocal count
        count += len(net.bias)
        seen.append(loss.__name__)
        return outputs.sum() + 0.0 * outside.bias.sum()

    (twin,), own, _ = together((outside,), loss, None)
    own(twin(torch.ones(1, 2)), None).backward()
    assert seen == ["loss"] and count == 2 and outside.bias.grad is None
