"""Batches that are not like the others: which, and what is odd of them; never how the data is."""

import math

import pytest
import torch

from isograd.frameworks.torch.odd import odd_ones


def batches(count=20, **changes):
    draw = torch.Generator().manual_seed(0)
    made = [[torch.randn(8, 3, generator=draw), torch.randn(8, generator=draw)] for _ in range(count)]
    for name, (part, change) in changes.items():
        place = int(name[1:]) - 1
        made[place][part] = change(made[place][part])
    return [tuple(one) for one in made]


def spoiled(value):
    def change(tensor):
        tensor = tensor.clone()
        tensor[0] = value
        return tensor

    return change


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_one_batch_that_is_not_finite_is_named_by_its_place(part, value):
    assert odd_ones(batches(b7=(part, spoiled(value)))) == {7: "not finite"}


def test_a_batch_in_other_units_is_named_with_how_far_it_is_off():
    assert "times as large" in odd_ones(batches(b1=(0, lambda x: 1e4 * x)))[1]
    assert "times as small" in odd_ones(batches(b20=(0, lambda x: 1e-4 * x)))[20]


def test_ordinary_batches_are_not_odd_nor_are_those_that_spread_threefold():
    assert odd_ones(batches()) == {}
    assert odd_ones(batches(b3=(0, lambda x: 3.0 * x), b4=(0, lambda x: x / 3.0))) == {}


def test_what_many_batches_have_is_how_the_data_is():
    assert odd_ones(batches(b3=(0, spoiled(math.nan)), b9=(0, spoiled(math.nan)))) == {}
    assert odd_ones(batches(4, b3=(0, spoiled(math.nan)))) == {}


def test_a_batch_of_zeros_and_whole_numbers_say_nothing():
    assert odd_ones(batches(b5=(0, torch.zeros_like))) == {}
    assert odd_ones([(torch.randint(0, 9, (4, 3)), torch.tensor([0, 1, 2, 9_000_000]))] * 20) == {}
    assert odd_ones([]) == {}
