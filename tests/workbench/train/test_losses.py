"""Losses by class and by difficulty: cases whose value is known by thought."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from isograd.errors import RequestError
from isograd.workbench.train import Recipe, balanced_weights, loss_of

DRAW = torch.Generator().manual_seed(2)
SCORES, LABELS = torch.randn(12, 3, generator=DRAW), torch.tensor([0] * 9 + [1, 1, 2])
SHARES = F.one_hot(LABELS, 3).float()


def test_without_anything_asked_for_the_loss_is_torchs_own() -> None:
    assert loss_of("image-classification") is F.cross_entropy
    assert loss_of("regression", kind="focal", weights=(1.0,)) is F.mse_loss


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=6).filter(lambda counts: sum(counts) > 0))
def test_balanced_weights_give_every_class_the_same_share_and_have_the_mean_one(counts: list[int]) -> None:
    weights = balanced_weights(counts)
    shares = [count * weight for count, weight in zip(counts, weights, strict=True) if count]
    assert all(math.isclose(share, shares[0]) for share in shares)
    assert math.isclose(sum(shares) / sum(counts), 1.0)


def test_weighing_is_repeating_rows() -> None:
    """Weights 1, 3 and 9 on rows say what each row so many times says, up to the mean."""
    weights = (1.0, 3.0, 9.0)
    repeated = torch.repeat_interleave(torch.arange(12), torch.tensor(weights)[LABELS].long())
    expected = F.cross_entropy(SCORES[repeated], LABELS[repeated], reduction="sum") / 12
    assert torch.allclose(loss_of("classification", weights=weights)(SCORES, LABELS), expected)


@pytest.mark.parametrize("kind", ["auto", "focal"])
@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 4.0)])
def test_class_numbers_and_shares_of_one_class_give_the_same_loss(kind: str, weights: tuple[float, ...] | None) -> None:
    loss = loss_of("classification", kind=kind, weights=weights)
    assert torch.allclose(loss(SCORES, LABELS), loss(SCORES, SHARES), atol=1e-6)
    half = loss(SCORES, 0.5 * SHARES + 0.5 * SHARES.roll(1, dims=0))
    assert torch.allclose(half, 0.5 * loss(SCORES, LABELS) + 0.5 * loss(SCORES, LABELS.roll(1)), atol=1e-6)


def test_focal_loss_without_focus_is_cross_entropy_and_counts_what_is_right_less() -> None:
    assert torch.allclose(loss_of("classification", kind="focal", gamma=0.0)(SCORES, LABELS), F.cross_entropy(SCORES, LABELS))
    for margin in (0.0, 1.0, 3.0):
        p = 1 / (1 + math.exp(-margin))
        found = loss_of("classification", kind="focal", gamma=2.0)(torch.tensor([[margin, 0.0]]), torch.tensor([0]))
        assert math.isclose(float(found), -((1 - p) ** 2) * math.log(p), rel_tol=1e-4)


def test_far_scores_give_finite_gradients() -> None:
    scores = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss_of("classification", kind="focal", gamma=0.5)(scores, torch.tensor([0, 0])).backward()
    assert scores.grad is not None and bool(scores.grad.isfinite().all())


def test_an_unknown_loss_is_named_with_what_there_is() -> None:
    with pytest.raises(RequestError) as caught:
        Recipe(loss="focl", class_weights="balance", focal_gamma=-1.0)
    assert len(caught.value.faults) == 3
    assert 'did you mean "focal"?' in str(caught.value) and 'did you mean "balanced"?' in str(caught.value)


def test_smoothed_labels_are_torchs_own_and_agree_between_the_kinds_of_loss() -> None:
    expected = F.cross_entropy(SCORES, LABELS, label_smoothing=0.1)
    assert torch.allclose(loss_of("classification", smoothing=0.1)(SCORES, LABELS), expected)
    for target in (LABELS, SHARES):
        found = loss_of("classification", kind="focal", gamma=0.0, smoothing=0.1)(SCORES, target)
        assert torch.allclose(found, expected, atol=1e-6)
    weighted = loss_of("classification", weights=(1.0, 1.0, 1.0), smoothing=0.1)
    assert torch.allclose(weighted(SCORES, LABELS), expected, atol=1e-6)


def test_a_smoothed_loss_has_its_least_where_the_answer_is_sure_up_to_the_share() -> None:
    margins = torch.linspace(0.0, 10.0, 1001)
    scores = torch.stack([margins, torch.zeros_like(margins)], dim=1)
    loss = loss_of("classification", smoothing=0.2)
    values = torch.stack([loss(row[None], torch.tensor([0])) for row in scores])
    assert math.isclose(float(margins[values.argmin()]), math.log(0.9 / 0.1), abs_tol=0.02)
