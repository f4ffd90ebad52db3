"""The device, the threads and the random states that a training borrows, and what has to be recorded of them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import random
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np
import torch

from isograd.errors import RequestError
from isograd.records.run import Environment
from isograd.workbench.train.recipe import Recipe

_LIBRARIES = ("torch", "numpy", "safetensors", "onnxruntime")


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with this machine's device for "auto" and its cores for 0 threads, or as many as OMP_NUM_THREADS allows.

    Raises ``RequestError`` where the device that was asked for is not here.

    >>> resolved(Recipe(device="cpu", threads=2)).threads
    2
    """
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    device = recipe.device
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if here[name])
    if not here[device]:
        present = ", ".join(name for name, found in here.items() if found)
        raise RequestError(
            f"there is no {device} on this machine", where="device", met=f"devices: {present}", remedy='device = "auto"'
        )
    return replace(recipe, device=device, threads=recipe.threads or _cores())


def _cores() -> int:
    """The cores that this process may use; fewer where OMP_NUM_THREADS says so, as numerical libraries do."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdecimal() and int(asked) else cores


def environment(recipe: Recipe) -> Environment:
    """What must be the same for the same bits: versions, device, threads, seed."""
    here = resolved(recipe)
    versions = []
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append((name, importlib.metadata.version(name)))
    return Environment(
        isograd=importlib.metadata.version("isograd"),
        python=platform.python_version(),
        platform=platform.platform(),
        device=here.device,
        threads=here.threads,
        seed=here.seed,
        libraries=tuple(versions),
    )


@contextlib.contextmanager
def borrowed(recipe: Recipe) -> Iterator[None]:
    """Set threads, seeds and repeatable kernels; afterwards all is as the person had it."""
    threads, states, cudnn = torch.get_num_threads(), random_states(recipe.device), torch.backends.cudnn
    flags = cudnn.benchmark, cudnn.deterministic
    try:
        torch.set_num_threads(recipe.threads)
        cudnn.benchmark, cudnn.deterministic = False, True
        random.seed(recipe.seed)
        np.random.seed(recipe.seed % 2**32)  # a person's own transforms may draw from it
        torch.manual_seed(recipe.seed)
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = flags
        torch.set_num_threads(threads)
        set_random_states(states, recipe.device)


def random_states(device: str) -> dict[str, torch.Tensor]:
    """The states of the generators of Python, NumPy, torch on the CPU and torch on ``device``, as tensors."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    states = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor([version, *words], dtype=torch.int64),
        "python.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.from_numpy(np.append(np.asarray(keys, dtype=np.int64), [position, has_gauss])),
        "numpy.gauss": torch.tensor([cached], dtype=torch.float64),
    }
    if name != "MT19937":  # somebody replaced NumPy's global generator: it is not ours to restore
        del states["numpy"], states["numpy.gauss"]
    if device == "cuda":
        states["cuda"] = torch.cuda.get_rng_state()
    elif device == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: Mapping[str, torch.Tensor], device: str) -> None:
    """Put all generators back into the states that ``random_states`` gave."""
    version, *words = states["python"].tolist()
    gauss = states["python.gauss"].tolist()
    random.setstate((version, tuple(words), gauss[0] if gauss else None))
    if "numpy" in states:
        *keys, position, has_gauss = states["numpy"].tolist()
        cached = states["numpy.gauss"].item()
        np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if device == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])
    elif device == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


class Stop:
    """Whether somebody asked to stop; read between two steps."""

    requested = False


@contextlib.contextmanager
def interruptible() -> Iterator[Stop]:
    """Turn the first Ctrl-C into a request to stop between two steps; a second one interrupts at once."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> Any:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield stop  # another thread, or a person with a handler of their own
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
