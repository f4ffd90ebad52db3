"""Leave things as they were: random streams, buffers and modes around something that we run."""

from __future__ import annotations

import contextlib
import logging
import random
import sys
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import nn


@contextlib.contextmanager
def same_random_streams() -> Iterator[None]:
    """Torch's streams (every initialised device's), Python's and NumPy's go on afterwards as if nothing had been drawn."""
    python, numpy = random.getstate(), sys.modules.get("numpy.random")
    drawn = numpy.get_state() if numpy is not None else None
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            if numpy is not None and drawn is not None:
                numpy.set_state(drawn)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within, the streams of torch, Python and NumPy begin at ``seed``; afterwards they go on as if nothing had been drawn."""
    with same_random_streams():
        torch.manual_seed(seed)
        random.seed(seed)
        numpy = sys.modules.get("numpy.random")
        if numpy is not None:
            numpy.seed(seed % 2**32)
        yield


@contextlib.contextmanager
def untouched(models: Sequence[nn.Module]) -> Iterator[None]:
    """Random streams, buffers and training modes of ``models`` are afterwards what they were before."""
    modules = [module for model in models for module in model.modules()]
    buffers = [(module, dict(module._buffers)) for module in modules]
    values = {id(b): (b, b.detach().clone()) for _, own in buffers for b in own.values() if b is not None}
    modes = [module.training for module in modules]
    with same_random_streams():
        try:
            yield
        finally:
            for module, own in buffers:
                module._buffers.clear()
                module._buffers.update(own)
            with torch.no_grad():
                for buffer, value in values.values():
                    if not torch.equal(buffer, value):
                        buffer.copy_(value)
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode


def say_that_we_stop(error: Exception, what: str = "stopped watching because of an error of its own") -> None:
    """Report an error of ours, as a warning and to the log of the standard library."""
    text = f"isograd {what}; the training goes on: {type(error).__name__}: {error}"
    logging.getLogger("isograd").warning(text, exc_info=error)
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    except RuntimeWarning:  # the person's filter makes an error of it, which must not reach the loop
        return
