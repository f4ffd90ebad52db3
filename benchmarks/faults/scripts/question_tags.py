"""Several tags for a question: EmbeddingBag, BCEWithLogitsLoss on multi-hot rows, Adam with ReduceLROnPlateau."""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 12
WORDS, TAGS = 150, 6


def questions(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Questions of 18 words (N, 18), and which of 6 tags they have (N, 6): a tag brings some of its ten words."""
    g = torch.Generator().manual_seed(seed)
    tags = (torch.rand(n, TAGS, generator=g) < 0.3).float()
    words = torch.randint(0, WORDS, (n, 18), generator=g)
    for tag in range(TAGS):
        for _ in range(3):
            place = torch.randint(0, 18, (n,), generator=g)
            word = 10 * tag + torch.randint(0, 10, (n,), generator=g)
            rows = tags[:, tag] > 0
            words[rows, place[rows]] = word[rows]
    return words, tags


class Tagger(nn.Module):
    """The mean of the words, a hidden layer, a logit for every tag."""

    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(WORDS, dim, mode="mean")
        self.hidden = nn.Linear(dim, 64)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(64, TAGS)

    def forward(self, words: Tensor) -> Tensor:
        """(N, T) to (N, TAGS)."""
        h = self.relu(self.hidden(self.bag(words)))
        logits: Tensor = self.out(self.dropout(h))
        return logits


class Trainer:
    """Holds what belongs to a training."""

    def __init__(self, model: nn.Module, train_loader: DataLoader[tuple[Tensor, ...]], val: tuple[Tensor, Tensor]) -> None:
        self.model, self.train_loader, self.val = model, train_loader, val
        self.criterion = nn.BCEWithLogitsLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=5e-3)
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, patience=3)
        self.log: list[tuple[float, float]] = []

    def train_epoch(self) -> float:
        """Mean loss of an epoch."""
        self.model.train()
        total = 0.0
        for words, tags in self.train_loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(words), tags)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.train_loader)

    def validate(self) -> float:
        """Loss on the validation rows."""
        self.model.eval()
        with torch.no_grad():
            return float(self.criterion(self.model(self.val[0]), self.val[1]))

    def fit(self, epochs: int, watch: Watch) -> None:
        """Train and validate in turn."""
        with watch(self.model, self.optimizer, steps=epochs * len(self.train_loader)):
            for _ in range(epochs):
                train_loss = self.train_epoch()
                val_loss = self.validate()
                self.scheduler.step(val_loss)
                self.log.append((train_loss, val_loss))


def main(seed: int, watch: Watch) -> float:
    """Train and give how well the logits rank the tags of new questions."""
    torch.manual_seed(seed)
    words, tags = questions(1000, 42)
    test_words, test_tags = questions(500, 43)
    loader = DataLoader(TensorDataset(words[:800], tags[:800]), batch_size=32, shuffle=True)
    trainer = Trainer(Tagger(), loader, (words[800:], tags[800:]))
    trainer.fit(EPOCHS, watch)
    trainer.model.eval()
    with torch.no_grad():
        return skill.of_ranking(trainer.model(test_words), test_tags)
