"""Batches that are made ahead: the same ones in the same order, an exception where it belongs, and no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from isograd.workbench.data.ahead import ahead


def ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "isograd batches"]


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_the_batches_are_the_same_in_the_same_order(count: int) -> None:
    assert list(ahead(iter(range(20)), count)) == list(range(20)) and not ours()


def test_the_next_ones_are_made_while_the_present_one_is_used_and_no_more_than_asked() -> None:
    made = []

    def batches() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    line = ahead(batches(), 2)
    assert next(line) == 0
    until = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]  # two wait, and a third is ready to be put where there is room
    line.close()  # type: ignore[attr-defined]
    assert not ours()


def test_what_goes_wrong_comes_out_where_its_batch_would_have() -> None:
    def batches() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    line = ahead(batches())
    assert next(line) == 1
    with pytest.raises(ValueError, match="the second"):
        next(line)
    assert not ours()


def test_whoever_breaks_off_leaves_no_thread() -> None:
    def interrupted() -> None:
        for number in ahead(iter(range(1000))):
            if number == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    until = time.monotonic() + 5
    while ours() and time.monotonic() < until:
        time.sleep(0.01)
    assert not ours()
