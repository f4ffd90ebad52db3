"""A project as a program that can begin again from a seed: what a cure is searched with, and its change written back."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from isograd.curing import cured
from isograd.errors import ModelError
from isograd.explaining import OnProgress
from isograd.frameworks.torch.births import TorchBirths
from isograd.frameworks.torch.edits import USUAL
from isograd.project.amending import Amended, amended
from isograd.project.making import network
from isograd.project.reading import FILE_NAME, Project, parse
from isograd.project.river import Job, begin
from isograd.project.standing import Standing, standing
from isograd.proofs import Proof
from isograd.records import proof as records
from isograd.records.edit import Edit
from isograd.records.proof import Tried
from isograd.render.cause import two
from isograd.render.diff import unified
from isograd.spending import Budget
from isograd.trying import OnTried
from isograd.workbench import train

MOST_STEPS = 2_000
"""Steps of a trial at most: a cure takes some fifteen of them, and what is ill shows long before."""
_BATCHES, _EXAMPLES = 400, 32
"""Batches of a training, and examples of a usual one: of smaller batches as many more, for a trial may ask for larger ones."""
_VALIDATION = 256
"""Validation rows in a batch that is judged at once."""


@dataclass(frozen=True, slots=True)
class Curable:
    """A project that can begin again from a seed: its factories, its data, the steps of a trial, and what is to be said.

    ``start`` is where a run of it stands, from which every trial begins; None: trials begin with weights of their own.
    """

    job: Job
    births: TorchBirths
    batches: Callable[[int], list[Any]]
    validation: list[Any] | None
    steps: int
    remarks: tuple[str, ...]
    start: Standing | None = None


def curable(project: Project, *, afresh: bool = False) -> Curable:
    """Network, batches of a seed, optimizer, validation rows, and the habits of its loop; the data is read once.

    Where the latest run stands unfinished, or diverged, trials begin with the weights of its checkpoint, unless ``afresh``.
    """
    job = begin(project)
    found = None if afresh else standing(job)
    start = found if isinstance(found, Standing) else None
    whole = job.batches_per_epoch * job.recipe.epochs
    steps = min(whole, MOST_STEPS)
    rows, device = job.prepared.validation, job.recipe.device
    held = [
        (rows.inputs[at : at + _VALIDATION].to(device), rows.targets[at : at + _VALIDATION].to(device))
        for at in range(0, len(rows), _VALIDATION)
    ]
    births = TorchBirths(
        lambda: _built(job, start),
        job.loss,
        lambda parameters: train.make_optimizer(parameters, job.recipe),
        loop=train.loop_of(job.recipe, steps),
    )
    said = [] if found is None else [found if isinstance(found, str) else found.remark]
    said += _remarks(job, whole, steps)
    return Curable(job, births, lambda seed: _batches(job, seed, steps), held or None, steps, tuple(said), start)


def cure(
    given: Curable,
    budget: Budget,
    *,
    processes: int = 1,
    known: Sequence[Tried] = (),
    on_tried: OnTried | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Proof, Amended]:
    """Search and prove; gives the proof, and the project file with its edits in it. Raises what ``isograd.cure`` raises."""
    record = cured(
        given.births,
        given.batches,
        given.validation,
        budget=budget,
        steps=given.steps,
        processes=processes,
        known=known,
        on_tried=on_tried,
        on_progress=on_progress,
    )
    change, diff = change_of(given, record.edits)
    said = [*given.remarks, *record.remarks]
    if record.verdict == "proven" and not change.left:
        better, told = as_written(given, change, record)
        said.append(told)
        if not better:
            change, diff = replace(change, placed=(), left=record.edits), f"# {told}\n\n{diff}"
    return Proof(replace(record, remarks=tuple(said)), diff=diff), change


def as_written(given: Curable, change: Amended, record: records.Proof) -> tuple[bool, str]:
    """Whether the changed file, read and built anew, trains better too than the untouched program, on one seed of the proof.

    The trials changed the network as it stood; a setting builds another one by the rules of this project, which need not be
    the same. Gives what became of it in words as well.
    """
    trial = record.trials[0]
    if given.start is not None:
        given.start.keep()
    try:
        new = curable(parse(change.text, given.job.project.path), afresh=True)
    except ModelError as error:  # the weights are those of another network than the changed file describes
        return False, f"the changed file makes no network for these weights ({error.faults[0].what}), and is not written"
    training = new.batches(trial.seed)
    halves = new.births.halves(new.validation or training)
    held = new.validation or training if halves is None else halves[1]
    skill = new.births.born(trial.seed, training).trained(training, record.pair_length or new.steps).judge(held).value
    better = skill > trial.control.skill.value
    told = (
        f"the changed file was read and trained once more, with seed {trial.seed}: skill {two(skill)}, where the trial reached "
        f"{two(trial.treated.skill.value)} and the untouched program {two(trial.control.skill.value)}"
    )
    return better, told if better else f"{told}: the setting does not do what was proven, and is not written"


def _built(job: Job, start: Standing | None) -> Any:
    """The network with weights from Python's random stream, which the caller has set, or with those of a checkpoint."""
    model = network(job.project, job.prepared, random.randrange(2**31))
    if start is not None:
        model.load_state_dict(start.values)
    return model.to(job.recipe.device)


def _batches(job: Job, seed: int, steps: int) -> list[Any]:
    """The batches of a training from a seed, epoch after epoch, as far as they are gone through, in larger ones too."""
    found, count = list[Any](), min(steps, _BATCHES) * max(1, -(-_EXAMPLES // job.batch_size))
    for epoch in range(1, 1 + max(1, -(-count // job.batches_per_epoch))):
        found += [tuple(tensor.to(job.recipe.device) for tensor in batch) for batch in job.batches(epoch, 0, seed)]
    return found[:count]


def _remarks(job: Job, whole: int, steps: int) -> list[str]:
    recipe, said = job.recipe, list[str]()
    if steps < whole:
        said.append(f"a trial has {steps:,} steps of the run's {whole:,}, with the whole schedule in them")
    absent = [
        name
        for name, used in (
            ("the moving average of the weights", recipe.ema is not None),
            ("early stopping", recipe.patience is not None),
            ("the plateau schedule", recipe.schedule == "plateau"),
            ("mixed precision", recipe.precision != "float32"),
            ("the thawing of frozen parts", bool(recipe.thaw)),
        )
        if used
    ]
    if absent:
        said.append(f"trials are without {' and '.join(absent)} of the project file")
    return said


def change_of(given: Curable, edits: tuple[Edit, ...]) -> tuple[Amended, str]:
    """The project file with the edits in it, and the change as a diff; edits that are no setting of it are told as words.

    With a start its weights are a setting too, once an edit has been made.
    """
    job = given.job
    parameters, project = list(job.model.parameters()), job.project
    started = project if given.start is None or not edits else given.start.project(project)
    usual: Mapping[str, Mapping[str, float]] = {name: make(parameters).defaults for name, make in USUAL.items()}
    change = amended(started, edits, steps=job.batches_per_epoch * job.recipe.epochs, usual=usual)
    name = str(project.path)
    told = [f"# {edit.text}: {FILE_NAME} has no setting for this\n" for edit in change.left]
    parts = [unified({name: project.text}, {name: change.text}), *told]
    return change, "\n".join(part for part in parts if part)
