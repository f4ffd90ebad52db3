"""The yardstick: how much better than a constant answer the outputs are, whatever the program's own loss says."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from isograd.frameworks.torch.fitting import Matched
from isograd.records.skill import Skill

WORST = -0.2
"""What is not finite is worth this, and nothing is worth less: how far below a constant answer it is says nothing more."""
COLUMNS = 16
"""Targets of a regression up to which each is judged by itself: quantities in units of their own; more are a picture."""
ROWS, ENTRIES = 20_000, 1 << 22
"""Places (pixels, words) that are judged at most, and entries of their scores."""
_ROUNDS = 40


def skill_of(found: Matched, *, copy: bool = False) -> Skill:
    r"""Skill on held-out examples: 0 is the best constant answer, 1 is perfect.

    .. math:: J = 1 - \frac{CE_{calibrated} - H}{CE_{prior} - H} \quad\text{or}\quad R^2

    For classes the outputs are scores up to one positive factor and a bias a class (of yes-or-no questions: a question), fitted
    on one half and counted on the other, both ways: so that neither the scale of the outputs nor a last softmax is judged, only
    what they tell, and rare classes or pixels count by what a constant answer pays for them. H is the entropy of the targets
    themselves, 0 unless they are probabilities. For numbers R^2 = 1 - sum (y - t)^2 / sum (t - mean t)^2, each column against
    its own mean: the mean over few columns (COLUMNS), the ratio of the sums over many. Of a ``copy`` of the inputs it is that
    ratio, and outputs may be drawn towards the constant answer by one factor: those of a VAE are random. Of pairs it is twice
    the share that is put in the right order, less one (ties count half).

    Range: [-0.2, 1]. Source: Guo et al. 2017, arXiv:1706.04599 (temperature and bias); the choice is measured in dev/LOG.md.

    >>> skill_of(Matched("numbers", torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [3.0]]))).value
    1.0
    """
    chosen, examples = _chosen(found.outputs), len(found.outputs)
    outputs, targets = (one.detach()[chosen].to("cpu") for one in (found.outputs, found.targets))
    outputs = outputs.double()
    if not bool(torch.isfinite(outputs).all()):
        return Skill(WORST, examples)
    if found.task == "ranks":
        return Skill(_bounded(float(outputs.sign().mean())), examples)
    if found.task == "numbers":
        return Skill(_copied(outputs, targets.double()) if copy else _explained(outputs, targets.double()), examples)
    if found.task == "binary" and outputs.shape[1] > 1:
        return Skill(_bounded(_told(outputs, targets.double(), _Questions)), examples)
    if found.task == "binary":
        outputs, targets = torch.cat([torch.zeros_like(outputs), outputs], 1), targets.reshape(-1).long()
    return Skill(_bounded(_told(outputs, targets.double() if targets.ndim > 1 else targets.long(), _Classes)), examples)


def combined(parts: Sequence[Skill]) -> Skill:
    """The skill of several outputs: the mean of theirs, as each of them is asked for.

    >>> combined([Skill(1.0, 10), Skill(0.5, 20)])
    Skill(value=0.75, examples=20)
    """
    return Skill(statistics.fmean(one.value for one in parts), max(one.examples for one in parts))


def _chosen(tensor: Tensor) -> Tensor | slice:
    """All rows of few, ROWS of many, the same ones each time; fewer of very wide ones."""
    most = max(1, min(ROWS, ENTRIES * len(tensor) // max(1, tensor.numel())))
    if len(tensor) <= most:
        return slice(None)
    return torch.randperm(len(tensor), generator=torch.Generator().manual_seed(0))[:most].sort().values.to(tensor.device)


def _explained(outputs: Tensor, targets: Tensor) -> float:
    """R^2: the mean of few columns, where they vary; of many that of all together."""
    spread = (targets - targets.mean(0)).square().sum(0)
    missed = (outputs - targets).square().sum(0)
    if not float(spread.sum()) > 0.0:
        return 0.0
    if targets.shape[1] > COLUMNS:
        return _bounded(1.0 - float(missed.sum() / spread.sum()))
    varied = spread > 0.0
    return statistics.fmean(map(_bounded, (1.0 - missed[varied] / spread[varied]).tolist()))


def _copied(outputs: Tensor, targets: Tensor) -> float:
    """R^2 of the outputs drawn towards the mean of the targets by the best factor in [0, 1]."""
    made, wanted = outputs - targets.mean(0), targets - targets.mean(0)
    size, spread = float(made.square().sum()), float(wanted.square().sum())
    factor = max(0.0, min(1.0, float((made * wanted).sum()) / size)) if size > 0.0 else 0.0
    return _bounded(1.0 - float((factor * made - wanted).square().sum()) / spread) if spread > 0.0 else 0.0


class _Classes:
    """One of several classes: targets are their indices or probabilities."""

    @staticmethod
    def start(targets: Tensor, width: int) -> Tensor:
        """The biases of the best constant answer, with a prior as strong as half an example a class."""
        share = (targets.bincount(minlength=width) if targets.ndim == 1 else targets.sum(0)) + 0.5
        return (share / share.sum()).double().log()

    @staticmethod
    def pays(scores: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy, summed."""
        return F.cross_entropy(scores, targets, reduction="sum")

    @staticmethod
    def own(targets: Tensor) -> float:
        """The entropy of the targets themselves, summed."""
        return 0.0 if targets.ndim == 1 else float(torch.special.entr(targets).sum())


class _Questions:
    """Several questions of yes or no: targets are 0 or 1 for each."""

    @staticmethod
    def start(targets: Tensor, width: int) -> Tensor:
        """The log-odds of the best constant answer to each, with a prior as strong as half an example a side."""
        return ((targets.sum(0) + 0.5) / (len(targets) - targets.sum(0) + 0.5)).log()

    @staticmethod
    def pays(scores: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy, summed."""
        return F.binary_cross_entropy_with_logits(scores, targets, reduction="sum")

    @staticmethod
    def own(targets: Tensor) -> float:
        """Nothing: they are certain."""
        return 0.0


_Kind = type[_Classes] | type[_Questions]


def _told(scores: Tensor, targets: Tensor, kind: _Kind) -> float:
    """1 - CE_calibrated / CE_prior, each half judged by what was fitted on the other."""
    middle = scores.mean(1, keepdim=True) if kind is _Classes else scores.mean()
    spread = scores.std().item() if scores.numel() > 1 else 0.0
    scores = (scores - middle) / spread if spread > 0.0 else torch.zeros_like(scores)
    first = _halves(len(scores))
    paid = prior = 0.0
    for fit, count in ((first, ~first), (~first, first)):
        if not bool(fit.any()) or not bool(count.any()):
            return 0.0
        own = kind.own(targets[count])
        start = kind.start(targets[fit], scores.shape[1])
        prior += kind.pays(start.expand(int(count.sum()), -1), targets[count]).item() - own
        scale, bias = _calibrated(scores[fit], targets[fit], start, kind)
        paid += kind.pays(scale * scores[count] + bias, targets[count]).item() - own
    return 1.0 - paid / prior if prior > 0.0 else 0.0


def _halves(count: int) -> Tensor:
    """The Thue-Morse sequence, which has no period: every second, or every tenth, example may be of one kind."""
    digits = torch.arange(count)
    for shift in (32, 16, 8, 4, 2, 1):
        digits = digits ^ (digits >> shift)
    return digits % 2 == 0


def _calibrated(scores: Tensor, targets: Tensor, start: Tensor, kind: _Kind) -> tuple[Tensor, Tensor]:
    """The positive factor and the biases that make the targets likeliest, with a prior as strong as one example."""
    log_scale = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    bias = start.clone().requires_grad_()
    search = torch.optim.LBFGS([log_scale, bias], max_iter=_ROUNDS, line_search_fn="strong_wolfe")

    def missed() -> Tensor:
        search.zero_grad()
        loss = kind.pays(log_scale.exp() * scores + bias, targets)
        loss = loss + 0.5 * (bias - start).square().sum() + 0.05 * log_scale.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        search.step(missed)  # type: ignore[no-untyped-call]
    return log_scale.detach().exp(), bias.detach()


def _bounded(value: float) -> float:
    return max(WORST, min(1.0, value))
