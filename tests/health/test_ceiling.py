"""What everything robust at once reaches, and what is tried where it does not help: cases whose answer is known by thought."""

from dataclasses import replace

import pytest

from isograd.health.found import Plan
from isograd.health.hypotheses import Proposal
from isograd.health.present import Present
from isograd.health.remedies import companions
from isograd.health.remedies.preset import other_ways, preset
from isograd.health.remedies.rates import to_adam
from isograd.health.repair import cure
from isograd.health.trials import Work
from isograd.records.edit import Edit
from isograd.records.proof import Training
from isograd.records.skill import Skill

RATE, LOW, HE, RELU = Edit("learning_rate", 3e-3), Edit("learning_rate", 3e-4), Edit("initialisation", "he"), Edit("loss")
SINGLES = tuple(Proposal(edit, "list") for edit in (RATE, HE, RELU))


def program(skill, asked, runs=60.0):
    """A program whose skill after a whole run is ``skill(set of edits)``, and grows evenly; ``asked`` is told of each run."""

    def attempt(edits, seed, part, steps, stop):
        asked.append((edits, part, steps))
        value = skill(frozenset(edits))
        curve = tuple((at, value * at / 100) for at in (25, 50, 75, 100) if at <= steps)
        return Training(Skill(curve[-1][1], 10), curve, steps)

    return Work(attempt, 100, lambda spent: runs * 100 - spent)


def test_where_nothing_gains_alone_each_part_of_a_good_preset_is_left_out_in_short_and_what_it_needs_stays():
    edits = tuple(Edit(kind) for kind in ("input_scale", "loss", "normalisation", "optimizer", "learning_rate", "clip_norm"))
    needed, asked = {edits[0], edits[3], edits[4]}, []
    singles = tuple(Proposal(edit, "finding", place < 2) for place, edit in enumerate(edits))
    work = program(lambda made: 0.9 if needed <= made else 0.02 * len(made & needed), asked, 24.0)
    proof = cure(work, Plan(edits, singles), lambda: 0.5)
    assert proof.verdict == "proven" and set(proof.edits) == needed
    short = [made for made, part, steps in asked if steps == 25]
    assert len(short) == len(edits), "each part once, and no pairs"
    assert edits[1] in short[0] and edits[2] not in short[0], "what nothing speaks for goes first"
    asked.clear()
    cure(program(lambda made: 0.4 if needed <= made else 0.0, asked, 24.0), Plan(edits, singles), lambda: 0.5)
    assert not [made for made, part, steps in asked if steps == 25 and len(made) == len(edits) - 1], "a poor preset"


def test_parts_are_left_out_in_short_too_where_a_combination_alone_gains_and_is_far_from_the_preset():
    edits = tuple(Edit(kind) for kind in ("input_scale", "loss", "normalisation", "optimizer", "learning_rate", "clip_norm"))
    needed, asked = {edits[0], edits[3], edits[4]}, []
    deep = (Edit("activation", "tanh"), Edit("initialisation", "orthogonal"))
    singles = tuple(Proposal(edit, "finding", edit.kind == "loss") for edit in edits)
    work = program(lambda made: 0.9 if needed <= made else 0.5 if set(deep) <= made else 0.0, asked, 24.0)
    proof = cure(work, Plan(edits, singles, together=(deep,), alarmed=True), lambda: 0.5)
    assert deep in [made for made, _, steps in asked if steps == 100], "theory puts these together"
    assert [made for made, _, steps in asked if steps == 25 and len(made) == len(edits) - 1], "the parts of the preset"
    assert (edits[-1],) not in [made for made, _, _ in asked], "no more single edits are tried in vain"
    assert proof.verdict == "proven" and set(proof.edits) == needed


def test_a_preset_that_fails_at_its_rate_tries_another_in_short_and_that_is_the_ceiling():
    asked = []
    way, plan = (HE, LOW), Plan((HE, RATE), SINGLES, ways=((HE, LOW), (RELU, RATE)))
    work = program(lambda edits: 0.9 if {HE, LOW} <= edits else 0.1, asked)
    proof = cure(work, plan, lambda: 0.5)
    assert proof.ceiling.edits == way and proof.ceiling.skill == 0.9
    assert proof.verdict == "proven" and set(proof.edits) == {HE, LOW}
    assert [steps for edits, _, steps in asked if edits == way][:2] == [25, 100], "a quarter, then the whole"
    assert [steps for edits, _, steps in asked if edits == (RELU, RATE)][:1] == [25]


def test_a_way_that_is_quick_alone_does_not_hide_the_one_that_does_well_in_the_end():
    ends = {RELU: (0.4, 0.42), LOW: (0.35, 0.9)}

    def attempt(edits, seed, part, steps, stop):
        early, late = next((ends[one] for one in edits if one in ends), (0.1, 0.1))
        curve = tuple((at, early + (late - early) * (at - 25) / 75) for at in (25, 50, 75, 100) if at <= steps)
        return Training(Skill(curve[-1][1], 10), curve, steps)

    proof = cure(
        Work(attempt, 100, lambda spent: 6_000 - spent),
        Plan((HE, RATE), (Proposal(RATE, "list"),), ways=((HE, LOW), (RELU, RATE))),
        lambda: 0.5,
    )
    assert proof.ceiling.edits == (HE, LOW) and LOW in proof.edits


def test_other_ways_are_left_where_the_preset_helps_or_the_program_is_well():
    for skill, well in ((lambda edits: 0.9 if RATE in edits else 0.1, False), (lambda edits: 0.8, True)):
        asked = []
        proof = cure(program(skill, asked), Plan((HE, RATE), SINGLES, ways=((HE, LOW),)), lambda: 0.5)
        assert not [edits for edits, _, _ in asked if LOW in edits]
        assert proof.healthy is well


def test_other_ways_are_tried_where_the_preset_helps_and_does_not_do_well_all_the_same():
    asked = []
    work = program(lambda edits: 0.9 if {HE, LOW} <= edits else 0.3 if RATE in edits else 0.1, asked)
    proof = cure(work, Plan((HE, RATE), SINGLES, ways=((HE, LOW),)), lambda: 0.5)
    assert proof.ceiling.edits == (HE, LOW) and proof.ceiling.skill == 0.9
    poor = program(lambda edits: 0.9 if {HE, LOW} <= edits else 0.3 if RATE in edits else 0.1, asked, 14.0)
    assert cure(poor, Plan((HE, RATE), SINGLES, ways=((HE, LOW),)), lambda: 0.5).ceiling.skill == 0.3, "little is left for it"


def test_a_preset_with_more_steps_than_the_budget_holds_twice_is_run_without_them():
    longer = Edit("steps", 800.0, before=100.0)
    for runs, steps in ((60.0, 800), (16.0, 100)):
        asked = []
        cure(program(lambda edits: 0.9 if RATE in edits else 0.1, asked, runs), Plan((RATE, longer), SINGLES), lambda: 0.5)
        edits, _, length = next(one for one in asked if RATE in one[0])
        assert length == steps and (longer in edits) is (steps == 800)


@pytest.mark.parametrize(("runs", "steps"), [(300.0, 300.0), (100.0, 80.0)])
def test_a_run_of_few_steps_is_as_long_as_the_budget_holds_with_its_proof(runs, steps):
    lengths = tuple(Edit("steps", value, before=10.0) for value in (80.0, 300.0))
    singles = tuple(Proposal(edit, "value", True) for edit in lengths)

    def attempt(edits, seed, part, length, stop):
        value = min(0.9, 0.1 + 0.005 * length)
        return Training(Skill(value, 10), tuple((at, value) for at in (length // 4, length // 2, length)), length)

    work = Work(attempt, 10, lambda spent: runs * 10 - spent)
    proof = cure(work, Plan((RATE, lengths[1]), singles), lambda: 0.5)
    assert (proof.verdict, proof.edits) == ("proven", (Edit("steps", steps, before=10.0),)), proof.why


def test_a_longer_run_is_taken_only_where_it_does_better_than_a_shorter_one():
    lengths = tuple(Edit("steps", value, before=10.0) for value in (80.0, 300.0))
    for more, chosen in ((0.1, lengths[1]), (0.0, lengths[0])):

        def attempt(edits, seed, part, length, stop, more=more):
            value = 0.8 + (more if length > 100 else 0.0) if length > 10 else 0.2
            return Training(Skill(value, 10), tuple((at, value) for at in (length // 4, length // 2, length)), length)

        plan = Plan((), tuple(Proposal(edit, "value", True) for edit in lengths))
        assert cure(Work(attempt, 10, lambda spent: 4_000 - spent), plan, lambda: 0.5).edits == (chosen,)


def test_what_gains_all_that_is_left_to_a_program_that_does_well_is_an_improvement_and_no_repair():
    proof = cure(program(lambda edits: 0.995 if RATE in edits else 0.905, []), Plan((HE, RATE), SINGLES), lambda: 0.5)
    assert (proof.verdict, proof.kind, proof.edits) == ("proven", "improvement", (RATE,)) and proof.healthy
    less = cure(program(lambda edits: 0.96 if RATE in edits else 0.87, []), Plan((HE, RATE), SINGLES), lambda: 0.5)
    assert (less.edits, less.cost_search) == ((), 2.0)


def test_a_way_that_is_no_better_in_short_is_not_run_in_full():
    asked = []
    cure(program(lambda edits: 0.1, asked), Plan((HE, RATE), SINGLES, ways=((HE, LOW),)), lambda: 0.5)
    assert [steps for edits, _, steps in asked if edits == (HE, LOW)] == [25]


def test_a_layer_frozen_by_accident_is_let_learn_though_the_preset_gains_too_little_to_be_a_ceiling():
    free = Edit("unfreeze")
    singles = (Proposal(free, "fact: parameters ask for no gradient", True), *SINGLES)

    def cured(certain):
        work = program(lambda edits: 0.97 if free in edits else 0.85 if RATE in edits else 0.82, [])
        return cure(work, Plan((RATE, HE), singles, certain=certain), lambda: 0.5)

    assert (cured(certain=True).verdict, cured(certain=True).edits) == ("proven", (free,))
    assert (cured(certain=False).edits, cured(certain=False).cost_search) == ((), 2.0)


def present(algorithm, depth=3):
    kind = "adaptive" if algorithm in ("adagrad", "adamw", "lion") else "sgd"
    words = (("optimizer", kind), ("algorithm", algorithm), ("activation", "relu"))
    return Present("dense", depth, 16.0, numbers=(("learning_rate", 0.01), ("eps", 1e-10)), words=words)


def test_an_optimizer_that_is_adaptive_but_not_of_adams_kind_is_replaced_and_one_of_its_kind_gets_its_constants():
    assert to_adam(present("adagrad")) == Edit("optimizer", "adam", before="adagrad")
    assert to_adam(present("lion")) is not None and to_adam(present("asgd")).before == "asgd"
    assert [edit.kind for edit in preset((), present("adagrad"))][-3:] == ["optimizer", "learning_rate", "clip_norm"]
    assert [edit.kind for edit in preset((), present("adamw"))][-3:] == ["learning_rate", "eps", "clip_norm"]


def test_where_steps_are_adaptive_in_another_way_adam_comes_with_a_rate_of_its_own():
    proposed = [Proposal(Edit("residual"), ""), Proposal(Edit("activation", "tanh"), "")]
    shallow, deep = companions(proposed, present("adagrad")), companions(proposed, present("adagrad", 30))
    assert [edit.kind for edit in shallow[0]] == [edit.kind for edit in deep[1]] == ["optimizer", "learning_rate"]
    assert "residual" in [edit.kind for edit in deep[0]], "what a deep network needs stays first"
    assert all(edit.kind != "optimizer" for made in companions(proposed, present("sgd")) for edit in made)


def test_the_other_ways_of_a_deep_network_begin_at_nothing_and_those_of_a_shallow_one_do_not():
    spoken = Edit("input_scale", "standard")
    deep, flat = (other_ways((spoken, *preset((), one)), (spoken,), one) for one in (present("sgd", 30), present("sgd")))
    assert [{edit.value for edit in way if edit.kind == "learning_rate"} for way in deep] == [{3e-4}, {3e-2}, {3e-3}, {3e-3}]
    assert Edit("initialisation", "fixup") in deep[2] and all(edit.kind != "normalisation" for edit in deep[2])
    gain = replace(present("sgd", 30), numbers=(("learning_rate", 0.01), ("gain", 1.0)))
    isometric = other_ways(preset((), gain), (), gain)[2]
    kinds = {edit.kind for edit in isometric}
    assert Edit("activation", "tanh", before="relu") in isometric and not kinds & {"normalisation", "residual"}
    assert len(flat) == 3 and [edit.kind for edit in flat[2]] == ["input_scale", "optimizer", "learning_rate", "clip_norm"]
