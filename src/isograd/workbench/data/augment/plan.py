"""What a person may ask of augmentation, what suits which data, and what "auto" means: defaults that keep labels right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from isograd.errors import Fault, RequestError, did_you_mean
from isograd.records.schema import Encoding

Flip = Literal["none", "horizontal", "vertical", "both"]
Fill = Literal["edge", "mean", "reflect"]

IMAGE = (
    *("rotate", "shift", "shear", "zoom", "flip", "crop", "fill"),
    *("brightness", "contrast", "saturation", "hue", "erase", "mixup", "cutmix"),
)
SOUND = ("time_shift", "tempo", "equalize", "noise", "mask_time", "mask_bands", "mixup")
TABLE = ("jitter", "mixup")
TEXT = ("drop_words", "crop_words")
SEQUENCE = ("jitter", "scale", "crop_steps")
SUITS: Mapping[str, tuple[str, ...]] = {
    "image-classification": IMAGE,
    "sound-classification": SOUND,
    "text-classification": TEXT,
    "classification": (*TABLE, *TEXT),
    "regression": (*TABLE, *TEXT),
    "sequence-classification": SEQUENCE,
    "sequence-regression": SEQUENCE,
}
"""Which settings have a meaning for which task."""

TURNED = 45.0
"""Degrees from which a 6 may become a 9: half of the way to a quarter turn."""
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SIDES = ("left", "right", "west", "east")


@dataclass(frozen=True, slots=True)
class AugmentPlan:
    """How strongly each change is made; None: as ``policy`` says ("none": not at all, "auto": what suits the data).

    ``rotate`` and ``shear`` are degrees, ``shift`` and ``zoom`` shares of a side, ``crop`` pixels, ``brightness``, ``contrast``
    and ``saturation`` shares, ``hue`` degrees: each is drawn evenly between minus and plus the value. ``erase``,
    ``drop_words`` are probabilities, ``crop_words``, ``crop_steps``, ``time_shift``, ``mask_time`` and ``mask_bands`` shares of
    the length, ``scale`` of the size, ``tempo`` of the speed, ``noise`` of the power, ``equalize``
    decibels, ``jitter`` deviations. ``mixup`` and ``cutmix`` are the alpha of
    a Beta distribution.
    """

    policy: Literal["none", "auto"] = "none"
    rotate: float | None = None
    shift: float | None = None
    shear: float | None = None
    zoom: float | None = None
    flip: Flip | None = None
    crop: int | None = None
    fill: Fill | None = None
    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    hue: float | None = None
    erase: float | None = None
    mixup: float | None = None
    cutmix: float | None = None
    time_shift: float | None = None
    tempo: float | None = None
    equalize: float | None = None
    noise: float | None = None
    mask_time: float | None = None
    mask_bands: float | None = None
    jitter: float | None = None
    drop_words: float | None = None
    crop_words: float | None = None
    scale: float | None = None
    crop_steps: float | None = None

    def settled(self, encoding: Encoding) -> Settled:
        """The plan for rows of this encoding, every default in its place. Raises ``RequestError`` for what cannot be done."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "policy"}
        given = {name: value for name, value in named.items() if value is not None}
        refuse_misfits(given, encoding)
        return Settled(**{**(_auto(encoding) if self.policy == "auto" else {}), **given})


@dataclass(frozen=True, slots=True)
class Settled:
    """A plan in which nothing is open any more; 0 and "none" mean: not at all."""

    rotate: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    flip: Flip = "none"
    crop: int = 0
    fill: Fill = "edge"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    time_shift: float = 0.0
    tempo: float = 0.0
    equalize: float = 0.0
    noise: float = 0.0
    mask_time: float = 0.0
    mask_bands: float = 0.0
    jitter: float = 0.0
    drop_words: float = 0.0
    crop_words: float = 0.0
    scale: float = 0.0
    crop_steps: float = 0.0

    @property
    def mixes(self) -> bool:
        """Whether rows are mixed with one another, so that targets become shares of classes."""
        return bool(self.mixup or self.cutmix)

    @property
    def said(self) -> str:
        """What is done, in words; empty where nothing is.

        >>> Settled(rotate=10.0, flip="horizontal").said
        'rotate 10, flip horizontal'
        """
        pairs = [(field.name, getattr(self, field.name)) for field in fields(self) if field.name != "fill"]
        return ", ".join(
            f"{name} {value if isinstance(value, str) else format(value, 'g')}"
            for name, value in pairs
            if value not in (0, "none")
        )


def are_signs(classes: Sequence[str]) -> bool:
    """Whether the classes look like digits or letters, which mean something else when they are flipped, or name a side.

    >>> are_signs(["0", "1", "8"]), are_signs(["cat", "dog"]), are_signs(["left", "right"]), are_signs(["six", "nine"])
    (True, False, True, True)
    """
    names = [name.strip().lower() for name in classes]
    words = {word for name in names for word in name.replace("-", " ").replace("_", " ").split()}
    short = all(name.isdecimal() or len(name) == 1 for name in names)
    return short or all(name in _DIGITS for name in names) or not words.isdisjoint(_SIDES)


def _auto(encoding: Encoding) -> dict[str, Any]:
    """What suits the data: small changes that a person would not call another thing."""
    if encoding.kind == "images":
        assert encoding.image is not None
        light = {"brightness": 0.2, "contrast": 0.2} if encoding.image[0] == 3 else {}
        flip = "none" if are_signs(encoding.classes) else "horizontal"
        return {"rotate": 10.0, "shift": 0.1, "zoom": 0.1, "flip": flip, **light}
    if encoding.kind == "sound":
        return {"time_shift": 0.1, "noise": 0.001, "mask_time": 0.1, "mask_bands": 0.1}
    if encoding.kind == "sequence":
        return {"jitter": 0.05} if any(column.kind in ("number", "date") for column in encoding.columns) else {}
    words = any(column.text is not None and column.text.form == "ids" for column in encoding.columns)
    numbers = any(column.kind in ("number", "date") for column in encoding.columns)
    return ({"jitter": 0.05} if numbers else {}) | ({"drop_words": 0.1} if words else {})


def refuse_misfits(given: Mapping[str, Any], encoding: Encoding) -> None:
    """Raise ``RequestError``, all faults at once, for what the encoded rows have no use for."""
    asked = {name for name, value in given.items() if value not in (0, "none")}
    known = {"images": IMAGE, "sound": SOUND, "table": (*TABLE, *TEXT), "sequence": SEQUENCE}[encoding.kind]
    faults = [misfit(name, known) for name in given if name not in known]
    if "jitter" in asked and not any(column.kind in ("number", "date") for column in encoding.columns):
        faults.append(Fault("jitter needs a column of numbers", "augment.jitter", "there is none", "leave it out"))
    if "scale" in asked and not any(column.kind == "number" for column in encoding.columns):
        faults.append(Fault("scale needs a column of numbers", "augment.scale", "there is none", "leave it out"))
    if "crop_steps" in asked and encoding.sequence is not None and encoding.sequence.each:
        met = "a piece of a sequence would have to lose the answers of the other steps"
        faults.append(
            Fault("crop_steps needs one answer for a sequence, and here every step has one", "augment.crop_steps", met)
        )
    texts = [column.text for column in encoding.columns if column.text is not None]
    for name in sorted(asked & set(TEXT)):
        if not any(text.form == "ids" for text in texts):
            met = "texts are encoded as bags, which have no order and no words to leave out" if texts else "there is no text"
            faults.append(Fault(f"{name} needs a text as a sequence", f"augment.{name}", met, 'text = "ids" under [encoding]'))
    places = any(column.index for column in encoding.columns) or any(text.form == "ids" for text in texts)
    if "mixup" in asked and places:
        faults.append(
            Fault("mixup cannot mix places in a vocabulary", "augment.mixup", remedy='categories = "one_hot", text = "bag"')
        )
    if {"saturation", "hue"} & asked and encoding.image is not None and encoding.image[0] == 1:
        faults.append(Fault("grey pictures have no colour to change", "augment.saturation", remedy="brightness, contrast"))
    if faults:
        raise RequestError(faults)


def misfit(name: str, known: Sequence[str]) -> Fault:
    """The fault of a setting that such data has no use for."""
    guess = did_you_mean(name, known)
    return Fault(f"augment.{name} is not for such data", f"augment.{name}", f"what is: {', '.join(known)}", guess)


def remarks_of(plan: Settled, encoding: Encoding) -> tuple[str, ...]:
    """What a person should know: what is done, and what may make labels wrong."""
    if not plan.said:
        return ()
    found = [f"training rows are augmented: {plan.said}; validation and test rows never are"]
    if encoding.kind == "images" and are_signs(encoding.classes):
        if plan.flip != "none":
            found.append(
                f"flip = {plan.flip!r}: the classes look like digits, letters or sides, which mean something else flipped"
            )
        if plan.rotate > TURNED and {"6", "9"} <= set(encoding.classes):
            found.append(f"rotate = {plan.rotate:g}: a 6 that is turned so far may be a 9")
    return tuple(found)
