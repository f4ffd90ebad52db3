"""Compute a column from others by an expression that can do arithmetic and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

import numpy as np

from isograd.errors import DataError, did_you_mean
from isograd.workbench.data.columns import Floats

LONGEST = 500
_TWO: dict[type[ast.operator], Callable[[Floats, Floats], Floats]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
    ast.Mod: np.mod,
}
FUNCTIONS: dict[str, tuple[int, Callable[..., Floats]]] = {
    "log": (1, np.log),
    "exp": (1, np.exp),
    "sqrt": (1, np.sqrt),
    "abs": (1, np.abs),
    "floor": (1, np.floor),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
}


def names_in(expression: str) -> tuple[str, ...]:
    """The columns that an expression uses; raises ``DataError`` for anything but arithmetic on columns and numbers.

    >>> names_in("weight / height ** 2 + log(age)")
    ('weight', 'height', 'age')
    """
    found: dict[str, None] = {}
    _check(_parsed(expression), found, expression)
    return tuple(found)


def value_of(expression: str, columns: Mapping[str, Floats], rows: int) -> Floats:
    """The expression for each row, float64; NaN where it has no finite value.

    >>> value_of("a / b", {"a": np.array([1.0, 1.0]), "b": np.array([2.0, 0.0])}, 2).tolist()
    [0.5, nan]
    """
    with np.errstate(all="ignore"):
        value = np.broadcast_to(_value(_parsed(expression), columns), (rows,)).astype(np.float64)
    return np.where(np.isfinite(value), value, np.nan)


def _parsed(expression: str) -> ast.expr:
    if len(expression) > LONGEST:
        raise DataError(f"an expression has at most {LONGEST} characters", met=f"{len(expression):,}")
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(
            f"this is no expression: {expression}", met=str(error), remedy="derive:bmi=weight / height ** 2"
        ) from error


def _check(node: ast.expr, found: dict[str, None], expression: str) -> None:
    match node:
        case ast.Constant(value=bool()) | ast.Constant(value=complex()):
            raise _refused(node, expression)
        case ast.Constant(value=int() | float()):
            return
        case ast.Name(id=name):
            found[name] = None
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            _check(inner, found, expression)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _TWO:
            _check(left, found, expression)
            _check(right, found, expression)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            if len(arguments) != FUNCTIONS[name][0]:
                raise DataError(f"{name} takes {FUNCTIONS[name][0]}, not {len(arguments)}", met=expression)
            for argument in arguments:
                _check(argument, found, expression)
        case _:
            raise _refused(node, expression)


def _refused(node: ast.expr, expression: str) -> DataError:
    named = ast.unparse(node)[:60]
    called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    return DataError(
        f"an expression may not hold {named}",
        met=expression,
        remedy=did_you_mean(called, FUNCTIONS) or f"columns, numbers, + - * / ** %, and {', '.join(FUNCTIONS)}",
    )


def _value(node: ast.expr, columns: Mapping[str, Floats]) -> Floats:
    match node:
        case ast.Constant(value=int() | float() as number):
            try:
                return np.array(float(number))
            except OverflowError:
                return np.array(np.inf)
        case ast.Name(id=name):
            return columns[name]
        case ast.UnaryOp(op=op, operand=inner):
            value = _value(inner, columns)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right):
            return _TWO[type(op)](_value(left, columns), _value(right, columns))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return FUNCTIONS[name][1](*(_value(argument, columns) for argument in arguments))
    raise AssertionError(ast.dump(node))  # ``names_in`` has refused it
