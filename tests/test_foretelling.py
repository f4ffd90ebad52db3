"""A check foretells: what it costs, what it leaves alone, any inputs, and one clear message for what is wrong."""

import copy
import math

import pytest

import isograd
from isograd.errors import ModelError, RequestError

torch = pytest.importorskip("torch")

nn, F = torch.nn, torch.nn.functional


def program(rate=0.01, width=16):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 3))
    x = torch.randn(32, 6)
    return net, (x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()), F.cross_entropy, torch.optim.Adam(net.parameters(), lr=rate)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.forwards, self.backwards = nn.Linear(6, 3), [], []

    def __deepcopy__(self, memo):  # the copies count in the same lists
        twin = Counting()
        twin.inner = copy.deepcopy(self.inner, memo)
        memo[id(self)] = twin
        twin.forwards, twin.backwards = self.forwards, self.backwards
        return twin

    def forward(self, x):
        self.forwards.append(len(x))
        out = self.inner(x)
        if out.requires_grad:
            out.register_hook(lambda gradient: self.backwards.append(len(gradient)))
        return out


@pytest.mark.parametrize("planned", [400, 4000, None])
def test_a_check_costs_three_steps_and_the_thin_probe_2_percent_of_the_run(planned):
    net = Counting()
    _, batch, loss, _ = program()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    isograd.check(net, batch, loss, optimizer, steps=planned)
    whole, beside = len(batch[0]), 3 * 7  # a few rows three times: do they see one another, are answers drawn
    assert len(net.backwards) == 2 and sum(net.forwards) == 3 * whole + beside
    seen = len(net.forwards), len(net.backwards)
    isograd.check(net, batch, loss, optimizer, steps=planned, deep=True)
    thin = sum(net.backwards[seen[1] :]) - 2 * whole
    assert 0 < thin <= 0.02 * (planned or 10_000) * whole
    assert sum(net.forwards[seen[0] :]) == thin + 4 * whole + beside


@pytest.mark.parametrize("deep", [False, True])
def test_a_check_has_a_forecast_with_its_base_rate_and_says_when_to_look_again(deep):
    report = isograd.check(*program(), steps=1000, deep=deep)
    found = report.forecast
    assert report.risk == found.probability and found.basis == ("probe" if deep else "step")
    assert found.base_rate == 0.5 and found.look_again == 20 and found.reasons
    assert isograd.check(*program(), steps=1000, deep=deep, base_rate=0.1).risk < report.risk
    assert "assumed that 50 % of such trainings do" in " ".join(str(report).split())
    assert found.reasons[0].text in " ".join(str(report).split()) and "Foretold" in report.to_html()
    assert '"forecast":{"probability"' in report.to_json()


def test_a_check_tells_a_rate_that_is_far_too_small_or_large_from_a_good_one():
    risks = [isograd.check(*program(rate), steps=1000, deep=True).risk for rate in (1e-7, 0.01, 100.0)]
    assert risks[0] > 0.9 and risks[2] > 0.5 and risks[1] < min(risks[0], risks[2]) - 0.3


def test_beside_an_alarm_the_risk_is_a_number_and_no_second_verdict():
    torch.manual_seed(0)
    deep = nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(6, 6), nn.Sigmoid())], nn.Linear(6, 3))
    text = str(isograd.check(deep, program()[1], F.cross_entropy, torch.optim.SGD(deep.parameters(), lr=0.01)))
    assert text.startswith("This will not train.") and "alarms apart" in text and "uncertain" not in text


@pytest.mark.parametrize("rows", [4, 32])
def test_of_a_few_rows_and_a_run_of_unknown_length_no_risk_is_told_and_the_report_says_why(rows):
    torch.manual_seed(0)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])[torch.arange(rows) % 4]
    y = (x.sum(1, keepdim=True) == 1.0).float()
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    told = net, (x, y), nn.functional.binary_cross_entropy_with_logits, torch.optim.Adam(net.parameters(), lr=0.05)
    report = isograd.check(*told)
    assert (
        (report.risk is None) == ("how likely this run is to fail is not told" in " ".join(str(report).split())) == (rows < 16)
    )
    if rows < 16:
        assert str(report).startswith("Healthy") and "steps=" in str(report)
    assert isograd.check(*told, steps=500).risk is not None, "of a run of known length the signs weigh right"


def test_theory_alone_has_no_forecast():
    report = isograd.check(program()[0])
    assert report.risk is None and report.forecast is None


def test_a_forecast_leaves_everything_as_it_was_to_the_bit():
    net, batch, loss, optimizer = program()
    state, stream = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    rate = [group["lr"] for group in optimizer.param_groups]
    isograd.check(net, batch, loss, optimizer, deep=True)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), state.values(), strict=True))
    assert torch.equal(torch.get_rng_state(), stream) and not optimizer.state
    assert [group["lr"] for group in optimizer.param_groups] == rate
    assert all(p.grad is None for p in net.parameters())


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, left, right):
        return {"logits": self.b(torch.relu(self.a(left + right)))}


@pytest.mark.parametrize("form", [tuple, dict])
def test_any_inputs_are_foretold(form):
    torch.manual_seed(0)
    net, x, y = Named(), torch.randn(24, 6), torch.randint(0, 3, (24,))
    inputs = (x, x) if form is tuple else {"left": x, "right": x}
    loss = lambda outputs, targets: F.cross_entropy(outputs["logits"], targets) + 0.1 * outputs["logits"].square().mean()  # noqa: E731
    report = isograd.check(net, (inputs, y), loss, torch.optim.Adam(net.parameters(), lr=0.01), deep=True)
    assert report.forecast.basis == "probe"


def test_a_step_of_the_person_s_own_is_foretold_and_must_work_on_what_it_is_given():
    net, batch, loss, optimizer = program()

    def step(model, optimizer, given):
        optimizer.zero_grad()
        loss(model(given[0]), given[1]).backward()
        optimizer.step()

    report = isograd.check(net, batch, optimizer=optimizer, step=step, steps=1000, deep=True)
    assert report.forecast.basis == "probe" and not optimizer.state

    def closes(model, optimizer, given):
        loss(net(given[0]), given[1]).backward()

    with pytest.raises(RequestError, match="not on the copy"):
        isograd.check(net, batch, optimizer=optimizer, step=closes)
    with pytest.raises(RequestError, match="step is a function"):
        isograd.check(net, batch, optimizer=optimizer, step=3)


# what bad input gets


def test_a_batch_that_does_not_fit_names_the_layer_its_shape_and_what_came():
    net, (_, y), loss, optimizer = program()
    with pytest.raises(ModelError) as caught:
        isograd.check(net, (torch.randn(32, 7), y), loss, optimizer)
    text = str(caught.value)
    assert "does not take this batch" in text and "0 (Linear, in_features 6)" in text and "came (32, 7) float32" in text
    deep = nn.Sequential(nn.Linear(6, 5), nn.Sequential(nn.ReLU(), nn.Linear(4, 3)))
    with pytest.raises(ModelError) as caught:
        isograd.check(deep, (torch.randn(32, 6), y), loss, torch.optim.SGD(deep.parameters(), lr=0.1))
    assert "1.1 (Linear, in_features 4)" in str(caught.value) and "came (32, 5) float32" in str(caught.value)


def test_an_empty_batch_is_refused():
    net, _, loss, optimizer = program()
    with pytest.raises(ModelError, match="the batch is empty"):
        isograd.check(net, (torch.randn(0, 6), torch.zeros(0).long()), loss, optimizer)


@pytest.mark.parametrize(
    ("loss", "met"),
    [
        (lambda o, t: F.cross_entropy(o, t, reduction="none"), r"the loss is not one number[\s\S]*\(32,\) float32"),
        (lambda o, t: F.cross_entropy(o, t).item(), r"the loss is a plain number[\s\S]*no \.item\(\)"),
    ],
    ids=["a vector", "a float"],
)
def test_a_loss_that_is_not_one_number_with_a_graph_is_refused(loss, met):
    net, batch, _, optimizer = program()
    with pytest.raises(ModelError, match=met):
        isograd.check(net, batch, loss, optimizer)


class Odd(nn.Module):
    """A module that draws noise in its forward pass, or breaks when it is called again."""

    def __init__(self, kind):
        super().__init__()
        self.inner, self.kind, self.calls = nn.Linear(6, 3), kind, 0

    def forward(self, x):
        self.calls += 1
        if self.kind == "breaks" and self.calls > 1:
            raise RuntimeError("called before")
        return self.inner(x + torch.randn_like(x) if self.kind == "random" else x)


def test_a_random_forward_pass_is_told_and_the_first_step_is_not_judged():
    net, (_, batch, loss, _) = Odd("random"), program()
    report = isograd.check(net, batch, loss, torch.optim.SGD(net.parameters(), lr=0.1))
    assert "the forward pass is random" in str(report)
    assert not any(one.sign == "overshoot" for one in report.forecast.reasons)
    assert "random" not in str(isograd.check(*program()))


def test_a_forward_pass_that_fails_the_second_time_is_told_as_what_it_is():
    net, (_, batch, loss, _) = Odd("breaks"), program()
    with pytest.raises(ModelError, match="step 2 failed, and the step before it did not") as caught:
        isograd.check(net, batch, loss, torch.optim.SGD(net.parameters(), lr=0.1))
    assert "called before" in str(caught.value)


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("can't allocate memory: you tried to allocate 9 GB")])
def test_a_model_too_large_to_copy_is_told_with_what_can_be_done_without(error, monkeypatch):
    def full(*args, **kwargs):
        raise error

    net, batch, loss, optimizer = program()
    monkeypatch.setattr(copy, "deepcopy", full)
    with pytest.raises(ModelError, match="too large to be copied") as caught:
        isograd.check(net, batch, loss, optimizer)
    assert "isograd.check(model)" in str(caught.value)
    assert isograd.check(net).healthy


@pytest.mark.parametrize("rate", [0, 1, 2.0])
def test_a_base_rate_that_makes_no_sense_is_refused(rate):
    with pytest.raises(RequestError, match="base_rate"):
        isograd.check(*program(), base_rate=rate)


# while training


def test_a_watch_looks_again_and_its_forecast_names_what_it_is_from():
    net, batch, loss, optimizer = program()
    bases = []
    with isograd.watch(net, optimizer, steps=100) as watch:
        for _ in range(40):
            optimizer.zero_grad()
            loss(net(batch[0]), batch[1]).backward()
            optimizer.step()
            report = watch.report()
            bases.append(report.forecast.basis if report.forecast else None)
            assert report.forecast is None or report.risk == report.forecast.probability
    assert bases[0] is None and bases[2] == "look 2 %" and bases[11] == "look 12 %" and bases[-1] == "look 25 %"
    assert watch.report().forecast is None  # it is over: how it ended is not foretold any more


def test_a_watch_of_unknown_length_foretells_nothing():
    net, batch, loss, optimizer = program()
    with isograd.watch(net, optimizer) as watch:
        loss(net(batch[0]), batch[1]).backward()
        optimizer.step()
        assert watch.report().risk is None


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
def test_a_bag_of_words_is_measured_and_nothing_of_its_size_is_foretold(mode):
    torch.manual_seed(0)
    model = nn.Sequential(nn.EmbeddingBag(1_000, 8, mode=mode), nn.Linear(8, 2))
    batch = torch.randint(0, 1_000, (32, 12)), torch.randint(0, 2, (32,))
    report = isograd.check(model, batch, nn.functional.cross_entropy, torch.optim.Adam(model.parameters()), steps=1_000)
    assert not any(one.disease == "surprise" for one in report.findings)


@pytest.mark.parametrize(("breaks", "answer"), [(60, "will fail"), (None, "will train")])
def test_a_run_whose_losses_are_no_numbers_any_more_will_fail_whatever_it_learned_before(breaks, answer):
    net, (x, y), loss, optimizer = program(rate=0.02)
    with isograd.watch(net, optimizer, steps=400) as watch:
        for step in range(1, 111):
            optimizer.zero_grad()
            loss(net(x), y).backward()
            if step == breaks:
                net[0].weight.grad.fill_(float("nan"))
            optimizer.step()
        found = watch.report().record.forecast
    assert found.answer == answer and (found.probability >= 0.99) == (breaks is not None)


def test_losses_that_are_numbers_again_take_back_that_a_run_will_fail():
    net, (x, y), loss, optimizer = program(rate=0.02)
    found, scaler = [], torch.amp.GradScaler("cpu")
    with isograd.watch(net, optimizer, steps=400) as watch:
        for step in range(1, 60):
            optimizer.zero_grad()
            scaler.scale(loss(net(x * math.nan if 45 <= step <= 50 else x), y)).backward()
            scaler.step(optimizer)  # not those steps
            scaler.update()
            if step in (50, 59):
                found.append(watch.report().record.forecast)
    assert [one.answer == "will fail" for one in found] == [True, False] and found[1].probability < 0.98


def test_a_first_loss_that_is_no_number_fails_by_the_risk_as_well():
    net, (x, y), loss, optimizer = program(rate=0.02)
    assert isograd.check(net, (x * math.nan, y), loss, optimizer, steps=400).risk >= 0.99


@pytest.mark.parametrize(
    "error", [RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), MemoryError()]
)
def test_memory_that_runs_out_in_a_step_on_the_copy_is_said_with_what_can_be_done_without(error):
    class Greedy(torch.optim.SGD):
        def step(self, closure=None):
            raise error

    model = torch.nn.Linear(3, 2)
    batch = torch.randn(8, 3), torch.randint(0, 2, (8,))
    with pytest.raises(ModelError, match="too large for a step on a copy") as raised:
        isograd.check(model, batch, torch.nn.CrossEntropyLoss(), Greedy(model.parameters(), lr=0.1))
    assert "isograd.check(model)" in str(raised.value)
