"""Names in sentences of any length: a bidirectional GRU, a tag a word; padded batches, ignore_index, early stopping."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from faults import skill
from faults.settings import Watch

EPOCHS = 10
BATCH_SIZE = 25
WORDS, TAGS, PAD = 90, 4, 0
Row = tuple[Tensor, Tensor]


def sentences(n: int, seed: int) -> list[Row]:
    """Sentences of 4 to 12 words, and a tag a word: after a title comes a person, before a suffix a firm, after "in" a place.

    A name is any word from 20 on: what it is says its neighbour alone.
    """
    g = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(n):
        length = int(torch.randint(4, 13, (1,), generator=g))
        words = torch.randint(10, WORDS, (length,), generator=g)
        cue = torch.rand(length, generator=g) < 0.4
        words[cue] = torch.randint(1, 10, (int(cue.sum()),), generator=g)
        tags = torch.zeros(length, dtype=torch.long)
        for i in range(length):
            if words[i] < 20:
                continue
            if i and words[i - 1] in (1, 2, 3):
                tags[i] = 1
            elif i + 1 < length and words[i + 1] in (4, 5, 6):
                tags[i] = 2
            elif i and words[i - 1] in (7, 8, 9):
                tags[i] = 3
        rows.append((words, tags))
    return rows


def collate(rows: list[Row]) -> Row:
    """Words padded with PAD, tags with -100."""
    words, tags = [row[0] for row in rows], [row[1] for row in rows]
    x = nn.utils.rnn.pad_sequence(words, batch_first=True, padding_value=PAD)
    y = nn.utils.rnn.pad_sequence(tags, batch_first=True, padding_value=-100)
    return x, y


class Tagger(nn.Module):
    """Embedding, GRU both ways, a linear layer at every word."""

    def __init__(self, dim: int = 24, hidden: int = 24) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, dim, padding_idx=PAD)
        self.gru = nn.GRU(dim, hidden, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(2 * hidden, TAGS)

    def forward(self, words: Tensor) -> Tensor:
        """(N, T) to (N, T, TAGS)."""
        out, _ = self.gru(self.embed(words))
        logits: Tensor = self.fc(self.drop(out))
        return logits


def main(seed: int, watch: Watch) -> float:
    """Train and give how well the words of other sentences are tagged."""
    torch.manual_seed(seed)
    rows: Any = sentences(600, 91)
    loader = DataLoader(rows, batch_size=BATCH_SIZE, shuffle=True, collate_fn=collate)
    val, test = collate(sentences(100, 92)), collate(sentences(300, 93))
    model = Tagger()
    criterion = nn.CrossEntropyLoss(ignore_index=-100)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    best, waited = float("inf"), 0
    with watch(model, optimizer, steps=EPOCHS * len(loader)):
        for _ in range(EPOCHS):
            model.train()
            for words, tags in loader:
                optimizer.zero_grad()
                outputs = model(words)
                loss = criterion(outputs.view(-1, TAGS), tags.view(-1))
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                val_loss = criterion(model(val[0]).view(-1, TAGS), val[1].view(-1)).item()
            waited = 0 if val_loss < best else waited + 1
            best = min(best, val_loss)
            if waited >= 4:
                break
    model.eval()
    with torch.no_grad():
        real = test[1] >= 0
        return skill.of_classes(model(test[0])[real], test[1][real])
