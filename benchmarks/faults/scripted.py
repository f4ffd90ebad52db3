"""Programs that are whole scripts, and faults as edits of their text; the faulty script is written to a file and imported."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from faults.operators import FOURTH, THIRD, operator
from faults.settings import PROGRAMS, Lot, Program, Watch

FOLDER = Path(__file__).parent / "scripts"
WRITTEN = Path(__file__).resolve().parents[2] / ".benchmarks" / "scripts"
"""Where the texts that are trained are written."""


@dataclass(frozen=True)
class Script:
    """The text of a program, healthy or with a fault in it; ``since`` is the first step at which the fault acts."""

    name: str
    text: str
    since: int = 1

    def shortened(self) -> Script:
        """The same for one epoch."""
        return Script(self.name, re.sub(r"(?m)^EPOCHS = \d+", "EPOCHS = 1", self.text), self.since)


Edit = Callable[[Script], dict[str, Any]]


def swap(*pairs: tuple[str, str], having: str = "", since: int = 1) -> Edit:
    """Every match of each pattern replaced; where one of them matches nothing, or nothing changes, the edit does not apply.

    ``having`` is a pattern that the text has to hold besides.

    >>> swap(("x", "y"), since=3)(Script("", "x = 1"))
    {'text': 'y = 1', 'since': 3}
    >>> swap(("x", "y"), ("z", "y"))(Script("", "x = 1"))
    {}
    """

    def edit(script: Script) -> dict[str, Any]:
        text = script.text
        if not re.search(having, text, re.MULTILINE):
            return {}
        for pattern, replacement in pairs:
            text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
            if not count:
                return {}
        return {"text": text, "since": since} if text != script.text else {}

    return edit


def either(*edits: Edit) -> Edit:
    """The first of the edits that applies.

    >>> either(swap(("z", "y")), swap(("x", "y")))(Script("", "x = 1"))["text"]
    'y = 1'
    """
    return lambda script: next((change for edit in edits if (change := edit(script))), {})


def slip(name: str, family: str, source: str, kinds: str = "", /, **strengths: Edit) -> None:
    """Enter an operator of edits into the third lot."""
    operator(name, family, THIRD, source, kinds, **strengths)


def fresh_slip(name: str, family: str, source: str, kinds: str = "", /, **strengths: Edit) -> None:
    """Enter an operator of edits into the fourth lot."""
    operator(name, family, FOURTH, source, kinds, **strengths)


def script(name: str, kinds: str, lot: Lot = THIRD) -> None:
    """Enter a script of the folder into the list of programs; its name is one of its kinds."""
    text = (FOLDER / f"{name}.py").read_text("utf-8")
    honours = frozenset(["text", "since"])
    PROGRAMS[name] = Program(name, lot, Script(name, text), frozenset([name, *kinds.split()]), honours, train)


def train(chosen: Script, seed: int, watch: Watch) -> float:
    """Run a script."""
    return float(_imported(chosen.name, chosen.text).main(seed, watch))


def _imported(name: str, text: str) -> ModuleType:
    """The text as a module of its own file, so that a finding can name its lines and a person can read them."""
    title = f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    path = WRITTEN / f"{title}.py"
    if not path.exists():
        WRITTEN.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    spec = importlib.util.spec_from_file_location(title, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    module = sys.modules[title] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
