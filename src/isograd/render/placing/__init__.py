"""Place edits in a person's own source where exactly one place can be meant; every other byte stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from isograd.records.edit import OFF, Edit

Lines = tuple[int, int]
"""First and last line of what is meant, from 1."""


class UncertainError(Exception):
    """The program has what an edit is about, and it cannot be said with certainty which place is meant."""


@dataclass(frozen=True, slots=True)
class Change:
    """Edits in source files: the texts as they would be, by the names of the files; ``left`` could not be placed."""

    texts: Mapping[str, str]
    placed: tuple[Edit, ...]
    left: tuple[Edit, ...]


def placed(source: str, edit: Edit, line: Lines | None = None) -> str | None:
    r"""The source with the edit in it, or None where it is not certain where it belongs.

    Certain is: exactly one place does what the edit is about, every name in between is bound once, and the literal that stands
    there is the present value (``edit.before``). ``line`` (first and last) says which of several places is meant. The rest of
    the text stays byte for byte.

    >>> source = "import torch\nopt = torch.optim.SGD(net.parameters(), lr=10.0)  # why?"
    >>> print(placed(source, Edit("learning_rate", 0.1, before=10.0)))
    import torch
    opt = torch.optim.SGD(net.parameters(), lr=0.1)  # why?
    >>> placed(source.replace("10.0", "rate()"), Edit("learning_rate", 0.1)) is None
    True
    """
    try:
        return _tried(source, edit, line)
    except UncertainError:
        return None


def change_of(
    sources: Mapping[str, str], edits: Sequence[Edit], lines: Mapping[Edit, tuple[str, Lines]] | None = None
) -> Change:
    """Each edit in the one file where it can be placed; what may belong in two files belongs in none.

    Residual paths go first: a normalisation belongs inside of them, behind the layer whose output they add to.

    ``lines``: file and lines that an edit is about, where that is known. Without libcst every edit is left.
    """
    texts, done, left, usual = dict(sources), list[Edit](), list[Edit](), dict[str, float]()
    if not can_place():
        return Change(texts, (), tuple(edits))
    for edit in sorted(edits, key=lambda one: one.kind != "residual"):
        file, line = (lines or {}).get(edit, ("", None))
        found: dict[str, str] = {}
        now = replace(edit, before=usual[edit.kind]) if edit.kind in usual else edit
        try:
            for name in [file] if file in texts else texts:
                still = texts[name].count("\n") == sources[name].count("\n")  # after an inserted line no number is right
                new = _tried(texts[name], now, line if name == file and still else None)
                if new is not None:
                    found[name] = new
        except UncertainError:
            found = {}
        if len(found) == 1:
            texts.update(found)
            done.append(edit)
            usual = _constants(edit) if edit.kind == "optimizer" else usual
        else:
            left.append(edit)
    return Change(texts, tuple(done), tuple(left))


def _constants(edit: Edit) -> dict[str, float]:
    """What a new optimizer has just been given: the values that are there before the next edit."""
    from isograd.render.placing.arguments import usual_of

    return usual_of(str(edit.value))


def can_place() -> bool:
    """Whether libcst, which reads a source without losing a byte, is installed."""
    try:
        import libcst  # noqa: F401
    except ImportError:
        return False
    return True


def _tried(source: str, edit: Edit, line: Lines | None) -> str | None:
    """The new source; None where the file has nothing of the kind, ``UncertainError`` where the place is not certain."""
    from isograd.render.placing.source import program_of

    perform = _handlers().get(edit.kind)
    if perform is None or edit.value == OFF:
        raise UncertainError(f"{edit.kind} is not placed")
    program = program_of(source)
    splices = perform(program, edit, line)
    if splices is None:
        return None
    text = program.spliced(splices)
    program_of(text)  # what is written can be read again
    return None if text == source else text


def _handlers() -> dict[str, Callable[..., list[tuple[int, int, str]] | None]]:
    from isograd.render.placing import arguments, functions, layers, paths, statements

    constants = dict.fromkeys(("learning_rate", "momentum", "beta1", "beta2", "eps", "weight_decay"), arguments.constant)
    return {
        **constants,
        "optimizer": arguments.another,
        "batch_size": arguments.batch_size,
        "shuffle": arguments.shuffle,
        "dropout": arguments.dropout,
        "norm_first": arguments.norm_first,
        "clear_gradients": statements.clear_gradients,
        "train_mode": statements.train_mode,
        "clip_norm": statements.clip,
        "clip_value": statements.clip,
        "constant_rate": statements.constant_rate,
        "unfreeze": statements.unfreeze,
        "parameters": statements.parameters,
        "keep_graph": statements.keep_graph,
        "activation": functions.activation,
        "last": functions.last,
        "loss": functions.loss,
        "nonlinearity": functions.nonlinearity,
        "initialisation": functions.initialisation,
        "normalisation": functions.normalisation,
        "cell": layers.cell,
        "forget_bias": layers.forget_bias,
        "residual": paths.residual,
    }
