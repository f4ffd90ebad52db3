"""Units that say nothing: which are dead is heard in the program's own passes, and those alone are brought back."""

import pytest
import torch
from torch import nn

from isograd.frameworks.torch.silent import Silence


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def batches(count=4, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return [(torch.randn(32, 4, generator=draw), torch.randint(0, 3, (32,), generator=draw)) for _ in range(count)]


def heard(net, *, spoiled=(), make=None):
    """Some steps at a rate of 0, of which the spoiled ones are taken back."""
    optimizer = (make or (lambda p: torch.optim.Adam(p, lr=0.0)))(net.parameters())
    silence = Silence((net,))
    silence.listen(True)
    for place, (x, y) in enumerate(batches()):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x * 1e6 if place in spoiled else x), y).backward()
        silence.stepping()
        optimizer.step()
        if place in spoiled:
            silence.taken_back()
        silence.stepped()
    return silence, optimizer


def kill(layer, units):
    with torch.no_grad():
        layer.bias[list(units)] = -50.0


def fires(net, depth):
    with torch.no_grad():
        return (net[:depth](torch.cat([x for x, _ in batches(seed=2)])) > 0).double().mean(0)


def test_half_of_a_layer_that_never_fires_comes_back_and_the_rest_stays_to_the_bit():
    net = network()
    kill(net[0], range(3))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    silence, optimizer = heard(net)
    assert silence.revive(optimizer)
    rates = fires(net, 2)
    assert bool(((rates[:3] > 0.3) & (rates[:3] < 0.7)).all())
    after = net.state_dict()
    assert torch.equal(after["0.weight"][3:], before["0.weight"][3:]) and torch.equal(after["0.bias"][3:], before["0.bias"][3:])
    assert all(torch.equal(after[name], before[name]) for name in before if not name.startswith("0."))


def test_a_revived_unit_gives_mean_0_and_deviation_1_on_what_was_heard():
    net = network()
    kill(net[0], range(6))
    silence, optimizer = heard(net)
    silence.revive(optimizer)
    with torch.no_grad():
        given = net[0](torch.cat([x for x, _ in batches()]))
    assert torch.allclose(given.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(given.std(0, correction=0), torch.ones(6), atol=1e-5)


def test_a_few_dead_units_are_left_alone():
    net = network()
    kill(net[0], range(2))
    silence, optimizer = heard(net)
    assert not silence.revive(optimizer) and bool((net[0].bias[:2] == -50.0).all())


def test_layers_in_front_of_a_dead_one_are_not_dead_though_no_gradient_reaches_them():
    net = network()
    kill(net[2], range(5))
    first = net[0].weight.clone()
    silence, optimizer = heard(net)
    assert silence.revive(optimizer)
    assert torch.equal(net[0].weight, first) and float(fires(net, 4).min()) > 0.1


def test_behind_a_layer_that_is_brought_back_dead_units_are_drawn_again():
    net = network()
    kill(net[0], range(6))
    kill(net[2], range(5))
    silence, optimizer = heard(net)
    assert silence.revive(optimizer)
    assert bool((net[2].bias == 0.0).all()) and float(fires(net, 4).mean()) > 0.2


def test_the_moments_of_these_units_alone_become_zero():
    net = network()
    kill(net[0], range(3))
    silence, optimizer = heard(net)
    state = optimizer.state[net[0].weight]
    state["exp_avg"].fill_(1.0)
    silence.revive(optimizer)
    assert bool((state["exp_avg"][:3] == 0.0).all()) and bool((state["exp_avg"][3:] == 1.0).all())


def test_a_saturated_tanh_is_dead_and_a_large_linear_output_is_not():
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
    with torch.no_grad():
        net[0].bias.fill_(40.0)
    silence, optimizer = heard(net)
    assert silence.revive(optimizer)
    with torch.no_grad():
        net[2].bias.add_(40.0)
    silence, optimizer = heard(net)
    assert not silence.revive(optimizer)


def test_a_norm_that_shuts_its_units_gets_weight_1_and_bias_0():
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        net[1].bias.fill_(-30.0)
    linear = net[0].weight.clone()
    silence, optimizer = heard(net)
    assert silence.revive(optimizer)
    assert bool((net[1].bias == 0.0).all()) and torch.equal(net[0].weight, linear)


def test_channels_of_a_convolution_count_as_units():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    kill(net[1], range(4))
    silence, optimizer = heard(net)
    assert silence.revive(optimizer) and float(fires(net, 3).mean()) > 0.2


def test_a_step_that_was_taken_back_says_nothing():
    one, other = network(), network()
    kill(one[0], range(6))
    kill(other[0], range(6))
    for net, spoiled in ((one, ()), (other, (1,))):
        silence, _ = heard(net, spoiled=spoiled)
        size = silence._heard[0].high - silence._heard[0].low
        assert float(size.max()) < 1e3 and float(silence._heard[0].count) == 32 * (4 - len(spoiled))


@pytest.mark.parametrize("take", ["frozen", "pruned", "shared", "parametrised"])
def test_what_is_out_on_purpose_or_not_its_own_is_left_alone(take):
    net = network()
    if take == "shared":
        net[2] = nn.Linear(6, 6)
        net[2].weight = nn.Parameter(net[2].weight)
        net.append(nn.Linear(3, 3))
        net[4] = nn.Linear(6, 3)
        net[0] = nn.Linear(4, 6)
        net.append(nn.Identity())
        twin = nn.Linear(4, 6)
        twin.weight, twin.bias = net[0].weight, net[0].bias
        net[6].inner = twin
    kill(net[0], range(6))
    if take == "frozen":
        net[0].requires_grad_(False)
    if take == "pruned":
        with torch.no_grad():
            net[0].weight.zero_()
    if take == "parametrised":
        nn.utils.parametrizations.weight_norm(net[0])
    silence, optimizer = heard(net)
    assert not silence.revive(optimizer) and bool((net[0].bias == -50.0).all())


def test_what_was_heard_goes_on_from_a_checkpoint():
    net = network()
    kill(net[0], range(3))
    silence, optimizer = heard(net)
    other = Silence((net,))
    other.keep(silence.kept())
    after = other.kept()
    assert all(torch.equal(after[name], tensor) for name, tensor in silence.kept().items())
    assert other.revive(optimizer)


def test_no_hook_is_left_and_evaluation_is_not_heard():
    net = network()
    hooks = dict(nn.modules.module._global_forward_hooks)
    silence = Silence((net,))
    silence.listen(True)
    net.eval()(batches()[0][0])
    with torch.no_grad():
        net.train()(batches()[0][0])
    assert not silence._step
    silence.listen(False)
    assert dict(nn.modules.module._global_forward_hooks) == hooks


def test_a_layer_that_was_not_run_in_these_steps_is_not_called_dead():
    net = network()
    net.append(nn.Linear(3, 3))
    aside = net.pop(5)
    net.spare = aside
    net.forward = lambda x: nn.Sequential(*list(net)[:5])(x)
    silence, optimizer = heard(net)
    assert not silence.revive(optimizer)
