"""Small models with the traits that trip watchers up: in-place operations, ties, checkpoints, several outputs."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.3))
        self.head = nn.Linear(4 * 16, 3)

    def forward(self, x):
        x = F.max_pool2d(self.features(x), 2)
        return self.head(torch.flatten(x, 1))


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(6, 8), nn.Linear(8, 8), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.act(self.a(x))
        x = self.b(x)
        x[:, :2].mul_(0.5)
        x += 1.0
        return x.tanh_()


class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.rnn = kind(5, 7, num_layers=2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(7, 3)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.head(out[:, -1])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.body = nn.Embedding(11, 6), nn.Linear(6, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens)
        for _ in range(3):  # one module, three calls
            x = torch.tanh(self.body(x))
        return self.head(x).flatten(0, 1)


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.a, self.b, self.head = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2)), nn.Linear(8, 8), nn.Linear(8, 3)
        self.reentrant = reentrant

    def forward(self, x):
        x = checkpoint(self.a, x, use_reentrant=self.reentrant)
        x = checkpoint(lambda y: F.relu(self.b(y)), x, use_reentrant=self.reentrant)
        return self.head(x)


class Dictionary(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, *, a, b=None):
        return {"logits": self.left(a) + self.right(b), "nothing": None, "pair": (a, [b])}


def mlp(*extra):
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3), *extra)


def table(n=12, width=6, classes=3):
    return torch.randn(n, width), torch.randint(0, classes, (n,))
