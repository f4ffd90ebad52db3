"""Digits by a vision transformer: 2 x 2 patches, learned places, nn.TransformerEncoder, AdamW with a cosine schedule."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 20
BATCH_SIZE = 40


class PatchViT(nn.Module):
    """Sixteen patches as tokens, two encoder layers, the mean of the tokens, a linear layer."""

    def __init__(self, dim: int = 32, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, dim, kernel_size=2, stride=2)
        self.pos = nn.Parameter(0.02 * torch.randn(1, 16, dim))
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth)
        self.head = nn.Linear(dim, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, 8, 8) to (N, 10)."""
        tokens = self.patch(images).flatten(2).transpose(1, 2)
        h = self.encoder(tokens + self.pos)
        logits: Tensor = self.head(h.mean(dim=1))
        return logits


def evaluate(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Skill in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return skill.of_classes(model(x), y)


def main(seed: int, watch: Watch) -> float:
    """Train and give the skill on pictures it never saw."""
    torch.manual_seed(seed)
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(74))
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)[order]
    labels = torch.tensor(digits.target)[order]
    images = (images - 4.88) / 6.02
    x, y = images[:1200], labels[:1200]
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH_SIZE, shuffle=True)
    model = PatchViT()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    total = EPOCHS * len(loader)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    with watch(model, optimizer, steps=total):
        for _ in range(EPOCHS):
            model.train()
            for xb, yb in loader:
                optimizer.zero_grad()
                outputs = model(xb)
                loss = criterion(outputs, yb)
                loss.backward()
                optimizer.step()
                scheduler.step()
    return evaluate(model, images[1200:], labels[1200:])
