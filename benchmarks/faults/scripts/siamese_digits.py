"""A siamese network on pairs of digits with the contrastive loss, its own Dataset class, AdamW."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from faults import skill
from faults.settings import Watch

EPOCHS = 6
MARGIN = 1.0


class PairDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Pairs of pictures, half of them of the same digit."""

    def __init__(self, images: Tensor, labels: Tensor, n: int, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.pairs, self.images = [], images
        for k in range(n):
            i = int(torch.randint(0, len(images), (1,), generator=g))
            alike = (labels == labels[i]) if k % 2 else (labels != labels[i])
            choices = alike.nonzero()[:, 0]
            j = int(choices[torch.randint(0, len(choices), (1,), generator=g)])
            self.pairs.append((i, j, float(labels[i] != labels[j])))

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Both pictures, and 1 where they differ."""
        i, j, different = self.pairs[index]
        return self.images[i], self.images[j], torch.tensor(different)


class SiameseNetwork(nn.Module):
    """One trunk for both pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.fc = nn.Sequential(nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 8))

    def forward_once(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to (N, 8)."""
        embedding: Tensor = self.fc(self.cnn(x).flatten(1))
        return embedding

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Both embeddings."""
        return self.forward_once(a), self.forward_once(b)


class ContrastiveLoss(nn.Module):
    """Same digits are pulled together, different ones pushed apart up to the margin."""

    def forward(self, a: Tensor, b: Tensor, different: Tensor) -> Tensor:
        """Mean over the pairs."""
        distance = F.pairwise_distance(a, b)
        return ((1 - different) * distance.pow(2) + different * F.relu(MARGIN - distance).pow(2)).mean()


def main(seed: int, watch: Watch) -> float:
    """Train and give how well the distance tells same from different on pictures it has not seen."""
    torch.manual_seed(seed)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
    labels = torch.tensor(digits.target)
    train_set = PairDataset(images[:1000], labels[:1000], 1000, 39)
    test_set = PairDataset(images[1000:], labels[1000:], 500, 40)
    train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=200)
    model = SiameseNetwork()
    criterion = ContrastiveLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    with watch(model, optimizer, steps=EPOCHS * len(train_loader)):
        for _ in range(EPOCHS):
            model.train()
            for img0, img1, different in train_loader:
                optimizer.zero_grad()
                out0, out1 = model(img0, img1)
                loss = criterion(out0, out1, different)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                [criterion(*model(img0, img1), different).item() for img0, img1, different in test_loader]
    model.eval()
    with torch.no_grad():
        found = [(F.pairwise_distance(*model(a, b)), different) for a, b, different in test_loader]
    return skill.of_ranking(torch.cat([d for d, _ in found]), torch.cat([different for _, different in found]))
