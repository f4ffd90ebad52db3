"""Programs on pairs, views and rewards: recommenders, contrastive nets, teachers, targets that lag behind, games."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from healthy import data, skills
from healthy.draws import ADAPTIVE, Draw, mlp
from healthy.loops import fit
from looking import Watching


def ratings(rows: int = 12_000, train: int = 9000, noise: float = 0.3) -> data.Sets:
    """Ratings of 100 items by 150 people: offsets and four hidden tastes. ((person, item, rating) rows)."""
    g = data.generator(20)
    people, items = torch.randn(150, 5, generator=g), torch.randn(100, 5, generator=g)
    person, item = torch.randint(0, 150, (rows,), generator=g), torch.randint(0, 100, (rows,), generator=g)
    score = (people[person, :4] * items[item, :4]).sum(1) / 2 + 0.5 * people[person, 4] + 0.5 * items[item, 4]
    return data.halves(person, item, score + noise * torch.randn(rows, generator=g), train=train)


def hidden_signal() -> data.Sets:
    """Eight columns that tell twelve kinds apart. ``seen`` adds twenty-four columns of noise, drawn anew at every look."""
    return data.blobs(12, 8, 1.0, rows=2400, train=1600)


def seen(signal: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One look at the signal: a little noise on it and loud columns beside it, (N, 8) to (N, 32)."""
    noise = torch.randn(len(signal), 32, generator=generator)
    return torch.cat([signal / 2 + 0.1 * noise[:, :8], 1.5 * noise[:, 8:]], 1)


@torch.no_grad()
def neighbours(encoder: nn.Module, sets: data.Sets) -> float:
    """How often the nearest of the known rows, as the encoder sees them, is of the same kind."""
    (x, y), (tx, ty) = sets
    was, g = encoder.training, data.generator(30)
    encoder.eval()
    known, asked = encoder(seen(x, g)), encoder(seen(tx, g))
    encoder.train(was)
    return skills.accuracy(y[torch.cdist(asked, known).argmin(1)], ty)


class Tastes(nn.Module):
    """Dot product of a person and an item, and their offsets."""

    def __init__(self, width: int, people: int = 150, items: int = 100) -> None:
        super().__init__()
        self.person, self.item = nn.Embedding(people, width), nn.Embedding(items, width)
        self.person_offset, self.item_offset = nn.Embedding(people, 1), nn.Embedding(items, 1)
        for table in (self.person, self.item):
            nn.init.normal_(table.weight, std=0.3)

    def forward(self, person: Tensor, item: Tensor) -> Tensor:
        """(N,) and (N,) to (N,)."""
        offsets: Tensor = (self.person_offset(person) + self.item_offset(item))[:, 0]
        return (self.person(person) * self.item(item)).sum(1) + offsets


def factors(draw: Draw, watch: Watching) -> float:
    """Ratings by factors, held small by weight decay."""
    sets, model = ratings(), Tastes(draw.pick("factors", [4, 8]))
    optimizer = torch.optim.Adam(
        model.parameters(), lr=draw.log("learning rate", 5e-3, 2e-2), weight_decay=draw.log("decay", 1e-5, 1e-3)
    )
    fit(
        draw,
        watch,
        model,
        nn.MSELoss(),
        sets[0],
        optimizer=optimizer,
        batches=(128, 256),
        steps=600,
        loops=("plain", "cleared_last", "epochs"),
    )
    return skills.evaluated(model, sets[1], skills.r2)


def words_in_context(draw: Draw, watch: Watching) -> float:
    """Skip-grams with negative samples in a table of 20,000 rows with sparse gradients, of which a batch touches few."""
    g, width = data.generator(21), draw.pick("width", [16, 24])
    rows = draw.pick("rows", [5000, 20_000])
    topic = torch.randint(0, 20, (16_000,), generator=g)
    centre, context = (topic * 20 + torch.randint(0, 20, (16_000,), generator=g) for _ in range(2))
    left, right = (nn.Embedding(rows, width, sparse=True) for _ in range(2))
    nn.init.uniform_(left.weight, -0.1, 0.1)
    nn.init.uniform_(right.weight, -0.1, 0.1)
    model = nn.ModuleDict({"left": left, "right": right})
    optimizer = torch.optim.SparseAdam(list(model.parameters()), lr=draw.log("learning rate", 0.01, 0.04))
    steps, batch = 300, draw.pick("batch", [128, 256])
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            chosen = torch.randint(0, 12_000, (batch,))
            optimizer.zero_grad()
            near = (left(centre[chosen]) * right(context[chosen])).sum(1)
            far = (left(centre[chosen])[:, None] * right(torch.randint(0, 400, (batch, 4)))).sum(2)
            loss = -(F.logsigmoid(near).mean() + F.logsigmoid(-far).mean())
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        own = (left(centre[12_000:]) * right(context[12_000:])).sum(1)
        other = (left(centre[12_000:]) * right(torch.randint(0, 400, (4000,), generator=g))).sum(1)
        return 2 * (own > other).float().mean().item() - 1


def triplets(draw: Draw, watch: Watching) -> float:
    """Rows of one kind near each other, by triplets; skill of the nearest neighbour, from what the untrained net has to 1."""
    sets = hidden_signal()
    x, y = sets[0]
    model = mlp(draw, 32, 8, depths=(1, 2), norms=("none", "batch"), widths=(32, 64))
    loss_of = nn.TripletMarginLoss(margin=draw.pick("margin", [0.5, 1.0]))
    optimizer, steps = draw.optimizer(model.parameters()), 300
    by_class = [(y == kind).nonzero().flatten() for kind in range(12)]
    before = neighbours(model, sets)
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            kinds = torch.randint(0, 11, (2, 32))
            kinds[1] = (kinds[0] + 1 + kinds[1]) % 12
            anchor, near, far = (
                seen(x[torch.stack([by_class[k][torch.randint(0, len(by_class[k]), ())] for k in row.tolist()])])
                for row in (kinds[0], kinds[0], kinds[1])
            )
            optimizer.zero_grad()
            loss = loss_of(model(anchor), model(near), model(far))
            loss.backward()
            optimizer.step()
    return (neighbours(model, sets) - before) / (1 - before)


def distilled(draw: Draw, watch: Watching) -> float:
    """A small pupil learns the softened answers of a big teacher that is not trained any more."""
    (x, y), test = data.digits()
    x, test = x.flatten(1), (test[0].flatten(1), test[1])
    teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    first = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for _ in range(100):
        rows = torch.randint(0, len(x), (64,))
        first.zero_grad()
        F.cross_entropy(teacher(x[rows]), y[rows]).backward()
        first.step()
    teacher.eval()
    heat, pupil = draw.pick("temperature", [2.0, 4.0]), mlp(draw, 64, 10, widths=(16, 32), depths=(1, 2))
    optimizer, steps = draw.optimizer(pupil.parameters()), 400
    watched = (pupil, teacher) if draw.pick("teacher watched too", [True, False]) else pupil
    with watch(watched, optimizer, steps=steps):
        for _ in range(steps):
            rows = torch.randint(0, len(x), (32,))
            with torch.no_grad():
                wanted = F.log_softmax(teacher(x[rows]) / heat, 1)
            optimizer.zero_grad()
            answer = pupil(x[rows])
            soft = F.kl_div(F.log_softmax(answer / heat, 1), wanted, reduction="batchmean", log_target=True)
            (heat**2 * soft + 0.3 * F.cross_entropy(answer, y[rows])).backward()
            optimizer.step()
    return skills.evaluated(pupil, test, skills.classes)


def q_learning(draw: Draw, watch: Watching) -> float:
    """A walk of nine places to the reward at its end, by Q-learning from a memory, with a target net that lags behind."""
    places, discount = 9, 0.9
    online = mlp(draw, places, 2, widths=(32,), depths=(1, 2), norms=("none",), dropouts=(0.0,))
    target = copy.deepcopy(online).requires_grad_(False)
    optimizer, batch = draw.optimizer(online.parameters(), kinds=ADAPTIVE), draw.pick("batch", [32, 64])
    every, steps = draw.pick("target copied every", [10, 25]), 600
    eye = torch.eye(places)
    with watch(online, optimizer, steps=steps):
        for step in range(steps):
            place, move = torch.randint(0, places - 1, (batch,)), torch.randint(0, 2, (batch,))
            after = (place + (2 * move - 1)).clamp(min=0)
            done = after == places - 1
            with torch.no_grad():
                wanted = torch.where(done, 1.0, -0.02) + discount * (~done) * target(eye[after]).amax(1)
            optimizer.zero_grad()
            loss = F.smooth_l1_loss(online(eye[place]).gather(1, move[:, None])[:, 0], wanted)
            loss.backward()
            optimizer.step()
            if step % every == 0:
                target.load_state_dict(online.state_dict())
    value = torch.zeros(places, 2)
    for _ in range(100):
        at = torch.arange(places - 1)
        for direction in (0, 1):
            after = (at + (2 * direction - 1)).clamp(min=0)
            done = after == places - 1
            value[:-1, direction] = torch.where(done, 1.0, -0.02) + discount * (~done) * value[after].amax(1)
    with torch.no_grad():
        return skills.r2(online(eye)[:-1].flatten(), value[:-1].flatten())


def own_views(draw: Draw, watch: Watching) -> float:
    """Rows seen twice in noise: an online net foretells what a slow copy of itself makes of the other view (BYOL)."""
    sets = hidden_signal()
    x = sets[0][0]
    encoder = nn.Sequential(nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
    guess = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32))
    slow = copy.deepcopy(encoder).requires_grad_(False)
    online = nn.ModuleDict({"encoder": encoder, "guess": guess})
    optimizer = torch.optim.Adam(online.parameters(), lr=draw.log("learning rate", 1e-3, 4e-3))
    steps, keep, before = 300, draw.pick("keep", [0.95, 0.98]), neighbours(encoder, sets)
    with watch(online, optimizer, steps=steps):
        for _ in range(steps):
            rows = x[torch.randint(0, len(x), (64,))]
            one, two = seen(rows), seen(rows)
            with torch.no_grad():
                wanted = slow(two), slow(one)
            optimizer.zero_grad()
            first = 2 - 2 * F.cosine_similarity(guess(encoder(one)), wanted[0]).mean()
            second = 2 - 2 * F.cosine_similarity(guess(encoder(two)), wanted[1]).mean()
            (first + second).backward()
            optimizer.step()
            with torch.no_grad():
                for own, lag in zip(encoder.parameters(), slow.parameters(), strict=True):
                    lag.lerp_(own, 1 - keep)
    return (neighbours(encoder, sets) - before) / (1 - before)


def two_towers(draw: Draw, watch: Watching) -> float:
    """People and items in two towers with sparse tables and dense tops, an optimizer each; pairs ranked one against another."""
    (person, item, score), (tperson, titem, tscore) = ratings(noise=0.1)
    width = draw.pick("width", [8, 16])
    tables = nn.ModuleDict(
        {
            "person": nn.Embedding(draw.pick("rows", [150, 4000]), width, sparse=True),
            "item": nn.Embedding(100, width, sparse=True),
        }
    )
    tops = nn.ModuleDict(
        {name: nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, 8)) for name in ("person", "item")}
    )
    sparse = torch.optim.SparseAdam(list(tables.parameters()), lr=draw.log("sparse learning rate", 5e-3, 2e-2))
    dense, steps, batch = torch.optim.AdamW(tops.parameters(), lr=draw.log("dense learning rate", 2e-3, 8e-3)), 500, 256
    order = person.argsort()
    starts = torch.searchsorted(person[order], torch.arange(151))

    def rated(who: Tensor, what: Tensor) -> Tensor:
        out: Tensor = (tops["person"](tables["person"](who)) * tops["item"](tables["item"](what))).sum(1)
        return out

    with watch((tables, tops), (sparse, dense), steps=steps):
        for _ in range(steps):
            who = torch.randint(0, 150, (batch,))
            low, count = starts[who], starts[who + 1] - starts[who]
            one, two = (order[low + (torch.rand(batch) * count).long()] for _ in range(2))
            sign = (score[one] - score[two]).sign()
            sparse.zero_grad()
            dense.zero_grad()
            loss = -F.logsigmoid(sign * (rated(who, item[one]) - rated(who, item[two])))[sign != 0].mean()
            loss.backward()
            sparse.step()
            dense.step()
    with torch.no_grad():
        guess = rated(tperson, titem)
        same = (tperson[:, None] == tperson) & (tscore[:, None] > tscore + 0.2)
        return 2 * (guess[:, None] > guess)[same].float().mean().item() - 1


def contrasted(draw: Draw, watch: Watching) -> float:
    """Two noisy views of one row found among all others of the batch (InfoNCE, written by hand)."""
    sets = hidden_signal()
    x = sets[0][0]
    encoder = mlp(draw, 32, 16, widths=(64,), depths=(1, 2), norms=("none", "batch", "layer"))
    optimizer, heat, steps = draw.optimizer(encoder.parameters(), kinds=ADAPTIVE), draw.pick("temperature", [0.1, 0.3]), 250
    before = neighbours(encoder, sets)
    with watch(encoder, optimizer, steps=steps):
        for _ in range(steps):
            rows = x[torch.randint(0, len(x), (64,))]
            one, two = (F.normalize(encoder(seen(rows)), dim=1) for _ in range(2))
            near = one @ two.T / heat
            optimizer.zero_grad()
            own = torch.arange(64)
            loss = (F.cross_entropy(near, own) + F.cross_entropy(near.T, own)) / 2
            loss.backward()
            optimizer.step()
    return (neighbours(encoder, sets) - before) / (1 - before)


def few_labels(draw: Draw, watch: Watching) -> float:
    """A hundred labels and many rows without: a mean teacher asks for the same answer under noise."""
    (x, y), test = data.digits()
    x, test = x.flatten(1), (test[0].flatten(1), test[1])
    pupil = mlp(draw, 64, 10, widths=(64, 128), depths=(1, 2), norms=("none", "layer"), dropouts=(0.1, 0.3))
    teacher = copy.deepcopy(pupil).requires_grad_(False)
    optimizer, steps = draw.optimizer(pupil.parameters()), 300
    weight, known = draw.pick("weight", [0.5, 2.0]), 100
    with watch((pupil, teacher), optimizer, steps=steps):
        for step in range(steps):
            rows, free = torch.randint(0, known, (16,)), x[torch.randint(known, len(x), (32,))]
            with torch.no_grad():
                wanted = teacher(free).softmax(1)
            optimizer.zero_grad()
            agreed = (pupil(free + 0.1 * torch.randn_like(free)).softmax(1) - wanted).square().sum(1).mean()
            loss = F.cross_entropy(pupil(x[rows]), y[rows]) + weight * min(1.0, step / 150) * agreed
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for own, lag in zip(pupil.parameters(), teacher.parameters(), strict=True):
                    lag.mul_(0.97).add_(own, alpha=0.03)
    return skills.evaluated(teacher, test, skills.classes)


def actor_critic(draw: Draw, watch: Watching) -> float:
    """One of four moves for a reward that depends on the context: a policy gradient with an advantage that is detached."""
    g = data.generator(22)
    rule = torch.randn(6, 4, generator=g)
    trunk = mlp(draw, 6, 32, widths=(32,), depths=(1,), norms=("none", "layer"), dropouts=(0.0,))
    model = nn.ModuleDict({"trunk": trunk, "policy": nn.Linear(32, 4), "value": nn.Linear(32, 1)})
    nn.init.zeros_(next(model["policy"].parameters()))
    optimizer = torch.optim.Adam(model.parameters(), lr=draw.log("learning rate", 3e-3, 1e-2))
    steps, bonus, clip = 500, draw.pick("entropy bonus", [0.0, 0.01]), draw.clip()
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            context = torch.randn(64, 6)
            seen = torch.tanh(trunk(context))
            chance = torch.distributions.Categorical(logits=model["policy"](seen))
            move = chance.sample()
            reward = ((context @ rule).argmax(1) == move).float() + 0.1 * torch.randn(64)
            value = model["value"](seen)[:, 0]
            advantage = (reward - value).detach()
            policy_loss = -(chance.log_prob(move) * advantage).mean() - bonus * chance.entropy().mean()
            optimizer.zero_grad()
            (policy_loss + 0.5 * F.mse_loss(value, reward)).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
    with torch.no_grad():
        context = torch.randn(4000, 6, generator=g)
        return skills.accuracy(model["policy"](torch.tanh(trunk(context))).argmax(1), (context @ rule).argmax(1))


FIRST = (factors, words_in_context, triplets, distilled, q_learning, own_views)
SECOND = (two_towers, contrasted, few_labels, actor_critic)
