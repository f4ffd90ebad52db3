"""What a basket costs to ship: sets of any size, padded by a collate_fn, attention pooling with a mask, early stopping."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from faults import skill
from faults.settings import Watch

EPOCHS = 14
BATCH_SIZE = 40
Row = tuple[Tensor, Tensor]


def baskets(n: int, seed: int) -> list[Row]:
    """Baskets of 2 to 9 parcels with 4 features each, and a price: the mean of what each costs, and the largest one."""
    g = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(n):
        parcels = torch.randn(int(torch.randint(2, 10, (1,), generator=g)), 4, generator=g)
        cost = (parcels[:, 0] * parcels[:, 1]).abs() + torch.relu(parcels[:, 2])
        price = cost.mean() + 0.3 * parcels[:, 3].max() + 0.05 * torch.randn((), generator=g)
        rows.append((parcels, (price - 1.3) / 0.55))
    return rows


def collate(rows: list[Row]) -> tuple[Tensor, Tensor, Tensor]:
    """Parcels padded with zeros, which places hold one, and the prices."""
    parcels, prices = [row[0] for row in rows], [row[1] for row in rows]
    x = nn.utils.rnn.pad_sequence(parcels, batch_first=True)
    lengths = torch.tensor([len(one) for one in parcels])
    mask = torch.arange(x.size(1))[None] < lengths[:, None]
    return x, mask, torch.stack(prices)


class SetNet(nn.Module):
    """A dense network for each parcel, a weighted mean and the maximum of the set, a dense network for the price."""

    def __init__(self, dim: int = 48) -> None:
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(4, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())
        self.score = nn.Linear(dim, 1)
        self.rho = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, 1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(N, S, 4) and (N, S) to (N,)."""
        h = self.phi(x)
        scores = self.score(h).squeeze(-1).masked_fill(~mask, -1e9)
        weights = torch.softmax(scores, dim=1)
        pooled = (weights[:, :, None] * h).sum(dim=1)
        largest = h.masked_fill(~mask[:, :, None], 0.0).amax(dim=1)
        price: Tensor = self.rho(torch.cat([pooled, largest], dim=1)).squeeze(1)
        return price


def main(seed: int, watch: Watch) -> float:
    """Train until the validation loss stops to fall, and give R2 on other baskets."""
    torch.manual_seed(seed)
    rows: Any = baskets(1200, 61)
    loader = DataLoader(rows, batch_size=BATCH_SIZE, shuffle=True, collate_fn=collate)
    val, test = collate(baskets(200, 62)), collate(baskets(500, 63))
    model = SetNet()
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    best, waited = float("inf"), 0
    with watch(model, optimizer, steps=EPOCHS * len(loader)):
        for _ in range(EPOCHS):
            model.train()
            for x, mask, y in loader:
                optimizer.zero_grad()
                outputs = model(x, mask)
                loss = criterion(outputs, y)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                val_loss = criterion(model(val[0], val[1]), val[2]).item()
            waited = 0 if val_loss < best else waited + 1
            best = min(best, val_loss)
            if waited >= 4:
                break
    model.eval()
    with torch.no_grad():
        return skill.of_numbers(model(test[0], test[1]), test[2])
