"""Programs on sequences in the way of notebooks: epochs, windows, masks, causal attention, dilated convolutions, bags."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from healthy import data, skills
from healthy.draws import ADAPTIVE, Draw
from healthy.practice import practised, split
from looking import Watching


class LastOutput(nn.Module):
    """A recurrent net and a linear layer on what it says last."""

    def __init__(self, kind: Callable[..., nn.RNNBase], inputs: int, hidden: int, outputs: int, layers: int) -> None:
        super().__init__()
        self.rnn = kind(inputs, hidden, num_layers=layers, batch_first=True)
        self.fc = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, F) to (N, outputs)."""
        output, _ = self.rnn(x)
        return self.fc(output[:, -1])


def tides(draw: Draw, watch: Watching) -> float:
    """The next value of a series of two tides and weather, by sliding windows."""
    g = data.generator(121)
    t = torch.arange(1500.0)
    weather = torch.randn(1500, generator=g)
    for i in range(1, 1500):
        weather[i] = 0.9 * weather[i - 1] + 0.4 * weather[i]
    series = torch.sin(0.5 * t) + 0.6 * torch.sin(0.26 * t) + 0.1 * weather
    series = (series - series.mean()) / series.std()
    window = 12
    x = series.unfold(0, window, 1)[:-1, :, None].contiguous()
    y = series[window:, None]
    model = LastOutput(draw.pick("kind", [nn.LSTM, nn.GRU]), 1, draw.pick("hidden", [16, 24]), 1, 1)
    train, val, test = split((x, y), 800, 200)
    kept = practised(
        draw,
        watch,
        model,
        nn.MSELoss(),
        train,
        val,
        epochs=9,
        batches=(16, 32),
        optimizers=("adam", "adamw", "nadam", "rmsprop"),
        gentle=1.5,
    )
    return skills.evaluated(kept, test, skills.r2)


class EveryStep(nn.Module):
    """A net in both directions that says something at every moment."""

    def __init__(self, words: int, dim: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, dim, padding_idx=0)
        self.rnn = nn.GRU(dim, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T) to (N, T, C)."""
        return self.fc(self.rnn(self.embed(x))[0])


def parts_of_speech(draw: Draw, watch: Watching) -> float:
    """A tag for every word, which depends on the words beside it; padding is ignored."""
    g = data.generator(122)
    x = torch.randint(1, 31, (800, 14), generator=g)
    group = x % 3
    after = torch.cat([group[:, 1:], torch.zeros(800, 1, dtype=torch.long)], 1)
    y = (group + 2 * after) % 3
    length = torch.randint(8, 15, (800,), generator=g)
    gone = torch.arange(14)[None] >= length[:, None]
    x, y = x.masked_fill(gone, 0), y.masked_fill(gone, -100)
    model = EveryStep(31, draw.pick("dimension", [8, 16]), draw.pick("hidden", [12, 24]), 3)
    train, val, test = split((x, y), 400, 100)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=-100)

    kept = practised(
        draw,
        watch,
        model,
        loss,
        train,
        val,
        epochs=9,
        batches=(16,),
        optimizers=("adam", "adamw", "nadam", "radam"),
        gentle=2.0,
    )
    return skills.evaluated(kept, test, lambda o, t: skills.accuracy(o.argmax(2)[t >= 0], t[t >= 0]))


class Causal(nn.Module):
    """A causal transformer over symbols; the head may be tied to the embedding."""

    def __init__(self, symbols: int, length: int, dim: int, depth: int, tied: bool) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(symbols, dim), nn.Parameter(0.02 * torch.randn(length, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, symbols, bias=False)
        nn.init.normal_(self.embed.weight, std=dim**-0.5)
        if tied:
            self.head.weight = self.embed.weight
        self.register_buffer("mask", torch.triu(torch.full((length, length), float("-inf")), 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, T) to (N, T, symbols)."""
        h = self.embed(x) + self.places[: x.shape[1]]
        return self.head(self.norm(self.body(h, mask=self.mask)))


def clockwork(draw: Draw, watch: Watching) -> float:
    """The next symbol of texts in which each is the sum of the two before it, now and then wrong."""
    g = data.generator(123)
    x = torch.randint(0, 5, (900, 13), generator=g)
    for t in range(2, 13):
        right = (x[:, t - 1] + x[:, t - 2]) % 5
        x[:, t] = torch.where(torch.rand(900, generator=g) < 0.9, right, x[:, t])
    model = Causal(5, 12, draw.pick("dimension", [16, 32]), draw.pick("depth", [1, 2]), draw.pick("tied", [True, False]))
    train, val, test = split((x[:, :-1], x[:, 1:]), 400, 100)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, 1), target.flatten())

    kinds = ("adam", "adamw", "adamw, decay 0.1", "radam", "nadam")
    kept = practised(draw, watch, model, loss, train, val, epochs=16, batches=(16, 32), optimizers=kinds, gentle=1.2)
    return skills.evaluated(kept, test, lambda o, t: skills.accuracy(o[:, 1:].argmax(2).flatten(), t[:, 1:].flatten()))


class Dilated(nn.Module):
    """Causal convolutions with holes, each added to what came in."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Conv1d(2, width, 1)
        self.convs = nn.ModuleList([nn.Conv1d(width, width, 2, dilation=2**i) for i in range(depth)])
        self.out = nn.Conv1d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2, T) to (N, T)."""
        h = self.enter(x)
        for i, conv in enumerate(self.convs):
            h = h + F.relu(conv(F.pad(h, (2**i, 0))))
        return self.out(h).squeeze(1)


def echo(draw: Draw, watch: Watching) -> float:
    """What one channel said some moments ago, where the other opened a gate: dilated causal convolutions."""
    g = data.generator(124)
    x = torch.randn(900, 2, 24, generator=g)
    y = F.pad(x[:, 0, :-3], (3, 0)) + 0.5 * F.pad(x[:, 1, :-1], (1, 0)).relu() + 0.1 * torch.randn(900, 24, generator=g)
    model = Dilated(draw.pick("width", [12, 24]), draw.pick("depth", [3, 4]))
    train, val, test = split((x, y), 500, 100)
    kept = practised(
        draw,
        watch,
        model,
        draw.pick("loss", [nn.MSELoss(), nn.L1Loss()]),
        train,
        val,
        epochs=10,
        batches=(16, 32),
        optimizers=ADAPTIVE,
    )
    return skills.evaluated(kept, test, lambda o, t: skills.r2(o.flatten()[:, None], t.flatten()[:, None]))


class Bag(nn.Module):
    """A bag of instances, weighed by attention."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.enter, self.score = (
            nn.Sequential(nn.Linear(6, hidden), nn.ReLU()),
            nn.Sequential(nn.Linear(hidden, 16), nn.Tanh(), nn.Linear(16, 1)),
        )
        self.out = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, 6) to (N, 1)."""
        h = self.enter(x)
        return self.out((self.score(h).softmax(1) * h).sum(1))


def one_in_the_bag(draw: Draw, watch: Watching) -> float:
    """Is there one instance of the kind in the bag: attention over instances, one logit."""
    g = data.generator(125)
    x = torch.randn(2200, 10, 6, generator=g)
    y = torch.randint(0, 2, (2200,), generator=g)
    x[torch.arange(2200), torch.randint(0, 10, (2200,), generator=g)] += (
        2.5 * y[:, None] * torch.tensor([1.0, -1.0, 1.0, 0.0, 0.0, 0.0])
    )
    model = Bag(draw.pick("hidden", [24, 48]))
    train, val, test = split((x, y[:, None].float()), 1200, 200)
    kept = practised(
        draw, watch, model, nn.BCEWithLogitsLoss(), train, val, epochs=10, batches=(16, 32), optimizers=ADAPTIVE, gentle=1.5
    )
    return skills.evaluated(kept, test, skills.signs)


def pendulum(draw: Draw, watch: Watching) -> float:
    """The right-hand side of a differential equation is learned through the steps of its solver."""
    g = data.generator(127)
    state = torch.stack([3 * torch.rand(700, generator=g) - 1.5, 3 * torch.rand(700, generator=g) - 1.5], 1)
    path = [state]
    for _ in range(8):
        angle, speed = path[-1].unbind(1)
        path.append(path[-1] + 0.15 * torch.stack([speed, -2 * torch.sin(angle) - 0.2 * speed], 1))
    y = torch.stack(path[1:], 1).flatten(1)
    width = draw.pick("width", [16, 32])
    field = nn.Sequential(nn.Linear(2, width), draw.activation(("tanh", "softplus", "silu", "elu"))(), nn.Linear(width, 2))

    class Solver(nn.Module):
        """Euler's steps."""

        def __init__(self) -> None:
            super().__init__()
            self.field = field

        def forward(self, x: Tensor) -> Tensor:
            """(N, 2) to (N, 16)."""
            found = []
            for _ in range(8):
                x = x + 0.15 * self.field(x)
                found.append(x)
            return torch.stack(found, 1).flatten(1)

    train, val, test = split((state, y + 0.02 * torch.randn(y.shape, generator=g)), 400, 100)
    kept = practised(draw, watch, Solver(), nn.MSELoss(), train, val, epochs=12, batches=(16, 32), optimizers=ADAPTIVE)
    return skills.evaluated(kept, test, skills.r2)


THIRD = (tides, parts_of_speech, clockwork, echo, one_in_the_bag, pendulum)
