"""Read NumPy archives (.npz): pictures or rows of numbers, with their labels, in one part or several."""

from __future__ import annotations

import hashlib
import math
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError
from isograd.workbench.data.columns import Cells, Numbers
from isograd.workbench.data.pictures import Pictures, check_bytes
from isograd.workbench.data.sources import PART_NAMES, PARTS, contents, few
from isograd.workbench.data.table import Table
from isograd.workbench.data.values import cells_of

INPUTS = ("x", "inputs", "data", "features", "images", "image", "pixels")
LABELS = ("y", "labels", "label", "targets", "target", "classes")
MOST_COLUMNS = 10_000
_REMEDY = "np.savez(file, x_train=..., y_train=..., x_test=..., y_test=...), or x and y alone"

Array = NDArray[np.generic]


def read_npz(path: Path, target: str) -> Table | Pictures:
    """The arrays of one archive: x and y, or x_train, y_train, x_test, y_test (or images and labels, data and target, ...).

    Inputs (rows, height, width) or (rows, height, width, 1 or 3) of bytes are pictures; (rows,) and (rows, features) are a
    table, whose columns are called x0, x1, ... and ``target``. Nothing is unpickled. Raises ``DataError`` for arrays of
    objects, no pair of inputs and labels, lengths or shapes that do not fit, and for more than memory holds.
    """
    found = read_arrays(path)
    return _pictures(found) if found.inputs.ndim > 2 else _table(found, target)


@dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """All parts of an archive under one another: ``inputs`` (rows, ...), ``targets`` (rows, ...), the name of each row."""

    path: Path
    inputs: Array
    targets: Array
    names: tuple[str, ...]
    parts: NDArray[np.str_] | None
    fingerprint: str


def read_arrays(path: Path, *, each: bool = False) -> Arrays:
    """Inputs and targets of all parts of an archive; with ``each`` a row may have many targets (rows, steps).

    Raises ``DataError`` as ``read_npz`` does.
    """
    content = contents(path)
    pairs = _pairs(path, _arrays(path), each)
    for what, shapes in (
        ("inputs", {x.shape[1:] for x, _ in pairs.values()}),
        ("labels", {y.shape[1:] for _, y in pairs.values()}),
    ):
        if len(shapes) > 1:
            met = few(list(map(str, shapes)))
            raise DataError(f"{path.name}: the {what} of its parts differ in shape", where=str(path), met=met)
    counts = [len(x) for x, _ in pairs.values()]
    names = [f"{part} {row}".strip() for part, count in zip(pairs, counts, strict=True) for row in range(count)]
    return Arrays(
        path,
        np.concatenate([x for x, _ in pairs.values()]),
        np.concatenate([y for _, y in pairs.values()]),
        tuple(names),
        np.repeat(list(pairs), counts) if "" not in pairs else None,
        hashlib.sha256(content).hexdigest(),
    )


def read_inputs(path: Path) -> tuple[Array, tuple[str, ...]]:
    """The inputs of an archive, with or without labels beside them, and the name of each row; raises ``DataError``."""
    arrays = _arrays(path)
    found = {name: array for name, array in arrays.items() if name.lower().split("_")[0] in INPUTS}
    if not found or len({array.shape[1:] for array in found.values()}) > 1 or any(array.ndim < 2 for array in found.values()):
        raise DataError(
            f"{path.name} has no clear inputs", where=str(path), met=_shapes(arrays), remedy="np.savez(file, x=...)"
        )
    names = [f"{name} {row}" for name, array in found.items() for row in range(len(array))]
    return np.concatenate(list(found.values())), tuple(names)


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            check_bytes(sum(entry.file_size for entry in archive.infolist()), f"the arrays of {path.name}", "save fewer rows")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
            if odd := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
                raise ValueError(f"{odd[0]} is no array")
            return arrays
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, NotImplementedError) as error:
        objects = "Object arrays" in str(error)
        raise DataError(
            f"{path.name} holds arrays of Python objects, which are not read: reading them runs code"
            if objects
            else f"{path.name} is not a whole NumPy archive",
            where=str(path),
            met=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy="save them as numbers: array.astype(float)" if objects else "save it again",
        ) from error


def _pairs(path: Path, arrays: dict[str, Array], each: bool) -> dict[str, tuple[Array, Array]]:
    """Inputs and labels by part, training first; the part is "" where names have none."""
    found: dict[str, dict[str, str]] = {}
    for name in arrays:
        words = [word for word in re.split(r"[_\-.\s]+", name.lower()) if word]
        part = next((PART_NAMES[word] for word in words if word in PART_NAMES), "")
        rest = [word for word in words if word not in PART_NAMES]
        role = "x" if rest and rest[-1] in INPUTS else "y" if rest and rest[-1] in LABELS else ""
        if not role or role in found.setdefault(part, {}):
            raise DataError(f"{path.name}: what is the array {name!r}?", where=str(path), met=_shapes(arrays), remedy=_REMEDY)
        found[part][role] = name
    for part, roles in found.items():
        if set(roles) != {"x", "y"}:
            raise DataError(
                f"{path.name} has {'inputs' if 'x' in roles else 'labels'} without {'labels' if 'x' in roles else 'inputs'}"
                + (f" in the {part} part" if part else ""),
                where=str(path),
                met=_shapes(arrays),
                remedy=_REMEDY,
            )
    if not found or ("" in found and len(found) > 1):
        raise DataError(f"{path.name} has no clear parts", where=str(path), met=_shapes(arrays), remedy=_REMEDY)
    return {part: _pair(path, arrays, found[part], each) for part in ("", *PARTS) if part in found}


def _pair(path: Path, arrays: dict[str, Array], names: dict[str, str], each: bool) -> tuple[Array, Array]:
    x, y = arrays[names["x"]], arrays[names["y"]]
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and not each:
        raise DataError(
            f"{path.name}: {names['y']} has {y.shape[1]} numbers a row",
            where=str(path),
            remedy=f"one class number a row: {names['y']}.argmax(axis=1), where a row marks one class with a 1",
        )
    if x.ndim < 1 or y.ndim not in (1, 2) or len(x) != len(y) or not len(y):
        raise DataError(
            f"{path.name}: {names['x']} and {names['y']} do not belong together", where=str(path), met=_shapes(arrays)
        )
    return x, y


def _shapes(arrays: dict[str, Array]) -> str:
    return few(
        [f"{name} {' x '.join(map(str, array.shape)) or 'one value'} {array.dtype}" for name, array in arrays.items()], 10
    )


def _pictures(found: Arrays) -> Pictures:
    path, x = found.path, found.inputs
    x = x[..., None] if x.ndim == 3 else x
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[3] not in (1, 3) or math.prod(x.shape) == 0:
        raise DataError(
            f"{path.name} holds no pictures of bytes",
            where=str(path),
            met=f"inputs {' x '.join(map(str, found.inputs.shape))} {x.dtype}",
            remedy="pictures are uint8, rows x height x width, or with 1 or 3 channels as a fourth axis"
            + ('; rows x steps x features are for task = "sequence-classification"' if found.inputs.ndim == 3 else ""),
        )
    classes, numbers = np.unique(found.targets, return_inverse=True)
    return Pictures(
        pixels=np.ascontiguousarray(x),
        labels=numbers.astype(np.int64),
        classes=tuple(str(name) for name in classes.tolist()),
        names=found.names,
        fingerprint=found.fingerprint,
        parts=found.parts,
    )


def _table(found: Arrays, target: str) -> Table:
    path, x = found.path, found.inputs
    x = x[:, None] if x.ndim == 1 else x
    if x.shape[1] > MOST_COLUMNS:
        raise DataError(f"{path.name} has {x.shape[1]:,} numbers a row", where=str(path), remedy=f"{MOST_COLUMNS:,} at most")
    columns: dict[str, Cells] = {}
    for name, values in [*((f"x{i}", x[:, i]) for i in range(x.shape[1])), (target, found.targets)]:
        numeric = values.dtype.kind in "iuf"
        cells = Numbers(values.astype(np.float64)) if numeric else cells_of(values.tolist())
        if cells is None:
            raise DataError(f"{path.name}: {name} holds {values.dtype}, neither numbers nor words", where=str(path))
        columns[name] = cells
    places = tuple(f"row {name}" for name in found.names)
    return Table(where=str(path), columns=columns, places=places, fingerprint=found.fingerprint, parts=found.parts)
