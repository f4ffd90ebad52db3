"""What the data is: columns, classes, pictures, parts, and how they become numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ColumnKind = Literal["number", "category", "boolean", "text", "date"]
RowKind = Literal["table", "images", "sound", "sequence"]
REGRESSIONS = ("regression", "sequence-regression")
"""The tasks whose answers are values; those of all others are classes."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, as found in all rows read; numbers have a range, categories have values (most frequent first)."""

    name: str
    kind: ColumnKind
    missing: int = 0
    distinct: int = 0
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    std: float | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Schema:
    """What one example is. ``kind`` "table" has ``columns``; "images" has ``image`` = (channels, height, width), and so has
    "sound": (1, mels, frames). "sequence" has the ``columns`` of its steps, and ``steps``, those of its longest example.

    ``classes`` is empty for a regression. ``fingerprint`` is the SHA-256 of the content that was read.
    """

    kind: RowKind
    rows: int
    fingerprint: str
    target: str = "label"
    columns: tuple[Column, ...] = ()
    image: tuple[int, int, int] | None = None
    classes: tuple[str, ...] = ()
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a split: "train", "validation" or "test", its rows, and the rows of each class (classification)."""

    name: str
    rows: int
    per_class: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row or file that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What was read, how it was split, what was left out, and what a person should know (imputed columns, ...)."""

    source: str
    schema: Schema
    parts: tuple[Part, ...]
    split: str = "given"
    skipped: tuple[Skipped, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CleaningStep:
    """One named step of cleaning: the column it is of, its argument as written, and what it learned on the training part.

    ``low`` and ``high`` are bounds (``low`` alone: a number that fills gaps), ``values`` words that are kept or that fill gaps.
    """

    name: str
    column: str = ""
    argument: str = ""
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """How texts become numbers: ``tokenizer`` is the JSON of the tokenizers library, ``size`` the number of tokens it knows.

    ``form`` "bag" gives a weighted count of each token (``weights``, one a token), "ids" ``length`` tokens, the first or
    the last ones as ``keep`` says, 0 after the end where a text is shorter.
    """

    tokenizer: str
    size: int
    form: Literal["bag", "ids"]
    length: int = 0
    weights: tuple[float, ...] = ()
    keep: Literal["first", "last"] = "first"


@dataclass(frozen=True, slots=True)
class SoundEncoding:
    """How recordings become log-mel spectra: ``samples`` of each at ``rate`` a second, in windows of ``window`` every ``hop``
    samples; ``mean`` and ``std`` are those of each of the ``mels`` bands. With a ``span`` each recording is measured by its
    own loudest band, and so many decibels below that is silence; 0: powers as they were recorded.
    """

    rate: int
    samples: int
    window: int
    hop: int
    mels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    span: float = 0.0


@dataclass(frozen=True, slots=True)
class SequenceEncoding:
    """How sequences become arrays of ``length`` steps, in which each step is encoded as a row of a table is.

    Where sequences are ``ragged``, shorter than that, zeros follow and a last feature is 1 where there is a step, 0 after the
    end. ``each``: there is an answer for every step, not one for the whole. ``id`` and ``time`` name the columns that say
    which sequence a row belongs to and when it was; both are "" where the source is an array. Of longer sequences the first
    or the last steps are kept.
    """

    length: int
    ragged: bool = False
    each: bool = False
    id: str = ""
    time: str = ""
    keep: Literal["first", "last"] = "first"


@dataclass(frozen=True, slots=True)
class ColumnEncoding:
    """How one column becomes numbers.

    A number: (x - mean) / std, where ``scaling`` says what is meant: mean and deviation, smallest value and range ("minmax"),
    or median and interquartile range ("robust"); with an indicator where training had gaps. A category: one of ``values``, or,
    with ``index``, its place among them from 1 on (0: never seen), for an embedding. A date: its day, scaled like a number,
    and sine and cosine on each of ``circles``. A text: as ``text`` says.
    """

    name: str
    kind: ColumnKind
    mean: float = 0.0
    std: float = 1.0
    indicator: bool = False
    values: tuple[str, ...] = ()
    scaling: Literal["standard", "minmax", "robust"] = "standard"
    index: bool = False
    circles: tuple[str, ...] = ()
    text: TextEncoding | None = None


@dataclass(frozen=True, slots=True)
class Encoding:
    """All that was fitted on the training part and travels with the model.

    A table: ``columns`` in order. Images: (pixel / 255 - mean[c]) / std[c] after resizing to ``image`` = (channels, height,
    width). Sound: log-mel spectra as ``sound`` says. Sequences: ``columns`` of each step, and ``sequence``.
    ``target_mean`` and ``target_std`` scale a regression's target;
    ``classes`` name a classification's outputs. ``steps`` of cleaning come before everything else, in order. Where there is a
    ``threshold``, chosen on the validation part, the second of two classes is called where its probability is above it.
    """

    kind: RowKind
    target: str
    columns: tuple[ColumnEncoding, ...] = ()
    image: tuple[int, int, int] | None = None
    channel_mean: tuple[float, ...] = ()
    channel_std: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    target_mean: float = 0.0
    target_std: float = 1.0
    sound: SoundEncoding | None = None
    steps: tuple[CleaningStep, ...] = ()
    threshold: float | None = None
    sequence: SequenceEncoding | None = None
