"""Where a batch of tokens is padding: at the end of what a recurrent layer reads, and under a mask made by hand."""

import pytest
import torch
from torch import nn

import isograd

TOKENS = torch.randint(1, 9, (16, 12), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.arange(16) % 4 + 2
PADDED = TOKENS * (torch.arange(12) < LENGTHS[:, None])


class Reads(nn.Module):
    def __init__(self, *, batch_first=True):
        super().__init__()
        self.words, self.rnn, self.head = nn.Embedding(9, 6), nn.GRU(6, 8, batch_first=batch_first), nn.Linear(8, 2)

    def forward(self, x):
        words = self.words(x)
        return self.head(self.rnn(words)[0][:, -1] if self.rnn.batch_first else self.rnn(words.transpose(0, 1))[0][-1])


class Attends(nn.Module):
    """Attention by hand: one question to all tokens, of which a mask leaves some out."""

    def __init__(self, hidden, fill=-1e9):
        super().__init__()
        self.words, self.asks, self.head = nn.Embedding(9, 6), nn.Linear(6, 1), nn.Linear(6, 2)
        self.hidden, self.fill = hidden, fill

    def forward(self, x):
        words = self.words(x)
        scores = self.asks(words).transpose(1, 2).masked_fill(self.hidden(x)[:, None], self.fill)
        return self.head((torch.softmax(scores, -1) @ words)[:, 0])


def facts(model, tokens, kind):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(tokens), LENGTHS % 2).backward()
            optimizer.step()
    return [fact for step in watch.trace.steps for fact in step.facts if fact.kind == kind]


@pytest.mark.parametrize("batch_first", [True, False])
def test_what_a_recurrent_layer_reads_last_is_padding_in_most_sequences(batch_first):
    found = facts(Reads(batch_first=batch_first), PADDED, "padded_ends")
    assert found and {(fact.where, fact.get("steps", 0), fact.get("of", 0)) for fact in found} == {("rnn", 8, 12)}


def test_whole_sequences_and_padding_in_front_are_no_padded_ends():
    assert facts(Reads(), TOKENS, "padded_ends") == [] and facts(Reads(), PADDED.flip(1), "padded_ends") == []


@pytest.mark.parametrize("fill", [-1e9, float("-inf")])
def test_a_mask_by_hand_that_hides_all_but_the_padding_is_the_wrong_way_round(fill):
    assert facts(Attends(lambda x: x != 0, fill), PADDED, "mask_inverted")
    assert facts(Attends(lambda x: x == 0, fill), PADDED, "mask_inverted") == []


def test_a_mask_by_hand_that_hides_nothing_or_some_of_both_is_none():
    assert facts(Attends(lambda x: torch.zeros_like(x, dtype=torch.bool)), PADDED, "mask_inverted") == []
    assert facts(Attends(lambda x: x < 4), PADDED, "mask_inverted") == []
