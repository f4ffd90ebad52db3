"""Noise taken off pictures of digits: a small U-Net with batch normalisation, MSE against the clean picture."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 12
BATCH_SIZE = 32


def pictures() -> Tensor:
    """Pictures (N, 1, 8, 8) in [-1, 1]."""
    images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1)
    images = images / 8.0 - 1.0
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(71))
    return images[order]


def noisy(clean: Tensor, seed: int) -> Tensor:
    """The pictures with noise of .8."""
    return clean + 0.8 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))


class Block(nn.Module):
    """Convolution, batch normalisation, ReLU, twice."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(cin, cout, 3, padding=1),
            nn.BatchNorm2d(cout),
            nn.ReLU(),
            nn.Conv2d(cout, cout, 3, padding=1),
            nn.BatchNorm2d(cout),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, cin, H, W) to (N, cout, H, W)."""
        out: Tensor = self.body(x)
        return out


class Denoiser(nn.Module):
    """Down twice and up twice, each level joined to its own."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.enc1, self.enc2 = Block(1, width), Block(width, 2 * width)
        self.mid = Block(2 * width, 2 * width)
        self.dec2, self.dec1 = Block(4 * width, width), Block(2 * width, width)
        self.pool, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to (N, 1, 8, 8)."""
        fine = self.enc1(x)
        coarse = self.enc2(self.pool(fine))
        h = self.mid(self.pool(coarse))
        h = self.dec2(torch.cat([self.up(h), coarse], dim=1))
        h = self.dec1(torch.cat([self.up(h), fine], dim=1))
        picture: Tensor = self.out(h)
        return picture


def train_one_epoch(model: nn.Module, loader: DataLoader[tuple[Tensor, ...]], optimizer: torch.optim.Optimizer) -> float:
    """Mean loss of an epoch."""
    criterion = nn.MSELoss()
    model.train()
    total = 0.0
    for noised, clean in loader:
        optimizer.zero_grad()
        outputs = model(noised)
        loss = criterion(outputs, clean)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def main(seed: int, watch: Watch) -> float:
    """Train and give R2 of the pictures that come out."""
    torch.manual_seed(seed)
    clean = pictures()
    x, test_x = noisy(clean[:1000], 72), noisy(clean[1000:], 73)
    y, test_y = clean[:1000], clean[1000:]
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH_SIZE, shuffle=True)
    model = Denoiser()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with watch(model, optimizer, steps=EPOCHS * len(loader)):
        for _ in range(EPOCHS):
            train_one_epoch(model, loader, optimizer)
    model.eval()
    with torch.no_grad():
        return skill.of_numbers(model(test_x), test_y)
