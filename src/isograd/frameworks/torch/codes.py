"""What a program's own functions do, as bytes: a journal must not speak for a step, a loss or a forward that was changed."""

from __future__ import annotations

import functools
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import nn

_OURS = str(Path(__file__).parents[2])
_NOT_THEIRS = (_OURS, "<frozen", *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))
_SCALARS = (int, float, complex, str, bytes, type(None))


def code_of(*given: Any) -> Iterator[bytes]:
    """Instructions and constants of functions, of the classes of objects, and of what these name in the person's own files.

    Comments and blank lines do not count. Arguments of a partial and the settings of a loss module are told as well. Other
    objects that a function names (a list, a counter) are not looked into: the program may write to them.

    >>> one, other = (lambda x: x + 1), (lambda x: x + 2)
    >>> list(code_of(one)) == list(code_of(one)), list(code_of(one)) == list(code_of(other))
    (True, False)
    """
    known = set[int]()
    for one in given:
        yield from _of(one, known)


def theirs(one: Any) -> bool:
    """Whether a function was written by the person: not isograd's, and of no library that is installed."""
    return isinstance(one, FunctionType) and not one.__code__.co_filename.startswith(_NOT_THEIRS)


def _of(one: Any, known: set[int]) -> Iterator[bytes]:
    if id(one) in known:
        return
    known.add(id(one))
    if isinstance(one, functools.partial):
        yield repr([(key, value) for key, value in sorted(one.keywords.items()) if isinstance(value, _SCALARS)]).encode()
        yield repr([value for value in one.args if isinstance(value, _SCALARS)]).encode()
        yield from _of(one.func, known)
    elif isinstance(one, MethodType):
        yield from _of(one.__func__, known)
    elif isinstance(one, FunctionType):
        yield from _function(one, known)
    elif isinstance(one, type):
        yield from _class(one, known)
    elif isinstance(one, nn.Module):
        for part in one.modules():
            settings = {key: value for key, value in vars(part).items() if isinstance(value, _SCALARS) and key != "training"}
            yield repr(sorted(settings.items())).encode()
            yield from _of(type(part), known)
    else:
        yield from _of(type(one), known)


def _function(one: FunctionType, known: set[int]) -> Iterator[bytes]:
    """The function itself, and the functions and classes that it names; of ours that wrap one only what they hold."""
    held = [cell.cell_contents for cell in one.__closure__ or () if _filled(cell)]
    file = one.__code__.co_filename
    if not file.startswith(_NOT_THEIRS):
        yield from _instructions(one.__code__)
        yield repr([value for value in one.__defaults__ or () if isinstance(value, _SCALARS)]).encode()
        held += [one.__globals__[name] for name in sorted(names(one.__code__)) if name in one.__globals__]
    elif not file.startswith(_OURS):
        return
    for other in held:
        if isinstance(other, FunctionType | MethodType | functools.partial | type):
            yield from _of(other, known)


def _class(one: type, known: set[int]) -> Iterator[bytes]:
    yield one.__qualname__.encode()
    for base in one.__mro__:
        for value in vars(base).values():
            if isinstance(value, FunctionType) and not value.__code__.co_filename.startswith(_NOT_THEIRS):
                yield from _of(value, known)


def _instructions(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr((code.co_names, code.co_varnames, code.co_freevars)).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _instructions(constant)
        else:
            yield repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant).encode()


def names(code: CodeType) -> set[str]:
    """What the instructions of a function, and of those inside it, look up by name."""
    inner = (names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*inner)


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
