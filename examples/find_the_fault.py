"""A loop with a mistake, watched: isograd names it while the training runs, with its line.

    python examples/find_the_fault.py [no-clearing | softmax-twice | python-list | sound]

The four trainings differ in one line each. ``on_finding`` is told as soon as a finding is certain; the report at the end has
the evidence and what to write instead.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import isograd
from isograd.records.finding import Finding


class Layers(nn.Module):
    """Two hidden layers and a head; ``plain`` keeps the hidden layers in a list that torch does not look into."""

    def __init__(self, *, plain: bool) -> None:
        super().__init__()
        hidden = [nn.Linear(20, 32), nn.Linear(32, 32)]
        self.hidden = hidden if plain else nn.ModuleList(hidden)
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        for layer in self.hidden:
            x = torch.relu(layer(x))
        scores: Tensor = self.head(x)
        return scores


def batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Three classes by where two sums of the inputs lie."""
    draw = torch.Generator().manual_seed(0)
    for _ in range(count):
        x = torch.randn(64, 20, generator=draw)
        yield x, (x[:, :10].sum(1) > 0).long() + (x[:, 10:].sum(1) > 0).long()


def tell(finding: Finding) -> None:
    """What is heard while the training runs."""
    print(f"{finding.severity}, noticed at step {finding.noticed}: {finding.summary}")


def main(fault: str) -> bool:
    """Train with one fault; whether the training was found healthy."""
    torch.manual_seed(0)
    model = Layers(plain=fault == "python-list")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss = nn.CrossEntropyLoss()
    with isograd.watch(model, optimizer, steps=300, on_finding=tell) as watch:
        for x, y in batches(300):
            if fault != "no-clearing":
                optimizer.zero_grad()
            scores = model(x)
            if fault == "softmax-twice":
                scores = torch.softmax(scores, dim=1)
            loss(scores, y).backward()
            optimizer.step()
    print(watch.report())
    return watch.report().healthy


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "no-clearing"
    if chosen not in ("no-clearing", "softmax-twice", "python-list", "sound"):
        raise SystemExit(f"{chosen!r} is none of no-clearing, softmax-twice, python-list, sound")
    sys.exit(0 if main(chosen) else 1)
