"""Vanishing and exploding through time: told in steps, an alarm only where nothing is learned."""

import pytest

from isograd.health.case import case_of
from isograd.health.diagnosis import recurrent
from isograd.records.anatomy import Anatomy, Node
from isograd.records.batch import LossSample
from isograd.records.fact import Fact
from isograd.records.moments import Moments
from isograd.records.trace import LayerSample, Meter, Step, Trace

RNN = Node("rnn", "recurrent", "RNN", settings=(("kind", "rnn_tanh"), ("hidden", 8)), source="net.py:3")


def found(gradients, loss=2.0, *, floor=2.0, steps=100, ended=True, node=RNN, facts=()):
    """``gradients`` from the first time step to the last, in every look; ``loss`` a number or a function of the step."""
    layer = LayerSample(node.path, through_time=tuple(Moments.of([g, -g]) for g in gradients))
    value = loss if callable(loss) else lambda _: loss
    taken = tuple(
        Step(
            i,
            value(i),
            layers=(layer,),
            losses=(LossSample("mse_loss", value=value(i), floor=floor, target_shape=(64,)),),
            facts=facts,
        )
        for i in range(1, steps + 1, max(1, steps // 20))
    )
    trace = Trace(Anatomy("torch", (node,), ()), (), taken, steps if ended else 10 * steps, Meter(steps=steps), ended)
    return list(recurrent.diagnose(case_of(trace)))


def geometric(keeps, steps=200):
    return [keeps ** (steps - 1 - t) for t in range(steps)]


def test_a_gain_of_082_over_200_steps_leaves_nothing_earlier_than_35_steps_before_the_end():
    (finding,) = found(geometric(0.82))
    assert finding.severity == "warning" and finding.where == "rnn" and finding.source == "net.py:3"
    assert "7e-18 of the one at the last of 200 steps" in finding.summary and "35 steps before the end" in finding.summary
    assert finding.time_step == 166 and "82 %" in finding.evidence[1].text


def test_a_network_that_learns_with_a_short_memory_gets_a_remark():
    assert [f.severity for f in found(geometric(0.82), lambda i: 2.0 / i)] == ["note"]


def test_a_short_look_is_no_proof_of_harm():
    assert [f.severity for f in found(geometric(0.82), steps=20)] == ["note"]
    assert [f.severity for f in found(geometric(0.82), steps=60, ended=False)] == ["note"]


def test_most_of_a_short_sequence_is_reached_and_its_beginning_is_not_which_is_a_remark_where_nothing_is_learned():
    (finding,) = found(geometric(0.6, 20))
    assert finding.severity == "note" and "6e-05 of the one at the last of 20 steps" in finding.summary
    assert found(geometric(0.6, 20), lambda i: 2.0 / i) == [], "what there is to learn lies near the end"
    assert found(geometric(0.8, 20)) == [], "a hundredth is left at the first step"


@pytest.mark.parametrize("keeps", [0.99, 1.0, 1.01])
def test_a_gradient_that_reaches_the_first_step_is_healthy_whatever_the_loss_does(keeps):
    assert found(geometric(keeps)) == []


def test_targets_at_every_step_put_gradient_everywhere():
    assert found([1.0] * 200) == []


def test_both_ends_of_a_bidirectional_layer_are_near_to_the_loss():
    ends = [max(0.5**t, 0.5 ** (99 - t)) for t in range(100)]
    assert found(ends) == []


def test_an_underflow_on_the_way_is_exactly_zero_at_the_first_step():
    (finding,) = found([0.0] * 100 + geometric(0.3, 20))
    assert "exactly 0" in finding.summary and finding.severity == "warning"


def test_a_gradient_that_is_gone_one_step_back_has_not_faded_but_was_cut():
    (finding,) = found([0.0] * 14 + [1.0])
    assert finding.severity == "warning" and "the last of 15 time steps alone" in finding.summary
    assert "detached" in finding.cause and finding.time_step == 15 and finding.evidence[0].signal == "time_reach"
    (finding,) = found([0.0] * 14 + [1.0], lambda i: 2.0 / i)
    assert finding.severity == "note", "what there is to learn may stand at the last step"
    (finding,) = found([0.0] * 13 + [1e-9, 1.0])
    assert "detached" not in (finding.cause or ""), "a billionth is left one step back: that is a small gain"


def test_a_gradient_that_grows_a_million_times_back_through_time_is_told():
    (finding,) = found([10.0 ** (6 - 6 * t / 99) for t in range(100)])
    assert finding.severity == "warning" and finding.time_step == 1 and "grows on its way back" in finding.summary
    assert "clip" in finding.remedy
    assert [f.severity for f in found([10.0 ** (6 - 6 * t / 99) for t in range(100)], lambda i: 1.0 / i)] == ["note"]


def test_a_few_time_steps_say_nothing():
    assert found(geometric(1e-3, 5)) == []


@pytest.fixture
def trained():
    """A network that must tell the sign of the first number from noise that follows: (kind, steps in time) -> report."""
    torch = pytest.importorskip("torch")
    import isograd

    def run(kind, length, at=0, steps=60):
        torch.manual_seed(0)
        rnn, head = getattr(torch.nn, kind)(1, 12, batch_first=True), torch.nn.Linear(12, 2)

        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn, self.head = rnn, head

            def forward(self, x):
                return self.head(self.rnn(x)[0][:, -1])

        net = Net()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        with isograd.watch(net, optimizer, steps=steps, budget=None) as watch:
            for _ in range(steps):
                x = torch.randn(64, length, 1)
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(x), (x[:, at, 0] > 0).long()).backward()
                optimizer.step()
        return watch.report()

    return run


def test_a_simple_network_does_not_remember_the_first_of_80_steps(trained):
    finding = next(f for f in trained("RNN", 80).findings if f.disease == "recurrent")
    assert finding.severity == "warning" and finding.where == "rnn" and finding.time_step > 20


def test_the_same_network_that_is_asked_for_the_last_step_is_healthy(trained):
    assert not any(f.alarm for f in trained("RNN", 80, at=-1).findings if f.disease == "recurrent")


def test_an_answer_that_is_read_at_the_first_time_step_has_seen_one_input():
    (finding,) = found([1.0] + [0.0] * 19)
    assert finding.severity == "warning" and "first time step alone" in finding.summary and finding.time_step == 1
    (half,) = found([1.0] + [0.0] * 19, lambda t: 1.6)
    assert half.severity == "warning" and "most of what there is to learn is left" in half.summary
    (learned,) = found([1.0] + [0.0] * 19, lambda t: 2.0 / t)
    assert learned.severity == "note"
    assert found([1.0] * 20) == [], "a target at every step"


def test_what_reads_only_the_end_of_its_sequences_is_not_foretold_to_train():
    torch = pytest.importorskip("torch")
    import isograd

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = torch.nn.RNN(1, 32, batch_first=True), torch.nn.Linear(32, 2)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    def foretold(length):
        torch.manual_seed(0)
        net = Net()
        x = torch.randn(64, length, 1)
        batch = x, (x[:, -1, 0] > 0).long()
        return isograd.check(net, batch, torch.nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters(), lr=3e-3))

    assert "early steps of the sequences" in str(foretold(80)) and foretold(80).forecast.answer == "uncertain"
    assert "early steps" not in str(foretold(9))


def test_a_loss_that_broke_under_a_gradient_that_grows_through_time_is_told_as_that():
    (finding,) = found(geometric(1.06, steps=80), lambda i: 2.0 if i < 90 else float("nan"))
    assert finding.severity == "warning" and "grows on its way back" in finding.summary and "the loss broke" in finding.summary
    assert found(geometric(1.03, steps=80), lambda i: 2.0 if i < 90 else float("nan")) == []  # ten times: not that
    assert found(geometric(1.06, steps=80)) == []
    (finding,) = found(geometric(0.82), lambda i: 2.0 / i if i < 90 else float("nan"))
    assert finding.severity == "note"  # what vanishes breaks nothing


@pytest.mark.parametrize("gain", [1.8, 1.0])
def test_a_real_recurrent_network_whose_gradient_explodes_through_time(gain):
    torch = pytest.importorskip("torch")
    from torch import nn

    import isograd

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.RNN(2, 32, batch_first=True, nonlinearity="relu"), nn.Linear(32, 2)
            with torch.no_grad():
                self.rnn.weight_hh_l0.copy_(gain * nn.init.orthogonal_(torch.empty(32, 32)))

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(60):
            x = torch.randn(32, 60, 2)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), (x[:, -1, 0] > 0).long()).backward()
            optimizer.step()
    said = {finding.disease for finding in watch.report().findings if finding.alarm}
    assert ({"recurrent", "nonfinite"} <= said) == (gain > 1.0)


@pytest.mark.parametrize("cuts", [True, False])
def test_before_training_a_state_that_is_cut_at_every_step_is_remarked_and_not_called_healthy(cuts):
    torch = pytest.importorskip("torch")
    import isograd

    class Cells(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = torch.nn.GRUCell(2, 8), torch.nn.Linear(8, 1)

        def forward(self, x):
            state = x.new_zeros(len(x), 8)
            for step in range(x.shape[1]):
                state = self.cell(x[:, step], state.detach() if cuts else state)
            return self.head(state)

    torch.manual_seed(0)
    model = Cells()
    batch = torch.randn(32, 12, 2), torch.randn(32, 1)
    report = isograd.check(model, batch, torch.nn.functional.mse_loss, torch.optim.Adam(model.parameters()))
    assert any("cut from its past" in finding.summary for finding in report.findings) == cuts
    assert str(report).startswith("No fault was found, but the gradient does not reach") == cuts


def test_sequences_that_end_with_padding_are_told_where_their_gradient_fades_and_the_remedy_reads_their_ends():
    (finding,) = found(geometric(0.82), facts=(Fact("padded_ends", "rnn", settings=(("steps", 150), ("of", 200))),))
    assert "The last 150 of 200 steps are padding in half of the sequences" in finding.summary
    assert finding.remedy is not None and "pack_padded_sequence" in finding.remedy
    (other,) = found(geometric(0.82), facts=(Fact("padded_ends", "another"),))
    assert "padding" not in other.summary and other.remedy is not None and "pack_padded_sequence" not in other.remedy
    assert found([1.0] * 200, facts=(Fact("padded_ends", "rnn"),)) == []
