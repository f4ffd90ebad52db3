"""The yardstick: how much better than a constant answer the outputs are, whatever the program's own loss says."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from isograd.frameworks.torch.fitting import Matched
from isograd.records.skill import Skill

WORST = -0.2
"""What is not finite is worth this, and nothing is worth less: how far below a constant answer it is says nothing more."""
_ROUNDS = 40


def skill_of(found: Matched) -> Skill:
    r"""Skill on held-out examples: 0 is the best constant answer, 1 is perfect.

    .. math:: J = 1 - \frac{CE_{calibrated}}{CE_{prior}} \quad\text{or}\quad R^2

    For classes the outputs are scores up to one positive factor and a bias a class, fitted on one half and counted on the
    other, both ways: so that neither the scale of the outputs nor a last softmax is judged, only what they tell. For numbers
    R^2 = 1 - sum (y - t)^2 / sum (t - mean t)^2 over all entries, each column against its own mean.

    Range: [-0.2, 1]. Source: Guo et al. 2017, arXiv:1706.04599 (temperature and bias); the choice is measured in dev/LOG.md.

    >>> skill_of(Matched("numbers", torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [3.0]]))).value
    1.0
    """
    outputs = found.outputs.detach().to("cpu", torch.float64)
    targets = found.targets.detach().to("cpu")
    examples = len(outputs)
    if not bool(torch.isfinite(outputs).all()):
        return Skill(WORST, examples)
    if found.task == "numbers":
        return Skill(_bounded(_explained(outputs, targets.double())), examples)
    if found.task == "binary":
        outputs, targets = torch.stack([torch.zeros_like(outputs), outputs], 1), targets.long()
    return Skill(_bounded(_told(outputs, targets.long())), examples)


def _explained(outputs: Tensor, targets: Tensor) -> float:
    spread = (targets - targets.mean(0)).square().sum().item()
    return 1.0 - (outputs - targets).square().sum().item() / spread if spread > 0.0 else 0.0


def _told(scores: Tensor, classes: Tensor) -> float:
    """1 - CE_calibrated / CE_prior, each half judged by what was fitted on the other."""
    spread = scores.std().item() if scores.numel() > 1 else 0.0
    scores = (scores - scores.mean(1, keepdim=True)) / spread if spread > 0.0 else torch.zeros_like(scores)
    first = torch.arange(len(scores)) % 2 == 0
    paid = prior = 0.0
    for fit, count in ((first, ~first), (~first, first)):
        if not bool(fit.any()) or not bool(count.any()):
            return 0.0
        share = (classes[fit].bincount(minlength=scores.shape[1]) + 0.5).double()
        prior += F.cross_entropy(
            (share / share.sum()).log().expand(int(count.sum()), -1), classes[count], reduction="sum"
        ).item()
        scale, bias = _calibrated(scores[fit], classes[fit])
        paid += F.cross_entropy(scale * scores[count] + bias, classes[count], reduction="sum").item()
    return 1.0 - paid / prior if prior > 0.0 else 0.0


def _calibrated(scores: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """The positive factor and the biases that make the scores' softmax likeliest, with a prior as strong as one example."""
    share = (classes.bincount(minlength=scores.shape[1]) + 0.5).double()
    log_scale = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    bias = (share / share.sum()).log().requires_grad_()
    start = bias.detach().clone()
    search = torch.optim.LBFGS([log_scale, bias], max_iter=_ROUNDS, line_search_fn="strong_wolfe")

    def pays() -> Tensor:
        search.zero_grad()
        loss = F.cross_entropy(log_scale.exp() * scores + bias, classes, reduction="sum")
        loss = loss + 0.5 * (bias - start).square().sum() + 0.05 * log_scale.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        search.step(pays)  # type: ignore[no-untyped-call]
    return log_scale.detach().exp(), bias.detach()


def _bounded(value: float) -> float:
    return max(WORST, min(1.0, value))
