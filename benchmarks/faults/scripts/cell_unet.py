"""A mini U-Net that finds round cells in noisy pictures: BCEWithLogitsLoss on masks, Adam, a validation pass each epoch."""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 7


def cells(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures (N, 1, 16, 16) with two bright discs each on an uneven ground, and the masks of the discs."""
    g = torch.Generator().manual_seed(seed)
    grid = torch.arange(16.0)
    masks = torch.zeros(n, 1, 16, 16)
    for _ in range(2):
        centre = 3 + 10 * torch.rand(n, 2, 1, 1, generator=g)
        radius = 2 + 1.5 * torch.rand(n, 1, 1, generator=g)
        distance = ((grid[:, None] - centre[:, 0]) ** 2 + (grid[None] - centre[:, 1]) ** 2).sqrt()
        masks[:, 0] = torch.maximum(masks[:, 0], (distance < radius).float())
    ground = torch.randn(n, 1, 1, 1, generator=g) + 0.05 * (grid[:, None] + grid[None]) * torch.randn(n, 1, 1, 1, generator=g)
    return ground + 1.2 * masks + 0.5 * torch.randn(n, 1, 16, 16, generator=g), masks


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two convolutions, each with normalisation and activation."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Down twice, up twice, with the fine maps handed across."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.down1 = double_conv(1, width)
        self.down2 = double_conv(width, 2 * width)
        self.bottom = double_conv(2 * width, 2 * width)
        self.pool = nn.MaxPool2d(2)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.up2 = double_conv(4 * width, width)
        self.up1 = double_conv(2 * width, width)
        self.outc = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 16, 16) to logits of the same shape."""
        fine = self.down1(x)
        middle = self.down2(self.pool(fine))
        coarse = self.bottom(self.pool(middle))
        out = self.up2(torch.cat([self.upsample(coarse), middle], dim=1))
        out = self.up1(torch.cat([self.upsample(out), fine], dim=1))
        logits: Tensor = self.outc(out)
        return logits


def main(seed: int, watch: Watch) -> float:
    """Train and give the skill over all pixels of the test pictures."""
    torch.manual_seed(seed)
    train_images, train_masks = cells(240, 31)
    test_images, test_masks = cells(100, 32)
    train_loader = DataLoader(TensorDataset(train_images, train_masks), batch_size=16, shuffle=True)
    val_loader = DataLoader(TensorDataset(test_images, test_masks), batch_size=60)
    model = UNet()
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with watch(model, optimizer, steps=EPOCHS * len(train_loader)):
        for _ in range(EPOCHS):
            model.train()
            epoch_loss = 0.0
            for images, masks in train_loader:
                outputs = model(images)
                loss = criterion(outputs, masks)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                epoch_loss += loss.item() * len(images)
            epoch_loss /= len(train_images)
            model.eval()
            with torch.no_grad():
                sum(criterion(model(images), masks).item() for images, masks in val_loader)
    model.eval()
    with torch.no_grad():
        return skill.of_classes(model(test_images).reshape(-1, 1), test_masks.reshape(-1))
