"""Databases as sources: rows as JSON lines, and every way to write that is refused."""

from __future__ import annotations

import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.run import source_sql
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.run.source_address import parse_address, without_password
from hanlin.core.run.source_sql import refuse_writing
from hanlin.core.run.sources import fetch


@pytest.fixture
def database(tmp_path, monkeypatch):
    monkeypatch.setenv("HANLIN_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "data.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (id INTEGER, body TEXT, score REAL, raw BLOB, at TEXT)")
    rows = [(n, f"第{n}則：12:30 100% 的筆記", n / 4, b"\xff" if n % 2 else b"abc", "2024") for n in range(2500)]
    connection.executemany("INSERT INTO notes VALUES (?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return path


def test_rows_become_json_lines(database):
    events = []
    statement = "SELECT id, body AS text, score, raw FROM notes WHERE body LIKE '%12:30 100%' ORDER BY id"
    address = f"sql:sqlite:///{database}#{statement}"
    source = fetch(address, lambda name, **facts: events.append(facts))
    rows = [json.loads(line) for line in source.path.read_text().splitlines()]
    assert len(rows) == 2500 and rows[1] == {"id": 1, "text": "第1則：12:30 100% 的筆記", "score": 0.25, "raw": None}
    assert rows[2]["raw"] == "abc" and source.path.suffix == ".jsonl"
    assert source.id in source.path.name or source.id.startswith(source.path.stem[5:])
    assert fetch(address, silent).id == source.id == fetch(source.address, silent).id
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE notes SET body = 'x' || body")
    connection.close()
    assert fetch(address, silent).id != source.id
    with pytest.raises(HanlinError, match="the pin says"):
        fetch(source.address, silent)


@pytest.mark.parametrize(
    "statement, why",
    [
        ("DROP TABLE notes", "begins with DROP"),
        ("SELECT 1; DROP TABLE notes", "several statements"),
        ("INSERT INTO notes VALUES (1)", "begins with INSERT"),
        ("WITH x AS (DELETE FROM notes RETURNING *) SELECT * FROM x", "DELETE in it"),
        ("WITH x AS (SELECT 1) UPDATE notes SET body = ''", "UPDATE in it"),
        ("PRAGMA writable_schema = 1", "begins with PRAGMA"),
        ("ATTACH 'other.db' AS o", "begins with ATTACH"),
        ("SELECT * INTO copy FROM notes", "INTO in it"),
        ("SELECT load_extension('x')", "LOAD_EXTENSION in it"),
        ("/* SELECT */ VACUUM", "begins with VACUUM"),
        ("SELECT /*! 1; DROP TABLE notes */", "executed"),
        (r"SELECT 'a\'; DROP TABLE notes --'", "backslash"),
        ("SELECT 'open", "does not end"),
        ("SELECT 1 /* open", "does not end"),
        ("-- SELECT", "begins with nothing"),
    ],
)
def test_writing_is_refused(database, statement, why):
    before = database.read_bytes()
    with pytest.raises(HanlinError, match=why):
        fetch(f"sql:sqlite:///{database}#{statement}", silent)
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM notes",
        "INSERT INTO notes (id) VALUES (1)",
        "ATTACH 'x.db' AS x",
        "PRAGMA user_version = 3",
        "CREATE TABLE x (a)",
        "SELECT writefile('x', 'y')",
        "DROP TABLE notes",
    ],
)
def test_the_database_itself_refuses_too(database, monkeypatch, statement):
    monkeypatch.setattr(source_sql, "refuse_writing", lambda statement, shown: None)
    before = database.read_bytes()
    with pytest.raises(HanlinError):
        fetch(f"sql:sqlite:///{database}#{statement}", silent)
    assert database.read_bytes() == before and not list(database.parent.glob("x*"))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'DROP TABLE x; --' AS text",
        'SELECT "update" FROM (SELECT 1 AS "update")',
        "select replace(body, 'a', 'it''s') as text from notes limit 1;",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3) SELECT x AS text FROM n -- three",
    ],
)
def test_reading_is_not(database, statement):
    assert fetch(f"sql:sqlite:///{database}#{statement}", silent).path.read_text()


def test_a_password_is_nowhere(database, capfd):
    secret = "p@ss/w0rd"
    address = f"sql:postgresql+nodriver://someone:{secret}@localhost:1/x?sslpassword={secret}#SELECT 1"
    events = []
    for text in (
        address,
        address.replace("SELECT", "DROP"),
        address.replace("sql:", "sqll:"),
        address.partition("#")[0],
    ):
        with pytest.raises(HanlinError) as error:
            fetch(text, lambda name, **facts: events.append(facts))
        assert secret not in str(error.value) and "w0rd" not in str(error.value)
    assert "w0rd" not in str(events) and "someone:***@localhost" in str(events)
    assert (
        without_password("sql:mysql://a:b@h/d?ssl_key=c&x=1#SELECT '@'")
        == "sql:mysql://a:***@h/d?ssl_key=***&x=1#SELECT '@'"
    )


def test_what_can_not_be_read_is_said(database):
    for address, why in (
        (f"sql:sqlite:///{database}#SELECT missing FROM notes", "no such column"),
        ("sql:sqlite:///missing.db#SELECT 1", "is no file"),
        ("sql:sqlite://#SELECT 1", "is no file"),
        (f"sql:sqlite:///{__file__}#SELECT 1 FROM x", "not a database"),
        (f"sql:sqlite:///{database}#SELECT 1 AS a, 2 AS a", "two columns are called a"),
        ("sql:oracle://h/d#SELECT 1", "can open for reading alone"),
        ("sql:nonsense#SELECT 1", "is not an address"),
        ("sql:sqlite:///a.db", "is not an address"),
    ):
        with pytest.raises(HanlinError, match=why):
            fetch(address, silent)


@given(st.text(alphabet="SELECT*;'\"`-/$\\ \nDROPdrop1!#", max_size=40))
def test_any_statement_is_looked_through(statement):
    try:
        refuse_writing(statement, "sql:")
    except HanlinError:
        return
    assert "drop" not in statement.lower().split() or any(quote in statement for quote in "'\"`-$/")


def test_a_statement_reads_back_as_written():
    text = "sql:sqlite:///a.db#SELECT '#' AS text FROM x"
    assert str(parse_address(text)) == text and parse_address(text).member == "SELECT '#' AS text FROM x"
