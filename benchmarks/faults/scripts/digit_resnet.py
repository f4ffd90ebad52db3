"""A small ResNet on digits: train_one_epoch and evaluate, SGD with momentum, StepLR once an epoch."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 6
Loader = DataLoader[tuple[Tensor, ...]]


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(in_planes, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, planes, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = out + self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    """A stem, three blocks, and a linear classifier."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layers = nn.ModuleList([BasicBlock(8, 8), BasicBlock(8, 16, 2), BasicBlock(16, 32, 2)])
        self.linear = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to (N, 10)."""
        out = F.relu(self.bn1(self.conv1(x)))
        for layer in self.layers:
            out = layer(out)
        out = F.adaptive_avg_pool2d(out, 1).flatten(1)
        logits: Tensor = self.linear(out)
        return logits


def train_one_epoch(
    model: nn.Module,
    loader: Loader,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    """Mean loss of one pass over the training set."""
    model.train()
    running_loss = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        outputs = model(images)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    scheduler.step()
    return running_loss / len(loader)


@torch.no_grad()
def evaluate(model: nn.Module, loader: Loader) -> tuple[Tensor, Tensor]:
    """Outputs and labels of the whole test set."""
    model.eval()
    outputs, labels = [], []
    for images, targets in loader:
        outputs.append(model(images))
        labels.append(targets)
    return torch.cat(outputs), torch.cat(labels)


def main(seed: int, watch: Watch) -> float:
    """Train and give the skill on the test set."""
    torch.manual_seed(seed)
    digits = load_digits()
    images = torch.tensor(digits.images / 16.0, dtype=torch.float32).unsqueeze(1)
    images = (images - 0.305) / 0.376
    targets = torch.tensor(digits.target)
    train_set = TensorDataset(images[:640], targets[:640])
    test_set = TensorDataset(images[1300:], targets[1300:])
    train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=256)
    model = ResNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.1)
    history = []
    with watch(model, optimizer, steps=EPOCHS * len(train_loader)):
        for _ in range(EPOCHS):
            train_loss = train_one_epoch(model, train_loader, criterion, optimizer, scheduler)
            outputs, labels = evaluate(model, test_loader)
            history.append((train_loss, (outputs.argmax(1) == labels).float().mean().item()))
    outputs, labels = evaluate(model, test_loader)
    return skill.of_classes(outputs, labels)
