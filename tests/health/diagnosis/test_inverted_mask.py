"""A padding mask the wrong way round is a certain fact; one that hides the padding is none."""

import pytest

from isograd.health.case import case_of
from isograd.health.diagnosis import inverted_mask
from isograd.records.anatomy import Anatomy, Node
from isograd.records.fact import Fact
from isograd.records.trace import LayerSample, Step, Trace

NET = Anatomy("torch", (Node("attend", "attention", "MultiheadAttention", source="net.py:8"),), ())


def found(*seen):
    """Looks in which the mask was, or was not, the wrong way round."""
    fact = (Fact("mask_inverted", "attend"),)
    steps = [Step(i, layers=(LayerSample("attend"),), facts=fact if one else ()) for i, one in enumerate(seen, 1)]
    return list(inverted_mask.diagnose(case_of(Trace(NET, (), tuple(steps)))))


def test_two_looks_are_enough_and_one_without_it_takes_it_back():
    (finding,) = found(True, True)
    assert (finding.severity, finding.where, finding.source) == ("warning", "attend", "net.py:8")
    assert found(True) == [] == found(True, True, False) == found(False, False)


def test_what_is_told_when_all_is_over_is_no_look():
    fact = Fact("mask_inverted", "attend")
    looks = [Step(i, layers=(LayerSample("attend"),), facts=(fact,)) for i in (1, 2)]
    last = Step(9, facts=(Fact("repeats"), Fact("training_mode")))
    assert list(inverted_mask.diagnose(case_of(Trace(NET, (), (*looks, last), ended=True))))


@pytest.mark.parametrize("mask", ["wrong", "wrong but for the first", "right", "none"])
@pytest.mark.parametrize("index", [0, None])
def test_a_real_transformer_that_is_given_it(mask, index):
    torch = pytest.importorskip("torch")
    from torch import nn

    import isograd

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
            self.embed = nn.Embedding(20, 8, padding_idx=index)
            self.body, self.head = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(8, 2)

        def forward(self, tokens):
            padding = {"wrong": tokens != 0, "right": tokens == 0, "none": None}[mask.partition(" ")[0]]
            if "first" in mask:  # so that there is something to look at where nothing is padded
                padding = padding & (torch.arange(tokens.shape[1]) > 0)
            return self.head(self.body(self.embed(tokens), src_key_padding_mask=padding).mean(1))

    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with isograd.watch(model, optimizer) as watch:
        for _ in range(8):
            tokens = torch.randint(1, 20, (16, 18))
            tokens[torch.arange(18) >= torch.randint(6, 18, (16, 1))] = 0
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(tokens), tokens[:, 0] % 2).backward()
            optimizer.step()
    said = {finding.disease for finding in watch.report().findings}
    assert ("inverted_mask" in said) == ("wrong" in mask)


def attends(torch, way, wrong):
    """A network that reads from left to right by one of three ways, or was meant to."""
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(20, 16), nn.Linear(16, 20)
            self.body = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, tokens):
            x, length = self.embed(tokens), tokens.shape[1]
            seen = torch.ones(length, length, dtype=torch.bool).tril()
            if wrong:
                seen = seen.mT
            if way == "module":
                mixed = self.body(x, x, x, attn_mask=~seen, need_weights=False)[0]
            elif way == "function":
                mixed = nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=seen)
            else:
                mixed = (x @ x.mT / 4).masked_fill(~seen, float("-inf")).softmax(-1) @ x
            return self.head(x + mixed)

    return Net()


@pytest.mark.parametrize("wrong", [True, False])
@pytest.mark.parametrize("way", ["module", "function", "by hand"])
def test_a_causal_mask_that_is_turned_is_told_however_the_attention_is_written(way, wrong):
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    model = attends(torch, way, wrong)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with isograd.watch(model, optimizer) as watch:
        for _ in range(8):
            tokens = torch.randint(0, 20, (16, 12))
            before = torch.cat([tokens[:, :1], tokens[:, :-1]], 1)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), ((tokens + before) % 20).flatten()).backward()
            optimizer.step()
    told = [finding for finding in watch.report().findings if finding.disease == "inverted_mask"]
    assert [finding.severity for finding in told] == ["warning"] * wrong
    assert all("look ahead" in finding.summary and __file__.split("/")[-1] in str(finding.source) for finding in told)


def test_a_network_that_reads_from_the_end_and_does_well_is_a_remark(monkeypatch):
    looks = [Step(i, layers=(LayerSample("attend"),), facts=(Fact("mask_turned", "attend", "net.py:9"),)) for i in (1, 2)]
    case = case_of(Trace(NET, (), tuple(looks), ended=True))
    assert [one.severity for one in inverted_mask.diagnose(case)] == ["warning"]
    monkeypatch.setattr(inverted_mask, "outcome", lambda case: type("Done", (), {"well": lambda self, skill: True})())
    assert [one.severity for one in inverted_mask.diagnose(case)] == ["note"]
