"""What each value does to small healthy references: written by benchmarks/harm.py, not by hand."""

from __future__ import annotations

DEPTHS = (2, 5)
WIDTHS = (8, 64)
NUMBERS: dict[str, dict[str, tuple[tuple[float, float], ...]]] = {}
WORDS: dict[str, dict[str, dict[str, float]]] = {}
