"""What training sees of prepared data: changed rows, rare classes more often, a loss that weighs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from isograd.errors import Fault, RequestError
from isograd.project.settings import ProjectSettings
from isograd.workbench import data, evaluate, train
from isograd.workbench.data.augment.augmenting import Augment, augment_of

Fed = tuple[data.Prepared, Augment | None, data.Sampling | None]


def fed(settings: ProjectSettings, prepared: data.Prepared) -> Fed:
    """The data with remarks on what is done to its training rows, how they are changed and how they are drawn.

    Raises ``RequestError`` where the data has no use for what is asked.
    """
    _refuse(settings, prepared)
    augment = augment_of(data.AugmentPlan(**settings.augment.model_dump()), prepared, settings.seed)
    kind, bags = settings.data.sampling, settings.data.bags
    sampling = data.sampling_of(kind, prepared, settings.seed, bags) if kind != "none" else None
    if augment is not None and augment.extra and kind == "bagging":
        raise RequestError(
            "mixing takes rows of another bag", where="augment", remedy="mixup and cutmix = 0, or another sampling"
        )
    said = list(augment.remarks) if augment else []
    if sampling is not None:
        said.append(f"an epoch sees {sampling.length:,} rows ({len(prepared.train):,} there are): sampling = {sampling.kind!r}")
    if not said:
        return prepared, None, None
    summary = replace(prepared.summary, remarks=(*prepared.summary.remarks, *said))
    return replace(prepared, summary=summary), augment, sampling


def _refuse(settings: ProjectSettings, prepared: data.Prepared) -> None:
    """What needs classes where there are none, or two of them, before any time is spent."""
    faults, classes = [], len(prepared.encoding.classes)
    asked = {
        "data.sampling": settings.data.sampling,
        "train.class_weights": settings.train.class_weights,
        "train.loss": settings.train.loss,
        "train.label_smoothing": settings.train.label_smoothing,
        "evaluate.threshold": settings.evaluate.threshold,
    }
    given = {name: value for name, value in asked.items() if value not in ("none", "auto", 0.0)}
    if not classes:
        faults += [
            Fault(f"{name} = {json.dumps(value)} needs classes, and this is a regression", name)
            for name, value in given.items()
        ]
    elif {"data.sampling", "train.class_weights"} <= given.keys():
        faults.append(
            Fault("sampling and class_weights are two ways to the same, and both at once overdo it", "train", remedy="keep one")
        )
    if _each(prepared) and "data.sampling" in given:
        met, remedy = "every step has a class of its own", 'class_weights = "balanced" under [train]'
        faults.append(Fault("sampling draws whole sequences, which have no class here", "data.sampling", met, remedy))
    if classes > 2 and "evaluate.threshold" in given:
        met = f"{classes} classes"
        faults.append(Fault("a threshold is for two classes", "evaluate.threshold", met, 'threshold = "none"'))
    if faults:
        raise RequestError(faults)


def loss_for(settings: ProjectSettings, prepared: data.Prepared) -> Callable[[Any, Any], Any]:
    """The loss of a training, weighted by the classes of the training rows where that is asked for."""
    chosen, weights = settings.train, None
    if chosen.class_weights == "balanced":
        labels = prepared.train.targets
        counts = labels[labels >= 0].bincount(minlength=len(prepared.encoding.classes))
        weights = train.balanced_weights(counts.tolist())
    loss = train.loss_of(
        settings.task, kind=chosen.loss, gamma=chosen.focal_gamma, weights=weights, smoothing=chosen.label_smoothing
    )
    return train.stepwise(loss) if _each(prepared) else loss


def _each(prepared: data.Prepared) -> bool:
    """Whether every step of a sequence has a target of its own."""
    return prepared.encoding.sequence is not None and prepared.encoding.sequence.each


def with_threshold(settings: ProjectSettings, prepared: data.Prepared, outputs: Callable[[Any], Any]) -> data.Prepared:
    """The data with a threshold in its encoding, if one is asked for: the best for a model's ``outputs`` on validation rows."""
    if settings.evaluate.threshold == "none":
        return prepared
    rows = prepared.validation
    answers, targets, _ = evaluate.by_step(outputs(rows.inputs), rows.targets.numpy())
    found = evaluate.threshold_for(settings.evaluate.threshold, answers, np.asarray(targets))
    return replace(prepared, encoding=replace(prepared.encoding, threshold=found))
