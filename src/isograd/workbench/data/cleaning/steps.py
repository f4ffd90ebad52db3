"""The steps by name: what each does to a table, whether it learns from training rows, and whether it drops rows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isograd.errors import DataError, did_you_mean
from isograd.records.schema import CleaningStep
from isograd.workbench.data.cleaning.expression import names_in, value_of
from isograd.workbench.data.columns import Cells, Codes, Flags, Floats, Numbers, Words, as_labels, as_numbers, as_words
from isograd.workbench.data.doubts.columns import bounds_of, far_off
from isograd.workbench.data.doubts.texts import repaired
from isograd.workbench.data.features import category_counts
from isograd.workbench.data.lexicon import Lexicon
from isograd.workbench.data.spilled import edited, lexicon_of
from isograd.workbench.data.table import Table, with_columns
from isograd.workbench.data.targets import find_column

OTHER = "other"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
Change = tuple[dict[str, Cells], Flags]
"""The columns after a step, and which rows it touched."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a step is: ``change`` its columns, or (``drops``) which rows go; ``takes`` says what stands behind its name.

    ``takes``: "" nothing, "column" name:column, "argument" name:column=argument. ``learn`` fits it on training rows.
    """

    help: str
    takes: str
    change: Callable[[Table, CleaningStep], Change] | None = None
    learn: Callable[[Table, CleaningStep], CleaningStep] | None = None

    @property
    def drops(self) -> bool:
        """Whether it drops rows, which only training data does."""
        return self.change is None


def parse_step(written: str) -> CleaningStep:
    """A step as a person writes it: "drop_duplicates", "clip_outliers:age", "derive:bmi=weight / height ** 2".

    Raises ``DataError`` for a name that is no step (with a did-you-mean), and for too much or too little behind it.

    >>> parse_step("blank:age=-999")
    CleaningStep(name='blank', column='age', argument='-999', low=None, high=None, values=())
    """
    name, colon, rest = (part.strip() for part in written.partition(":"))
    if name not in STEPS:
        raise DataError(f"there is no step {name!r}", met=", ".join(STEPS), remedy=did_you_mean(name, STEPS))
    takes = STEPS[name].takes
    column, equals, argument = (part.strip() for part in (rest.partition("=") if name == "derive" else _last(rest, takes)))
    given = "argument" if equals and argument else "column" if column else ""
    if given != takes or (colon and not column):
        how = {"": name, "column": f"{name}:column", "argument": f"{name}:column=..."}[takes]
        raise DataError(f"the step {written!r} does not fit", met=STEPS[name].help, remedy=how)
    step = CleaningStep(name, column, argument)
    if name in _CHECKS:
        _CHECKS[name](step)
    return step


def _last(rest: str, takes: str) -> tuple[str, str, str]:
    if takes != "argument":
        return rest, "", ""
    column, equals, argument = rest.rpartition("=")
    return (column, equals, argument) if equals else (rest, "", "")


def written(step: CleaningStep) -> str:
    """A step as a person writes it; the opposite of ``parse_step``."""
    tail = f"={step.argument}" if step.argument else ""
    return f"{step.name}:{step.column}{tail}" if step.column else step.name


def change(table: Table, step: CleaningStep) -> tuple[Table, int]:
    """The table after a step that changes values, and how many rows it touched."""
    do = STEPS[step.name].change
    assert do is not None
    columns, touched = do(table, step)
    return with_columns(table, columns), int(touched.sum())


def _column(table: Table, step: CleaningStep) -> Cells:
    return find_column(table, step.column, written(step))


def _numbers(table: Table, step: CleaningStep) -> Floats:
    values, wrong = as_numbers(_column(table, step))
    if wrong.mean() > 0.5:
        raise DataError(f"{written(step)}: column {step.column!r} holds words, not numbers", where=table.where)
    return values


def _with(table: Table, name: str, cells: Cells) -> dict[str, Cells]:
    return {**table.columns, name: cells}


def _all(table: Table) -> Flags:
    return np.ones(len(table), dtype=np.bool_)


def _drop_column(table: Table, step: CleaningStep) -> Change:
    _column(table, step)
    return {name: cells for name, cells in table.columns.items() if name != step.column}, _all(table)


def _rename(table: Table, step: CleaningStep) -> Change:
    _column(table, step)
    if step.argument in table.columns:
        raise DataError(f"{written(step)}: there is a column {step.argument!r} already", where=table.where)
    return {(step.argument if name == step.column else name): cells for name, cells in table.columns.items()}, _all(table)


def _cast(table: Table, step: CleaningStep) -> Change:
    cells = _column(table, step)
    if step.argument == "number":
        values, wrong = as_numbers(cells)
        return _with(table, step.column, Numbers(values)), wrong
    return _with(table, step.column, as_words(cells)), np.full(len(table), isinstance(cells, Numbers))


def _blank(table: Table, step: CleaningStep) -> Change:
    cells = _column(table, step)
    if isinstance(cells, Numbers):
        hit = cells.values == float(step.argument) if _is_float(step.argument) else np.zeros(len(table), dtype=np.bool_)
        return _with(table, step.column, Numbers(np.where(hit, np.nan, cells.values))), hit
    number = float(step.argument) if _is_float(step.argument) else None
    same = [
        word == step.argument or (number is not None and _is_float(word) and float(word) == number) for word in cells.values
    ]
    found = np.array([*same, False])[cells.codes]
    return _with(table, step.column, Words(np.where(found, -1, cells.codes), cells.values)), found


def _log(table: Table, step: CleaningStep) -> Change:
    values = _numbers(table, step)
    return _with(table, step.column, Numbers(np.sign(values) * np.log1p(np.abs(values)))), ~np.isnan(values)


def _power(table: Table, step: CleaningStep) -> Change:
    values = _numbers(table, step)
    with np.errstate(over="ignore", divide="ignore"):
        raised = np.sign(values) * np.abs(values) ** float(step.argument)
    return _with(table, step.column, Numbers(np.where(np.isfinite(raised), raised, np.nan))), ~np.isnan(values)


def _derive(table: Table, step: CleaningStep) -> Change:
    if step.column in table.columns:
        raise DataError(f"{written(step)}: there is a column {step.column!r} already", where=table.where)
    names = names_in(step.argument)
    columns = {name: as_numbers(find_column(table, name, written(step)))[0] for name in names}
    return _with(table, step.column, Numbers(value_of(step.argument, columns, len(table)))), _all(table)


def _on_words(edit: Callable[[str], str]) -> Callable[[Table, CleaningStep], Change]:
    def change_words(table: Table, step: CleaningStep) -> Change:
        cells = as_words(_column(table, step))
        words, places, touched = (edited if isinstance(cells.values, Lexicon) else _edited_here)(cells.values, edit)
        codes = np.append(places, -1)[cells.codes]
        return _with(table, step.column, Words(codes, words)), np.append(touched, False)[cells.codes]

    return change_words


def _edited_here(words: Iterable[str], edit: Callable[[str], str]) -> tuple[Sequence[str], Codes, Flags]:
    """The same in memory as ``edited`` on disk, equal words once."""
    known: dict[str, int] = {}
    changed = [(edit(word), word) for word in words]
    places = np.array([known.setdefault(new, len(known)) for new, _ in changed], dtype=np.int64)
    return tuple(known), places, np.array([new != old for new, old in changed], dtype=np.bool_)


def without_markup(text: str) -> str:
    """A text without HTML tags, its entities as letters.

    >>> without_markup("Tom &amp; Jerry<br />again")
    'Tom & Jerry again'
    """
    import html

    return " ".join(html.unescape(_TAG.sub(" ", text)).split())


def _clip(table: Table, step: CleaningStep) -> Change:
    values = _numbers(table, step)
    assert step.low is not None and step.high is not None
    clipped = np.clip(values, step.low, step.high)
    return _with(table, step.column, Numbers(clipped)), (clipped != values) & ~np.isnan(values)


def _learn_bounds(table: Table, step: CleaningStep) -> CleaningStep:
    values = _numbers(table, step)
    there = values[~np.isnan(values)]
    if not len(there):
        raise DataError(f"{written(step)}: column {step.column!r} has no number to learn from", where=table.where)
    within = there[~far_off(there)]
    low, high = bounds_of(there) if len(within) == len(there) else (float(within.min()), float(within.max()))
    return replace(step, low=low, high=high)


def _impute(table: Table, step: CleaningStep) -> Change:
    cells = _column(table, step)
    gaps: Flags = as_labels(cells).codes < 0
    filled: Cells
    if step.low is not None:
        values = as_numbers(cells)[0]
        gaps = np.isnan(values)
        filled = Numbers(np.where(gaps, step.low, values))
    else:
        words = as_words(cells)
        more = itertools.chain(words.values, step.values[:1])
        known: Sequence[str] = lexicon_of(more)[0] if isinstance(words.values, Lexicon) else tuple(more)
        filled = Words(np.where(gaps, len(words.values), words.codes), known)
    columns = _with(table, step.column, filled)
    return {**columns, f"{step.column} missing": Numbers(gaps.astype(np.float64))}, gaps


def _learn_filling(table: Table, step: CleaningStep) -> CleaningStep:
    cells = _column(table, step)
    if step.argument in ("median", "mean"):
        values = _numbers(table, step)
        if np.isnan(values).all():
            raise DataError(f"{written(step)}: column {step.column!r} has no number to learn from", where=table.where)
        return replace(step, low=float(np.nanmedian(values) if step.argument == "median" else np.nanmean(values)))
    if step.argument == "most_frequent":
        labels = as_labels(cells)
        there = labels.codes[labels.codes >= 0]
        if not len(there):
            raise DataError(f"{written(step)}: column {step.column!r} has no value to learn from", where=table.where)
        return replace(step, values=(labels.values[int(np.bincount(there).argmax())],))
    numeric = isinstance(cells, Numbers) and _is_float(step.argument)
    return replace(step, low=float(step.argument)) if numeric else replace(step, values=(step.argument,))


def _group_rare(table: Table, step: CleaningStep) -> Change:
    labels = as_labels(_column(table, step))
    kept = set(step.values)
    known = {word: place for place, word in enumerate((*step.values, OTHER))}
    where = np.array([*(known[word] if word in kept else known[OTHER] for word in labels.values), -1], dtype=np.int64)
    rare = np.array([*(word not in kept for word in labels.values), False])
    return _with(table, step.column, Words(where[labels.codes], tuple(known))), rare[labels.codes]


def _learn_frequent(table: Table, step: CleaningStep) -> CleaningStep:
    labels = as_labels(_column(table, step))
    there: Codes = labels.codes[labels.codes >= 0]
    counts = category_counts(Words(there, labels.values)) if len(there) else {}
    return replace(step, values=tuple(word for word, count in counts.items() if count >= int(step.argument) and word != OTHER))


def _is_float(word: str) -> bool:
    try:
        return float(word) == float(word)
    except ValueError:
        return False


def _needs(test: Callable[[str], bool], said: str) -> Callable[[CleaningStep], None]:
    def check(step: CleaningStep) -> None:
        if not test(step.argument):
            raise DataError(f"the step {written(step)!r} does not fit", met=step.argument, remedy=said)

    return check


_CHECKS: dict[str, Callable[[CleaningStep], object]] = {
    "cast": _needs(lambda word: word in ("number", "category"), "cast:column=number (or category)"),
    "power": _needs(lambda word: _is_float(word) and 0 < float(word) <= 10, "power:column=0.5"),
    "group_rare": _needs(
        lambda word: word.isdecimal() and int(word) > 0, "group_rare:column=20, the fewest rows of a category"
    ),
    "derive": lambda step: names_in(step.argument),
}
STEPS: dict[str, Step] = {
    "drop_duplicates": Step("drop rows that repeat another, label included", ""),
    "drop_near_duplicates": Step("keep one of rows that differ in what hardly matters", ""),
    "drop_crossing_duplicates": Step("drop rows of other parts whose inputs are in the training part", ""),
    "drop_conflicts": Step("drop rows whose inputs have several labels", ""),
    "drop_missing": Step("drop rows without a value in the column", "column"),
    "drop_silent": Step("drop recordings that are never above -60 dB", ""),
    "trim_silence": Step("cut silence off both ends of recordings", ""),
    "drop_column": Step("leave a column out", "column", _drop_column),
    "rename": Step("give a column another name", "argument", _rename),
    "cast": Step("read a column as number (what is none becomes a gap) or as category", "argument", _cast),
    "blank": Step("turn a value that stands for a gap into one", "argument", _blank),
    "log": Step("sign(x) log(1 + |x|)", "column", _log),
    "power": Step("sign(x) |x| ** p", "argument", _power),
    "derive": Step("a new column by an expression of others", "argument", _derive),
    "repair_encoding": Step("turn letters that went through the wrong encoding back", "column", _on_words(repaired)),
    "strip_markup": Step("take HTML tags and entities out", "column", _on_words(without_markup)),
    "strip_control": Step(
        "take control characters out", "column", _on_words(lambda text: " ".join(_CONTROL.sub(" ", text).split()))
    ),
    "clip_outliers": Step("bring values far from all others to the nearest that is not", "column", _clip, _learn_bounds),
    "impute": Step("fill gaps (median, mean, most_frequent or a value) and mark them", "argument", _impute, _learn_filling),
    "group_rare": Step("put categories with few training rows together as other", "argument", _group_rare, _learn_frequent),
}
