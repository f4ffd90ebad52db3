"""Make a function a command: its status is what it returns, and every failure is one message and a status of its own."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from isograd.cli import show
from isograd.cli.status import INTERRUPTED, OUR_FAULT
from isograd.errors import IsogradError, MissingExtra

P = ParamSpec("P")
debugging = {"on": False}


def command_of(app: typer.Typer) -> Callable[[Callable[P, int]], Callable[P, None]]:
    """A decorator for commands of ``app``: the status is what the function returns, and every failure is one message."""

    def command(function: Callable[P, int]) -> Callable[P, None]:
        @app.command(help=(function.__doc__ or "").split("\n")[0])
        @functools.wraps(function)
        def run_it(*arguments: P.args, **options: P.kwargs) -> None:
            raise typer.Exit(_status(function, *arguments, **options))

        return run_it

    return command


def _status(function: Callable[P, int], *arguments: P.args, **options: P.kwargs) -> int:
    try:
        return function(*arguments, **options)
    except IsogradError as error:
        if debugging["on"]:
            traceback.print_exc()
        show.tell("\n  ".join([f"isograd: {error}", *getattr(error, "__notes__", ())]))
        return error.exit_status
    except ModuleNotFoundError as error:
        # A library is imported where it is used, so this is where a core install meets what it lacks.
        if debugging["on"]:
            traceback.print_exc()
        missing = MissingExtra(f"this needs {error.name}, which is not installed", remedy='pip install "isograd[workbench]"')
        show.tell(f"isograd: {missing}")
        return missing.exit_status
    except KeyboardInterrupt:
        show.tell("isograd: interrupted; the same command goes on from what was kept, or begins again")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the last door: a person gets one message, not a traceback
        if debugging["on"]:
            traceback.print_exc()
        show.tell(
            f"isograd: this is a fault of isograd itself: {type(error).__name__}: {error}\n"
            "  try    isograd --debug COMMAND ..., and report what it prints"
        )
        return OUR_FAULT
