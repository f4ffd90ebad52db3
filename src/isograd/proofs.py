"""What a person holds of a proof: its record, the change as a diff, and the ways to show and to apply it."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from isograd.errors import ModelError, RequestError
from isograd.records import codec
from isograd.records import proof as records
from isograd.records.cause import Explanation
from isograd.records.edit import EDITS, Edit
from isograd.render.placing import Change, Lines

Place = tuple[str, Lines]
"""A file, and the first and the last line in it."""


class Proof:
    """A repair and what became of it, as a person holds it. Printing it gives the page of text.

    >>> proof = Proof(records.Proof("not proven", (), "nothing", True))
    >>> proof.verdict, proof.edits, proof.diff
    ('not proven', (), '')
    """

    def __init__(
        self,
        record: records.Proof,
        sources: Mapping[str, str] | None = None,
        diff: str | None = None,
        places: Mapping[str, Place] | None = None,
    ) -> None:
        self.record = record
        self._sources, self._places = dict(sources or {}), dict(places or {})
        self._diff = diff

    @property
    def verdict(self) -> records.Verdict:
        """What is held of the change: "proven", "not proven" or "harmful"."""
        return self.record.verdict

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The smallest change that was found; what was tried at last where it is not proven."""
        return self.record.edits

    @property
    def cause(self) -> Explanation | None:
        """What an experiment found to be to blame; None where none was made."""
        return self.record.cause

    @property
    def change(self) -> Change:
        """The edits in the person's source files, as far as their places are certain."""
        from isograd.render.placing import change_of

        said = {edit: self._places[part] for edit in self.edits if (part := EDITS[edit.kind].part) in self._places}
        return change_of(self._sources, self.edits, said | _lines_of(self._sources, self.cause))

    @property
    def diff(self) -> str:
        """The change as a unified diff of the person's own source, and as lines to write where the place is not certain."""
        if self._diff is None:
            self._diff = diff_of(self.change, self._sources)
        return self._diff

    def apply(self, model: Any) -> Any:
        """The model with the proven edits in it: a copy, or the model itself where no edit concerns it.

        Edits of the optimizer, the loop or the data are not in a model: a warning names them. An optimizer made before holds
        the parameters of the old model. Raises ``RequestError`` where nothing is proven, ``ModelError`` where the model cannot
        be changed.
        """
        if not self.edits:
            return model
        if self.verdict != "proven":
            raise RequestError(
                f"the change is {self.verdict}, and is not applied",
                remedy="proof.diff shows it, to be made by hand all the same",
            )
        if "torch" not in sys.modules:
            raise ModelError("there is no torch model to apply it to")
        model, left = importlib.import_module("isograd.frameworks.torch.remodelling").remodelled(model, self.edits)
        if left:
            warnings.warn(f"not in the model, and to be done beside it: {_told(left)}", UserWarning, stacklevel=2)
        return model

    def to_json(self) -> str:
        """The record as one line of JSON that names its format and version."""
        return codec.dumps(self.record)

    def to_html(self) -> str:
        """One self-contained page with the paired curves."""
        from isograd.render import pairs

        return pairs.proof_page(self.record, self.diff)

    def figure(self) -> Any:
        """A matplotlib figure of the pairs."""
        from isograd.render import figure

        return figure.pairs(self.record)

    def __str__(self) -> str:
        from isograd.render import proof

        return proof.text(self.record, self.diff)

    def __repr__(self) -> str:
        return f"<isograd proof: {self.verdict if self.edits else 'nothing to change'}>"


def _told(edits: Sequence[Edit]) -> str:
    return "; ".join(f"{edit.text} ({EDITS[edit.kind].part})" for edit in edits)


def diff_of(change: Change, sources: Mapping[str, str]) -> str:
    r"""A change as a diff of the sources, and the exact lines to write for the edits whose place is not certain.

    >>> from isograd.render.placing import Change, Lines
    >>> print(diff_of(Change({}, (), (Edit("clip_norm", 1.0),)), {}), end="")
    # clip the gradient to the total norm 1 before each step
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1)  # right before optimizer.step()
    """
    from isograd.render.diff import unified
    from isograd.render.placing.lines import lines_of, names_in

    names = names_in(sources)
    parts = [unified(sources, change.texts), *(lines_of(edit, names) + "\n" for edit in change.left)]
    return "\n".join(part for part in parts if part)


def _lines_of(sources: Mapping[str, str], cause: Explanation | None) -> dict[Edit, Place]:
    """The line that an edit is about, where the search for the cause saw it."""
    found: dict[Edit, Place] = {}
    told = [] if cause is None else [(one.edit, one.source) for one in cause.causes]
    told += [] if cause is None else [(one.edit, one.source) for one in cause.tried]
    for edit, source in told:
        name, _, line = (source or "").rpartition(":")
        files = [file for file in sources if Path(file).name == Path(name).name]
        if line.isdigit() and len(files) == 1:
            found.setdefault(edit, (files[0], (int(line), int(line))))
    return found


def places_of(**given: Any) -> dict[str, Place]:
    """Where the parts of a program are written: file and lines of the functions that were given for them.

    Keys are the parts that edits change: ``optimizer`` its factory, ``loop`` the step function, ``model``, ``loss``.
    """
    found: dict[str, Place] = {}
    for part, one in given.items():
        try:
            lines, first = inspect.getsourcelines(_unwrapped(one))
        except (TypeError, OSError):
            continue
        file = next(_files_of(one), None)
        if file is not None:
            found[part] = (_short(file), (first, first + len(lines) - 1))
    return found


def sources_of(*given: Any) -> dict[str, str]:
    """The texts of the person's own files that functions, classes and objects were written in, by their paths.

    With a function come the classes and functions that it names. What is installed or typed at a prompt is left out. Paths
    are relative to the working directory where they are inside of it.
    """
    found: dict[str, str] = {}
    named = [other for one in given if one is not None for other in (one, *_named_by(one))]
    for file in dict.fromkeys(path for one in named for path in _files_of(one)):
        try:
            with open(file, encoding="utf-8", newline="") as opened:
                text = opened.read()
        except (OSError, UnicodeDecodeError):
            continue
        found[_short(file)] = text
    return found


def _short(file: Path) -> str:
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)


_INSTALLED = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")})
_OURS = Path(__file__).resolve().parent


def _named_by(given: Any) -> list[Any]:
    """The classes and functions that a function names: a factory's network stands in a file of its own, often."""
    try:
        known = inspect.getclosurevars(_unwrapped(given))
    except (TypeError, ValueError):
        return []
    every = (*known.nonlocals.values(), *known.globals.values())
    return [one for one in every if inspect.isclass(one) or inspect.isfunction(one)]


def _unwrapped(given: Any) -> Any:
    while hasattr(given, "__wrapped__") or isinstance(given, functools.partial):
        given = given.func if isinstance(given, functools.partial) else given.__wrapped__
    return given


def _files_of(given: Any) -> Iterator[Path]:
    """The files of a function, a class, a module, or of an object's class; of a network also those of its layers."""
    given = _unwrapped(given)
    plain = inspect.isroutine(given) or inspect.isclass(given) or inspect.ismodule(given)
    layers = {type(one) for one in given.modules()} if not plain and callable(getattr(given, "modules", None)) else set()
    for one in (given if plain else type(given), *layers):
        try:
            name = inspect.getsourcefile(one)
        except (TypeError, OSError):
            continue
        path = Path(name).resolve() if name else None
        if path is not None and path.is_file() and not any(path.is_relative_to(place) for place in (*_INSTALLED, _OURS)):
            yield path
