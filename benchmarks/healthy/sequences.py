"""Programs on text, sequences and series: recurrent nets, transformers, language models, forecasts, state carried over."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from healthy import data, skills
from healthy.draws import ADAPTIVE, Draw, mlp
from healthy.loops import fit
from looking import Watching

_WORDS = 200


def topics(classes: int, length: int, share: float, rows: int = 2400, train: int = 1200) -> data.Sets:
    """Texts of ``length`` words of which a share comes from the topic's own words. (N, length) of tokens; target: classes."""
    g = data.generator(classes)
    y = torch.randint(0, classes, (rows,), generator=g)
    own = 20 + 15 * y[:, None] + torch.randint(0, 15, (rows, length), generator=g)
    common = torch.randint(0, _WORDS, (rows, length), generator=g)
    return data.halves(torch.where(torch.rand(rows, length, generator=g) < share, own, common), y, train=train)


def markov(symbols: int, rows: int, length: int) -> tuple[Tensor, float, float]:
    """Sequences of a chain with few likely successors, and the loss of an ignorant and of a perfect model in nats."""
    g = data.generator(symbols)
    chance = torch.softmax(2.5 * torch.randn(symbols, symbols, generator=g), 1)
    tokens = [torch.randint(0, symbols, (rows,), generator=g)]
    for _ in range(length - 1):
        tokens.append(torch.multinomial(chance[tokens[-1]], 1, generator=g).flatten())
    sequence = torch.stack(tokens, 1)
    often = torch.bincount(sequence[:, 1:].flatten(), minlength=symbols) / sequence[:, 1:].numel()
    ignorant = -(often * often.clamp_min(1e-9).log()).sum().item()
    perfect = -chance[sequence[:, :-1], sequence[:, 1:]].log().mean().item()
    return sequence, ignorant, perfect


class Averaged(nn.Module):
    """Embedded words, averaged, and a head."""

    def __init__(self, width: int, head: nn.Module) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(_WORDS, width, padding_idx=0), head

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, time) to (N, C)."""
        logits: Tensor = self.head(self.embed(tokens).mean(1))
        return logits


def bag_of_words(draw: Draw, watch: Watching) -> float:
    """Topics by averaged embeddings."""
    sets, width = topics(4, 20, 0.25), draw.pick("embedding", [16, 32])
    model = Averaged(width, mlp(draw, width, 4, widths=(32,), depths=(0, 1)))
    fit(draw, watch, model, nn.CrossEntropyLoss(), sets[0], gentle=2.0, optimizers=ADAPTIVE)
    return skills.evaluated(model, sets[1], skills.classes)


class LastState(nn.Module):
    """A recurrent net and a head on its last state."""

    def __init__(self, rnn: nn.RNNBase, head: nn.Module) -> None:
        super().__init__()
        self.rnn, self.head = rnn, head

    def forward(self, x: Tensor) -> Tensor:
        """(N, time, F) to the head's shape."""
        out: Tensor = self.head(self.rnn(x)[0][:, -1])
        return out


def lstm_sum(draw: Draw, watch: Watching) -> float:
    """The sign of a sum over time by an LSTM."""
    g = data.generator(1)
    x = torch.randn(2400, draw.variant("time", [10, 16]), 3, generator=g)
    y = (x[:, :, 0].sum(1) > 0).long()
    width = draw.pick("width", [12, 24])
    rnn = nn.LSTM(3, width, num_layers=draw.pick("layers", [1, 1, 2]), batch_first=True)
    if draw.pick("forget bias", [True, False]):
        with torch.no_grad():
            rnn.get_parameter("bias_hh_l0")[width : 2 * width] = 1.0
    model, sets = LastState(rnn, nn.Linear(width, 2)), data.halves(x, y, train=1200)
    fit(
        draw,
        watch,
        model,
        nn.CrossEntropyLoss(),
        sets[0],
        steps=180,
        optimizers=ADAPTIVE,
        gentle=1.5,
        loops=("plain", "cleared_last", "epochs", "double"),
    )
    return skills.evaluated(model, sets[1], skills.classes)


class Speaker(nn.Module):
    """A language model whose output matrix is the embedding itself."""

    def __init__(self, symbols: int, width: int, body: nn.Module | None) -> None:
        super().__init__()
        self.embed, self.body = nn.Embedding(symbols, width), body
        self.out = nn.Linear(width, symbols)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.out.weight = self.embed.weight
        self.mix = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, time) to (N, time, symbols)."""
        x = self.embed(tokens)
        if self.body is not None:
            x = self.body(x)[0]
        logits: Tensor = self.out(x + self.mix(x))
        return logits


def _next_symbol(draw: Draw, watch: Watching, recurrent: bool, symbols: int, length: int, steps: int) -> float:
    tokens, ignorant, perfect = markov(symbols, 1200, length)
    width = draw.pick("width", [24, 32])
    model = Speaker(symbols, width, nn.GRU(width, width, batch_first=True) if recurrent else None)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, 1), target.flatten())

    train, test = (tokens[:800, :-1], tokens[:800, 1:]), (tokens[800:, :-1], tokens[800:, 1:])
    fit(
        draw,
        watch,
        model,
        loss,
        train,
        steps=steps,
        batches=(16, 32),
        optimizers=ADAPTIVE,
        gentle=1.5,
        loops=("plain", "cleared_last", "accumulating", "epochs"),
    )
    return skills.evaluated(model, test, lambda o, t: skills.explained(loss(o, t).item(), ignorant, perfect))


def tied_bigram(draw: Draw, watch: Watching) -> float:
    """The next symbol of a chain, embedding and output tied."""
    return _next_symbol(draw, watch, recurrent=False, symbols=20, length=20, steps=300)


def carried_state(draw: Draw, watch: Watching) -> float:
    """A sum of two waves foretold step by step in windows; the state is carried over and detached on purpose."""
    g = data.generator(5)
    time = torch.arange(1000.0)
    phases = 6.28 * torch.rand(16, 2, 1, generator=g)
    series = (0.21 * time + phases[:, 0]).sin() + 0.5 * (0.037 * time + phases[:, 1]).sin()
    series = (series + 0.1 * torch.randn(series.shape, generator=g))[:, :, None]
    kind = draw.pick("cell", [nn.GRU, nn.LSTM, nn.RNN])
    window, width = draw.pick("window", [10, 20]), draw.pick("width", [16, 24])
    rnn, head = kind(1, width, batch_first=True), nn.Linear(width, 1)
    model = nn.ModuleDict({"rnn": rnn, "head": head})
    optimizer = draw.optimizer(model.parameters(), kinds=ADAPTIVE)
    steps, clip = 4 * (800 // window), draw.clip()
    with watch(model, optimizer, steps=steps):
        for _ in range(4):
            state = None
            for start in range(0, 800 - window + 1, window):
                x, y = series[:, start : start + window], series[:, start + 1 : start + window + 1]
                optimizer.zero_grad()
                out, state = rnn(x, state)
                loss = F.mse_loss(head(out), y)
                loss.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
    with torch.no_grad():
        return skills.r2(head(rnn(series[:, 800:-1])[0])[:, 50:], series[:, 851:])


def negations(draw: Draw, watch: Watching) -> float:
    """Texts whose word of mood is turned by a "not" before it, by a small convolution over words."""
    g = data.generator(6)
    tokens = torch.randint(20, _WORDS, (3000, 12), generator=g)
    at, mood, turned = (torch.randint(low, high, (3000,), generator=g) for low, high in ((1, 12), (0, 2), (0, 2)))
    rows = torch.arange(3000)
    tokens[rows, at] = 2 + mood * 5 + torch.randint(0, 5, (3000,), generator=g)
    tokens[rows, at - 1] = torch.where(turned == 1, 1, tokens[rows, at - 1])
    width, act = draw.pick("channels", [24, 32]), draw.activation(("relu", "gelu", "tanh", "silu"))

    class Convolved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.conv, self.act = nn.Embedding(_WORDS, 16), nn.Conv1d(16, width, 3, padding=1), act()
            self.head = nn.Linear(width, 2)

        def forward(self, seen: Tensor) -> Tensor:
            out: Tensor = self.head(self.act(self.conv(self.embed(seen).transpose(1, 2))).amax(2))
            return out

    model, sets = Convolved(), data.halves(tokens, mood ^ turned, train=2000)
    fit(draw, watch, model, nn.CrossEntropyLoss(), sets[0], steps=450, optimizers=ADAPTIVE, gentle=2.0)
    return skills.evaluated(model, sets[1], skills.classes)


class Counting(nn.Module):
    """An encoder layer or two over embedded words with a mask for the padding, mean pooled."""

    def __init__(self, width: int, layers: int, classes: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(_WORDS, width, padding_idx=0), nn.Embedding(24, width)
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, time) of tokens, 0 where there is none, to (N, C)."""
        empty = tokens == 0
        x = self.body(self.embed(tokens) + self.place.weight[: tokens.shape[1]], src_key_padding_mask=empty)
        kept = (~empty).to(x.dtype)[:, :, None]
        logits: Tensor = self.head((x * kept).sum(1) / kept.sum(1))
        return logits


def masked_transformer(draw: Draw, watch: Watching) -> float:
    """Topics of texts of unequal length by a small transformer."""
    (x, y), (tx, ty) = topics(6, 24, 0.5)
    lengths = torch.randint(8, 25, (2400,), generator=data.generator(2))[:, None]
    x, tx = (t * (torch.arange(24) < length).long() for t, length in ((x, lengths[:1200]), (tx, lengths[1200:])))
    model = Counting(draw.pick("width", [16, 32]), draw.pick("layers", [1, 2]), 6)
    fit(
        draw,
        watch,
        model,
        nn.CrossEntropyLoss(),
        (x, y),
        steps=200,
        batches=(16, 32),
        optimizers=ADAPTIVE,
        loops=("plain", "cleared_last", "epochs", "autocast"),
    )
    return skills.evaluated(model, (tx, ty), skills.classes)


def plain_rnn(draw: Draw, watch: Watching) -> float:
    """The class of a noisy wave by a plain recurrent net, its last outputs averaged."""
    g = data.generator(11)
    y = torch.randint(0, 3, (2400,), generator=g)
    time = torch.arange(16.0)
    x = ((0.4 + 0.45 * y[:, None]) * time + 6.28 * torch.rand(2400, 1, generator=g)).sin() + 0.4 * torch.randn(
        2400, 16, generator=g
    )
    width = draw.pick("width", [16, 32])
    rnn = nn.RNN(
        1,
        width,
        nonlinearity=draw.pick("nonlinearity", ["tanh", "relu"]),
        batch_first=True,
        bidirectional=draw.pick("both ways", [True, False]),
    )
    if draw.pick("orthogonal", [True, False]):
        nn.init.orthogonal_(rnn.get_parameter("weight_hh_l0"), 0.9)

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = rnn, nn.Linear(width * (2 if rnn.bidirectional else 1), 3)

        def forward(self, seen: Tensor) -> Tensor:
            out: Tensor = self.head(self.rnn(seen)[0].mean(1))
            return out

    model, sets = Pooled(), data.halves(x[:, :, None], y, train=1200)
    fit(
        draw,
        watch,
        model,
        nn.CrossEntropyLoss(),
        sets[0],
        steps=300,
        optimizers=ADAPTIVE,
        loops=("plain", "cleared_last", "epochs", "double"),
    )
    return skills.evaluated(model, sets[1], skills.classes)


def language_gru(draw: Draw, watch: Watching) -> float:
    """The next symbol of another chain by a GRU with tied weights."""
    return _next_symbol(draw, watch, recurrent=True, symbols=16, length=16, steps=200)


class Translator(nn.Module):
    """A GRU reads, another writes and looks at what was read; the true symbol is given at each step."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, width)
        self.reader = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.writer = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(2 * width, 10)
        self.place = nn.Parameter(0.3 * torch.randn(6, width))

    def forward(self, read: Tensor, shifted: Tensor) -> Tensor:
        """(N, 6) and (N, 6) to (N, 6, 10)."""
        memory = self.reader(self.embed(read) + self.place)[0]
        state = self.writer(self.embed(shifted) + self.place)[0]
        weight = torch.softmax(state @ memory.transpose(1, 2) / memory.shape[2] ** 0.5, 2)
        logits: Tensor = self.out(torch.cat([state, weight @ memory], 2))
        return logits


def reversal(draw: Draw, watch: Watching) -> float:
    """Six symbols backwards, reader and writer joined by attention, teacher forcing."""
    read = torch.randint(0, 10, (2400, 6), generator=data.generator(12))
    write = read.flip(1)
    shifted = torch.cat([torch.full((2400, 1), 10), write[:, :-1]], 1)
    model = Translator(draw.pick("width", [32, 48]))
    sets = data.halves(read, shifted, write, train=2000)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, 1), target.flatten())

    fit(
        draw,
        watch,
        model,
        loss,
        sets[0],
        steps=200,
        batches=(32,),
        optimizers=ADAPTIVE,
        gentle=2.0,
        loops=("plain", "cleared_last", "epochs"),
    )
    return skills.evaluated(model, sets[1], lambda o, t: skills.accuracy(o.argmax(2).flatten(), t.flatten()))


def forecast(draw: Draw, watch: Watching) -> float:
    """The next value of a driven oscillation from the last twelve by a convolution with a skip."""
    g = data.generator(13)
    noise = torch.randn(3000, generator=g)
    series = [torch.zeros(()), torch.zeros(())]
    for value in noise:
        series.append(1.6 * series[-1] - 0.8 * series[-2] + value)
    x = torch.stack(series).unfold(0, 13, 1)
    x = (x - x.mean()) / x.std()
    channels, act = draw.pick("channels", [8, 16]), draw.activation(("relu", "tanh", "silu", "elu"))
    body = nn.Sequential(
        nn.Conv1d(1, channels, 3),
        act(),
        nn.Conv1d(channels, channels, 3, dilation=2),
        act(),
        nn.Flatten(),
        nn.Linear(6 * channels, 1),
    )

    class FromLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, seen: Tensor) -> Tensor:
            out: Tensor = seen[:, :, -1] + self.body(seen)
            return out

    model, sets = FromLast(), data.halves(x[:, None, :12].contiguous(), x[:, 12:].contiguous(), train=2000)
    fit(draw, watch, model, draw.pick("loss", [nn.MSELoss(), nn.L1Loss()]), sets[0], steps=300)
    return skills.evaluated(model, sets[1], skills.r2)


FIRST = (bag_of_words, lstm_sum, tied_bigram, carried_state)
SECOND = (negations, masked_transformer, plain_rnn, language_gru, reversal, forecast)
