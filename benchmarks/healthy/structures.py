"""Programs whose structure is the point: graphs, several tasks, ensembles, sets, experts, very deep residual nets."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from healthy import data, skills
from healthy.draws import ADAPTIVE, Draw, mlp
from healthy.loops import fit
from looking import Watching


def messages(draw: Draw, watch: Watching) -> float:
    """Kinds of the nodes of a graph by two rounds of messages, a matrix product each; a mask keeps a tenth of the labels."""
    g, nodes = data.generator(32), 200
    y = torch.randint(0, 4, (nodes,), generator=g)
    chance = torch.where(y[:, None] == y, 0.12, 0.02)
    edges = (torch.rand(nodes, nodes, generator=g) < chance).float().triu(1)
    edges = edges + edges.T + torch.eye(nodes)
    spread = edges / edges.sum(1, keepdim=True)
    x = F.one_hot(y, 4).float() + draw.variant("noise", [0.7, 1.0]) * torch.randn(nodes, 4, generator=g)
    known = torch.rand(nodes, generator=g) < 0.2
    width, drop = draw.pick("width", [16, 32]), draw.pick("dropout", [0.0, 0.3])
    first, second = nn.Linear(4, width), nn.Linear(width, 4)
    model, act = nn.ModuleList([first, second]), draw.activation(("relu", "elu", "tanh"))()
    optimizer, steps = draw.optimizer(model.parameters()), 200
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            optimizer.zero_grad()
            hidden = F.dropout(act(spread @ first(x)), drop)
            loss = F.cross_entropy((spread @ second(hidden))[known], y[known])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return skills.accuracy((spread @ second(act(spread @ first(x))))[~known].argmax(1), y[~known])


def two_tasks(draw: Draw, watch: Watching) -> float:
    """A class and a number from one trunk, the losses added with learned weights or fixed ones."""
    (x, number), (tx, tnumber) = data.waves(6, 1, 0.1)
    kind, tkind = (x[:, 0] + x[:, 1] > 0).long(), (tx[:, 0] + tx[:, 1] > 0).long()
    trunk = mlp(draw, 6, 32, widths=(32, 64), depths=(1, 2), norms=("none", "layer"))
    model = nn.ModuleDict({"trunk": trunk, "kind": nn.Linear(32, 2), "number": nn.Linear(32, 1)})
    learned = draw.pick("weights learned", [True, False])
    log = nn.Parameter(torch.zeros(2), requires_grad=learned)
    model["weights"] = nn.ParameterDict({"log": log})
    optimizer, steps = draw.optimizer((p for p in model.parameters() if p.requires_grad), kinds=ADAPTIVE), 400
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            rows = torch.randint(0, len(x), (64,))
            seen = torch.relu(trunk(x[rows]))
            losses = torch.stack(
                [F.cross_entropy(model["kind"](seen), kind[rows]), F.mse_loss(model["number"](seen), number[rows])]
            )
            loss = ((-log).exp() * losses + log).sum() if learned else losses.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        seen = torch.relu(trunk(tx))
        return (skills.accuracy(model["kind"](seen).argmax(1), tkind) + skills.r2(model["number"](seen), tnumber)) / 2


def ensemble(draw: Draw, watch: Watching) -> float:
    """Five small nets at once: stacked weights, called through vmap of a functional call."""
    (x, y), (tx, ty) = data.blobs(4, 6, 0.9)
    members = [nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4)) for _ in range(5)]
    weights, _ = torch.func.stack_module_state(members)
    stacked = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(weight.detach()) for name, weight in weights.items()})
    empty = copy.deepcopy(members[0]).to("meta")

    def called(parameters: dict[str, Tensor], rows: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(empty, parameters, (rows,))
        return out

    def outputs(rows: Tensor) -> Tensor:
        own = {name: stacked[name.replace(".", "_")] for name in weights}
        all_of_them: Tensor = torch.vmap(called, in_dims=(0, None))(own, rows)
        return all_of_them

    optimizer, steps = draw.optimizer(stacked.parameters()), 250
    with watch(stacked, optimizer, steps=steps):
        for _ in range(steps):
            rows = torch.randint(0, len(x), (32,))
            optimizer.zero_grad()
            F.cross_entropy(outputs(x[rows]).flatten(0, 1), y[rows].repeat(5)).backward()
            optimizer.step()
    with torch.no_grad():
        return skills.accuracy(outputs(tx).softmax(2).mean(0).argmax(1), ty)


class Skips(nn.Module):
    """Many layers of x + branch(norm(x)), the branches small at the start or scaled by a learned number from zero."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, how: str) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.scale = nn.Parameter(torch.zeros(depth)) if how == "learned from zero" else None
        if self.scale is None:
            for layer in self.layers:
                nn.init.normal_(layer.get_parameter("weight"), std=(2 / (width * depth)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(N, F) to (N, C)."""
        x = self.stem(x)
        for index, (norm, layer) in enumerate(zip(self.norms, self.layers, strict=True)):
            branch = torch.relu(layer(norm(x)))
            x = x + (branch if self.scale is None else self.scale[index] * branch)
        logits: Tensor = self.head(x)
        return logits


def deep_skips(draw: Draw, watch: Watching) -> float:
    """Twelve to thirty residual layers."""
    sets = data.blobs(5, 8, 0.9)
    model = Skips(8, 5, 24, draw.pick("depth", [12, 20, 30]), draw.pick("branches", ["small", "learned from zero"]))
    fit(
        draw,
        watch,
        model,
        nn.CrossEntropyLoss(),
        sets[0],
        steps=120,
        gentle=0.7,
        loops=("plain", "cleared_last", "autocast", "double"),
    )
    return skills.evaluated(model, sets[1], skills.classes)


class OfSets(nn.Module):
    """Elements are embedded, joined by sum, mean, maximum or attention, and judged together."""

    def __init__(self, width: int, how: str) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.weigh = nn.Linear(width, 1) if how == "attention" else None
        self.all, self.how = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)), how

    def forward(self, x: Tensor) -> Tensor:
        """(N, elements, 3) to (N, 1)."""
        seen = self.each(x)
        if self.weigh is not None:
            joined = (torch.softmax(self.weigh(seen), 1) * seen).sum(1)
        else:
            joined = seen.mean(1) if self.how == "mean" else seen.amax(1)
        out: Tensor = self.all(joined)
        return out


def sets_of_points(draw: Draw, watch: Watching) -> float:
    """The largest first coordinate of a set of points."""
    x = torch.randn(3000, 8, 3, generator=data.generator(33))
    y = (x[:, :, 0].amax(1, keepdim=True) - 1.4) / 0.6
    model = OfSets(draw.pick("width", [24, 48]), draw.pick("joined by", ["mean", "maximum", "attention"]))
    fit(draw, watch, model, nn.MSELoss(), (x[:1500], y[:1500]), steps=400)
    return skills.evaluated(model, (x[1500:], y[1500:]), skills.r2)


class Experts(nn.Module):
    """A softmax over four small nets; ``balance`` is what an uneven use of them costs."""

    def __init__(self, inputs: int, outputs: int, width: int, top: int) -> None:
        super().__init__()
        self.gate, self.top, self.balance = nn.Linear(inputs, 4), top, torch.zeros(())
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, outputs)) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, F) to (N, C)."""
        share = torch.softmax(self.gate(x), 1)
        self.balance = 4 * share.mean(0).square().sum() - 1
        if self.top < 4:
            best = share.topk(self.top, 1)
            share = torch.zeros_like(share).scatter(1, best.indices, best.values / best.values.sum(1, keepdim=True))
        return (share[:, :, None] * torch.stack([expert(x) for expert in self.experts], 1)).sum(1)


def experts(draw: Draw, watch: Watching) -> float:
    """A mixture of experts with a penalty on uneven use."""
    sets = data.waves(3, 1, 0.1)
    model, weight = Experts(3, 1, draw.pick("width", [16, 32]), draw.pick("top", [2, 4])), draw.pick("balance", [0.0, 0.05])

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output, target) + weight * model.balance.to(output.dtype)

    fit(
        draw, watch, model, loss, sets[0], steps=500, optimizers=ADAPTIVE, gentle=1.5, loops=("plain", "cleared_last", "epochs")
    )
    return skills.evaluated(model, sets[1], skills.r2)


FIRST = (messages, two_tasks, ensemble)
SECOND = (deep_skips, sets_of_points, experts)
