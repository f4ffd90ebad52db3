"""``watch.explain`` by a score of the person's own: what the run came to by it, and a loss that asks for the opposite."""

import torch
from torch import nn

import isograd

LOSS = nn.functional.cross_entropy


def problem():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1_600, 8, generator=draw)
    y = (x[:, :4] @ torch.randn(4, 3, generator=draw)).argmax(1)
    return [(x[i : i + 32], y[i : i + 32]) for i in range(0, 1_600, 32)]


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))


def counted(m):
    x, y = problem()[-1]
    with torch.no_grad():
        return float((m(x).argmax(1) == y).float().mean())


def test_a_loss_that_asks_for_the_opposite_of_the_score_is_told_and_one_that_asks_for_it_is_not():
    for sign, said in ((-1.0, True), (1.0, False)):
        model, batches = net(), problem()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

        def loss(out, target, sign=sign):
            return -sign * out.softmax(1).gather(1, target[:, None]).mean()

        with isograd.watch(model, optimizer, steps=60) as watch:
            for x, y in batches[:-1] * (1 + 60 // len(batches)):
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
        found = watch.explain(batches, loss, budget=700, score=counted).cause
        assert any("training makes the score worse" in one for one in found.remarks) is said


def test_a_score_of_the_persons_own_is_asked_of_the_network_as_the_run_left_it_and_of_its_start():
    model, batches, seen = net(), problem(), []
    first = float(model[0].weight.detach().sum())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isograd.watch(model, optimizer, steps=20) as watch:
        for x, y in batches[:20]:
            optimizer.zero_grad()
            LOSS(model(x), y).backward()
            optimizer.step()

    def score(m):
        seen.append(float(m[0].weight.detach().sum()))
        return counted(m)

    watch.explain(batches, LOSS, budget=200, score=score)
    last = float(model[0].weight.detach().sum())
    assert last in seen and first in seen and last != first
