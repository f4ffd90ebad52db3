"""Dropout that ``model.eval()`` does not end: called as a function that is not told the mode, or made anew in the pass.

``F.dropout(x, 0.5)`` is on by default, and a layer that no module holds never hears of the mode. Whether the program sees to it
in another way is read from the source of the functions that run: where one of them so much as speaks of training, or hands on a
third argument, nothing is said.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FrameType

from torch import nn

from isograd.frameworks.torch.places import is_persons

FUNCTIONS = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"})
METHODS = 6
"""Functions of the program, from within outwards, that may see to the mode."""
SAYING = 3
"""Arguments of a dropout of which the last is the mode."""
_MODES = re.compile(r"train|eval|sampl|monte|mc_|bayes", re.IGNORECASE)


def stays() -> bool:
    """Whether nothing in the functions that run now, up to the model's own, speaks of the mode of the dropout being called."""
    running = list(_running())
    return bool(running) and not any(_speaks(code) for code in running)


def _running() -> Iterator[CodeType]:
    """The innermost function of the program, and the methods of modules that called it."""
    frame: FrameType | None = sys._getframe(1)
    found = 0
    while frame is not None and found < METHODS:
        if is_persons(frame):
            if found and not isinstance(frame.f_locals.get("self"), nn.Module):
                return
            found += 1
            yield frame.f_code
        frame = frame.f_back


@lru_cache(maxsize=256)
def _speaks(code: CodeType) -> bool:
    """Whether a function's source speaks of a mode, or gives a dropout all its arguments; also where it cannot be read."""
    if code.co_name == "<module>":
        return True
    try:
        source = textwrap.dedent(inspect.getsource(code))
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except (OSError, SyntaxError, TypeError, ValueError):
        return True
    said = any(len(call.args) >= SAYING and "dropout" in ast.unparse(call.func).lower() for call in calls)
    return said or _MODES.search(source) is not None
