"""Before the labels: the network learns from pictures, or rows of a table, that have none, where the project names some."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from isograd.errors import RequestError
from isograd.files import write_bytes
from isograd.workbench import data, models, train
from isograd.workbench.data.augment.augmenting import augment_of
from isograd.workbench.data.augment.views import refuse_others, strong, unlabelled, views, views_of_rows

if TYPE_CHECKING:
    from isograd.project.river import Job
    from isograd.project.runs import RunFolder

FILE = "pretrained.safetensors"


def pretrained(job: Job, folder: RunFolder, on_progress: Callable[[train.Progress], None] | None) -> str:
    """Train the job's network without labels, once a run; gives what is to be said, "" where the project asks for nothing.

    The rows of the training part and those of the source are seen alike. What was learned is kept in the run's folder, so that
    a run that goes on does not learn it again. Raises ``DataError`` for what cannot be learned from, ``RequestError`` for too
    few.
    """
    asked = job.project.settings.pretrain
    if asked.source is None:
        return ""
    place = folder.path / FILE
    if place.exists():
        models.load_weights(job.model, place)
        return ""
    encoding = job.prepared.encoding
    refuse_others(encoding)
    what = "pictures" if encoding.kind == "images" else "rows"
    inputs = unlabelled(job.prepared, asked.source, job.project.folder)
    if len(inputs) < asked.batch_size:
        met = f"batch_size = {asked.batch_size}"
        raise RequestError(
            f"{len(inputs):,} {what} do not fill a batch of the pretraining",
            where="pretrain",
            met=met,
        )
    augment = None
    if encoding.kind == "images":
        changes = strong(encoding) | _written(job)
        augment = augment_of(data.AugmentPlan(**changes), job.prepared, job.recipe.seed)
    here = job.recipe
    recipe = train.Recipe(
        epochs=asked.epochs,
        batch_size=asked.batch_size,
        learning_rate=asked.learning_rate,
        seed=here.seed,
        device=here.device,
        threads=here.threads,
    )

    def seen(epoch: int) -> Iterator[tuple[Any, Any]]:
        if augment is None:
            return views_of_rows(inputs, encoding, seed=here.seed, epoch=epoch, batch_size=asked.batch_size)
        return views(inputs, augment, seed=here.seed, epoch=epoch, batch_size=asked.batch_size)

    count = len(inputs) // asked.batch_size
    loss = train.contrast(job.model, recipe=recipe, views=seen, views_per_epoch=count, on_progress=on_progress)
    write_bytes(place, models.weights_bytes(job.model))
    return f"learned from {len(inputs):,} {what} without labels in {asked.epochs} epochs: loss {loss:.3g}"


def _written(job: Job) -> dict[str, Any]:
    """The changes that the project file names itself: they come before the usual ones."""
    table = job.project.settings.augment.model_dump(exclude={"policy", "mixup", "cutmix"})
    return {name: value for name, value in table.items() if value is not None}
