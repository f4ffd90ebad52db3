"""Faults of the loop itself: a case known by thought, a healthy look-alike."""

from statistics import NormalDist

import pytest

from isograd.health.case import Case, case_of
from isograd.health.diagnosis import (
    carried_state,
    cut_graph,
    frozen_layers,
    gradients_lost,
    gradients_not_cleared,
    optimizer_misses_parameters,
    optimizer_restarted,
    recurrent_axes,
    same_batch,
    weights_reset,
    wrong_mode,
)
from isograd.health.looks import as_drawn, blank, fresh
from isograd.records.anatomy import Anatomy, Node, Optimizer, Parameter
from isograd.records.batch import Evaluation, InputSample, LossSample
from isograd.records.fact import Fact
from isograd.records.moments import Moments
from isograd.records.trace import Step, Trace


def drawn(bound, n=256, crossed=1.0):
    """Evenly spread over (-bound, bound): what a new layer looks like; ``crossed`` stretches it."""
    return Moments.of([crossed * bound * (2 * (i + 0.5) / n - 1) for i in range(n)])


def layer(name, *, trainable=True, held=True, new=True):
    return Parameter(f"{name}.weight", name, (16, 16), trainable, held, drawn(0.25, crossed=1.0 if new else 1.5))


def network(*parameters, optimizer=None):
    nodes = [Node("input", "input", "input", shape=(16,))]
    for position, parameter in enumerate(parameters):
        facts = ((position,), (16,), (("fan_in", 16), ("fan_out", 16)), (parameter.name,), f"net.py:{10 + position}")
        nodes.append(Node(parameter.layer, "linear", "Linear", *facts))
    return Anatomy("torch", tuple(nodes), tuple(parameters), optimizer or Optimizer("adam"))


A, B, C = layer("a"), layer("b"), layer("c")


def seen(anatomy, *facts, steps=(1, 2, 3, 9), ended=False, every=True):
    """Looks at some steps; the facts in all but the first, or in the last alone."""
    looks = [Step(1, facts=(Fact("detached"),))]
    looks += [Step(i, facts=facts if every or i == steps[-1] else (Fact("detached"),)) for i in steps[1:]]
    return Case(anatomy, steps=tuple(looks), taken=steps[-1], ended=ended)


def only(disease, case):
    found = list(disease.diagnose(case))
    assert len(found) == 1
    return found[0]


def carried(share=1.0, age=8):
    return Fact("carried", settings=(("parameters", 4), ("share", share), ("age", age)))


def test_gradients_that_nothing_ever_clears_are_critical():
    found = only(gradients_not_cleared, seen(network(A, B), carried()))
    assert (found.severity, found.where, found.since) == ("critical", "loop", 2)
    assert "never cleared" in found.summary


def test_gradients_carried_once_are_a_remark():
    assert only(gradients_not_cleared, seen(network(A, B), carried(), every=False)).severity == "note"


def test_gradients_cleared_before_the_step_are_lost():
    assert only(gradients_lost, seen(network(A, B), Fact("cleared_early"))).severity == "critical"
    assert only(gradients_lost, seen(network(A, B), Fact("cleared_early"), every=False)).severity == "note"


def test_passes_without_a_step_are_lost_but_for_a_trial():
    def case(passes, *more):
        return Case(network(A), steps=(Step(0, facts=(Fact("no_step", settings=(("passes", passes), *more)),)),), ended=True)

    assert only(gradients_lost, case(40)).severity == "critical"
    elsewhere = only(gradients_lost, case(40, ("called", False)))
    assert elsewhere.severity == "warning" and "trains another one" in elsewhere.summary
    assert list(gradients_lost.diagnose(case(1))) == []


def cut(name, used=True):
    return Fact("cut_off", name, settings=(("parameter", f"{name}.weight"), ("used", used), ("count", 1)))


def detached(operation="detach", after="a"):
    return Fact("detached", "", "net.py:31", (("operation", operation), ("after", after)))


def test_a_new_layer_behind_a_detach_is_named_with_the_line():
    found = only(cut_graph, seen(network(A, B, C), cut("a"), detached()))
    assert (found.severity, found.where, found.source) == ("warning", "a", "net.py:31")
    assert ".detach() at net.py:31" in found.summary


def test_a_loaded_trunk_under_no_grad_is_a_remark():
    found = only(cut_graph, seen(network(layer("a", new=False), B, C), cut("a"), detached("no_grad", "")))
    assert found.severity == "note"


def test_a_target_network_that_feeds_no_layer_is_a_remark():
    assert only(cut_graph, seen(network(B, C, A), cut("a"), detached("no_grad", "c"))).severity == "note"


def test_the_line_right_behind_the_cut_layer_is_blamed_before_others():
    facts = (detached("detach", "c"), cut("a"), Fact("detached", "", "net.py:77", (("operation", "detach"), ("after", "a"))))
    assert only(cut_graph, seen(network(A, B, C), *facts)).source == "net.py:77"


def test_a_loss_of_something_else_is_critical():
    assert only(cut_graph, seen(network(A, B), Fact("loss_outside"), cut("a"), cut("b"))).where == "loss"


def test_a_head_that_never_runs_is_a_remark():
    assert only(cut_graph, seen(network(A, B, C), cut("c", used=False))).severity == "note"


def missed(name):
    return Fact("not_in_optimizer", name, settings=(("parameter", f"{name}.weight"), ("count", 1)))


STALE = Fact("stale_parameters", "optimizer", settings=(("count", 1), ("shapes", "16x16")))


def test_a_layer_replaced_after_the_optimizer_was_made_is_critical():
    found = only(optimizer_misses_parameters, seen(network(A, layer("b", held=False)), missed("b"), STALE))
    assert (found.severity, found.where) == ("critical", "b")
    assert "replaced" in found.summary


def test_a_new_first_layer_that_no_optimizer_holds_is_an_alarm_and_a_loaded_one_is_not():
    for new, severity in ((True, "warning"), (False, "note")):
        anatomy = network(layer("a", held=False, new=new), B)
        assert only(optimizer_misses_parameters, seen(anatomy, missed("a"))).severity == severity


def test_a_last_layer_that_no_optimizer_holds_is_an_alarm_however_it_was_drawn():
    anatomy = network(A, layer("b", held=False, new=False))
    assert only(optimizer_misses_parameters, seen(anatomy, missed("b"))).severity == "warning"


def test_nothing_is_said_aloud_before_every_optimizer_had_its_turn():
    anatomy = network(A, layer("b", held=False))
    assert only(optimizer_misses_parameters, seen(anatomy, missed("b"), steps=(1, 2, 3))).severity == "note"


@pytest.mark.parametrize(("new", "severity"), [(False, "note"), (True, "warning")])
def test_training_the_biases_of_loaded_layers_alone_is_on_purpose_and_of_new_ones_is_not(new, severity):
    bias = Parameter("a.bias", "a", (16,), True, True, Moments())
    anatomy = network(layer("a", held=False, new=new), layer("b", held=False, new=new))
    anatomy = Anatomy("torch", anatomy.nodes, (*anatomy.parameters, bias), anatomy.optimizer)
    assert only(optimizer_misses_parameters, seen(anatomy, missed("a"), missed("b"))).severity == severity


def test_an_optimizer_that_never_steps_is_critical_once_its_turn_should_have_come():
    def idle(taken, planned=None):
        fact = Fact("optimizer_idle", "optimizer", settings=(("kind", "Adam"), ("parameters", 12), ("steps", taken)))
        steps = (Step(taken, facts=(fact,)),)
        case = Case(network(A, layer("b")), steps=steps, taken=taken, planned=planned, ended=True)
        return only(optimizer_misses_parameters, case)

    assert idle(300).severity == "critical" and "12 numbers never made a step" in idle(300).summary
    assert idle(20).severity == "note", "a short look"
    assert idle(300, planned=1_000).severity == "note", "it may begin later"


def test_modules_in_a_python_list_are_an_alarm():
    fact = Fact("hidden_module", "block.linear", settings=(("kind", "Linear"),))
    found = only(optimizer_misses_parameters, seen(network(A, B), fact))
    assert (found.severity, found.where) == ("warning", "block")
    assert "ModuleList" in found.remedy


def test_a_frozen_layer_that_was_never_trained_is_an_alarm_and_a_trained_one_is_not():
    for new, severity in ((True, "warning"), (False, "note")):
        anatomy = network(layer("a", trainable=False, new=new), B)
        found = only(frozen_layers, seen(anatomy, detached(), steps=(1, 2, 30), ended=True))
        assert (found.severity, found.where) == (severity, "a")
    assert list(frozen_layers.diagnose(seen(network(A, B), detached(), steps=(1, 2, 30)))) == []


def test_a_frozen_table_of_zeros_is_an_alarm_and_one_with_any_vector_in_it_is_none():
    def table(values, *, trainable=False):
        return Parameter("a.weight", "a", (16, 16), trainable, True, Moments.of(values))

    empty = network(table([0.0] * 256), B)
    found = only(frozen_layers, seen(empty, detached(), steps=(1, 2, 30), ended=True))
    assert (found.severity, found.where) == ("warning", "a") and "all zero" in found.summary
    assert blank(network(table([0.0] * 240 + [0.3] * 16), B)) == [], "words that were found stand beside those that were not"
    assert blank(network(table([0.0] * 256, trainable=True), B)) == [], "a layer that begins at nothing and learns"


@pytest.mark.parametrize(("bound", "crossed", "new"), [(0.25, 1.0, True), (0.25, 1.01, False), (0.2, 1.0, False)])
def test_weights_as_drawn_are_told_by_their_bound(bound, crossed, new):
    parameter = Parameter("w", "w", (16, 16), True, True, drawn(bound, crossed=crossed))
    assert as_drawn(parameter, None) is new


def test_a_trunk_that_was_trained_is_known_by_any_trace_although_a_small_layer_of_it_looks_new():
    small, trained = layer("a", trainable=False), layer("b", trainable=False, new=False)
    assert fresh(network(small, C), ["a"]) == ["a"]
    assert fresh(network(small, trained, C), ["a", "b"]) == []
    scale = Parameter("norm.weight", "norm", (4,), False, True, Moments.of([1.0, 1.1, 0.9, 1.0]))
    anatomy = network(small, C)
    assert fresh(Anatomy("torch", anatomy.nodes, (*anatomy.parameters, scale), anatomy.optimizer), ["a", "norm"]) == []


def test_new_layers_on_a_loaded_trunk_are_judged_by_themselves_where_the_optimizer_holds_them_alone():
    trunk = layer("a", trainable=False, held=False, new=False)
    for held, alarm in ((True, True), (False, False)):
        anatomy = network(trunk, layer("b", trainable=False, held=held), C)
        found = only(frozen_layers, seen(anatomy, detached(), steps=(1, 2, 30), ended=True))
        assert found.alarm is alarm and found.layers == (("b",) if alarm else ("a", "b"))


@pytest.mark.parametrize(("deviation", "known"), [(0.02, True), (0.05, False)])
def test_positions_of_a_module_itself_are_known_as_new_by_the_normal_that_is_the_custom(deviation, known):
    values = Moments.of([deviation * NormalDist().inv_cdf((i + 0.5) / 160) for i in range(160)])
    places = Parameter("places", "", (10, 16), False, True, values)
    anatomy = network(layer("a", trainable=False), C)
    anatomy = Anatomy("torch", anatomy.nodes, (places, *anatomy.parameters), anatomy.optimizer)
    assert fresh(anatomy, ["", "a"]) == (["", "a"] if known else [])


def test_a_small_table_says_nothing_against_new_layers_beside_it():
    entries = [NormalDist().inv_cdf((i + 0.5) / 32) for i in range(32)]
    table = Parameter("district.weight", "district", (8, 4), True, False, Moments.of(entries))
    anatomy = network(A, C)
    nodes = (Node("district", "embedding", "Embedding"), *anatomy.nodes)
    beside = Anatomy("torch", nodes, (table, *anatomy.parameters), anatomy.optimizer)
    assert fresh(anatomy, ["a"]) == ["a"] and fresh(beside, ["district", "a"]) == ["district", "a"]


def test_few_weights_tell_nothing_of_how_they_were_drawn():
    assert not as_drawn(Parameter("w", "w", (4, 4), True, True, drawn(0.5, 16)), None)


def mode(kinds, fresh):
    return Fact("evaluation_mode", "", settings=(("kinds", kinds), ("fresh", fresh)))


def test_training_in_evaluation_mode_with_statistics_never_gathered_is_an_alarm():
    assert only(wrong_mode, seen(network(A), mode("BatchNorm1d", True))).severity == "warning"


def test_forgetting_to_go_back_to_training_mode_is_an_alarm_with_its_step():
    found = only(wrong_mode, seen(network(A), mode("BatchNorm1d", False)))
    assert (found.severity, found.since) == ("warning", 2)
    assert "since step 2" in found.summary


def test_fine_tuning_with_loaded_statistics_from_the_first_step_on_is_a_remark():
    steps = tuple(Step(i, facts=(mode("BatchNorm1d", False),)) for i in (1, 2, 3, 9))
    assert only(wrong_mode, Case(network(A), steps=steps, taken=9)).severity == "note"


def lagging(momentum=1e-4, ratio=9.0, shift=0.1, *, accuracy=None, norms=("bn",)):
    settings = (("momentum", momentum), ("ratio", ratio), ("shift", shift))
    loss = LossSample("cross_entropy", value=0.3, floor=0.69, classes=(50, 50), answers=(50, 50), hits=90)
    tried = () if accuracy is None else (Evaluation(200, "", classes=(500, 500), answers=1000, hits=int(1000 * accuracy)),)
    facts = tuple(Fact("statistics_lag", name, settings=settings) for name in norms)
    looks = [Step(i, losses=(loss,), facts=facts) for i in range(20, 200, 20)]
    return Case(network(A), steps=(*looks, Step(200, losses=(loss,), evaluations=tried)), taken=200, ended=True)


def test_running_statistics_that_stay_what_they_began_as_make_another_network_of_it():
    found = only(wrong_mode, lagging())
    assert found.severity == "warning" and found.where == "bn" and "98 % of them are what they began as" in found.summary
    several = lagging(ratio=0.4, accuracy=0.6, norms=("bn", "bn2"))
    assert only(wrong_mode, several).severity == "warning"  # little in each, and the evaluation shows it


@pytest.mark.parametrize(
    "case",
    [lagging(momentum=0.01), lagging(ratio=0.5, shift=0.2), lagging(accuracy=0.88), lagging(accuracy=0.5, ratio=1.2)],
    ids=["follows in time", "hardly away", "evaluates as it trains", "overfits"],
)
def test_statistics_that_follow_or_do_no_harm_are_left_alone(case):
    assert not list(wrong_mode.diagnose(case))


def test_validation_without_evaluation_mode_is_a_remark():
    fact = Fact("training_mode", "", settings=(("kinds", "Dropout"),))
    assert only(wrong_mode, seen(network(A), fact)).severity == "note"


def replaced(count):
    return Fact("optimizer_replaced", "optimizer", settings=(("count", count),))


def test_another_adam_at_every_step_is_an_alarm_and_another_plain_sgd_is_not():
    for kind, severity in (("adam", "warning"), ("sgd", "note")):
        anatomy = network(A, optimizer=Optimizer(kind))
        assert only(optimizer_restarted, seen(anatomy, replaced(9))).severity == severity


def test_a_few_optimizers_in_a_long_run_are_phases():
    assert only(optimizer_restarted, seen(network(A), replaced(4), steps=(1, 2, 900))).severity == "note"


def changed(cosine=0.02, times=1):
    settings = (("parameter", "b.weight"), ("cosine", cosine), ("restored", False), ("times", times))
    return Fact("weights_changed", "b", settings=settings)


def test_weights_drawn_anew_again_and_again_are_critical():
    found = only(weights_reset, seen(network(A, B), changed()))
    assert (found.severity, found.where) == ("critical", "b")


def test_resets_between_two_looks_count_too():
    assert only(weights_reset, seen(network(A, B), changed(times=5), steps=(1, 2, 900), every=False)).severity == "warning"


def test_one_reset_is_a_phase():
    assert only(weights_reset, seen(network(A, B), changed(), every=False)).severity == "note"


def test_one_batch_of_many_is_an_alarm_and_all_there_is_is_not():
    for dataset, severity in ((640, "warning"), (32, "note"), (0, "note")):
        fact = Fact("same_batch", settings=(("dataset", dataset),))
        batch = InputSample("", 0, (32, 16), "float32", Moments(), 0.0, 1.0)
        steps = tuple(Step(i, inputs=(batch,), facts=(fact,) if i > 1 else ()) for i in (1, 2, 3, 9))
        assert only(same_batch, Case(network(A), steps=steps, taken=9)).severity == severity


def test_a_batch_taken_for_time_is_an_alarm():
    fact = Fact("axes_swapped", "a", settings=(("batch", 5), ("time", 9)))
    assert only(recurrent_axes, seen(network(A), fact)).severity == "warning"
    assert only(recurrent_axes, seen(network(A), fact, every=False)).severity == "note"


def test_a_state_carried_with_its_graph_is_an_alarm_and_a_detached_one_is_not():
    for graph, severity in ((True, "warning"), (False, "note")):
        fact = Fact("state_carried", "a", settings=(("graph", graph),))
        assert only(carried_state, seen(network(A), fact)).severity == severity


def frozen_beside(shared):
    """A pupil p0, p1 that learns and a frozen new network t0; ``shared``: the pupil reads what the frozen one puts out."""
    uniform = Moments.from_sums(4096, 0.0, 4096 / 192, 1 / 8 * (1 - 1e-3))
    facts = (("fan_in", 64), ("fan_out", 64))
    nodes = [Node("input", "input", "input"), Node("t0", "linear", "Linear", (0,), (64,), facts, ("t0.weight",))]
    nodes.append(Node("p0", "linear", "Linear", (1 if shared else 0,), (64,), facts, ("p0.weight",)))
    nodes.append(Node("p1", "linear", "Linear", (2,), (64,), facts, ("p1.weight",)))
    parameters = [Parameter(f"{n}.weight", n, (64, 64), n != "t0", n != "t0", uniform) for n in ("t0", "p0", "p1")]
    return Anatomy("torch", tuple(nodes), tuple(parameters))


@pytest.mark.parametrize(("shared", "severity"), [(True, "warning"), (False, "note")])
def test_a_network_that_is_frozen_beside_one_that_learns_is_not_in_its_way(shared, severity):
    steps = tuple(Step(i, 1.0) for i in range(1, 101))
    (finding,) = frozen_layers.diagnose(case_of(Trace(frozen_beside(shared), (), steps, 100, ended=True)))
    assert finding.severity == severity and finding.where == "t0"


def test_layers_that_may_be_thawed_are_no_alarm_before_most_of_the_run_is_over():
    steps = tuple(Step(i, 1.0) for i in range(1, 41))
    (finding,) = frozen_layers.diagnose(case_of(Trace(frozen_beside(True), (), steps, 100)))
    assert finding.severity == "note"


@pytest.mark.parametrize(("passes", "severity"), [(12, "critical"), (2, "note")])
def test_every_pass_of_a_closure_that_finds_old_gradients_counts(passes, severity):
    facts = Fact("carried", settings=(("parameters", 4), ("share", 1.0), ("age", 1), ("passes", passes)))
    found = only(gradients_not_cleared, seen(network(A, B), facts, every=False))
    assert found.severity == severity and "closure" in found.remedy


@pytest.mark.parametrize("clears", [True, False])
def test_a_real_closure_that_never_clears(clears):
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    x = torch.linspace(0, 1, 40).unsqueeze(1)
    net = torch.nn.Sequential(torch.nn.Linear(1, 12), torch.nn.Tanh(), torch.nn.Linear(12, 1))
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=8)

    def closure():
        if clears:
            optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), torch.cos(6 * x))
        loss.backward()
        return loss

    with isograd.watch(net, optimizer, budget=None) as watch:
        for _ in range(10):
            optimizer.step(closure)
    said = {one.disease for one in watch.findings if one.alarm}
    assert ("gradients_not_cleared" in said) == (not clears) and (not said or not clears)
