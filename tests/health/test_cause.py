"""The search for a cause, on programs whose answer is known by thought: skills come from a table, not from a training."""

import pytest

from isograd.errors import ModelError, RequestError
from isograd.health.attempting import LENGTH, Search
from isograd.health.cause import search
from isograd.health.harm import Harm
from isograd.health.hypotheses import Proposal
from isograd.health.scoring import score_of
from isograd.records.edit import Edit
from isograd.records.skill import Skill

RATE, CLEAR, ADAM, INPUTS = Edit("learning_rate", 0.01), Edit("clear_gradients"), Edit("optimizer", "adam"), Edit("input_scale")
HARMS = {"learning_rate": 0.8, "clear_gradients": 0.6, "input_scale": 0.5}


def asked(skills, budget=2_000, **more):
    """A search over a program that reaches ``skills`` by the set of edits; what is not listed reaches what nothing does.

    Before the first step nothing is learned, whatever the edits.
    """
    tried = []

    def attempt(edits, steps):
        if not steps:
            return Skill(0.0, 100)
        tried.append((edits, steps))
        found = skills.get(frozenset(edits), skills[frozenset()])
        if isinstance(found, Exception):
            raise found
        return Skill(found, 100)

    work = Search(attempt, lambda edit: Harm(HARMS.get(edit.kind)), budget, **more)
    return work, tried


def proposed(*edits, urgent=()):
    line = {RATE: "train.py:7"}
    return [Proposal(one, "fact" if one in urgent else "list", one in urgent, source=line.get(one)) for one in edits]


def test_the_edit_that_cures_and_whose_absence_harms_is_the_cause():
    work, _ = asked({frozenset(): 0.0, frozenset([RATE]): 0.8, frozenset([INPUTS]): 0.1})
    found = search(work, proposed(INPUTS, RATE))
    (cause,) = found.causes
    assert (found.answer, cause.edit, cause.certainty, cause.source) == ("cause", RATE, "sure", "train.py:7")


def test_a_cure_that_helps_everybody_is_a_remedy_and_no_cause():
    work, _ = asked({frozenset(): 0.0, frozenset([RATE]): 0.2, frozenset([ADAM]): 0.9})
    found = search(work, proposed(ADAM, RATE))
    assert found.causes[0].edit == RATE and found.remedies == (ADAM,)


def test_a_value_that_harms_no_reference_is_not_blamed_even_where_changing_it_helps():
    work, _ = asked({frozenset(): 0.5, frozenset([Edit("momentum", 0.9)]): 0.9})
    work.harm = lambda edit: Harm(0.04)
    assert search(work, proposed(Edit("momentum", 0.9))).answer == "healthy"


def test_two_faults_are_found_one_after_the_other():
    both = frozenset([RATE, CLEAR])
    work, _ = asked({frozenset(): 0.0, frozenset([CLEAR]): 0.3, frozenset([RATE]): 0.1, both: 0.9})
    found = search(work, proposed(CLEAR, RATE))
    assert [cause.edit for cause in found.causes] == [CLEAR, RATE]
    assert found.tried[-1].given == (CLEAR,)


def test_of_two_faults_what_is_wrong_for_certain_is_told_before_a_setting_that_was_found_first():
    skills = {frozenset(): 0.0, frozenset([CLEAR]): 0.1, frozenset([RATE]): 0.5, frozenset([RATE, CLEAR]): 0.9}
    work, tried = asked(skills)
    found = search(work, proposed(CLEAR, RATE))
    assert (RATE, CLEAR) in [edits for edits, _ in tried]
    assert [cause.edit for cause in found.causes] == [CLEAR, RATE]


def test_where_no_single_edit_gains_pairs_are_tried():
    work, _ = asked({frozenset(): 0.0, frozenset([RATE, CLEAR]): 0.9})
    found = search(work, proposed(CLEAR, RATE, INPUTS, urgent=(CLEAR, RATE)))
    assert {cause.edit for cause in found.causes} == {RATE, CLEAR}


def test_a_new_activation_is_tried_with_weights_that_suit_it_and_alone_is_blamed():
    curve, weights = Edit("activation", "relu", before="sigmoid"), Edit("initialisation", "he")
    work, _ = asked({frozenset(): 0.0, frozenset([curve, weights]): 0.9})
    work.harm = lambda edit: Harm(0.3 if edit == curve else 0.0)
    found = search(work, proposed(curve, weights, urgent=(curve,)))
    assert [cause.edit for cause in found.causes] == [curve]
    assert (weights,) in [one.given for one in found.tried]


def test_a_slow_symptom_is_replayed_for_longer():
    def attempt(edits, steps):
        return Skill(0.7 if RATE in edits and steps > LENGTH else 0.0, 100)

    work = Search(attempt, lambda edit: Harm(0.8), 4_000)
    found = search(work, proposed(RATE), longest=1_000)
    assert found.causes[0].edit == RATE and found.length == 4 * LENGTH


def test_a_program_that_was_found_sick_is_not_called_healthy_because_it_begins_well():
    def attempt(edits, steps):
        return Skill(0.8 if RATE in edits or steps <= LENGTH else 0.1, 100)

    sick, sound = (Search(attempt, lambda edit: Harm(0.8), 4_000, alarmed=alarmed) for alarmed in (True, False))
    assert search(sick, proposed(RATE), longest=1_000).causes[0].edit == RATE
    assert search(sound, proposed(RATE), longest=1_000).answer == "healthy"
    work, _ = asked({frozenset(): 0.9}, alarmed=True)
    assert search(work, proposed(RATE)).answer == "unknown"


def test_what_makes_a_learning_program_merely_faster_is_no_cause():
    def attempt(edits, steps):
        return Skill(0.9 if steps > LENGTH else 0.75 if edits else 0.55, 100)

    found = search(Search(attempt, lambda edit: Harm(0.8), 2_000), proposed(RATE), longest=1_000)
    assert found.answer == "healthy" and [one.reason for one in found.tried] == ["list", "list, for longer"]


def test_what_gains_in_a_longer_replay_too_is_the_cause():
    def attempt(edits, steps):
        return Skill(0.8 if edits else 0.5, 100)

    found = search(Search(attempt, lambda edit: Harm(0.8), 2_000), proposed(RATE), longest=1_000)
    assert found.causes[0].edit == RATE and found.length == LENGTH


def test_what_facts_speak_for_is_tried_first_and_ends_the_round_where_it_gains_enough():
    work, tried = asked({frozenset(): 0.0, frozenset([CLEAR]): 0.8, frozenset([RATE]): 0.85})
    found = search(work, proposed(RATE, INPUTS, CLEAR, urgent=(CLEAR,)))
    assert [edits for edits, _ in tried[:2]] == [(), (CLEAR,)]
    assert found.causes[0].edit == CLEAR


def test_labels_that_the_run_itself_learned_from_carry_a_signal():
    work, _ = asked({frozenset(): 0.0}, stood=0.3)
    assert search(work, proposed(RATE, CLEAR), lambda steps: Skill(0.9, 32)).answer == "unknown"


def test_labels_without_signal_are_told_from_a_program_that_learns_nothing():
    work, _ = asked({frozenset(): 0.0})
    assert search(work, proposed(RATE, CLEAR), lambda steps: Skill(0.9, 32)).answer == "no signal"
    work, _ = asked({frozenset(): 0.0})
    assert search(work, proposed(RATE, CLEAR), lambda steps: Skill(0.0, 32)).answer == "unknown"


def test_a_program_that_raises_has_the_worst_skill_and_the_edit_that_lets_it_run_is_the_cause():
    work, _ = asked({frozenset(): ModelError("the loss has no graph"), frozenset([Edit("loss")]): 0.7})
    found = search(work, proposed(Edit("loss")))
    assert found.causes[0].edit.kind == "loss" and "the loss has no graph" in found.remarks[0]


def test_an_edit_that_cannot_be_made_is_listed_with_its_reason():
    work, _ = asked({frozenset(): 0.0, frozenset([INPUTS]): ModelError("the inputs hold no numbers"), frozenset([RATE]): 0.7})
    found = search(work, proposed(INPUTS, RATE))
    assert next(one.failed for one in found.tried if one.edit == INPUTS) == "the inputs hold no numbers"


@pytest.mark.parametrize(("gain", "certainty"), [(0.7, "sure"), (0.4, "likely"), (0.2, "possible")])
def test_certainty_follows_the_gain(gain, certainty):
    work, _ = asked({frozenset(): 0.1, frozenset([RATE]): 0.1 + gain})
    assert search(work, proposed(RATE)).causes[0].certainty == certainty


def test_causes_that_cannot_be_told_apart_are_both_named():
    work, _ = asked({frozenset(): 0.0, frozenset([RATE]): 0.7, frozenset([INPUTS]): 0.99})
    (cause, *_) = search(work, proposed(RATE, INPUTS)).causes
    assert {cause.edit, *cause.rivals} == {RATE, INPUTS} and cause.certainty == "likely"


def test_a_larger_rate_is_not_told_from_the_precision_where_steps_are_rounded_away():
    precise = Proposal(Edit("precision", before="bfloat16"), "finding: precision", urgent=True)
    for rate in (Edit("learning_rate", 0.01, before=1e-4), Edit("learning_rate", 1e-5, before=1e-4)):
        found = search(asked({frozenset(): 0.0, frozenset([rate]): 0.9})[0], [*proposed(rate), precise]).causes[0]
        assert (found.certainty, found.rivals) == (("likely", (precise.edit,)) if rate.value > 1e-4 else ("sure", ()))


def test_nothing_is_said_of_a_healthy_program():
    work, _ = asked({frozenset(): 0.8, frozenset([RATE]): 0.86, frozenset([ADAM]): 0.95})
    found = search(work, proposed(RATE, ADAM, CLEAR))
    assert (found.answer, found.causes, found.remedies) == ("healthy", (), (ADAM,))


def test_the_budget_is_kept_and_what_was_not_tried_is_named():
    work, tried = asked({frozenset(): 0.0}, budget=200)
    found = search(work, proposed(CLEAR, RATE))
    assert len(tried) == 2 and found.spent <= 200
    assert "learning rate" in found.remarks[0]


def test_a_budget_for_less_than_one_comparison_is_refused_with_what_it_needs():
    work, _ = asked({frozenset(): 0.0}, budget=100)
    with pytest.raises(RequestError, match=r"too small for one comparison(?s:.*)160 steps"):
        search(work, proposed(RATE))


def test_an_interruption_keeps_what_was_tried():
    calls = []

    def attempt(edits, steps):
        calls.append(edits)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return Skill(0.0, 100)

    found = search(Search(attempt, lambda edit: Harm(0.5), 2_000), proposed(CLEAR, RATE, INPUTS))
    assert found.interrupted and found.answer == "interrupted" and [one.edit for one in found.tried] == [CLEAR]


def test_seconds_that_are_over_end_the_search():
    over = iter([False, False, True, True, True, True, True, True])
    work, tried = asked({frozenset(): 0.0}, over=lambda: next(over, True))
    search(work, proposed(CLEAR, RATE, INPUTS))
    assert len(tried) == 3


def test_progress_is_told_before_each_trial():
    told = []
    work, _ = asked({frozenset(): 0.0, frozenset([RATE]): 0.9}, progress=lambda *args: told.append(args))
    search(work, proposed(RATE))
    assert told[0] == (0, 2_000, "no change") and told[1][0] == LENGTH


def test_pairs_leave_what_a_longer_replay_takes():
    many = [Edit("momentum", 0.1 * place) for place in range(12)]
    skills = {frozenset(): 0.0}
    work, tried = asked(skills, budget=1_600)
    work.harm = lambda edit: Harm(0.8)
    search(work, [Proposal(one, "present", True) for one in (RATE, CLEAR, INPUTS, *many[:5])], longest=320)
    assert max(steps for _, steps in tried) == 320 and work.spent <= 1_600


def test_an_edit_that_trains_longer_costs_what_it_takes():
    work, tried = asked({frozenset(): 0.0, frozenset([Edit("steps", 200.0)]): 0.9})
    found = search(work, proposed(Edit("steps", 200.0)))
    assert tried[1][1] == 200 and found.tried[0].steps == 200


def test_the_score_needs_both_sides():
    assert score_of(0.5, Harm(0.5)) == 0.5
    assert score_of(0.9, Harm(0.0)) == score_of(-0.5, Harm(0.9)) == 0.0
    assert 0.0 < score_of(0.5, Harm(None)) < score_of(0.5, Harm(0.9))


def test_what_a_fact_asks_for_is_tried_beside_a_tenth_of_a_rate_that_was_found_without_it():
    whole, fact = Edit("learning_rate", 1.0, before=1e-6), Edit("parameters")
    tenth = Edit("learning_rate", 0.1, before=1e-6)
    skills = {
        frozenset(): 0.0,
        frozenset([whole]): 0.3,
        frozenset([whole, fact]): -0.2,
        frozenset([tenth, fact]): 0.9,
    }
    work, _ = asked(skills)
    found = search(work, proposed(fact, whole, urgent=(fact,)))
    assert [cause.edit for cause in found.causes] == [fact, whole]  # the smaller rate is no third cause


def test_of_two_that_gain_together_alone_the_activation_comes_before_the_weights_that_suit_it():
    weights, curve = Edit("initialisation", "he", before=1.0), Edit("activation", "relu", before="sigmoid")
    work, _ = asked({frozenset(): 0.0, frozenset([weights, curve]): 0.9})
    work.harm = lambda edit: Harm(0.8)
    found = search(work, [Proposal(one, "finding: vanishing", True) for one in (weights, curve)])
    assert [cause.edit.kind for cause in found.causes] == ["activation", "initialisation"]


def test_an_edit_that_nothing_speaks_for_and_that_gains_little_where_a_longer_control_stands_well_is_no_cause():
    skills = {(): {LENGTH: 0.3, 4 * LENGTH: 0.7}, (INPUTS,): {LENGTH: 0.7, 4 * LENGTH: 0.85}}
    for reason, causes in (("list", 0), ("value", 1)):
        work = Search(lambda edits, steps: Skill(skills[edits][steps], 100), lambda edit: Harm(0.3), 2_000)
        assert len(search(work, [Proposal(INPUTS, reason)], longest=1_000).causes) == causes


def test_a_control_that_does_not_learn_yet_is_given_longer_where_the_value_does_little_harm():
    skills = {(): {LENGTH: 0.0, 4 * LENGTH: 0.8}, (INPUTS,): {LENGTH: 0.4, 4 * LENGTH: 0.8}}
    work = Search(lambda edits, steps: Skill(skills[edits][steps], 100), lambda edit: Harm(0.3), 2_000)
    assert not search(work, [Proposal(INPUTS, "value")], longest=1_000).causes


def test_of_several_rates_that_gain_nothing_alone_the_pair_is_tried_with_the_usual_one():
    usual, far = Edit("learning_rate", 0.003, before=5.0), Edit("learning_rate", 0.5, before=5.0)
    skills = {frozenset(): 0.0, frozenset([far]): 0.001, frozenset([usual, CLEAR]): 0.9}
    work, _ = asked(skills)
    found = search(work, proposed(usual, far, CLEAR, urgent=(usual, far, CLEAR)))
    assert {cause.edit for cause in found.causes} == {usual, CLEAR}


@pytest.mark.parametrize(("run", "answer"), [(300, "no signal"), (2_000, "unknown")])
def test_a_batch_is_learned_by_heart_for_as_long_as_a_short_run_and_a_long_run_may_only_be_slow(run, answer):
    work, _ = asked({frozenset(): 0.0}, run=run)
    by_heart = lambda steps: Skill(0.9 if steps > LENGTH else 0.2, 32)  # noqa: E731
    assert search(work, proposed(RATE, CLEAR), by_heart, longest=800).answer == answer


def test_weights_that_happen_to_answer_better_before_they_learned_anything_are_no_cure():
    """Nothing learns here: other weights begin at .2 and stay there."""
    drawn = Edit("initialisation", "glorot")
    work, _ = asked({frozenset(): 0.0, frozenset([drawn]): 0.2})
    work.attempt = lambda edits, steps: Skill(0.2 if drawn in edits else 0.0, 100)
    assert search(work, proposed(drawn, urgent=(drawn,))).causes == ()


def test_weights_that_learn_are_a_cure():
    drawn = Edit("initialisation", "glorot")
    work, _ = asked({frozenset(): 0.0, frozenset([drawn]): 0.5})
    assert [cause.edit for cause in search(work, proposed(drawn, urgent=(drawn,))).causes] == [drawn]


def test_what_is_wrong_for_certain_is_put_right_where_nothing_gains_without_it():
    """No gradient arrives, the loss does not fit and the rate is too low: no one and no two of them teach anything."""
    loss, graph = Edit("loss"), Edit("keep_graph")
    work, _ = asked({frozenset(): 0.0, frozenset([graph, loss, RATE]): 0.9})
    work.harm = lambda edit: Harm(0.0 if edit in (loss, graph) else 0.8)
    found = search(work, proposed(graph, loss, RATE, urgent=(graph, loss, RATE)))
    assert [cause.edit for cause in found.causes] == [graph, RATE, loss]


def test_what_is_wrong_for_certain_is_told_for_less_than_a_setting_is():
    skills = {frozenset(): 0.0, frozenset([RATE]): 0.8, frozenset([RATE, CLEAR]): 0.87, frozenset([RATE, INPUTS]): 0.87}
    work, _ = asked(skills)
    assert [cause.edit for cause in search(work, proposed(CLEAR, RATE, INPUTS, urgent=(CLEAR,))).causes] == [CLEAR, RATE]


def test_the_loss_and_the_last_function_are_no_pair_for_the_one_holds_the_other():
    loss, last = Edit("loss"), Edit("last", before="softmax")
    work, tried = asked({frozenset(): 0.0})
    work.harm = lambda edit: Harm(0.5)
    search(work, proposed(loss, last, RATE, urgent=(loss, last, RATE)))
    asked_for = [set(edits) for edits, _ in tried]
    assert {loss, last} not in asked_for and {loss, RATE} in asked_for


def test_a_loss_that_teaches_nothing_for_certain_is_put_right_beneath_every_pair():
    """A cross-entropy of one output: whatever else is wrong, nothing shows before the loss is another."""
    loss = Edit("loss")
    work, _ = asked({frozenset(): 0.0, frozenset([loss, RATE, INPUTS]): 0.9})
    found = search(work, proposed(loss, RATE, INPUTS, urgent=(loss, RATE, INPUTS)))
    assert {cause.edit for cause in found.causes} == {loss, RATE, INPUTS}


def test_what_only_reaches_sooner_what_the_whole_run_reached_is_no_cause():
    """Eighty steps are too few for this rate, and the run that was watched had thousands: it ended at .95."""
    work, _ = asked({frozenset(): 0.1, frozenset([RATE]): 0.9}, stood=0.95)
    found = search(work, proposed(RATE))
    assert found.causes == () and found.answer == "healthy"
    work, _ = asked({frozenset(): 0.1, frozenset([RATE]): 0.9}, stood=0.3)
    assert [cause.edit for cause in search(work, proposed(RATE)).causes] == [RATE], "the run itself had not come so far"


def test_what_is_wrong_for_certain_is_the_cause_where_it_gains_the_most_whatever_a_setting_harms():
    skills = {frozenset(): 0.0, frozenset([CLEAR]): 0.8, frozenset([RATE]): 0.75}
    work, _ = asked({**skills, frozenset([CLEAR, RATE]): 0.8})
    work.harm = lambda edit: Harm(0.97 if edit == RATE else 0.5)
    assert search(work, proposed(RATE, CLEAR, urgent=(CLEAR, RATE))).causes[0].edit == CLEAR


def test_no_steps_are_kept_for_longer_replays_of_a_program_in_which_a_certain_fault_is_left():
    """Longer replays would take all that is left, and show nothing: no gradient arrives in them."""
    graph = Edit("keep_graph")
    work, tried = asked({frozenset(): 0.0, frozenset([graph, RATE]): 0.9}, budget=1_000)
    found = search(work, proposed(graph, RATE, INPUTS, CLEAR, urgent=(graph, RATE)), longest=4_000)
    assert (graph, RATE) in [edits for edits, _ in tried] and {one.edit for one in found.causes} == {graph, RATE}


def test_nobody_is_sure_of_what_no_reference_of_the_same_family_speaks_for():
    for harm, certainty in ((Harm(0.8), "sure"), (Harm(0.8, outside=True), "likely"), (Harm(None), "likely")):
        work, _ = asked({frozenset(): 0.0, frozenset([RATE]): 0.9})
        work.harm = lambda edit, harm=harm: harm
        assert search(work, proposed(RATE)).causes[0].certainty == certainty
    work, _ = asked({frozenset(): 0.0, frozenset([CLEAR]): 0.9})
    work.harm = lambda edit: Harm(None)
    assert search(work, proposed(CLEAR, urgent=(CLEAR,))).causes[0].certainty == "sure"  # a fact needs no reference


def test_longer_replays_leave_what_learning_a_batch_by_heart_takes():
    """What is left after 8 edits holds three longer replays, or two and one batch."""
    many = [Edit("learning_rate", 10.0**-place) for place in range(8)]
    work, tried = asked({frozenset(): 0.0}, budget=9 * LENGTH + 12 * LENGTH, run=4 * LENGTH)
    told = []
    found = search(work, proposed(*many), lambda steps: told.append(steps) or Skill(0.9, 32), longest=800)
    assert found.answer == "no signal" and told == [4 * LENGTH]
    assert [steps for _, steps in tried].count(4 * LENGTH) == 2
    assert found.spent <= found.budget


def test_a_loss_that_fits_already_is_not_asked_again_for_longer():
    loss = Edit("loss")
    work, tried = asked({frozenset(): 0.3, frozenset([RATE]): 0.31}, alarmed=True)
    search(work, proposed(loss, RATE), longest=800)
    assert [edits for edits, steps in tried if steps > LENGTH] == [(), (RATE,)]


def test_a_loss_that_certainly_teaches_nothing_says_nothing_of_the_labels():
    for reason, answer in (("fact: broadcast loss", "unknown"), ("list", "no signal")):
        work, _ = asked({frozenset(): 0.0})
        found = search(work, [Proposal(Edit("loss"), reason, True)], lambda steps: Skill(0.9, 32))
        assert found.answer == answer
