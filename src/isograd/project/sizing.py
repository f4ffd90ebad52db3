"""Fit to the data what a person left open of a training: rows of a batch and epochs, each with the reason why."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from isograd.errors import IsogradError
from isograd.project.affording import gib
from isograd.project.reading import Project
from isograd.workbench import models, train

EPOCH_STEPS, MOST_EPOCH_STEPS = 16, 2_000
"""Steps that an epoch has at least and at most: fewer say little about when to stop, more are mostly overhead."""
SMALLEST, LARGEST = 8, 1_024
"""Rows of a batch: the gradient of fewer is too noisy for the usual rates, and the usual rates are too small for more."""
STEPS, MOST_EPOCHS = 500, 100
"""Steps that a training has at least, since steps of 1e-3 hardly change a weight of .1 in fewer; epochs to go to for them."""
MEMORY = 0.5
"""Share of a machine's memory that a batch may take unasked."""
_LIGHT = 1_000  # times the bytes of its inputs: what a batch takes seldom reaches it, so that nothing need be tried


def written(project: Project) -> frozenset[str]:
    """The keys of [train] that the person wrote: these are never changed."""
    return frozenset(tomllib.loads(project.text).get("train", {}))


def sized(recipe: train.Recipe, given: Collection[str], rows: int) -> tuple[train.Recipe, tuple[str, ...]]:
    """The recipe with a batch and epochs that suit so many training rows, and what is to be said of each that changed.

    >>> recipe, said = sized(train.Recipe(), (), 300)
    >>> recipe.batch_size, recipe.epochs, said[0]
    (16, 30, 'train.batch_size = 16 instead of 64: 300 training rows give 19 steps an epoch')
    """
    said, usual = list[str](), recipe
    if "batch_size" not in given:
        size = recipe.batch_size
        while size > SMALLEST and rows < EPOCH_STEPS * size:
            size //= 2
        while size < LARGEST and rows > MOST_EPOCH_STEPS * size:
            size *= 2
        recipe = replace(recipe, batch_size=size)
        if size != usual.batch_size:
            why = f"{rows:,} training rows give {-(-rows // size):,} steps an epoch"
            said.append(f"train.batch_size = {size} instead of {usual.batch_size}: {why}")
    steps = -(-rows // recipe.batch_size)
    if "epochs" not in given and recipe.epochs * steps < STEPS:
        recipe = replace(recipe, epochs=max(recipe.epochs, min(MOST_EPOCHS, -(-STEPS // steps))))
        if recipe.epochs != usual.epochs:
            why = f"they give {recipe.epochs * steps:,} steps, and {usual.epochs * steps:,} would hardly move a weight"
            said.append(f"train.epochs = {recipe.epochs} instead of {usual.epochs}: {why}")
    return recipe, tuple(said)


def held(
    recipe: train.Recipe, given: Collection[str], model: Any, inputs: Any, bags: int = 1
) -> tuple[train.Recipe, tuple[str, ...]]:
    """The recipe with a batch that fits into half of the machine's memory, and what is to be said if it changed."""
    size, have = recipe.batch_size, train.memory_size(recipe.device)
    if "batch_size" in given or have is None or inputs[:1].nbytes * size * bags * _LIGHT < MEMORY * have:
        return recipe, ()
    room = int(MEMORY * have)
    need = train.memory_of(model, inputs[:4], recipe, room)
    fits = need.rows_in(room) // bags
    if need.of(size * bags) <= room or fits < 1:
        return recipe, ()
    why = f"{size} rows take at least {gib(need.of(size * bags))}, and the machine has {gib(have)}"
    return replace(recipe, batch_size=fits), (f"train.batch_size = {fits} instead of {size}: {why}",)


def beyond(kind: str, options: Mapping[str, object], shape: tuple[int, ...]) -> tuple[str, ...]:
    """What is to be said of a kernel that is longer than the sequences or texts it reads, by the ``shape`` of one of them.

    >>> beyond("tcn", {"kernel": 9}, (3, 2))
    ('model.kernel = 9 looks at 9 steps at a time, and no sequence has more than 3: the rest is zeros',)
    """
    if kind not in ("tcn", "text-cnn"):
        return ()
    name, what, whole = ("kernel", "steps", "sequence") if kind == "tcn" else ("kernels", "words", "text")
    given: Any = models.checked(kind, options)[name]
    longest, steps = max(given) if kind == "text-cnn" else given, shape[2 if len(shape) == 3 else 0]
    if longest <= steps:
        return ()
    text = list(given) if kind == "text-cnn" else given
    return (
        f"model.{name} = {text} looks at {longest} {what} at a time, and no {whole} has more than {steps}: the rest is zeros",
    )


def foreseen(project: Project) -> list[str]:
    """What the data would change of the settings, each with its reason; the data is read, and nothing is written."""
    from isograd.project import river

    table = project.settings.data
    kept = table.model_copy(update={"cache": table.cache and (project.folder / "cache").is_dir()})
    looked = replace(project, settings=project.settings.model_copy(update={"data": kept}))
    try:
        return list(river.begin(looked).suited)
    except IsogradError as error:
        return [f"the data cannot be read, so nothing is fitted to it yet: {error.faults[0].what}"]
