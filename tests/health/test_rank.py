"""How alike the examples of a layer are, on outputs whose answer is known by thought."""

import math

import numpy as np
import pytest

from isograd.health.signals import rank
from isograd.records.moments import Gram
from isograd.records.trace import LayerSample


def of(rows, positions=1):
    x = np.asarray(rows, dtype=float)
    return Gram(len(x), tuple((x @ x.T).ravel().tolist()), positions)


def test_examples_that_get_one_output_do_not_differ():
    assert rank.difference(of([[3.0, 4.0]] * 5)) == pytest.approx(0.0, abs=1e-7)
    assert math.isnan(rank.difference(of([[0.0], [0.0]])))


def test_a_common_part_a_thousand_times_as_large_leaves_a_difference_of_a_thousandth():
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(16, 50))
    assert rank.difference(of(rows - rows.mean(0))) == pytest.approx(1.0)
    assert rank.difference(of(1000.0 + rows - rows.mean(0))) == pytest.approx(1e-3, rel=0.05)


def test_orthogonal_examples_of_one_length_differ_in_all_but_their_mean():
    assert rank.difference(of(np.eye(8))) == pytest.approx(math.sqrt(7 / 8))


def test_neither_scale_nor_width_bends_a_signal():
    rows = np.random.default_rng(2).normal(size=(6, 10)) + 1.0
    wide = np.repeat(rows, 3, axis=1) * 1e-60
    assert rank.difference(of(wide)) == pytest.approx(rank.difference(of(rows)))


def test_positions_that_are_alike_within_each_sequence_are_seen_on_either_axis():
    draw = np.random.default_rng(3)
    sequences = np.repeat(draw.normal(size=(4, 1, 20)), 4, axis=1)
    for rows in (sequences, sequences.swapaxes(0, 1)):
        found = of(rows.reshape(16, 20), positions=4)
        assert rank.position_difference(found) == pytest.approx(0.0, abs=1e-7) and rank.difference(found) > 0.5
    assert rank.position_difference(of(draw.normal(size=(16, 20)), positions=4)) > 0.5


def test_of_several_passes_the_one_counts_in_which_examples_differ_most():
    alike, apart = LayerSample("a", 0, gram=of([[1.0], [1.0]])), LayerSample("a", 1, gram=of(np.eye(2)))
    values = {r.signal: r.value for r in rank.read([alike, apart], 1)}
    assert values["difference_of_examples"] == pytest.approx(math.sqrt(0.5)) and "difference_of_positions" not in values


def test_a_layer_without_examples_has_no_reading():
    assert (
        list(rank.read([LayerSample("a")], 1)) == [] and list(rank.read([LayerSample("a", gram=of([[0.0], [0.0]]))], 1)) == []
    )


def test_a_gram_must_be_square_and_whole():
    with pytest.raises(ValueError, match="n\\*n"):
        Gram(2, (1.0,))
    with pytest.raises(ValueError, match="groups of 2"):
        Gram(3, (0.0,) * 9, 2)
