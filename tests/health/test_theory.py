"""What theory foretells, on networks whose map is known and against measurement on random ones."""

import itertools
import math

import numpy as np
import pytest

from isograd.frameworks.reference.network import Activation, Linear, Network, Sgd
from isograd.frameworks.reference.patient import ReferencePatient
from isograd.health import signals, theory
from isograd.records.anatomy import Anatomy, Node, Parameter
from isograd.records.moments import Moments


def random_network(widths, function, gain, seed):
    draw, layers = np.random.default_rng(seed), []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        layers.append(
            Linear(f"l{i}", draw.normal(0, gain / math.sqrt(fan_in), (fan_out, fan_in)), draw.normal(0, 0.1, fan_out))
        )
        if i < len(widths) - 2:
            layers.append(Activation(f"a{i}", function))
    return Network(tuple(layers))


def both(network, seed):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(48, 20))
    batch = (x, draw.integers(0, 10, 48))
    trace = ReferencePatient(network, None, "cross_entropy", Sgd(0.0)).observe([batch], 1)
    return theory.foretell(trace.anatomy, float(np.sqrt(np.mean(x**2)))), {s.where: s for s in trace.steps[0].layers}


@pytest.mark.parametrize(
    ("function", "gain"),
    [("relu", math.sqrt(2)), ("relu", 1.0), ("tanh", 1.0), ("tanh", 2.5), ("sigmoid", 1.0), ("sigmoid", 4.0)],
)
@pytest.mark.parametrize(("depth", "width"), [(5, 80), (20, 80), (20, 30)])
def test_gradients_are_foretold_within_the_spread_of_finite_width(function, gain, depth, width):
    errors = []
    for seed in range(3):
        expected, samples = both(random_network([20, *[width] * depth, 10], function, gain, seed), 100 + seed)
        last = signals.gradient_rms(samples[f"l{depth}"])
        for where in ("l0", f"l{depth // 2}", f"a{depth - 1}"):
            e = expected.at(where)
            measured = math.log(signals.gradient_rms(samples[where]) / last)
            errors.append((measured - e.log_gradient) / e.spread)
    assert max(map(abs, errors)) < 3.5
    assert abs(np.mean(errors)) < 1.5


@pytest.mark.parametrize(("function", "gain"), [("tanh", 1.0), ("sigmoid", 1.0), ("relu", math.sqrt(2))])
def test_outputs_are_foretold(function, gain):
    expected, samples = both(random_network([20, *[100] * 6, 10], function, gain, 0), 1)
    for where, sample in samples.items():
        assert expected.at(where).activation_rms == pytest.approx(signals.activation_rms(sample), rel=0.35)


def chain(*operations, width=100, mean_square=None):
    """A chain of nodes over units of one width, with weights of the given mean square."""
    ms = 1 / width if mean_square is None else mean_square
    nodes, parameters = [Node("in", "input", "input", shape=(width,))], []
    for position, (operation, settings) in enumerate(operations):
        path, names = f"n{position}", ()
        if operation == "linear":
            names = (f"{path}.weight",)
            settings = (("fan_in", width), ("fan_out", width), ("bias", False))
            values = Moments.from_sums(width**2, 0.0, ms * width**2, 1.0)
            parameters.append(Parameter(names[0], path, (width, width), True, True, values))
        nodes.append(Node(path, operation, operation, (position,), (width,), settings, names))
    return Anatomy("reference", tuple(nodes), tuple(parameters))


LINEAR, RELU, SIGMOID = ("linear", ()), ("activation", (("function", "relu"),)), ("activation", (("function", "sigmoid"),))


def test_he_initialised_relu_is_at_the_edge_and_twice_as_much_explodes():
    stack = [LINEAR, RELU] * 10 + [LINEAR]
    assert theory.foretell(chain(*stack, mean_square=2 / 100)).slope == pytest.approx(0.0, abs=1e-6)
    assert theory.foretell(chain(*stack, mean_square=4 / 100)).slope == pytest.approx(-0.5 * math.log(2), abs=1e-6)


def test_a_sigmoid_with_unit_gain_keeps_a_quarter_at_most():
    found = theory.foretell(chain(*[LINEAR, SIGMOID] * 30, LINEAR))
    assert found.slope > math.log(4)
    assert found.depth_scale == pytest.approx(1 / found.slope)
    assert found.nodes[0].log_gradient < -30 * math.log(4)


def test_the_gradient_of_a_thousand_layers_does_not_underflow():
    found = theory.foretell(chain(*[LINEAR, SIGMOID] * 1000, LINEAR))
    assert found.nodes[0].log_gradient < -1000 and math.isfinite(found.slope)


def test_a_residual_joint_adds_the_energies_of_its_branches():
    width = 100
    nodes = (
        Node("in", "input", "input", shape=(width,)),
        Node("f", "linear", "Linear", (0,), (width,), (("fan_in", width), ("fan_out", width)), ("f.weight",)),
        Node("sum", "add", "add", (0, 1), (width,)),
    )
    weight = Parameter("f.weight", "f", (width, width), True, True, Moments.from_sums(10_000, 0.0, 100.0, 1.0))
    found = theory.foretell(Anatomy("reference", nodes, (weight,)))
    assert found.at("in").log_gradient == pytest.approx(0.5 * math.log(2))
    assert found.at("sum").activation_rms == pytest.approx(math.sqrt(2))


def test_x_plus_x_is_twice_x():
    nodes = (Node("in", "input", "input", shape=(4,)), Node("sum", "add", "add", (0, 0), (4,)))
    found = theory.foretell(Anatomy("reference", nodes, ()), 3.0)
    assert found.at("sum").activation_rms == pytest.approx(6.0)
    assert found.at("in").log_gradient == pytest.approx(math.log(2))


def test_a_norm_takes_the_scale_out_of_the_signal_and_puts_it_into_the_gradient():
    found = theory.foretell(chain(("norm", (("kind", "layer"), ("eps", 0.0)))), 10.0)
    assert found.at("n0").activation_rms == pytest.approx(1.0)
    assert found.at("in").log_gradient == pytest.approx(-math.log(10), abs=0.01)  # 1 / n of the variance is the mean


def test_dropout_amplifies_and_reshape_does_nothing():
    found = theory.foretell(chain(("dropout", (("p", 0.75),)), ("reshape", ())))
    assert found.at("n1").activation_rms == pytest.approx(2.0)
    assert found.at("in").log_gradient == pytest.approx(math.log(2))


@pytest.mark.parametrize(("kind", "gain"), [("max", 1 / 4), ("average", 1 / 16)])
def test_pooling_sends_the_gradient_to_one_input_or_a_share_of_it_to_each(kind, gain):
    pool = (("kind", kind), ("kernel", 2), ("stride", 2))
    nodes = (Node("in", "input", "input", shape=(3, 8, 8)), Node("p", "pool", "Pool", (0,), (3, 4, 4), pool))
    found = theory.foretell(Anatomy("reference", nodes, ()))
    assert found.at("in").log_gradient == pytest.approx(0.5 * math.log(gain))


def test_what_has_no_map_is_unknown_and_so_is_what_lies_behind_it():
    found = theory.foretell(chain(LINEAR, ("unknown", ()), LINEAR, RELU))
    assert found.unknown == ("n1",)
    assert [found.at(p).log_gradient is None for p in ("in", "n0", "n1", "n2")] == [True, True, False, False]
    assert [found.at(p).activation_rms is None for p in ("in", "n0", "n1", "n2", "n3")] == [False, False, True, True, True]
    assert not found.at("n2").known


def test_an_unheard_of_activation_is_unknown():
    assert theory.foretell(chain(LINEAR, ("activation", (("function", "snake"),)))).unknown == ("n1",)


def test_without_a_traced_flow_the_nodes_are_taken_as_a_chain():
    nodes = tuple(
        Node(n.path, n.operation, n.label, (), n.shape, n.settings, n.parameters) for n in chain(LINEAR, LINEAR).nodes
    )
    parameters = chain(LINEAR, LINEAR).parameters
    found = theory.foretell(Anatomy("reference", nodes, parameters, traced=False))
    assert found.at("n0").log_gradient == pytest.approx(0.0)


def test_nothing_is_foretold_of_nothing():
    assert theory.foretell(Anatomy("reference", (), ())).nodes == ()


def test_finite_width_spreads_as_the_sum_of_five_over_the_width_for_relu():
    found = theory.foretell(chain(*[LINEAR, RELU] * 10, mean_square=2 / 100))
    assert found.nodes[0].spread == pytest.approx(math.sqrt(10 * 5 / 100) / 2, rel=0.01)


def measured(build, shape, seed):
    """(foretold, measured) log gradient at every place of a torch network that theory knows, and the spread."""
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(seed)
    model = build(torch.nn)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
            torch.nn.init.zeros_(module.bias)
    x, y = torch.randn(32, *shape), torch.randint(0, 10, (32,))
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    record = isograd.check(model, (x, y), torch.nn.functional.cross_entropy, still).record
    assert record.expectations.unknown == ()
    gradients = {r.where: math.log(r.value) for r in record.readings.of("gradient_rms", step=1)}
    last = gradients[record.expectations.nodes[-1].where]
    found = [(e.log_gradient, gradients[e.where] - last, e.spread) for e in record.expectations.nodes if e.where in gradients]
    assert len(found) >= 8
    return found


def residual(nn, block):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = block()

        def forward(self, x):
            return x + self.inside(x)

    return Residual()


def convolutional(nn):
    layers = [nn.Conv2d(3, 24, 3, padding=1), nn.ReLU()]
    for i in range(6):
        layers += [nn.Conv2d(24, 24, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if i in (1, 3) else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


def dilated(nn):
    """A dilation of 5 throws most taps of a 16 x 16 picture into the padding."""
    layers = [nn.Conv2d(3, 24, 3, padding=5, dilation=5), nn.ReLU()]
    for _ in range(7):
        layers += [nn.Conv2d(24, 24, 3, padding=5, dilation=5), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


def strided(nn):
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(512, 64), nn.Tanh(), nn.Linear(64, 10)),
    )


def residual_mlp(nn):
    blocks = [residual(nn, lambda: nn.Sequential(nn.Linear(80, 80), nn.ReLU(), nn.Linear(80, 80))) for _ in range(8)]
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 80), *blocks, nn.Linear(80, 10))


def residual_cnn(nn):
    def block():
        inside = (nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
        return nn.Sequential(*inside, nn.BatchNorm2d(16))

    blocks = [residual(nn, block) for _ in range(4)]
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def normalised(nn):
    inside = [part for _ in range(8) for part in (nn.Linear(80, 80), nn.LayerNorm(80), nn.Tanh())]
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 80), *inside, nn.Linear(80, 10))


def batch_normalised(nn):
    inside = [part for _ in range(8) for part in (nn.Linear(80, 80), nn.BatchNorm1d(80), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 80), *inside, nn.Linear(80, 10))


@pytest.mark.parametrize("build", [convolutional, dilated, strided, residual_mlp, residual_cnn, normalised, batch_normalised])
def test_the_whole_map_agrees_with_measurement(build):
    for seed in range(2):
        for foretold, seen, spread in measured(build, (3, 16, 16), seed):
            # a few spreads of finite width; 0.5 nats for positions of a picture that are neither independent nor equal
            assert abs(seen - foretold) <= 3 * spread + 0.5
