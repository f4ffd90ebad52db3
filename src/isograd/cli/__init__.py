"""The command line: parse, call, show."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

OK, NO, WRONG_REQUEST, CANNOT_SAY, OUR_FAULT, INTERRUPTED = 0, 1, 2, 3, 70, 130
"""Exit statuses: yes, no, the request or the input is wrong, cannot say, isograd itself failed, interrupted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status; every failure is one message, a traceback only with ``--debug``.

    >>> main(["--version"])
    isograd 0.1.0
    0
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:  # answered before anything else is loaded
        from isograd import __version__

        print(f"isograd {__version__}")
        return OK
    debug = "--debug" in arguments
    try:
        from isograd.cli.app import run
    except ImportError as error:
        print(f"isograd: the command line needs {error.name}\n  try    pip install isograd", file=sys.stderr)
        return WRONG_REQUEST
    from isograd.errors import IsogradError

    try:
        return run([argument for argument in arguments if argument != "--debug"])
    except IsogradError as error:
        if debug:
            traceback.print_exc()
        print(f"isograd: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("isograd: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left: nothing more to say, and nothing to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:  # noqa: BLE001 - the last door: a person gets one message, not a traceback
        if debug:
            traceback.print_exc()
        print(
            f"isograd: this is a fault of isograd itself: {type(error).__name__}: {error}\n"
            "  try    the same command with --debug, and report what it prints",
            file=sys.stderr,
        )
        return OUR_FAULT
