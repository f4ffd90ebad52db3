"""An edit says in words what it does, and knows what takes it back."""

import pytest

from isograd.health.blame import summary_of
from isograd.records.edit import EDITS, OFF, VALUES, Edit
from isograd.render.cause import change


def named(kind):
    """An edit of the kind with a value that it may have."""
    if kind in VALUES:
        return Edit(kind, VALUES[kind][0])
    return Edit(kind, 2.0) if "`value`" in EDITS[kind].text else Edit(kind)


@pytest.mark.parametrize("kind", EDITS)
def test_every_edit_reads_well_behind_the_word_try(kind):
    for text in (named(kind).text, Edit(kind, OFF).text if EDITS[kind].off else "go on"):
        assert text[0].islower() and text[-1] not in ".:;" and "`" not in text and "None" not in text and "  " not in text
    assert summary_of(named(kind)).endswith(".") and change(named(kind))


@pytest.mark.parametrize("kind", [kind for kind in EDITS if EDITS[kind].back])
def test_what_takes_an_edit_back_is_itself_taken_back_by_the_edit(kind):
    edit = Edit(kind, named(kind).value, before=None if EDITS[kind].back == "off" else 7.0)
    assert edit.inverse is not None and edit.inverse.kind == kind and edit.inverse.value != edit.value
    assert edit.inverse.inverse == Edit(kind, edit.value, before=edit.inverse.value)


def test_there_is_no_way_back_to_what_is_not_known():
    assert Edit("learning_rate", 0.1).inverse is None  # from which rate?
    assert Edit("initialisation", "he", before=3.0).inverse is None and Edit("width", 2.0, before=1.0).inverse is None
    assert Edit("clip_norm", 1.0).inverse == Edit("clip_norm", before=1.0)  # none was there, as far as is known


def test_what_takes_something_away_is_no_remedy():
    assert Edit("residual").remedy and not Edit("residual", OFF).remedy
    assert Edit("clip_unit", 0.01).remedy and not Edit("clip_unit").remedy


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (Edit("clip_norm", None, before=0.5), "no clipping (was 0.5)"),
        (Edit("warm_up", 100.0), "warm up 100"),
        (Edit("warm_up", before=100.0), "no warm up (was 100)"),
        (Edit("residual", OFF), "residual off"),
        (Edit("precision", before="float16"), "precision"),
        (Edit("clip_unit", 0.01), "clip unit 0.01"),
    ],
)
def test_a_change_in_a_few_words(edit, text):
    assert change(edit) == text
