"""The command line: parse, call, show."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status.

    >>> main(["--version"])
    isograd 0.1.0
    0
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:  # answered before anything else is loaded
        from isograd import __version__

        print(f"isograd {__version__}")
        return 0
    try:
        from isograd.cli.app import app

        app(arguments, prog_name="isograd")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:  # so early that no command has begun
        print("isograd: interrupted", file=sys.stderr)
        return 130
    return 0
