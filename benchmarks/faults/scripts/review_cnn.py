"""A text CNN in the manner of Kim on padded reviews: several filter widths, log-softmax and NLLLoss, Adam."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 9
WORDS, LENGTH, PAD = 61, 20, 0


def reviews(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Reviews (N, 20), padded; three grades by good and bad words, each turned round by a "not" (word 1) before it."""
    g = torch.Generator().manual_seed(seed)
    words = torch.randint(2, WORDS, (n, LENGTH), generator=g)
    words[torch.rand(n, LENGTH, generator=g) < 0.04] = 1
    lengths = torch.randint(8, LENGTH + 1, (n,), generator=g)
    words[torch.arange(LENGTH)[None] >= lengths[:, None]] = PAD
    tone = ((words > 1) & (words < 22)).float() - ((words > 21) & (words < 42)).float()
    turned = torch.cat([torch.zeros(n, 1), (words[:, :-1] == 1).float()], 1)
    total = (tone * (1 - 2 * turned)).sum(1)
    return words, (total > -1.5).long() + (total > 1.5).long()


class TextCNN(nn.Module):
    """Embedding, three convolutions side by side, the largest answer of each filter, a linear layer."""

    def __init__(self, dim: int = 24, filters: int = 12) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, dim, padding_idx=PAD)
        self.convs = nn.ModuleList([nn.Conv1d(dim, filters, k, padding=k // 2) for k in (1, 2, 3)])
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(2 * 3 * filters, 3)

    def forward(self, words: Tensor) -> Tensor:
        """(N, T) to log-probabilities (N, 3)."""
        x = self.embed(words).transpose(1, 2)
        found = [F.relu(conv(x)) for conv in self.convs]
        x = torch.cat([f.amax(dim=2) for f in found] + [f.sum(dim=2) / 4 for f in found], dim=1)
        return F.log_softmax(self.fc(self.dropout(x)), dim=1)


def train(
    model: nn.Module, loader: DataLoader[tuple[Tensor, ...]], criterion: nn.Module, optimizer: torch.optim.Optimizer
) -> float:
    """One epoch."""
    model.train()
    running = 0.0
    for words, grades in loader:
        optimizer.zero_grad()
        log_probs = model(words)
        loss = criterion(log_probs, grades)
        loss.backward()
        optimizer.step()
        running += loss.item()
    return running / len(loader)


def main(seed: int, watch: Watch) -> float:
    """Train and give the skill on new reviews."""
    torch.manual_seed(seed)
    words, grades = reviews(1100, 47)
    test_words, test_grades = reviews(400, 48)
    loader = DataLoader(TensorDataset(words, grades), batch_size=32, shuffle=True)
    model = TextCNN()
    criterion = nn.NLLLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    with watch(model, optimizer, steps=EPOCHS * len(loader)):
        for _ in range(EPOCHS):
            train(model, loader, criterion, optimizer)
            model.eval()
            with torch.no_grad():
                (model(test_words).argmax(dim=1) == test_grades).float().mean().item()
    model.eval()
    with torch.no_grad():
        return skill.of_classes(model(test_words), test_grades)
