r"""What a simple learner makes of the same examples: ridge regression on the raw inputs, straight and over a kernel.

.. math:: f(x) = \bar y + k(x)^T (K + \lambda n I)^{-1} (Y - \bar y)

with K = <x, x'> / D (straight) or exp(-|x - x'|^2 / 2 s^2), s the median distance, of inputs whose columns are standardised;
classes as columns of 0 and 1. Kernel and lambda are chosen on a fifth of the training rows, what is held out is judged once.
It says what there is to be had at least: what it finds the labels do hold, whatever a network makes of them.

Inputs are tensors of one row an example, of as many numbers each (COLUMNS at most); whole numbers are counted, as words are
(KINDS at most). Nothing is said of other inputs, of several outputs, and of targets that are no column an example.
Sources: Hoerl & Kennard 1970, Technometrics 12; Saunders et al. 1998, ICML (ridge regression in dual variables).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import torch
from torch import Tensor

from isograd.frameworks.torch.batches import inputs_of, targets_of
from isograd.frameworks.torch.fitting import Matched, Task
from isograd.frameworks.torch.judging import skill_of
from isograd.frameworks.torch.places import tensors_in
from isograd.records.skill import Skill

ROWS, FEWEST = 1_500, 64
"""Rows that it learns from, and is judged by, at most and at least: so many equations are solved in a tenth of a second."""
COLUMNS, KINDS, WIDEST = 4_096, 2_048, 100
"""Numbers of a row, kinds of words, and columns of targets at most."""
LAMBDAS = (1e-5, 1e-4, 1e-3, 1e-2)


def simple_skill(training: Iterable[Any], held: Iterable[Any], task: Task, width: int) -> Skill | None:
    """The skill on the rows that are held out, of outputs of so many columns; None where this learner does not apply.

    >>> x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    >>> found = simple_skill([(x[:300], (x[:300, 0] > 0).long())], [(x[300:], (x[300:, 0] > 0).long())], "classes", 2)
    >>> found is not None and found.value > 0.7
    True
    """
    rows, others = _rows(training), _rows(held)
    if rows is None or others is None or rows[0].shape[1:] != others[0].shape[1:] or rows[1].shape[1:] != others[1].shape[1:]:
        return None
    answers, known = (_columns(one[1], task, width) for one in (rows, others))
    if answers is None or known is None or min(len(rows[0]), len(others[0])) < FEWEST:
        return None
    mean, deviation = rows[0].mean(0), rows[0].std(0)
    inputs, asked = ((one - mean) / torch.where(deviation > 0.0, deviation, 1.0) for one in (rows[0], others[0]))
    fit = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    part, rest = fit[len(fit) // 5 :], fit[: len(fit) // 5]
    best = max(
        product((False, True), LAMBDAS),
        key=lambda way: _judged(_answers(inputs[part], answers[part], inputs[rest], *way), rows[1][rest], task).value,
    )
    return _judged(_answers(inputs, answers, asked, *best), others[1], task)


def _rows(batches: Iterable[Any]) -> tuple[Tensor, Tensor] | None:
    """Inputs and targets of ROWS rows, spread over the batches; None where they are of no use."""
    pairs: list[tuple[list[Tensor], Tensor]] = []
    for batch in batches:
        inputs, wanted = list(tensors_in(inputs_of(batch))), list(tensors_in(targets_of(batch)))
        if len(wanted) != 1 or not wanted[0].ndim or wanted[0].ndim > 2 or not inputs:
            return None
        count = len(wanted[0])
        if any(not one.ndim or len(one) != count or one.layout != torch.strided for one in inputs):
            return None
        pairs.append((inputs, wanted[0]))
    if not pairs or len({tuple(one.shape[1:] for one in (*inputs, wanted)) for inputs, wanted in pairs}) > 1:
        return None
    if sum(one[0].numel() for one in pairs[0][0]) // max(1, len(pairs[0][1])) > COLUMNS:
        return None
    total = sum(len(wanted) for _, wanted in pairs)
    every = -(-total // ROWS)
    parts = [_numbers(torch.cat([inputs[place][::every] for inputs, _ in pairs])) for place in range(len(pairs[0][0]))]
    if any(one is None for one in parts):
        return None
    made = torch.cat([one for one in parts if one is not None], 1)
    asked = torch.cat([one[::every] for _, one in pairs])[:ROWS].cpu()
    return (made[:ROWS], asked) if made.shape[1] <= COLUMNS else None


def _numbers(values: Tensor) -> Tensor | None:
    """One row of numbers an example: as they are, or how often each whole number comes."""
    flat = values.detach().cpu().reshape(len(values), -1)
    if flat.is_floating_point() or flat.dtype == torch.bool or flat.dtype == torch.uint8:
        return torch.nan_to_num(flat.double(), posinf=0.0, neginf=0.0)
    if flat.is_complex() or not flat.numel() or int(flat.min()) < 0 or int(flat.max()) >= KINDS:
        return None
    return torch.zeros(len(flat), int(KINDS), dtype=torch.float64).scatter_add_(
        1, flat, torch.ones_like(flat, dtype=torch.float64)
    )


def _columns(targets: Tensor, task: Task, width: int) -> Tensor | None:
    """The targets as columns to be fitted."""
    if task == "classes":
        if targets.ndim != 1 or targets.is_floating_point() or not 1 < width <= WIDEST:
            return None
        if int(targets.min()) < 0 or int(targets.max()) >= width:
            return None
        return torch.nn.functional.one_hot(targets.long(), width).double()
    columns = targets.double().reshape(len(targets), -1)
    usable = task in ("binary", "numbers") and columns.shape[1] <= WIDEST and bool(columns.isfinite().all())
    return columns if usable else None


def _answers(inputs: Tensor, wanted: Tensor, asked: Tensor, curved: bool, ridge: float) -> Tensor:
    """What ridge regression answers."""
    mean = wanted.mean(0)
    if curved:
        apart = torch.cdist(inputs, inputs)
        scale = 2.0 * apart.median().clamp(min=1e-9) ** 2
        kernel, cross = (-(apart**2) / scale).exp(), (-(torch.cdist(asked, inputs) ** 2) / scale).exp()
    else:
        kernel, cross = inputs @ inputs.T / inputs.shape[1], asked @ inputs.T / inputs.shape[1]
    whole = kernel + ridge * len(inputs) * torch.eye(len(inputs), dtype=kernel.dtype)
    answers: Tensor = mean + cross @ torch.linalg.solve(whole, wanted - mean)
    return answers


def _judged(answers: Tensor, wanted: Tensor, task: Task) -> Skill:
    """The skill of the answers, on the scale of every other."""
    if task == "classes":
        return skill_of(Matched(task, answers, wanted.long()))
    targets = wanted.double().reshape(answers.shape)
    return skill_of(Matched(task, answers, targets.clamp(min=0.0) if task == "binary" else targets))
