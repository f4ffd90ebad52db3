"""Read WAV, FLAC and Ogg recordings, labelled by their class folders or by a pattern of their names, at one sample rate."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError, Fault
from isograd.records.schema import Skipped
from isograd.workbench.data import kept
from isograd.workbench.data.pictures import check_bytes
from isograd.workbench.data.sources import PART_NAMES, SOUND_SUFFIXES, contents, few
from isograd.workbench.data.walking import Labelled, class_order, files_of, part_folders, refuse, shown, walk

Signal = NDArray[np.float32]
SILENT = 10 ** (-60 / 20)
"""Of full scale: a recording that never gets louder than -60 dB holds nothing that was recorded on purpose."""
LEAST_RATE, MOST_RATE = 1_000, 384_000
_REMEDY = "replace or delete it, or go on without such files: --skip-corrupt"
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, eq=False)
class Recordings:
    """Labelled recordings: mono ``signals`` of -1 to 1 at ``rate`` samples a second, of any lengths; ``labels`` int64 (rows,).

    ``fields`` are the words that a pattern found in the file names beside the label, such as the speaker of each row.
    """

    where: str
    signals: tuple[Signal, ...]
    rate: int
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    fingerprint: str
    parts: NDArray[np.str_] | None = None
    fields: dict[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """One file as it was recorded: float32 (samples, channels) of -1 to 1, samples a second, and the SHA-256 of the file."""

    samples: NDArray[np.float32]
    rate: int
    sha256: str


def read_sound(path: Path) -> Sound:
    """Decode one file; raises ``DataError`` where it is empty, broken, without a sample, or not finite."""
    import soundfile  # it loads a shared library, which only recordings need

    content = contents(path)
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            check_bytes(4 * file.frames * file.channels, path.name, "cut it into shorter recordings")
            samples = file.read(dtype="float32", always_2d=True)
            rate = int(file.samplerate)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, TypeError, OSError) as error:
        raise DataError(f"{path.name} cannot be decoded: {error}", where=str(path), remedy=_REMEDY) from error
    if not len(samples):
        raise DataError(f"{path.name} holds no sample", where=str(path), remedy=_REMEDY)
    if (promised := _promised(content)) > len(content) + 1:  # libsndfile reads what is there and says nothing
        met = f"{len(content):,} of {promised:,} bytes"
        raise DataError(f"{path.name} is cut short", where=str(path), met=met, remedy=_REMEDY)
    if not np.isfinite(samples).all():
        raise DataError(f"{path.name} holds samples that are not finite", where=str(path), remedy=_REMEDY)
    if not LEAST_RATE <= rate <= MOST_RATE:
        raise DataError(f"{path.name} claims {rate:,} samples a second", where=str(path), remedy=_REMEDY)
    return Sound(samples, rate, hashlib.sha256(content).hexdigest())


def _promised(content: bytes) -> int:
    """How many bytes the header of a WAV file says that it has; 0 where it does not say."""
    size = int.from_bytes(content[4:8], "little")
    return size + 8 if content[:4] == b"RIFF" and size < 2**32 - 9 else 0  # streams are written with the largest size


def mono(sound: Sound, rate: int) -> Signal:
    """The mean of the channels at ``rate`` samples a second, by a polyphase filter that lets nothing alias.

    >>> mono(Sound(np.ones((8000, 2), np.float32), 8000, ""), 4000).shape
    (4000,)
    """
    signal = sound.samples.mean(axis=1, dtype=np.float64)
    if sound.rate != rate:
        from scipy.signal import resample_poly  # a second to import, and most folders have one rate

        common = math.gcd(sound.rate, rate)
        signal = resample_poly(signal, rate // common, sound.rate // common)
    found: Signal = np.clip(signal, -1.0, 1.0).astype(np.float32)
    return found


def read_recordings(
    folder: Path,
    *,
    pattern: str | None = None,
    rate: int | None = None,
    skip_corrupt: bool = False,
    cache: Path | None = None,
) -> Recordings:
    """All recordings of a folder of class folders, or, with ``pattern``, of any folder, labelled by their names.

    A pattern such as "{label}_{speaker}_{take}" is matched with each name without its ending; words in braces but "label" can
    steer a group split. Recordings at another rate than most (or than ``rate``) are resampled, channels are mixed, and both
    are said; so are silent ones. Many are decoded once and kept in ``cache``. Raises ``DataError`` for names that do not
    match, files that cannot be decoded (unless ``skip_corrupt``) and everything a folder of classes is refused for.
    """
    found, fields, faults = by_pattern(folder, pattern) if pattern else (walk(folder, SOUND_SUFFIXES, "recordings"), {}, [])
    have = None
    if cache is not None and len(found.files) >= kept.LEAST:
        asked = [pattern, rate, skip_corrupt, [fault.where for fault in faults]]
        place, stamp = cache / "signals", kept.stamp_of(folder, found.files, asked)
        have = kept.opened(place, stamp)
        if have is None and kept.keep(place, stamp, _decoded(folder, found.files, faults, rate, skip_corrupt)):
            have = kept.opened(place, stamp)
    if have is None:
        ((values, facts),) = _decoded(folder, found.files, faults, rate, skip_corrupt)
    else:
        facts, values = have
    told = json.loads(facts.note)
    chosen = np.array(facts.rows, dtype=np.int64)
    together = hashlib.sha256(f"{pattern}\n{facts.fingerprint}".encode()).hexdigest()
    return Recordings(
        where=str(folder),
        signals=tuple(np.split(values, np.cumsum(told["samples"])[:-1])),
        rate=told["rate"],
        labels=found.labels[chosen],
        classes=found.classes,
        names=tuple(shown(found.files[row], folder) for row in facts.rows),
        fingerprint=together,
        parts=found.parts[chosen] if found.parts is not None else None,
        fields={name: tuple(words[row] for row in facts.rows) for name, words in fields.items()},
        skipped=facts.skipped,
        remarks=(*found.remarks, *facts.remarks),
    )


def _decoded(
    folder: Path, files: Sequence[Path], faults: Sequence[Fault], rate: int | None, skip_corrupt: bool
) -> Iterator[tuple[Signal, kept.Facts]]:
    """All signals one after the other, and what they are; raises ``DataError`` with all faults at once."""
    sounds, rows, broken = [], [], list(faults)
    for index, path in enumerate(files):
        try:
            sounds.append(read_sound(path))
            rows.append(index)
        except DataError as error:
            broken += error.faults
    refuse(broken, skip_corrupt=skip_corrupt)
    if not rows:
        raise DataError(f"no recording in {folder.name} can be read", where=str(folder))
    usual = rate or Counter(sound.rate for sound in sounds).most_common(1)[0][0]
    names = [shown(files[row], folder) for row in rows]
    signals = [mono(sound, usual) for sound in sounds]
    values = np.concatenate(signals)
    hashes = [f"{name} {sound.sha256}" for name, sound in zip(names, sounds, strict=True)]
    yield (
        values,
        kept.Facts(
            "float32",
            values.shape,
            tuple(rows),
            "\n".join(hashes),
            tuple(Skipped(shown(Path(fault.where), folder), fault.what) for fault in broken),
            tuple(_remarks(sounds, signals, usual, names)),
            json.dumps({"rate": usual, "samples": [len(signal) for signal in signals]}),
        ),
    )


def _remarks(sounds: Sequence[Sound], signals: Sequence[Signal], rate: int, names: Sequence[str]) -> list[str]:
    other = Counter(sound.rate for sound in sounds if sound.rate != rate)
    remarks = [f"{_were(count)} resampled from {found:,} to {rate:,} Hz" for found, count in sorted(other.items())]
    mixed = sum(sound.samples.shape[1] > 1 for sound in sounds)
    if mixed:
        remarks.append(f"{_were(mixed)} mixed to one channel")
    silent = [name for name, signal in zip(names, signals, strict=True) if float(np.abs(signal).max()) < SILENT]
    if silent:
        remarks.append(f"{_were(len(silent))} silent throughout (never above -60 dB): {few(silent)}")
    return remarks


def _were(count: int) -> str:
    return f"{count:,} recordings were" if count != 1 else "1 recording was"


def by_pattern(folder: Path, pattern: str) -> tuple[Labelled, dict[str, list[str]], list[Fault]]:
    """The recordings under a folder, labelled by their names; the other words of the pattern; and names that do not match."""
    expression = compiled(pattern)
    roots = part_folders(folder) or {PART_NAMES[e.name.lower()]: e for e in folder.iterdir() if e.name.lower() in PART_NAMES}
    files: list[Path] = []
    parts: list[str] = []
    words: dict[str, list[str]] = {name: [] for name in expression.groupindex}
    faults = []
    for part, root in roots.items() if "train" in roots else [("", folder)]:
        for path in files_of(root, SOUND_SUFFIXES):
            match = expression.fullmatch(path.stem)
            if match is None:
                faults.append(Fault(f"{path.name} does not match the pattern {pattern}", where=str(path)))
                continue
            files.append(path)
            parts.append(part)
            for name, word in match.groupdict().items():
                words[name].append(word)
    labels = words.pop("label")
    classes = sorted(set(labels), key=class_order)
    if len(classes) < 2:
        raise DataError(
            f"the pattern {pattern} finds {'one class' if classes else 'no recording'} in {folder.name}",
            where=str(folder),
            met=f"the class {classes[0]!r}" if classes else few([Path(fault.where).name for fault in faults]) or "no files",
            remedy='label_pattern = "{label}_{speaker}_{take}" is for names such as 7_ann_0.wav',
        )
    numbers = {name: number for number, name in enumerate(classes)}
    found = Labelled(
        files,
        np.array([numbers[label] for label in labels], dtype=np.int64),
        tuple(classes),
        np.array(parts) if parts[0] else None,
    )
    return found, words, faults


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of names as a regular expression: each word in braces is as short as it can be, everything else is itself.

    Raises ``DataError`` where it has no {label}, or one word twice.

    >>> compiled("{label}_{speaker}_{take}").fullmatch("7_ann_12").groupdict()
    {'label': '7', 'speaker': 'ann', 'take': '12'}
    """
    names = _FIELD.findall(pattern)
    if "label" not in names or len(set(names)) < len(names) or any(not name.isidentifier() for name in names):
        raise DataError(
            "a pattern of names has {label} in it, and no word twice",
            where="label_pattern",
            met=pattern,
            remedy='label_pattern = "{label}_{speaker}_{take}"',
        )
    pieces = _FIELD.split(pattern)
    return re.compile("".join(f"(?P<{piece}>.+?)" if i % 2 else re.escape(piece) for i, piece in enumerate(pieces)))
