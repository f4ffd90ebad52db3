"""Find the one text and the label in a table, for a task that reads texts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isograd.errors import DataError
from isograd.records.schema import ColumnKind
from isograd.workbench.data.columns import kind_of
from isograd.workbench.data.sources import few
from isograd.workbench.data.table import Table

TEXTS = "text-classification"
LABEL = "label"


def label_of(table: Table) -> str | None:
    """The column of the classes where nobody named it: "label", or the one that is neither the text nor the part."""
    if LABEL in table.columns:
        return LABEL
    rest = [name for name, cells in table.columns.items() if kind_of(cells).kind != "text" and name != "split"]
    return rest[0] if len(rest) == 1 else None


def only_text(table: Table, kinds: Mapping[str, ColumnKind], remarks: Sequence[str]) -> tuple[dict[str, ColumnKind], list[str]]:
    """The one column of texts among ``kinds``, and a remark on those that are not looked at.

    Where there is one column only, and its texts recur so often that they could be categories, they are read as texts.

    Raises ``DataError`` where there is no text or more than one.
    """
    texts = [name for name, kind in kinds.items() if kind == "text" or (kind == "category" and len(kinds) == 1)]
    if len(texts) != 1:
        remedy = (
            " ".join(f'drop = ["{name}"]' for name in texts[1:2]) if texts else 'task = "classification" reads every column'
        )
        raise DataError(
            "several columns hold texts: which is it?" if texts else "no column holds texts",
            where=table.where,
            met="; ".join(remarks) if not kinds else f"columns: {few(texts or [f'{n} ({k})' for n, k in kinds.items()], 20)}",
            remedy=remedy,
        )
    others = [name for name in kinds if name != texts[0]]
    said = [f"columns not looked at, because the task is to read {texts[0]!r}: {few(others, 20)}"] if others else []
    return {texts[0]: "text"}, [*remarks, *said]
