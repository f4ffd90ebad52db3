"""Fine-tuning: a CNN that knows six digits gets a new head for the other four; the trunk is frozen first, then thawed."""

from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 10
PRETRAINING = 3
Loader = DataLoader[tuple[Tensor, ...]]


class SmallCNN(nn.Module):
    """Features and a head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.fc = nn.Linear(128, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to (N, C)."""
        logits: Tensor = self.fc(self.features(x))
        return logits


def pretrain(model: nn.Module, loader: Loader) -> None:
    """As if it came from a hub."""
    opt = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for _ in range(PRETRAINING):
        for x, y in loader:
            opt.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            opt.step()


def train_model(model: SmallCNN, dataloaders: dict[str, Loader], watch: Watch) -> None:
    """Both phases in turn, one optimizer with two groups."""
    criterion = nn.CrossEntropyLoss()
    groups: list[dict[str, Any]] = [{"params": model.fc.parameters()}, {"params": model.features.parameters(), "lr": 5e-3}]
    optimizer = torch.optim.SGD(groups, lr=0.02, momentum=0.9)
    with watch(model, optimizer, steps=EPOCHS * len(dataloaders["train"])):
        for epoch in range(EPOCHS):
            for param in model.features.parameters():
                param.requires_grad = epoch >= 4
            for phase in ("train", "val"):
                if phase == "train":
                    model.train()
                else:
                    model.eval()
                running_corrects = 0
                for inputs, labels in dataloaders[phase]:
                    optimizer.zero_grad()
                    with torch.set_grad_enabled(phase == "train"):
                        outputs = model(inputs)
                        loss = criterion(outputs, labels)
                        if phase == "train":
                            loss.backward()
                            optimizer.step()
                    running_corrects += int((outputs.argmax(1) == labels).sum())


def main(seed: int, watch: Watch) -> float:
    """Fine-tune and give the skill on new pictures of the four digits."""
    torch.manual_seed(seed)
    digits = load_digits()
    images = torch.tensor(digits.images / 8.0 - 1.0, dtype=torch.float32).unsqueeze(1)
    targets = torch.tensor(digits.target)
    old, new = targets < 6, targets >= 6
    model = SmallCNN(num_classes=6)
    pretrain(model, DataLoader(TensorDataset(images[old][:500], targets[old][:500]), batch_size=32, shuffle=True))
    model.fc = nn.Linear(model.fc.in_features, 4)
    x, y = images[new], targets[new] - 6
    dataloaders = {
        "train": DataLoader(TensorDataset(x[:350], y[:350]), batch_size=16, shuffle=True),
        "val": DataLoader(TensorDataset(x[350:450], y[350:450]), batch_size=50),
    }
    train_model(model, dataloaders, watch)
    model.eval()
    with torch.no_grad():
        return skill.of_classes(model(x[450:]), y[450:])
