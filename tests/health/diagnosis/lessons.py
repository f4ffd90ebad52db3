"""Made-up recordings of a loss: what a training looks like whose answers are known."""

import dataclasses
import math
import random

import isograd
from isograd.health.case import Case, case_of
from isograd.records.anatomy import Anatomy
from isograd.records.batch import Evaluation, Features, InputSample, LossSample
from isograd.records.moments import Moments, Pairs
from isograd.records.trace import Step, Trace

EMPTY = Anatomy("torch", (), ())


def looked_at(steps):
    """The steps that are looked at in a run: often at first, then a twentieth of the run apart."""
    found, step = {1, steps}, 1
    while step <= steps:
        found.add(step)
        step = max(step + 1, int(1.25 * step))
    return sorted(found | {max(1, steps * i // 20) for i in range(1, 21)})


def training(sample, steps=300, *, anatomy=EMPTY, ended=True, planned=None, inputs=(), total=None) -> Case:
    """A run whose step ``t`` has the loss ``sample(t)``; ``total(t)`` is what is stepped where it is something else."""
    looks, found = set(looked_at(steps)), []
    for index in range(1, steps + 1):
        one = sample(index)
        everything = one if isinstance(one, tuple) else (one,)
        samples = tuple(s for s in everything if s.training)
        tried = tuple(evaluation(index, s) for s in everything if not s.training)
        value = total(index) if total else sum(s.value for s in samples if s.training)
        found.append(
            Step(
                index,
                value,
                0.01,
                losses=samples if index in looks else (),
                inputs=inputs if index in looks else (),
                evaluations=tried if index in looks else (),
            )
        )
    return case_of(Trace(anatomy, (), tuple(found), planned, ended=ended))


def evaluation(index, sample):
    """What was seen of a loss, as a whole evaluation before step ``index``."""
    answers = sum(sample.classes) if sample.hits >= 0 else 0
    return Evaluation(
        index - 1,
        sample.function,
        sample.source,
        batches=1,
        examples=sample.output_shape[0],
        value=sample.value,
        floor=sample.floor,
        classes=sample.classes,
        answers=answers,
        hits=sample.hits,
    )


def classes(seed, *, kinds=4, rows=64, right=None, value=None, answer=None, shares=None, **more):
    """A batch of a classification: ``right`` of its answers are right, ``answer``: all answers are this class."""
    draw = random.Random(seed)
    targets = draw.choices(range(kinds), shares, k=rows)
    answers = [t if right is not None and draw.random() < right else draw.randrange(kinds) for t in targets]
    answers = [answer] * rows if answer is not None else answers
    counts = tuple(targets.count(k) for k in range(kinds))
    floor = -sum(n / rows * math.log(n / rows) for n in counts if n)
    shares = shares or [1 / kinds] * kinds
    known = -sum(math.log(shares[t]) for t in targets) / rows
    return LossSample(
        "cross_entropy",
        source="train.py:9",
        value=known + draw.gauss(0.0, 0.01) if value is None else value,
        floor=floor,
        output=Moments.of([0.5, -0.5]),
        output_shape=(rows, kinds),
        target_shape=(rows,),
        classes=counts,
        answers=tuple(answers.count(k) for k in range(kinds)),
        hits=sum(a == t for a, t in zip(answers, targets, strict=True)),
        **more,
    )


def numbers(seed, *, rows=64, explained=0.0, scale=1.0, mean=0.0, outputs=None, stray=0.0, slope=1.0):
    """A regression whose outputs explain a part of the targets; ``slope`` stretches, ``outputs`` replaces, ``stray`` blurs."""
    draw = random.Random(seed)
    known = [draw.gauss(0.0, math.sqrt(explained)) for _ in range(rows)]
    targets = [mean + scale * (k + draw.gauss(0.0, math.sqrt(1.0 - explained))) for k in known]
    given = [mean + scale * (slope * k + draw.gauss(0.0, stray)) for k in known]
    if outputs is not None:
        given = [outputs + 1e-6 * draw.random() for _ in known]
    middle, centre = sum(targets) / rows, sum(given) / rows
    return LossSample(
        "mse_loss",
        source="train.py:9",
        value=sum((g - t) ** 2 for g, t in zip(given, targets, strict=True)) / rows,
        floor=sum((t - middle) ** 2 for t in targets) / rows,
        output=Moments.of(given),
        output_shape=(rows, 1),
        target=Moments.of(targets),
        target_shape=(rows, 1),
        agreement=Pairs.of([g - centre for g in given], [t - middle for t in targets]),
    )


def final(watch):
    """The report of a run that is over."""
    return isograd.diagnose(dataclasses.replace(watch.trace, ended=True))


def table(*, rms=1.0, largest=1.0, median=1.0, offset=0.0, constant=0, low=-2.0, high=2.0, dtype="float32", shape=(64, 8)):
    """What a table of inputs brought."""
    columns = Features(shape[1], constant, largest, median, min(largest, median), 3, offset)
    return InputSample("", 0, shape, dtype, Moments.of([rms, -rms]), low, high, columns)


__all__ = ["EMPTY", "Step", "Trace", "classes", "final", "numbers", "table", "training"]
