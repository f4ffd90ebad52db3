"""The folder of a cure: a journal of every training that was tried, so that it can go on, and the proof with its page."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from isograd.errors import DamagedError, StorageError
from isograd.files import append_line, read_lines, write_text
from isograd.project.runs import RunFolder, alone
from isograd.records import codec
from isograd.records.proof import Tried


@dataclass(frozen=True, slots=True)
class Trials:
    """One folder for each program that is cured."""

    path: Path

    @property
    def journal(self) -> Path:
        """One finished training a line."""
        return self.path / "journal.jsonl"

    @property
    def page(self) -> Path:
        """The page of the proof."""
        return self.path / "report.html"

    def known(self) -> list[Tried]:
        """The trainings of earlier calls; a line that was cut off was never finished. Raises ``DamagedError``."""
        if not self.journal.exists():
            return []
        found = []
        for number, line in enumerate(read_lines(self.journal), 1):
            try:
                found.append(codec.loads(Tried, line))
            except DamagedError as error:
                where = f"{self.journal}, line {number}"
                remedy = "move the file away, and the search begins anew"
                raise DamagedError(
                    f"{self.journal} is no journal: {error.faults[0].what}", where=where, remedy=remedy
                ) from error
        return found

    def add(self, tried: Tried) -> None:
        """Keep a finished training; on the disk before the next begins."""
        append_line(self.journal, codec.dumps(tried))

    def alone(self) -> AbstractContextManager[None]:
        """Hold the folder for this process; raises ``RequestError`` where another process has it, ``StorageError``."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror}", where=str(self.path)) from error
        return alone(RunFolder(self.path))

    def keep(self, json: str, page: str, diff: str) -> None:
        """Write the proof as JSON and as a page, and its change as a diff where there is one."""
        write_text(self.path / "proof.json", json + "\n")
        write_text(self.page, page)
        if diff:
            write_text(self.path / "change.diff", diff)
