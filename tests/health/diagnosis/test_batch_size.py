"""Batch size against the gradient noise scale."""

import dataclasses

import pytest
from bodies import body
from runs import FLAT, run

from isograd.health.diagnosis import batch_size
from isograd.health.signals.steps import noise_scale
from isograd.records.moments import Pairs


def found(**what):
    return list(batch_size.diagnose(run(body(3), **what)))


def test_the_noise_scale_of_gradients_that_agree_half_way():
    # |g| = 1 both times, product 0.5: half of each square is signal, half the noise of 32 examples
    assert noise_scale(Pairs.of([0.5, 0.75**0.5], [1.0, 0.0]), 32) == pytest.approx(32.0)


def test_batches_of_one_that_teach_nothing():
    (finding,) = found(losses=FLAT, examples=1, agreement=0.005)
    assert finding.severity == "warning" and "a single example" in finding.summary
    (finding,) = found(losses=FLAT, examples=2, agreement=0.005)
    assert finding.severity == "warning" and "pure noise" in finding.summary


def test_batches_of_one_that_agree_by_chance_are_judged_by_what_came_of_them():
    (finding,) = found(losses=FLAT, examples=1, agreement=0.9)
    assert finding.severity == "warning" and "a single example" in finding.summary
    assert not [finding for finding in found(examples=1, agreement=0.9) if finding.alarm]
    assert not [finding for finding in found(losses=FLAT, examples=1, agreement=0.9, ended=False) if finding.alarm]


def test_rows_one_by_one_are_not_blamed_where_no_activation_stands_between_the_layers():
    bent = body(2)
    first, last = (node for node in bent.nodes if node.operation == "linear")
    straight = dataclasses.replace(bent, nodes=(bent.nodes[0], first, dataclasses.replace(last, inputs=(1,))))
    for anatomy, told in ((bent, True), (straight, False)):
        for agreement in (0.9, 0.005):
            found = list(batch_size.diagnose(run(anatomy, losses=FLAT, examples=1, agreement=agreement)))
            assert any(finding.alarm for finding in found) == told


def test_noise_in_a_training_that_goes_well_is_a_remark():
    (finding,) = found(examples=1, agreement=0.005)
    assert finding.severity == "note"


def test_a_batch_far_larger_than_the_noise_is_a_remark():
    (finding,) = found(examples=4096, agreement=0.99999)
    assert finding.severity == "note" and "smaller batches" in finding.summary


@pytest.mark.parametrize("agreement", [0.1, 0.5, 0.9])
def test_silent_on_ordinary_batches(agreement):
    assert found(agreement=agreement) == []


def test_a_real_training_with_small_batches_gets_no_alarm(train, mlp):
    import torch

    report, _ = train(lambda: mlp(3, torch.nn.ReLU), lambda p: torch.optim.SGD(p, lr=0.1), 60)
    assert not [finding for finding in report.findings if finding.disease == "batch_size" and finding.alarm]


def test_a_loss_that_the_model_computes_itself_is_no_batch_of_one_example():
    """A table of what follows what, given out by index: the one sum in its pass is the loss."""
    torch = pytest.importorskip("torch")
    import isograd

    class Follows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Parameter(torch.zeros(9, 9))

        def forward(self, given, wanted):
            logits = self.table[given]
            return logits, torch.nn.functional.cross_entropy(logits, wanted)

    torch.manual_seed(0)
    model = Follows()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    with isograd.watch(model, optimizer) as watch:
        for _ in range(5):
            given = torch.randint(0, 9, (32,))
            optimizer.zero_grad()
            model(given, (given + 1) % 9)[1].backward()
            optimizer.step()
    assert {sample.examples for step in watch.trace.steps for sample in step.layers} == {0}
