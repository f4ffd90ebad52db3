"""Show results on stdout and progress on stderr: bars on a terminal, plain lines in a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from isograd.records import codec

if TYPE_CHECKING:
    from isograd.workbench.train import Progress

WIDE = 110
"""Columns of a terminal from which on there is room for a long bar."""
PLAIN_EVERY = 10.0
"""Seconds between two plain progress lines within one epoch."""


def say(text: str = "") -> None:
    """A line of the result."""
    print(text, flush=True)


def tell(text: str) -> None:
    """A line about what is going on; never part of the result."""
    print(text, file=sys.stderr, flush=True)


def document(record: Any) -> None:
    """A record as one JSON document."""
    say(json.dumps(codec.to_document(record), ensure_ascii=False))


def listing(name: str, items: Iterable[Any]) -> None:
    """Several plain objects as one JSON document with a format and a version; each is written as soon as it is there."""
    each = (json.dumps(item, ensure_ascii=False) for item in items)
    first = next(each, "")  # where there is none because of a fault, nothing is written
    head = json.dumps({"format": f"isograd.{name}", "version": codec.VERSION, name: []}, ensure_ascii=False)
    sys.stdout.write(head.removesuffix("]}") + first)
    for item in each:
        sys.stdout.write(f", {item}")
    say("]}")


def clock(seconds: float) -> str:
    """Seconds as a clock shows them: short, and of one width while they run down.

    >>> clock(72), clock(3725), clock(4.21)
    ('1:12', '1:02:05', '4.2 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def progress_line(progress: Progress) -> str:
    """One line of progress: epoch, loss, metric, speed, time left."""
    return f"epoch {progress.epoch}/{progress.epochs}  {_share(progress)}  {figures(progress)}"


def _share(progress: Progress) -> str:
    return f"{progress.step / progress.steps if progress.steps else 1.0:4.0%}"


def figures(progress: Progress, room: int | None = None) -> str:
    """Loss, metrics, speed and time left; where they need more than ``room`` characters, without the least needed of them."""
    metrics = [f"{name} {value:.3f}" for name, value in progress.metrics[:2]]
    shown = {
        "loss": "" if progress.loss is None else f"loss {progress.loss:.3g}",
        "metric": metrics[0] if metrics else "",
        "second": metrics[1] if len(metrics) > 1 else "",
        "speed": f"{progress.rows_per_second:,.0f} rows/s",
        "left": "" if progress.seconds_left is None else f"{clock(progress.seconds_left)} left",
    }
    for name in ("second", "speed", "metric", "left", "loss"):
        text = "  ".join(filter(None, shown.values()))
        if room is None or len(text) <= room:
            return text
        shown[name] = ""
    return ""


@contextlib.contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Callable[[Progress], None]]:
    """A function that shows each ``Progress`` it is given."""
    if quiet:
        yield lambda progress: tell(progress.remark) if progress.remark else None
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _live() as update:
            yield update
    else:
        yield _plain()


def _plain() -> Callable[[Progress], None]:
    held: list[Progress] = []  # the end of an epoch, until its metrics are known
    at = time.monotonic()

    def update(progress: Progress) -> None:
        nonlocal at
        if progress.remark:
            tell(progress.remark)
            return
        ended = held.pop() if held else None
        if progress.phase == "validating":
            held.append(progress)
        if ended is not None:
            at = time.monotonic()
            tell(progress_line(replace(ended, metrics=progress.metrics)))
            if progress.health:
                tell("  " + progress.health)
        elif progress.phase != "validating" and time.monotonic() - at > PLAIN_EVERY:
            at = time.monotonic()
            tell(progress_line(progress))

    return update


@contextlib.contextmanager
def _live() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=8, transient=False) as live:

        def update(progress: Progress) -> None:
            if progress.remark:
                console.print(Text(progress.remark))
                return
            line = Table.grid(padding=(0, 1))
            epoch, share = f"epoch {progress.epoch}/{progress.epochs}", _share(progress)
            bar = 24 if console.width >= WIDE else 10
            room = console.width - len(epoch) - bar - len(share) - 6  # the gaps between them
            line.add_row(
                Text(epoch, no_wrap=True),
                ProgressBar(total=max(progress.steps, 1), completed=progress.step, width=bar),
                Text(f"{share}  {figures(progress, room)}", no_wrap=True),
            )
            live.update(Group(line, Text(progress.health, style="dim", no_wrap=True, overflow="ellipsis")))

        yield update
