"""What ``isograd.cure`` makes of odd factories, batches and budgets: one message a mistake, and a remark where it can go on."""

import copy
import itertools

import pytest
import torch
from curing_programs import DATA, LOSS, adam, cured, net, shuffling, tried
from torch import nn

from isograd.errors import ModelError, RequestError
from isograd.explaining import Most
from isograd.frameworks.torch import births
from isograd.frameworks.torch.births import TorchBirths
from isograd.records.edit import Edit
from isograd.trying import Program

RATE = (Edit("learning_rate", 1e-2),)


def test_a_factory_that_fixes_its_own_seed_is_told():
    def build():
        torch.manual_seed(0)
        return net()

    varies, learned, said = TorchBirths(build, LOSS, adam(1e-2)).check()
    assert not varies and not learned and "seed of its own" in said[0]


def test_a_factory_that_no_seed_reaches_is_told():
    own = torch.Generator()
    own.seed()

    def build():
        model = net()
        with torch.no_grad():
            model[0].weight.normal_(0.0, 0.3, generator=own)
        return model

    assert any("no seed reaches" in remark for remark in TorchBirths(build, LOSS, adam(1e-2)).check()[2])


def test_a_factory_that_gives_the_same_model_twice_is_refused():
    model = net()
    with pytest.raises(RequestError, match=r"same model each time(?s:.*)deepcopy"):
        cured(lambda: model)
    with pytest.raises(RequestError, match=r"share weights(?s:.*)0.weight is in both"):
        cured(lambda: nn.Sequential(model[0], nn.Linear(24, 3)))


def test_a_learned_body_under_a_fresh_head_is_not_drawn_again():
    torch.manual_seed(3)
    body = nn.Sequential(nn.Linear(8, 64), nn.ReLU())
    varies, learned, said = TorchBirths(lambda: nn.Sequential(copy.deepcopy(body), nn.Linear(64, 3)), LOSS, adam(1e-3)).check()
    assert varies and learned and "they were learned" in said[0]
    fixed = nn.Parameter(torch.randn(4, 8))
    assert TorchBirths(lambda: nn.Sequential(net(), WithFixed(fixed)), LOSS, adam(1e-3)).check() == (True, False, ())


class WithFixed(nn.Module):
    def __init__(self, values):
        super().__init__()
        self.fixed = nn.Parameter(values.detach().clone())

    def forward(self, x):
        return x


def test_a_loss_that_is_not_deterministic_is_told():
    own = torch.Generator()
    own.seed()
    proof = cured(loss=lambda out, y: LOSS(out, y) * (1.0 + torch.rand((), generator=own)))
    assert any("not deterministic" in remark for remark in proof.record.remarks)


def test_a_budget_that_no_proof_fits_into_says_what_it_needs():
    with pytest.raises(RequestError, match=r"5.0 runs of 60 steps(?s:.*)budget=630"):
        cured(budget=300)
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


def test_validation_of_another_shape_is_named():
    with pytest.raises(ModelError) as raised:
        cured(validation=[(DATA[0][0][:, :3], DATA[0][1])])
    assert any("validation=" in note for note in raised.value.__notes__)


def test_batches_may_be_a_function_of_the_seed():
    asked = []

    def batches(seed):
        asked.append(seed)
        order = torch.randperm(640, generator=torch.Generator().manual_seed(seed))
        x, y = (torch.cat(part)[order] for part in zip(*DATA, strict=True))
        return [(x[i : i + 32], y[i : i + 32]) for i in range(0, 640, 32)]

    tried(6, batches=batches, optimizer=adam(1e-6), edits=RATE, steps=40)
    assert {0, 1000, 1001} <= set(asked)


def orders(loader):
    """The first batches of two seeds, and of the first again."""
    program = Program(TorchBirths(net, LOSS, adam(1e-2)), loader, DATA[-2:], own_score=False)
    return [program._data(seed)[0][0][0] for seed in (0, 1000, 0)]


@pytest.mark.parametrize("own", [False, True], ids=["torch's stream", "a generator of its own"])
def test_batches_of_a_shuffling_loader_follow_the_seed(own):
    one, other, again = orders(shuffling(generator=torch.Generator().manual_seed(3) if own else None))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_loaders_draw_none_of_the_persons_random_numbers():
    own = torch.Generator().manual_seed(3)
    before = torch.get_rng_state(), own.get_state()
    tried(3, batches=shuffling(generator=own), validation=shuffling(DATA[-4:], generator=own), edits=RATE, steps=40)
    assert torch.equal(before[0], torch.get_rng_state()) and torch.equal(before[1], own.get_state())


def test_mappings_with_labels_are_pairs_where_the_model_does_not_take_them():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = net()

        def forward(self, x):
            return self.body(x)

    batches = [{"x": x, "labels": y} for x, y in DATA]
    (one, *_) = tried(1, build=Named, batches=batches)
    assert one.training.skill.value > 0.5 and one.training.failed is None

    class Whole(Named):
        def forward(self, x, labels):
            return {"loss": LOSS(self.body(x), labels)}

    births = TorchBirths(Whole, None, adam(1e-2))
    assert births.paired(batches[:1]) == (batches[0],)  # it takes them, and makes its own loss of them


def test_validation_that_shuffles_is_halved_once_and_the_proof_is_of_examples_of_its_own():
    program = Program(TorchBirths(net, LOSS, adam(1e-2)), DATA[:-4], shuffling(DATA[-4:]), own_score=False)
    held = [program.at(seed)[2][part] for seed in (0, 1000, 1001) for part in ("search", "proof")]
    seen = [frozenset(map(tuple, torch.cat([x for x, _ in batches]).tolist())) for batches in held]
    assert len(set(seen)) == 2 and seen[0].isdisjoint(seen[1])


def test_where_a_loader_mixes_what_is_set_aside_no_unseen_examples_are_claimed():
    def stopped(batches):
        return cured(batches=batches, edits=RATE, steps=40, on_tried=_interrupts).record

    assert not stopped(shuffling()).fresh and stopped(DATA).fresh
    assert any("differs from seed to seed" in remark for remark in stopped(shuffling()).remarks)


def _interrupts(one):
    raise KeyboardInterrupt


def test_batches_that_only_the_step_can_read_ask_for_a_score():
    def step(model, optimizer, batch):
        optimizer.zero_grad()
        scores = model(batch["x"])
        (scores.logsumexp(1) - scores.gather(1, batch["y"][:, None])[:, 0]).sum().backward()  # no loss that could be heard
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


def test_of_batches_of_one_as_many_examples_are_taken_as_of_usual_ones():
    rows = [(x[at : at + 1], y[at : at + 1]) for x, y in 30 * DATA for at in range(len(x))]
    program = Program(TorchBirths(net, LOSS, adam(1e-2)), rows, rows[:900], own_score=False)
    _, training, held = program.at(0)
    assert (len(rows), len(training), len(held["search"]), len(held["proof"])) == (19_200, 12_800, 160, 160)
    apart = Program(TorchBirths(net, LOSS, adam(1e-2)), rows[:1_000], None, own_score=False).at(0)
    assert (len(apart[1]), len(apart[2]["search"])) == (800, 100)


@pytest.mark.parametrize(
    ("batch", "taken"),
    [({"x": torch.zeros(4, 2), "y": torch.zeros(4)}, 800), ((["a", "b"], None), 100), ((torch.zeros(()), 0), 100)],
)
def test_how_many_batches_are_taken_follows_their_examples_where_these_can_be_counted(batch, taken):
    found, more = Most(100, 3_200).taken(itertools.repeat(batch))
    assert (len(found), more) == (taken, True)


def test_with_a_score_all_batches_are_trained_on_and_no_unseen_examples_are_claimed():
    x, y = DATA[-1]
    program = Program(TorchBirths(net, LOSS, adam(1e-2)), DATA, None, own_score=True)
    assert len(program.at(0)[1]) == len(DATA)
    proof = cured(
        edits=RATE,
        score=lambda model: float((model(x).argmax(1) == y).float().mean()),
        validation=DATA[-2:],
        on_tried=_interrupts,
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
        ({"known": [3]}, "number 1 of them is int"),
        ({"known": "journal.jsonl"}, "trainings of an earlier call"),
        ({"known": [DATA]}, "codec.loads"),
        ({"known": 7}, "trainings of an earlier call"),
        ({"processes": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_message(options, told):
    with pytest.raises((RequestError, ModelError), match=told):
        cured(**options)


def test_trials_that_could_not_differ_are_refused():
    trained = net()
    with pytest.raises(RequestError, match="nothing differs"):
        cured(lambda: copy.deepcopy(trained), batches=DATA[:1], validation=DATA[1:3])


def test_a_step_that_uses_a_model_or_an_optimizer_of_its_own_is_refused_before_it_runs():
    own = net()
    steps = torch.optim.SGD(own.parameters(), lr=0.1)
    before = copy.deepcopy(own.state_dict())

    def on_its_own_model(m, o, batch):
        LOSS(own(batch[0]), batch[1]).backward()
        o.step()

    def with_its_own_optimizer(model, o, batch):
        steps.zero_grad()
        LOSS(model(batch[0]), batch[1]).backward()
        steps.step()

    def from_a_teacher(model, optimizer, batch):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(batch[0]), own(batch[0]).detach()).backward()
        optimizer.step()

    with pytest.raises(RequestError, match=r"your own model(?s:.*)def step"):
        cured(loss=None, step=on_its_own_model)
    with pytest.raises(RequestError, match=r"your own optimizer(?s:.*)it uses steps"):
        cured(loss=None, step=with_its_own_optimizer)
    tried(1, loss=None, step=from_a_teacher)
    assert all(torch.equal(own.state_dict()[name], value) for name, value in before.items())


def test_a_single_batch_is_told_to_be_what_it_is_judged_by():
    record = cured(batches=DATA[:1], edits=RATE, optimizer=adam(1e-4)).record
    assert not record.fresh and any("what it trains on" in remark for remark in record.remarks)
    assert not any("set aside" in remark for remark in record.remarks)


def test_memory_that_runs_out_in_a_trial_is_counted_against_the_edit_and_called_so():
    class Hungry(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net()

        def forward(self, x):
            if self.inner[0].weight.norm() > 20.0:
                raise RuntimeError("CUDA out of memory. Tried to allocate 3 GiB")
            return self.inner(x)

    def hungry(outputs, targets):
        if outputs.abs().max() > 20.0:
            raise MemoryError
        return nn.functional.cross_entropy(outputs, targets)

    for where, made in (("model", {"build": Hungry}), ("loss", {"loss": hungry})):
        record = cured(**made, optimizer=adam(1e-4), edits=(Edit("learning_rate", 3.0),)).record
        failed = next(one for one in record.candidates if one.edits)
        assert record.verdict != "proven" and "memory runs out" in failed.failed and where in failed.failed


def test_one_batch_that_is_not_finite_is_left_out_and_it_is_proven():
    batches = [(x.clone(), y) for x, y in DATA]
    batches[5][0][3, 2] = float("nan")
    proof = cured(batches=batches, budget="20 runs")
    assert proof.verdict == "proven" and [(edit.kind, edit.value) for edit in proof.edits] == [("skip_batch", "6")]
    assert "leave out batch 6" in proof.diff


def test_places_of_a_loader_that_mixes_name_no_batch():
    class Mixed:
        def __iter__(self):
            order = torch.randperm(len(DATA)).tolist()
            yield from ((DATA[place][0] * (1e6 if place == 5 else 1.0), DATA[place][1]) for place in order)

        def __len__(self):
            return len(DATA)

    record = cured(batches=Mixed(), validation=DATA[:4]).record
    assert not any(edit.kind == "skip_batch" for one in record.candidates for edit in one.edits)


def test_batches_that_raise_on_their_way_are_told_as_the_persons_own():
    class Corrupt:
        def __iter__(self):
            yield from DATA[:6]
            raise OSError("corrupt file 7")

    with pytest.raises(RequestError, match=r"going through batches raises(?s:.*)OSError: corrupt file 7"):
        cured(batches=Corrupt())
    with pytest.raises(RequestError, match=r"going through validation raises"):
        cured(validation=Corrupt())


def test_edits_that_are_none_are_refused():
    for edits in ("clip_norm", ["clip_norm"], [Edit("residual"), 3]):
        with pytest.raises(RequestError, match="which is no Edit"):
            cured(edits=edits)
