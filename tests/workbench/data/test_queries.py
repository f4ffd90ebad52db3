import sqlite3
from pathlib import Path

import pytest

from isograd.errors import DataError, MissingExtra
from isograd.workbench.data import SplitPlan, prepare
from isograd.workbench.data.queries import read_query
from isograd.workbench.data.table import Table

ALL = "select * from shop order by id"


def database(folder: Path, rows: int = 40) -> Path:
    path = folder / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table shop (id integer, age real, city text, photo blob, bought text)")
        connection.executemany(
            "insert into shop values (?, ?, ?, ?, ?)",
            [(i, None if i == 3 else 20.0 + i, ("rome", "oslo")[i % 3 == 0], b"\0", "ny"[i % 2]) for i in range(rows)],
        )
    connection.close()
    return path


def asked(folder: Path, query: str | None = ALL, source: str = "sqlite:///shop.db") -> Table:
    return read_query(source, query, folder)


def refused(folder: Path, query: str | None = ALL, source: str = "sqlite:///shop.db") -> str:
    with pytest.raises(DataError) as caught:
        asked(folder, query, source)
    return str(caught.value)


def test_the_rows_of_a_query_are_a_table_that_can_be_learned_from(tmp_path: Path) -> None:
    database(tmp_path)
    plan = SplitPlan("stratified", 0.2, 0.2)
    found = prepare(
        "sqlite:///shop.db", base=tmp_path, task="classification", target="bought", split=plan, seed=0, query=ALL, drop=("id",)
    )
    assert [column.name for column in found.summary.schema.columns] == ["age", "city"]
    assert found.summary.schema.columns[0].missing == 1
    assert "column 'photo' holds no single values and was left out" in found.summary.remarks


def test_a_changed_answer_is_another_fingerprint_and_an_unchanged_one_the_same(tmp_path: Path) -> None:
    path = database(tmp_path)
    first = asked(tmp_path).fingerprint
    assert asked(tmp_path).fingerprint == first
    for change in ("update shop set age = 99 where id = 7", "update shop set photo = x'01' where id = 8"):
        with sqlite3.connect(path) as connection:
            connection.execute(change)
        connection.close()
        assert asked(tmp_path).fingerprint != first
        first = asked(tmp_path).fingerprint


def test_a_query_writes_nothing(tmp_path: Path) -> None:
    database(tmp_path)
    assert "refused" in refused(tmp_path, "delete from shop returning id")
    assert "refused" in refused(tmp_path, "drop table shop")
    assert len(asked(tmp_path)) == 40


def test_a_query_writes_nothing_where_the_database_would_let_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = database(tmp_path)
    connect = sqlite3.connect
    monkeypatch.setattr("isograd.workbench.data.queries.sqlite3.connect", lambda *_, **__: connect(path))
    assert len(asked(tmp_path, "insert into shop values (99, 1, 'rome', x'00', 'y') returning id, city")) == 1
    monkeypatch.undo()
    assert len(asked(tmp_path)) == 40


def test_a_query_that_orders_nothing_is_remarked_on(tmp_path: Path) -> None:
    database(tmp_path)
    assert asked(tmp_path).remarks == ("column 'photo' holds no single values and was left out",)
    assert "ORDER BY" in asked(tmp_path, "select age, city from shop").remarks[-1]


def test_a_colon_in_the_query_is_no_parameter(tmp_path: Path) -> None:
    database(tmp_path)
    assert len(asked(tmp_path, "select age, '12:30' as t, 'a:b' as u from shop order by 1")) == 40


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (None, 'query = "select * from shop"'),
        ("  ", 'query = "select * from shop"'),
        ("select colour from shop", "no such column: colour"),
        ("selekt", "syntax error"),
        ("select age, age from shop", "more than one column called age"),
        ("select * from shop where id < 0", "gives no rows"),
        ("select photo from shop", "no column with plain values"),
        ("select 1; select 2", "one statement"),
    ],
)
def test_a_query_that_cannot_be_used_is_refused_with_what_the_database_says(
    tmp_path: Path, query: str | None, said: str
) -> None:
    database(tmp_path)
    assert said in refused(tmp_path, query)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("sqlite:///nothing.db", "there is no database file 'nothing.db'"),
        ("sqlite://", "there is no database file"),
        ("nosuch://host/shop", "no such kind of database"),
        ("sqlite:///$NO_SUCH_NAME.db", "NO_SUCH_NAME is not set"),
        ("postgresql://host:port/shop", "no URL of a database"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_and_makes_no_file(tmp_path: Path, source: str, said: str) -> None:
    assert said in refused(tmp_path, ALL, source)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_bytes(b"hello" * 1000)
    assert "file is not a database" in refused(tmp_path)


def test_a_missing_driver_is_named_and_no_password_is_shown(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra) as caught:
        asked(tmp_path, ALL, "oracle+oracledb://ann:secret@host/shop")
    assert "oracledb" in str(caught.value) and "secret" not in str(caught.value)


def test_a_query_for_a_source_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="query is for databases"):
        prepare("a.csv", base=tmp_path, task="classification", target="b", split=SplitPlan(), seed=0, query="select 1")
