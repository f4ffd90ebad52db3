"""Cases of pictures: digits with and without augmentation, and photos."""

from __future__ import annotations

from pathlib import Path

from cases.running import Ran, Row, foretold, mean_interval, run

AUGMENTED = '\n[augment]\npolicy = "auto"\n'
SEEDS = (0, 1, 2)


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
    return [
        plain[0].row("cnn", "accuracy", "0.985 in 5 minutes", [over[0]]),
        augmented[0].row("cnn, augmented", "accuracy", "better than without", [over[1], gain]),
    ]


def photos(work: Path) -> list[Row]:
    """Two networks on 10,000 photos; a plain deep one on 2,000 of four kinds, foretold not to train, and the same cured."""
    rows = []
    for name, goal in (("resnet", "0.82 in 20 minutes"), ("depthwise", "0.72 in 20 minutes")):
        ran = run(work, f"photos/{name}")
        rows.append(ran.row(f"{name}; foretold: {foretold(ran.folder)}", "accuracy", goal))
    for name, change in (("plain, four kinds", str), ("plain, four kinds, cured", _cured)):
        ran = run(work, "photos/few", name=f"photos-{name.split(', ')[-1]}", change=change, script="copy_few.py")
        rows.append(
            ran.row(f"{name}; foretold: {foretold(ran.folder)}", "accuracy", "" if change is _cured else "does not train")
        )
    return rows


def _cured(text: str) -> str:
    """The change that `isograd cure` proves."""
    return text.replace('norm = "none"', 'norm = "batch"').replace('initialisation = "torch"', 'initialisation = "he"')
