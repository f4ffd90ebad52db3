"""The order of the rooms: data, model, check, train, evaluate, bundle and report, each a step that can be run alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isograd import api
from isograd.checking import checked
from isograd.errors import DamagedError, ModelError, RequestError
from isograd.files import write_text
from isograd.project.affording import afforded, refuse_too_large
from isograd.project.feeding import fed, loss_for, with_threshold
from isograd.project.goals import check_goals
from isograd.project.making import network, recipe_of
from isograd.project.pretraining import pretrained
from isograd.project.reading import Project, parse
from isograd.project.runs import RunFolder, alone, named, now, open_run, unless_it_never_began
from isograd.project.sizing import beyond, held, sized, written
from isograd.records.loop import Loop
from isograd.records.report import Report
from isograd.records.run import Bundle, Evaluation
from isograd.records.schema import DataSummary
from isograd.render import html
from isograd.workbench import data, deploy, evaluate, models, train
from isograd.workbench.data.augment.augmenting import Augment

OnProgress = Callable[[train.Progress], None]

MONITOR: dict[str, tuple[str, train.Direction]] = {
    "classification": ("log_loss", "min"),
    "text-classification": ("log_loss", "min"),
    "image-classification": ("log_loss", "min"),
    "sound-classification": ("log_loss", "min"),
    "sequence-classification": ("log_loss", "min"),
    "regression": ("rmse", "min"),
    "sequence-regression": ("rmse", "min"),
}
"""The metric on the validation part that chooses the best weights, by task."""


_EXPLAINED = 100
"""Batches that a search for the cause trains on; a trial takes 80 steps, longer ones go round."""

MOST_SAID = 20
"""So many files or rows that were left out are named one by one."""

WEIGHTS = {
    "raw": "best on validation, {when}",
    "ema": "best on validation, {when}, moving average",
}
"""Which weights a figure is of, in words."""


@dataclass(frozen=True, slots=True)
class Job:
    """A project with its data read and its network built: what every later step starts from."""

    project: Project
    prepared: data.Prepared
    model: Any
    recipe: train.Recipe
    augment: Augment | None = None
    sampling: data.Sampling | None = None
    suited: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """What the model is to do."""
        return self.project.settings.task

    def batches(self, epoch: int, start: int, seed: int | None = None) -> Iterator[Any]:
        """The training batches of one epoch, from the batch number ``start`` on; of the project's seed where none is given."""
        settings = self.project.settings
        seed = settings.seed if seed is None else seed
        return data.batches(
            self.prepared.train,
            seed=seed,
            epoch=epoch,
            batch_size=self.batch_size,
            start=start,
            least=models.least_rows(self.model),
            augment=replace(self.augment, seed=seed) if self.augment else None,
            sampling=replace(self.sampling, seed=seed) if self.sampling else None,
        )

    @property
    def loss(self) -> Callable[[Any, Any], Any]:
        """What training makes small."""
        return loss_for(self.project.settings, self.prepared)

    @property
    def batches_per_epoch(self) -> int:
        """Optimizer steps in one epoch."""
        rows = self.sampling.length if self.sampling else len(self.prepared.train)
        return data.batches_per_epoch(rows, self.batch_size, models.least_rows(self.model))

    @property
    def batch_size(self) -> int:
        """Rows of one step, those of all bags together."""
        return self.recipe.batch_size * (self.sampling.bags if self.sampling else 1)

    def outputs(self, inputs: Any) -> Any:
        """What the model gives for encoded rows."""
        here, sequence = self.recipe, self.prepared.encoding.sequence
        each = sequence is not None and sequence.each
        return evaluate.predict(self.model, inputs, device=here.device, precision=here.precision, each=each)

    def metrics(self, model: Any) -> tuple[tuple[str, float], ...]:
        """The figures of ``model`` on the validation part."""
        rows, encoding = self.prepared.validation, self.prepared.encoding
        return evaluate.quick(
            replace(self, model=model).outputs(rows.inputs),
            rows.targets.numpy(),
            task=self.task,
            target_mean=encoding.target_mean,
            target_std=encoding.target_std,
        )


def begin(project: Project) -> Job:
    """Read the data and build the network.

    Raises ``DataError`` and ``ModelError``.
    """
    check_goals(project)
    settings = project.settings
    table = settings.data
    prepared = data.prepare(
        table.source,
        base=project.folder,
        task=settings.task,
        target=table.target,
        split=data.SplitPlan(kind=table.split, validation=table.validation, test=table.test, column=table.column),
        seed=settings.seed,
        skip_corrupt=table.skip_corrupt,
        image_size=table.image_size,
        drop=tuple(table.drop),
        clean=tuple(table.clean),
        query=table.query,
        files=table.files,
        label_pattern=table.label_pattern,
        sequence=table.sequence,
        time=table.time,
        cache=project.folder / "cache" if table.cache else None,
        memory=table.memory,
        encode_as=data.EncodingPlan(**settings.encoding.model_dump()),
    )
    model = network(project, prepared, settings.seed)
    prepared, augment, sampling = fed(settings, prepared)
    recipe, said = _suited(project, prepared, model, sampling)
    prepared = replace(prepared, summary=replace(prepared.summary, remarks=(*prepared.summary.remarks, *said)))
    job = Job(project, prepared, model, recipe, augment, sampling, said)
    if min(job.batch_size, len(prepared.train)) < models.least_rows(model):
        raise ModelError(
            "batch normalisation needs at least two rows in a batch",
            where=str(project.path),
            met=f"batch_size = {recipe.batch_size}, {len(prepared.train):,} training rows",
            remedy='batch_size = 32 under [train], or norm = "layer" under [model]',
        )
    return job


def _suited(
    project: Project, prepared: data.Prepared, model: Any, sampling: data.Sampling | None
) -> tuple[train.Recipe, tuple[str, ...]]:
    """The recipe with what was left open fitted to the data and the machine, and what is to be said of it."""
    given, bags = written(project), sampling.bags if sampling else 1
    rows = sampling.length // bags if sampling else len(prepared.train)
    recipe, said = sized(train.resolved(recipe_of(project.settings)), given, rows)
    recipe, more = held(recipe, given, model, prepared.train.inputs, bags)
    table, shape = project.settings.model, tuple(prepared.train.inputs.shape[1:])
    return recipe, (*said, *more, *beyond(table.kind, table.model_extra or {}, shape))


def said_of(summary: DataSummary) -> list[str]:
    """What a person should know of their data: what was imputed, left out by a rule, and left out because it cannot be read."""
    skipped = [f"left out: {item.name}: {item.reason}" for item in summary.skipped]
    if len(skipped) > MOST_SAID:
        skipped[MOST_SAID:] = [f"left out: {len(summary.skipped):,} in all; the run's data.json lists them"]
    return [*summary.remarks, *skipped]


def check(project: Project, *, deep: bool = False, remark: Callable[[str], None] | None = None) -> api.Report:
    """What is foretold and measured before the first step; nothing is written.

    ``deep`` tries some tens of small steps as well; ``remark`` hears what to know of the data.
    """
    job = begin(project)
    if remark is not None:
        for text in said_of(job.prepared.summary):
            remark(text)
    refuse_too_large(job)
    model = job.model.to(job.recipe.device)
    batch = tuple(tensor.to(job.recipe.device) for tensor in next(iter(job.batches(0, 0))))
    steps = job.batches_per_epoch * job.recipe.epochs
    optimizer = train.make_optimizer(model.parameters(), job.recipe)
    loop = replace(train.loop_of(job.recipe, steps), steps=steps)
    return checked(model, batch, job.loss, optimizer, steps=steps, deep=deep, loop=loop)


def program(project: Project) -> dict[str, Any]:
    """What a project trains with, by the names that ``api.name_cause`` takes; validation examples are held out."""
    job = begin(project)
    device, per_epoch = job.recipe.device, job.batches_per_epoch
    model = job.model.to(device)
    epochs = range(1, 1 + max(1, -(-_EXPLAINED // per_epoch)))
    batches = [tuple(t.to(device) for t in batch) for epoch in epochs for batch in job.batches(epoch, 0)][:_EXPLAINED]
    rows = job.prepared.validation
    return {
        "model": model,
        "batches": batches,
        "loss": job.loss,
        "optimizer": train.make_optimizer(model.parameters(), job.recipe),
        "held_out": [(rows.inputs.to(device), rows.targets.to(device))] if rows.names else None,
        "steps": per_epoch * job.recipe.epochs,
        "loop": Loop(clip_norm=job.recipe.clip_norm),  # short replays at the full rate: a warm-up would hide what it does
    }


def run_training(project: Project, *, new: bool = False, on_progress: OnProgress | None = None) -> RunFolder:
    """Train, or go on training: checkpoints, metrics, the trace and its report end up in the run's folder.

    Raises what ``begin`` and ``open_run`` raise, ``StorageError``, and ``ModelError`` where the loss is no longer finite.
    """
    job = begin(project)
    refuse_too_large(job)
    environment = train.environment(job.recipe)
    summary = job.prepared.summary
    folder, _ = open_run(
        project,
        data=summary.schema.fingerprint,
        environment=environment,
        model=project.settings.model.kind,
        parameters=sum(parameter.numel() for parameter in job.model.parameters()),
        new=new,
    )
    if on_progress is not None:
        for text in said_of(summary):
            on_progress(train.Progress("remark", 0, job.recipe.epochs, 0, 0, remark=text))
    with alone(folder), unless_it_never_began(folder):
        folder.write(summary, "data.json")
        learned = pretrained(job, folder, on_progress)
        job, said = afforded(job, folder)
        for text in (learned, said):
            if text and on_progress is not None:
                on_progress(train.Progress("remark", 0, job.recipe.epochs, 0, 0, remark=text))
        fitted = train.fit(
            job.model,
            recipe=job.recipe,
            batches=lambda epoch, start: data.ahead(job.batches(epoch, start), project.settings.data.ahead),
            batches_per_epoch=job.batches_per_epoch,
            loss=job.loss,
            validate=job.metrics,
            monitor=MONITOR[job.task],
            folder=folder.path,
            identity=project.fingerprint() + summary.schema.fingerprint,
            on_progress=on_progress,
        )
        _close(folder, fitted)
        write_report(folder)
    if fitted.status == "diverged":
        raise ModelError(
            f"the loss was no longer finite in epoch {fitted.diverged_at}: training stopped",
            where=str(folder.path),
            met="the last good weights are kept in its checkpoints; the report shows what led there",
            remedy=f"isograd check {project.folder}, or a smaller learning_rate with --new",
        )
    return folder


def _close(folder: RunFolder, fitted: train.Fitted) -> None:
    if fitted.report is not None:
        folder.write(fitted.report, "report.json")
    run = replace(
        folder.run(),
        status="stopped" if fitted.status == "stopped" else "finished",
        finished=now(),
        epochs=len(fitted.epochs),
        steps=fitted.steps,
        seconds=fitted.seconds,
        best_epoch=fitted.best_epoch,
        best_metric=(fitted.monitor, fitted.best_value) if fitted.best_value is not None else None,
    )
    folder.write(run, "run.json")
    folder.note(run.status if fitted.status != "diverged" else "diverged")


def of_run(folder: RunFolder, project_folder: Path) -> tuple[Job, str]:
    """A finished run's job with its best weights, and what these weights are.

    Raises ``RequestError`` where the data has changed since, ``DamagedError`` where no checkpoint is good.
    """
    text = (folder.path / "project.toml").read_text("utf-8")
    skipping = bool(dict(folder.run().settings).get("data.skip_corrupt"))
    job = begin(parse(text, project_folder / "isograd.toml", skip_corrupt=skipping))
    then, here = folder.run().data, job.prepared.summary.schema.fingerprint
    if then != here:
        raise RequestError(
            f"the data of {folder.path.name} has changed since it was trained",
            met=f"fingerprint {then[:12]} then, {here[:12]} now",
            remedy="bring the old data back, or train again with --new",
        )
    weights = train.load_best(folder.path, job.model)
    return replace(job, prepared=with_threshold(job.project.settings, job.prepared, job.outputs)), weights


def evaluate_run(project_folder: Path, name: str | None = None, part: str = "test") -> tuple[RunFolder, Evaluation]:
    """Figures with intervals on one part, for the best weights of a run; written to ``evaluation.json`` for the test part."""
    folder = named(project_folder, name)
    job, weights = of_run(folder, project_folder)
    rows = {"train": job.prepared.train, "validation": job.prepared.validation, "test": job.prepared.test}[part]
    if not rows.names:
        raise RequestError(f"the {part} part is empty", remedy=f"give it a share: {part} = 0.2 under [data]")
    encoding, best = job.prepared.encoding, folder.run().best_epoch
    result = evaluate.evaluate(
        job.outputs(rows.inputs),
        rows.targets.numpy(),
        part=part,
        task=job.task,
        classes=encoding.classes,
        names=rows.names,
        weights=WEIGHTS[weights].format(when=f"epoch {best}" if best is not None else "of a run that is not finished"),
        target_mean=encoding.target_mean,
        target_std=encoding.target_std,
        resamples=job.project.settings.evaluate.resamples,
        seed=job.project.settings.seed,
        picture=lambda i: data.picture(rows, i, encoding),
        threshold=encoding.threshold,
    )
    if part == "test":
        folder.write(result, "evaluation.json")
        write_report(folder)
    return folder, result


def export_run(project_folder: Path, name: str | None = None, to: Path | None = None) -> tuple[Path, Bundle]:
    """A run's best weights as a bundle, in the run's folder or in ``to``; an existing folder is never overwritten."""
    folder = named(project_folder, name)
    target = to or folder.bundle
    if target.exists():
        raise RequestError(
            f"{target} exists already and is not overwritten",
            where=str(target),
            remedy=f"isograd export {project_folder} --to another-folder",
        )
    job, weights = of_run(folder, project_folder)
    evaluation = folder.find(Evaluation, "evaluation.json")
    rows = next(rows for rows in (job.prepared.test, job.prepared.validation, job.prepared.train) if rows.names)
    bundle = deploy.write_bundle(
        target,
        job.model,
        inputs=rows.inputs[:256],
        encoding=job.prepared.encoding,
        evaluation=evaluation,
        run=folder.run(),
        summary=job.prepared.summary,
        weights=weights,
        report_html=page(folder),
    )
    write_report(folder)
    return target, bundle


def page(folder: RunFolder) -> str:
    """The HTML page of a run, from what its folder holds."""
    bundle = None
    if folder.bundle.exists():
        with contextlib.suppress(DamagedError):  # the page says what is there; opening the bundle says what is wrong with it
            bundle = deploy.open_bundle(folder.bundle).bundle
    return html.run_page(
        run=folder.run(),
        summary=folder.find(DataSummary, "data.json"),
        epochs=folder.epochs(),
        report=folder.find(Report, "report.json"),
        evaluation=folder.find(Evaluation, "evaluation.json"),
        bundle=bundle,
        toml=(folder.path / "project.toml").read_text("utf-8"),
    )


def write_report(folder: RunFolder) -> Path:
    """Write the run's page; gives its path."""
    write_text(folder.report_page, page(folder))
    return folder.report_page
