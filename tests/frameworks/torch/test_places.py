"""The line that makes an optimizer, read off the text of the program, and the findings that name it."""

import pytest
import torch
from torch import nn

import isograd
from isograd.frameworks.torch.describe import optimizer_facts

HEAD = "import torch\nfrom torch.optim import SGD\n"


@pytest.fixture
def written(tmp_path):
    """Run a program from a file of its own."""

    def run(text, **given):
        file = tmp_path / f"program{len(list(tmp_path.iterdir()))}.py"
        file.write_text(HEAD + text, encoding="utf-8")
        names = {"net": nn.Linear(4, 1), "facts": optimizer_facts, "isograd": isograd, **given}
        exec(compile(file.read_text("utf-8"), str(file), "exec"), names)
        return names

    return run


ONE = "made = SGD(\n    net.parameters(), lr=0.5)\n"
LINES = {
    "one call": (ONE, 3),
    "another optimizer beside it": (ONE + "other = torch.optim.Adam(net.parameters(), lr=0.5)\n", 3),
    "a rate that has a name": ("rate = 0.5\nmade = torch.optim.SGD(net.parameters(), lr=rate)\n", 4),
    "a rate that a schedule has changed": (ONE + "torch.optim.lr_scheduler.StepLR(made, 1)\nmade.step()\n", 3),
    "two calls": (ONE + "made = SGD(net.parameters(), lr=0.5)\n", None),
    "another rate": (ONE + "made.param_groups[0]['lr'] = 3.0\n", None),
}


@pytest.mark.parametrize("case", LINES)
def test_the_line_that_makes_an_optimizer_is_named_where_one_can_be_meant(written, case):
    text, line = LINES[case]
    source = written(text + "said = facts(made).source\n")["said"]
    assert (source is None) if line is None else source.endswith(f".py:{line}")


def test_an_optimizer_that_the_file_does_not_make_has_no_line(written):
    made = getattr(torch.optim, "RMS" + "prop")(nn.Linear(1, 1).parameters())
    assert written("said = facts(made).source\n", made=made)["said"] is None


LOOP = """
torch.manual_seed(0)
made = SGD(net.parameters(), lr={rate})
with isograd.watch(net, made, budget=None) as watch:
    for step in range(200):
        x = torch.randn(32, 4)
        made.zero_grad()
        torch.nn.functional.mse_loss(net(x), x[:, :1] + x[:, 1:2]).backward()
        {clip}
        made.step()
"""


@pytest.mark.parametrize(
    ("rate", "clip", "disease", "line"),
    [
        (1e-7, "", "learning_rate", 5),
        (0.1, "torch.nn.utils.clip_grad_norm_(net.parameters(), 1e-5)", "clipping", 11),
        (0.1, "", None, 0),
    ],
)
def test_what_is_to_be_changed_is_told_with_its_line(written, rate, clip, disease, line):
    findings = written(LOOP.format(rate=rate, clip=clip))["watch"].report().findings
    told = {finding.disease: finding.source for finding in findings if finding.alarm}
    assert (told == {}) if disease is None else told[disease].endswith(f".py:{line}")
