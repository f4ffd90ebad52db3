"""What may be asked of augmentation: defaults that keep labels right, and one clear message for what does not fit."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from isograd.errors import ProjectError, RequestError
from isograd.project.reading import parse
from isograd.project.settings import AugmentTable
from isograd.records.schema import ColumnEncoding, Encoding, SoundEncoding, TextEncoding
from isograd.workbench.data import AugmentPlan
from isograd.workbench.data.augment.plan import SUITS, Settled, are_signs, remarks_of

PHOTOS = Encoding("images", "label", image=(3, 32, 32), channel_mean=(0.5,) * 3, channel_std=(0.2,) * 3, classes=("cat", "dog"))
DIGITS = replace(PHOTOS, image=(1, 28, 28), classes=tuple("0123456789"))
SOUND = Encoding("sound", "label", sound=SoundEncoding(8000, 4000, 256, 80, 8, (0.0,) * 8, (1.0,) * 8), classes=("a", "b"))
NUMBERS = Encoding("table", "y", columns=(ColumnEncoding("x", "number"),))
BAG = Encoding("table", "y", columns=(ColumnEncoding("t", "text", text=TextEncoding("{}", 9, "bag")),))
IDS = Encoding("table", "y", columns=(ColumnEncoding("t", "text", text=TextEncoding("{}", 9, "ids", 5)),))


def test_photos_are_flipped_by_default_and_digits_are_not() -> None:
    assert AugmentPlan("auto").settled(PHOTOS).flip == "horizontal"
    assert AugmentPlan("auto").settled(DIGITS).flip == "none"


@pytest.mark.parametrize(
    ("classes", "signs"),
    [
        (("0", "10", "9"), True),
        (("a", "B"), True),
        (("seven", "Nine"), True),
        (("turn_left", "turn_right"), True),
        (("cat", "dog"), False),
        (("one", "many"), False),
        (("copyright", "other"), False),
    ],
)
def test_signs_are_known_by_their_names(classes: tuple[str, ...], signs: bool) -> None:
    assert are_signs(classes) is signs


def test_what_is_said_comes_before_what_suits_and_nothing_is_done_unasked() -> None:
    assert AugmentPlan().settled(PHOTOS) == Settled()
    plan = AugmentPlan("auto", flip="none", rotate=0.0, zoom=0.3).settled(PHOTOS)
    assert (plan.flip, plan.rotate, plan.zoom, plan.shift) == ("none", 0.0, 0.3, 0.1)
    assert AugmentPlan(mixup=0.2).settled(PHOTOS) == Settled(mixup=0.2)


def test_every_kind_of_data_has_something_that_suits_it() -> None:
    for encoding in (PHOTOS, DIGITS, SOUND, NUMBERS, IDS):
        assert AugmentPlan("auto").settled(encoding).said
    assert AugmentPlan("auto").settled(BAG) == Settled()


def test_a_flip_that_makes_labels_wrong_is_done_and_said() -> None:
    told = " ".join(remarks_of(AugmentPlan(flip="horizontal", rotate=90.0).settled(DIGITS), DIGITS))
    assert "mean something else flipped" in told and "a 6 that is turned so far may be a 9" in told
    (only,) = remarks_of(AugmentPlan("auto").settled(DIGITS), DIGITS)
    assert "rotate 10, shift 0.1, zoom 0.1" in only and "never" in only


@pytest.mark.parametrize(
    ("plan", "encoding", "said"),
    [
        (AugmentPlan(rotate=5.0, time_shift=0.1), NUMBERS, ["augment.rotate", "augment.time_shift"]),
        (AugmentPlan(hue=10.0), DIGITS, ["grey pictures have no colour"]),
        (AugmentPlan(drop_words=0.1), BAG, ['text = "ids" under [encoding]']),
        (AugmentPlan(drop_words=0.1), NUMBERS, ["there is no text"]),
        (AugmentPlan(mixup=0.1, jitter=0.1), IDS, ["mixup cannot mix places", "jitter needs a column of numbers"]),
    ],
)
def test_what_the_data_has_no_use_for_is_refused_all_at_once(plan: AugmentPlan, encoding: Encoding, said: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        plan.settled(encoding)
    assert all(text in str(caught.value) for text in said)
    assert len(caught.value.faults) == len(said)


def test_the_file_is_told_what_its_task_has_no_use_for_with_the_line() -> None:
    text = 'task = "classification"\n[data]\nsource = "a.csv"\n[augment]\nrotate = 10\njiter = 0.1\nmask_time = 0.2\n'
    with pytest.raises(ProjectError) as caught:
        parse(text, Path("isograd.toml"))
    said = [str(fault) for fault in caught.value.faults]
    assert len(said) == 3
    assert any("line 6" in fault and 'did you mean "jitter"?' in fault for fault in said)
    assert any("augment.rotate is not for such data" in fault and "line 5" in fault for fault in said)
    assert any("augment.mask_time" in fault and "line 7" in fault for fault in said)


def test_the_file_the_plan_and_the_settled_plan_know_the_same_settings() -> None:
    named = [field.name for field in fields(AugmentPlan)]
    assert named == list(AugmentTable.model_fields)
    assert named[1:] == [field.name for field in fields(Settled)]
    assert set(named[1:]) == {name for suits in SUITS.values() for name in suits}
