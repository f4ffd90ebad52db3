"""One setting of a family of networks, as data: type, default, bounds, help, and what a value has to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["integer", "integers", "number", "choice"]


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its kind, default and help; ``least`` and ``most`` bound numbers, ``choices`` list words.

    A default of None means that the setting may be left out. ``most`` itself is excluded for a "number".
    """

    kind: Kind
    default: int | float | str | tuple[int, ...] | None
    help: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What a value has to be, in words.

        >>> Option("number", 0.0, "share of units that are dropped", least=0, most=1).expected
        'a number, at least 0, below 1'
        """
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        words = {"integer": "a whole number", "integers": "a list of whole numbers", "number": "a number"}[self.kind]
        least = "" if self.least is None else f", {'each ' if self.kind == 'integers' else ''}at least {self.least:g}"
        most = "" if self.most is None else f", {'below' if self.kind == 'number' else 'at most'} {self.most:g}"
        return words + least + most

    def accepts(self, value: Any) -> bool:
        """Whether ``value`` is of the right type and within bounds."""
        if value is None:
            return self.default is None
        if self.kind == "choice":
            return value in self.choices if isinstance(value, str) else False
        if self.kind == "integers":
            return isinstance(value, list | tuple) and len(value) > 0 and all(self._whole(item) for item in value)
        if self.kind == "integer":
            return self._whole(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (self.least is None or value >= self.least) and (self.most is None or value < self.most)

    def _whole(self, value: Any) -> bool:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
