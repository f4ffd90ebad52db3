"""Is the valve open, at every moment: GRU many-to-many on sensor series, sequences padded and masked, CosineAnnealingLR."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 8
LENGTH = 20


def series(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pressure and flow (N, 20, 2), whether the valve is open (N, 20), lengths (N,): pressure leaks on while it is open."""
    g = torch.Generator().manual_seed(seed)
    switches = torch.rand(n, LENGTH, generator=g) < 0.15
    state = (switches.cumsum(1) + torch.randint(0, 2, (n, 1), generator=g)) % 2
    pressure = torch.zeros(n, LENGTH)
    level = torch.zeros(n)
    for t in range(LENGTH):
        level = 0.7 * level + (state[:, t] * 2 - 1) * 0.5 + 0.5 * torch.randn(n, generator=g)
        pressure[:, t] = level
    flow = 0.3 * pressure.roll(1, 1) + torch.randn(n, LENGTH, generator=g)
    lengths = torch.randint(LENGTH // 2, LENGTH + 1, (n,), generator=g)
    return torch.stack([pressure, flow], dim=2), state, lengths


class ValveNet(nn.Module):
    """GRU in both directions, two classes at every moment."""

    def __init__(self, hidden: int = 20) -> None:
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(2 * hidden)
        self.classifier = nn.Linear(2 * hidden, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, 2) to (N, T, 2)."""
        output, _ = self.gru(x)
        logits: Tensor = self.classifier(self.norm(output))
        return logits


def masked_loss(logits: Tensor, y: Tensor, lengths: Tensor) -> Tensor:
    """Cross-entropy over the moments that there were."""
    mask = torch.arange(LENGTH)[None] < lengths[:, None]
    per_step = F.cross_entropy(logits.transpose(1, 2), y, reduction="none")
    return (per_step * mask).sum() / mask.sum()


def main(seed: int, watch: Watch) -> float:
    """Train and give the skill over all moments of the test series."""
    torch.manual_seed(seed)
    train_x, train_y, train_n = series(512, 45)
    test_x, test_y, test_n = series(300, 46)
    loader = DataLoader(TensorDataset(train_x, train_y, train_n), batch_size=32, shuffle=True)
    model = ValveNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=8e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    with watch(model, optimizer, steps=EPOCHS * len(loader)):
        for _ in range(EPOCHS):
            model.train()
            for x, y, lengths in loader:
                optimizer.zero_grad()
                logits = model(x)
                loss = masked_loss(logits, y, lengths)
                loss.backward()
                optimizer.step()
            scheduler.step()
            model.eval()
            with torch.no_grad():
                masked_loss(model(test_x[:100]), test_y[:100], test_n[:100]).item()
    model.eval()
    with torch.no_grad():
        kept = torch.arange(LENGTH)[None] < test_n[:, None]
        return skill.of_classes(model(test_x)[kept], test_y[kept])
