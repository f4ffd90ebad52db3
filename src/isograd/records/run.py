"""What a run is and did: settings as run, environment, epochs, evaluation and bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isograd.records.anatomy import Settings

Status = Literal["running", "finished", "stopped"]


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a run ran: what must be the same for the same bits."""

    isograd: str
    python: str
    platform: str
    device: str
    threads: int
    seed: int
    libraries: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of ``metrics.jsonl``: the mean training loss of an epoch and the metrics on the validation part.

    ``step`` counts optimizer steps from the start of the run; ``metrics`` are of the weights named in ``weights``
    ("raw" or "ema"); ``health`` is one line of gradient health.
    """

    epoch: int
    step: int
    loss: float
    metrics: tuple[tuple[str, float], ...]
    learning_rate: float
    rows_per_second: float
    seconds: float
    weights: str = "raw"
    best: bool = False
    health: str = ""


@dataclass(frozen=True, slots=True)
class Afforded:
    """What a budget holds: seconds of a step and of an epoch with its validation, as tried beforehand, and the epochs."""

    step_seconds: float
    epoch_seconds: float
    epochs: int


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure on a part, with its 95 % bootstrap interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ExampleError:
    """An example the model got (most) wrong: what it is, what was said, how sure; ``picture`` is a PNG in base64."""

    name: str
    truth: str
    answer: str
    confidence: float | None = None
    picture: str | None = None
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a model is on one part; ``confusion[i][j]`` counts rows of class i that were called j.

    ``threshold``: the probability above which the second of two classes was called; None: the likelier one was.
    """

    part: str
    task: str
    rows: int
    metrics: tuple[Metric, ...]
    weights: str = ""
    classes: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    per_class: tuple[tuple[str, float, float, float, int], ...] = ()
    errors: tuple[ExampleError, ...] = ()
    resamples: int = 1000
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run's identity and state: ``run.json``. ``fingerprint`` is of the project as run, ``data`` of what was read."""

    id: str
    name: str
    task: str
    model: str
    status: Status
    started: str
    environment: Environment
    fingerprint: str
    data: str
    finished: str | None = None
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0
    best_epoch: int | None = None
    best_metric: tuple[str, float] | None = None
    parameters: int = 0
    settings: Settings = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """What ``bundle.json`` says: the task, the files with their SHA-256, how far ONNX and the framework differ on rows."""

    name: str
    task: str
    created: str
    isograd: str
    files: tuple[tuple[str, str], ...]
    max_difference: float
    compared_rows: int
    weights: str
    metrics: tuple[Metric, ...] = ()
    run: str = ""
