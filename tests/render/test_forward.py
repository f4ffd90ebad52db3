"""The picture of the signal: what its title says, that it is drawn, that it needs two places."""

import dataclasses
import math

from isograd.records.expectation import Expectation, Expectations
from isograd.records.reading import Readings
from isograd.render import forward


def foretold(found, rms):
    told = tuple(Expectation(n.path, rms * 2.0**-i, 0.0, 0.1, True, 0.05) for i, n in enumerate(found.anatomy.nodes))
    return dataclasses.replace(found, expectations=Expectations(told))


def test_the_title_says_how_the_signal_changes():
    rows = [(str(i), None, 10.0**-i, 0.1) for i in range(4)]
    assert forward.title_of(tuple(rows)) == "The signal shrinks 1,000-fold from place 1 to place 4"
    assert forward.title_of(tuple(rows[:1] * 2)) == "The signal keeps its size from place 1 to place 2"


def test_forecast_and_measurement_are_drawn_with_a_table_behind(samples):
    page = str(forward.profile(foretold(samples.report(depth=4), 1.0)))
    assert "foretold, with two standard deviations" in page
    assert "measured at the first look" in page
    assert page.count("<tr>") >= 7
    assert "nan" not in page.lower()


def test_a_forecast_alone_is_drawn_and_nothing_of_nothing(samples):
    alone = dataclasses.replace(foretold(samples.report(depth=4), 1.0), readings=Readings())
    assert "measured at the first look" not in str(forward.profile(alone))
    assert "was not measured" in str(forward.profile(alone))
    bare = dataclasses.replace(alone, expectations=Expectations())
    assert str(forward.profile(bare)) == ""


def test_a_signal_that_overflows_does_not_break_the_picture(samples):
    told = foretold(samples.report(depth=4), math.inf)
    assert "The signal" in str(forward.profile(told))
