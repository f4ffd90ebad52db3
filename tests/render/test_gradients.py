"""What is said of the gradient flow follows from the numbers."""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from isograd.records.anatomy import Anatomy, Node
from isograd.records.reading import Reading, Readings
from isograd.records.report import Report
from isograd.render.gradients import Flow, drift_of, flow_of, sentence_of, title_of


def flow(*gradients, foretold=None):
    """One step of layers from the input to the output."""
    theory = foretold or (None,) * len(gradients)
    return Flow(
        tuple(map(str, range(len(gradients)))), (1,), tuple((g,) for g in gradients), theory, (None,) * len(gradients), 1
    )


def test_a_gradient_of_the_same_size_everywhere_keeps_its_size():
    assert title_of(flow(0.2, 0.2, 0.2)) == "Gradients keep their size from layer 3 to layer 1"


def test_a_gradient_that_doubles_ten_times_grows_a_thousandfold():
    assert title_of(flow(1024.0, 1.0)) == "Gradients grow 1,000-fold from layer 2 to layer 1"


def test_a_gradient_that_never_arrives_is_not_called_small():
    title = title_of(flow(0.0, 0.0, 1.0))
    assert title == "No gradient reaches layer 1"
    assert "No gradient at all arrives at 2 layers, the last of them layer 2." in sentence_of(flow(0.0, 0.0, 1.0))


def test_a_gradient_that_is_not_a_number_is_said():
    assert title_of(flow(math.nan, 1.0)) == "Gradients are not finite at step 1"
    assert "cannot be compared" in sentence_of(flow(math.nan, 1.0))


def test_theory_alone_speaks_of_theory():
    alone = Flow(("a", "b"), (), ((), ()), (-math.log(100), 0.0), (None, None))
    assert title_of(alone) == "Theory foretells that gradients shrink 100-fold from layer 2 to layer 1"
    assert sentence_of(alone) == "Theory foretold 0.010 from the architecture alone."


@given(st.floats(1e-280, 1e280), st.floats(1e-280, 1e280))
def test_shrink_and_grow_are_never_confused(first, last):
    title = title_of(flow(first, last))
    ratio = math.log(first) - math.log(last)
    expected = "keep their size" if abs(ratio) <= math.log(3) else "shrink" if ratio < 0 else "grow"
    assert expected in title


def test_the_flow_is_taken_through_layers_with_weights_and_the_forecast_starts_at_the_last_of_them(samples):
    report = samples.report(4, 1.0)
    found = flow_of(report)
    assert found.layers == ("body.0", "body.2", "body.4", "body.6")
    assert found.steps == (1, 2, 5, 10, 20, 50, 100)
    assert [round(log, 6) for log in found.foretold] == [-3.0, -2.0, -1.0, 0.0]


def test_a_network_without_weights_is_followed_node_by_node():
    nodes = (Node("tanh", "activation", "tanh"), Node("softmax", "softmax", "softmax"))
    readings = Readings(tuple(Reading("gradient_rms", node.path, 1, 0.5) for node in nodes))
    assert flow_of(Report("check", Anatomy("torch", nodes, ()), readings=readings)).layers == ("tanh", "softmax")


def test_many_steps_are_thinned_with_both_ends_kept(samples):
    found = flow_of(samples.report(3, steps=tuple(range(1, 1001))))
    assert len(found.steps) == 48 and found.all_steps == 1000
    assert found.steps[0] == 1 and found.steps[-1] == 1000


def test_the_headline_of_the_heat_map_compares_the_first_with_the_last_step():
    two = Flow(("a", "b"), (1, 90), ((0.5, 0.1), (1.0, 1.0)), (None, None), (None, None), 2)
    assert drift_of(two) == "Layer 1 gets 0.50 at step 1 and 0.10 at step 90 times the gradient of layer 2"
    assert drift_of(replace(two, rms=((0.5, 0.0), (1.0, 1.0)))) == "No gradient reaches layer 1 at step 90"


def test_a_headline_says_whether_theory_foretold_it():
    tenth = math.log(0.1)
    assert title_of(flow(0.01, 0.1, foretold=(tenth, 0.0))) == "Gradients shrink 10-fold from layer 2 to layer 1, as foretold"
    assert title_of(flow(0.1, 0.1, foretold=(tenth, 0.0))).endswith(
        "keep their size from layer 2 to layer 1, which theory did not foretell"
    )
    assert title_of(flow(0.1, 0.1, foretold=(0.0, 0.0))).endswith("layer 1")


def test_how_far_the_first_layer_really_moved_stands_beside_its_gradient(samples):
    assert "The weights of layer 1 moved by 0.0010 of their size in that step." in sentence_of(flow_of(samples.report(4)))
