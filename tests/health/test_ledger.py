"""A finding is told once, when it is certain, and once more when it is over."""

from isograd.health.ledger import Ledger
from isograd.records.finding import Finding


def finding(disease="vanishing", severity="warning", confidence=0.9, where="0", layers=(), summary="."):
    return Finding(disease, severity, confidence, where, summary, layers=layers)


def told(ledger, *diagnoses, start=1):
    """What is told after each of several diagnoses, at the steps 1, 2, 3 ..."""
    return [ledger.update(found, step) for step, found in enumerate(diagnoses, start)]


def test_a_measured_finding_is_told_when_two_diagnoses_in_a_row_have_it_and_only_once():
    first, second, third, fourth = told(Ledger(), [finding()], [finding()], [finding()], [finding()])
    assert (first, third, fourth) == ((), (), ())
    assert [(one.disease, one.noticed, one.until) for one in second] == [("vanishing", 2, None)]


def test_what_comes_and_goes_from_one_diagnosis_to_the_next_is_never_told():
    assert told(Ledger(), [finding()], [], [finding()], [], [finding()]) == [()] * 5


def test_what_is_critical_or_certain_is_told_at_once():
    assert told(Ledger(), [finding(severity="critical")])[0][0].noticed == 1
    assert told(Ledger(), [finding(confidence=1.0)])[0][0].noticed == 1


def test_the_last_diagnosis_tells_all_that_is_there():
    assert Ledger().update([finding()], 7, final=True)[0].noticed == 7


def test_it_is_over_when_three_in_a_row_do_not_have_it_and_held_until_it_was_last_seen():
    ledger = Ledger()
    seen = told(ledger, [finding()], [finding()], [], [finding()], [], [], [], [])
    assert [len(one) for one in seen] == [0, 1, 0, 0, 0, 0, 1, 0]
    assert (seen[6][0].noticed, seen[6][0].until) == (2, 4)
    assert [len(one) for one in told(ledger, [finding()], [finding()], start=9)] == [0, 1]  # and it may come back


def test_the_same_disease_at_another_place_is_another_finding_unless_they_share_one():
    ledger = Ledger()
    told(ledger, [finding(where="0", layers=("0", "2"))], [finding(where="0", layers=("0", "2"))])
    assert told(ledger, *[[finding(where="2", layers=("2", "4"))]] * 2, start=3) == [(), ()]  # the worst layer is another now
    assert [len(one) for one in told(ledger, *[[finding(where="2"), finding(where="9")]] * 2, start=5)] == [0, 1]


def test_what_gets_worse_is_told_again():
    ledger = Ledger()
    seen = told(ledger, *[[finding(severity="note")]] * 2, *[[finding()]] * 2, *[[finding(severity="critical")]] * 2)
    assert [[one.severity for one in each] for each in seen] == [[], ["note"], ["warning"], [], ["critical"], []]


def test_findings_get_the_step_at_which_they_were_told():
    ledger = Ledger()
    told(ledger, [finding()], [finding(), finding("exploding")])
    assert [one.noticed for one in ledger.dated([finding(summary="!"), finding("exploding"), finding("dead_units")])] == [
        2,
        None,
        None,
    ]


def test_two_findings_of_one_disease_in_one_diagnosis_are_kept_apart():
    both = [finding(where="0"), finding(where="1")]
    assert [[one.where for one in each] for each in told(Ledger(), both, both)] == [[], ["0", "1"]]
