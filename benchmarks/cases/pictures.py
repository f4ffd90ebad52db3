"""Cases of pictures: digits with and without augmentation, and photos."""

from __future__ import annotations

from pathlib import Path

from cases.baselines import linear
from cases.running import Ran, Row, foretold, mean_interval, run

AUGMENTED = '\n[augment]\npolicy = "auto"\n'
SEEDS = (0, 1, 2)
NORM = ('norm = "none"', 'norm = "batch"')
CURES: dict[str, tuple[tuple[str, str], ...]] = {
    "four kinds of things": (),
    "the cure of 24 runs": (NORM,),
    "the cure of 40 runs, as far as the file has settings": (
        NORM,
        ('initialisation = "torch"', 'initialisation = "he"'),
        ('optimizer = "sgd"', 'optimizer = "adam"\nweight_decay = 0\nschedule = "constant"\nclip_norm = 1.0'),
        ("learning_rate = 0.05", "learning_rate = 0.003"),
    ),
}
"""What `isograd cure examples/photos/few` writes with two budgets, beside what it found."""


def digits(work: Path) -> list[Row]:
    """5,000 digits, judged by 10,000: a CNN as the example has it, and the same with augmentation, by the same seeds."""

    def each(more: str, mark: str) -> list[Ran]:
        def one(seed: int) -> Ran:
            def change(text: str) -> str:
                return text.replace("seed = 0", f"seed = {seed}") + more

            return run(work, "mnist", name=f"digits-{mark}{seed}", change=change)

        return [one(seed) for seed in SEEDS]

    plain, augmented = each("", ""), each(AUGMENTED, "augmented-")
    accuracies = [[ran.figures["accuracy"].value for ran in runs] for runs in (plain, augmented)]
    over = [mean_interval("mean over seeds", values) for values in accuracies]
    gain = mean_interval("gain over seeds", [b - a for a, b in zip(*accuracies, strict=True)])
    beside = linear(plain[0].folder)
    return [
        plain[0].row("cnn", "accuracy", "0.985 in 5 minutes", [over[0], beside]),
        augmented[0].row("cnn, augmented", "accuracy", "better than without", [over[1], gain, beside]),
    ]


def photos(work: Path) -> list[Row]:
    """Two networks on 10,000 photos; a plain deep one on 2,000 of four kinds, foretold not to train, and cured."""
    rows = []
    for name, goal in (("resnet", "0.82 in 20 minutes"), ("depthwise", "0.72 in 20 minutes")):
        ran = run(work, f"photos/{name}")
        rows.append(ran.row(f"{name}; foretold: {foretold(ran.folder)}", "accuracy", goal, [linear(ran.folder)]))
    for name, edits in CURES.items():

        def change(text: str, edits: tuple[tuple[str, str], ...] = edits) -> str:
            for before, after in edits:
                text = text.replace(before, after)
            return text

        ran = run(work, "photos/few", name=f"photos-few-{len(edits)}", change=change, script="copy_few.py")
        goal = "better than as it is" if edits else "does not train"
        rows.append(ran.row(f"plain, {name}; foretold: {foretold(ran.folder)}", "accuracy", goal, [linear(ran.folder)]))
    return rows
