"""Encoder and decoder with teacher forcing: short lists of letters are turned round, padding left out."""

import random

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 11
LENGTH, VOCAB, BOS, PAD = 5, 10, 8, 9


def lists(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Lists (N, 5) of letters 0 to 7, some cut short by padding, and the same turned round."""
    g = torch.Generator().manual_seed(seed)
    source = torch.randint(0, 8, (n, LENGTH), generator=g)
    lengths = torch.randint(3, LENGTH + 1, (n,), generator=g)
    target = torch.full_like(source, PAD)
    for row in range(n):
        length = int(lengths[row])
        source[row, length:] = PAD
        target[row, :length] = source[row, :length].flip(0)
    return source, target


class Encoder(nn.Module):
    """Letters to the last state of a GRU."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, 16, padding_idx=PAD)
        self.gru = nn.GRU(16, hidden, batch_first=True)

    def forward(self, source: Tensor) -> Tensor:
        """(N, T) to (1, N, hidden)."""
        embedded = self.embedding(source)
        _, state = self.gru(embedded)
        hidden: Tensor = state
        return hidden


class Decoder(nn.Module):
    """One letter at a time from the state."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, 16)
        self.gru = nn.GRU(16, hidden, batch_first=True)
        self.out = nn.Linear(hidden, VOCAB)

    def forward(self, letter: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) and a state to logits (N, VOCAB) and the next state."""
        output, state = self.gru(self.embedding(letter)[:, None], state)
        return self.out(output[:, 0]), state


class Seq2Seq(nn.Module):
    """Both, with the right letter or its own handed to the next step."""

    def __init__(self, hidden: int = 48) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(hidden), Decoder(hidden)

    def forward(self, source: Tensor, target: Tensor, teacher_forcing: float = 0.7) -> Tensor:
        """(N, T) and (N, T) to logits (N, T, VOCAB)."""
        state = self.encoder(source)
        letter = torch.full((len(source),), BOS)
        outputs = []
        for t in range(LENGTH):
            logits, state = self.decoder(letter, state)
            outputs.append(logits)
            letter = target[:, t] if random.random() < teacher_forcing else logits.argmax(1)
        return torch.stack(outputs, dim=1)


def main(seed: int, watch: Watch) -> float:
    """Train and give the skill over all letters of the test lists, its own letters handed on."""
    torch.manual_seed(seed)
    random.seed(seed)
    source, target = lists(800, 35)
    test_source, test_target = lists(300, 36)
    loader = DataLoader(TensorDataset(source, target), batch_size=32, shuffle=True)
    model = Seq2Seq()
    criterion = nn.CrossEntropyLoss(ignore_index=PAD)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with watch(model, optimizer, steps=EPOCHS * len(loader)):
        for _ in range(EPOCHS):
            model.train()
            total = 0.0
            for src, trg in loader:
                optimizer.zero_grad()
                output = model(src, trg)
                loss = criterion(output.reshape(-1, VOCAB), trg.reshape(-1))
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
                optimizer.step()
                total += loss.item()
    model.eval()
    with torch.no_grad():
        kept = test_target != PAD
        return skill.of_classes(model(test_source, test_target, 0.0)[kept], test_target[kept])
