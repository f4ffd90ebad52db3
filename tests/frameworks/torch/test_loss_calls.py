"""What the recorder says of a loss is what the program did: value, head and its line, hits, agreement."""

import gc
import math
import sys
import weakref
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import torch_loops as loops
from recording import Watch

from isograd.frameworks.torch.recorder import TorchRecorder

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(32) % 3
R = torch.randn(32, 1, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(1)


def watched(net, loss, x=X, y=R, steps=2, before=None, forward=None, models=None):
    """The last step of a few under a watch that looks at everything."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    recorder = TorchRecorder(models or [net], [optimizer], budget=None)
    recorder.attach()
    try:
        for _ in range(steps):
            optimizer.zero_grad()
            if before is not None:
                before(net)
            loss((forward or net)(x), y).backward()
            optimizer.step()
    finally:
        recorder.detach()
    assert recorder.stopped_by is None
    return recorder.trace().steps[-1]


def only(step):
    (sample,) = step.losses
    return sample


def line_of(function, offset=0):
    return f"test_loss_calls.py:{function.__code__.co_firstlineno + offset}"


def test_a_module_and_a_function_say_the_same():
    net = nn.Linear(6, 3)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    one = only(watched(net, nn.CrossEntropyLoss(), y=Y))
    net.load_state_dict(state)
    other = only(watched(net, F.cross_entropy, y=Y))
    assert one == other
    assert one.function == "cross_entropy" and one.training and one.base == "linear" and one.head == ()


def test_classes_answers_and_hits_are_counted():
    outputs = {}

    def loss(output, target):
        outputs["last"] = output.detach().clone()
        return F.cross_entropy(output, target)

    sample = only(watched(nn.Linear(6, 3), loss, y=Y))
    answers = outputs["last"].argmax(1)
    assert sample.classes == (11, 11, 10)
    assert sample.answers == tuple(torch.bincount(answers, minlength=3).tolist())
    assert sample.hits == int((answers == Y).sum()) != 16
    assert sample.value == float(F.cross_entropy(outputs["last"], Y))
    assert sample.output_shape == (32, 3) and sample.target_dtype == "int64" and sample.target_range == (0.0, 2.0)
    assert sample.rows == pytest.approx((float(outputs["last"].sum(1).min()), float(outputs["last"].sum(1).max())), rel=1e-5)


def test_a_softmax_module_in_the_model_is_the_head_with_its_path():
    sample = only(watched(nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)), F.cross_entropy, y=Y))
    assert sample.head == ("softmax",) and sample.head_where == "1" and sample.head_source is not None
    assert sample.rows == pytest.approx((1.0, 1.0), abs=1e-6)


def test_the_line_of_a_softmax_in_a_forward_and_in_a_loop_is_known():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 3)

        def forward(self, x):
            return F.softmax(self.a(x), dim=1)

    sample = only(watched(Net(), F.cross_entropy, y=Y))
    assert sample.head_source.endswith(line_of(Net.forward, 1)) and sample.head_where == ""  # a function, no module

    def loss(output, target):
        chances = output.softmax(-1)
        return F.cross_entropy(chances.view(32, 3), target)

    sample = only(watched(nn.Linear(6, 3), loss, y=Y))
    assert sample.head == ("softmax",) and sample.head_where == ""
    assert sample.head_source.endswith(line_of(loss, 1)) and sample.source.endswith(line_of(loss, 2))


@pytest.mark.parametrize(
    ("net", "head", "base"),
    [
        (nn.Sequential(nn.Linear(6, 3), nn.ReLU()), ("relu",), "linear"),
        (nn.Sequential(nn.Linear(6, 3), nn.Sigmoid(), nn.LogSoftmax(1)), ("log_softmax", "sigmoid"), "linear"),
        (nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 3, 6), nn.Flatten(), nn.Tanh()), ("tanh",), "conv"),
        (nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Linear(6, 3, bias=False), nn.Flatten()), (), "linear"),
        (nn.Sequential(nn.Linear(6, 3), nn.ReLU(inplace=True), nn.Dropout(0.0)), ("relu",), "linear"),
    ],
)
def test_heads_are_walked_back_to_the_last_layer(net, head, base):
    sample = only(watched(net, F.cross_entropy, y=Y))
    assert (sample.head[: len(head)] == head and sample.base == base) or sample.head[1:] == head  # dropout may show as a factor


def test_a_mixture_has_a_head_that_stands_on_no_layer():
    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x):
            return self.a(x).softmax(1) / 2 + self.b(x).softmax(1) / 2

    sample = only(watched(Mixture(), lambda o, y: F.nll_loss(o.log(), y), y=Y))
    assert sample.base == "" and sample.head[0] == "log" and sample.rows == pytest.approx((1.0, 1.0), abs=1e-5)


def test_a_softmax_over_the_batch_or_over_one_output_is_a_fact():
    step = watched(nn.Sequential(nn.Linear(6, 3), nn.Softmax(0)), F.cross_entropy, y=Y)
    (fact,) = [fact for fact in step.facts if fact.kind == "softmax_axis"]
    assert (fact.where, fact.get("axis", -1), fact.get("size", -1)) == ("1", 0, 32) and fact.source
    step = watched(nn.Sequential(nn.Linear(6, 1), nn.Softmax(-1)), F.mse_loss)
    (fact,) = [fact for fact in step.facts if fact.kind == "softmax_axis"]
    assert (fact.get("axis", -1), fact.get("size", -1)) == (1, 1)
    for sound in (nn.Softmax(1), nn.LogSoftmax(-1)):
        step = watched(nn.Sequential(nn.Linear(6, 3), sound), F.cross_entropy, y=Y)
        assert not [fact for fact in step.facts if fact.kind == "softmax_axis"]


WRITTEN = {
    "squared": (lambda o, y: ((o - y) ** 2).mean(), "mse_loss", F.mse_loss),
    "squared by pow": (lambda o, y: (y - o).pow(2).mean(), "mse_loss", F.mse_loss),
    "squared by square": (lambda o, y: torch.square(o - y).mean(), "mse_loss", F.mse_loss),
    "squared by product": (lambda o, y: ((d := o - y) * d).mean(), "mse_loss", F.mse_loss),
    "squared and summed": (lambda o, y: ((o - y) ** 2).sum(), "mse_loss", lambda o, y: F.mse_loss(o, y, reduction="sum")),
    "squared, summed by row": (lambda o, y: ((o - y) ** 2).sum(1).mean(), "mse_loss", F.mse_loss),
    "absolute": (lambda o, y: (o - y).abs().mean(), "l1_loss", F.l1_loss),
    "absolute by function": (lambda o, y: torch.abs(y - o).mean(), "l1_loss", F.l1_loss),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_loss_written_by_hand_is_what_its_function_is(kind):
    loss, function, reference = WRITTEN[kind]
    torch.manual_seed(1)
    net = nn.Linear(6, 1)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    sample = only(watched(net, loss))
    net.load_state_dict(state)
    expected = only(watched(net, reference))
    assert sample.written and sample.function == function and not expected.written
    assert sample.value == pytest.approx(expected.value, rel=1e-6)
    assert sample.floor == pytest.approx(expected.floor, rel=1e-6)
    assert sample.reduction == expected.reduction
    assert sample.agreement == expected.agreement and sample.target == expected.target
    assert "test_loss_calls.py" in sample.source


@pytest.mark.parametrize("eps", [0.0, 1e-8])
def test_binary_cross_entropy_written_by_hand(eps):
    def loss(output, target):
        p = torch.sigmoid(output)
        if eps:
            return -(target * torch.log(p + eps) + (1 - target) * torch.log(1 - p + eps)).mean()
        return -(target * torch.log(p) + (1 - target) * torch.log(1 - p)).mean()

    sample = only(watched(nn.Linear(6, 1), loss, y=(R > 0).float()))
    assert sample.written and sample.function == "binary_cross_entropy"
    assert sample.head[-1] == "sigmoid" and set(sample.head) <= {"sigmoid", "add"}
    share = float((R > 0).float().mean())
    assert sample.floor == pytest.approx(-share * math.log(share) - (1 - share) * math.log(1 - share), rel=1e-6)
    assert sum(sample.classes) == 32 and 0 <= sample.hits <= 32


@pytest.mark.parametrize(
    "loss",
    [
        lambda o, y: (o - o.detach().roll(1, 0)).tanh().mean(),
        lambda o, y: (o[:, None] - o[None]).square().mean(),
        lambda o, y: (o * y).sum(),
        lambda o, y: ((o - y) ** 4).mean(),
        lambda o, y: o.square().mean(),
    ],
)
def test_what_is_no_known_loss_has_its_value_alone(loss):
    sample = only(watched(nn.Linear(6, 1), loss))
    assert sample.function == "" and sample.value is not None and sample.floor is None and sample.training


def test_a_column_against_a_row_is_a_fact_and_an_agreement_example_by_example():
    for loss in (F.mse_loss, lambda o, y: ((o - y) ** 2).mean()):
        with pytest.warns(UserWarning, match="broadcasting") if loss is F.mse_loss else torch.enable_grad():
            step = watched(nn.Linear(6, 1), loss, y=R[:, 0])
        (fact,) = [fact for fact in step.facts if fact.kind == "broadcast"]
        assert fact.get("left", "") == "32x1" and fact.get("right", "") == "32"
        assert only(step).agreement.count == 32


def test_pairs_on_purpose_are_no_fact():
    centres = torch.randn(5, 6)

    def loss(output, target):
        near = ((output[:, None] - centres[None]) ** 2).sum(-1)
        return -torch.log_softmax(-near, 1)[:, 0].mean()

    assert not [fact for fact in watched(nn.Linear(6, 6), loss).facts if fact.kind == "broadcast"]


def test_a_loss_inside_the_model_is_seen_with_module_and_function():
    class Own(nn.Module):
        def __init__(self, loss):
            super().__init__()
            self.a, self.loss = nn.Linear(6, 3), loss

        def forward(self, x, labels):
            return self.loss(self.a(x), labels)

    for loss in (nn.CrossEntropyLoss(label_smoothing=0.1), lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1)):
        net = Own(loss)
        step = watched(net, lambda o, y: o, y=Y, forward=lambda x, net=net: net(x, labels=Y))
        sample = only(step)
        assert sample.function == "cross_entropy" and sum(sample.classes) == 32
        assert sample.floor > math.log(3) - 1e-3
        assert [i.shape for i in step.inputs] == [(32, 6), (32,)]  # labels came by name


def test_an_evaluation_before_the_step_is_no_loss_of_it():
    def evaluate(net):
        net.eval()
        with torch.no_grad():
            for _ in range(6):
                F.cross_entropy(net(X), Y)
        net.train()

    step = watched(nn.Linear(6, 3), F.cross_entropy, y=Y, before=evaluate)
    assert [sample.training for sample in step.losses] == [True]
    assert [(one.after, one.batches) for one in step.evaluations] == [(1, 6)]


def test_an_evaluation_with_gradients_on_is_told_by_its_missing_backward_pass():
    def evaluate(net):
        F.cross_entropy(net(X), Y)

    step = watched(nn.Linear(6, 3), F.cross_entropy, y=Y, before=evaluate)
    assert [sample.training for sample in step.losses] == [False, True]


def test_a_training_in_evaluation_mode_is_a_training():
    step = watched(nn.Linear(6, 3).eval(), lambda o, y: 2 * F.cross_entropy(o, y) + o.square().mean(), y=Y)
    assert [sample.training for sample in step.losses] == [True]


def test_a_gan_has_three_training_losses():
    watch = Watch()
    loops.LOOPS["GAN with two optimizers"](watch)
    step = watch.trace.steps[-1]
    assert [(s.training, s.target_range) for s in step.losses] == [(True, (1.0, 1.0)), (True, (0.0, 0.0)), (True, (1.0, 1.0))]


@pytest.mark.parametrize(
    ("output", "target", "function", "classes", "hits"),
    [
        ((8, 3, 4, 4), torch.zeros(8, 4, 4, dtype=torch.long), "cross_entropy", (128, 0, 0), None),
        ((8, 3, 5), torch.ones(8, 5, dtype=torch.long), "cross_entropy", (0, 40, 0), None),
        ((8, 3), F.one_hot(torch.arange(8) % 3).float(), "cross_entropy", (3, 3, 2), None),
        ((8, 3), F.one_hot(torch.arange(8) % 3).float(), "mse_loss", (3, 3, 2), None),
        ((8, 3), F.one_hot(torch.arange(8) % 3).float(), "binary_cross_entropy_with_logits", (3, 3, 2), None),
        ((8, 2), torch.tensor([[1.0, 1.0], [0.0, 0.0]] * 4), "binary_cross_entropy_with_logits", (8, 8), None),
        ((8, 1), torch.tensor([[1.0], [0.0]] * 4), "binary_cross_entropy_with_logits", (4, 4), None),
        ((8,), torch.tensor([1.0, 0.0] * 4), "binary_cross_entropy_with_logits", (4, 4), None),
        ((8, 1), torch.full((8, 1), 0.3), "binary_cross_entropy_with_logits", (), -1),
        ((8, 1), torch.tensor([[3.0], [1.0]] * 4), "mse_loss", (0, 4, 0, 4), -1),
        ((8, 1), torch.tensor([[0.5], [1.0]] * 4), "mse_loss", (), -1),
        ((8, 5000), torch.zeros(8, dtype=torch.long), "cross_entropy", (), -1),
    ],
)
def test_targets_of_many_forms_are_counted(output, target, function, classes, hits):
    width = math.prod(output[1:]) if len(output) > 1 else 1
    net = nn.Linear(6, width)
    loss = lambda o, y: getattr(F, function)(o.reshape(output), y)  # noqa: E731
    sample = only(watched(net, loss, x=X[:8], y=target))
    assert sample.function == function and sample.classes == classes and sample.target_shape == tuple(target.shape)
    assert sample.hits == hits if hits is not None else 0 <= sample.hits <= sum(classes)
    assert sample.floor is not None


def test_class_weights_are_kept():
    sample = only(watched(nn.Linear(6, 3), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5])), y=Y))
    assert sample.weights == (1.0, 2.0, 0.5)


def test_targets_out_of_reach_are_weighed_by_how_far():
    target = torch.tensor([[-1.0], [1.0]] * 16)
    sample = only(watched(nn.Sequential(nn.Linear(6, 1), nn.ReLU()), F.mse_loss, y=target))
    assert sample.beyond == 0.5 and sample.shortfall == pytest.approx(0.5)  # half lie 1 below, and the variance is 1
    sample = only(watched(nn.Sequential(nn.Linear(6, 1), nn.Tanh()), F.mse_loss, y=target))
    assert (sample.beyond, sample.shortfall) == (0.0, 0.0)


def test_a_teacher_beside_the_model_is_evaluated_as_without_a_watch():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, dropout=0.0)
    teacher = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(4, 5, 6)
    with torch.no_grad():
        expected = teacher(x)
    seen = []

    def loss(output, target):
        with torch.no_grad():
            seen.append(teacher(x))
        return F.mse_loss(output, target)

    sample = only(watched(nn.Linear(6, 1), loss))
    assert sample.function == "mse_loss" and all(torch.equal(one, expected) for one in seen)


def test_an_error_of_ours_does_not_reach_the_loop(monkeypatch):
    from isograd.frameworks.torch import calls

    def broken(*_, **__):
        raise ValueError("planted")

    monkeypatch.setattr(calls, "sample_of", broken)
    net = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = TorchRecorder([net], [optimizer], budget=None)
    recorder.attach()
    with pytest.warns(RuntimeWarning, match="planted"):
        loss = F.cross_entropy(net(X), Y)
    loss.backward()
    optimizer.step()
    recorder.detach()
    assert str(recorder.stopped_by) == "planted"


def test_outputs_targets_and_losses_die_with_their_step():
    net = nn.Sequential(nn.Linear(6, 1), nn.Sigmoid())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = TorchRecorder([net], [optimizer], budget=None)
    recorder.attach()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            x, target = X.clone(), (R > 0).float()
            p = net(x)
            loss = -(target * torch.log(p) + (1 - target) * torch.log(1 - p)).mean() + ((p - target) ** 2).mean()
            watched = [weakref.ref(tensor) for tensor in (x, target, p, loss)]
            loss.backward()
            optimizer.step()
            del x, target, p, loss
            assert [reference() for reference in watched] == [None] * 4
    finally:
        gc.enable()
        recorder.detach()
    assert len(recorder.trace().steps[-1].losses) == 2


def test_a_softmax_over_one_below_a_sigmoid_is_a_fact_and_attention_to_one_key_is_none():
    step = watched(nn.Sequential(nn.Linear(6, 1), nn.Softmax(1), nn.Sigmoid()), F.binary_cross_entropy, y=(R > 0).float())
    assert [fact.where for fact in step.facts if fact.kind == "softmax_axis"] == ["1"]
    step = watched(nn.Sequential(nn.Linear(6, 1), nn.Softmax(1)), lambda o, y: F.mse_loss(o * X[:, :1], y))
    assert not [fact for fact in step.facts if fact.kind == "softmax_axis"]
