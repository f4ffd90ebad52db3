"""``isograd cure``: the trials on stderr, the proof and its change on stdout; it goes on where it was interrupted."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isograd.cli import show
from isograd.cli.calling import factories_by, function_of, made_by
from isograd.cli.status import CANNOT_SAY, INTERRUPTED, NO, OK
from isograd.parallel import processes_here
from isograd.proofs import Proof
from isograd.records.cause import Explanation
from isograd.spending import Budget, budget_of

STATUS = {"healthy": OK, "cause": NO, "no signal": NO, "unknown": CANNOT_SAY, "interrupted": INTERRUPTED}
"""Exit status of an explanation by its answer."""
USUAL_BUDGET = "20 runs"
_EVERY = 5.0
"""Seconds between two plain lines of progress."""


def explained(project: str, budget: str | None, *, as_json: bool = False) -> int:
    """Name the cause of what ``project`` (a folder, or module:function) makes; gives the exit status."""
    from isograd import api
    from isograd.project import reading, river

    made = made_by(project) if by_function(project) else river.program(reading.load(Path(project)))
    with _progress() as told:
        report = api.name_cause(**made, budget=_steps(budget), on_progress=told)
    found = report.cause
    assert found is not None
    show.say(report.to_json() if as_json else f"{report}\nNext: {_next(found, project)}")
    return INTERRUPTED if found.interrupted else STATUS[found.answer]


def cured(
    project: str,
    budget: str | None,
    validation: str | None,
    *,
    write: bool,
    dry_run: bool,
    new: bool = False,
    processes: int | None = None,
    as_json: bool = False,
) -> int:
    """Find the repair of what ``project`` makes and put it to proof; gives the exit status."""
    text = budget or USUAL_BUDGET
    allowed = budget_of(text)
    work = _Function(project, validation, afresh=new) if by_function(project) else _Project(project, validation, afresh=new)
    if dry_run:
        return _dry_run(work, allowed, as_json)
    with work.trials.alone():
        known = work.trials.known()
        if known:
            show.tell(f"{len(known)} earlier trainings are in {work.trials.journal}; those of this program are not made again")
        with _progress() as told:
            proof = work.cure(text, known, told, processes or processes_here())
        work.trials.keep(proof.to_json(), proof.to_html(), proof.diff)
    written = _written(work, proof) if write else None
    if as_json:
        show.say(proof.to_json())
    else:
        show.say(str(proof))
        show.say()
        for line in written or ():
            show.say(line)
        show.say(f"report  {work.trials.page}")
        same = f"{project}{_option('--validation', validation)}"
        show.say(f"Next: {_after(work, proof, (same, budget), written=bool(written))}")
    return status_of(proof)


def by_function(project: str) -> bool:
    """Whether a module:function is meant, and not a folder."""
    return ":" in project and not Path(project).exists()


def status_of(proof: Proof) -> int:
    """0 proven or nothing to cure, 1 not proven, harmful or no cure found, 3 cannot say, 130 interrupted."""
    record = proof.record
    if record.interrupted:
        return INTERRUPTED
    if not record.edits:
        return OK if record.healthy else NO if any(one.edits for one in record.candidates) else CANNOT_SAY
    if record.verdict == "proven":
        return OK
    undecided = record.verdict == "not proven" and record.undecided
    short = len(record.trials) < record.pairs_needed
    return CANNOT_SAY if undecided and short else NO


class _Project:
    """A project folder: factories from its file, the change as settings of it."""

    def __init__(self, where: str, validation: str | None, *, afresh: bool) -> None:
        from isograd.errors import RequestError
        from isograd.project import reading
        from isograd.project.trying import Trials

        if validation is not None:
            raise RequestError("a project has validation rows of its own", remedy="validation = 0.15 under [data]")
        self.name, self.project, self.afresh = where, reading.load(Path(where)), afresh
        self.trials = Trials(self.project.runs / "cure")
        self.again = f"isograd train {where} --new"

    def settings(self) -> Mapping[str, Any]:
        """What would be tried."""
        from isograd.project.curing import curable

        given = curable(self.project, afresh=self.afresh)
        return {"steps of a run": given.steps, "project": str(self.project.path), "remarks": list(given.remarks)}

    def cure(self, budget: str, known: list[Any], told: Callable[[int, int, str], object], processes: int) -> Proof:
        """Search and prove."""
        from isograd.project import curing

        given = curing.curable(self.project, afresh=self.afresh)
        proof, self.change = curing.cure(
            given, budget_of(budget), processes=processes, known=known, on_tried=self.trials.add, on_progress=told
        )
        return proof

    def write(self) -> list[str]:
        """Write the change into the project file; gives what was written."""
        from isograd.project import amending

        if self.change.left:
            return []
        backup = amending.write(self.project, self.change)
        return [f"written {self.project.path}", f"backup  {backup}"]


class _Function:
    """A module:function of a person's own: the change in its source, where that can be placed."""

    def __init__(self, place: str, validation: str | None, *, afresh: bool) -> None:
        from isograd.errors import RequestError
        from isograd.project.trying import Trials

        if afresh:
            raise RequestError("--new is for a project with runs: a function makes its own weights", remedy="leave --new out")

        self.name, self.function = place, function_of(place)
        self.made = factories_by(place, validation)
        self.trials = Trials(Path("runs") / f"cure-{place.replace(':', '.')}")
        self.again = "isograd.watch(model) around the training loop"

    def settings(self) -> Mapping[str, Any]:
        """What would be tried."""
        return {"steps of a run": self.made.get("steps", "one pass through the batches, 300 to 2,000"), "program": self.name}

    def cure(self, budget: str, known: list[Any], told: Callable[[int, int, str], object], processes: int) -> Proof:
        """Search and prove."""
        from isograd import api
        from isograd.proofs import sources_of

        self.sources = sources_of(self.function, *self.made.values())  # as they are before the search
        self.proof = api.cure(
            **self.made, budget=budget, processes=processes, known=known, on_tried=self.trials.add, on_progress=told
        )
        self.change = self.proof.change
        return self.proof

    def write(self) -> list[str]:
        """Write the change into the source; gives what was written."""
        from isograd.project.amending import exchange

        found = self.change
        if found.left:
            return []
        told = []
        for name, text in found.texts.items():
            if text != self.sources.get(name, text):
                told += [f"written {name}", f"backup  {exchange(Path(name), self.sources[name], text)}"]
        return told


def _written(work: _Project | _Function, proof: Proof) -> list[str]:
    """Write what is proven and can be placed; says why where it is not."""
    from isograd.errors import RequestError

    if not proof.edits or proof.verdict != "proven":
        return []
    try:
        told = work.write()
    except RequestError as error:  # the file is not the one that was tried: the change is shown, and nothing is written
        show.tell(f"isograd: {error}")
        return []
    if not told:
        show.tell(
            "nothing was written: not every edit has a place of its own in the file; make the change that is shown by hand"
        )
    return told


def _dry_run(work: _Project | _Function, budget: Budget, as_json: bool) -> int:
    known = work.trials.known()
    settings = {
        **work.settings(),
        "budget": _said(budget),
        "known trainings": len(known),
        "journal": str(work.trials.journal),
    }
    if as_json:
        show.listing("plan", [{"settings": settings, "steps": ["search", "proof"]}])
    else:
        for name, value in settings.items():
            show.say(f"{name}: {', '.join(map(str, value)) or 'none' if isinstance(value, list) else value}")
        show.say("steps: search, proof; nothing was tried or written")
    return OK


def _said(budget: Budget) -> str:
    if budget.seconds is not None:
        return f"{budget.seconds:g} s"
    return f"{budget.steps:,} steps" if budget.steps is not None else f"{budget.runs:g} runs"


def _steps(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.strip().isdigit() else text


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """A function that shows what is tried: one line that moves on a terminal, plain lines now and then in a pipe."""
    live, began, last, first = sys.stderr.isatty(), time.monotonic(), 0.0, [-1]

    def told(spent: int, allowed: int, what: str) -> None:
        nonlocal last
        now = time.monotonic()
        if first[0] < 0:
            first[0] = spent
        share = f"{spent:,} of {allowed:,} steps" if allowed < 1_000_000_000 else f"{spent:,} steps"
        line = f"{share}  {show.clock(now - began)}  {what}"
        if live:
            print(f"\r\x1b[K{line[: _columns()]}", end="", file=sys.stderr, flush=True)
        elif now - last >= _EVERY:
            last = now
            show.tell(line)

    try:
        yield told
    finally:
        if live and first[0] >= 0:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns - 1


def _option(name: str, value: str | None) -> str:
    """An option as it was given, to be typed again; nothing where it was not."""
    return "" if value is None else f" {name} {shlex.quote(value)}"


def _after(work: _Project | _Function, proof: Proof, asked: tuple[str, str | None], *, written: bool) -> str:
    """The next command; ``asked`` is the program with its options, and the budget, without which other trials would be made."""
    record, (program, budget) = proof.record, asked
    same = f"isograd cure {program}{_option('--budget', budget)}"
    if record.interrupted:
        return f"{same}   goes on from here: what was tried is kept"
    if not record.edits and record.healthy:
        return work.again.removesuffix(" --new")
    if record.verdict == "proven":
        if written:
            return work.again
        if work.change.left:
            return f"make the change by hand, as not all of it has a place of its own in the file, then {work.again}"
        return f"{same} --write   makes the change (nothing is tried again), or make it by hand"
    if status_of(proof) == CANNOT_SAY or not record.edits:
        return f"isograd cure {program} --budget {_more(budget_of(budget or USUAL_BUDGET))}   goes on for longer"
    return work.again.removesuffix(" --new") if record.healthy else f"isograd cure {work.name} --explain   names the cause"


def _more(budget: Budget) -> str:
    if budget.seconds is not None:
        return f'"{2 * budget.seconds:g}s"'
    return str(2 * budget.steps) if budget.steps is not None else f'"{2 * budget.runs:g} runs"'


def _next(found: Explanation, project: Any) -> str:
    if found.causes:
        return f"isograd cure {project}   proves what helps"
    if found.answer == "healthy":
        return "isograd.watch(model) around the training loop"
    return f"isograd cure --explain {project} --budget {2 * found.spent} for longer trials"
