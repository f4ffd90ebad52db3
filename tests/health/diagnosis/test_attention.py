"""Attention: collapse onto single keys is an alarm only where nothing is learned."""

import pytest

from isograd.health.case import case_of
from isograd.health.diagnosis import attention
from isograd.records.anatomy import Anatomy, Node
from isograd.records.batch import LossSample
from isograd.records.trace import Attention, LayerSample, Meter, Step, Trace

PLACES = ("a", "b")
NET = Anatomy("torch", tuple(Node(path, "attention", "MultiheadAttention", source="net.py:5") for path in PLACES), ())


def found(entropies, logits=(3.0, 3.0), loss=2.0, *, floor=2.0, steps=400, ended=True):
    """``entropies``: at the first and at all later looks, of a and b alike or each its own; ``loss`` a number or a function."""
    both = entropies if isinstance(entropies[0], tuple) else (entropies, entropies)
    value = loss if callable(loss) else lambda _: loss
    at = sorted({1, 2, *range(20, steps + 1, 20)})

    def look(path, entropy, logit):
        return LayerSample(path, attention=Attention(10, 10 * entropy, entropy, logit))

    def layers(i):
        return tuple(look(path, one[i > 2], logits[i > 2]) for path, one in zip(PLACES, both, strict=True))

    taken = tuple(
        Step(i, value(i), layers=layers(i), losses=(LossSample("mse_loss", value=value(i), floor=floor, target_shape=(64,)),))
        for i in at
    )
    trace = Trace(NET, (), taken, steps if ended else 20 * steps, Meter(steps=steps), ended)
    return list(attention.diagnose(case_of(trace)))


def learns(step):
    return 2.0 / step


def test_attention_on_single_keys_in_a_network_that_learns_nothing_is_told_with_its_logits():
    (finding,) = found((0.9, 0.001), (3.0, 400.0))
    assert (finding.severity, finding.where, finding.source, finding.since) == ("critical", "a", "net.py:5", 20)
    assert "looks at single keys" in finding.summary and "400" in finding.evidence[1].text and finding.layers == ("a", "b")
    assert [f.severity for f in found((0.9, 0.03))] == ["warning"]


def test_a_pointer_network_that_learns_is_sharp_and_gets_a_remark_at_most():
    assert [f.severity for f in found((0.9, 0.001), loss=learns)] == ["note"]
    assert found((0.9, 0.03), loss=learns) == []


def test_one_sharp_layer_among_two_is_named_alone():
    (finding,) = found(((0.9, 0.6), (0.9, 0.001)))
    assert finding.layers == ("b",)


@pytest.mark.parametrize("entropy", [0.2, 0.5, 0.9])
def test_attention_that_spreads_is_healthy_whatever_the_loss_does(entropy):
    assert found((0.95, entropy)) == []


def test_too_few_steps_prove_no_harm():
    assert not any(f.alarm for f in found((0.9, 0.001), steps=40))
    assert not any(f.alarm for f in found((0.9, 0.001), steps=100, ended=False))


def test_growing_logits_are_a_remark_before_the_collapse():
    (finding,) = found((0.9, 0.4), (5.0, 200.0))
    assert finding.severity == "note" and "keep growing" in finding.summary
    assert found((0.9, 0.4), (150.0, 200.0)) == []  # large ever since


def test_attention_that_never_moved_is_a_remark():
    (finding,) = found((1.0, 0.9999), loss=learns)
    assert finding.severity == "note" and "all keys alike" in finding.summary
    assert found((1.0, 0.9999), loss=learns, steps=100) == []


@pytest.fixture
def trained():
    """A sequence task for one attention layer: (scale of its logits, seed) -> report."""
    torch = pytest.importorskip("torch")
    import isograd

    class Net(torch.nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.scale, self.qk, self.v, self.head = scale, torch.nn.Linear(8, 16), torch.nn.Linear(8, 8), torch.nn.Linear(8, 2)

        def forward(self, x):
            q, k = self.qk(x).chunk(2, -1)
            mixed = torch.softmax(q @ k.transpose(1, 2) * self.scale, -1) @ self.v(x)
            return self.head(mixed.mean(1))

    def run(scale, steps=60):
        torch.manual_seed(0)
        net = Net(scale)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        with isograd.watch(net, optimizer, steps=steps, budget=None) as watch:
            for _ in range(steps):
                x = torch.randn(64, 12, 8)
                labels = torch.randint(0, 2, (64,)) if scale > 1.0 else (x.mean((1, 2)) > 0).long()
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(x), labels).backward()
                optimizer.step()
        return [f for f in watch.report().findings if f.disease == "attention"]

    return run


def test_logits_a_thousandfold_too_large_in_a_real_network_that_learns_nothing(trained):
    (finding,) = trained(1000.0)
    assert finding.alarm and finding.where == "softmax"


def test_a_real_attention_that_learns_is_healthy(trained):
    assert not any(f.alarm for f in trained(8**-0.5))


def test_logits_in_the_thousands_are_told_where_half_of_what_could_be_learned_is_missing():
    (finding,) = found((0.09, 0.09), (2e3, 2e3), loss=1.5)
    assert finding.severity == "warning" and "2e+03" in finding.evidence[1].text and "constant answer" not in finding.summary
    assert [f.severity for f in found((0.09, 0.09), (2e3, 2e3), loss=lambda t: 0.1 if t > 20 else 2.0)] == ["note"]
    assert found((0.09, 0.09), (50.0, 50.0), loss=1.5) == []
    assert found((0.5, 0.5), (2e3, 2e3), loss=1.5) == []  # most rows still choose
