"""What a person may write into isograd.toml: every key with its type, range, default and one line of help."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from isograd.errors import RequestError
from isograd.spending import budget_of
from isograd.workbench.models import OPTIONS, Option

OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
KINDS = ("auto", *OPTIONS, "module:function")
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Side = Annotated[int, Field(ge=1, le=4096)]


class Table(BaseModel):
    """A table of the project file: unknown keys are faults, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataTable(Table):
    """Where the data is, which column is asked for, and how it is split."""

    source: str = Field(
        min_length=1,
        description='"builtin:digits", a folder of IDX files, a folder of class folders of images, a .csv, .tsv, .parquet or '
        ".jsonl table, a folder of Parquet files, an .npz archive, a folder of recordings or of texts, or the URL of a "
        "database; relative to this file; $NAMES come from the environment",
    )
    query: str | None = Field(None, description="the SQL query whose rows are the table (databases)")
    files: str | None = Field(None, description="the column that names the picture files, in a table that labels pictures")
    label_pattern: str | None = Field(
        None, description='how names of recordings tell their label, e.g. "{label}_{speaker}_{take}" for 7_ann_0.wav'
    )
    target: str | None = Field(None, description="the column to foretell (tables)")
    sequence: str | None = Field(
        None, description="the column that says which rows of a table belong together (sequences), e.g. a patient's number"
    )
    time: str | None = Field(
        None, description="the column by which the steps of a sequence are put in order; else as they stand"
    )
    drop: list[str] = Field(default_factory=list, description="columns that the model must not see")
    clean: list[str] = Field(
        default_factory=list,
        description='steps of cleaning, taken in order: "drop_duplicates", "clip_outliers:age", "blank:age=-999", '
        '"derive:bmi=weight / height ** 2"; `isograd data clean` proposes and writes them',
    )
    split: Literal["auto", "random", "stratified", "group", "time", "given"] = Field(
        "auto",
        description="how the parts are drawn; auto: given where the data brings its own test part, else stratified for "
        "classes, else random",
    )
    column: str | None = Field(None, description="the column that names the group, the time or the part (group, time, given)")
    validation: Share = Field(0.15, description="share of the rows that choose the best weights")
    test: Share = Field(0.2, description="share of the rows that are only looked at once, at the end")
    image_size: tuple[Side, Side] | None = Field(None, description="[height, width] that pictures are resized to")
    sampling: Literal["none", "over", "under", "balanced", "smote", "bagging"] = Field(
        "none",
        description="which training rows an epoch sees. over: rare classes repeated; under: common ones thinned, anew in each "
        "epoch; balanced: every batch holds the classes alike; smote: rows made between those of rare classes (tables); "
        "bagging: several networks, each on a bag with as many rows of every class as the rarest has; their mean answers",
    )
    bags: int = Field(10, ge=2, le=100, description="networks of bagging; each sees batch_size rows of its bag in a step")
    cache: bool = Field(
        True, description="keep what took long to read in the project's folder cache/, so that the next time is fast"
    )
    memory: int = Field(
        1024,
        ge=64,
        description="MiB that Parquet may take, or pictures when they are encoded; more is read in pieces, kept in cache/",
    )
    ahead: int = Field(
        0,
        ge=0,
        le=64,
        description="batches that a thread makes ahead, of the same bits; it pays where cores are free and changing rows, or "
        "reading them from disk, takes long beside a step",
    )
    skip_corrupt: bool = Field(False, description="leave unreadable files and rows out and list them, instead of stopping")

    @model_validator(mode="before")
    @classmethod
    def _lists_are_pairs(cls, values: Any) -> Any:
        # TOML has lists only, and strict validation would refuse one where a pair is meant.
        if isinstance(values, dict) and isinstance(values.get("image_size"), list):
            return values | {"image_size": tuple(values["image_size"])}
        return values


class EncodingTable(Table):
    """How columns, texts and sounds become numbers; all that is fitted is fitted on the training part."""

    scaling: Literal["standard", "minmax", "robust"] = Field(
        "standard", description="numbers: mean and deviation, least and range, or median and quartiles"
    )
    categories: Literal["one_hot", "index"] = Field("one_hot", description="index: a category's place, for an embedding")
    tokens: Literal["words", "subwords"] = Field("words", description="what texts are cut into")
    text: Literal["bag", "ids"] = Field("bag", description="weighted counts of tokens, or the sequence of their numbers")
    vocabulary: int = Field(2000, ge=4, le=100_000, description="tokens that are learned from the training texts, at most")
    length: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="tokens of a text that are kept (ids); leave out: as many as 95 % of the training texts have, 512 at most; "
        "steps of a sequence; leave out: as many as the longest of the training part has, 5,000 at most",
    )
    keep: Literal["first", "last"] = Field(
        "first",
        description="which tokens of a text, or steps of a sequence, that is longer than length: reviews say at their end what "
        "they mean",
    )
    mels: int = Field(64, ge=4, le=512, description="bands of a sound's spectrum; fewer tell voices apart less, e.g. 32")
    span: Annotated[float, Field(ge=0.0, le=100.0)] = Field(
        50.0,
        description="sounds: decibels from the loudest band of a recording down to silence, so that how loud it was recorded "
        "does not matter; 0: powers as they are, where loudness is what tells classes apart",
    )


Degrees = Annotated[float, Field(ge=0.0, le=180.0)]


class AugmentTable(Table):
    """How training rows are changed a little each time they are seen; validation, test and prediction never are."""

    policy: Literal["none", "auto"] = Field(
        "none", description="auto: what suits the data and keeps its labels right; every key below is said beside it"
    )
    rotate: Degrees | None = Field(None, description="pictures: turned by so many degrees at most")
    shift: Share | None = Field(None, description="pictures: shifted by a share of each side at most")
    shear: Annotated[float, Field(ge=0.0, le=60.0)] | None = Field(None, description="pictures: slanted by so many degrees")
    zoom: Share | None = Field(None, description="pictures: 0.1 is from 1 / 1.1 to 1.1 times as large")
    flip: Literal["none", "horizontal", "vertical", "both"] | None = Field(
        None, description="pictures: mirrored or not, by even odds; auto: horizontal, but not for digits, letters and sides"
    )
    crop: int | None = Field(None, ge=0, le=4096, description="pictures: padded by so many pixels and cut at random")
    fill: Literal["edge", "mean", "reflect"] | None = Field(None, description="pictures: what comes in at the sides")
    brightness: Share | None = Field(None, description="pictures: lighter or darker by a share of white at most")
    contrast: Share | None = Field(None, description="pictures: contrast times 1 - share to 1 + share")
    saturation: Share | None = Field(None, description="colour pictures: saturation times 1 - share to 1 + share")
    hue: Degrees | None = Field(None, description="colour pictures: hue turned by so many degrees at most")
    erase: Annotated[float, Field(ge=0.0, le=1.0)] | None = Field(None, description="pictures: how likely a patch is blanked")
    mixup: Annotated[float, Field(ge=0.0)] | None = Field(
        None,
        description="pictures, sounds, numbers: alpha of the shares by which two rows and their targets are mixed, e.g. 0.2",
    )
    cutmix: Annotated[float, Field(ge=0.0)] | None = Field(
        None, description="pictures: alpha of the share that a patch of another picture takes, e.g. 1.0"
    )
    time_shift: Share | None = Field(None, description="sounds: begin earlier or later by a share of their length at most")
    tempo: Share | None = Field(None, description="sounds: 0.25 is from 1 / 1.25 to 1.25 times as fast")
    equalize: Annotated[float, Field(ge=0.0, le=30.0)] | None = Field(
        None,
        description="sounds: bands louder and quieter, as another microphone makes them: waves of so many decibels at most",
    )
    noise: Annotated[float, Field(ge=0.0)] | None = Field(
        None, description="sounds: white noise, a share of their power at most"
    )
    mask_time: Share | None = Field(None, description="sounds: share of the frames that is hidden at most")
    mask_bands: Share | None = Field(None, description="sounds: share of the bands that is hidden at most")
    jitter: Annotated[float, Field(ge=0.0)] | None = Field(
        None, description="tables, sequences: normal noise on numbers, in deviations, e.g. 0.05"
    )
    drop_words: Share | None = Field(None, description='texts as "ids": how likely a word is left out')
    crop_words: Share | None = Field(None, description='texts as "ids": share of the text that is cut off at most')
    scale: Share | None = Field(
        None, description="sequences: each quantity, at all steps alike, is 1 - share to 1 + share times as large"
    )
    crop_steps: Share | None = Field(None, description="sequences: share of the steps that is cut off at most")


class ModelTable(Table):
    """Which network; every further key is an option of that kind (``isograd schema`` lists them)."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    kind: str = Field(
        "auto",
        description="auto: a CNN for pictures and sounds, an MLP for tables, a bag of words and pairs for texts, a temporal "
        'CNN for sequences; or "module:function", a function of your own (inputs, outputs, **options) that gives an nn.Module',
    )
    weights: str | None = Field(None, description="a .safetensors file to start from; relative to this file")
    fresh: list[str] = Field(default_factory=list, description='parts that weights is not to fill, e.g. "head"')
    freeze: list[str] = Field(default_factory=list, description='parts that are not trained, e.g. "body" or "stages.0"')

    unfreeze: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description='frozen parts that are trained after an epoch, e.g. { "stages.2" = 3, "stages.1" = 6 }: last ones first',
    )

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind == "auto" or kind in OPTIONS or OWN.fullmatch(kind):
            return kind
        raise PydanticCustomError("literal_error", "no such model", {"expected": " or ".join(f"'{k}'" for k in KINDS)})


class TrainTable(Table):
    """How it is trained."""

    epochs: int = Field(30, ge=1, description="how often the training part is seen")
    budget: str | None = Field(
        None,
        description='time that training may take, e.g. "5min": the first steps are timed on a copy, and so many epochs are '
        "made as it holds, at most those above",
    )
    batch_size: int = Field(
        64, ge=1, description='examples in one step; with norm = "batch" a last single one joins the step before'
    )
    loss: Literal["auto", "focal"] = Field(
        "auto", description="auto: cross-entropy, or squared error; focal: rows that are right already count little"
    )
    focal_gamma: Annotated[float, Field(ge=0.0, le=10.0)] = Field(2.0, description="how little; 0 is cross-entropy (focal)")
    label_smoothing: Share = Field(
        0.0, description="share of each label that is spread evenly over all classes, e.g. 0.1; answers become less sure"
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: every class counts alike in the loss, however few rows it has"
    )
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "adagrad"] = Field(
        "adamw", description="what turns gradients into updates"
    )
    learning_rate: Positive = Field(1e-3, description="the largest step size that the schedule reaches")
    momentum: Share = Field(0.9, description="of sgd and rmsprop")
    nesterov: bool = Field(False, description="Nesterov's momentum (sgd)")
    weight_decay: float = Field(0.01, ge=0.0, description="decoupled for adamw, added to the gradient otherwise")
    schedule: Literal["constant", "warmup_cosine", "one_cycle", "plateau"] = Field(
        "warmup_cosine", description="how the learning rate moves through the run"
    )
    warmup: Share = Field(0.05, description="share of the steps in which the learning rate rises (warmup_cosine, one_cycle)")
    plateau_patience: int = Field(3, ge=1, description="epochs without a better validation before the rate falls (plateau)")
    plateau_factor: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.3, description="what the rate is multiplied by then (plateau)"
    )
    clip_norm: Positive | None = Field(None, description="largest total norm of the gradient; leave out: no clipping")
    ema: Share | None = Field(
        None, description="decay of the exponential moving average of the weights, e.g. 0.999; leave out: none"
    )
    patience: int | None = Field(
        None, ge=1, description="stop after so many epochs without a better validation; leave out: never"
    )

    @field_validator("budget")
    @classmethod
    def _is_a_time(cls, budget: str | None) -> str | None:
        try:
            time = None if budget is None else budget_of(budget).seconds
        except RequestError as error:
            raise PydanticCustomError("budget", "this is no time: {said}", {"said": error.faults[0].what}) from error
        if budget is not None and time is None:
            raise PydanticCustomError("budget", "a time is needed, such as '5min'")
        return budget

    precision: Literal["float32", "bfloat16"] = Field("float32", description="bfloat16: mixed precision")
    checkpoint_seconds: Positive = Field(30.0, description="a checkpoint at least so often, and at the end of each epoch")


class PretrainTable(Table):
    """What is learned before the labels, from pictures or rows of a table that have none."""

    source: str | None = Field(
        None,
        description="a folder of pictures (or an IDX file), or a table of the same columns, without labels, relative to this "
        "file: the network learns first to tell changed views of one picture, or row, from all others; where labels are few",
    )
    epochs: int = Field(15, ge=1, description="how often these pictures or rows, and those of the training part, are seen")
    batch_size: int = Field(256, ge=2, description="pictures or rows that are told from one another at once; more are better")
    learning_rate: Positive = Field(2e-3, description="the largest step size, of adamw with a falling cosine")


class WatchTable(Table):
    """How closely the gradients are watched."""

    enabled: bool = Field(True, description="watch the gradients while training")
    budget: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.03, description="share of the training time that watching may take"
    )
    first_aid: bool = Field(
        False, description="take back a step whose loss or update leaves the range of its recent past; costs time of its own"
    )


class EvaluateTable(Table):
    """How the figures are made."""

    threshold: Literal["none", "accuracy", "f1", "recall"] = Field(
        "none",
        description="of two classes: call the second above the probability that is best for this figure on the validation "
        "part; it is stored in the bundle. none: call the likelier class",
    )
    resamples: int = Field(1000, ge=100, description="bootstrap resamples behind each 95 % interval")


class ProjectSettings(Table):
    """The whole of isograd.toml."""

    name: str = Field("project", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="names the runs and the bundle")
    task: Literal[
        "classification",
        "regression",
        "text-classification",
        "image-classification",
        "sound-classification",
        "sequence-classification",
        "sequence-regression",
    ] = Field(description="what the model is to do")
    seed: int = Field(0, ge=0, lt=2**31, description="one number behind every random choice")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto: a GPU where there is one")
    threads: int = Field(0, ge=0, description="CPU threads; 0: all cores; another number gives other last digits")
    data: DataTable
    encoding: EncodingTable = EncodingTable()
    augment: AugmentTable = AugmentTable()
    model: ModelTable = ModelTable()
    train: TrainTable = TrainTable()
    pretrain: PretrainTable = PretrainTable()
    watch: WatchTable = WatchTable()
    evaluate: EvaluateTable = EvaluateTable()
    goals: dict[str, float] = Field(
        default_factory=dict,
        description="what must be reached on the test part: accuracy, precision, recall, f1, auc, r2 (at least), log_loss, "
        "ece, mae, rmse (at most), e.g. accuracy = 0.95",
    )

    @model_validator(mode="before")
    @classmethod
    def _numbers(cls, values: Any) -> Any:
        # A goal of 1 is a goal of 1.0; strict validation would refuse it.
        if isinstance(values, dict) and isinstance(values.get("goals"), dict):
            goals = {
                name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
                for name, value in values["goals"].items()
            }
            return values | {"goals": goals}
        return values


def json_schema(options: Mapping[str, Mapping[str, Option]]) -> dict[str, Any]:
    """The JSON Schema of isograd.toml, the options of every family of networks included."""
    schema = ProjectSettings.model_json_schema()
    table = schema["$defs"]["ModelTable"]
    for kind, known in options.items():
        for name, option in known.items():
            entry = table["properties"].setdefault(name, {"description": ""})
            entry["description"] += f"{kind}: {option.help} ({option.expected}; default {option.default!r}). "
    return schema
