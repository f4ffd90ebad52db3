"""The model of risk: pieces, base rate, missing signs, three answers."""

import math

import pytest

from isograd.errors import RequestError
from isograd.health import risk
from isograd.health.risk_fitted import FITTED
from isograd.health.risk_words import WORDS


def worst_and_best(basis):
    """Signs at the values that speak loudest for failure, and for training."""
    _, pieces = FITTED[basis]
    ends = [{n: k[pick(range(len(v)), key=v.__getitem__)] for n, (k, v) in pieces.items()} for pick in (max, min)]
    return ends[0], ends[1]


@pytest.mark.parametrize("basis", [basis for basis in FITTED if "blind" not in basis])
def test_every_basis_can_say_all_three_answers(basis):
    worst, best = ({"skill": math.nan} | signs for signs in worst_and_best(basis))
    assert risk.forecast(worst, basis).answer == "will fail"
    assert risk.forecast(best, basis).answer == "will train"
    assert risk.forecast({"skill": math.nan, next(iter(FITTED[basis][1])): 0.0}, basis).answer == "uncertain"


def test_a_run_whose_loss_cannot_be_compared_with_a_constant_answer_has_pieces_of_its_own():
    _, pieces = FITTED["look 25 %, blind"]
    assert set(risk.contributions(dict.fromkeys(pieces, 0.0), "look 25 %")) == set(pieces)
    assert "skill" not in pieces and "fallen" in pieces


def test_nothing_known_is_the_base_rate_and_no_forecast():
    assert risk.probability({}, "step", 0.2) == 0.2
    assert risk.forecast({}, "step") is None


def test_another_base_rate_shifts_the_log_odds_by_its_own():
    sign = next(iter(FITTED["step"][1]))
    logit = lambda p: math.log(p / (1.0 - p))  # noqa: E731
    even, rare = (logit(risk.probability({sign: 0.0}, "step", rate)) for rate in (0.5, 0.1))
    assert even - rare == pytest.approx(logit(0.5) - logit(0.1))


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, 2.0])
def test_a_base_rate_that_is_none_is_refused(rate):
    with pytest.raises(RequestError, match="base_rate"):
        risk.probability({}, "step", rate)


def test_a_missing_sign_takes_nothing_and_gives_nothing():
    worst, _ = worst_and_best("step")
    some = dict(list(worst.items())[:2])
    assert risk.contributions(some | {"unheard": 1.0}, "step") == risk.contributions(some, "step")
    assert risk.contributions(some | {list(worst)[2]: math.nan}, "step") == risk.contributions(some, "step")


def test_the_reasons_are_the_weightiest_and_say_which_side_they_are_on():
    worst, best = worst_and_best("probe")
    for signs, sign in ((worst, 1.0), (best, -1.0)):
        found = risk.forecast(signs, "probe").reasons
        assert len(found) == risk.TOLD and found[0].weight * sign > 0.0
        assert [abs(one.weight) for one in found] == sorted((abs(one.weight) for one in found), reverse=True)


@pytest.mark.parametrize("basis", FITTED)
def test_every_sign_of_the_model_has_words_and_its_knots_rise(basis):
    _, pieces = FITTED[basis]
    assert set(pieces) <= set(WORDS) and len(pieces) <= 8
    assert all(list(knots) == sorted(set(knots)) and len(knots) == len(values) for knots, values in pieces.values())


def test_a_watch_looks_again_at_2_12_and_25_percent_of_a_run():
    assert [risk.look_at(share, 400) for share in risk.LOOKS] == [8, 50, 100]
    assert risk.next_look(400, 0) == 8 and risk.next_look(400, 60) == 100 and risk.next_look(400, 100) is None


@pytest.mark.parametrize("basis", risk.TAILS)
def test_however_far_out_the_signs_lie_no_more_is_told_than_was_ever_seen(basis):
    worst, best = ({"skill": math.nan} | signs for signs in worst_and_best(basis))
    told = tuple(risk.probability(signs, basis) for signs in (best, worst))
    assert told == pytest.approx(risk.TAILS[basis])
    assert risk.probability(best, basis, 0.9) > risk.TAILS[basis][0]
