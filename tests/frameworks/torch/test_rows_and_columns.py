"""A row of what examples pay times a column of what they are worth: every example meets every other."""

import torch
from torch import nn

from isograd.frameworks.torch.recorder import TorchRecorder

WORTH = torch.linspace(-1.0, 1.0, 32)


def broadcasts(loss):
    """The facts of a step of a small network by this loss of its outputs, (32, 3)."""
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = TorchRecorder([model], [optimizer], budget=None)
    recorder.attach()
    loss(model(torch.ones(32, 6))).backward()
    optimizer.step()
    recorder.detach()
    assert recorder.stopped_by is None
    return [fact for step in recorder.trace().steps for fact in step.facts if fact.kind == "broadcast"]


def test_what_a_row_pays_times_what_a_column_is_worth_is_a_fact():
    (fact,) = broadcasts(lambda output: -(output.log_softmax(1)[:, 0] * WORTH[:, None]).mean())
    assert {fact.get("left", ""), fact.get("right", "")} == {"32", "32x1"}


def test_row_by_row_or_as_a_table_on_purpose_or_kept_as_a_table_it_is_none():
    assert broadcasts(lambda output: -(output.log_softmax(1)[:, 0] * WORTH).mean()) == []
    assert broadcasts(lambda output: (output[:, 0].unsqueeze(1) * WORTH).mean()) == []
    assert broadcasts(lambda output: (output[:, 0] * WORTH[:, None]).softmax(1).square().mean()) == []
