"""A causal transformer on an algorithm: every letter is moved by the one before it, the learning rate warmed up by hand."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 10
LETTERS, LENGTH, WARMUP = 6, 10, 30


def cipher(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Letters (N, 10), and each plus the one before it, modulo 6."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, LETTERS, (n, LENGTH), generator=g)
    before = torch.cat([torch.zeros(n, 1, dtype=torch.long), x[:, :-1]], 1)
    return x, (x + before) % LETTERS


class PositionalEncoding(nn.Module):
    """Sines and cosines."""

    def __init__(self, d_model: int, max_len: int = 64) -> None:
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, d_model)
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, d) plus the places."""
        places: Tensor = self.get_buffer("pe")[: x.size(1)]
        return x + places


class CausalSelfAttention(nn.Module):
    """Heads that look back alone."""

    def __init__(self, d_model: int, n_head: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.proj = nn.Linear(d_model, d_model)
        self.n_head = n_head

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, d) to the same."""
        n, t, d = x.shape
        q, k, v = (part.view(n, t, self.n_head, d // self.n_head).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=2))
        scores = q @ k.transpose(-2, -1) / math.sqrt(d // self.n_head)
        mask = torch.triu(torch.ones(t, t, dtype=torch.bool), diagonal=1)
        weights = F.softmax(scores.masked_fill(mask, float("-inf")), dim=-1)
        out: Tensor = self.proj((weights @ v).transpose(1, 2).reshape(n, t, d))
        return out


class Block(nn.Module):
    """Attention and a feed-forward net, each normalised before and added to what came in."""

    def __init__(self, d_model: int, n_head: int) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.attn = CausalSelfAttention(d_model, n_head)
        self.mlp = nn.Sequential(nn.Linear(d_model, 2 * d_model), nn.GELU(), nn.Linear(2 * d_model, d_model))

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, d) to the same."""
        x = x + self.attn(self.ln1(x))
        h: Tensor = self.mlp(self.ln2(x))
        return x + h


class TransformerModel(nn.Module):
    """Embedding, places, two blocks, letters."""

    def __init__(self, d_model: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(LETTERS, d_model)
        self.pos = PositionalEncoding(d_model)
        self.blocks = nn.ModuleList([Block(d_model, 4) for _ in range(2)])
        self.head = nn.Linear(d_model, LETTERS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T) to (N, T, LETTERS)."""
        h = self.pos(self.embed(x))
        for block in self.blocks:
            h = block(h)
        logits: Tensor = self.head(h)
        return logits


def main(seed: int, watch: Watch) -> float:
    """Train and give the skill over all letters of new texts."""
    torch.manual_seed(seed)
    x, y = cipher(500, 53)
    x_test, y_test = cipher(200, 54)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = TransformerModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    total_steps, step_num = EPOCHS * len(loader), 0
    with watch(model, optimizer, steps=total_steps):
        for _ in range(EPOCHS):
            model.train()
            for xb, yb in loader:
                step_num += 1
                for group in optimizer.param_groups:
                    group["lr"] = 4e-3 * min(step_num / WARMUP, 1.0)
                logits = model(xb)
                loss = F.cross_entropy(logits.reshape(-1, LETTERS), yb.reshape(-1))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            model.eval()
            with torch.no_grad():
                (model(x_test[:100]).argmax(-1) == y_test[:100]).float().mean().item()
    model.eval()
    with torch.no_grad():
        return skill.of_classes(model(x_test).reshape(-1, LETTERS), y_test.reshape(-1))
