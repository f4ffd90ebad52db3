"""Edits as settings of a project file: the lines concerned change and all others stay; a backup stays beside it."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isograd.errors import ProjectError, RequestError, StorageError
from isograd.files import write_bytes
from isograd.project.reading import Project, key_lines, parse
from isograd.records.edit import Edit
from isograd.workbench.models import AUTO, OPTIONS

Setting = tuple[str, str]
"""Table and key."""
_TRAIN = {
    "learning_rate": "learning_rate",
    "momentum": "momentum",
    "weight_decay": "weight_decay",
    "clip_norm": "clip_norm",
}
"""Edits of a number that is a setting of the same meaning."""
_OPTIMIZERS = ("sgd", "nesterov", "adam", "adamw", "rmsprop", "adagrad")
_MOMENTUM = ("sgd", "rmsprop")


@dataclass(frozen=True, slots=True)
class Amended:
    """A project file with edits in it: its text, those that are settings of it, and those that it has no setting for."""

    text: str
    placed: tuple[Edit, ...]
    left: tuple[Edit, ...]


def amended(
    project: Project, edits: Sequence[Edit], *, steps: int = 0, usual: Mapping[str, Mapping[str, float]] | None = None
) -> Amended:
    """The project's text with the edits in it; comments, order and every other line stay as they are.

    ``steps`` are those of the whole run, ``usual`` the usual constants of each optimizer, for edits that speak of them.
    """
    now, placed, left = project, list[Edit](), list[Edit]()
    for edit in edits:
        if edit.kind == "initialisation" and not edit.where and edit.value == _rule(now) != _rule(project):
            placed.append(edit)  # the file draws by this rule now, as another edit has changed the activation
            continue
        found = settings_of(edit, now, steps=steps, usual=usual or {})
        text = None if found is None else _text_with(now, found)
        if text is None:
            left.append(edit)
        else:
            now = parse(text, project.path)
            placed.append(edit)
    return Amended(now.text, tuple(placed), tuple(left))


def settings_of(
    edit: Edit, project: Project, *, steps: int, usual: Mapping[str, Mapping[str, float]]
) -> dict[Setting, Any] | None:
    """The settings that an edit is in this project, with their new values (None: left out); None where it is none."""
    if edit.where:
        return None
    train, value = project.settings.train, edit.value
    if edit.kind in _TRAIN:
        useless = edit.kind == "momentum" and train.optimizer not in _MOMENTUM
        number = isinstance(value, float | int) or (edit.kind == "clip_norm" and value is None)
        return {("train", _TRAIN[edit.kind]): value} if number and not useless else None
    match edit.kind:
        case "optimizer" if value in _OPTIMIZERS:
            return _optimizer(str(value), train, usual.get(str(value), {}))
        case "batch_size" if isinstance(value, float | int):
            return {("train", "batch_size"): max(1, int(value))}
        case "steps" if isinstance(value, float | int) and steps:
            return {("train", "epochs"): max(1, math.ceil(value * train.epochs / steps))}
        case "constant_rate":
            return {("train", "schedule"): "constant"}
        case "warm_up" if isinstance(value, float | int) and steps and train.schedule in ("warmup_cosine", "one_cycle"):
            return {("train", "warmup"): min(0.99, value / steps)}
        case "decay_decoupled" if train.optimizer == "adamw":
            return {("train", "weight_decay"): 0.0 if value is None else value}
        case "precision" if value in ("float32", "bfloat16"):
            return {("train", "precision"): value}
        case "input_scale" if not edit.off and project.settings.encoding.scaling != "standard":
            return {("encoding", "scaling"): "standard"}
    return _of_model(edit, project)


def _optimizer(name: str, train: Any, constants: Mapping[str, float]) -> dict[Setting, Any]:
    """An optimizer with its usual constants, as far as they are settings and other than now."""
    found: dict[Setting, Any] = {("train", "optimizer"): "sgd" if name == "nesterov" else name}
    if name == "nesterov" or train.nesterov:
        found["train", "nesterov"] = name == "nesterov"
    for key, constant in (("learning_rate", "lr"), ("momentum", "momentum"), ("weight_decay", "weight_decay")):
        if constant in constants and constants[constant] != getattr(train, key):
            found["train", key] = constants[constant]
    return found


def _of_model(edit: Edit, project: Project) -> dict[Setting, Any] | None:
    options, given, value = OPTIONS.get(project.settings.model.kind, {}), project.settings.model.model_extra or {}, edit.value
    names = {"activation": "activation", "initialisation": "initialisation", "normalisation": "norm", "dropout": "dropout"}
    name = names.get(edit.kind)
    if edit.kind == "normalisation" and edit.off:
        value = "none"
    if edit.kind == "initialisation" and value == _rule(project):
        return None  # drawn by this rule already: what was tried differs in more than a setting says
    if name is not None:
        return {("model", name): value} if name in options and options[name].accepts(value) else None
    if edit.kind not in ("width", "depth") or not isinstance(value, float | int):
        return None
    now = {key: given.get(key, option.default) for key, option in options.items()}
    if "depth" in options and given.get("hidden") is None and {"depth", "width"} & set(given):
        key, present = edit.kind, now[edit.kind] or (128 if edit.kind == "width" else 1)
        return {("model", key): max(1, round(present * value))}
    key = next((name for name in ("hidden", "channels") if name in options and options[name].kind == "integers"), "")
    if not key:
        sizes = ("units", "width") if edit.kind == "width" else ("layers", "blocks")
        size = next((name for name in sizes if name in options), None)
        return {("model", size): max(1, round((now[size] or 1) * value))} if size else None
    if edit.kind == "depth":
        return None
    return {("model", key): [max(1, round(units * value)) for units in now[key] or (256, 128)]}


def _rule(project: Project) -> str:
    """How the weights are drawn now, with "auto" resolved."""
    options, given = OPTIONS.get(project.settings.model.kind, {}), project.settings.model.model_extra or {}
    if "initialisation" not in options or "activation" not in options:
        return ""
    rule, activation = (str(given.get(name, options[name].default)) for name in ("initialisation", "activation"))
    return AUTO.get(activation, "he") if rule == "auto" else rule


def _text_with(project: Project, settings: Mapping[Setting, Any]) -> str | None:
    """The file with these settings; None where that cannot be done line by line, or something else would change."""
    text = project.text
    try:
        for (table, key), value in settings.items():
            text = with_setting(text, table, key, value)
        changed = dict(parse(text, project.path).flat())
    except (ProjectError, tomllib.TOMLDecodeError):
        return None
    before = dict(project.flat())
    differ = {name for name in before.keys() | changed.keys() if before.get(name) != changed.get(name)}
    return text if differ and differ <= {f"{table}.{key}" for table, key in settings} else None


def with_setting(text: str, table: str, key: str, value: Any) -> str:
    r"""A TOML text with one key of a table set, or left out where the value is None; all other lines stay.

    >>> with_setting('[train]\nepochs = 3  # few\n', "train", "epochs", 5)
    '[train]\nepochs = 5  # few\n'
    >>> with_setting('[train]\nepochs = 3\n\n[goals]\n', "train", "clip_norm", 1.0)
    '[train]\nepochs = 3\nclip_norm = 1.0\n\n[goals]\n'
    """
    lines, places = text.splitlines(keepends=True), key_lines(text)
    ending = "\r\n" if "\r\n" in text else "\n"
    here = places.get((table, key))
    if here is not None:
        last = _end_of(lines, here)
        if value is None:
            return "".join([*lines[: here - 1], *lines[last:]])
        return "".join([*lines[: here - 1], _exchanged("".join(lines[here - 1 : last]), toml(value), ending), *lines[last:]])
    if value is None:
        return text
    new = f"{key} = {toml(value)}{ending}"
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += ending
    if (table,) not in places:
        return "".join([*lines, ending, f"[{table}]{ending}", new])
    last = max(_end_of(lines, line) for keys, line in places.items() if keys[0] == table)
    return "".join([*lines[:last], new, *lines[last:]])


def _end_of(lines: Sequence[str], first: int) -> int:
    """The last line of the key or the table that begins on a line."""
    for last in range(first, len(lines) + 1):
        try:
            tomllib.loads("".join(lines[first - 1 : last]).lstrip())
        except tomllib.TOMLDecodeError:
            continue
        return last
    return first


def _exchanged(line: str, value: str, ending: str) -> str:
    """The line of a key with another value; a comment behind a value of one line stays."""
    name, _, rest = line.partition("=")
    comment = ""
    if rest.count("\n") <= 1:
        for at, letter in enumerate(rest):
            if letter == "#":
                try:
                    tomllib.loads(f"x = {rest[:at]}")
                except tomllib.TOMLDecodeError:
                    continue
                comment = rest[len(rest[:at].rstrip()) :].rstrip("\r\n")
                break
    return f"{name.rstrip()} = {value}{comment}{ending}"


def toml(value: Any) -> str:
    """A value as TOML has it.

    >>> toml(0.1 + 0.2), toml(1e-05), toml([8, 4]), toml("adam"), toml(True)
    ('0.3', '1e-5', '[8, 4]', '"adam"', 'true')
    """
    if isinstance(value, float):
        short = f"{value:.6g}".replace("e-0", "e-").replace("e+0", "e+")
        return short if any(letter in short for letter in ".en") else f"{short}.0"
    return json.dumps(value, ensure_ascii=False)


def write(project: Project, change: Amended) -> Path:
    """Write the changed project file over its own; gives the backup. Raises what ``exchange`` raises."""
    return exchange(project.path, project.text, change.text)


def exchange(path: Path, before: str, after: str) -> Path:
    """Write a changed text over its file, whole or not at all; gives the backup that stays beside it.

    Raises ``RequestError`` where the file is no longer the one that was read, ``StorageError`` where the disk refuses.
    """
    try:
        raw = path.read_bytes()
        present = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} cannot be read again: {error}", where=str(path)) from error
    if present.replace("\r\n", "\n") != before.replace("\r\n", "\n"):
        raise RequestError(
            f"{path.name} was changed during the search; it stays as it is now",
            where=str(path),
            remedy="make the change that is shown by hand, or run the same command again",
        )
    windows = "\r\n" in present and "\r\n" not in after
    backup = _free(path)
    write_bytes(backup, raw)
    write_bytes(path, (after.replace("\n", "\r\n") if windows else after).encode("utf-8"))
    return backup


def _free(path: Path) -> Path:
    """A name for a backup that overwrites nothing."""
    number = 1
    while (backup := path.with_name(f"{path.name}.bak{number if number > 1 else ''}")).exists():
        number += 1
    return backup
