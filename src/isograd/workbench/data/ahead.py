"""Make the next batches in a thread while the network learns from the present one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
Item = tuple[Any, BaseException | None, bool]
_WAIT = 0.1  # seconds after which a thread that cannot go on looks whether anybody still wants what it makes


def ahead(batches: Iterable[T], count: int = 2) -> Iterator[T]:
    """The very batches in their order, up to ``count`` of them made before they are asked for; 0 makes none ahead.

    An exception of their maker comes out where its batch would have. Whoever stops asking (a request to stop, Ctrl-C, an
    exception) ends the thread: closing the iterator waits for the batch that is being made. Batches must not depend on
    anything that the one who asks for them changes meanwhile, such as global random states.

    >>> list(ahead(range(4)))
    [0, 1, 2, 3]
    """
    if not count:
        yield from batches
        return
    line: queue.Queue[Item] = queue.Queue(count)
    unwanted = threading.Event()
    thread = threading.Thread(target=_make, args=(batches, line, unwanted), name="isograd batches", daemon=True)
    thread.start()
    try:
        while True:
            batch, error, more = line.get()
            if error is not None:
                raise error
            if not more:
                return
            yield batch
    finally:
        unwanted.set()
        thread.join()


def _make(batches: Iterable[Any], line: queue.Queue[Item], unwanted: threading.Event) -> None:
    """Put each batch into the line, then its end or what went wrong."""
    try:
        for batch in batches:
            if not _put(line, (batch, None, True), unwanted):
                return
        _put(line, (None, None, False), unwanted)
    except BaseException as error:  # noqa: BLE001 - it comes out where its batch would have
        _put(line, (None, error, True), unwanted)


def _put(line: queue.Queue[Item], one: Item, unwanted: threading.Event) -> bool:
    while not unwanted.is_set():
        try:
            line.put(one, timeout=_WAIT)
            return True
        except queue.Full:
            continue
    return False
