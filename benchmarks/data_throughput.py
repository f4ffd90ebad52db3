"""How fast data comes to a training: pictures, texts and tables against the ordinary tools, and an epoch against ready tensors.

* pictures: an epoch of batches of a folder of photos that was read once, against a Pillow `Dataset` in a `DataLoader` with two
  workers; texts: a vocabulary and token numbers, against `str.split`, `Counter` and a `dict`; tables: read, split and encode,
  against pandas and scikit-learn;
* an epoch of training over an epoch of the same training from batches that lie ready, per data set, plain and augmented, by the
  clock, and by what the processor spends on making the batches (which a busy machine disturbs less);
* memory while a Parquet file of 20 times the memory that is given is read in pieces, and while it is encoded into the cache
  of a project and dealt in batches once (private memory: what is mapped from the disk can be given back at any time).

Rounds of both sides alternate, and a ratio is taken within each round: the machine is never alone.
`python benchmarks/data_throughput.py [--rounds 7] [--quick]` needs ISOGRAD_DATA; writes
benchmarks/results/data_throughput.json.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from common import RESULTS, median_interval, table, write
from isograd.project import river
from isograd.project.reading import load
from isograd.workbench import data, train

DATA = Path(os.environ.get("ISOGRAD_DATA", "."))
PROJECTS = {
    "mnist-5k": ("image-classification", 'source = "{data}/mnist-5k"'),
    "cifar10-subset": ("image-classification", 'source = "{data}/cifar10-subset"'),
    "fsdd": ("sound-classification", 'source = "{data}/fsdd/recordings"\nlabel_pattern = "{{label}}_{{speaker}}_{{take}}"'),
    "adult": ("classification", 'source = "{data}/adult.csv"\ntarget = "income"'),
    "rt-polarity": ("classification", 'source = "{data}/rt-polarity.csv"\ntarget = "label"'),
}
LIMIT = 40 << 20
TIMES = 20
STEPS = 60
"""Batches of pictures and sounds that are timed: an epoch of thousands of photos takes a minute on a slow machine."""


def project(folder: Path, name: str, more: str = "") -> river.Job:
    """A project of one data set, read and ready to train."""
    task, source = PROJECTS[name]
    folder.mkdir(parents=True, exist_ok=True)
    text = f'task = "{task}"\n[data]\n{source.format(data=DATA.resolve().as_posix())}\n[watch]\nenabled = false\n{more}'
    (folder / "isograd.toml").write_text(text)
    return river.begin(load(folder))


def timed(act: Callable[[], Any]) -> float:
    """Seconds that ``act`` takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def processed(act: Callable[[], Any]) -> float:
    """Seconds that the processor spends on ``act``, whoever else uses it."""
    began = time.process_time()
    act()
    return time.process_time() - began


def compared(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """Seconds of both, round after round, and how many times as long theirs takes: median, and its interval."""
    ours(), theirs()  # imports and first allocations are no part of it
    pairs = [(timed(ours), timed(theirs)) if i % 2 else (timed(theirs), timed(ours))[::-1] for i in range(rounds)]
    ratio, low, high = median_interval([other / own for own, other in pairs])
    return {
        "seconds": median_interval([own for own, _ in pairs])[0],
        "ordinary_seconds": median_interval([other for _, other in pairs])[0],
        "times_faster": ratio,
        "low": low,
        "high": high,
        "rounds": rounds,
    }


class Photos(Dataset[Any]):
    """What a person writes: open, decode and scale a file whenever it is asked for."""

    def __init__(self, folder: Path) -> None:
        classes = sorted(entry.name for entry in folder.iterdir())
        self.files = [(file, classes.index(file.parent.name)) for file in sorted(folder.glob("*/*.jpg"))]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        file, label = self.files[i]
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
        return (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - 0.5) / 0.25, label


def pictures(folder: Path, rounds: int) -> dict[str, Any]:
    """An epoch of batches of photos, after the first pass."""
    job = project(folder, "cifar10-subset")
    rows = len(job.prepared.train)
    photos = Photos(DATA / "cifar10-subset" / "train")
    photos.files = photos.files[:: max(1, len(photos.files) // rows)][:rows]
    loader = DataLoader(photos, batch_size=64, shuffle=True, num_workers=2)
    found = compared(lambda: sum(len(x) for x, _ in job.batches(1, 0)), lambda: sum(len(x) for x, _ in loader), rounds)
    again = timed(lambda: project(folder, "cifar10-subset"))
    return {**found, "rows": rows, "read_again_seconds": again}


def texts(folder: Path, rounds: int) -> dict[str, Any]:
    """A vocabulary of 2,000 words and 64 token numbers of each text."""
    from isograd.workbench.data.tokens import encode_texts, fit_texts

    with (DATA / "rt-polarity.csv").open(encoding="utf-8", newline="") as file:
        lines = [row["text"] for row in csv.DictReader(file)]

    def ours() -> None:
        found = fit_texts(lines, tokens="words", form="ids", vocabulary=2000, length=64)
        assert found is not None
        encode_texts(lines, found)

    def theirs() -> None:
        words = [re.findall(r"\w+|[^\w\s]+", line.lower()) for line in lines]
        places = {word: i + 2 for i, (word, _) in enumerate(Counter(w for line in words for w in line).most_common(1998))}
        rows = np.zeros((len(lines), 64), dtype=np.int64)
        for i, line in enumerate(words):
            rows[i, : min(64, len(line))] = [places.get(word, 1) for word in line[:64]]

    return {**compared(ours, theirs, rounds), "rows": len(lines)}


def tables(folder: Path, rounds: int) -> dict[str, Any]:
    """Census rows, read, split and encoded."""

    def theirs() -> None:
        import pandas as pd
        from sklearn.compose import ColumnTransformer
        from sklearn.model_selection import train_test_split
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        frame = pd.read_csv(DATA / "adult.csv")
        inputs, targets = frame.drop(columns="income"), frame["income"]
        kept, rest, labels, _ = train_test_split(inputs, targets, test_size=0.35, random_state=0, stratify=targets)
        numbers = [name for name in kept.columns if pd.api.types.is_numeric_dtype(kept[name])]
        words = [name for name in kept.columns if name not in numbers]
        encoder = ColumnTransformer(
            [("n", StandardScaler(), numbers), ("c", OneHotEncoder(handle_unknown="ignore", sparse_output=False), words)]
        )
        torch.from_numpy(np.asarray(encoder.fit_transform(kept), dtype=np.float32))
        torch.from_numpy(np.asarray(encoder.transform(rest), dtype=np.float32))
        torch.from_numpy((labels == ">50K").to_numpy().astype(np.int64))

    plan = data.SplitPlan(validation=0.15, test=0.2)

    def ours() -> None:
        data.prepare("adult.csv", base=DATA, task="classification", target="income", split=plan, seed=0)

    return {**compared(ours, theirs, rounds), "rows": 30162}


def epoch_of(job: river.Job, batches: Callable[[], Iterator[Any]]) -> None:
    """The steps of one epoch, as a hand-written loop has them."""
    optimizer = train.make_optimizer(job.model.parameters(), job.recipe)
    for inputs, targets in batches():
        optimizer.zero_grad()
        job.loss(job.model(inputs), targets).backward()
        optimizer.step()


def epochs(folder: Path, name: str, rounds: int, more: str = "") -> dict[str, Any]:
    """The first steps of an epoch after the first, over the same whose batches lie ready in memory."""
    job = project(folder, name, more)
    steps = STEPS if job.prepared.encoding.kind != "table" else None  # of tables and texts the whole epoch
    ready = list(itertools.islice(job.batches(1, 0), steps))
    epoch_of(job, lambda: iter(ready))
    found = compared(
        lambda: epoch_of(job, lambda: itertools.islice(job.batches(2, 0), steps)),
        lambda: epoch_of(job, lambda: iter(ready)),
        rounds,
    )
    over, low, high = (1 / found[key] for key in ("times_faster", "high", "low"))
    feeds = [processed(lambda: [None for _ in itertools.islice(job.batches(2, 0), steps)]) for _ in range(rounds)]
    trained = [processed(lambda: epoch_of(job, lambda: iter(ready))) for _ in range(rounds)]
    fed = 1 + median_interval(feeds)[0] / median_interval(trained)[0]
    return {
        "over_ready": over,
        "low": low,
        "high": high,
        "cpu_over_ready": fed,
        "seconds": found["seconds"],
        "rows": len(job.prepared.train),
    }


READER = """
import sys
from pathlib import Path
from isograd.workbench.data.pieces import parquet_pieces
def peak(): return 1024 * next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
def rows(path): return sum(len(piece) for piece in parquet_pieces(Path(path), memory=int(sys.argv[3])))
rows(sys.argv[1])  # libraries are loaded as they are first used
open("/proc/self/clear_refs", "w").write("5")  # a process inherits the peak of the one that started it
first = peak()
print(rows(sys.argv[2]), peak() - first)
"""


DEALER = """
import sys, threading, time
from pathlib import Path
from isograd.workbench.data import EncodingPlan, SplitPlan, batches, prepare
def held(): return 1024 * next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon"))
def dealt(path):
    found = prepare(path, base=Path(), task="classification", target="label", split=SplitPlan(validation=0.1, test=0.1),
        seed=0, cache=Path(path + " cache"), memory=64, encode_as=EncodingPlan(vocabulary=100))
    return sum(len(targets) for _, targets in batches(found.train, seed=0, epoch=1, batch_size=256))
dealt(sys.argv[1])
first, peak, done = held(), [0], threading.Event()
def look():
    while not done.wait(0.005): peak[0] = max(peak[0], held())
thread = threading.Thread(target=look)
thread.start()
rows = dealt(sys.argv[2])
done.set()
thread.join()
print(rows, peak[0] - first)
"""


def parquet(folder: Path) -> dict[str, Any]:
    """Peak memory of a process while it reads a file of ``TIMES`` times ``LIMIT`` in pieces, above what it had."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, small, size, draw = folder / "large.parquet", folder / "small.parquet", 0, np.random.default_rng(0)
    schema = pa.schema([("text", pa.string()), ("number", pa.float64()), ("label", pa.string())])
    known = np.array([draw.bytes(3).hex() for _ in range(5000)])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        while size < TIMES * LIMIT:
            words = [" ".join(row) for row in known[draw.integers(0, len(known), (20_000, 143))]]
            label = draw.integers(0, 2, 20_000)
            columns = {"text": words, "number": draw.normal(size=20_000) + label, "label": np.array(["a", "b"])[label]}
            written = pa.table(columns, schema=schema)
            writer.write_table(written)
            size += 20_000 * 1008
    pq.write_table(written.slice(0, 200), small)
    command = [sys.executable, "-c", READER, str(small), str(path), str(LIMIT)]
    began = time.perf_counter()
    rows, peak = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    seconds = time.perf_counter() - began
    found = {"rows": rows, "file_bytes": size, "limit_bytes": LIMIT, "peak_bytes": peak, "seconds": seconds}
    began = time.perf_counter()
    command = [sys.executable, "-c", DEALER, str(small), str(path)]
    dealt, held = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    return {**found, "dealt_rows": dealt, "dealt_peak_bytes": held, "dealt_seconds": time.perf_counter() - began}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="leave out the Parquet file of 800 MB")
    parser.add_argument("--only", nargs="*", default=[], help="measure these anew; all other results stay as they are")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    auto = '[augment]\npolicy = "auto"\n'
    known = RESULTS / "data_throughput.json"
    found = json.loads(known.read_text())["result"] if chosen.only and known.exists() else {"against": {}, "epochs": {}}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for one in (pictures, texts, tables):
            if not chosen.only or one.__name__ in chosen.only:
                found["against"][one.__name__] = one(folder / one.__name__, chosen.rounds)
        for name, more in [*((name, "") for name in PROJECTS), *((name, auto) for name in list(PROJECTS)[:4])]:
            if not chosen.only or name in chosen.only:
                case = name + ", augmented" * bool(more)
                found["epochs"][case] = epochs(folder / name, name, chosen.rounds, more)
        if "parquet" in chosen.only or not (chosen.only or chosen.quick):
            found["parquet"] = parquet(folder)
            print(found["parquet"])
    shown = ("rows", "seconds", "ordinary_seconds", "times_faster", "low", "high")
    print(table([(name, *(one[key] for key in shown)) for name, one in found["against"].items()], ("what", *shown)))
    figures = ("rows", "seconds", "over_ready", "low", "high", "cpu_over_ready")
    print(table([(name, *(one.get(key, "") for key in figures)) for name, one in found["epochs"].items()], ("epoch", *figures)))
    write("data_throughput", found)


if __name__ == "__main__":
    main()
