"""A loss of one term a target, which the program masks and sums itself: what is judged are the terms that count."""

import numpy as np
import pytest
import torch
from torch import nn

import isograd
from isograd.frameworks.torch.losses import left_out, sample_of

F = nn.functional


def padded(examples, length=24):
    """Tokens and a class for each, 1 to 3 by the sum of a token and the one before it; 0 is padding."""
    draw = np.random.default_rng(0)
    tokens, classes = np.zeros((examples, length), "int64"), np.zeros((examples, length), "int64")
    for row in range(examples):
        size = draw.integers(3, 7)
        some = draw.integers(1, 8, size)
        tokens[row, :size] = some
        classes[row, :size] = 1 + (np.concatenate([[0], some[:-1]]) + some) % 3
    return torch.tensor(tokens), torch.tensor(classes)


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.look, self.read, self.out = nn.Embedding(8, 16), nn.Conv1d(16, 48, 3, padding=1), nn.Linear(48, 4)

    def forward(self, tokens):
        return self.out(torch.relu(self.read(self.look(tokens).transpose(1, 2))).transpose(1, 2))


def alarms(counts):
    """Train a tagger with the terms that ``counts`` says of losses and targets; the alarms."""
    torch.manual_seed(0)
    tokens, classes = padded(640)
    model = Tagger()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(8):
            for rows in torch.randperm(640).split(32):
                optimizer.zero_grad()
                terms = F.cross_entropy(model(tokens[rows]).transpose(1, 2), classes[rows], reduction="none")
                some = counts(terms.detach(), classes[rows]).float()
                ((terms * some).sum() / some.sum()).backward()
                optimizer.step()
    return {finding.disease for finding in watch.findings if finding.alarm}


def test_terms_of_padding_that_the_program_masks_are_not_held_against_it():
    assert alarms(lambda terms, classes: classes > 0) == set()


def test_only_the_hard_terms_are_learned_from_and_nothing_is_held_against_that():
    assert alarms(lambda terms, classes: (classes > 0) & (terms >= terms[classes > 0].median())) == set()


def test_a_mask_the_wrong_way_round_leaves_one_class_to_learn():
    assert "labels" in alarms(lambda terms, classes: classes == 0)


def told(weights, targets=(0, 1, 1, 2, 0, 0)):
    """The sample of six answers whose terms were weighed so, and what it was before."""
    torch.manual_seed(0)
    given = {"input": torch.randn(6, 3), "target": torch.tensor(targets), "reduction": "none"}
    terms = F.cross_entropy(**given)
    whole = sample_of("cross_entropy", given, terms, training=True, source=None)
    return left_out(whole, given, terms, torch.tensor(weights)), whole, given


def test_a_class_that_counts_nothing_is_an_ignored_index():
    found, _, given = told([0.0, 0.5, 0.5, 0.5, 0.0, 0.0])
    wanted = sample_of(
        "cross_entropy",
        given | {"ignore_index": 0},
        F.cross_entropy(**given | {"ignore_index": 0}),
        training=True,
        source=None,
    )
    assert found.value == pytest.approx(wanted.value) and found.classes == wanted.classes == (0, 2, 1)
    assert found.floor == pytest.approx(wanted.floor)


def test_terms_that_all_count_or_count_both_ways_leave_the_sample_as_it_is():
    for weights in ([0.2] * 6, [0.1, 0.2, 0.3, 0.1, 0.2, 0.1], [0.0] * 6, [0.5, -0.5, 0.0, 0.2, -0.2, 0.0]):
        found, whole, _ = told(weights)
        assert found is whole


def test_terms_that_may_have_been_chosen_by_their_losses_are_compared_with_nothing():
    found, whole, _ = told([0.0, 0.5, 0.0, 0.5, 0.5, 0.0])
    assert (found.floor, found.classes, found.hits) == (None, (), -1) and whole.floor is not None
    assert found.value is not None


@pytest.mark.parametrize("counts", [torch.arange(5) < torch.tensor([[2], [5], [3], [4]]), (torch.arange(5) > 1).expand(4, 5)])
def test_what_counts_by_its_place_is_compared_alone(counts):
    """Rows of lengths of their own, or the first two steps as a warm-up."""
    torch.manual_seed(0)
    weights = counts / counts.sum()
    classes = {"input": torch.randn(4, 3, 5), "target": torch.randint(0, 3, (4, 5)), "reduction": "none"}
    numbers = {"input": torch.randn(4, 5), "target": torch.randn(4, 5), "reduction": "none"}
    for name, given in (("cross_entropy", classes), ("mse_loss", numbers)):
        terms = getattr(F, name)(**given)
        whole = sample_of(name, given, terms, training=True, source=None)
        found = left_out(whole, given, terms, weights)
        assert found.value == pytest.approx(float(terms[counts].mean())) and found.floor is not None
        alone = given | {"target": given["target"][counts], "reduction": "mean"}
        alone["input"] = given["input"].movedim(1, -1)[counts] if name == "cross_entropy" else given["input"][counts]
        wanted = sample_of(name, alone, getattr(F, name)(**alone), training=True, source=None)
        assert found.floor == pytest.approx(wanted.floor) and found.value == pytest.approx(wanted.value)
