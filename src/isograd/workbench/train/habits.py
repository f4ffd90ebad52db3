"""From a recipe to the habits of its loop, for trials that are to train as the recipe does."""

from __future__ import annotations

from isograd.records.loop import Loop
from isograd.workbench.train.recipe import Recipe
from isograd.workbench.train.schedules import SCHEDULE


def loop_of(recipe: Recipe, steps: int) -> Loop:
    """The clipping of a recipe, and its schedule over a run of so many steps; a plateau schedule falls at no known step.

    >>> loop = loop_of(Recipe(warmup=0.1, clip_norm=1.0), 200)
    >>> loop.schedule, loop.warm_up, loop.clip_norm
    ('cosine', 20, 1.0)
    """
    if recipe.schedule == "warmup_cosine":
        return Loop(clip_norm=recipe.clip_norm, schedule="cosine", warm_up=round(recipe.warmup * steps))
    if recipe.schedule == "one_cycle":
        shares = [SCHEDULE[recipe.schedule](step, steps, recipe.warmup) for step in range(steps)]
        rates = tuple((step, share * recipe.learning_rate) for step, share in enumerate(shares, 1))
        return Loop(clip_norm=recipe.clip_norm, rates=rates, steps=steps)
    return Loop(clip_norm=recipe.clip_norm)
