"""Records as real runs leave them: digits that learn, a deep sigmoid network that vanishes, a regression on a table."""

import base64
import math
import random
import struct
import zlib

from isograd.records.anatomy import Anatomy, Node, Optimizer, Parameter
from isograd.records.cause import Cause, Explanation, Hypothesis
from isograd.records.edit import Edit
from isograd.records.expectation import Expectation, Expectations
from isograd.records.finding import Evidence, Finding
from isograd.records.inspection import Doubt, Inspection
from isograd.records.moments import Moments
from isograd.records.preview import Look, Preview, Seen
from isograd.records.proof import Candidate, Effect, Luck, Proof, Training, Trial
from isograd.records.reading import Reading, Readings
from isograd.records.report import Report
from isograd.records.run import Bundle, Environment, Epoch, Evaluation, ExampleError, Metric, Run
from isograd.records.schema import Column, DataSummary, Part, Schema, Skipped
from isograd.records.skill import Skill
from isograd.records.trace import Meter

TOML = """# digits/isograd.toml
[data]
source = "builtin:digits"   # 1,797 images, 8 x 8
task = "image-classification"

[train]
epochs = 20
learning_rate = 1e-3
"""


def png(side=8, seed=0):
    """A small grey picture, as a PNG in base64."""
    draw = random.Random(seed)
    rows = b"".join(b"\0" + bytes(draw.randrange(256) for _ in range(side)) for _ in range(side))

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(content).decode()


def report(depth=4, rate=0.0, steps=(1, 2, 5, 10, 20, 50, 100), origin="watch", findings=(), function="relu", noise=0.1):
    """A chain of ``depth`` linear layers whose gradient shrinks by ``rate`` nats a layer towards the input."""
    draw = random.Random(depth)
    nodes, parameters = [Node("input", "input", "input", (), (64,))], []
    for i in range(depth):
        fan = (("fan_in", 64), ("fan_out", 64), ("bias", True))
        names = (f"body.{2 * i}.weight", f"body.{2 * i}.bias")
        nodes.append(Node(f"body.{2 * i}", "linear", "Linear(64, 64)", (2 * i,), (64,), fan, names, f"train.py:{31 + i}"))
        parameters.append(Parameter(names[0], f"body.{2 * i}", (64, 64), True, True, Moments.of([0.1, -0.1])))
        parameters.append(Parameter(names[1], f"body.{2 * i}", (64,), True, True, Moments.of([0.0])))
        if i < depth - 1:
            nodes.append(Node(f"body.{2 * i + 1}", "activation", function, (2 * i + 1,), (64,), (("function", function),)))
    values = []
    for step in steps:
        values.append(Reading("loss", "", step, 2.3 * math.exp(-step / 60) if rate < 0.5 else 2.3 + draw.gauss(0, 0.01)))
        values.append(Reading("total_gradient_norm", "", step, 0.4))
        for k, node in enumerate(nodes[1:]):
            share = math.exp(-rate * (depth - 1 - k / 2) + draw.gauss(0, noise)) * 0.03 / (1 + step / 50)
            values += [
                Reading("activation_rms", node.path, step, 0.5 + draw.gauss(0, 0.02)),
                Reading("gradient_rms", node.path, step, share),
                Reading("zero_fraction", node.path, step, 0.5 if function == "relu" and k % 2 else 0.0),
            ]
            if k % 2:
                values += [
                    Reading("saturated_fraction", node.path, step, 0.01),
                    Reading("dead_fraction", node.path, step, 0.02),
                ]
        values += [Reading("update_ratio", parameter.name, step, 1e-3) for parameter in parameters]
    expected = tuple(
        Expectation(node.path, 0.5, -rate * (depth - 1 - k / 2), 0.08 * math.sqrt(depth - 1 - k / 2))
        for k, node in enumerate(nodes[1:])
    )
    return Report(
        origin,
        Anatomy("torch", tuple(nodes), tuple(parameters), Optimizer("adamw", (("learning_rate", 1e-3),)), "cross_entropy"),
        tuple(findings),
        Expectations(expected, rate, 1 / rate if rate else math.inf),
        Readings(tuple(values), tuple(node.path for node in nodes[1:]), tuple(steps)),
        steps=max(steps, default=0),
        planned_steps=900,
        meter=Meter(0.21, 12.4, max(steps, default=0), len(steps), max(steps, default=0)),
    )


VANISHING = Finding(
    "vanishing",
    "critical",
    0.97,
    "body.0",
    "The first 24 of 30 layers cannot learn: the gradient that reaches layer 1 is 2e-19 of the one at layer 30",
    (
        Evidence("gradient at layer 1 over that at layer 30", "gradient_rms", 2.1e-19, "", 1e-4, 1.7e-19),
        Evidence("real update over weight in layer 1", "update_ratio", 3.2e-11, "a step", 6e-8),
        Evidence("slope of the log gradient over depth", "backward_slope", 1.48, "nats a layer", 0.3, 1.49),
    ),
    tuple(f"body.{2 * i}" for i in range(24)),
    "train.py:31",
    1,
    cause="a sigmoid passes on at most a quarter of the gradient, and 30 of them follow one another",
    remedy="use ReLU with He initialisation, or normalise every layer",
    references=("https://arxiv.org/abs/1611.01232", "Hochreiter 1991, Untersuchungen zu dynamischen neuronalen Netzen"),
)
SLOW = Finding("vanishing", "note", 0.4, "optimizer", "AdamW hides small gradients from the weights", until=20)


def vanishing(origin="check", steps=(1, 2, 3)):
    """Thirty sigmoid layers before training."""
    return report(30, 1.48, steps, origin, (VANISHING, SLOW), "sigmoid")


ENVIRONMENT = Environment(
    "0.1.0", "3.12.4", "Linux-6.1.0-x86_64-with-glibc2.36", "cpu", 2, 0, (("torch", "2.13.0"), ("numpy", "2.1.0"))
)


def run(task="image-classification", status="finished", **changes):
    """A finished run."""
    known = {
        "id": "20260101-100000-brave-otter", "name": "brave-otter", "task": task, "model": "mlp", "status": status,
        "started": "2026-01-01T10:00:00Z", "environment": ENVIRONMENT, "fingerprint": "ab" * 32, "data": "cd" * 32,
        "finished": "2026-01-01T10:00:41Z", "epochs": 20, "steps": 900, "seconds": 41.2, "best_epoch": 17,
        "best_metric": ("accuracy", 0.983), "parameters": 26_122,
        "settings": (("train.learning_rate", 1e-3), ("train.epochs", 20)),
    }  # fmt: skip
    return Run(**(known | changes))


def epochs(amount=20):
    """Loss down, accuracy up."""
    draw = random.Random(1)
    made = []
    for i in range(1, amount + 1):
        accuracy = 0.985 - 0.6 * math.exp(-i / 2) + draw.gauss(0, 0.002)
        metrics = (("accuracy", accuracy), ("log_loss", 0.07 + 2 * math.exp(-i / 2)))
        loss = 0.02 + 2.2 * math.exp(-i / 3)
        made.append(Epoch(i, 45 * i, loss, metrics, 1e-3, 11_400.0, 2.1, best=i in (3, 9, 17), health="healthy · dead 2 %"))
    return tuple(made)


def classification(classes=10, rows=360, errors=7, pictures=True):
    """An evaluation with some mistakes."""
    draw = random.Random(classes)
    matrix = [[0] * classes for _ in range(classes)]
    for i in range(classes):
        matrix[i][i] = rows // classes
    worst = []
    for k in range(errors):
        truth, answer = draw.sample(range(classes), 2)
        matrix[truth][truth] -= 1
        matrix[truth][answer] += 1
        worst.append(
            ExampleError(f"digits row {17 * k}", str(truth), str(answer), 0.9 - k / 100, png(8, k) if pictures else None)
        )
    total = sum(map(sum, matrix))
    right = sum(matrix[i][i] for i in range(classes)) / total
    metrics = (
        Metric("accuracy", right, right - 0.014, right + 0.011),
        Metric("macro_f1", right, right - 0.02, right + 0.01),
        Metric("log_loss", 0.083, 0.05, 0.12),
    )
    names = tuple(map(str, range(classes)))
    per_class = tuple((label, 0.97, 0.98, 0.975, rows // classes) for label in names)
    confusion = tuple(map(tuple, matrix))
    return Evaluation(
        "test", "image-classification", total, metrics, "best on validation", names, confusion, per_class, tuple(worst)
    )


def summary(classes=10):
    """The bundled digits."""
    names = tuple(map(str, range(classes)))
    schema = Schema("images", 1797, "ef" * 32, "label", image=(1, 8, 8), classes=names)
    parts = tuple(
        Part(part, rows, (rows // classes,) * classes) for part, rows in (("train", 1077), ("validation", 360), ("test", 360))
    )
    return DataSummary(
        "builtin:digits", schema, parts, "stratified 60/20/20", (Skipped("b/7.png", "truncated"),), ("No duplicates.",)
    )


def table_summary():
    """A table of houses."""
    columns = (
        Column("area", "number", 3, 812, 21.0, 480.0, 113.2, 48.9),
        Column("rooms", "number", 0, 9, 1.0, 9.0, 3.7, 1.2),
        Column("district", "category", 12, 24, values=tuple(f"district {i}" for i in range(24))),
        Column("garden", "boolean", 0, 2, values=("yes", "no")),
    )
    schema = Schema("table", 2400, "ef" * 32, "price", columns)
    parts = (Part("train", 1680), Part("validation", 360), Part("test", 360))
    return DataSummary(
        "houses.csv", schema, parts, "random 70/15/15", remarks=("area: 3 missing values were filled with the mean.",)
    )


def regression():
    """An evaluation of a regression."""
    metrics = (
        Metric("mae", 18_400.0, 17_100.0, 19_900.0),
        Metric("rmse", 26_300.0, 23_000.0, 29_800.0),
        Metric("r2", 0.871, 0.84, 0.9),
    )
    fields = (("area", "431"), ("rooms", "2"), ("district", "district 3"))
    errors = tuple(ExampleError(f"houses.csv row {k}", "912,000", "641,200", None, None, fields) for k in (88, 1204, 310))
    return Evaluation("test", "regression", 360, metrics, "best on validation", errors=errors)


def bundle():
    """A bundle of six files."""
    files = ("model.onnx", "model.safetensors", "preprocess.json", "card.md", "report.html", "bundle.json")
    hashes = tuple((file, f"{i}f" * 32) for i, file in enumerate(files))
    return Bundle("digits", "image-classification", "2026-01-01T10:00:44Z", "0.1.0", hashes, 4.2e-6, 360, "best on validation")


def inspection():
    """Data with faults of every severity, with long names, pictures and a file that cannot be read."""
    schema = table_summary().schema
    evidence = (Evidence("share of test rows that are in the training part", "crossing", 0.037, bound=0.01),)
    long = "a_column_whose_name_somebody_made_far_too_long_to_be_read_on_a_phone_" * 2
    places = tuple(f"train/automobile/{number:04}.jpg" for number in range(20))
    pictures = tuple(png(32, seed) for seed in range(8))
    crossing = "11 of 298 test rows have the inputs of a training row."
    fix = "drop_crossing_duplicates"
    doubts = (
        Doubt("duplicates across parts", "warning", "parts", crossing, 11, evidence, places, fix, "drop them", pictures),
        Doubt(
            "identifier", "warning", long, f"Column {long!r} names rows.", 400, fix=f"drop_column:{long}", remedy="leave it out"
        ),
        Doubt("class imbalance", "note", "labels", "Class 'a' has 3 times the rows of 'b'.", 100, remedy="judge by F1"),
    )
    return Inspection(
        "photos/of/a/folder/that/lies/deep", "table", 897, "5e" * 32, "label", schema.columns, ("a", "b"),
        (Part("train", 599), Part("test", 298)), doubts, (Skipped("train/dog/0001.jpg", "0001.jpg is empty (0 bytes)"),),
        ("the parts that the source gives were put together",), ("unreadable", "repeated", "drift"),
    )  # fmt: skip


def preview():
    """Pictures that are mixed, and a row of a table, with long names and a warning."""
    long = "a_class_whose_name_somebody_made_far_too_long_to_be_read_on_a_phone"
    seen = tuple(Seen(epoch, f"62% {long} + 38% b", png(16, epoch)) for epoch in range(1, 7))
    fields = (("a_column_with_a_long_name_" * 3, "0.25"), ("text", "word " * 60))
    row = tuple(Seen(epoch, "b", fields=fields) for epoch in range(1, 7))
    looks = (
        Look("train/deep/folder/0001.jpg", long, Seen(0, long, png(16, 0)), seen),
        Look("line 7", "b", Seen(0, "b", fields=fields), row),
    )
    return Preview("photos/of/a/folder", "images", 897, (3, 16, 16), "rotate 10, mixup 0.2", ("flip changes signs",), looks)


def explanation():
    """A cause found by experiment, with long names, a remedy, a loss and a change that could not be run."""
    rate, scale = Edit("learning_rate", 0.5, before=30.0), Edit("input_scale", "standard", before=4.0)
    tried = [
        Hypothesis(rate, "finding: learning rate", 0.83, 0.83, 0.97, score=0.9, steps=80),
        Hypothesis(scale, "list", 0.95, 0.12, 0.2, (rate,), score=0.15, steps=80),
        Hypothesis(Edit("optimizer", "adam", before="sgd"), "list", 0.2, 0.2, steps=80),
        Hypothesis(scale, "list", -0.2, -0.2, 0.2, steps=80),
        Hypothesis(Edit("precision"), "list", failed="the model computes in float32 already"),
    ]
    cause = Cause(rate, "sure", 0.83, 0.97, "The learning rate of 30 is too high.", "optimizer", "train.py:41")
    return Explanation("cause", Skill(0.0, 300), 80, 1_200, 2_000, (cause,), tuple(tried))


def training(end, steps=300, failed=None):
    """A training that comes near its end as an exponential does."""
    curve = tuple((at, round(end * (1 - math.exp(-4 * at / steps)), 4)) for at in range(0, steps + 1, steps // 10))
    return Training(Skill(end, 120), curve, steps, failed)


def proof(verdict="proven", kind="repair", pairs=6):
    """A repair with its pairs, a random edit beside them, refused candidates and what luck reached."""
    rate, momentum = Edit("learning_rate", 0.5, before=30.0), Edit("momentum", 0.5, before=0.9)
    gain = 0.55 if verdict == "proven" else -0.2
    trials = tuple(
        Trial(1000 + i, training(0.21 + i / 50), training(0.21 + i / 50 + gain - i / 90), training(0.2) if i < 3 else None)
        for i in range(pairs)
    )
    candidates = (
        Candidate((), 0.22, "control"),
        Candidate((rate, Edit("normalisation", "layer"), Edit("clip_norm", 1.0)), 0.81, "preset", "robust preset"),
        Candidate((rate,), 0.8, "single", "finding: learning rate"),
        Candidate((Edit("activation", "relu", before="sigmoid"),), 0.3, "single", "list"),
        Candidate((Edit("precision", "float32"),), None, "single", "list", failed="the model computes in <float32> already"),
    )
    differences = [trial.difference for trial in trials]
    mean = sum(differences) / len(differences)
    return Proof(
        verdict, (rate,), kind, False, "6 new pairs, every one better with the change", Effect(mean, mean - 0.04, mean + 0.04),
        None, trials, candidates, explanation(), training(0.22), candidates[1], Luck(0.6, (momentum,), 5, 0.8), (momentum,),
        6, 300, 300, 4.2, 15.0, 5760, remarks=("the forward pass is random in a way of its own",),
    )  # fmt: skip
