"""Targets that stand in the inputs: certain facts, in a case known by thought and in real language models."""

import pytest

from isograd.health.case import case_of
from isograd.health.diagnosis import leak
from isograd.records.anatomy import Anatomy, Node
from isograd.records.fact import Fact
from isograd.records.trace import LayerSample, Step, Trace

NET = Anatomy("torch", (Node("attend", "attention", "MultiheadAttention", source="net.py:8"),), ())


def found(kind, *seen):
    """Looks in which the fact was, or was not, there."""
    fact = (Fact(kind, "attend", settings=(("attentions", 1), ("tokens", 64))),)
    steps = [Step(i, layers=(LayerSample("attend"),), facts=fact if one else ()) for i, one in enumerate(seen, 1)]
    return list(leak.diagnose(case_of(Trace(NET, (), tuple(steps)))))


def test_a_missing_causal_mask_is_told_at_the_attention_after_two_looks():
    (finding,) = found("targets_ahead", True, True)
    assert (finding.severity, finding.where, finding.source) == ("warning", "attend", "net.py:8")
    assert "causal mask" in finding.cause and "64 targets" in finding.evidence[0].text
    assert found("targets_ahead", True) == [] == found("targets_ahead", True, True, False)


def test_targets_that_were_not_shifted_are_told_at_the_loss():
    (finding,) = found("targets_given", True, True)
    assert finding.where == "loss" and "copy" in finding.summary and "tokens[:, 1:]" in finding.remedy


def tokens(rows=8, length=12, kinds=20):
    import torch

    return torch.randint(1, kinds, (rows, length))


def trained(mask="causal", shifted=True, own=False, answers=None, batch=tokens, passes=1, counted=1):
    """The diseases named of a little language model of one attention: a module's, the function's (``own``), or "by hand"."""
    torch = pytest.importorskip("torch")
    from torch import nn

    import isograd

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.place = nn.Embedding(20, 16), nn.Embedding(12, 16)
            self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
            self.head = nn.Linear(16, 20)

        def forward(self, ids):
            n = ids.shape[1]
            x = self.token(ids) + self.place(torch.arange(n).expand(*[1] * (counted - 1), n))
            later = torch.triu(torch.ones(n, n, dtype=torch.bool), 1)
            hidden = {"causal": later, "none": None, "inverted": ~later}[mask]
            if own == "by hand":
                scores = x @ x.transpose(1, 2) / 4.0
                scores = scores if hidden is None else scores.masked_fill(hidden, -1e9)
                return self.head(scores.softmax(-1) @ x)
            if own:
                shown = None if hidden is None else ~hidden
                return self.head(nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=shown))
            return self.head(self.attend(x, x, x, attn_mask=hidden, need_weights=False)[0])

    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(4):
            optimizer.zero_grad()
            for _ in range(passes):
                ids = batch()
                given, wanted = (ids[:, :-1], ids[:, 1:]) if shifted else (ids, ids)
                wanted = wanted if answers is None else answers(given)
                nn.functional.cross_entropy(model(given).transpose(1, 2), wanted).backward()
            optimizer.step()
    return {finding.disease: finding for finding in watch.report().findings if finding.alarm}


@pytest.mark.parametrize("own", [False, True, "by hand"])
@pytest.mark.parametrize("mask", ["none", "inverted"])
def test_a_language_model_that_may_look_at_the_next_token_is_told_so(mask, own):
    assert "may look there" in trained(mask, own=own)["leak"].summary


def test_places_that_are_counted_in_a_row_of_their_own_are_no_tokens():
    assert "may look there" in trained("none", counted=2)["leak"].summary


@pytest.mark.parametrize("own", [False, True, "by hand"])
def test_a_causal_language_model_with_shifted_targets_is_sound(own):
    assert "leak" not in trained(own=own)


@pytest.mark.parametrize("own", [False, True, "by hand"])
def test_a_causal_language_model_whose_targets_are_its_inputs_learns_to_copy(own):
    assert trained(shifted=False, own=own)["leak"].where == "loss"


def test_each_pass_of_an_accumulated_step_is_held_against_its_own_tokens():
    assert "leak" in trained("none", passes=2) and "leak" not in trained(passes=2)


def test_the_line_that_attends_is_named():
    assert "test_leak.py" in trained("none", own="by hand")["leak"].source


def test_a_network_that_restores_its_own_tokens_without_a_causal_mask_is_no_leak():
    assert "leak" not in trained("none", shifted=False)


def test_labels_of_the_tokens_are_no_leak():
    assert "leak" not in trained("none", answers=lambda ids: ids % 2)


def test_sequences_that_stay_as_they_are_say_nothing():
    assert "leak" not in trained("none", batch=lambda: tokens(length=1).expand(8, 12).contiguous())


def recited(shape="plain", shifted=False):
    """Whether a recurrent network that reads tokens is said to copy them."""
    torch = pytest.importorskip("torch")
    from torch import nn

    import isograd

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Embedding(20, 8)
            self.read = nn.GRU(8, 16, batch_first=True, bidirectional=shape == "both ways")
            self.write = nn.GRU(16, 16, batch_first=True) if shape == "two layers" else None
            self.head = nn.Linear(32 if shape == "both ways" else 16, 20 * 12 if shape == "one code" else 20)

        def forward(self, ids):
            states, last = self.read(self.token(ids))
            if shape == "one code":  # the whole sequence is put into one state and taken out of it
                return self.head(last[-1]).reshape(len(ids), 12, 20)
            if self.write is not None:
                states, _ = self.write(last[-1][:, None].expand(-1, ids.shape[1], -1))
            return self.head(states)

    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(4):
            ids = tokens()
            given, wanted = (ids[:, :-1], ids[:, 1:]) if shifted else (ids, ids)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(given).transpose(1, 2), wanted).backward()
            optimizer.step()
    return any(finding.disease == "leak" for finding in watch.report().findings)


def test_a_recurrent_language_model_whose_targets_were_not_shifted_learns_to_copy():
    assert recited() and not recited(shifted=True)


@pytest.mark.parametrize("shape", ["one code", "two layers", "both ways"])
def test_a_sequence_that_is_put_into_one_state_and_taken_out_again_is_no_leak(shape):
    assert not recited(shape)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("column", True),
        ("standardised label", True),
        ("window", True),
        ("ahead", False),
        ("line", False),
        ("first step", False),
        ("telling column", False),
        ("copy", False),
    ],
)
def test_a_target_that_was_left_among_the_inputs_is_told(task, said):
    """A line through one column, a first step that is to be remembered, a column that nearly tells: all of that is sound."""
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    series = torch.randn(400).cumsum(0)

    def batch():
        x = torch.randn(32, 5)
        if task == "column":
            return x, x[:, 3:4].clone()
        if task in ("standardised label", "telling column"):
            y = (x[:, 0] + torch.randn(32) > 0).float()
            x[:, 4] = (y - 0.5) / 0.4
            x[:2, 4] = -x[:2, 4] if task == "telling column" else x[:2, 4]
            return x, y[:, None]
        if task == "line":
            return x[:, :1], x[:, :1].clone()
        if task == "copy":
            return x, x.clone()
        i = torch.randint(0, 300, (32,))
        windows = torch.stack([series[k : k + 12] for k in i.tolist()])[..., None]
        return windows, windows[:, 0] if task == "first step" else series[i + (12 if task == "ahead" else 11)][:, None]

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            wide = {"line": 1}.get(task, 5)
            self.rnn = torch.nn.GRU(1, 5, batch_first=True)
            self.out = torch.nn.Linear(wide, 5 if task == "copy" else 1)

        def forward(self, x):
            return self.out(self.rnn(x)[0][:, -1] if x.ndim == 3 else x)

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loss = torch.nn.BCEWithLogitsLoss() if task in ("standardised label", "telling column") else torch.nn.MSELoss()
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(20):
            x, y = batch()
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
    found = [one for one in watch.report().findings if one.disease == "leak" and one.alarm]
    assert bool(found) is said and all("it learns to copy" in one.summary for one in found)
