"""Fill in what a person left open with what suits their task and their family of networks; what they wrote stays."""

from __future__ import annotations

from typing import Any

from isograd.project.settings import ProjectSettings
from isograd.workbench.models import TOKENS

FAMILY = {
    "image-classification": "cnn",
    "sound-classification": "cnn",
    "text-classification": "bag",
    "sequence-classification": "tcn",
    "sequence-regression": "tcn",
}
RECURRENT = ("rnn", "gru", "lstm")

TEXT_TRAINING: dict[str, Any] = {"epochs": 6, "learning_rate": 2e-3, "clip_norm": 1.0}
"""Embeddings learn a text by heart soon; the norm of a recurrent gradient now and then leaps (Pascanu et al. 2013)."""

STEP_TRAINING: dict[str, Any] = {"epochs": 30, "learning_rate": 2e-3, "clip_norm": 1.0}
"""Recurrent networks that read quantities have no embedding to learn by heart."""

TRAINING: dict[str, dict[str, Any]] = {
    "linear": {"learning_rate": 1e-2},
    "bag": {"epochs": 5, "learning_rate": 5e-3, "weight_decay": 0.5},
    "text-cnn": {"epochs": 8},
    **dict.fromkeys(RECURRENT, TEXT_TRAINING),
    "transformer": TEXT_TRAINING,
    "tabular": {"epochs": 8, "batch_size": 256, "learning_rate": 2e-3, "weight_decay": 0.05},
}
"""What is better than the general defaults of [train], by family: measured on the sets of the examples."""

ENCODING: dict[str, dict[str, Any]] = {
    **{kind: {"text": "ids", "vocabulary": 20_000} for kind in TOKENS},
    "tabular": {"categories": "index"},
}
"""How a family wants its inputs."""


def _training(kind: str, task: str) -> dict[str, Any]:
    reads_words = task == "text-classification"
    return STEP_TRAINING if kind in RECURRENT and not reads_words else TRAINING.get(kind, {})


def _options(kind: str, task: str) -> dict[str, Any]:
    """Options that a task changes: words are embedded; dropping units shifts a value, but not which class is likeliest."""
    if kind in RECURRENT and task == "text-classification":
        return {"width": 64}
    return {"dropout": 0.0} if task == "sequence-regression" and kind in (*RECURRENT, "tcn") else {}


def model_kind(kind: str, task: str) -> str:
    """The family that is meant: by "auto" a CNN for pictures and sounds, a TCN for sequences, a bag for texts, else an MLP.

    >>> model_kind("auto", "image-classification"), model_kind("resnet", "image-classification")
    ('cnn', 'resnet')
    """
    return FAMILY.get(task, "mlp") if kind == "auto" else kind


def adapted(settings: ProjectSettings) -> ProjectSettings:
    """The settings with the family that "auto" means, and with its defaults wherever the file says nothing."""
    kind = model_kind(settings.model.kind, settings.task)
    own = settings.model.model_extra or {}
    options = {name: value for name, value in _options(kind, settings.task).items() if name not in own}
    filled: dict[str, Any] = {"model": settings.model.model_copy(update={"kind": kind, **options})}
    wanted = ENCODING.get(kind, {}) if kind not in RECURRENT or settings.task == "text-classification" else {}
    training = _training(kind, settings.task)
    for name, usual in (("train", training), ("encoding", wanted)):
        table = getattr(settings, name)
        if name == "encoding" and ":" in kind and settings.task == "text-classification":
            usual = ENCODING["bag"]  # whoever writes a network for texts means to read them in order
        filled[name] = table.model_copy(update={key: v for key, v in usual.items() if key not in table.model_fields_set})
    return settings.model_copy(update=filled)
