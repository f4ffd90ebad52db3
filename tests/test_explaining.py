"""``watch.explain`` and ``isograd cure --explain`` on real, tiny programs: cause, silence, and one message a mistake."""

import gc
import weakref

import pytest
import torch
from torch import nn

import isograd
from isograd import api
from isograd.errors import ModelError, RequestError
from isograd.explaining import allowance, examples
from isograd.frameworks.torch import started


def problem(scale=1.0):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1_600, 8, generator=draw)
    y = (x[:, :4] @ torch.randn(4, 3, generator=draw)).argmax(1)
    return [(scale * x[i : i + 32], y[i : i + 32]) for i in range(0, 1_600, 32)]


def net(curve=nn.ReLU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), curve(), nn.Linear(32, 32), curve(), nn.Linear(32, 3))


def run(model, optimizer, batches, steps=40, clear=True, sign=1.0, **options):
    with isograd.watch(model, optimizer, steps=max(60, steps), **options) as watch:
        for step in range(steps):
            x, y = batches[step % len(batches)]
            if clear:
                optimizer.zero_grad()
            (sign * nn.functional.cross_entropy(model(x), y)).backward()
            optimizer.step()
    return watch


LOSS = nn.functional.cross_entropy


def test_a_rate_that_is_far_too_high_is_named_and_nothing_of_the_program_is_touched():
    model, batches = net(), problem()
    optimizer = torch.optim.Adam(model.parameters(), lr=3.0)
    watch = run(model, optimizer, batches)
    before = [p.clone() for p in model.parameters()], torch.get_rng_state(), optimizer.state_dict()
    report = watch.explain(batches, LOSS, budget=700)
    assert report.cause.causes[0].edit.kind == "learning_rate" and report.cause.causes[0].certainty == "sure"
    assert all(torch.equal(a, b) for a, b in zip(before[0], model.parameters(), strict=True))
    assert torch.equal(before[1], torch.get_rng_state()) and optimizer.param_groups[0]["lr"] == 3.0
    assert "Cause, by experiment: The learning rate of 3 is too high. (sure)" in str(report)
    assert 'id="cause"' in report.to_html()


def test_a_negated_loss_is_named_with_its_line():
    model, batches = net(), problem()
    watch = run(model, torch.optim.SGD(model.parameters(), lr=0.3), batches, sign=-1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    (cause, *_) = watch.explain(batches, lambda out, y: -LOSS(out, y), optimizer=optimizer).cause.causes
    assert (
        cause.edit.kind == "loss" and cause.source.startswith("tests/test_explaining.py")
    ) or "test_explaining" in cause.source


def test_a_healthy_program_gets_no_cause():
    model, batches = net(), problem()
    watch = run(model, torch.optim.Adam(model.parameters(), lr=1e-2), batches)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    assert watch.explain(batches, LOSS, optimizer=optimizer, budget=800).cause.causes == ()


def test_a_loop_of_the_persons_own_is_replayed_by_its_step_function():
    model, batches = net(), problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=300.0)
    watch = run(model, optimizer, batches)

    def step(model, optimizer, batch):
        optimizer.zero_grad()
        LOSS(model(batch[0]), batch[1]).backward()
        optimizer.step()

    assert watch.explain(batches, step=step, budget=600).cause.causes[0].edit.kind == "learning_rate"


def test_a_step_function_that_reaches_the_original_by_a_way_around_is_stopped():
    model, batches = net(), problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = run(model, optimizer, batches, steps=3)
    hidden = {"model": model}
    with pytest.raises(RequestError, match=r"your own model(?s:.*)def step"):
        watch.explain(batches, step=lambda m, optimizer, batch: hidden["model"](batch[0]))


def test_a_score_of_the_persons_own_judges():
    model, batches = net(), problem()
    optimizer = torch.optim.Adam(model.parameters(), lr=3.0)
    watch = run(model, optimizer, batches, steps=20)
    x, y = batches[-1]
    found = watch.explain(batches, LOSS, budget=700, score=lambda m: float((m(x).argmax(1) == y).float().mean())).cause
    assert found.causes[0].edit.kind == "learning_rate"


def test_the_start_is_kept_off_the_persons_objects_and_within_a_bound(monkeypatch):
    model, batches = net(), problem()
    watch = run(model, torch.optim.SGD(model.parameters(), lr=0.1), batches, steps=3)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    with pytest.raises(RequestError, match="the watched model is gone"):
        watch.explain(batches, LOSS)
    monkeypatch.setattr(started, "MOST_BYTES", 1_000)
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RequestError, match="too large to copy"):
        run(model, optimizer, batches, steps=3).explain(batches, LOSS)


class Corrupt:
    def __iter__(self):
        yield from problem()[:2]
        raise OSError("file 2")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batches": []}, "there is no batch to train on"),
        ({"held_out": []}, "held_out holds no examples"),
        ({"budget": 100}, "too small for one comparison"),
        ({"budget": "soon"}, "budget is a number of steps or a time"),
        ({"budget": -3}, "budget is a number of steps or a time"),
        ({"batches": 7}, "batches are gone through one after the other"),
        ({"batches": [(torch.randn(4, 5), torch.zeros(4, dtype=torch.long))]}, "does not take this batch(?s:.*)mat1 and mat2"),
        ({"batches": [(torch.randn(0, 8), torch.zeros(0, dtype=torch.long))]}, "the batch is empty"),
        ({"loss": lambda out, y: LOSS(out, y, reduction="none")}, "the loss is not one number"),
        ({"batches": Corrupt()}, "going through batches raises(?s:.*)OSError: file 2"),
    ],
)
def test_bad_input_gets_one_clear_message(options, text):
    model, batches = net(), problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = run(model, optimizer, batches, steps=3)
    with pytest.raises((RequestError, ModelError), match=text):
        watch.explain(**{"batches": batches, "loss": LOSS, "budget": 200, **options})


def test_where_nothing_can_be_tried_the_exception_tells_what_was_seen():
    model, batches = net(), problem()
    watch = run(model, torch.optim.Adam(model.parameters(), lr=3.0), batches)
    with pytest.raises(RequestError, match="too small for one comparison") as refused:
        watch.explain(batches, LOSS, budget=100)
    assert any(note.startswith("seen, not tried: ") and "optimizer" in note for note in refused.value.__notes__)


def test_without_the_start_or_the_optimizer_it_says_what_is_missing():
    model, batches = net(), problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RequestError, match=r"was not kept(?s:.*)keep_start=True"):
        run(model, optimizer, batches, steps=3, keep_start=False).explain(batches, LOSS)
    del optimizer

    class Mine(torch.optim.SGD):
        pass

    unknown = run(model, Mine(model.parameters(), lr=0.1), batches, steps=3)
    gc.collect()
    with pytest.raises(RequestError, match=r"no optimizer to replay with(?s:.*)optimizer=optimizer"):
        unknown.explain(batches, LOSS)


def test_an_optimizer_that_is_gone_with_the_function_that_trained_is_made_again():
    def trained(model, batches):
        body, head = [*model.parameters()][:-2], [*model.parameters()][-2:]
        groups = [{"params": body, "lr": 3.0}, {"params": head, "lr": 2.0, "betas": (0.8, 0.9)}]
        optimizer = torch.optim.Adam(groups, eps=1e-6)
        return run(model, optimizer, batches, steps=20), optimizer

    model, batches = net(), problem()
    watch, optimizer = trained(model, batches)
    alive = watch.explain(batches, LOSS, budget=700).cause
    del optimizer
    gc.collect()
    assert watch.explain(batches, LOSS, budget=700).cause == alive and alive.causes[0].edit.kind == "learning_rate"


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "Adafactor", "LBFGS", "RMSprop", "ASGD"])
def test_every_optimizer_of_torch_can_be_made_again_from_what_is_kept(kind):
    model = net()
    optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.02)
    settings = started._settings(optimizer)
    again = started._made(started._recipe(optimizer, [model]), settings, [model])
    assert again is not optimizer and type(again) is type(optimizer) and started._settings(again) == settings
    assert [id(p) for p in again.param_groups[0]["params"]] == [id(p) for p in model.parameters()]


def test_a_watch_that_is_still_at_work_is_left_first():
    model = net()
    with (
        isograd.watch(model, torch.optim.SGD(model.parameters(), lr=0.1)) as watch,
        pytest.raises(RequestError, match="after the with"),
    ):
        watch.explain(problem(), LOSS)


@pytest.mark.parametrize(
    ("loss", "told"),
    [(lambda out, y: LOSS(out, y, reduction="none"), "not one number"), (lambda out, y: 3.0, "plain number, cut off")],
)
def test_a_loss_that_gives_a_vector_or_a_float_is_told(loss, told):
    model, batches = net(), problem()
    with pytest.raises(ModelError, match=told):
        api.name_cause(model, batches, loss, torch.optim.SGD(model.parameters(), lr=0.1))


def test_a_forward_that_fails_the_second_time_or_is_random_is_told():
    class Odd(nn.Module):
        def __init__(self, fails):
            super().__init__()
            self.inner, self.fails = nn.Linear(8, 3), fails

        calls = 0

        def forward(self, x):
            Odd.calls += 1
            if self.fails and Odd.calls % 7 == 0:
                raise RuntimeError("used up")
            return self.inner(x) + torch.randn(3, generator=DRAW)

    DRAW = torch.Generator().manual_seed(0)
    for fails, optimizer_of in ((True, torch.optim.SGD), (False, torch.optim.SGD)):
        model = Odd(fails)
        optimizer = optimizer_of(model.parameters(), lr=0.1)
        if fails:
            with pytest.raises(ModelError, match="used up"):
                api.name_cause(model, problem(), LOSS, optimizer, budget=200)
        else:
            found = api.name_cause(model, problem(), LOSS, optimizer, budget=200).cause
            assert any("random in a way of its own" in remark for remark in found.remarks)


def test_one_batch_leaves_nothing_held_out_and_the_answer_says_so():
    given = examples([problem()[0]])
    assert given.held == given.training and "no held-out examples" in given.remarks[0]
    assert len(examples(problem()).held) == 10


def test_the_budget_is_in_steps_or_time_or_a_share_of_the_run():
    assert allowance(None, 1_000_000).steps == 50_000 and allowance(None, None).steps == 2_000
    assert allowance("30s", None).seconds == 30.0 and allowance("2min", None).seconds == 120.0
    with pytest.raises(RequestError):
        allowance(0, None)


def test_progress_is_told_and_an_interruption_keeps_what_was_tried():
    model, batches = net(), problem()
    optimizer = torch.optim.Adam(model.parameters(), lr=3.0)
    watch = run(model, optimizer, batches, steps=10)
    told = []

    def progress(spent, allowed, what):
        told.append(what)
        if len(told) == 4:
            raise KeyboardInterrupt

    found = watch.explain(batches, LOSS, on_progress=progress).cause
    assert found.interrupted and len(found.tried) == 2 and told[0] == "no change"


def test_what_the_loop_does_by_hand_is_said_not_to_be_replayed_and_what_hooks_do_is_replayed():
    def explained(by_hand, hooked=False):
        model, batches = net(), problem()
        if hooked:
            for p in model.parameters():
                p.register_hook(lambda gradient: 0.0 * gradient)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        with isograd.watch(model, optimizer, steps=60) as watch:
            for step in range(60):
                x, y = batches[step % len(batches)]
                optimizer.zero_grad()
                LOSS(model(x), y).backward()
                optimizer.step()
                if by_hand:
                    for p in model.parameters():
                        p.data.clamp_(-0.01, 0.01)
        return watch.explain(batches, LOSS, optimizer=optimizer, budget=500).cause

    (remark,) = [one for one in explained(by_hand=True).remarks if "untouched replay" in one]
    assert "by hand" in remark and "in 40 steps its loss falls from 1.0" in remark
    assert not [one for one in explained(by_hand=False).remarks if "untouched replay" in one]
    hooked = explained(by_hand=False, hooked=True)
    assert not [one for one in hooked.remarks if "untouched replay" in one] and hooked.control.value < 0.1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("cut", "keep_graph"), ("idle", "take_steps")],
    ids=["wrapped anew in the loop", "step without brackets"],
)
def test_a_fault_of_the_loop_that_is_no_part_of_model_and_loss_is_replayed_and_named(fault, kind):
    model, batches = net(), problem()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with isograd.watch(model, optimizer, steps=100) as watch:
        for step in range(100):
            x, y = batches[step % len(batches)]
            optimizer.zero_grad()
            out = model(x)
            if fault == "cut":
                out = torch.tensor(out.detach().numpy(), requires_grad=True)
            LOSS(out, y).backward()
            if fault != "idle":
                optimizer.step()
    causes = watch.explain(batches, LOSS, budget=700).cause.causes
    assert [cause.edit.kind for cause in causes] == [kind] and causes[0].certainty == "sure"


def test_a_run_that_arrived_slowly_gets_no_cause_although_a_short_replay_would_gain():
    model, batches = net(), problem()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)
    watch = run(model, optimizer, batches, steps=1200)
    again = torch.optim.Adam(model.parameters(), lr=2e-4)
    report = watch.explain(batches, LOSS, optimizer=again, budget=1000)
    assert not [finding for finding in report.findings if finding.alarm]
    assert report.cause.causes == () and report.cause.answer == "healthy"
    assert any(one.gain > 0.2 for one in report.cause.tried), "in so few steps a higher rate does better"


def test_a_run_that_learned_its_labels_by_heart_is_told_from_one_that_learned():
    draw = torch.Generator().manual_seed(1)
    x, y = torch.randn(320, 8, generator=draw), torch.randint(0, 3, (320,), generator=draw)
    batches = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 320, 32)]
    for given, answer in ((batches, "no signal"), (problem(), "healthy")):
        model = net()
        watch = run(model, torch.optim.Adam(model.parameters(), lr=1e-2), given[:5], steps=400)
        report = watch.explain(given[:5], LOSS, held_out=given[5:])
        assert (report.healthy, report.cause.causes, report.cause.answer) == (True, (), answer)


def test_a_loss_that_is_summed_is_told_by_its_size_and_not_told_from_a_lower_rate():
    model, batches = net(), problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    with isograd.watch(model, optimizer, steps=100) as watch:
        for x, y in (batches * 2)[:100]:
            optimizer.zero_grad()
            LOSS(model(x), y, reduction="sum").backward()
            optimizer.step()
    (cause, *_) = watch.explain(batches, lambda out, y: LOSS(out, y, reduction="sum")).cause.causes
    assert cause.edit.kind == "loss" and cause.summary.startswith("The loss is a sum over the 32 examples of a batch")
    assert "learning_rate" in [one.kind for one in cause.rivals] and cause.certainty != "sure"


def test_a_loss_that_is_not_the_one_of_the_loop_is_said_to_be_another():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer, draw = torch.optim.SGD(model.parameters(), lr=0.1), torch.Generator().manual_seed(1)
    batches = [(x, x[:, :3].argmax(1)) for x in (torch.randn(32, 4, generator=draw) for _ in range(10))]
    with isograd.watch(model, optimizer) as watch:
        for x, y in batches * 4:
            optimizer.zero_grad()
            (1.0 - model(x).gather(1, y[:, None])).clamp(min=0.0).mean().mul(10.0).backward()
            optimizer.step()
    for loss, said in ((nn.functional.cross_entropy, True), (lambda out, y: 10.0 * hinge(out, y), False)):
        cause = watch.explain(batches, loss, budget=400).cause
        assert any("not what the loop steps" in remark for remark in cause.remarks) is said


def hinge(out, y):
    return (1.0 - out.gather(1, y[:, None])).clamp(min=0.0).mean()


def rings():
    x = torch.randn(1_600, 2, generator=torch.Generator().manual_seed(0))
    y = (x.norm(dim=1) / 0.8).long().clamp(max=2)
    return [(x[i : i + 32], y[i : i + 32]) for i in range(0, 1_600, 32)]


def straight(x_width=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(x_width, 32), nn.Linear(32, 32), nn.Linear(32, 3))


def test_layers_without_activations_are_the_cause_where_the_problem_is_not_linear_and_only_there():
    model, line = straight(), straight(8)
    found = run(model, torch.optim.Adam(model.parameters(), lr=1e-2), rings(), 100).explain(rings(), LOSS).cause
    assert [cause.edit.kind for cause in found.causes] == ["nonlinearity"]
    assert found.causes[0].certainty in ("sure", "likely") and "test_explaining" in found.causes[0].source
    linear = run(line, torch.optim.Adam(line.parameters(), lr=1e-2), problem(), 100).explain(problem(), LOSS).cause
    assert linear.answer == "healthy"
    assert any(one.edit.kind == "nonlinearity" and one.gain < 0.05 for one in linear.tried)


def test_three_faults_that_hide_one_another_are_named_together():
    model, batches = straight(), rings()
    for p in model.parameters():
        nn.init.normal_(p, 0.0, 1e-4)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    found = run(model, optimizer, batches, 400).explain(batches, LOSS, optimizer=optimizer).cause
    assert {cause.edit.kind for cause in found.causes} == {"nonlinearity", "initialisation", "learning_rate"}
    assert any(one.reason == "all at once" for one in found.tried)
