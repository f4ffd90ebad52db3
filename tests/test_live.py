"""Findings while the training runs: told once with their step, over again, whatever the person's function does."""

import copy
import math
import warnings

import pytest

import isograd
from isograd import live
from isograd.errors import RequestError
from isograd.health import signals
from isograd.health.case import case_of
from isograd.records.fact import Fact
from isograd.records.trace import Step, Trace

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


def deep_sigmoid():
    torch.manual_seed(0)
    return nn.Sequential(*[layer for _ in range(12) for layer in (nn.Linear(8, 8), nn.Sigmoid())], nn.Linear(8, 3))


def train(model, steps, spoil=lambda step, model: None, **options):
    draw = torch.Generator().manual_seed(1)
    x, y = torch.randn(256, 8, generator=draw), torch.randint(0, 3, (256,), generator=draw)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isograd.watch(model, optimizer, **options) as watch:
        for step in range(1, steps + 1):
            rows = torch.randint(0, 256, (32,), generator=draw)
            spoil(step, model)
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return watch


def test_a_deep_sigmoid_network_is_told_of_in_the_loop_and_only_once():
    told = []
    watch = train(deep_sigmoid(), 60, on_finding=told.append, budget=None)
    first = [finding for finding in told if finding.disease == "vanishing" and finding.until is None]
    assert first and first[0].noticed <= 10
    assert len(first) == len({finding.severity for finding in first})  # again only when it got worse
    found = next(finding for finding in watch.findings if finding.disease == "vanishing")
    assert found.noticed == first[-1].noticed and found.noticed is not None


def test_without_a_function_the_step_of_notice_is_known_all_the_same():
    watch = train(deep_sigmoid(), 60, budget=None)
    assert any(finding.noticed and finding.noticed < 60 for finding in watch.findings if finding.alarm)


@pytest.mark.usefixtures("ticking")
def test_within_the_budget_a_short_run_is_told_of_before_it_ends():
    told = []
    train(deep_sigmoid(), 300, on_finding=told.append)
    assert any(finding.disease == "vanishing" and finding.noticed < 300 for finding in told)


@pytest.mark.usefixtures("ticking")
def test_the_loss_that_is_not_a_number_is_told_at_once():
    told = []

    def spoil(step, model):
        if step == 40:
            with torch.no_grad():
                model[0].weight.fill_(math.nan)

    train(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), 80, spoil, on_finding=told.append)
    finding = next(finding for finding in told if finding.disease == "nonfinite")
    assert finding.severity == "critical" and 40 <= finding.noticed <= 60


def test_telling_changes_no_bit_of_the_training():
    def ends(**options):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, 3))
        if options:
            train(model, 40, **options)
        else:
            draw = torch.Generator().manual_seed(1)
            x, y = torch.randn(256, 8, generator=draw), torch.randint(0, 3, (256,), generator=draw)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(40):
                rows = torch.randint(0, 256, (32,), generator=draw)
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
        return [*copy.deepcopy(list(model.state_dict().values())), torch.get_rng_state()]

    plain = ends()
    for budget in (None, 0.03):
        assert all(torch.equal(a, b) for a, b in zip(plain, ends(budget=budget, on_finding=lambda f: None), strict=True))


def test_a_function_that_raises_is_reported_once_and_the_training_goes_on():
    calls = []

    def raises(finding):
        calls.append(finding)
        raise ZeroDivisionError("mine")

    with pytest.warns(RuntimeWarning, match="on_finding raised.*mine") as caught:
        watch = train(deep_sigmoid(), 40, on_finding=raises, budget=None)
    assert len(calls) == len(caught) == 1 and watch.meter.steps == 40
    assert any("on_finding raised" in remark for remark in watch.report().record.remarks)


def test_a_function_that_raises_stays_out_of_a_loop_that_makes_errors_of_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch = train(deep_sigmoid(), 20, on_finding=lambda finding: 1 / 0, budget=None)
    assert watch.meter.steps == 20


def test_a_diagnosis_that_fails_is_a_remark_and_the_watch_goes_on(monkeypatch):
    def broken(case):
        if not case.ended:
            raise ValueError("planted")
        return ()

    monkeypatch.setattr(live, "diagnose", broken)
    watch = train(deep_sigmoid(), 20, budget=None)
    assert watch.meter.steps == 20 and watch.meter.sampled == 20
    assert any("planted" in remark for remark in watch.report().record.remarks)


def test_what_is_no_function_is_refused():
    with pytest.raises(RequestError, match="on_finding"):
        isograd.watch(deep_sigmoid(), on_finding="print")


def test_the_end_is_known_and_the_case_of_a_growing_recording_is_that_of_the_whole():
    watch = train(deep_sigmoid(), 30, budget=None)
    assert watch.trace.ended and watch.report().record.readings == signals.measure(watch.trace)
    growing = live.Live()
    for count in (2, 5, 30):
        part = Trace(watch.trace.anatomy, watch.trace.parameters, watch.trace.steps[:count])
        assert growing.case(part).readings == case_of(part).readings


def test_a_recording_that_was_condensed_is_measured_anew():
    watch = train(deep_sigmoid(), 12, budget=None)
    growing, steps = live.Live(), watch.trace.steps
    growing.case(watch.trace)
    for fewer in (steps[::2], tuple(Step(step.index, step.loss, facts=(Fact("no_step"),)) for step in steps)):
        part = Trace(watch.trace.anatomy, watch.trace.parameters, fewer)
        assert growing.case(part).readings == case_of(part).readings


def test_a_report_before_the_first_step_and_before_entering_says_that_nothing_was_seen():
    watch = isograd.watch(nn.Linear(8, 3))
    assert any("no step was seen" in remark for remark in watch.report().record.remarks)
    with watch:
        assert watch.report().healthy
    assert watch.report().healthy and watch.trace.ended


def test_a_finding_that_is_printed_reads_as_a_paragraph(capsys):
    train(deep_sigmoid(), 60, on_finding=print, budget=None)
    told = capsys.readouterr().out
    assert told.startswith("critical: ") and "\n  where  layer 0" in told and "\n  try    " in told
    assert "Finding(" not in told and max(map(len, told.splitlines())) <= 100


def test_what_an_exception_says_is_quoted_without_a_number_of_ours():
    model = nn.Linear(8, 3)
    with pytest.raises(RuntimeError), isograd.watch(model) as watch:
        F.cross_entropy(model(torch.ones(4, 8)), torch.zeros(4, dtype=torch.long), reduction="none").backward()
    assert "can be implicitly created only for scalar outputs\n" in str(watch.report())
    assert watch.report().to_json()
