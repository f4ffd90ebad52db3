"""The demonstration in two acts: a network that learns, from data to prediction, and one that cannot, foretold."""

from __future__ import annotations

import time
from pathlib import Path

from isograd.cli import show
from isograd.cli.words import answer_line, evaluation_lines
from isograd.project import reading, river
from isograd.project.demo import write_samples
from isograd.project.goals import verdicts
from isograd.project.predicting import predict_with
from isograd.project.runs import named


def act_one(folder: Path) -> tuple[Path, list[Path]]:
    """The whole river on handwritten digits; gives the bundle and some pictures to ask it about."""
    started = time.monotonic()
    project = reading.load(folder)
    show.say(f"Act one: 1,797 handwritten digits, and a small convolutional network ({project.path})\n")
    show.say("Will it train?  isograd check")
    show.say(str(river.check(project)))
    show.say("\nTraining, with the gradients watched.  isograd train")
    with show.progress_bar() as bar:
        run = river.run_training(project, new=True, on_progress=bar)
    show.say("\nHow good is it, on pictures it never saw?  isograd evaluate")
    _, evaluation = river.evaluate_run(folder, run.path.name)
    show.say("\n".join(evaluation_lines(evaluation, verdicts(project, evaluation))))
    show.say("\nInto one folder that needs no torch.  isograd export")
    bundle, record = river.export_run(folder, run.path.name)
    show.say(f"ONNX and torch differ by at most {record.max_difference:.0e} on {record.compared_rows} rows")
    samples = write_samples(folder)
    show.say("\nAnd asked about three pictures.  isograd predict")
    answers, _ = predict_with(bundle, [str(path) for path in samples])
    for answer in answers:
        show.say(answer_line(answer))
    show.say(f"\nAct one took {time.monotonic() - started:.0f} s.")
    return bundle, samples


def act_two(folder: Path) -> None:
    """The same digits, 30 layers of sigmoids: foretold before the first step, and borne out."""
    started = time.monotonic()
    project = reading.load(folder)
    show.say(f"\nAct two: the same digits, and a network of 30 sigmoid layers ({project.path})\n")
    show.say("Will it train?  isograd check")
    show.say(str(river.check(project)))
    show.say("\nTrained all the same, to see.  isograd train")
    with show.progress_bar() as bar:
        river.run_training(project, new=True, on_progress=bar)
    _, evaluation = river.evaluate_run(folder)
    chance = 1 / len(evaluation.classes)
    accuracy = evaluation.metrics[0].value
    show.say(
        f"Accuracy {accuracy:.3f} on the test part; guessing reaches {chance:.3f}: as it was foretold. "
        f"It took {time.monotonic() - started:.0f} s."
    )
    show.say(f"\nWhat to change, with proof, in about a minute:  isograd cure {folder}")


def closing(folder: Path, bundle: Path, samples: list[Path]) -> None:
    """Where everything is, and the next command."""
    run = named(folder, None)
    show.say(f"\nreport  {run.report_page}   (open it in a browser)")
    show.say(f"bundle  {bundle}")
    show.say(f"Next: isograd predict {bundle} {samples[0]}")
