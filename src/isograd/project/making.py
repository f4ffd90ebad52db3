"""Make what a project trains: its network, with weights from a seed or from a file, and its recipe."""

from __future__ import annotations

from typing import Any

from isograd.errors import ModelError
from isograd.project.affording import gib
from isograd.project.reading import Project
from isograd.project.settings import ProjectSettings
from isograd.workbench import data, models, train


def recipe_of(settings: ProjectSettings) -> train.Recipe:
    """How a project trains; raises ``RequestError``. Parts that are frozen are named as the network names them."""
    parts, thaw = settings.model.freeze, settings.model.unfreeze.items()
    bags = [f"members.{number}." for number in range(settings.data.bags)] if settings.data.sampling == "bagging" else [""]
    return train.Recipe(
        **settings.train.model_dump(exclude={"budget"}),
        seed=settings.seed,
        device=settings.device,
        threads=settings.threads,
        watch=settings.watch.enabled,
        watch_budget=settings.watch.budget,
        first_aid=settings.watch.first_aid,
        frozen=tuple(bag + part for bag in bags for part in parts),
        thaw=tuple((bag + part, epoch) for bag in bags for part, epoch in thaw),
    )


def network(project: Project, prepared: data.Prepared, seed: int) -> Any:
    """The project's network for such data, with weights from ``seed``, or one for each bag; raises ``ModelError``."""
    if project.settings.data.sampling != "bagging" or not prepared.encoding.classes:
        return _member(project, prepared, seed)
    return models.Bagging([_member(project, prepared, seed + number) for number in range(project.settings.data.bags)])


def _member(project: Project, prepared: data.Prepared, seed: int) -> Any:
    numbers, categories, vocabulary = data.features_of(prepared.encoding)
    table, steps = project.settings.model, prepared.encoding.sequence
    ends = (steps.ragged, steps.each) if steps is not None else (False, False)
    told: dict[str, Any] = {
        "inputs": tuple(prepared.train.inputs.shape[1:]),
        "outputs": len(prepared.encoding.classes) or 1,
        "options": table.model_extra or {},
        "known": models.Known(vocabulary, numbers, categories, prepared.train.inputs, *ends),
    }
    need, have = 2 * models.size_of_weights(table.kind, **told), train.memory_here("cpu")
    if have is not None and need > have:  # before a machine is brought to its knees by making them
        raise ModelError(
            f"the weights of this network and their gradients alone take {gib(need)} of memory",
            where=str(project.path),
            met=f"{gib(have)} are free",
            remedy="a smaller network under [model]",
        )
    model = models.build(table.kind, **told, seed=seed, base=project.folder)
    if table.weights is not None:
        models.load_weights(model, project.folder / table.weights, fresh=table.fresh)
    models.freeze(model, table.freeze)
    models.known_parts(model, list(table.unfreeze), "unfreeze")
    return model
