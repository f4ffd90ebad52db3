"""The order in which findings are told: what may be the cause before what follows from it, remarks last."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from bodies import body
from loss_cases import case, sample
from runs import FLAT, run

import isograd.health.diagnosis
from isograd.health.diagnosis import DISEASES, diagnose, explained, in_order, loss_mismatch
from isograd.health.diagnosis.learning_rate import SHORT
from isograd.records.finding import Evidence, Finding

FILES = sorted(p for p in Path(isograd.health.diagnosis.__file__).parent.glob("*.py") if p.stem != "__init__")


def test_a_fault_of_the_program_comes_before_the_plateau_that_follows_from_it_and_notes_come_last():
    told = [
        Finding("plateau", "critical", 0.99, "loss", ""),
        Finding("gradients_not_cleared", "note", 0.99, "loop", ""),
        Finding("exploding", "critical", 0.9, "0", ""),
        Finding("exploding", "warning", 0.99, "1", ""),
        Finding("loss_mismatch", "warning", 0.8, "loss", ""),
    ]
    found = [(finding.disease, finding.severity) for finding in in_order(told)]
    assert found == [
        ("loss_mismatch", "warning"),
        ("exploding", "critical"),
        ("exploding", "warning"),
        ("plateau", "critical"),
        ("gradients_not_cleared", "note"),
    ]


def test_a_rule_that_fails_is_a_remark_and_takes_no_other_finding_along(monkeypatch):
    case = run(body(4), losses=FLAT, rates=0.0, turning=0.0, agreement=1.0)
    broken = next(disease for disease in DISEASES if disease.__name__.endswith(".spikes"))
    monkeypatch.setattr(broken, "diagnose", lambda case: 1 / 0)
    found = diagnose(case)
    assert any(finding.disease == "learning_rate" and finding.alarm for finding in found)
    (remark,) = [finding for finding in found if finding.disease == "spikes"]
    assert remark.severity == "note" and remark.where == "isograd" and "ZeroDivisionError" in remark.summary


def test_what_two_losses_say_of_one_place_in_the_same_words_is_told_once():
    looks = [
        sample("cross_entropy", head=("softmax",), source=f"train.py:{line}", head_where="net.3", head_source="net.py:4")
        for line in (8, 9)
    ]
    assert len(list(loss_mismatch.diagnose(case(*looks)))) == 2
    assert [found.where for found in diagnose(case(*looks)) if found.disease == "loss_mismatch"] == ["net.3"]


def test_every_file_of_a_disease_is_asked_once():
    assert sorted(disease.__name__.rpartition(".")[2] for disease in DISEASES) == [file.stem for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_finding_bears_the_name_of_its_file(file):
    named = set(re.findall(r'Finding\(\s*"(\w+)"', file.read_text("utf-8")))
    assert named <= {file.stem}


def test_of_a_run_that_goes_nowhere_the_rate_is_told_first():
    told = [finding.disease for finding in diagnose(run(body(4), losses=FLAT, turning=1e-5)) if finding.alarm]
    assert told[0] == "learning_rate"


def test_what_names_a_place_in_the_network_comes_before_the_plateau_that_it_explains():
    told = [Finding("plateau", "critical", 0.97, "loss", ""), Finding("underfitting", "warning", 0.75, "drop", "")]
    assert [finding.disease for finding in in_order(told)] == ["underfitting", "plateau"]


def test_the_suspicion_that_labels_are_unrelated_is_a_remark_beside_a_cause_that_is_known():
    labels, reset = Finding("labels", "warning", 0.7, "data", ""), Finding("weights_reset", "critical", 0.99, "loop", "")
    assert [one.severity for one in explained([labels, reset])] == ["note", "critical"]
    assert next(explained([labels, Finding("plateau", "critical", 0.97, "loss", "")])).severity == "warning"
    assert [one.severity for one in explained([replace(labels, confidence=0.9), reset])] == ["warning", "critical"]


def test_a_rate_that_moves_nothing_is_a_remark_where_the_gradient_never_arrives():
    low = Finding("learning_rate", "critical", 0.9, "optimizer", "", cause=SHORT)
    gone = Finding("vanishing", "critical", 0.97, "0", "")
    assert [one.severity for one in explained([low, gone])] == ["note", "critical"]
    assert [one.severity for one in explained([low, replace(gone, severity="note")])] == ["critical", "note"]
    assert [one.severity for one in explained([replace(low, cause=None), gone])] == ["critical", "critical"]


def test_a_plain_deep_network_is_told_its_gradient_before_its_rate():
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    layers = [layer for _ in range(24) for layer in (torch.nn.Linear(16, 16), torch.nn.ReLU())]
    net = torch.nn.Sequential(*layers, torch.nn.Linear(16, 4))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    x = torch.randn(256, 16)
    y = x[:, :4].argmax(1)
    with isograd.watch(net, optimizer, steps=120, budget=None) as watch:
        for step in range(120):
            rows = slice(64 * (step % 4), 64 * (step % 4) + 64)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    assert next(iter(watch.report().findings)).disease == "vanishing"


def test_a_batch_that_is_not_finite_is_told_before_everything_that_it_breaks():
    told = [Finding("loss_mismatch", "warning", 0.97, "3", ""), Finding("nonfinite", "critical", 1.0, "data", "")]
    assert [one.disease for one in in_order(told)] == ["nonfinite", "loss_mismatch"]
    overflown = [told[0], replace(told[1], where="loss")]
    assert [one.disease for one in in_order(overflown)] == ["loss_mismatch", "nonfinite"]


def test_units_that_never_fired_because_their_weights_are_zero_are_not_called_dead():
    zeros, dead = Finding("symmetry", "critical", 0.9, "0", ""), Finding("dead_units", "critical", 0.95, "1", "")
    assert [one.severity for one in explained([dead, zeros])] == ["note", "critical"]
    assert [one.severity for one in explained([dead])] == ["critical"]


def test_no_rate_is_too_low_where_a_pinned_softmax_lets_no_gradient_out():
    def low(path):
        return Finding("learning_rate", "critical", 0.9, "optimizer", "", (Evidence("", "turning_ratio", path),), cause=SHORT)

    softmax = Finding("loss_mismatch", "warning", 0.97, "3", "")
    assert [one.severity for one in explained([softmax, low(1e-9)])] == ["warning", "note"]
    assert [one.severity for one in explained([softmax, low(0.2)])] == ["warning", "critical"], "that one is slow as well"
    assert [one.severity for one in explained([low(1e-9)])] == ["critical"]
