"""Rows of a database as a source: one SELECT, sent to a database that is opened for reading alone.

Three locks, each enough: the statement is looked through before it is sent; the connection is read-only (SQLite:
mode=ro; PostgreSQL and MySQL: a READ ONLY transaction); SQLite also asks an authorizer about every single action.
The rows are streamed into a file of JSON lines in the cache. A password stays in memory: no file, log or error has it.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import math
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.source_address import Address, cache_folder, without_password

_BATCH_ROWS = 1000

_QUOTED = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | --[^\n]* | /\*.*?\*/ | \$(\w*)\$.*?\$\1\$""", re.DOTALL | re.VERBOSE
)
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9$]*")
_WRITES = frozenset(
    """insert update delete drop alter create attach detach pragma merge truncate grant revoke copy call do execute
    vacuum reindex analyze into lock set begin commit rollback savepoint load_extension writefile handler load
    pg_read_file pg_read_binary_file pg_ls_dir lo_import lo_export dblink dblink_exec pg_terminate_backend
    pg_cancel_backend pg_reload_conf load_file""".split()  # noqa: SIM905
)
"""Words that no reading statement has outside quotes, and functions that read files or reach beyond the database."""

_ALLOWED_IN_SQLITE = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}


def fetch_rows(address: Address, emit: Emit) -> Artifact:
    """The rows as JSON lines; `id` is the hash of that file. Raises HanlinError for a statement that does not only
    read, and for whatever the database refuses."""
    shown = replace(address, name=without_password(address.name))
    refuse_writing(address.member, str(shown))
    emit("download", source=str(shown))
    folder = cache_folder() / "sql" / hashlib.sha256(str(shown).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
    digest = hashlib.sha256()
    try:
        with os.fdopen(descriptor, "wb") as file:
            for row in _rows(address, str(shown)):
                line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass") + b"\n"
                digest.update(line)
                file.write(line)
        found = digest.hexdigest()
        if address.sha256 and found != address.sha256:
            raise _refused(
                str(shown),
                f"its rows have sha256 {found}, the pin says {address.sha256}",
                "if you trust the rows as they are now, change the pin",
            )
        path = folder / f"rows-{found[:12]}.jsonl"
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return Artifact(path=path, kind="source", id=found, address=str(replace(shown, sha256=found)))


def refuse_writing(statement: str, shown: str) -> None:
    """Raises HanlinError for all but one statement that begins with SELECT or WITH and holds no word of writing."""
    if "/*!" in statement or re.search(r"\\['\"`]", statement):
        raise _writing(shown, "a comment that is executed, or a quote behind a backslash")
    bare = _QUOTED.sub(" ' ", statement).strip().rstrip(";").rstrip()
    words = [word.lower() for word in _WORD.findall(bare)]
    if not words or words[0] not in ("select", "with"):
        raise _writing(shown, f"a statement that begins with {words[0].upper() if words else 'nothing'}")
    if ";" in bare:
        raise _writing(shown, "several statements")
    if bare.count("'") != len(_QUOTED.findall(statement)) or '"' in bare or "`" in bare or "/*" in bare:
        raise _writing(shown, "a quote that does not end")
    if writes := [word for word in words if word in _WRITES]:
        raise _writing(shown, f"{writes[0].upper()} in it")


def _rows(address: Address, shown: str) -> Iterator[dict[str, Any]]:
    try:
        import sqlalchemy
    except ImportError:
        raise HanlinError(
            "sql: sources need sqlalchemy.", "the extra sql", 'pip install "hanlin[sql]"', "docs/sources.md"
        ) from None
    try:
        url = sqlalchemy.make_url(address.name)
        with _connected(url, shown) as connection:
            result = connection.execution_options(stream_results=True, max_row_buffer=_BATCH_ROWS).execute(
                sqlalchemy.text(re.sub(r"(?<!:):(?=\w)", r"\\:", address.member))
            )
            names = list(result.keys())
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise _refused(shown, f"two columns are called {twice[0]}", "name them apart with AS")
            for values in result.yield_per(_BATCH_ROWS):
                yield {name: _plain(value) for name, value in zip(names, values)}
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, ImportError) as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
        raise _refused(
            shown, _without(address, said[0][:200]), "check the address, the statement and the driver"
        ) from None


@contextmanager
def _connected(url: Any, shown: str) -> Iterator[Any]:
    """A connection that can only read."""
    import sqlalchemy

    backend = url.get_backend_name()
    if backend == "sqlite":
        engine = sqlalchemy.create_engine("sqlite://", creator=lambda: _sqlite(url.database, shown))
    elif backend in ("postgresql", "mysql", "mariadb"):
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    else:
        raise _refused(
            shown, f"{backend} is no database that hanlin can open for reading alone", "sqlite, postgresql or mysql"
        )
    try:
        with engine.connect() as connection:
            if backend == "sqlite":
                driver: Any = connection.connection.driver_connection
                driver.set_authorizer(_authorize)
            elif backend == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            else:
                connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
                connection.rollback()
            yield connection
            connection.rollback()
    finally:
        engine.dispose()


def _sqlite(database: str | None, shown: str) -> sqlite3.Connection:
    path = Path(database or "").expanduser()
    if not path.is_file():
        raise _refused(shown, f"{path} is no file", "check the path: sqlite:///relative.db or sqlite:////absolute.db")
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in ("load_extension", "readfile", "writefile"):
        return sqlite3.SQLITE_DENY
    # sqlite3 itself begins and ends transactions.
    allowed = action in _ALLOWED_IN_SQLITE or action == sqlite3.SQLITE_TRANSACTION
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _plain(value: Any) -> Any:
    """The value as JSON has it. Bytes that are no text become null."""
    if isinstance(value, bytes | memoryview):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            return None
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _without(address: Address, text: str) -> str:
    """A driver's words, should they repeat the address."""
    return without_password(text.replace(address.name, without_password(address.name)))


def _writing(shown: str, what: str) -> HanlinError:
    return HanlinError(
        f"{shown}: not read, for it holds {what}.",
        "one statement that only reads: SELECT …, or WITH … SELECT …",
        'put names like "update" in double quotes; hanlin never writes to a database',
        "docs/sources.md#databases",
    )


def _refused(shown: str, why: str, do: str) -> HanlinError:
    return HanlinError(f"{shown}: {why}.", "rows of a database, read by one SELECT", do, "docs/sources.md#databases")
