"""Print the tree of the source from the first lines of the modules' docstrings."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "isograd"


def first_line(file: Path) -> str:
    """The first line of a module's docstring, without its full stop."""
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return docstring.split("\n")[0].rstrip(".")


def tree(folder: Path = SOURCE, depth: int = 0) -> list[str]:
    """One line a folder and a module: its name, and what its docstring says first."""
    opening = folder / "__init__.py"
    lines = [_line(f"{folder.name}/", first_line(opening) if opening.exists() else "", depth)]
    entries = sorted(folder.iterdir(), key=lambda entry: (entry.is_dir(), entry.name))
    for entry in entries:
        if entry.is_dir() and (any(entry.glob("*.py"))):
            lines += tree(entry, depth + 1)
        elif entry.suffix == ".py" and entry.name != "__init__.py":
            lines.append(_line(entry.name, first_line(entry), depth + 1))
    return lines


def _line(name: str, text: str, depth: int) -> str:
    return f"{'  ' * depth + name:<28} {text}".rstrip()


if __name__ == "__main__":
    sys.stdout.write("\n".join(tree()) + "\n")
