"""Parts that are not trained, or not at once: what is frozen in which epoch, and norms that keep their statistics."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from isograd.workbench.train.recipe import Recipe


def frozen_in(recipe: Recipe, epoch: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parts that a recipe freezes, and those among them that have thawed before ``epoch`` (from 1).

    >>> frozen_in(Recipe(frozen=("body",), thaw=(("body.3", 2),)), 3)
    (('body',), ('body.3',))
    """
    return recipe.frozen, tuple(part for part, last in recipe.thaw if last < epoch)


def ever_trained(model: nn.Module, recipe: Recipe) -> Iterator[nn.Parameter]:
    """The parameters that are trained in some epoch, in the model's order: the optimizer must know them from the start."""
    thawing = tuple(part for part, _ in recipe.thaw)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or within(name, thawing):
            yield parameter


def settle(model: nn.Module, recipe: Recipe, epoch: int) -> None:
    """Freeze what is frozen in ``epoch`` and thaw the rest of it; frozen batch norms go into evaluation mode.

    A frozen part is to compute what it did where it was trained; a batch norm in training mode would divide by the statistics
    of the new batches, and gather them. What was never named as frozen is left as it is.
    """
    parts, thawed = frozen_in(recipe, epoch)
    if not parts:
        return
    for name, parameter in model.named_parameters():
        if within(name, parts):
            parameter.requires_grad_(within(name, thawed))
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and within(name, parts) and not within(name, thawed):
            module.eval()


def within(name: str, parts: tuple[str, ...]) -> bool:
    """Whether a tensor or a module is one of ``parts`` or belongs to one.

    >>> within("body.0.weight", ("body",)), within("body2.weight", ("body",))
    (True, False)
    """
    return any(name == part or name.startswith(f"{part}.") for part in parts)
