"""The grounds of foretelling: random configurations, each checked before it is trained under a watch; readings and outcome.

    python benchmarks/foretell.py --steps 400 --count 800
    python benchmarks/foretell.py --steps 4000 --count 60
    python benchmarks/foretell.py --steps 4000 --again        the thin probe alone, where it has changed

One line of ``.benchmarks/foretell/<steps>.jsonl`` a configuration (skill on examples apart at some shares of the run, costs)
and beside it the traces, so that new readings need no new training. What is there already is not done again.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import isograd
from faults import skill
from foretelling.data import Data, load
from foretelling.networks import Config, Loss, build, draw, optimizer_of
from isograd.frameworks.torch import probing
from isograd.frameworks.torch.patient import TorchPatient
from isograd.health import risk
from isograd.records import codec
from isograd.records.trace import Trace

FOLDER = Path(__file__).parent.parent / ".benchmarks" / "foretell"
MARKS = (0.02, 0.125, 0.25, 0.5, 1.0)


def drawn(c: Config) -> tuple[Data, tuple[Tensor, Tensor], nn.Module, Loss, torch.optim.Optimizer, Any]:
    """Data, examples to learn from, network, loss, optimizer and first batch of a configuration."""
    data = load(c["data"], c["family"])
    inputs, targets = data.train[0] * c["scale"], data.train[1]
    net, loss = build(c, data), Loss(data.classes, c["squared"])
    loader = DataLoader(TensorDataset(inputs, targets), c["batch"], shuffle=True, drop_last=True, generator=torch.Generator())
    loader.generator.manual_seed(c["seed"] + 1)
    return data, (inputs, targets), net, loss, optimizer_of(c, net), next(iter(loader))


def tried(c: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """The row of a configuration, and what was recorded: check, probe, watch."""
    data, train, net, loss, optimizer, batch = drawn(c)
    record: dict[str, Any] = {}
    times = [time.process_time()]
    patient = TorchPatient.copy_of(net, batch, loss, optimizer)
    trace = replace(patient.observe([batch] * 2, 2), planned_steps=c["steps"])
    times.append(time.process_time())
    record["check"], record["probe"] = trace, probing.probe(patient, trace, c["steps"], deep=True)
    times.append(time.process_time())
    watching = isograd.watch(net, optimizer, loss=loss, steps=c["steps"])
    times.append(time.process_time())
    skills, gone = _trained(c, net, loss, optimizer, train, data, watching)
    times.append(time.process_time())
    record["watch"] = watching.trace
    check, deep, _, run = (b - a for a, b in itertools.pairwise(times))
    costs = {"check": check, "deep": deep, "run": run, "watched": watching.meter.own_seconds, "judged": gone}
    return c | {"skills": skills, "seconds": costs, "share": record["probe"].share}, record


def again(row: dict[str, Any]) -> dict[str, Any]:
    """The row of a configuration with the thin probe as it is now; nothing else is done anew."""
    _, _, net, loss, optimizer, batch = drawn(row)
    documents = recorded(row["steps"], row["index"])
    patient = TorchPatient.copy_of(net, batch, loss, optimizer)
    began = time.process_time()
    probe = probing.probe(patient, codec.from_document(Trace, documents["check"]), row["steps"], deep=True)
    costs = row["seconds"] | {"deep": time.process_time() - began}
    _keep(row["steps"], row["index"], documents | {"probe": codec.to_document(probe)})
    return row | {"seconds": costs, "share": probe.share}


def _trained(
    c: Config,
    net: nn.Module,
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: tuple[Tensor, Tensor],
    data: Data,
    watch: Any,
) -> tuple[list[float], float]:
    """Skill on examples apart at ``MARKS``, and the seconds that judging took; the watch leaves after its last look."""
    marks = [max(1, round(share * c["steps"])) for share in MARKS]
    last, skills, gone = risk.look_at(risk.LOOKS[-1], c["steps"]), list[float](), 0.0
    net.train()
    with contextlib.ExitStack() as watched:
        watched.enter_context(watch)
        for step, rows in enumerate(_batches(c, len(train[0])), 1):
            optimizer.zero_grad()
            loss(net(train[0][rows]), train[1][rows]).backward()
            optimizer.step()
            if step in marks:
                began = time.process_time()
                skills.append(_judged(c, net, data))
                gone += time.process_time() - began
            if step == last:
                watched.close()
    return skills, gone


def _batches(c: Config, count: int) -> Iterator[Tensor]:
    order = torch.Generator().manual_seed(c["seed"] + 2)
    size, left = min(c["batch"], count), c["steps"]
    while left:
        shuffled = torch.randperm(count, generator=order)
        for start in range(0, count - size + 1, size):
            yield shuffled[start : start + size]
            left -= 1
            if not left:
                return


def _judged(c: Config, net: nn.Module, data: Data) -> float:
    net.eval()
    with torch.no_grad():
        outputs = net(data.test[0] * c["scale"])
    net.train()
    return (skill.of_classes if data.classes else skill.of_numbers)(outputs, data.test[1])


def _path(steps: int, index: int) -> Path:
    return FOLDER / f"{steps}" / f"{index}.json.gz"


def recorded(steps: int, index: int) -> dict[str, Any]:
    """What was recorded of a configuration, as documents that ``codec`` reads."""
    with gzip.open(_path(steps, index), "rt", encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def _keep(steps: int, index: int, documents: dict[str, Any]) -> None:
    with gzip.open(_path(steps, index), "wt", encoding="utf-8", compresslevel=4) as file:
        json.dump(documents, file)


def rows(steps: int) -> list[dict[str, Any]]:
    """The rows so far."""
    path = FOLDER / f"{steps}.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def main() -> None:
    """Go on with the grounds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--count", type=int, default=800)
    parser.add_argument("--again", action="store_true")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    if wanted.again:
        lines = [json.dumps(again(row)) + "\n" for row in rows(wanted.steps)]
        (FOLDER / f"{wanted.steps}.jsonl").write_text("".join(lines), encoding="utf-8")
        (FOLDER / "signs.json").unlink(missing_ok=True)
        return
    (FOLDER / f"{wanted.steps}").mkdir(parents=True, exist_ok=True)
    done = {row["index"] for row in rows(wanted.steps)}
    for index in range(wanted.count):
        if index in done:
            continue
        row, record = tried(draw(index, wanted.steps))
        _keep(wanted.steps, index, {name: codec.to_document(one) for name, one in record.items()})
        with (FOLDER / f"{wanted.steps}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
