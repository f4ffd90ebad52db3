"""What a training may cost, said before it begins: the epochs that its budget holds, and whether its batches fit."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from isograd.errors import ModelError, RequestError
from isograd.records.run import Afforded
from isograd.render.wording import duration
from isograd.spending import budget_of
from isograd.workbench import train

if TYPE_CHECKING:
    from isograd.project.river import Job
    from isograd.project.runs import RunFolder

MARGIN = 1.1
"""What watching, checkpoints and the noise of a clock may add to the time of the steps."""
_JUDGED = 256


def refuse_too_large(job: Job) -> None:
    """Raise ``ModelError``, with the batch size that fits, where a step takes more memory than is free."""
    have = train.memory_here(job.recipe.device)
    need = train.memory_of(job.model, job.prepared.train.inputs[:4], job.recipe, have)
    if have is None or need.of(job.batch_size) <= have:
        return
    written = job.recipe.batch_size
    fits = need.rows_in(have) // (job.batch_size // written)
    raise ModelError(
        f"a step with batch_size = {written:,} takes at least {gib(need.of(job.batch_size))} of memory",
        where=str(job.project.path),
        met=f"{gib(have)} are free; {gib(need.fixed)} are weights, gradients and moments"
        + (f", and each row adds {gib(need.row)}" if need.row else ""),
        remedy=f"batch_size = {fits} under [train] fits" if fits else "a smaller network under [model]",
    )


def gib(size: int) -> str:
    """Bytes as a person reads them.

    >>> gib(3 * 2**30), gib(1536)
    ('3 GiB', '1.5 KiB')
    """
    power = min(3, max(0, (size.bit_length() - 1) // 10))
    return f"{size / 1024**power:.3g} {('bytes', 'KiB', 'MiB', 'GiB')[power]}"


def afforded(job: Job, folder: RunFolder) -> tuple[Job, str]:
    """The job with as many epochs as its budget holds, at most those it has, and what is to be said of it.

    The time of some first steps tells; a run that goes on keeps the number of epochs that it began with. Raises
    ``RequestError``, with the estimate, for a budget that holds no epoch.
    """
    written = job.project.settings.train.budget
    if written is None:
        return job, ""
    found = folder.find(Afforded, "budget.json")
    if found is None:
        found = _measured(job, written)
        folder.write(found, "budget.json")
    told = f"an epoch takes about {duration(found.epoch_seconds)}: {found.epochs} of {job.recipe.epochs} epochs in {written}"
    return replace(job, recipe=replace(job.recipe, epochs=found.epochs)), told


def _measured(job: Job, written: str) -> Afforded:
    budget = budget_of(written).seconds or 0.0
    one = job.batches(1, 0)
    step = train.step_seconds(job.model, job.recipe, itertools.islice(one, train.STEPS), job.loss)
    rows = job.prepared.validation.inputs[:_JUDGED]
    began = time.perf_counter()
    job.outputs(rows)
    judging = (time.perf_counter() - began) * len(job.prepared.validation) / max(1, len(rows))
    epoch = MARGIN * (job.batches_per_epoch * step + judging)
    if epoch > budget:
        raise RequestError(
            f"a budget of {written} is too small for one epoch, which takes about {duration(epoch)} here",
            where="train.budget",
            met=f"{job.batches_per_epoch:,} steps of {duration(step)}, and {duration(judging)} of validation",
            remedy="a larger budget, a smaller network, or fewer rows",
        )
    return Afforded(step, epoch, min(job.recipe.epochs, int(budget / epoch)))
