"""The sentence that names a cause: a loss that is summed is told by its size where a lower rate cures as well."""

import pytest

from isograd.health.blame import as_a_sum
from isograd.records.cause import Cause, Hypothesis
from isograd.records.edit import Edit

LOSS = Cause(Edit("loss"), "sure", 0.9, 0.8, "The loss does not fit the outputs and the targets.", "loss", "train.py:9")


def rate(value, gain, *given):
    return Hypothesis(Edit("learning_rate", value, before=0.1), "list", gain, gain, steps=80, given=given)


def test_a_sum_is_not_told_from_a_rate_that_is_too_high_and_nobody_is_sure_of_it():
    told = as_a_sum(LOSS, (rate(0.001, 0.5), rate(0.01, 0.88)), 32.0)
    assert told.summary.startswith("The loss is a sum over the 32 examples of a batch")
    assert (told.certainty, told.rivals) == ("likely", (Edit("learning_rate", 0.01, before=0.1),))


@pytest.mark.parametrize(
    "tried",
    [(), (rate(0.01, 0.5),), (rate(1.0, 0.9),), (rate(0.01, 0.9, Edit("loss")),)],
    ids=["none", "little", "up", "beside"],
)
def test_where_no_lower_rate_cures_alone_the_form_of_the_loss_is_to_blame(tried):
    assert as_a_sum(LOSS, tried, 32.0) is LOSS


def test_another_cause_stays_what_it_is():
    other = Cause(Edit("input_scale"), "sure", 0.9, 0.8, "The inputs are large.")
    assert as_a_sum(other, (rate(0.01, 0.9),), 32.0) is other
