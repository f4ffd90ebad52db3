"""What a program is judged by: its outputs beside its targets, its inputs, each other, or what its loss is called with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from isograd.errors import ModelError
from isograd.frameworks.torch.batches import inputs_of, outputs_of, targets_of
from isograd.frameworks.torch.copying import together
from isograd.frameworks.torch.fitting import IGNORED, Matched, as_numbers, fits, in_doubt, matched, paired, unfit
from isograd.frameworks.torch.judging import combined, skill_of
from isograd.frameworks.torch.losses import given_to
from isograd.frameworks.torch.operations import LOSSES, name_of
from isograd.frameworks.torch.places import tensors_in
from isograd.frameworks.torch.preparing import mapped
from isograd.records.skill import Skill

LABELS = ("labels", "label", "targets", "target", "y")
"""Names under which a mapping of inputs holds what the outputs are compared with."""
_SCORES = frozenset({"cross_entropy", "nll_loss", "multi_margin_loss"})
LOGARITHMS = frozenset({"poisson_nll_loss"})
"""Losses whose outputs are logarithms of the answers, of the targets' shape though they are."""

Step = Callable[[Any, Any, Any], object]
"""One step of the person's own, as ``stepping.Own``."""
How = Literal["targets", "copy", "either", "ranks"]


@dataclass(frozen=True, slots=True)
class Part:
    """An output with what it is judged by.

    targets: ``made`` answers ``wanted``; copy: it is to be ``wanted``, a picture of many numbers; either: ``made`` are
    distances that tell the two answers of ``wanted`` apart, either way round; ranks: ``made`` are by how much the right one of
    two is put above the other, and nothing is ``wanted``.
    """

    how: How
    made: Tensor
    wanted: Tensor

    @property
    def form(self) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        """What parts that can be joined have in common."""
        return self.how, tuple(self.made.shape[1:]), tuple(self.wanted.shape[1:])


def parts_of(outputs: Any, targets: Any, inputs: Any, ignored: int | None = None) -> list[Part]:
    """Each output with what it is judged by; empty where nothing is known. ``ignored`` is the label that does not count.

    With targets: those that fit (``fitting.paired``); two outputs of one shape with one yes or no an example are a pair, whose
    distance is judged. Without: labels among the inputs; the inputs, where the output has their shape (an autoencoder); the
    next token; two views of each example, which find each other among those of the batch; three, of which the second is the
    near one; or the scores of two, of which the first is the right one.

    >>> x = torch.zeros(4, 8)
    >>> [part.how for part in parts_of((x, torch.zeros(4, 2)), None, x)], [part.how for part in parts_of((x, x), None, None)]
    (['copy'], ['ranks'])
    """
    if targets is None:
        return _by_themselves(outputs, inputs, ignored)
    made = [one for one in tensors_in(outputs) if one.is_floating_point() and one.ndim]
    wanted = [one for one in tensors_in(targets) if one.ndim]
    if len(wanted) == 1 and _are_pairs(made, wanted[0]):
        return [Part("either", (made[0] - made[1]).norm(dim=-1).reshape(-1), wanted[0].reshape(-1))]
    if len(made) == len(wanted) == 1 and made[0].ndim == 2 and _is_diagonal(made[0], wanted[0]):
        return [among(made[0])]
    given = list(tensors_in(inputs))
    return [
        Part("copy" if any(_same(other, one) for one in given) else "targets", out, _without(other, ignored))
        for out, other in paired(outputs, targets)
    ]


def _are_pairs(made: Sequence[Tensor], wanted: Tensor) -> bool:
    """Two outputs of one shape, too wide for scores of two classes, and one of two answers for each example."""
    if len(made) != 2 or not _alike(made) or made[0].ndim < 2 or made[0].shape[-1] < 3 or not wanted.numel():
        return False
    low, high = float(wanted.min()), float(wanted.max())
    two = bool(((wanted == low) | (wanted == high)).all()) and -1.0 <= low <= high <= 1.0
    return two and made[0][..., 0].numel() == wanted.numel()


def _by_themselves(outputs: Any, inputs: Any, ignored: int | None) -> list[Part]:
    fields = outputs if isinstance(outputs, Mapping) else getattr(outputs, "__dict__", {})
    made = [one for one in tensors_in(dict(fields) or outputs) if one.is_floating_point() and one.ndim]
    name = next((name for name in LABELS if name in inputs), None) if isinstance(inputs, Mapping) else None
    label = None if name is None else inputs[name]
    rest = {key: one for key, one in inputs.items() if key != name} if isinstance(inputs, Mapping) else inputs
    given = [one for one in tensors_in(rest) if one.ndim]
    for out in made:
        if isinstance(label, Tensor) and any(_same(label, one) for one in given):
            return _next_token(out, label, ignored)
        if isinstance(label, Tensor) and fits(out, label):
            return [Part("targets", out, _without(label, ignored))]
    for out in made:
        same = next((one for one in given if one.shape == out.shape and one.is_floating_point()), None)
        if same is not None:
            return [Part("copy", out, same)]
    tokens = [one for one in given if not one.is_floating_point() and one.ndim == 2 and one.shape[1] > 1]
    found = [part for out in made for part in (_next_token(out, tokens[0], ignored) if tokens else [])]
    if found or not _alike(made):
        return found[:1]
    return _of_views(made)


def _next_token(out: Tensor, tokens: Tensor, ignored: int | None) -> list[Part]:
    if out.ndim != 3 or out.shape[:2] != tokens.shape or int(tokens.max()) >= out.shape[2]:
        return []
    return [Part("targets", out[:, :-1].flatten(0, 1), _without(tokens[:, 1:], ignored).flatten())]


def _of_views(made: Sequence[Tensor]) -> list[Part]:
    """Without targets: how often what belongs together is nearer, or scored higher, than what does not."""
    wide = made[0].ndim == 2 and made[0].shape[1] > 1
    if len(made) == 3 and wide:
        return [triplets(*made)]
    if len(made) != 2 or len(made[0]) < 2:
        return []
    if not wide:
        return [ranks(made[0] - made[1])]
    one, other = (F.normalize(side, dim=1) for side in made)
    return [among(one @ other.T)]


def among(scores: Tensor) -> Part:
    """By how much the right one, on the diagonal of (n, n), is above each of the others."""
    away = scores.diagonal()[:, None] - scores
    return ranks(away[~torch.eye(len(scores), dtype=torch.bool, device=scores.device)])


def triplets(anchor: Tensor, near: Tensor, far: Tensor) -> Part:
    """By how much the near one is nearer."""
    return ranks((anchor - far).norm(dim=-1) - (anchor - near).norm(dim=-1))


def ranks(away: Tensor) -> Part:
    """Differences of the right one less another."""
    away = away.reshape(-1)
    return Part("ranks", away, away[:0].expand(0))


def _alike(made: Sequence[Tensor]) -> bool:
    return len(made) > 1 and all(one.shape == made[0].shape for one in made)


def _same(one: Tensor, other: Tensor) -> bool:
    if one is other:
        return True
    return one.shape == other.shape and one.dtype == other.dtype and bool(((one == other) | (one != one)).all())


def _without(wanted: Tensor, ignored: int | None) -> Tensor:
    """Labels that do not count as torch marks them."""
    if ignored is None or ignored == IGNORED or wanted.is_floating_point():
        return wanted
    return torch.where(wanted == ignored, IGNORED, wanted.long())


def seen(models: Sequence[nn.Module], batches: Iterable[Any], loss: Any, step: Step | None = None) -> list[list[Part]]:
    """The parts of each batch, of models in evaluation mode.

    The outputs beside the targets go first; where these are no pair, or the loss takes logarithms of the answers, what torch's
    losses are called with in the program's own loss, in a model that gives its loss itself, or in ``step``. Raises
    ``ModelError`` where nothing can be compared.
    """
    return [_of_batch(models, batch, loss, step) for batch in batches]


def _of_batch(models: Sequence[nn.Module], batch: Any, loss: Any, step: Step | None) -> list[Part]:
    inputs, targets = inputs_of(batch), targets_of(batch)
    inside, outside = Listening(), Listening()
    try:
        with inside:
            outputs = outputs_of(models, inputs)
    except ModelError:
        found = [] if step is None else _in_step(models, batch, step)
        if not found:
            raise
        return found
    if loss is None and step is None and inside.parts:
        return inside.parts
    if callable(loss):
        with outside, contextlib.suppress(Exception):  # where it raises, the training says so
            loss(mapped(outputs, torch.clone), mapped(targets, torch.clone))
    direct = parts_of(outputs, targets, inputs, outside.ignored)
    doubted = LOGARITHMS & set(outside.names) or in_doubt(outputs, targets)
    if direct and targets is not None and not (outside.parts and doubted):
        return direct
    found = (outside.parts if step is None else _in_step(models, batch, step)) or direct
    if not found:
        raise unfit(outputs, targets)
    return found


def heard(models: Sequence[nn.Module], batch: Any, step: Step | None = None) -> list[Part]:
    """What torch's losses are called with in a pass of the models, or in a step of the person's own."""
    if step is not None:
        return _in_step(models, batch, step)
    ears = Listening()
    with ears:
        outputs_of(models, inputs_of(batch))
    return ears.parts


class _Still(torch.optim.Optimizer):
    """An optimizer that changes nothing."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__([one for model in models for one in model.parameters()], {"lr": 0.0})

    def step(self, closure: Any = None) -> Any:
        """Ask for the loss, and change nothing."""
        return None if closure is None else closure()


def _in_step(models: Sequence[nn.Module], batch: Any, step: Step) -> list[Part]:
    """What the losses are called with in a step of the person's own, on copies that stay in evaluation mode."""
    copies, _, _ = together(tuple(models), None, None)
    for model in copies:
        for module in model.modules():
            module.__dict__["train"] = lambda mode=True, module=module: module
    ears = Listening()
    with ears, torch.enable_grad(), contextlib.suppress(Exception):  # the training says what it raises
        step(copies[0] if len(copies) == 1 else copies, _Still(copies), batch)
    return ears.parts


def judged(batches: Sequence[Sequence[Part]]) -> Skill:
    """Skill on the parts of all batches together: each place by itself, then the mean. Raises ``ModelError`` without any."""
    places = min((len(parts) for parts in batches), default=0)
    if not places:
        raise unfit(None, None)
    return combined([_of_place([parts[place] for parts in batches]) for place in range(places)])


def _of_place(parts: Sequence[Part]) -> Skill:
    forms: dict[Any, list[Part]] = {}
    for part in parts:
        forms.setdefault(part.form, []).append(part)
    if parts[0].how == "ranks":
        made = torch.cat([part.made for part in parts])
        return skill_of(Matched("ranks", made, made))
    joined = [
        Part(some[0].how, torch.cat([one.made for one in some]), torch.cat([one.wanted for one in some]))
        for some in forms.values()
    ]
    if parts[0].how == "either":
        (both,) = joined
        answers = (both.wanted == both.wanted.max()).to(both.made.dtype)
        sides = [skill_of(Matched("binary", sign * both.made[:, None], answers[:, None])) for sign in (1.0, -1.0)]
        return max(sides, key=lambda side: side.value)
    found = [matched(part.made, part.wanted) for part in joined]
    kinds = {(one.task, tuple(one.outputs.shape[1:])) for one in found}
    if len(kinds) > 1:  # batches of several lengths, some of which hold but two values
        found = [as_numbers(part.made.reshape(-1), part.wanted.reshape(-1)) for part in joined]
    whole = Matched(found[0].task, torch.cat([one.outputs for one in found]), torch.cat([one.targets for one in found]))
    return skill_of(whole, copy=parts[0].how == "copy")


class Listening(TorchFunctionMode):
    """Hears what torch's losses are called with, wherever in the program: in the model, in its loss, in a step of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Part] = []
        self.names: list[str] = []
        self.ignored: int | None = None

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = name_of(function), kwargs or {}
        if name in LOSSES:
            self.names.append(name)
            given = given_to(name, args, kwargs)
            if name in _SCORES and isinstance(given.get("ignore_index"), int):
                self.ignored = int(given["ignore_index"])
            part = part_of(name, given)
            if part is not None:
                self.parts.append(part)
        return function(*args, **kwargs)


def part_of(name: str, given: Mapping[str, Any]) -> Part | None:
    """What one call of a loss says of outputs and targets; None of a loss that compares nothing.

    >>> part_of("margin_ranking_loss", {"input1": torch.ones(3), "input2": torch.zeros(3), "target": torch.ones(3)}).how
    'ranks'
    """
    sides = {key: one.detach() for key, one in given.items() if isinstance(one, Tensor)}
    if name == "margin_ranking_loss" and {"input1", "input2", "target"} <= set(sides):
        return ranks(sides["target"] * (sides["input1"] - sides["input2"]))
    if name == "triplet_margin_loss" and {"anchor", "positive", "negative"} <= set(sides):
        return triplets(sides["anchor"], sides["positive"], sides["negative"])
    if name == "cosine_embedding_loss" and {"input1", "input2", "target"} <= set(sides):
        return Part("either", F.cosine_similarity(sides["input1"], sides["input2"]), sides["target"])
    made, wanted = sides.get("input"), sides.get("target")
    if made is None or wanted is None or name == "ctc_loss" or not made.ndim:
        return None
    if name == "hinge_embedding_loss":
        return Part("either", made.reshape(-1), wanted.reshape(-1))
    if name in _SCORES and made.ndim == 1:
        made, wanted = made[None], wanted.reshape(1, *wanted.shape)
    if name in _SCORES and made.ndim == 2 and _is_diagonal(made, wanted):
        return among(made)
    if name == "poisson_nll_loss" and given.get("log_input", True) and not bool((wanted < 0).any()):
        made = made.exp()  # of what is below zero, as no count is, the outputs are no rates
    if name == "kl_div" and given.get("log_target"):
        wanted = wanted.exp()
    wanted = _without(wanted, given.get("ignore_index"))
    return Part("targets", made, wanted) if fits(made, wanted) else None


def _is_diagonal(made: Tensor, wanted: Tensor) -> bool:
    """Whether each row's class is its own place: which of the others in the batch it belongs to."""
    if made.shape[0] != made.shape[1] or len(made) < 2 or wanted.is_floating_point() or wanted.shape != made.shape[:1]:
        return False
    return bool((wanted == torch.arange(len(made), device=wanted.device)).all())
