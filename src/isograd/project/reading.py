"""Read isograd.toml: all its faults at once, each with its line, what was expected and a did-you-mean."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from isograd.errors import DataError, Fault, ModelError, ProjectError, did_you_mean
from isograd.project.defaults import adapted, model_kind
from isograd.project.settings import ModelTable, ProjectSettings
from isograd.records.anatomy import Settings
from isograd.workbench.data import SUITS, misfit, parse_step
from isograd.workbench.models import OPTIONS, SERVES, TOKENS, checked

FILE_NAME = "isograd.toml"


@dataclass(frozen=True, slots=True)
class Project:
    """A project file that was read and found right; ``text`` is the file as it stands."""

    folder: Path
    path: Path
    text: str
    settings: ProjectSettings

    @property
    def runs(self) -> Path:
        """Where the runs of this project live."""
        return self.folder / "runs"

    def flat(self) -> Settings:
        """The resolved settings, one pair a key: what decides whether two runs are the same run.

        A file of weights counts by its content, as the data does.
        """
        return (*flatten(self.settings.model_dump(mode="json")), *self._weights())

    def _weights(self) -> Settings:
        file = self.folder / self.settings.model.weights if self.settings.model.weights is not None else None
        if file is None or not file.is_file():
            return ()
        with file.open("rb") as content:
            return (("model.weights.sha256", hashlib.file_digest(content, "sha256").hexdigest()),)

    def fingerprint(self) -> str:
        """SHA-256 of the resolved settings."""
        return hashlib.sha256(json.dumps(self.flat()).encode()).hexdigest()


def load(where: Path, *, skip_corrupt: bool = False) -> Project:
    """The project in a folder or file; with ``skip_corrupt`` as if its data table said so.

    Raises ``ProjectError`` with every fault of the file.
    """
    path = where / FILE_NAME if where.is_dir() or not where.suffix else where
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ProjectError(
            f"there is no project file {path}",
            remedy="name a folder that holds an isograd.toml; `isograd demo` writes one to look at",
        ) from None
    except OSError as error:
        raise ProjectError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ProjectError(f"{path} cannot be read: {error}", remedy="save it as UTF-8 text") from error
    return parse(text, path, skip_corrupt=skip_corrupt)


def parse(text: str, path: Path, *, skip_corrupt: bool = False) -> Project:
    """The project that ``text`` describes; ``path`` is where it stands (or would stand).

    Raises ``ProjectError`` with every fault.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{path.name} is not TOML: {error}", where=str(path)) from error
    lines = key_lines(text)
    faults: list[Fault] = []
    try:
        settings = ProjectSettings.model_validate(document)
    except ValidationError as error:
        faults = list(dict.fromkeys(_fault(item, lines, path) for item in _telling(error)))
    faults += _option_faults(document, lines, path) + _step_faults(document, lines, path)
    faults += _augment_faults(document, lines, path)
    if faults:
        raise ProjectError(faults)
    settings = adapted(settings)
    if skip_corrupt:
        settings = settings.model_copy(update={"data": settings.data.model_copy(update={"skip_corrupt": True})})
    return Project(path.parent, path, text, settings)


def _option_faults(document: Mapping[str, Any], lines: Mapping[tuple[str, ...], int], path: Path) -> list[Fault]:
    """What is wrong with the options of the model's kind, each with its line."""
    table = document.get("model", {})
    if not isinstance(table, dict):
        return []
    kind = model_kind(str(table.get("kind", "auto")), str(document.get("task", "")))
    if kind not in OPTIONS:
        return []  # a fault that is named already
    faults = _misfits(kind, document, lines, path)
    try:
        checked(kind, {name: value for name, value in table.items() if name not in ModelTable.model_fields})
    except ModelError as error:
        faults += [replace(fault, where=place(path, lines, tuple(fault.where.split(".")), "")) for fault in error.faults]
    return faults


def _misfits(kind: str, document: Mapping[str, Any], lines: Mapping[tuple[str, ...], int], path: Path) -> list[Fault]:
    """A family that is not for the task, or texts encoded as it does not read them."""
    task, encoding = str(document.get("task", "")), document.get("encoding", {})
    where = place(path, lines, ("model", "kind"), f"kind = {kind}")
    if any(task in tasks for tasks in SERVES.values()) and task not in SERVES[kind]:
        known = ", ".join(name for name, tasks in SERVES.items() if task in tasks)
        here = ", ".join(SERVES[kind])
        return [Fault(f"model.kind: {kind} is not for {task}", where, f"it is for {here}", f"for {task}: {known}")]
    form = encoding.get("text") if isinstance(encoding, dict) else None
    if kind in TOKENS and form == "bag":
        where = place(path, lines, ("encoding", "text"), "text = bag")
        return [
            Fault(f"encoding.text: {kind} reads the words of a text in order", where, remedy='text = "ids", or leave it out')
        ]
    return []


def _step_faults(document: Mapping[str, Any], lines: Mapping[tuple[str, ...], int], path: Path) -> list[Fault]:
    """What is wrong with the steps of cleaning."""
    table = document.get("data", {})
    steps = table.get("clean", []) if isinstance(table, dict) else []
    faults: list[Fault] = []
    for step in steps if isinstance(steps, list) else []:
        if isinstance(step, str):
            try:
                parse_step(step)
            except DataError as error:
                faults += [replace(fault, where=place(path, lines, ("data", "clean"), step)) for fault in error.faults]
    return faults


def _augment_faults(document: Mapping[str, Any], lines: Mapping[tuple[str, ...], int], path: Path) -> list[Fault]:
    """What the task has no use for among the settings of augmentation."""
    table, known = document.get("augment", {}), SUITS.get(str(document.get("task", "")))
    if not isinstance(table, dict) or known is None:
        return []
    real = {name for suits in SUITS.values() for name in suits}  # others are faults that are named already
    odd = [name for name in table if name in real and name not in known]
    return [replace(misfit(name, known), where=place(path, lines, ("augment", name), "")) for name in odd]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Settings:
    """Nested tables as pairs of a dotted name and a plain value; lists and nothing become JSON text.

    >>> flatten({"a": {"b": 1, "c": [1, 2]}, "d": None})
    (('a.b', 1), ('a.c', '[1, 2]'), ('d', 'null'))
    """
    pairs: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            pairs += flatten(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float | str):
            pairs.append((prefix + name, value))
        else:
            pairs.append((prefix + name, json.dumps(value)))
    return tuple(pairs)


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    r"""The line, from 1, of every table and key of a TOML text that parses.

    >>> key_lines('a = 1\n[b]\nc.d = 2\n')
    {('a',): 1, ('b',): 2, ('b', 'c'): 3, ('b', 'c', 'd'): 3}
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    pending, first = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        first = first if pending else number
        pending += line + "\n"
        try:
            piece = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue  # a value that goes on over the next line
        pending = ""
        keys = _keys(piece)
        if line.lstrip().startswith("["):
            table = keys[-1] if keys else table
            here = [table[:depth] for depth in range(1, len(table) + 1)]
        else:
            here = [table + key for key in keys]
        for key in here:
            found.setdefault(key, first)
    return found


def _keys(tree: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(tree, list):  # [[array of tables]]
        tree = tree[0] if tree and isinstance(tree[0], dict) else {}
    keys: list[tuple[str, ...]] = []
    for name, value in tree.items():
        keys.append((*prefix, name))
        if isinstance(value, dict):
            keys += _keys(value, (*prefix, name))
    return keys


def place(path: Path, lines: Mapping[tuple[str, ...], int], keys: tuple[str, ...], shown: str) -> str:
    """Where a key stands, in words: file, line and the line's text; the nearest table above it where the key is missing.

    >>> place(Path("isograd.toml"), {("train",): 3}, ("train", "epochs"), "")
    'isograd.toml, line 3'
    """
    for depth in range(len(keys), 0, -1):
        if keys[:depth] in lines:
            tail = f": {shown}" if shown and depth == len(keys) else ""
            return f"{path}, line {lines[keys[:depth]]}{tail}"
    return str(path)


def _telling(error: ValidationError) -> list[dict[str, Any]]:
    """The errors a person needs: a missing key that stands there misspelt is one fault, not two."""
    items: list[dict[str, Any]] = [dict(item) for item in error.errors()]
    strays = [item["loc"] for item in items if item["type"] == "extra_forbidden"]

    def misspelt(item: dict[str, Any]) -> bool:
        *table, key = item["loc"]
        return any([*table] == [*stray[:-1]] and did_you_mean(str(stray[-1]), [str(key)]) for stray in strays)

    return [item for item in items if item["type"] != "missing" or not misspelt(item)]


def _fault(error: dict[str, Any], lines: Mapping[tuple[str, ...], int], path: Path) -> Fault:
    keys = tuple(str(part) for part in error["loc"] if isinstance(part, str))
    dotted = ".".join(keys)
    choices = _choices(keys[:-1])
    shown = f"{keys[-1]} = {json.dumps(error['input'], default=str)[:60]}" if keys and error["type"] != "missing" else ""
    where = place(path, lines, keys, shown)
    match error["type"]:
        case "extra_forbidden":
            kind = "table" if isinstance(error["input"], dict) else "key"
            return Fault(
                f"{dotted}: there is no such {kind}",
                where,
                f"known here: {', '.join(choices)}",
                did_you_mean(keys[-1], choices),
            )
        case _ if keys[-1:] == ("image_size",):
            return Fault(f"{dotted}: two whole numbers above 0 are needed", where, _field_help(keys), "image_size = [32, 32]")
        case "missing":
            field = _field_help(keys)
            return Fault(f"{dotted}: this key is needed", where, field, f"add {_example(keys)}")
        case "literal_error":
            allowed = [word.strip("' ") for word in str(error["ctx"]["expected"]).replace(" or ", ", ").split(",")]
            guess = did_you_mean(str(error["input"]), allowed)
            return Fault(
                f"{dotted}: {error['input']!r} is not one of the choices", where, f"choices: {', '.join(allowed)}", guess
            )
        case _:
            message = error["msg"][0].lower() + error["msg"][1:]
            return Fault(f"{dotted}: {message}", where, _field_help(keys))


def _model_at(keys: tuple[str, ...]) -> type[BaseModel] | None:
    model: type[BaseModel] = ProjectSettings
    for key in keys:
        field = model.model_fields.get(key)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return None
        model = field.annotation
    return model


def _choices(keys: tuple[str, ...]) -> list[str]:
    model = _model_at(keys)
    return list(model.model_fields) if model else []


def _field_help(keys: tuple[str, ...]) -> str:
    model = _model_at(keys[:-1]) if keys else None
    field = model.model_fields.get(keys[-1]) if model else None
    return (field.description or "") if field else ""


def _example(keys: tuple[str, ...]) -> str:
    examples = {
        ("task",): 'task = "image-classification"',
        ("data",): '[data] with source = "builtin:digits"',
        ("data", "source"): 'source = "builtin:digits" under [data]',
    }
    return examples.get(keys, f"{keys[-1]} = ...")
