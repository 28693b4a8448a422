"""The counters of a day, which outlive the server: one small SQLite file beside the keys."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hanlin.core.run.errors import HanlinError

TABLE = "create table if not exists taken (key text, leaves real, tokens real, primary key (key, leaves)) strict"
ADD = "insert into taken values (?, ?, ?) on conflict (key, leaves) do update set tokens = tokens + excluded.tokens"


class DayStore:
    """What each key took and when that leaves its window, in seconds since 1970. Raises HanlinError where the file
    can't be opened or is none of ours.

    Written ahead (WAL): a killed server loses nothing; a machine that loses power may lose its last seconds.
    """

    def __init__(self, path: Path):
        try:
            # Opened where the server is made, used in its event loop: never by two threads at once.
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._database.execute("pragma journal_mode=wal")
            self._database.execute("pragma synchronous=normal")
            self._database.execute(TABLE)
        except sqlite3.Error as error:
            raise HanlinError(
                f"The counters of tokens per day can't be kept in {path}: {error}.",
                "a file that this user may write, or none yet",
                "hanlin serve … usage=<another file>",
                "docs/serve.md#keys",
            ) from None

    def add(self, key: str, leaves: float, tokens: float) -> None:
        self._database.execute(ADD, (key, leaves, tokens))

    def known(self, now: float) -> dict[str, list[tuple[float, float]]]:
        """What still counts: (when it leaves, tokens) of each key. Older rows go."""
        self._database.execute("delete from taken where leaves <= ?", (now,))
        found: dict[str, list[tuple[float, float]]] = {}
        for key, leaves, tokens in self._database.execute("select key, leaves, tokens from taken"):
            found.setdefault(key, []).append((leaves, tokens))
        return found

    def close(self) -> None:
        self._database.close()
