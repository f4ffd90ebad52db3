"""An exception out of a training step as a fact: its text, the person's line, the module that was running, what led there."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from isograd.frameworks.torch.breaking import stained
from isograd.frameworks.torch.losses import is_plain
from isograd.frameworks.torch.places import _OURS, _TORCH, modules_of, places_of, tensors_in
from isograd.records.anatomy import Scalar
from isograd.records.fact import Fact

DEEP = 4
"""Innermost frames among whose tensors one that is not finite is looked for."""
TEXT = 600
"""Characters kept of a message."""
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_WANTS = (
    "in_features",
    "in_channels",
    "input_size",
    "num_features",
    "num_embeddings",
    "normalized_shape",
    "embed_dim",
)
InPlace = tuple[tuple[int, ...], str | None]
"""Shape of a tensor that was changed in place, and the line that did it."""


def raised(
    error: BaseException,
    models: Sequence[nn.Module] = (),
    seen: Iterable[Fact] = (),
    changes: Sequence[InPlace] = (),
) -> Fact | None:
    """The fact of an exception, or nothing for what is no error (Ctrl-C, an end of a generator).

    ``seen`` are the facts of the step under way, ``changes`` the tensors changed in place in it. Holds text alone.

    >>> raised(KeyboardInterrupt()) is None
    True
    """
    if not isinstance(error, Exception) or isinstance(error, StopIteration):
        return None
    frames = list(_frames(error.__traceback__))
    message = str(error)[:TEXT]
    module, path = _running(frames, models)
    settings: dict[str, Scalar] = {"type": type(error).__name__, "message": message, "own": _is_own(frames)}
    if module is not None:
        settings["module"] = type(module).__name__
        settings["wants"] = next((f"{name} {getattr(module, name)}" for name in _WANTS if hasattr(module, name)), "")
    settings |= _leads(message, models, list(seen), changes) | _not_a_number(message, frames)
    return Fact("raised", path, _line(frames), tuple((key, value) for key, value in settings.items() if value != ""))


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _is_persons(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return not file.startswith((_TORCH, _OURS, "<frozen", "<string", *_LIBRARIES))


def _is_own(frames: Sequence[tuple[FrameType, int]]) -> bool:
    """Whether the program raised it itself, by a ``raise`` of its own: then no call of a library failed.

    What fails in torch's own C++ ends in a Python frame of the program as well; there the instruction is a call or an operator.
    """
    if not frames or not _is_persons(frames[-1][0]):
        return not frames
    frame, line = frames[-1]
    return _text(frame, line).lstrip().startswith(("raise", "assert"))


def _text(frame: FrameType, line: int) -> str:
    import linecache

    return linecache.getline(frame.f_code.co_filename, line, frame.f_globals)


def _line(frames: Sequence[tuple[FrameType, int]]) -> str | None:
    for frame, line in reversed(frames):
        if _is_persons(frame):
            file = Path(frame.f_code.co_filename)
            try:
                shown = file.relative_to(Path.cwd()).as_posix()
            except (ValueError, OSError):
                shown = file.name
            return f"{shown}:{line}"
    return None


def _running(frames: Sequence[tuple[FrameType, int]], models: Sequence[nn.Module]) -> tuple[nn.Module | None, str]:
    """The innermost module whose ``forward`` was running, and its path in the watched models, or in the outermost module."""
    running = [frame.f_locals.get("self") for frame, _ in frames if frame.f_code.co_name == "forward"]
    modules = [one for one in running if isinstance(one, nn.Module) and not isinstance(one, nn.modules.loss._Loss)]
    if not modules:
        return None, ""
    known = {id(module): path for path, module in modules_of(models or modules[:1])}
    for module in reversed(modules):
        if id(module) in known:
            return module, known[id(module)]
    return modules[-1], ""


def _leads(message: str, models: Sequence[nn.Module], seen: Sequence[Fact], changes: Sequence[InPlace]) -> dict[str, Scalar]:
    """What was seen that explains the exception."""
    if "second time" in message or "Saved intermediate values" in message:
        carried = next((fact.where for fact in seen if fact.kind == "state_carried" and fact.get("graph", False)), "")
        return {"carried": carried, "holder": next(_holders(models), "")}
    if "inplace operation" in message:
        found = re.search(r"\[[\w.]+ \[([\d, ]*)\]\]", message)
        shape = tuple(int(n) for n in found[1].split(",") if n.strip()) if found else ()
        line = next((source for size, source in reversed(changes) if size == shape and source), "")
        weights = (p.name for p in places_of(models) if tuple(p.parameter.shape) in (shape, shape[::-1]))
        return {"inplace": line, "weight": "" if line else next(weights, "")}
    if "does not have a grad_fn" in message:
        left = next((fact for fact in seen if fact.kind == "detached"), None)
        return {"left": f"{left.get('operation', '')} at {left.source}" if left and left.source else ""}
    return {}


def _not_a_number(message: str, frames: Sequence[tuple[FrameType, int]]) -> dict[str, Scalar]:
    """Of an exception about the range of some numbers: whether a tensor in sight holds NaN, and which variable of the batch."""
    if "should be between 0 and 1" not in message:
        return {}
    inner = [frame.f_locals for frame, _ in reversed(frames)]
    held = [tensor for variables in inner[:DEEP] for tensor in tensors_in(list(variables.values()))]
    there = [tensor for tensor in held if tensor.is_floating_point() and tensor.ndim and is_plain(tensor)]
    if not any(bool(torch.isnan(tensor.detach()).any()) for tensor in there):
        return {}
    theirs = [frame.f_locals for frame, _ in reversed(frames) if _is_persons(frame)]
    found = stained(theirs, max((len(tensor) for tensor in there), default=0))
    return {"nan": f"{found['name']} holds {found['count']} such numbers" if found else "not in the batch"}


def _holders(models: Sequence[nn.Module]) -> Iterator[str]:
    """Attributes of modules that hold a tensor with a graph: states kept over batches."""
    for path, module in modules_of(models):
        for name, value in vars(module).items():
            if not name.startswith("_") and any(_has_graph(tensor) for tensor in tensors_in(value)):
                yield f"{path}.{name}".lstrip(".")


def _has_graph(tensor: Any) -> bool:
    return isinstance(tensor, Tensor) and tensor.grad_fn is not None
