"""Small data sets: those that scikit-learn carries, and generators whose structure is known; the same for every seed."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

Split = tuple[Tensor, Tensor, Tensor, Tensor]
"""Training inputs, training targets, held-out inputs, held-out targets."""


def _split(x: Tensor, y: Tensor, held_out: float = 0.35, *, standard: bool = True) -> Split:
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    cut = int(len(x) * (1.0 - held_out))
    x, y = x[order], y[order]
    if standard:
        deviation, mean = torch.std_mean(x[:cut], dim=0)
        x = (x - mean) / deviation.clamp_min(1e-6)
    return x[:cut], y[:cut], x[cut:], y[cut:]


@cache
def bundled(name: str) -> Split:
    """A table of scikit-learn, standardised: "wine", "breast_cancer", "diabetes"; numbers to foretell are standardised too."""
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    answers = torch.tensor(y)
    if name == "diabetes":
        answers = ((answers - answers.mean()) / answers.std()).float()
    return _split(torch.tensor(x, dtype=torch.float32), answers)


@cache
def digits() -> Split:
    """8 x 8 pictures of digits, (N, 64) in [-1, 1]."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return _split(torch.tensor(x, dtype=torch.float32) / 8.0 - 1.0, torch.tensor(y), standard=False)


@cache
def friedman(n: int = 1200, noise: float = 0.5) -> Split:
    """Friedman's first function of 10 uniform features, of which 5 matter; standardised on both sides."""
    g = torch.Generator().manual_seed(11)
    x = torch.rand(n, 10, generator=g)
    y = 10 * torch.sin(math.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    y = y + noise * torch.randn(n, generator=g)
    return _split(x, (y - y.mean()) / y.std())


@cache
def plant(n: int = 1200) -> Split:
    """Two outputs of a machine with 8 gauges: products and a kink; standardised on both sides."""
    g = torch.Generator().manual_seed(12)
    x = torch.randn(n, 8, generator=g)
    first = x[:, 0] * x[:, 1] + x[:, 2].relu() - x[:, 3]
    second = torch.tanh(2 * x[:, 4]) + x[:, 5] * x[:, 0] + 0.5 * x[:, 6].abs()
    y = torch.stack([first, second], 1) + 0.1 * torch.randn(n, 2, generator=g)
    return _split(x, (y - y.mean(0)) / y.std(0))


@cache
def moons(n: int = 1000) -> Split:
    """Two half moons that lie in one another, (N, 2), with some noise."""
    g = torch.Generator().manual_seed(13)
    angle, side = math.pi * torch.rand(n, generator=g), torch.randint(0, 2, (n,), generator=g)
    x = torch.stack([torch.cos(angle) + side, torch.sin(angle) * (1 - 2 * side) + 0.4 * side], 1)
    return _split(x + 0.12 * torch.randn(n, 2, generator=g), side)


@cache
def spirals(n: int = 1200) -> Split:
    """Three arms of a spiral, one a class, and two features of noise, (N, 4)."""
    g = torch.Generator().manual_seed(14)
    arm, radius = torch.randint(0, 3, (n,), generator=g), torch.rand(n, generator=g)
    angle = 4.0 * radius + 2 * math.pi * arm / 3 + 0.1 * torch.randn(n, generator=g)
    x = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], 1)
    return _split(torch.cat([x, 0.1 * torch.randn(n, 2, generator=g)], 1), arm)


@cache
def strokes(n: int = 1000) -> Split:
    """12 x 12 pictures with a horizontal, vertical or diagonal stroke, or a cross, somewhere in noise: (N, 1, 12, 12)."""
    g = torch.Generator().manual_seed(15)
    x, y = 0.3 * torch.randn(n, 1, 12, 12, generator=g), torch.randint(0, 4, (n,), generator=g)
    for i in range(n):
        r, c = (int(v) for v in torch.randint(1, 6, (2,), generator=g))
        kind, steps = int(y[i]), torch.arange(5)
        if kind in (0, 3):
            x[i, 0, r + 2, c : c + 5] += 1.0
        if kind in (1, 3):
            x[i, 0, r : r + 5, c + 2] += 1.0
        if kind == 2:
            x[i, 0, r + steps, c + steps] += 1.0
    return _split(x, y, standard=False)


@cache
def gratings(n: int = 900) -> Split:
    """10 x 10 gratings of three directions in noise and at any phase: (N, 1, 10, 10)."""
    g = torch.Generator().manual_seed(16)
    y = torch.randint(0, 3, (n,), generator=g)
    angle, phase = y * math.pi / 3 + 0.1 * torch.randn(n, generator=g), 2 * math.pi * torch.rand(n, generator=g)
    row, column = torch.meshgrid(torch.arange(10.0), torch.arange(10.0), indexing="ij")
    wave = torch.sin(
        1.3 * (torch.cos(angle)[:, None, None] * row + torch.sin(angle)[:, None, None] * column) + phase[:, None, None]
    )
    return _split((wave + 0.5 * torch.randn(n, 10, 10, generator=g))[:, None], y, standard=False)


@cache
def topics(n: int = 900, kinds: int = 4, words: int = 120, length: int = 16) -> Split:
    """Texts as word numbers (N, 16): a third of the words of a text come from its topic's own twelve, the others from all."""
    g = torch.Generator().manual_seed(17)
    y = torch.randint(0, kinds, (n,), generator=g)
    own = y[:, None] * 12 + torch.randint(0, 12, (n, length), generator=g)
    other = torch.randint(0, words, (n, length), generator=g)
    return _split(torch.where(torch.rand(n, length, generator=g) < 0.33, own, other), y, standard=False)


@cache
def tempers(n: int = 900, words: int = 80, length: int = 12) -> Split:
    """Texts as word numbers (N, 12), friendly or not: words weigh -2 to 2, and the sum decides."""
    g = torch.Generator().manual_seed(18)
    x = torch.randint(0, words, (n, length), generator=g)
    weight = torch.randn(words, generator=g)
    return _split(x, (weight[x].sum(1) > 0).long(), standard=False)


@cache
def signs(n: int = 1000, length: int = 20) -> Split:
    """Sequences (N, 20, 2): numbers, and a mark at two places; the class is the sign of the sum of the marked ones."""
    g = torch.Generator().manual_seed(19)
    x = torch.zeros(n, length, 2)
    x[:, :, 0] = torch.randn(n, length, generator=g)
    first = torch.randint(0, length // 2, (n,), generator=g)
    second = torch.randint(length // 2, length, (n,), generator=g)
    rows = torch.arange(n)
    x[rows, first, 1] = x[rows, second, 1] = 1.0
    return _split(x, (x[rows, first, 0] + x[rows, second, 0] > 0).long(), standard=False)


@cache
def recall(n: int = 900, length: int = 14, kinds: int = 4) -> Split:
    """Sequences (N, 14, 6) of one-hot symbols: which of four signals came, among blanks and noise."""
    g = torch.Generator().manual_seed(20)
    x = 0.3 * torch.randn(n, length, kinds + 2, generator=g)
    y, place = torch.randint(0, kinds, (n,), generator=g), torch.randint(0, length - 4, (n,), generator=g)
    x[torch.arange(n), place, y] += 2.5
    return _split(x, y, standard=False)


@cache
def waves(n: int = 900, length: int = 20) -> Split:
    """Pieces (N, 20, 1) of a sum of two sines with noise; to foretell is the value three steps on, standardised."""
    g = torch.Generator().manual_seed(21)
    start, time = 60 * torch.rand(n, 1, generator=g), torch.arange(length + 3.0)
    value = torch.sin(0.5 * (start + time)) + 0.5 * torch.sin(1.3 * (start + time))
    x = value[:, :length, None] + 0.1 * torch.randn(n, length, 1, generator=g)
    y = value[:, -1]
    return _split(x, (y - y.mean()) / y.std(), standard=False)


@cache
def tags(n: int = 700, length: int = 12, words: int = 20) -> Split:
    """Texts (N, 12) with a tag a word (N, 12): the tag of a word depends on its group and on that of the word before."""
    g = torch.Generator().manual_seed(22)
    x = torch.randint(0, words, (n, length), generator=g)
    group = x % 4
    before = torch.cat([torch.zeros(n, 1, dtype=torch.long), group[:, :-1]], 1)
    return _split(x, (group + before) % 4, standard=False)


@cache
def pairs(n: int = 1100, length: int = 10, words: int = 16) -> Split:
    """Texts (N, 10): which of the first four words comes most often in the rest."""
    g = torch.Generator().manual_seed(23)
    x = torch.randint(4, words, (n, length), generator=g)
    y = torch.randint(0, 4, (n,), generator=g)
    for _ in range(2):
        x[torch.arange(n), torch.randint(0, length, (n,), generator=g)] = y
    return _split(x, y, standard=False)


@cache
def factors(n: int = 900, width: int = 24, rank: int = 4) -> Split:
    """Tables (N, 24) that a curve of 4 hidden numbers makes, standardised; the targets are the table itself."""
    g = torch.Generator().manual_seed(24)
    hidden = torch.randn(n, rank, generator=g)
    x = torch.tanh(hidden @ torch.randn(rank, width, generator=g)) + 0.1 * torch.randn(n, width, generator=g)
    train, _, test, _ = _split(x, torch.zeros(n))
    return train, train, test, test


@cache
def ratings(users: int = 60, items: int = 50, n: int = 2200) -> Split:
    """(user, item) numbers (N, 2) and a rating: two hidden tastes, a level for each, and noise; standardised."""
    g = torch.Generator().manual_seed(25)
    x = torch.stack([torch.randint(0, users, (n,), generator=g), torch.randint(0, items, (n,), generator=g)], 1)
    taste, trait = torch.randn(users, 2, generator=g), torch.randn(items, 2, generator=g)
    level_u, level_i = torch.randn(users, generator=g), torch.randn(items, generator=g)
    y = (taste[x[:, 0]] * trait[x[:, 1]]).sum(1) + level_u[x[:, 0]] + level_i[x[:, 1]]
    y = y + 0.3 * torch.randn(n, generator=g)
    return _split(x, (y - y.mean()) / y.std(), standard=False)


@cache
def clicks(users: int = 50, items: int = 60, n: int = 3000) -> Split:
    """(user, item) numbers (N, 2) and whether it was clicked: by group of user, group of item and popularity."""
    g = torch.Generator().manual_seed(26)
    x = torch.stack([torch.randint(0, users, (n,), generator=g), torch.randint(0, items, (n,), generator=g)], 1)
    affinity, popular = 2.0 * torch.randn(5, 6, generator=g), torch.randn(items, generator=g)
    score = affinity[x[:, 0] % 5, x[:, 1] % 6] + popular[x[:, 1]]
    return _split(x, (torch.rand(n, generator=g) < torch.sigmoid(2 * score)).long(), standard=False)


@cache
def echoes(n: int = 800, length: int = 16) -> Split:
    """Sequences (N, 16, 1) of noise; at every step the mean of this, the last and the one before is to be said (N, 16)."""
    g = torch.Generator().manual_seed(27)
    x = torch.randn(n, length + 2, 1, generator=g)
    y = (x[:, 2:, 0] + x[:, 1:-1, 0] + x[:, :-2, 0]) / 3.0
    return _split(x[:, 2:], y / y.std(), standard=False)


@cache
def flats(n: int = 1200) -> Split:
    """A district number and six numbers, (N, 7), and a price that depends on both together; standardised."""
    g = torch.Generator().manual_seed(28)
    district, x = torch.randint(0, 8, (n,), generator=g), torch.randn(n, 6, generator=g)
    level, slope = torch.randn(8, generator=g), torch.randn(8, generator=g)
    y = level[district] + slope[district] * x[:, 0] + x[:, 1] * x[:, 2] - x[:, 3].abs() + 0.2 * torch.randn(n, generator=g)
    return _split(torch.cat([district[:, None].float(), x], 1), (y - y.mean()) / y.std(), standard=False)
