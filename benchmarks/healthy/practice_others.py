"""Games, generators, graphs and pairs in the way of notebooks, each with the loop that its kind needs."""

from __future__ import annotations

import copy
import random
from collections import deque

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical

from healthy import data, skills
from healthy.draws import ADAPTIVE, Draw, mlp
from healthy.practice import practised, split
from looking import Watching


def _moons(rows: int, seed: int) -> Tensor:
    """Two half moons (N, 2)."""
    g = data.generator(seed)
    angle, side = torch.pi * torch.rand(rows, generator=g), torch.randint(0, 2, (rows,), generator=g)
    x = torch.stack([angle.cos() + side - 0.5, angle.sin() * (1 - 2 * side) + 0.4 * side - 0.2], 1)
    return x + 0.05 * torch.randn(rows, 2, generator=g)


def corridor(draw: Draw, watch: Watching) -> float:
    """Double Q-learning in a corridor with a trap: replay, a target net that follows softly; judged by arrival."""
    length, hidden = draw.variant("length", [8, 10]), draw.pick("hidden", [24, 48])
    random.seed(draw.seed)
    net = nn.Sequential(nn.Linear(length, hidden), nn.ReLU(), nn.Linear(hidden, 3))
    slow, optimizer = copy.deepcopy(net), draw.optimizer(net.parameters(), kinds=("adam", "adamw", "radam", "amsgrad"))
    memory: deque[tuple[int, int, int, float, float]] = deque(maxlen=1000)
    place, steps, eye = 0, 400, torch.eye(length)

    def moved(cell: int, action: int) -> tuple[int, float, float]:
        after = min(length - 1, max(0, cell + (-1, 1, 2)[action]))
        if after == length // 2:
            return after, -1.0, 1.0
        return after, (1.0 if after == length - 1 else -0.01), float(after == length - 1)

    with watch(net, optimizer, steps=steps):
        for step in range(steps + 60):
            with torch.no_grad():
                greedy = int(net(eye[place]).argmax())
            action = random.randrange(3) if random.random() < max(0.15, 1 - step / 200) else greedy
            after, reward, done = moved(place, action)
            memory.append((place, action, after, reward, done))
            place = random.choice([c for c in range(length - 1) if c != length // 2]) if done else after
            if step < 60:
                continue
            rows = torch.tensor(random.sample(list(memory), 32))
            s, a, n = rows[:, 0].long(), rows[:, 1].long(), rows[:, 2].long()
            with torch.no_grad():
                best = net(eye[n]).argmax(1, keepdim=True)
                aim = rows[:, 3] + 0.9 * (1 - rows[:, 4]) * slow(eye[n]).gather(1, best)[:, 0]
            loss = F.smooth_l1_loss(net(eye[s]).gather(1, a[:, None])[:, 0], aim)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for kept, learned in zip(slow.parameters(), net.parameters(), strict=True):
                    kept.lerp_(learned, 0.05)
    arrived = []
    with torch.no_grad():
        plan = net(eye).argmax(1).tolist()
    for start in range(length - 1):
        cell, done = start, 0.0
        for _ in range(2 * length):
            cell, _, done = moved(cell, plan[cell])
            if done:
                break
        arrived.append(cell == length - 1)
    return sum(arrived) / (length - 1)


def clipped_policy(draw: Draw, watch: Watching) -> float:
    """Proximal policy optimisation on one-step games: old and new policy, clipped ratio, critic, entropy."""
    g = data.generator(131)
    goal = torch.randn(5, 4, generator=g)
    actor, critic = (
        mlp(draw, 5, 4, widths=(32,), depths=(1,), norms=("none",), dropouts=(0.0,)),
        nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 1)),
    )
    optimizer = draw.optimizer([*actor.parameters(), *critic.parameters()], kinds=("adam", "adamw", "amsgrad"), gentle=1.5)
    rounds, passes, bound = 50, draw.pick("passes", [3, 4]), draw.pick("clip", [0.1, 0.2])
    with watch((actor, critic), optimizer, steps=rounds * passes):
        for _ in range(rounds):
            x = torch.randn(128, 5)
            with torch.no_grad():
                action = Categorical(logits=actor(x)).sample()
                before = Categorical(logits=actor(x)).log_prob(action)
                reward = (x @ goal).gather(1, action[:, None])[:, 0] + 0.3 * torch.randn(128)
                gain = reward - critic(x)[:, 0]
                gain = (gain - gain.mean()) / gain.std()
            for _ in range(passes):
                policy = Categorical(logits=actor(x))
                ratio = (policy.log_prob(action) - before).exp()
                loss = -torch.minimum(ratio * gain, ratio.clamp(1 - bound, 1 + bound) * gain).mean()
                loss = loss + 0.5 * F.mse_loss(critic(x)[:, 0], reward) - 0.005 * policy.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_([*actor.parameters(), *critic.parameters()], 0.5)
                optimizer.step()
    x = torch.randn(2000, 5, generator=g)
    with torch.no_grad():
        reached = (x @ goal).gather(1, actor(x).argmax(1, keepdim=True)).mean()
    return float(reached / (x @ goal).amax(1).mean())


def least_squares_gan(draw: Draw, watch: Watching) -> float:
    """Two moons by a least-squares GAN whose generator is averaged over its steps."""
    real, width = _moons(1500, 132), draw.pick("width", [32, 64])
    make = nn.Sequential(
        nn.Linear(4, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
    )
    judge = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    rate = draw.log("rate", 1e-3, 2e-3)
    optimizer_g, optimizer_d = (torch.optim.Adam(net.parameters(), lr=rate, betas=(0.5, 0.99)) for net in (make, judge))
    mean = torch.optim.swa_utils.AveragedModel(make, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98))
    epochs, loader = 12, torch.utils.data.DataLoader(real, batch_size=64, shuffle=True, drop_last=True)  # type: ignore[arg-type, var-annotated]
    with watch((make, judge), (optimizer_g, optimizer_d), steps=epochs * len(loader)):
        for _ in range(epochs):
            for rows in loader:
                fake = make(torch.randn(64, 4))
                loss_d = 0.5 * ((judge(rows) - 1).square().mean() + judge(fake.detach()).square().mean())
                optimizer_d.zero_grad()
                loss_d.backward()
                optimizer_d.step()
                loss_g = 0.5 * (judge(fake) - 1).square().mean()
                optimizer_g.zero_grad()
                loss_g.backward()
                optimizer_g.step()
                mean.update_parameters(make)
    with torch.no_grad():
        return skills.likeness(mean(torch.randn(1500, 4)), _moons(1500, 133))


def diffusion(draw: Draw, watch: Watching) -> float:
    """Noise is foretold and taken away step by step: a small diffusion model of two moons, the error of its guess judged."""
    levels, width = draw.variant("levels", [20, 40]), draw.pick("width", [48, 96])
    keep = torch.cumprod(1 - torch.linspace(1e-3, 0.25, levels), 0)
    net = nn.Sequential(nn.Linear(2 + 8, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))
    optimizer, epochs = draw.optimizer(net.parameters(), kinds=ADAPTIVE), 12
    real = _moons(1600, 134)
    loader = torch.utils.data.DataLoader(real, batch_size=draw.pick("batch", [32, 64]), shuffle=True)  # type: ignore[arg-type, var-annotated]

    def guessed(x: Tensor, level: Tensor) -> Tensor:
        t = level[:, None] / levels * torch.tensor([1.0, 2.0, 4.0, 8.0])
        return net(torch.cat([x, t.sin(), t.cos()], 1))

    with watch(net, optimizer, steps=epochs * len(loader)):
        for _ in range(epochs):
            for rows in loader:
                level, noise = torch.randint(0, levels, (len(rows),)), torch.randn_like(rows)
                blurred = keep[level, None].sqrt() * rows + (1 - keep[level, None]).sqrt() * noise
                optimizer.zero_grad()
                F.mse_loss(guessed(blurred, level), noise).backward()
                optimizer.step()
    g = data.generator(135)
    test = _moons(4000, 136)
    level, noise = torch.randint(0, levels, (4000,), generator=g), torch.randn(4000, 2, generator=g)
    with torch.no_grad():
        found = guessed(keep[level, None].sqrt() * test + (1 - keep[level, None]).sqrt() * noise, level)
    return skills.r2(found, noise)


class Variational(nn.Module):
    """Digits through a few hidden numbers with a spread."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.read, self.write = nn.Linear(64, width), nn.Sequential(nn.Linear(hidden, width), nn.ReLU(), nn.Linear(width, 64))
        self.mean, self.spread = nn.Linear(width, hidden), nn.Linear(width, hidden)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 64) to logits, mean and log variance."""
        h = F.relu(self.read(x))
        mean, log_variance = self.mean(h), self.spread(h).clamp(-8, 4)
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        return self.write(mean + (0.5 * log_variance).exp() * noise), mean, log_variance


def annealed_vae(draw: Draw, watch: Watching) -> float:
    """A variational autoencoder whose divergence is weighed in slowly."""
    (x, _), (tx, _) = data.digits()
    x, tx = x.flatten(1), tx.flatten(1)
    model, most = Variational(draw.pick("width", [48, 96]), draw.variant("hidden", [6, 12])), draw.pick("beta", [0.1, 0.3])
    optimizer, epochs = draw.optimizer(model.parameters(), kinds=ADAPTIVE, gentle=0.7), 14
    loader = torch.utils.data.DataLoader(x, batch_size=32, shuffle=True)  # type: ignore[arg-type, var-annotated]
    with watch(model, optimizer, steps=epochs * len(loader)):
        for epoch in range(epochs):
            model.train()
            for rows in loader:
                optimizer.zero_grad()
                logits, mean, log_variance = model(rows)
                kept = F.binary_cross_entropy_with_logits(logits, rows, reduction="sum") / len(rows)
                divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum() / len(rows)
                (kept + most * min(1.0, epoch / 6) * divergence).backward()
                optimizer.step()
    return skills.evaluated(model, (tx, tx), lambda o, t: skills.r2(o[0].sigmoid(), t))


class Graph(nn.Module):
    """Two convolutions on a graph whose matrix is fixed."""

    matrix: Tensor

    def __init__(self, matrix: Tensor, inputs: int, hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.first, self.second, self.drop = nn.Linear(inputs, hidden), nn.Linear(hidden, classes), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, F) to (N, C)."""
        return self.second(self.drop(self.matrix @ F.relu(self.first(self.matrix @ x))))


def citations(draw: Draw, watch: Watching) -> float:
    """Which field is a paper of: a dense graph net on all papers at once, the loss on few of them."""
    g = data.generator(137)
    field = torch.randint(0, 3, (300,), generator=g)
    links = (torch.rand(300, 300, generator=g) < torch.where(field[:, None] == field, 0.05, 0.008)).float().triu(1)
    matrix = links + links.T + torch.eye(300)
    matrix = matrix / matrix.sum(1, keepdim=True)
    x = (torch.rand(300, 30, generator=g) < (0.1 + 0.15 * torch.rand(3, 30, generator=g))[field]).float()
    model = Graph(matrix, 30, draw.pick("hidden", [8, 16]), 3, draw.pick("dropout", [0.0, 0.3]))
    optimizer, steps = draw.optimizer(model.parameters(), kinds=("adam", "adamw", "nadam"), gentle=4.0), 200
    scheduler = draw.schedule(optimizer, steps)
    with watch(model, optimizer, steps=steps):
        for step in range(steps):
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(x)[:90], field[:90]).backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            if step % 20 == 19:
                model.eval()
                with torch.no_grad():
                    (model(x)[90:130].argmax(1) == field[90:130]).float().mean().item()
    return skills.evaluated(model, (x, field), lambda o, t: skills.classes(o[130:], t[130:]))


class Preference(nn.Module):
    """Vectors of users and items, and a level for each item."""

    def __init__(self, users: int, items: int, dim: int) -> None:
        super().__init__()
        self.users, self.items, self.level = nn.Embedding(users, dim), nn.Embedding(items, dim), nn.Embedding(items, 1)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, user: Tensor, item: Tensor, other: Tensor) -> Tensor:
        """(N,) each to how much more the item is liked than the other (N,)."""
        one, two = (self.items(i) * self.users(user) for i in (item, other))
        return one.sum(1) + self.level(item)[:, 0] - two.sum(1) - self.level(other)[:, 0]


def ranked_pairs(draw: Draw, watch: Watching) -> float:
    """Which of two items would the user take: Bayesian personalised ranking."""
    g = data.generator(138)
    taste, trait, level = torch.randn(80, 3, generator=g), torch.randn(60, 3, generator=g), torch.randn(60, generator=g)
    user = torch.randint(0, 80, (9000,), generator=g)
    one, two = torch.randint(0, 60, (9000,), generator=g), torch.randint(0, 60, (9000,), generator=g)
    score = taste @ trait.T + level
    better = score[user, one] > score[user, two]
    item, other = torch.where(better, one, two), torch.where(better, two, one)
    model = Preference(80, 60, draw.pick("dimension", [4, 8]))
    train, val, test = split((user, item, other, torch.ones(9000)), 6500, 500)

    def loss(output: Tensor, _: Tensor) -> Tensor:
        return -F.logsigmoid(output).mean()

    kept = practised(
        draw,
        watch,
        model,
        loss,
        train,
        val,
        epochs=5,
        batches=(64, 128),
        optimizers=("adam", "adamw", "amsgrad", "radam", "adagrad"),
        gentle=3.0,
    )
    return skills.evaluated(kept, test, lambda o, t: 2.0 * (o > 0).double().mean().item() - 1.0)


class Pairs(nn.Module):
    """One encoder for both sides of a pair, the distance between what it says."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2, 64) to (N,)."""
        return F.pairwise_distance(self.encoder(x[:, 0]), self.encoder(x[:, 1]))


def same_or_not(draw: Draw, watch: Watching) -> float:
    """Are two digits the same: distances with a margin; judged by a threshold of half the margin."""
    (x, y), (tx, ty) = data.digits()
    g = data.generator(139)
    x, y = torch.cat([x, tx]).flatten(1), torch.cat([y, ty])
    left, right = torch.randint(0, len(x), (3000,), generator=g), torch.randint(0, len(x), (3000,), generator=g)
    for row in range(0, 3000, 2):
        alike = (y == y[left[row]]).nonzero()[:, 0]
        right[row] = alike[int(torch.randint(0, len(alike), (1,), generator=g))]
    pairs, different = torch.stack([x[left], x[right]], 1), (y[left] != y[right]).float()
    model = Pairs(
        mlp(draw, 64, draw.pick("dimension", [4, 8]), widths=(48, 96), depths=(1, 2), dropouts=(0.0,), norms=("none", "layer"))
    )

    def loss(distance: Tensor, apart: Tensor) -> Tensor:
        return ((1 - apart) * distance.square() + apart * F.relu(1.0 - distance).square()).mean()

    train, val, test = split((pairs, different), 1800, 400)
    kept = practised(draw, watch, model, loss, train, val, epochs=8, optimizers=ADAPTIVE)
    return skills.evaluated(kept, test, lambda o, t: skills.accuracy((o > 0.5).long(), t.long()))


THIRD = (corridor, clipped_policy, least_squares_gan, diffusion, annealed_vae, citations, ranked_pairs, same_or_not)
