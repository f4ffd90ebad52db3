"""Pictures and their captions side by side: two encoders, cosine similarity within the batch, cross-entropy both ways."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 12
BATCH_SIZE = 50
WORDS, GROUP = 60, 10
TEMPERATURE = 0.1


def pairs(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features of pictures (N, 24) and captions of six words (N, 6), which say in words what the features mix."""
    world, g = torch.Generator().manual_seed(5), torch.Generator().manual_seed(seed)
    mixing = torch.randn(WORDS, 24, generator=world)
    words = torch.randint(0, WORDS, (n, 6), generator=g)
    pictures = torch.tanh(mixing[words].sum(1) / 2.4) + 0.2 * torch.randn(n, 24, generator=g)
    return pictures, words


class DualEncoder(nn.Module):
    """A dense network for pictures, a bag of words for captions, both onto the unit sphere."""

    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.picture = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, dim))
        self.words = nn.Embedding(WORDS, 48)
        self.caption = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, dim))

    def forward(self, pictures: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 24) and (N, 6) to (N, D) twice."""
        seen = self.picture(pictures)
        said = self.caption(self.words(words).mean(dim=1))
        return F.normalize(seen, dim=1), F.normalize(said, dim=1)


def main(seed: int, watch: Watch) -> float:
    """Train and give how often a new picture finds its caption among ten."""
    torch.manual_seed(seed)
    x, words = pairs(1500, 95)
    test_x, test_words = pairs(500, 96)
    loader = DataLoader(TensorDataset(x, words), batch_size=BATCH_SIZE, shuffle=True)
    model = DualEncoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with watch(model, optimizer, steps=EPOCHS * len(loader)):
        for _ in range(EPOCHS):
            model.train()
            for xb, wb in loader:
                optimizer.zero_grad()
                seen, said = model(xb, wb)
                logits = seen @ said.T / TEMPERATURE
                labels = torch.arange(len(xb))
                loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
                loss.backward()
                optimizer.step()
    model.eval()
    with torch.no_grad():
        seen, said = model(test_x, test_words)
        scores = torch.bmm(seen.view(-1, GROUP, seen.size(1)), said.view(-1, GROUP, said.size(1)).transpose(1, 2))
        return skill.of_classes(scores.reshape(-1, GROUP), torch.arange(GROUP).repeat(len(scores)))
