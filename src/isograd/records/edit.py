"""A change of a program as data: a small closed set that every door can perform."""

from __future__ import annotations

from dataclasses import dataclass

EDITS = {
    "learning_rate": "set the learning rate of every parameter group to `value`",
    "clip_norm": "clip the gradient to the total norm `value` before each step; no value: do not clip",
    "initialisation": "draw the weights again: `value` is he, glorot, lecun or orthogonal",
    "activation": "use the activation `value` instead of the present one",
}
"""What can be done, by ``Edit.kind``. A new kind is a line here and a line in every door; the conformance suite holds it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: its kind (a key of ``EDITS``), its new value, and where ("" is everywhere it applies).

    ``before`` is the value it replaces, where that is known: the inverse is the edit with both swapped. ``keeps_weights``
    says whether what was learned survives.
    """

    kind: str
    value: float | str | None
    where: str = ""
    before: float | str | None = None
    keeps_weights: bool = True

    def __post_init__(self) -> None:
        if self.kind not in EDITS:
            raise ValueError(f"no edit is called {self.kind!r}; there are {', '.join(EDITS)}")

    @property
    def inverse(self) -> Edit:
        """The edit that takes this one back (a drawn weight does not come back: only its distribution does).

        >>> Edit("learning_rate", 0.1, before=10.0).inverse.value
        10.0
        """
        return Edit(self.kind, self.before, self.where, self.value, self.keeps_weights)
