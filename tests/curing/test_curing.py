"""``isograd.cure`` on real, tiny programs: proven repairs, silence where nothing is wrong, and what a journal remembers."""

import copy
import functools
import random

import numpy as np
import pytest
import torch
from curing_programs import DATA, LOSS, adam, cured, net, sgd, tried

from isograd import curing, trying
from isograd.errors import ModelError, RequestError
from isograd.frameworks.torch.births import TorchBirths
from isograd.records import codec
from isograd.records.edit import Edit
from isograd.records.proof import Tried
from isograd.spending import Budget
from isograd.trying import Program

RATE = (Edit("learning_rate", 1e-2),)


def dead():
    model = net()
    with torch.no_grad():
        model[0].bias.fill_(-30.0)
        model[2].bias.fill_(-30.0)
    return model


@functools.cache
def far_too_high():
    """A cure, the lines of its journal, its progress, and the states of all random numbers before it."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    lines, told = [], []
    proof = cured(
        optimizer=sgd(30.0), on_tried=lambda one: lines.append(codec.dumps(one)), on_progress=lambda *given: told.append(given)
    )
    return proof, tuple(lines), told, before, (torch.get_rng_state(), np.random.get_state()[1], random.getstate())


def test_a_rate_far_too_high_is_lowered_and_nothing_of_the_persons_is_touched():
    proof, _, _, before, after = far_too_high()
    assert proof.verdict == "proven" and [edit.kind for edit in proof.edits] == ["learning_rate"]
    assert proof.edits[0].before == pytest.approx(30.0) and proof.edits[0].value < 3.0
    assert torch.equal(before[0], after[0]) and (before[1] == after[1]).all() and before[2] == after[2]
    record = proof.record
    assert record.pairs_needed == len(record.trials) == 6 and record.false_proof_rate < 0.025
    assert record.cost_search <= 6 and record.cost_proof <= 10
    assert codec.loads(type(record), proof.to_json()) == record


def test_progress_names_what_is_tried_and_never_runs_backwards():
    told = far_too_high()[2]
    spent = [steps for steps, _, _ in told]
    assert spent == sorted(spent) and told[0][2] == "no change" and any("pair 6 of 6" in text for *_, text in told)
    assert all(steps <= allowed for steps, allowed, _ in told)


def test_units_that_are_born_dead_are_given_other_weights_and_it_is_proven():
    proof = cured(dead, optimizer=adam(1e-2), budget="20 runs")
    assert (proof.verdict, proof.record.kind) == ("proven", "repair")
    assert "initialisation" in {edit.kind for edit in proof.edits} and len(proof.edits) <= 2
    assert all(trial.difference > 0.3 for trial in proof.record.trials)


def test_gradients_that_a_persons_own_step_never_clears_are_cleared():
    def step(model, optimizer, batch):
        LOSS(model(batch[0]), batch[1]).backward()
        optimizer.step()

    proof = cured(loss=None, optimizer=sgd(0.3), step=step, steps=80)
    assert proof.verdict == "proven" and [edit.kind for edit in proof.edits] == ["clear_gradients"]


def test_a_healthy_program_is_not_called_faulty_and_costs_two_runs():
    proof = cured()
    assert proof.record.kind == "nothing" and proof.record.healthy and proof.edits == ()
    assert proof.record.cost_search <= 2.0


def test_an_edit_that_is_asked_for_is_proven_or_harmful():
    assert cured(optimizer=adam(1e-5), edits=RATE, steps=40).verdict == "proven"
    harmful = cured(edits=(Edit("learning_rate", 10.0),), steps=40)
    assert harmful.verdict == "harmful" and all(trial.difference < 0.0 for trial in harmful.record.trials)
    assert len(harmful.record.trials) == 6
    with pytest.raises(ModelError, match="cannot be made"):
        cured(edits=(Edit("unfreeze"),))


def test_of_an_edit_that_is_asked_for_the_present_value_is_found_out():
    proof = cured(optimizer=adam(1e-6), edits=Edit("learning_rate", 1e-2))
    assert proof.verdict == "proven" and proof.edits == (Edit("learning_rate", 1e-2, before=proof.edits[0].before),)
    assert proof.edits[0].before == pytest.approx(1e-6) and "1e-06 → 0.01" in str(proof)


def test_validation_examples_are_halved_between_search_and_proof():
    seen = tried(4, optimizer=adam(1e-5), validation=DATA[-4:], batches=DATA[:-4], edits=RATE)
    assert [(one.part, one.seed == 0) for one in seen] == [("search", True)] * 2 + [("proof", False)] * 2
    assert all(one.training.skill.examples == 64 for one in seen)


def test_a_finished_search_is_read_from_its_journal_without_a_step():
    first, lines, *_ = far_too_high()
    known = [codec.loads(Tried, line) for line in lines]
    more = []
    again = cured(optimizer=sgd(30.0), known=known, on_tried=more.append)
    assert again.record == first.record and more == []
    assert tried(1, optimizer=sgd(20.0), known=known)  # another program knows nothing of it


def test_a_journal_does_not_speak_for_a_step_that_was_changed_in_between():
    def forgetful(model, optimizer, batch):
        loss(model(batch[0]), batch[1]).backward()
        optimizer.step()

    def mended(model, optimizer, batch):
        optimizer.zero_grad()
        loss(model(batch[0]), batch[1]).backward()
        optimizer.step()

    def loss(outputs, targets):
        return LOSS(outputs, targets)

    mended.__qualname__ = forgetful.__qualname__
    options = {"loss": None, "optimizer": sgd(0.3), "edits": (Edit("clip_norm", 1.0),), "steps": 40}
    lines = tried(2, step=forgetful, **options)
    assert {one.seed for one in tried(1, step=forgetful, known=lines, **options)} == {1000}  # the proof goes on
    again = tried(2, step=mended, known=lines, **options)
    assert {one.program for one in again}.isdisjoint(one.program for one in lines)


def test_what_was_interrupted_goes_on_and_ends_as_if_it_had_not_been():
    done = tried(9, optimizer=sgd(30.0))
    rest = []
    ended = cured(optimizer=sgd(30.0), known=done, on_tried=rest.append)
    untouched, whole, *_ = far_too_high()
    assert ended.record == untouched.record and len(done) + len(rest) == len(whole)


@pytest.mark.parametrize("at", [1, 9])
def test_an_interruption_proves_nothing_and_says_so(at):
    known = [codec.loads(Tried, line) for line in far_too_high()[1][: at - 1]]

    def stop(one):
        raise KeyboardInterrupt

    stopped = cured(optimizer=sgd(30.0), known=known, on_tried=stop)
    assert stopped.record.interrupted and stopped.verdict == "not proven"


def test_an_interruption_in_the_first_short_replays_ends_the_search():
    """They catch it, to say what they know by then; a search that went on would cost a person minutes after Ctrl-C."""
    rows = [codec.loads(Tried, line) for line in far_too_high()[1]]
    replay = next(place for place, one in enumerate(rows) if one.length < 60)
    seen = []

    def stop(one):
        seen.append(one)
        raise KeyboardInterrupt

    stopped = cured(optimizer=sgd(30.0), known=rows[:replay], on_tried=stop)
    assert stopped.record.interrupted and len(seen) == 1


def test_weights_of_a_checkpoint_that_died_are_drawn_anew_where_nothing_that_keeps_them_helps():
    torch.manual_seed(0)
    model = net()
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.bias.fill_(-300.0)
        model[4].bias.copy_(torch.tensor([40.0, 0.0, 0.0]))
    proof = cured(lambda: copy.deepcopy(model), budget="30 runs")
    assert proof.verdict == "proven" and "initialisation" in {edit.kind for edit in proof.edits}
    assert any("no better than a constant answer" in remark for remark in proof.record.remarks)


def test_weights_that_are_trained_already_leave_only_the_order_to_vary_and_the_proof_says_so():
    torch.manual_seed(3)
    trained = net()
    proof = cured(lambda: copy.deepcopy(trained), optimizer=adam(1e-6))
    assert proof.verdict == "proven" and proof.record.varies == "order"
    assert any("whatever the seed" in remark for remark in proof.record.remarks)
    assert len({round(trial.treated.skill.value, 9) for trial in proof.record.trials}) > 1
    assert not any(edit.kind == "initialisation" for one in proof.record.candidates for edit in one.edits)


def test_weights_that_are_all_zero_whatever_the_seed_were_not_learned_and_may_be_drawn():
    def zeros():
        model = net()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        return model

    proof = cured(zeros, budget="20 runs")
    assert proof.verdict == "proven" and "initialisation" in {edit.kind for edit in proof.edits}


def test_an_edit_whose_training_runs_out_of_memory_is_shown_and_counts_against_it(monkeypatch):
    from isograd.frameworks.torch.patient import TorchPatient

    usual = TorchPatient.trained

    def trained(self, batches, steps, *rest):
        if self.optimizer.param_groups[0]["lr"] != 30.0 and self.data.inputs == ():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return usual(self, batches, steps, *rest)

    monkeypatch.setattr(TorchPatient, "trained", trained)
    proof = cured(optimizer=sgd(30.0))
    failed = [one for one in proof.record.candidates if one.failed]
    assert failed and all("out of memory" in one.failed and one.skill is None for one in failed)
    assert all(edit.kind != "learning_rate" or len(proof.edits) > 1 for edit in proof.edits)


def test_a_score_of_the_persons_own_judges_and_is_named():
    x, y = DATA[-1]
    accuracy = lambda model: 100.0 * float((model(x).argmax(1) == y).float().mean())  # noqa: E731
    proof = cured(optimizer=adam(1e-6), edits=RATE, steps=40, score=accuracy)
    assert proof.verdict == "proven" and proof.record.measure == "score"
    assert any("score=" in remark for remark in proof.record.remarks)


def test_a_score_that_is_a_loss_turned_round_may_end_as_nan_without_the_change():
    x, y = DATA[-1]
    proof = cured(
        optimizer=sgd(1e30), edits=(Edit("learning_rate", 0.1),), steps=40, score=lambda model: -float(LOSS(model(x), y))
    )
    assert proof.verdict == "proven"
    assert proof.record.control.failed == "the score is not finite: nan"


class Clock:
    """A clock that goes on by ``ticks``, then by the last of them, whenever it is asked for."""

    def __init__(self, *ticks):
        self.now, self.ticks = 0.0, list(ticks)

    def monotonic(self):
        self.now += self.ticks.pop(0) if len(self.ticks) > 1 else self.ticks[0]
        return self.now


def test_a_time_shortens_the_runs_that_nobody_announced(monkeypatch):
    for module in (curing, trying):
        monkeypatch.setattr(module, "time", Clock(0.01))
    proof = cured(optimizer=sgd(30.0), budget="4s", steps=None)
    assert proof.record.length == 109, "twenty runs in 4 s, at a clock tick for six steps and one for each time it is judged"
    assert proof.verdict in ("proven", "not proven")


@pytest.mark.parametrize("hiccups", [3, 20])
def test_steps_are_timed_again_before_a_time_is_called_too_short(monkeypatch, hiccups):
    monkeypatch.setattr(curing, "time", Clock(*[1.0] * 6 * hiccups, 0.01))
    program = Program(TorchBirths(net, LOSS, adam(1e-2)), DATA, None, own_score=False)
    patient, training, held = program.at(0)
    again = lambda: curing._paced(program, patient, training, held["search"])[0]  # noqa: E731
    length = lambda: curing._length(Budget(seconds=4.0), 60, again(), (), len(training), again)  # noqa: E731
    if hiccups == 3:
        assert length()[1] < 0.002
    else:
        with pytest.raises(RequestError, match="too small"):
            length()
