"""The rows of a table as inputs and targets: in memory, or on disk where they are large or took long to encode."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isograd.records.schema import Encoding
from isograd.workbench.data import kept
from isograd.workbench.data.columns import Codes, Floats, Words, taken
from isograd.workbench.data.features import encode, width_of_column
from isograd.workbench.data.lexicon import Lexicon
from isograd.workbench.data.places import chosen
from isograd.workbench.data.rows import Rows
from isograd.workbench.data.table import Table

LETTERS = 8 << 20
"""Letters of texts from which on encoded rows are kept: fewer are cut and counted in about a second."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A table with its fitted encoding, and the class numbers or the quantities that are its targets."""

    table: Table
    labels: Codes | None
    quantity: Floats | None
    encoding: Encoding

    @property
    def are_tokens(self) -> bool:
        """Whether a row is a text as token numbers, which are places in a table of embeddings, not quantities."""
        columns = self.encoding.columns
        return len(columns) == 1 and columns[0].text is not None and columns[0].text.form == "ids"

    def rows(self, part: Codes, place: Path | None, asked: list[object]) -> Rows:
        """Some rows, kept at ``place`` under what was ``asked`` where that pays; raises ``StorageError`` for a full disk."""
        import torch  # here and not above: who only predicts needs none

        size = 4 * len(part) * self.width
        if place is not None and (self.table.on_disk or size > kept.IN_MEMORY or self._takes_long):
            stamp = hashlib.sha256(json.dumps(asked).encode() + part.tobytes()).hexdigest()
            inputs = torch.from_numpy(kept.made_once(place, stamp, lambda: self._blocks(part))[1])
        else:
            inputs = torch.from_numpy(self._encoded(part))
        names = chosen(self.table.places, part)
        if self.labels is not None:
            return Rows(inputs, torch.from_numpy(self.labels[part]), names)
        assert self.quantity is not None
        scaled = (self.quantity[part] - self.encoding.target_mean) / self.encoding.target_std
        return Rows(inputs, torch.from_numpy(scaled.astype(np.float32)[:, None]), names)

    @property
    def width(self) -> int:
        """Features of a row."""
        return sum(map(width_of_column, self.encoding.columns))

    @property
    def _takes_long(self) -> bool:
        texts = [self.table.columns[column.name] for column in self.encoding.columns if column.text is not None]
        return any(
            isinstance(cells, Words) and (isinstance(cells.values, Lexicon) or sum(map(len, cells.values)) > LETTERS)
            for cells in texts
        )

    def _encoded(self, part: Codes) -> NDArray[Any]:
        columns = {column.name: taken(self.table.columns[column.name], part) for column in self.encoding.columns}
        inputs = encode(columns, self.encoding.columns, len(part))
        return inputs.astype(np.int64) if self.are_tokens else inputs

    def _blocks(self, part: Codes) -> Iterator[tuple[NDArray[Any], kept.Facts]]:
        facts = kept.Facts("int64" if self.are_tokens else "float32", (len(part), self.width))
        count = max(1, kept.BLOCK // (16 * max(1, self.width)))
        for start in range(0, len(part), count):
            yield self._encoded(part[start : start + count]), facts
