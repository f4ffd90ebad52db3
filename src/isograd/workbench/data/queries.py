"""Read the answer of a SQL query as a table, through SQLAlchemy; the URL says which database."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isograd.errors import DataError, MissingExtra
from isograd.workbench.data.columns import Cells
from isograd.workbench.data.places import Places
from isograd.workbench.data.sources import expanded, few
from isograd.workbench.data.table import Table
from isograd.workbench.data.values import cells_of, word_of

if TYPE_CHECKING:
    from sqlalchemy import Engine

_BLOCK = 10_000
_SCHEME = re.compile(r"[a-z][a-z0-9+_]*://", re.IGNORECASE)


def is_database(source: str) -> bool:
    """Whether a source is the URL of a database.

    >>> is_database("sqlite:///shop.db"), is_database("postgresql+psycopg://$USER@host/shop"), is_database("builtin:digits")
    (True, True, False)
    """
    return _SCHEME.match(source) is not None


def read_query(source: str, query: str | None, base: Path) -> Table:
    """The rows that ``query`` gives, in the order in which the database hands them out; nothing is ever written to it.

    A SQLite file is found relative to ``base`` and opened read-only; elsewhere the transaction is rolled back. The
    fingerprint is the SHA-256 of the names and of all values, so that a query whose answer has changed is other data.
    Raises ``DataError`` where the database, the driver or the query is not as it should be; no message shows a password.
    """
    with _connected(source, base) as (engine, shown):
        if not query or not query.strip():
            raise _no_query(engine, shown)
        names, rows = _answer(engine, query, shown)
    where = f"{shown}: {' '.join(query.split())}"
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"the query gives more than one column called {few(twice)}", where=where, remedy=f"select ... as {twice[0]}_2"
        )
    if not rows:
        raise DataError("the query gives no rows", where=where)
    read: dict[str, Cells | None] = {
        name: cells_of(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    columns = {name: cells for name, cells in read.items() if cells is not None}
    remarks = [f"column {name!r} holds no single values and was left out" for name in names if name not in columns]
    if not re.search(r"\border\s+by\b", query, re.IGNORECASE):
        remarks.append("the query has no ORDER BY: a database may hand the same rows out in another order, which is other data")
    if not columns:
        raise DataError("the query gives no column with plain values", where=where, met=few(names))
    return Table(
        where=where,
        columns=columns,
        places=Places("row", np.arange(1, len(rows) + 1)),
        fingerprint=_fingerprint(names, rows),
        remarks=tuple(remarks),
    )


def _fingerprint(names: list[str], rows: list[tuple[object, ...]]) -> str:
    digest = hashlib.sha256(repr(names).encode())
    for row in rows:
        words = [value.hex() if isinstance(value, bytes) else word_of(value) for value in row]
        digest.update(repr(words).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


@contextlib.contextmanager
def _connected(source: str, base: Path) -> Iterator[tuple[Engine, str]]:
    """An engine, and its URL as it may be shown; whatever goes wrong at the database becomes one message."""
    import sqlalchemy
    from sqlalchemy import exc, pool

    url, shown = None, source
    try:
        url = sqlalchemy.make_url(expanded(source))
        shown = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite":
            path = _sqlite_file(url.database, base, source)
            opened = f"{path.resolve().as_uri()}?mode=ro"
            engine = sqlalchemy.create_engine(
                "sqlite://", creator=lambda: sqlite3.connect(opened, uri=True), poolclass=pool.NullPool
            )
        else:
            engine = sqlalchemy.create_engine(url, poolclass=pool.NullPool)
    except (exc.ArgumentError, ValueError) as error:  # a port that is no number is a ValueError
        kind = "no such kind of database is known" if url is not None else "this is no URL of a database"
        raise DataError(f"{kind}: {shown}", met=str(error), remedy="sqlite:///shop.db") from error
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{shown.split(':')[0]} needs the driver {error.name}, which is not installed",
            remedy=f"pip install {error.name}",
        ) from error
    try:
        yield engine, shown
    except exc.DBAPIError as error:
        raise DataError("the database refused", where=shown, met=str(error.orig).strip().splitlines()[0]) from error
    except exc.SQLAlchemyError as error:
        raise DataError("the query cannot be run", where=shown, met=str(error).strip().splitlines()[0]) from error
    finally:
        engine.dispose()


def _sqlite_file(name: str | None, base: Path, source: str) -> Path:
    path = base / Path(name or "").expanduser()
    if not name or name == ":memory:" or not path.is_file():
        raise DataError(
            f"there is no database file {name or source!r}",
            where=str(path) if name else source,
            remedy="sqlite:///shop.db is shop.db beside the project file, sqlite:////data/shop.db is /data/shop.db",
        )
    return path


def _answer(engine: Engine, query: str, shown: str) -> tuple[list[str], list[tuple[object, ...]]]:
    import sqlalchemy

    # A colon in the person's SQL is no parameter of ours: SQLAlchemy's text() would take ":name" for one.
    statement = sqlalchemy.text(re.sub(r"(?<!:):(?=\w)", r"\:", query))
    with engine.connect() as connection:
        try:
            result: Any = connection.execution_options(yield_per=_BLOCK).execute(statement)
            if not result.returns_rows:
                raise DataError("the query gives no table", where=shown, met=query.strip()[:80], remedy="select ... from ...")
            names = list(map(str, result.keys()))
            rows = [tuple(row) for part in result.partitions() for row in part]
            return names, rows
        finally:
            connection.rollback()


def _no_query(engine: Engine, shown: str) -> DataError:
    import sqlalchemy

    tables = sqlalchemy.inspect(engine).get_table_names()
    return DataError(
        "which rows of the database?",
        where=shown,
        met=f"tables: {few(tables, 20)}" if tables else "it has no tables",
        remedy=f'query = "select * from {tables[0]}"' if tables else "",
    )
