"""What people are told when something cannot be done."""

import pickle

import pytest

from isograd import errors


def test_a_message_says_what_where_what_was_met_and_the_way_out():
    error = errors.DataError("the table has no column 'incme'", where="a.toml, line 7", met="columns: age", remedy="income")
    assert str(error).splitlines() == [
        "the table has no column 'incme'",
        "  where  a.toml, line 7",
        "  what   columns: age",
        "  try    income",
    ]


def test_all_faults_are_told_at_once():
    error = errors.ProjectError([errors.Fault("one"), errors.Fault("two", where="line 2")])
    assert str(error) == "one\ntwo\n  where  line 2"
    assert len(error.faults) == 2


@pytest.mark.parametrize("kind", ["RequestError", "ProjectError", "DataError", "ModelError", "MissingExtra"])
def test_every_request_that_cannot_be_met_exits_with_2(kind):
    assert issubclass(getattr(errors, kind), errors.RequestError)
    assert getattr(errors, kind)("no").exit_status == 2


def test_an_error_survives_the_way_from_another_process():
    error = errors.DamagedError("torn", where="a", remedy="write again")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - ours, and only in this test
    assert type(again) is errors.DamagedError and again.faults == error.faults


def test_a_guess_is_offered_only_where_it_is_close():
    assert errors.did_you_mean("Lerning_rate", ["learning_rate", "momentum"]) == 'did you mean "learning_rate"?'
    assert errors.did_you_mean("x", ["learning_rate"]) == ""
