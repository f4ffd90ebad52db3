"""How many planted faults `isograd data inspect` finds in real data, and what it says of the same data as it is.

Real sets (named by ISOGRAD_DATA) are copied, in part, into a temporary folder; each fault is planted into a copy of its own, in
two strengths where it has any, with three seeds. A fault is found where a doubt of its kind stands at its place and is an alarm
(or a note, for the few kinds that are notes by nature), beyond what the clean copy shows. Then every clean copy, and every set
as it lies there, is inspected: each alarm is printed, to be judged one by one.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common import machine, table, write
from data_plants import Plant, plants, read_rows, weak_plants, write_rows
from isograd.errors import DataError
from isograd.records.inspection import Doubt, Inspection
from isograd.workbench.data import Source, inspect

DATA = Path(os.environ.get("ISOGRAD_DATA", "../shared/data"))
PATTERN = "{label}_{speaker}_{take}"
NOTES = ("near-constant column", "code for missing", "CMYK", "turned by EXIF", "16-bit")


def clean(folder: Path) -> dict[str, Path]:
    """Copies of part of the real sets, with parts of their own, as they are."""
    rng = random.Random(0)
    places = {name: folder / name for name in ("adult", "reviews", "photos", "digits")}
    for name, file, count in (("adult", "adult.csv", 6000), ("reviews", "rt-polarity.csv", 6000)):
        places[name].mkdir()
        rows = rng.sample(read_rows(DATA / file), count)
        write_rows(places[name] / "table.csv", [row | {"split": "train" if i < 4200 else "test"} for i, row in enumerate(rows)])
    for part, count in (("train", 60), ("test", 30)):
        for source in sorted((DATA / "cifar10-subset" / part).iterdir()):
            target = places["photos"] / part / source.name
            target.mkdir(parents=True)
            for path in rng.sample(sorted(source.iterdir()), count):
                shutil.copyfile(path, target / path.name)
    places["digits"].mkdir()
    for path in rng.sample(sorted((DATA / "fsdd" / "recordings").glob("*.flac")), 600):
        shutil.copyfile(path, places["digits"] / path.name)
    return places


def looked_at(name: str, folder: Path) -> Inspection:
    if name == "digits":
        return inspect(Source(str(folder), Path(), label_pattern=PATTERN))
    return inspect(Source(str(folder / "table.csv" if name in ("adult", "reviews") else folder), Path()))


def found(plant: Plant, folder: Path, before: list[Doubt]) -> bool:
    """Whether a doubt tells of the fault that the clean copy did not have, or has now of more rows or more severely."""
    try:
        doubts = looked_at(plant.into, folder).doubts
    except DataError as error:
        return plant.kind.startswith("refused: ") and plant.kind.removeprefix("refused: ") in str(error)
    known = {(doubt.kind, doubt.where): doubt for doubt in before}
    for doubt in doubts:
        old = known.get((doubt.kind, doubt.where))
        if doubt.kind != plant.kind or plant.where not in ("", doubt.where) or not (doubt.alarm or doubt.kind in NOTES):
            continue
        if old is None or doubt.count > old.count or (doubt.alarm and not old.alarm):
            return True
    return False


def planted(
    faults: Iterator[Plant], places: dict[str, Path], before: dict[str, Inspection], seeds: int
) -> dict[str, list[bool]]:
    """Each fault planted into copies, one a seed, and whether it was found."""
    hits: dict[str, list[bool]] = {}
    for plant in faults:
        for seed in range(seeds):
            copy = places[plant.into].parent / "copy"
            shutil.copytree(places[plant.into], copy)
            plant.do(copy, random.Random(seed))
            hits.setdefault(f"{plant.into}: {plant.name}", []).append(found(plant, copy, list(before[plant.into].doubts)))
            shutil.rmtree(copy)
    return hits


def alarms(inspection: Inspection) -> list[str]:
    return [f"{doubt.kind} at {doubt.where}: {doubt.summary}" for doubt in inspection.alarms]


WHOLE = ("adult.csv", "rt-polarity.csv", "imdb", "cifar10-subset", "mnist-5k", "isbi-membrane")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", action="store_true", help="do not inspect the whole sets as they lie there")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        places = clean(Path(root))
        before = {name: looked_at(name, place) for name, place in places.items()}
        hits = planted(plants(), places, before, told.seeds)
        weak = planted(weak_plants(), places, before, told.seeds)
        said = {f"part of {name}": alarms(one) for name, one in before.items()}
    if not told.part:
        said |= {name: alarms(inspect(Source(name, DATA))) for name in WHOLE if (DATA / name).exists()}
        said["fsdd"] = alarms(inspect(Source("fsdd/recordings", DATA, label_pattern=PATTERN)))
        said["builtin:digits"] = alarms(inspect(Source("builtin:digits", DATA)))
    for heading, each in (("planted", hits), ("planted, weak or of a form not claimed", weak)):
        print(table([(name, f"{sum(one)} of {len(one)}") for name, one in each.items()], (heading, "found")))
    total, all_ = sum(map(sum, hits.values())), sum(map(len, hits.values()))
    print(f"found {total} of {all_} ({total / all_:.3f})")
    for name, lines in said.items():
        print(f"{name}: {len(lines)} alarms", *lines, sep="\n  ")
    goals = {"found >= 95 %": total >= 0.95 * all_}
    write(
        "data_faults",
        {"machine": machine(), "found": total, "planted": all_, "by_fault": hits, "weak": weak, "clean": said, "goals": goals},
    )


if __name__ == "__main__":
    main()
