"""A character model on generated prose: LSTM, pieces of text in order with the state handed on and detached, clipping."""

import torch
from torch import Tensor, nn

from faults import skill
from faults.settings import Watch

EPOCHS = 8
SEQ_LEN, BATCH = 24, 16
SYLLABLES = ("ka", "mo", "ri", "ten", "sul", "ve", "dor", "an")


def prose(syllables: int, seed: int) -> tuple[Tensor, int]:
    """Words of two syllables in which the first decides the second, as numbers of characters."""
    g = torch.Generator().manual_seed(seed)
    firsts = torch.randint(0, len(SYLLABLES), (syllables // 2,), generator=g).tolist()
    text = " ".join(SYLLABLES[i] + SYLLABLES[(3 * i + 1) % len(SYLLABLES)] for i in firsts)
    chars = sorted(set("".join(SYLLABLES) + " "))
    index = {char: i for i, char in enumerate(chars)}
    return torch.tensor([index[char] for char in text]), len(chars)


def batchify(text: Tensor) -> Tensor:
    """The text in BATCH columns that each go on where they stopped: (steps, BATCH)."""
    length = len(text) // BATCH
    return text[: length * BATCH].view(BATCH, length).t().contiguous()


class CharModel(nn.Module):
    """Embedding, LSTM, a linear layer to the characters."""

    def __init__(self, vocab: int, hidden: int = 48) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.1)
        self.encoder = nn.Embedding(vocab, 16)
        self.rnn = nn.LSTM(16, hidden)
        self.decoder = nn.Linear(hidden, vocab)
        self.hidden = hidden

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(T, N) to logits (T, N, vocab) and the state."""
        emb = self.drop(self.encoder(x))
        output, state = self.rnn(emb, state)
        return self.decoder(self.drop(output)), state

    def init_hidden(self, batch: int) -> tuple[Tensor, Tensor]:
        """A state of zeros."""
        return torch.zeros(1, batch, self.hidden), torch.zeros(1, batch, self.hidden)


def main(seed: int, watch: Watch) -> float:
    """Train and give the skill of the next character on text that it has not read."""
    torch.manual_seed(seed)
    text, vocab = prose(3600, 37)
    test_text, _ = prose(900, 38)
    train_data, test_data = batchify(text), batchify(test_text)
    model = CharModel(vocab)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    pieces = range(0, len(train_data) - 1 - SEQ_LEN, SEQ_LEN)
    with watch(model, optimizer, steps=EPOCHS * len(pieces)):
        for _ in range(EPOCHS):
            model.train()
            hidden = model.init_hidden(BATCH)
            total_loss = 0.0
            for i in pieces:
                data, targets = train_data[i : i + SEQ_LEN], train_data[i + 1 : i + 1 + SEQ_LEN]
                hidden = (hidden[0].detach(), hidden[1].detach())
                model.zero_grad()
                output, hidden = model(data, hidden)
                loss = criterion(output.view(-1, vocab), targets.reshape(-1))
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                total_loss += loss.item()
    model.eval()
    with torch.no_grad():
        output, _ = model(test_data[:-1], model.init_hidden(BATCH))
        return skill.of_classes(output.reshape(-1, vocab), test_data[1:].reshape(-1))
