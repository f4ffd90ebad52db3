"""check, watch and diagnose as a person calls them."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import isograd
from isograd import api, files, watching
from isograd.errors import DamagedError, ModelError, RequestError
from isograd.frameworks.reference.network import Activation, Linear, Network, Sgd
from isograd.frameworks.reference.patient import ReferencePatient
from isograd.records import codec
from isograd.records.report import Report as Record
from isograd.records.trace import Step, Trace

torch = pytest.importorskip("torch")
nn = torch.nn


def network(depth=3, function="tanh", width=8):
    layers = []
    for i in range(depth):
        layers.append(Linear.drawn(f"l{i}", width, width, seed=i))
        if i < depth - 1:
            layers.append(Activation(f"a{i}", function))
    return Network(tuple(layers))


BATCH = (np.random.default_rng(0).normal(size=(16, 8)), np.random.default_rng(1).integers(0, 8, 16))


def trace(depth=3, steps=3):
    return ReferencePatient.copy_of(network(depth), BATCH, "cross_entropy", Sgd(0.1)).observe([BATCH] * steps, steps)


def torch_model(depth=4, activation=nn.ReLU):
    layers = [nn.Linear(8, 16), nn.BatchNorm1d(16), activation(), nn.Dropout(0.3)]
    for _ in range(depth - 2):
        layers += [nn.Linear(16, 16), activation()]
    return nn.Sequential(*layers, nn.Linear(16, 3))


def torch_batch():
    draw = torch.Generator().manual_seed(0)
    return torch.randn(32, 8, generator=draw), torch.randint(0, 3, (32,), generator=draw)


# check


def test_a_check_leaves_model_optimizer_random_numbers_and_modes_as_they_were():
    model = torch_model()
    model[1].eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = torch_batch()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    state, moments = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    gradients = [p.grad.clone() for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    seeds = torch.get_rng_state(), np.random.get_state()[1].copy()
    isograd.check(model, (x, y), nn.CrossEntropyLoss(), optimizer, steps=100)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert repr(moments) == repr(optimizer.state_dict())
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, model.parameters(), strict=True))
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(seeds[0], torch.get_rng_state()) and (seeds[1] == np.random.get_state()[1]).all()
    assert not nn.modules.module._global_forward_hooks


def test_a_check_costs_at_most_three_steps():
    model, calls = torch_model(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loss(outputs, targets):
        calls.append(1)
        return nn.functional.cross_entropy(outputs, targets)

    isograd.check(model, torch_batch(), loss, optimizer)
    assert 1 <= len(calls) <= 3


def test_thirty_sigmoid_layers_are_told_not_to_train_before_the_first_step():
    model = torch_model(30, nn.Sigmoid)
    report = isograd.check(model, torch_batch(), nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1))
    assert not report.healthy and report.findings[0].disease == "vanishing"
    text = str(report)
    assert text.startswith("This will not train.") and "orders of magnitude" in text and "theory" in text


def test_theory_alone_needs_no_batch():
    report = isograd.check(torch_model(30, nn.Sigmoid))
    assert not report.healthy and report.record.steps == 0
    assert any("theory alone" in remark for remark in report.record.remarks)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad])
def test_an_ordinary_network_is_healthy_under_every_optimizer(optimizer):
    model = torch_model(5)
    report = isograd.check(model, torch_batch(), nn.CrossEntropyLoss(), optimizer(model.parameters(), lr=0.01))
    assert report.healthy, str(report)
    assert "two training steps" in str(report)


def test_a_learning_rate_of_zero_at_the_first_step_is_no_disease():
    model = torch_model(8, nn.Tanh)
    assert isograd.check(model, torch_batch(), nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.0)).healthy


def test_the_planned_length_reaches_the_diagnosis():
    assert api.check(network(), BATCH, "cross_entropy", Sgd(0.1), steps=77).record.planned_steps == 77


@pytest.mark.parametrize("thing", [None, 3, "model", nn.Linear, (), [torch.zeros(2)]])
def test_what_is_no_model_is_refused(thing):
    with pytest.raises(ModelError):
        isograd.check(thing)


@pytest.mark.parametrize("steps", [0, -1, 1.5, True])
def test_a_number_of_steps_that_makes_no_sense_is_refused(steps):
    with pytest.raises(RequestError, match="steps"):
        isograd.check(network(), steps=steps)


def test_a_batch_that_does_not_fit_is_refused_in_words():
    with pytest.raises(ModelError, match="does not fit"):
        isograd.check(network(), (np.ones((4, 5)), np.zeros(4, int)), "cross_entropy", Sgd(0.1))
    with pytest.raises(ModelError, match="knows the losses"):
        isograd.check(network(), BATCH, "hinge", Sgd(0.1))


# watch


def loop(model, optimizer, steps=6):
    x, y = torch_batch()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def watched(path=None, steps=6, **options):
    model = torch_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isograd.watch(model, optimizer, budget=None, trace=path, **options) as watch:
        loop(model, optimizer, steps)
    return watch


def test_a_watch_reports_what_it_saw():
    watch = watched(loss=nn.functional.cross_entropy, steps=6)
    report = watch.report()
    assert report.healthy and report.record.steps == 6 and watch.findings == report.findings
    assert report.record.anatomy.loss == "cross_entropy"
    assert watch.meter.steps == 6
    assert watch.health_line().startswith("gradients healthy · first/last layer")


def test_a_watch_can_be_asked_in_the_middle_and_changes_no_bit():
    torch.manual_seed(0)
    one = torch_model()
    other = copy.deepcopy(one)
    for model, look in ((one, True), (other, False)):
        torch.manual_seed(1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if look:
            with isograd.watch(model, budget=None) as watch:
                loop(model, optimizer, 2)
                assert watch.report().record.steps == 2
                loop(model, optimizer, 2)
        else:
            loop(model, optimizer, 4)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_an_exception_in_the_loop_goes_on_unchanged_and_the_trace_is_kept(tmp_path):
    model = torch_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    error = KeyError("mine")

    def run():
        with isograd.watch(model, optimizer, budget=None, trace=tmp_path / "t.jsonl"):
            loop(model, optimizer, 2)
            raise error

    with pytest.raises(KeyError) as caught:
        run()
    assert caught.value is error
    assert isograd.diagnose(tmp_path / "t.jsonl").record.steps == 2


def test_a_saved_trace_and_a_journal_say_the_same_as_the_watch(tmp_path):
    watch = watched(tmp_path / "journal.jsonl")
    watch.save(tmp_path / "saved.jsonl")
    for name in ("journal.jsonl", "saved.jsonl"):
        report = isograd.diagnose(tmp_path / name)
        assert report.findings == tuple(replace(finding, noticed=None) for finding in watch.findings)
        assert report.record.readings == watch.report().record.readings
        assert report.record.origin == "diagnose"


def test_a_disk_that_refuses_costs_the_trace_and_not_the_training(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    watch = watched(tmp_path / "t.jsonl")
    assert watch.report().record.steps == 6
    assert any("No space left" in remark for remark in watch.report().record.remarks)


def test_a_journal_is_written_while_the_loop_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "_BLOCK_SECONDS", 0.0)
    model = torch_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isograd.watch(model, optimizer, budget=None, trace=tmp_path / "t.jsonl"):
        loop(model, optimizer, 4)
        seen = isograd.diagnose(tmp_path / "t.jsonl").record.steps
    assert 3 <= seen <= 4


@pytest.mark.parametrize("budget", [0.0, -1, 2.0])
def test_a_budget_that_makes_no_sense_is_refused(budget):
    with pytest.raises(RequestError, match="budget"):
        isograd.watch(torch_model(), budget=budget)


def test_a_reference_network_is_not_watched():
    with pytest.raises(ModelError, match="no loop"):
        isograd.watch(network())


# diagnose


def write(path, recording):
    lines = [
        codec.dumps(Trace(recording.anatomy, recording.parameters, (), recording.planned_steps)),
        *map(codec.dumps, recording.steps),
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_trace_in_memory_and_on_disk_gives_the_same(tmp_path):
    recording = trace()
    assert isograd.diagnose(recording).record == isograd.diagnose(str(write(tmp_path / "t", recording))).record


def test_a_line_that_was_cut_off_is_left_out_with_a_remark(tmp_path):
    path = write(tmp_path / "t", trace(steps=3))
    path.write_bytes(path.read_bytes()[:-40])
    report = isograd.diagnose(path)
    assert report.record.steps == 2
    assert any("cut off" in remark for remark in report.record.remarks)


def test_several_recordings_in_one_file_are_told_apart(tmp_path):
    path = write(tmp_path / "t", trace(steps=3))
    path.write_text(path.read_text() * 2)
    report = isograd.diagnose(path)
    assert report.record.steps == 3 and any("2 recordings" in remark for remark in report.record.remarks)


@pytest.mark.parametrize("content", ["", "\n", "hello\n", '{"a": 1}\n', "\x00\xff\n", '{"format":"isograd.Trace"'])
def test_what_is_no_trace_is_refused(tmp_path, content):
    path = tmp_path / "t"
    path.write_text(content)
    with pytest.raises(DamagedError, match=r"trace|JSON"):
        isograd.diagnose(path)


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = write(tmp_path / "t", trace(steps=3))
    lines = path.read_text().split("\n")
    lines[2] = lines[2][:-9]
    path.write_text("\n".join(lines))
    with pytest.raises(DamagedError, match="line 3"):
        isograd.diagnose(path)


def test_a_newer_format_is_refused_with_the_way_out(tmp_path):
    path = write(tmp_path / "t", trace())
    path.write_text(path.read_text().replace('"version":1', '"version":2'))
    with pytest.raises(DamagedError, match="newer one"):
        isograd.diagnose(path)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(RequestError, match="No such file"):
        isograd.diagnose(tmp_path / "nowhere")
    with pytest.raises(RequestError, match="directory"):
        isograd.diagnose(tmp_path)


# Report


def test_a_report_travels_as_json():
    report = isograd.check(network(), BATCH, "cross_entropy", Sgd(0.1))
    assert json.loads(report.to_json())["format"] == "isograd.Report"
    assert codec.loads(Record, report.to_json()) == report.record


def test_a_report_has_its_faces():
    report = isograd.check(network(20, "sigmoid"), BATCH, "cross_entropy", Sgd(0.1))
    assert 0.0 < report.risk < 1.0 and not report.healthy and "1 alarm" in repr(report)
    assert "<html" in report.to_html().lower()
    pytest.importorskip("matplotlib").use("Agg")
    assert report.figure().axes


# the public surface


def run(code):
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def test_importing_isograd_loads_no_framework_and_nothing_of_ours():
    found = run("import sys, isograd; print(isograd.__version__, *sorted(m for m in sys.modules if m.startswith('isograd')))")
    assert found.stdout.split() == [isograd.__version__, "isograd"], found.stderr


def test_a_trace_is_diagnosed_without_any_framework(tmp_path):
    path = write(tmp_path / "t", trace())
    code = f"import sys, isograd; print(isograd.diagnose({str(path)!r}).healthy, 'torch' in sys.modules)"
    found = run(code)
    assert found.stdout.split() == ["True", "False"], found.stderr


def test_the_public_names():
    assert isograd.__all__ == ["Proof", "Report", "check", "cure", "diagnose", "explain", "watch"]
    assert all(getattr(isograd, name) is getattr(api, name) for name in isograd.__all__)
    assert set(isograd.__all__) <= set(dir(isograd))
    with pytest.raises(AttributeError, match="no attribute 'cheque'"):
        isograd.cheque  # noqa: B018


def test_a_step_is_one_line_of_json():
    assert codec.loads(Step, codec.dumps(trace().steps[0])) == trace().steps[0]
