"""A simple learner on raw inputs: it finds what is there, nothing where nothing is, and is silent where it does not apply."""

import pytest
import torch

from isograd.frameworks.torch.simple import simple_skill

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(1_200, 6, generator=DRAW)
ROUND = (X[:, 0] ** 2 + X[:, 1] ** 2 > 1.4).long()
PRICES = X[:, :2] @ torch.tensor([[1.0], [-2.0]]) + 50.0


def batches(inputs, targets, size=40):
    found = [(inputs[i : i + size], targets[i : i + size]) for i in range(0, len(targets), size)]
    return found[: len(found) * 3 // 4], found[len(found) * 3 // 4 :]


def test_a_border_that_is_no_line_is_found_and_shuffled_labels_hold_nothing():
    skill = simple_skill(*batches(X, ROUND), "classes", 2)
    assert skill.value > 0.4 and skill.examples == 320
    shuffled = ROUND[torch.randperm(len(ROUND), generator=DRAW)]
    assert abs(simple_skill(*batches(X, shuffled), "classes", 2).value) < 0.1


def test_raw_columns_on_any_scale_and_raw_prices_are_no_hindrance():
    scaled = X * torch.tensor([1e4, 1e-3, 1.0, 1.0, 1.0, 1.0]) + 7.0
    assert simple_skill(*batches(scaled, PRICES), "numbers", 1).value > 0.99


def test_yes_and_no_as_numbers_are_judged_as_yes_and_no():
    assert simple_skill(*batches(X, ROUND[:, None].float()), "binary", 1).value > 0.4


def test_words_are_counted():
    words = torch.randint(1, 50, (1_200, 9), generator=DRAW)
    assert simple_skill(*batches(words, (words == 3).any(1).long()), "classes", 2).value > 0.5


@pytest.mark.parametrize(
    ("inputs", "targets", "task", "width"),
    [
        (X[:, None].expand(-1, 900, -1), ROUND, "classes", 2),
        (X, torch.stack([ROUND, ROUND], 1), "classes", 2),
        (X, ROUND, "classes", 500),
        (X, ROUND + 5, "classes", 2),
        (torch.full((1_200, 3), 10**6), ROUND, "classes", 2),
        (X[:60], ROUND[:60], "classes", 2),
        (X, torch.full((1_200, 1), float("nan")), "numbers", 1),
        (torch.complex(X, X), ROUND, "classes", 2),
        (X, torch.where(torch.arange(1_200) > 1_100, -100, ROUND), "classes", 2),
    ],
    ids=[
        "too wide",
        "a label for each place",
        "too many classes",
        "other classes",
        "ids of many",
        "few",
        "no numbers",
        "spectra",
        "left out",
    ],
)
def test_nothing_is_said_where_it_does_not_apply(inputs, targets, task, width):
    assert simple_skill(*batches(inputs, targets), task, width) is None


def test_batches_of_other_lengths_or_of_several_targets_are_left_alone():
    uneven = [(torch.randn(8, length), torch.zeros(8)) for length in (3, 4) for _ in range(20)]
    assert simple_skill(uneven, uneven, "binary", 1) is None
    several = [(X[:40], (ROUND[:40], PRICES[:40]))] * 9
    assert simple_skill(several, several, "classes", 2) is None
