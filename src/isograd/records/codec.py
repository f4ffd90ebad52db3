"""Records to JSON and back: one strict, generic translation with a format name and version, for every record."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from typing import Any, TypeVar

from isograd.errors import DamagedError

VERSION = 1
"""Version of the JSON form; it rises when a reader of the old form would misread the new one."""

Record = TypeVar("Record")
_ODD = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_document(record: Any) -> dict[str, Any]:
    """A record as a JSON document that names its format: ``{"format": "isograd.Moments", "version": 1, "record": ...}``.

    Numbers that JSON lacks become the strings "NaN", "Infinity" and "-Infinity"; a text that reads like one of them gets a "="
    in front, so that it stays a text.
    """
    return {"format": f"isograd.{type(record).__name__}", "version": VERSION, "record": _plain(record)}


def from_document(kind: type[Record], document: Any) -> Record:
    """The record that ``document`` holds.

    A field that has a default may be absent: an older isograd, which did not know it, left it out. Raises ``DamagedError`` for
    another format, a newer version, any other missing field, an unknown one, or a value of another type.
    """
    if not isinstance(document, dict) or document.get("format") != f"isograd.{kind.__name__}":
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise DamagedError(f"expected a document of format isograd.{kind.__name__}, found {found!r}")
    version = document.get("version")
    if version != VERSION:
        raise DamagedError(
            f"this {kind.__name__} has format version {version!r}; this isograd reads version {VERSION}",
            remedy="use the isograd that wrote it, or a newer one",
        )
    return typing.cast(Record, _typed(kind, document.get("record"), kind.__name__))


def dumps(record: Any) -> str:
    """One line of JSON text.

    >>> from isograd.records.edit import Edit
    >>> loads(Edit, dumps(Edit("clip_norm", 1.0))).value
    1.0
    """
    return json.dumps(to_document(record), allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def loads(kind: type[Record], text: str) -> Record:
    """The record in a JSON text; raises ``DamagedError`` where it is not one."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"not a JSON document: {error}") from error
    return from_document(kind, document)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str) and value.lstrip("=") in _ODD:
        return f"={value}"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a record holds plain values and tuples, not {type(value).__name__}")


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@functools.cache
def _required(kind: type) -> frozenset[str]:
    """The fields that have no default."""
    fields, missing = dataclasses.fields(kind), dataclasses.MISSING
    return frozenset(field.name for field in fields if field.default is missing and field.default_factory is missing)


def _typed(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _one_of(typing.get_args(kind), value, where)
    if origin is typing.Literal:
        if value in typing.get_args(kind):
            return value
        raise DamagedError(f"{where}: {value!r} is not one of {typing.get_args(kind)}")
    if origin is tuple:
        return _tuple(typing.get_args(kind), value, where)
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, where)
    if kind is float:
        if isinstance(value, str) and value in _ODD:
            return _ODD[value]
        if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)):
            return float(value)
    elif kind is type(None):
        if value is None:
            return None
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value[1:] if kind is str and value.startswith("=") and value.lstrip("=") in _ODD else value
    raise DamagedError(f"{where}: expected {getattr(kind, '__name__', kind)}, found {value!r:.60}")


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    # The exact type first, so that 1 stays an int and True a bool where a float would do as well.
    if isinstance(value, str) and float in kinds and value in _ODD:
        return _ODD[value]
    for kind in kinds:
        if isinstance(kind, type) and type(value) is kind:
            return _typed(kind, value, where)
    for kind in kinds:
        try:
            return _typed(kind, value, where)
        except DamagedError:
            continue
    raise DamagedError(f"{where}: {value!r:.60} is none of {', '.join(str(kind) for kind in kinds)}")


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise DamagedError(f"{where}: expected a list, found {value!r:.60}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_typed(kinds[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(kinds) != len(value):
        raise DamagedError(f"{where}: expected {len(kinds)} values, found {len(value)}")
    return tuple(_typed(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))


def _record(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise DamagedError(f"{where}: expected an object, found {value!r:.60}")
    hints = _hints(kind)
    odd, absent = sorted(set(value) - {field.name for field in dataclasses.fields(kind)}), sorted(_required(kind) - set(value))
    if odd or absent:
        raise DamagedError(f"{where}: unknown fields {odd}, missing fields {absent}")
    try:
        return kind(**{name: _typed(hints[name], held, f"{where}.{name}") for name, held in value.items()})
    except ValueError as error:
        raise DamagedError(f"{where}: {error}") from error
