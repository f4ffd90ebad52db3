"""No trace: every kind of loop, plain and watched, compared bit for bit in weights, buffers, optimizers and random streams.

    python benchmarks/no_trace.py
    python benchmarks/no_trace.py --kinds GAN "DDP, two processes"

Each kind runs plain twice (it has to agree with itself) and watched three times: every step measured, at the default budget,
and two watches one in the other, with a trace file and a function that is told of findings. The loops of the tests
(``tests/frameworks/torch/torch_loops.py``) are run here too. Compiled programs and ranks run in processes of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import inspect
import random
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import isograd
from common import table, write
from no_trace_loops import LOOPS

TESTS = Path(__file__).resolve().parents[1] / "tests" / "frameworks" / "torch"
PROGRAMS = Path(__file__).resolve().parent / "no_trace_programs.py"
MODES = ("everything", "budget", "nested")

KINDS: dict[str, list[str]] = {
    "GAN": ["GAN with two optimizers"],
    "closure (LBFGS)": ["LBFGS"],
    "accumulation": ["gradient accumulation"],
    "bfloat16 autocast": ["bfloat16 autocast", "bfloat16 weights"],
    "GradScaler, a skipped step": ["gradient scaler", "gradient scaler, fused"],
    "shared and tied": ["shared and tied modules"],
    "checkpointed activations, both modes": ["checkpoint, not reentrant", "checkpoint, reentrant"],
    "in-place operations": [
        "in-place operations on outputs and on views of them",
        "convolutions, batch norm, dropout, in-place ReLU",
    ],
    "evaluation in between": ["evaluation in between"],
    "parameter group added, optimizer replaced": ["parameter groups and layers added", "optimizer replaced"],
    "sparse gradients": ["sparse gradients"],
    "hooks of others": ["hooks of others"],
    "functional calls, vmap": ["vmap of grad"],
    "gradient penalty": ["gradient penalty"],
}
"""Names of the table and the loops of the tests that stand for them; those of ``no_trace_loops`` come after."""

PROCESSES = {
    "torch.compile, eager": ["compiled", "eager"],
    "torch.compile, aot_eager": ["compiled", "aot_eager"],
    "torch.compile, inductor": ["compiled", "inductor"],
    "torch.compile, inductor, autocast": ["compiled autocast", "inductor"],
    "DDP, two processes": ["ranks", "ddp"],
    "DDP with accumulation, two processes": ["ranks", "ddp accumulating"],
    "FSDP2, two processes": ["ranks", "fsdp"],
}


def watching(mode: str, folder: Path, watches: list[Any]) -> Callable[..., Any]:
    """What a loop gets as ``watch`` in one of the modes; "plain" watches nothing."""

    @contextlib.contextmanager
    def watch(models: Any, *optimizers: Any) -> Any:
        with contextlib.ExitStack() as stack:
            for level in range({"plain": 0, "nested": 2}.get(mode, 1)):
                extra: dict[str, Any] = {}
                if mode == "nested":
                    extra["trace"] = folder / f"trace{level}.jsonl"
                    if "on_finding" in inspect.signature(isograd.watch).parameters:
                        extra["on_finding"] = lambda finding: None
                budget = 0.03 if mode == "budget" else None
                watches.append(isograd.watch(models, optimizers or None, budget=budget, **extra))
                stack.enter_context(watches[-1])
            yield watches[-1] if watches else None

    return watch


def numbers(value: Any) -> Any:
    """Everything that can be compared in what a loop leaves, as bytes and words."""
    if isinstance(value, torch.Tensor):
        dense = (value.detach().to_dense() if value.layout != torch.strided else value.detach()).contiguous()
        content = dense.view(-1).view(torch.uint8).numpy().tobytes() if dense.numel() else b""
        return [str(dense.dtype), tuple(dense.shape), content]
    if isinstance(value, torch.nn.Module):
        gradients = [p.grad for p in value.parameters()]
        return numbers([*value.state_dict().values(), *gradients])
    if isinstance(value, torch.optim.Optimizer):
        return numbers(value.state_dict())
    if isinstance(value, dict):
        return [[str(key), numbers(one)] for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [numbers(one) for one in value]
    return repr(value)


def ended(loop: Callable[[Any], Any], mode: str) -> tuple[str, str]:
    """A hash of all that a loop leaves in that mode, and our own error if one ended the watching."""
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    watches: list[Any] = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        left = loop(watching(mode, Path(folder), watches))
    streams = [torch.get_rng_state(), repr(random.getstate()), repr(np.random.get_state())]
    errors = [str(one.message) for one in caught if str(one.message).startswith("isograd")]
    assert mode == "plain" or watches[-1].meter.steps > 0, "the watch saw no step"
    return hashlib.sha256(repr([numbers(left), numbers(streams)]).encode()).hexdigest(), errors[0] if errors else ""


def compared(loops: Sequence[Callable[[Any], Any]]) -> dict[str, str]:
    """Same, DIFFERENT or our own error, for each way of watching; plain differs if a loop does not even repeat itself."""
    verdict = dict.fromkeys(MODES, "same")
    for loop in loops:
        plain = ended(loop, "plain")[0]
        if ended(loop, "plain")[0] != plain:
            return dict.fromkeys(MODES, "plain differs")
        for mode in MODES:
            end, error = ended(loop, mode)
            if end != plain:
                verdict[mode] = "DIFFERENT"
            elif error:
                verdict[mode] = error[:200]
    return verdict


def in_processes(arguments: list[str]) -> dict[str, str]:
    """The same for a program of ``no_trace_programs.py``."""
    ends: dict[str, list[str]] = {}
    errors_of: dict[str, str] = {}
    for mode in ("plain", *MODES):
        with tempfile.TemporaryDirectory() as folder:
            ranks = 2 if arguments[0] == "ranks" else 1
            command = [sys.executable, str(PROGRAMS), *arguments, mode, folder]
            started = [
                subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for rank in range(ranks)
            ]
            done = [process.communicate(timeout=900) for process in started]
        if any(process.returncode for process in started):
            return dict.fromkeys(MODES, "failed: " + done[0][1].strip().split("\n")[-1][:200])
        ends[mode] = [out for out, _ in done]
        errors = [line for _, err in done for line in err.split("\n") if "isograd stopped" in line]
        if errors:
            ends[mode], errors_of[mode] = errors, errors[0][:200]
    return {mode: "same" if ends[mode] == ends["plain"] else errors_of.get(mode, "DIFFERENT") for mode in MODES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*KINDS, *LOOPS, "the rest of the tests' loops", *PROCESSES]
    parser.add_argument("--kinds", nargs="+", choices=names, default=names, metavar="KIND", help=f"of {', '.join(names)}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, str(TESTS))
    tested = importlib.import_module("torch_loops").LOOPS
    rest = [loop for name, loop in tested.items() if not any(name in one for one in KINDS.values())]
    loops: dict[str, list[Any]] = {kind: [tested[name] for name in found] for kind, found in KINDS.items()}
    loops |= {**LOOPS, "the rest of the tests' loops": rest}
    results: dict[str, dict[str, str]] = {}
    for kind in options.kinds:
        results[kind] = in_processes(PROCESSES[kind]) if kind in PROCESSES else compared(loops[kind])
        print(kind, results[kind], flush=True)
    if options.kinds == names:
        write("no_trace", {kind: found | {"loops": len(loops.get(kind, [0]))} for kind, found in results.items()})
    print(table([(kind, *found.values()) for kind, found in results.items()], ("kind of loop", *MODES)))


if __name__ == "__main__":
    main()
