"""``isograd.cure`` on real, tiny programs: proven repairs, silence where nothing is wrong, and one message a mistake."""

import copy
import functools
import random

import numpy as np
import pytest
import torch
from torch import nn

import isograd
from isograd.errors import ModelError, RequestError
from isograd.frameworks.torch import births
from isograd.frameworks.torch.births import TorchBirths
from isograd.records import codec
from isograd.records.edit import Edit
from isograd.records.proof import Tried
from isograd.trying import Program

LOSS = nn.functional.cross_entropy


def problem(count=640):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(count, 8, generator=draw)
    y = (x[:, :4] @ torch.randn(4, 3, generator=draw)).argmax(1)
    return [(x[i : i + 32], y[i : i + 32]) for i in range(0, count, 32)]


DATA = problem()


def net():
    return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3))


def dead():
    model = net()
    with torch.no_grad():
        model[0].bias.fill_(-30.0)
        model[2].bias.fill_(-30.0)
    return model


def adam(rate):
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


def sgd(rate):
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


def cured(build=net, batches=DATA, loss=LOSS, optimizer=None, *, budget="14 runs", steps=80, **options):
    return isograd.cure(build, batches, loss, optimizer or adam(1e-2), budget=budget, steps=steps, **options)


@functools.cache
def far_too_high():
    """The record of a cure, and the lines of its journal."""
    lines = []
    proof = cured(optimizer=sgd(30.0), on_tried=lambda one: lines.append(codec.dumps(one)))
    return proof.record, tuple(lines)


def test_units_that_are_born_dead_are_given_other_weights_and_it_is_proven():
    proof = cured(dead, optimizer=adam(1e-2), budget="25 runs", steps=120)
    assert (proof.verdict, proof.record.kind) == ("proven", "repair")
    assert "initialisation" in {edit.kind for edit in proof.edits} and len(proof.edits) <= 2
    assert all(trial.difference > 0.3 for trial in proof.record.trials)


def test_a_rate_far_too_high_is_lowered_and_nothing_of_the_persons_is_touched():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    proof = cured(optimizer=sgd(30.0))
    assert proof.verdict == "proven" and [edit.kind for edit in proof.edits] == ["learning_rate"]
    assert proof.edits[0].before == pytest.approx(30.0) and proof.edits[0].value < 3.0
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all() and before[2] == random.getstate()
    record = proof.record
    assert record.pairs_needed == len(record.trials) == 6 and record.false_proof_rate < 0.025
    assert record.cost_search <= 6 and record.cost_proof <= 10
    assert codec.loads(type(record), proof.to_json()) == record


def test_gradients_that_a_persons_own_step_never_clears_are_cleared():
    def step(model, optimizer, batch):
        LOSS(model(batch[0]), batch[1]).backward()
        optimizer.step()

    proof = cured(loss=None, optimizer=sgd(0.3), step=step)
    assert proof.verdict == "proven" and [edit.kind for edit in proof.edits] == ["clear_gradients"]


def test_a_healthy_program_is_not_called_faulty_and_costs_two_runs():
    proof = cured()
    assert proof.record.kind == "nothing" and proof.record.healthy and proof.edits == ()
    assert proof.record.cost_search <= 2.0


def test_an_edit_that_is_asked_for_is_proven_or_harmful():
    assert cured(optimizer=adam(1e-5), edits=(Edit("learning_rate", 1e-2),)).verdict == "proven"
    harmful = cured(optimizer=adam(1e-2), edits=(Edit("learning_rate", 10.0),))
    assert harmful.verdict == "harmful" and harmful.record.trials[0].difference < 0.0
    with pytest.raises(ModelError, match="cannot be made"):
        cured(edits=(Edit("unfreeze"),))


def test_validation_examples_are_halved_between_search_and_proof():
    seen = []
    proof = cured(optimizer=adam(1e-5), validation=DATA[-4:], batches=DATA[:-4], on_tried=seen.append)
    assert proof.verdict == "proven"
    assert {one.part for one in seen if one.seed == 0} == {"search"}
    assert {one.part for one in seen if one.seed != 0} == {"proof"}
    assert all(one.training.skill.examples == 64 for one in seen)


def test_a_finished_search_is_read_from_its_journal_without_a_step():
    first, lines = far_too_high()
    known = [codec.loads(Tried, line) for line in lines]
    more = []
    again = cured(optimizer=sgd(30.0), known=known, on_tried=more.append)
    assert again.record == first and more == []
    cured(optimizer=sgd(20.0), known=known, on_tried=more.append)
    assert more  # another program knows nothing of it


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
    lines, more = [], []
    options = {"loss": None, "optimizer": sgd(0.3), "edits": (Edit("clip_norm", 1.0),)}
    cured(step=forgetful, on_tried=lines.append, **options)
    cured(step=forgetful, known=lines, on_tried=more.append, **options)
    assert more == []
    cured(step=mended, known=lines, on_tried=more.append, **options)
    assert {one.program for one in more}.isdisjoint(one.program for one in lines)


@pytest.mark.parametrize("at", [0, 9])
def test_what_was_interrupted_goes_on_and_ends_as_if_it_had_not_been(at):
    done = []

    def keep(one):
        done.append(one)
        if len(done) == at + 1:
            raise KeyboardInterrupt

    stopped = cured(optimizer=sgd(30.0), on_tried=keep)
    assert stopped.record.interrupted and stopped.verdict == "not proven" and len(done) == at + 1
    rest = []
    ended = cured(optimizer=sgd(30.0), known=done, on_tried=rest.append)
    untouched, whole = far_too_high()
    assert ended.record == untouched and len(done) + len(rest) == len(whole)


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

    proof = cured(zeros, budget="25 runs")
    assert proof.verdict == "proven" and "initialisation" in {edit.kind for edit in proof.edits}


def test_a_factory_that_fixes_its_own_seed_is_told():
    def build():
        torch.manual_seed(0)
        return net()

    proof = cured(build, optimizer=adam(1e-6))
    assert proof.record.varies == "order" and any("seed of its own" in remark for remark in proof.record.remarks)


def test_a_factory_that_no_seed_reaches_is_told():
    own = torch.Generator()
    own.seed()

    def build():
        model = net()
        with torch.no_grad():
            model[0].weight.normal_(0.0, 0.3, generator=own)
        return model

    assert any("no seed reaches" in remark for remark in cured(build).record.remarks)


def test_a_factory_that_gives_the_same_model_twice_is_refused():
    model = net()
    with pytest.raises(RequestError, match=r"same model each time(?s:.*)deepcopy"):
        cured(lambda: model)
    with pytest.raises(RequestError, match=r"share weights(?s:.*)0.weight is in both"):
        cured(lambda: nn.Sequential(model[0], nn.Linear(24, 3)))


def test_a_loss_that_is_not_deterministic_is_told():
    own = torch.Generator()
    own.seed()
    proof = cured(loss=lambda out, y: LOSS(out, y) * (1.0 + torch.rand((), generator=own)))
    assert any("not deterministic" in remark for remark in proof.record.remarks)


def test_a_budget_that_no_proof_fits_into_says_what_it_needs():
    with pytest.raises(RequestError, match=r"5.0 runs of 80 steps(?s:.*)budget=840"):
        cured(budget=400)
    with pytest.raises(RequestError, match=r'budget="11 runs"'):
        cured(budget="3 runs")
    with pytest.raises(RequestError, match=r'budget="\d+min"'):
        cured(budget="0.001s")
    with pytest.raises(RequestError, match=r'"20 runs"'):
        cured(budget="a while")


def test_a_model_too_large_to_copy_is_told_what_can_be_done_in_place(monkeypatch):
    monkeypatch.setattr(births, "_free", lambda models: 1_000)
    with pytest.raises(ModelError, match=r"too large for trials(?s:.*)act="):
        cured()


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
    proof = cured(optimizer=adam(1e-6), score=lambda model: 100.0 * float((model(x).argmax(1) == y).float().mean()))
    assert proof.verdict == "proven" and proof.record.measure == "score"
    assert any("score=" in remark for remark in proof.record.remarks)


def test_a_score_that_is_a_loss_turned_round_may_end_as_nan_without_the_change():
    x, y = DATA[-1]
    proof = cured(optimizer=sgd(1e30), score=lambda model: -float(LOSS(model(x), y)))
    assert proof.verdict == "proven" and proof.edits[0].kind in ("learning_rate", "optimizer")
    assert proof.record.control.failed == "the score is not finite: nan"


def test_batches_may_be_a_function_of_the_seed():
    def batches(seed):
        order = torch.randperm(640, generator=torch.Generator().manual_seed(seed))
        x, y = (torch.cat(part)[order] for part in zip(*DATA, strict=True))
        return [(x[i : i + 32], y[i : i + 32]) for i in range(0, 640, 32)]

    assert cured(batches=batches, optimizer=adam(1e-6), edits=(Edit("learning_rate", 1e-2),)).verdict == "proven"


def test_batches_of_a_shuffling_loader_follow_the_seed():
    records = [cured(batches=shuffling(), optimizer=adam(1e-6), edits=(Edit("learning_rate", 1e-2),)).record for _ in "ab"]
    assert records[0] == records[1] and records[0].verdict == "proven"


def shuffling(batches=DATA):
    data = torch.utils.data.TensorDataset(*(torch.cat(part) for part in zip(*batches, strict=True)))
    return torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)


def test_loaders_draw_none_of_the_persons_random_numbers():
    before = torch.get_rng_state()
    cured(batches=shuffling(), validation=shuffling(DATA[-4:]), optimizer=adam(1e-6), edits=(Edit("learning_rate", 1e-2),))
    assert torch.equal(before, torch.get_rng_state())


def test_validation_that_shuffles_is_halved_once_and_the_proof_is_of_examples_of_its_own():
    program = Program(TorchBirths(net, LOSS, adam(1e-2)), DATA[:-4], shuffling(DATA[-4:]), own_score=False)
    held = [program.at(seed)[2][part] for seed in (0, 1000, 1001) for part in ("search", "proof")]
    seen = [frozenset(map(tuple, torch.cat([x for x, _ in batches]).tolist())) for batches in held]
    assert len(set(seen)) == 2 and seen[0].isdisjoint(seen[1])


def test_where_a_loader_mixes_what_is_set_aside_no_unseen_examples_are_claimed():
    record = cured(batches=shuffling(), optimizer=adam(1e-6), edits=(Edit("learning_rate", 1e-2),)).record
    assert not record.fresh and any("differs from seed to seed" in remark for remark in record.remarks)
    still = cured(optimizer=adam(1e-6), edits=(Edit("learning_rate", 1e-2),)).record
    assert still.fresh


def test_batches_that_only_the_step_can_read_ask_for_a_score():
    def step(model, optimizer, batch):
        optimizer.zero_grad()
        LOSS(model(batch["x"]), batch["y"]).backward()
        optimizer.step()

    with pytest.raises(ModelError, match="only the step function can read") as told:
        cured(batches=[{"x": x, "y": y} for x, y in DATA], loss=None, step=step)
    assert "score=" in str(told.value)


def test_batches_that_are_left_out_are_told():
    program = Program(TorchBirths(net, LOSS, adam(1e-2)), 21 * DATA, 3 * DATA, own_score=False)
    assert (len(program.at(0)[1]), len(program.at(0)[2]["search"])) == (400, 40)
    program.at(1)
    assert [remark.partition(":")[0] for remark in program.remarks] == [
        "there are more than 400 batches",
        "there are more than 40 validation batches",
    ]


def test_with_a_score_all_batches_are_trained_on_and_no_unseen_examples_are_claimed():
    x, y = DATA[-1]
    program = Program(TorchBirths(net, LOSS, adam(1e-2)), DATA, None, own_score=True)
    assert len(program.at(0)[1]) == len(DATA)
    proof = cured(
        optimizer=adam(1e-6),
        edits=(Edit("learning_rate", 1e-2),),
        score=lambda model: float((model(x).argmax(1) == y).float().mean()),
        validation=DATA[-2:],
    )
    assert not proof.record.fresh and "never saw" not in str(proof)
    assert any("validation= is not looked at" in remark for remark in proof.record.remarks)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batches": iter(DATA)}, "gone through once"),
        ({"batches": []}, "no batch"),
        ({"build": net()}, "function that makes the model"),
        ({"build": lambda: 3}, "not a torch module"),
        ({"build": lambda: 1 / 0}, "build raises"),
        ({"optimizer": torch.optim.SGD(net().parameters(), lr=0.1)}, "function of the parameters"),
        ({"optimizer": lambda parameters: None}, "no optimizer"),
        ({"optimizer": lambda parameters: torch.optim.SGD(parameters)["lr"]}, "factory raises"),
        ({"step": lambda model, optimizer, batch: None}, "not both"),
        ({"steps": 0}, "at least 1"),
        ({"batches": lambda: DATA}, "function of the seed"),
        ({"score": lambda model: 1 / 0}, "score raises"),
        ({"score": "accuracy"}, "score is a function"),
        ({"edits": Edit("unfreeze")}, "cannot be made"),
        ({"loss": lambda out, y: out.nonsense}, "nonsense"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_message(options, told):
    with pytest.raises((RequestError, ModelError), match=told):
        cured(**options)


def test_trials_that_could_not_differ_are_refused():
    trained = net()
    with pytest.raises(RequestError, match="nothing differs"):
        cured(lambda: copy.deepcopy(trained), batches=DATA[:1], validation=DATA[1:3])


def test_a_time_shortens_the_runs_that_nobody_announced():
    proof = cured(optimizer=sgd(30.0), budget="4s", steps=None)
    assert 60 <= proof.record.length <= 300
    assert proof.verdict in ("proven", "not proven")


def test_progress_names_what_is_tried_and_never_runs_backwards():
    told = []
    cured(optimizer=sgd(30.0), on_progress=lambda *given: told.append(given))
    spent = [steps for steps, _, _ in told]
    assert spent == sorted(spent) and told[0][2] == "no change" and any("pair 6 of 6" in text for *_, text in told)
    assert all(steps <= allowed for steps, allowed, _ in told)
