"""Where things are: the path of a module, the name of a parameter, the line of the person's program."""

from __future__ import annotations

import ast
import contextlib
import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

_TORCH = str(Path(torch.__file__).parent) + os.sep
_OURS = str(Path(__file__).parents[2]) + os.sep
_INSTALLED = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")})
FILES = 4
"""Files of the program, innermost first, that are read for a call at most."""
_HOOKS = str(Path(__file__).with_name("hooks.py"))


@dataclass(frozen=True, slots=True)
class Place:
    """A parameter with its full name and the path of the module that holds it."""

    name: str
    layer: str
    parameter: nn.Parameter


def unwrapped(model: nn.Module) -> nn.Module:
    """The person's module inside the wrappers of ``torch.compile`` and of data parallelism."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def is_compiled(models: Sequence[nn.Module]) -> bool:
    """Whether ``torch.compile`` is at work in this program: on a model, or on a function that we cannot see.

    Our hooks would be traced into what it makes, or make it compile again; its kernels are not those of the eager program,
    so running one step eagerly would be another training.
    """
    if any(getattr(module, "_compiled_call_impl", None) is not None for model in models for module in model.modules()):
        return True
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    return dynamo is not None and any(backend is not None for backend in dynamo.cached_backends.values())


def _joined(prefix: str, path: str) -> str:
    return f"{prefix}.{path}" if prefix and path else prefix or path


def modules_of(models: Sequence[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """Every module once with its path; with several models a path begins with the model's position: "1.encoder.2"."""
    for position, model in enumerate(models):
        prefix = str(position) if len(models) > 1 else ""
        for path, module in unwrapped(model).named_modules():
            yield _joined(prefix, path), module


def places_of(models: Sequence[nn.Module]) -> tuple[Place, ...]:
    """Every parameter once, in order; a tied one under its first name."""
    seen: set[int] = set()
    places = []
    for path, module in modules_of(models):
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                places.append(Place(_joined(path, name), path, parameter))
    return tuple(places)


def tensors_in(something: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and mappings."""
    if isinstance(something, Tensor):
        yield something
    elif isinstance(something, tuple | list):
        for item in something:
            yield from tensors_in(item)
    elif isinstance(something, dict):
        for item in something.values():
            yield from tensors_in(item)


def is_persons(frame: FrameType) -> bool:
    """Whether a frame is neither torch's nor ours."""
    return not frame.f_code.co_filename.startswith((_TORCH, _OURS, "<"))


_INSTEAD: list[str | None] = []
"""Lines that calls of ours stand for, the innermost last."""


@contextlib.contextmanager
def standing_for(line: str | None) -> Iterator[None]:
    """What is called in here is called by us in place of what the program called at ``line``."""
    _INSTEAD.append(line)
    try:
        yield
    finally:
        _INSTEAD.pop()


def persons_line() -> str | None:
    """File and line of the innermost frame that is neither torch's nor ours: "train.py:41"; nothing where we are the caller.

    Where we call in place of the program (``standing_for``), it is the line of what we stand for.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, "<", _HOOKS)):  # one watch may be inside another
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(_OURS):
        return _INSTEAD[-1] if _INSTEAD else None
    return f"{_shown(frame.f_code.co_filename)}:{frame.f_lineno}"


@cache
def _shown(name: str) -> str:
    """A file as a person should read it: from the folder that the program was started in, else its bare name."""
    try:
        return Path(name).relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return Path(name).name


def line_of_call(name: str, keyword: str, value: object) -> str | None:
    """The line of the one call of ``name`` in the innermost file of the program that has any, by its text.

    Nothing where several calls may be meant, or where the number that is written for ``keyword`` there is another one.
    """
    frame: FrameType | None = sys._getframe(1)
    files: list[str] = []
    while frame is not None and len(files) < FILES:
        file = frame.f_code.co_filename
        if is_persons(frame) and file not in files and not file.startswith(_INSTALLED):
            files.append(file)
        frame = frame.f_back
    calls, file = next(((found, file) for file in files if (found := _calls(file, name))), ((), ""))
    if len(calls) != 1:
        return None
    line, written = calls[0]
    return f"{_shown(file)}:{line}" if written.get(keyword) in (None, value) else None


@lru_cache(64)
def _calls(file: str, name: str) -> tuple[tuple[int, dict[str, float]], ...]:
    """Lines of the calls of ``name`` in a file, and the numbers that are written for their keywords."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError, RecursionError):
        return ()
    called = [one for one in ast.walk(tree) if isinstance(one, ast.Call)]
    return tuple(
        (
            one.lineno,
            {
                part.arg: part.value.value
                for part in one.keywords
                if part.arg and isinstance(part.value, ast.Constant) and isinstance(part.value.value, int | float)
            },
        )
        for one in called
        if getattr(one.func, "attr", getattr(one.func, "id", "")) == name
    )


def persons_sites(depth: int) -> tuple[tuple[int, int], ...]:
    """Where the program stands, innermost first: code and place in it of so many frames that are neither torch's nor ours."""
    frame: FrameType | None = sys._getframe(1)
    found: list[tuple[int, int]] = []
    while frame is not None and len(found) < depth:
        if is_persons(frame):
            found.append((id(frame.f_code), frame.f_lasti))
        frame = frame.f_back
    return tuple(found)
