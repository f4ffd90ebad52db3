"""Which fault a pump has and how long it lasts: one trunk, two heads, the two losses added, SGD with momentum."""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 16
BATCH_SIZE = 32


def pumps(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ten gauges (N, 10), the fault (N,) of 4 kinds, and the life that is left (N,), standardised."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 10, generator=g)
    heat, shake, flow = x[:, 0] + 0.5 * x[:, 1], x[:, 2] * x[:, 3], x[:, 4] - x[:, 5].abs()
    fault = torch.stack([heat, shake, flow, torch.full_like(heat, 0.4)], 1).argmax(1)
    life = 1.5 * torch.tanh(x[:, 6] + heat) - 0.7 * x[:, 7].abs() + 0.4 * flow + 0.1 * torch.randn(n, generator=g)
    return x, fault, (life + 1.0) / 1.6


class PumpNet(nn.Module):
    """A trunk of two layers, a head for the fault and a head for the life."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.fault_head = nn.Sequential(nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, 4))
        self.life_head = nn.Sequential(nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 10) to (N, 4) and (N,)."""
        h = self.trunk(x)
        return self.fault_head(h), self.life_head(h).squeeze(1)


def main(seed: int, watch: Watch) -> float:
    """Train and give the mean skill of both answers."""
    torch.manual_seed(seed)
    x, fault, life = pumps(1200, 81)
    test_x, test_fault, test_life = pumps(600, 82)
    loader = DataLoader(TensorDataset(x, fault, life), batch_size=BATCH_SIZE, shuffle=True)
    model = PumpNet()
    ce_loss, mse_loss = nn.CrossEntropyLoss(), nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    with watch(model, optimizer, steps=EPOCHS * len(loader)):
        for _ in range(EPOCHS):
            model.train()
            for gauges, kind, left in loader:
                optimizer.zero_grad()
                logits, lasting = model(gauges)
                loss = ce_loss(logits, kind) + mse_loss(lasting, left)
                loss.backward()
                optimizer.step()
    model.eval()
    with torch.no_grad():
        logits, lasting = model(test_x)
        return (skill.of_classes(logits, test_fault) + skill.of_numbers(lasting, test_life)) / 2
