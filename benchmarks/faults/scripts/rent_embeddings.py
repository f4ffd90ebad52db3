"""Rents of flats: categories as embeddings beside scaled numbers, batch norm and dropout, AdamW with OneCycleLR every batch."""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 12
DISTRICTS, HEATINGS = 12, 4


def flats(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """District and heating (N, 2), area in m2, rooms, year built, floor (N, 4), rent in euro (N,)."""
    fixed, g = torch.Generator().manual_seed(1), torch.Generator().manual_seed(seed)
    price, bonus = 9 + 6 * torch.rand(DISTRICTS, generator=fixed), 60 * torch.randn(HEATINGS, generator=fixed)
    district = torch.randint(0, DISTRICTS, (n,), generator=g)
    heating = torch.randint(0, HEATINGS, (n,), generator=g)
    area = 25 + 95 * torch.rand(n, generator=g)
    rooms = (area / 28 + torch.rand(n, generator=g)).round()
    year = torch.randint(1900, 2022, (n,), generator=g).float()
    floor = torch.randint(0, 8, (n,), generator=g).float()
    rent = price[district] * area + bonus[heating] + 2.0 * (year - 1960).clamp(min=0) + 10 * floor - 30 * (rooms - 2) ** 2
    rent = rent + 40 * torch.randn(n, generator=g)
    return torch.stack([district, heating], 1), torch.stack([area, rooms, year, floor], 1), rent


class RentModel(nn.Module):
    """Embeddings and numbers through two blocks of Linear, BatchNorm, ReLU and Dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList([nn.Embedding(DISTRICTS, 6), nn.Embedding(HEATINGS, 2)])
        self.lin1 = nn.Linear(12, 64)
        self.bn1 = nn.BatchNorm1d(64)
        self.lin2 = nn.Linear(64, 32)
        self.bn2 = nn.BatchNorm1d(32)
        self.drop = nn.Dropout(0.05)
        self.out = nn.Linear(32, 1)

    def forward(self, x_cat: Tensor, x_cont: Tensor) -> Tensor:
        """(N, 2) and (N, 4) to (N,)."""
        x = [embedding(x_cat[:, i]) for i, embedding in enumerate(self.embeddings)]
        h = torch.cat([*x, x_cont], dim=1)
        h = self.drop(torch.relu(self.bn1(self.lin1(h))))
        h = self.drop(torch.relu(self.bn2(self.lin2(h))))
        rent: Tensor = self.out(h).squeeze(1)
        return rent


def main(seed: int, watch: Watch) -> float:
    """Train and give R2 on new flats."""
    torch.manual_seed(seed)
    cats, conts, rents = flats(1200, 49)
    test_cats, test_conts, test_rents = flats(500, 50)
    mean, std = conts.mean(0), conts.std(0)
    conts, test_conts = (conts - mean) / std, (test_conts - mean) / std
    y_mean, y_std = rents.mean(), rents.std()
    y, test_y = (rents - y_mean) / y_std, (test_rents - y_mean) / y_std
    train_dl = DataLoader(TensorDataset(cats, conts, y), batch_size=64, shuffle=True, drop_last=True)
    model = RentModel()
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, epochs=EPOCHS, steps_per_epoch=len(train_dl))
    losses: list[float] = []
    with watch(model, optimizer, steps=EPOCHS * len(train_dl)):
        for _ in range(EPOCHS):
            model.train()
            for x_cat, x_cont, rent in train_dl:
                preds = model(x_cat, x_cont)
                loss = loss_fn(preds, rent)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                losses.append(loss.item())
            model.eval()
            with torch.no_grad():
                loss_fn(model(test_cats, test_conts), test_y).item()
    model.eval()
    with torch.no_grad():
        return skill.of_numbers(model(test_cats, test_conts), test_y)
