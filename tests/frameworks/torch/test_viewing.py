"""A loop may look at its tensors as it likes: views of another type are nobody's fault."""

import pytest


def test_a_real_loop_that_looks_at_the_bytes_of_a_tensor_is_watched_on():
    torch = pytest.importorskip("torch")
    import isograd

    net = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with isograd.watch(net, optimizer, budget=None) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.ones(4, 3)).square().mean().backward()
            optimizer.step()
            assert net.weight.detach().view(torch.uint8).numel() == 12
    assert watch.report() is not None and len(watch.trace.steps) == 3
